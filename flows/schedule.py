"""The ingest on a schedule: served by Prefect until it is ended.

    with prefect_server():          the one that is configured, or one of our own
        deployment -> next run -> runs, each in a process of its own

What runs at the same time as what is decided twice: by Prefect, which refuses or queues a run that comes too early, and
by the lock that an ingest holds on its dataset, which no killed run leaves behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, wait
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo, available_timezones

from nhwc.flows import prefect_settings  # noqa: F401  before Prefect, which reads them

# isort: split
import httpx
from prefect import Flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import PrefectException
from prefect.runner import Runner
from prefect.schedules import Cron, Interval
from prefect.schedules import Schedule as Times
from prefect.server.schemas.schedules import CronSchedule
from prefect.settings import temporary_settings
from prefect.types.entrypoint import EntrypointType

from nhwc.flows.engines import EngineOptions
from nhwc.flows.ingest import THREADED, gate_options
from nhwc.flows.prefect_run import Overlap, ingest_and_gate, ingest_flow
from nhwc.flows.prefect_server import PORT, prefect_server
from nhwc.flows.prefect_told import PATIENCE
from nhwc.flows.recipe import read_recipe
from nhwc.pipelines.version import Version
from nhwc.validators.errors import MachineError, RecipeError

STOPPING = 20.0
"""Seconds in which a run that is going on may end itself before it is left to be killed."""

PLANNED_WITHIN = 30.0
"""Seconds in which the server has planned the next run: it plans every five."""

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_INTERVAL = re.compile(r"(\d+(?:\.\d+)?)([smhd]?)")


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """What is to run when.

    Args:
        recipe: its file.
        cron: five fields, as cron reads them; or
        interval: the time between two runs.
        timezone: by IANA's name, of the cron fields and of what is said.
        overlap: what becomes of a run that is due while the one before goes on: refuse it, or queue it.
        gate: options of `nhwc.gate` by name, where only what it passes is to be published.
        name: of the deployment: the dataset's, if not given.
        engine: who makes the shards.
    """

    recipe: Path
    cron: str | None = None
    interval: timedelta | None = None
    timezone: str = "UTC"
    overlap: Overlap = "refuse"
    gate: Mapping[str, Any] | None = None
    name: str | None = None
    engine: EngineOptions = THREADED

    @property
    def times(self) -> Times:
        """As Prefect says it."""
        if self.interval is not None:
            return Interval(self.interval, timezone=self.timezone)
        return Cron(self.cron or "", timezone=self.timezone)

    @property
    def flow(self) -> tuple[Flow[..., Any], dict[str, Any]]:
        """The flow and its parameters."""
        parameters = {"recipe": str(self.recipe.absolute()), "overlap": self.overlap, "engine": asdict(self.engine)}
        if self.gate is None:
            return ingest_flow, parameters
        return ingest_and_gate, parameters | {"gate": dict(self.gate)}


def read_schedule(*, cron: str | None, interval: str | None, **asked: Any) -> Schedule:
    """The schedule that is asked for: `interval` as in 90s, 15m, 2h, 1d, or seconds; the rest as of Schedule.

    Raises RecipeError with all that is wrong with it, and for a wrong recipe or gate, or a baseline that is none.
    """
    problems = []
    if (cron is None) == (interval is None):
        found = "neither" if cron is None else "both"
        problems.append(f"cron, interval: found {found}, expected one of them: --cron '0 2 * * *' or --interval 15m")
    every = None if interval is None else _parsed(interval)
    if interval is not None and every is None:
        problems.append(f"interval: found {interval!r}, expected seconds, or a number with s, m, h or d, as 15m")
    if cron is not None and (wrong := _wrong_cron(cron)):
        problems.append(f"cron: found {cron!r}, {wrong}")
    zone = asked.get("timezone", "UTC")
    if zone not in available_timezones():
        problems.append(f"timezone: found {zone!r}, expected a name of IANA's, as Europe/Berlin or UTC")
    if (overlap := asked.get("overlap", "refuse")) not in ("refuse", "queue"):
        problems.append(f"overlap: found {overlap!r}, expected refuse or queue")
    if re.search(r"[/%]", asked.get("name") or ""):
        problems.append(f"name: found {asked['name']!r}, expected a name without / and %")
    problems += asked.get("engine", THREADED).problems()
    if problems:
        raise RecipeError("schedule", tuple(problems))
    schedule = Schedule(cron=cron, interval=every, **asked)
    read_recipe(schedule.recipe)
    gate = gate_options(schedule.gate)
    if gate is not None and gate.baseline is not None:
        Version.open(gate.baseline)  # else each run would find out, at night
    return schedule


def _parsed(interval: str) -> timedelta | None:
    """An interval of a second at least, and a hundred years at most."""
    if (match := _INTERVAL.fullmatch(interval)) is None:
        return None
    seconds = float(match[1]) * _SECONDS[match[2] or "s"]
    return timedelta(seconds=seconds) if 1 <= seconds <= 100 * 366 * 86400 else None


def _wrong_cron(cron: str) -> str | None:
    try:
        times = CronSchedule(cron=cron)
    except ValueError:
        return "expected five fields, minute hour day month weekday, as '0 2 * * *' for two o'clock each night"
    try:
        asyncio.run(times.get_dates(1))
    except ValueError:
        return "which never comes round, expected a day that there is"
    return None


def serve(schedule: Schedule, say: Callable[[str], object]) -> None:
    """Serve it until an interrupt, which ends what runs too. `say` is told when the next run is.

    Raises MachineError where Prefect's server does not start or does not answer.
    """
    with prefect_server(PORT) as url, _reaching(url):
        name = schedule.name or read_recipe(schedule.recipe).dataset
        runner = Runner(name=name, pause_on_shutdown=False)  # which would wait for a server that has gone
        deployment = runner.add_deployment(_deployment(schedule, name))
        assert isinstance(deployment, UUID)
        with _running(runner) as ended:
            try:
                say(f"{name}: next run {_next_run(deployment, schedule)}; {_pages(url, deployment)}; Ctrl-C ends it")
                while not ended.done():  # wake up now and then: a signal may reach a thread that runs no handlers
                    wait([ended], timeout=1)
                ended.result()
            finally:
                _pause(deployment)
        raise MachineError("Prefect's runner ended by itself: see what it said above, then start it again")


@contextlib.contextmanager
def _reaching(url: str) -> Iterator[None]:
    """Say of any failure of the client that it is the server's."""
    try:
        yield
    except (httpx.HTTPError, PrefectException, RuntimeError, ExceptionGroup) as error:
        raise MachineError(
            f"{url}: Prefect's server does not answer or refuses: {error}: mend PREFECT_API_URL, or unset it for a "
            "server of nhwc's own"
        ) from error


def _deployment(schedule: Schedule, name: str) -> Any:
    flow, parameters = schedule.flow
    new = ConcurrencyLimitStrategy.CANCEL_NEW if schedule.overlap == "refuse" else ConcurrencyLimitStrategy.ENQUEUE
    return flow.to_deployment(
        name=name,
        schedule=schedule.times,
        parameters=parameters,
        concurrency_limit=ConcurrencyLimitConfig(limit=1, collision_strategy=new),
        entrypoint_type=EntrypointType.MODULE_PATH,
        description=f"nhwc: {schedule.recipe.absolute()}",
    )


@dataclass
class _Life:
    """A runner's loop and its task, once they are there."""

    loop: asyncio.AbstractEventLoop | None = None
    task: asyncio.Task[None] | None = None
    ended: Future[None] = field(default_factory=Future)


@contextlib.contextmanager
def _running(runner: Runner) -> Iterator[Future[None]]:
    """The runner in a thread beside: there it leaves the handlers of signals as they are, and so the exit status."""
    life = _Life()

    async def live() -> None:
        life.loop, life.task = asyncio.get_running_loop(), asyncio.current_task()
        await runner.start()

    def run() -> None:
        try:
            asyncio.run(live())
            life.ended.set_result(None)
        except asyncio.CancelledError:
            life.ended.set_result(None)
        except Exception as error:
            life.ended.set_exception(error)

    context = contextvars.copy_context()  # with the server's address
    threading.Thread(target=context.run, args=(run,), daemon=True).start()
    try:
        yield life.ended
    finally:
        _end(runner, life)


def _end(runner: Runner, life: _Life) -> None:
    """Cancel what runs, by way of the server where it answers, and in any case end the processes."""
    if life.loop is None or life.task is None or life.ended.done():
        return
    if runner.started:
        stopping = asyncio.run_coroutine_threadsafe(runner.astop(), life.loop)
        with contextlib.suppress(Exception):  # whatever it says of a server that has gone
            stopping.result(STOPPING)
    with contextlib.suppress(RuntimeError):  # it may have ended by now, and its loop with it
        life.loop.call_soon_threadsafe(life.task.cancel)
    with contextlib.suppress(Exception):
        life.ended.result(STOPPING)


def _next_run(deployment: UUID, schedule: Schedule) -> str:
    """When the server will start the next run, in the schedule's time zone."""
    end = datetime.now().timestamp() + PLANNED_WITHIN
    scheduled = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])))
    ours = DeploymentFilter(id=DeploymentFilterId(any_=[deployment]))
    with get_client(sync_client=True) as client:
        while datetime.now().timestamp() < end:
            order = FlowRunSort.EXPECTED_START_TIME_ASC
            runs = client.read_flow_runs(deployment_filter=ours, flow_run_filter=scheduled, sort=order, limit=1)
            if runs and runs[0].expected_start_time is not None:
                zone = ZoneInfo(schedule.timezone)
                return f"{runs[0].expected_start_time.astimezone(zone):%Y-%m-%d %H:%M:%S %Z} ({schedule.timezone})"
            threading.Event().wait(0.5)
    raise MachineError("Prefect's server plans no run: see whether its scheduler is on, and its log")


def _pages(url: str, deployment: UUID) -> str:
    return f"runs are shown at {url.removesuffix('/api')}/deployments/deployment/{deployment}"


def _pause(deployment: UUID) -> None:
    """Plan no more runs, which nobody would start. A server that has gone plans none."""
    gone = contextlib.suppress(httpx.HTTPError, PrefectException)
    with gone, temporary_settings(PATIENCE), get_client(sync_client=True) as client:
        client.pause_deployment(deployment)
