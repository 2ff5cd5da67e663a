"""The ingest as Prefect flows: on the server that is configured, or on a temporary one.

`nhwc-ingest` publishes what its budget allows, `nhwc-ingest-and-gate` only what the gate passes too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from dataclasses import asdict
from functools import partial
from typing import Any, Literal, TypeAlias

from nhwc.flows import prefect_settings  # noqa: F401  before Prefect, which reads them

# isort: split
from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.context import FlowRunContext
from prefect.states import Completed, Failed
from prefect.tasks import exponential_backoff

from nhwc.flows.deciding import Ingested
from nhwc.flows.engines import EngineOptions
from nhwc.flows.gate import GateOptions
from nhwc.flows.ingest import THREADED, gate_options, run_ingest
from nhwc.flows.prefect_server import prefect_server
from nhwc.flows.prefect_told import Server, progress_artifact, server, show
from nhwc.flows.recipe import Recipe, read_recipe
from nhwc.flows.steps import Progress, no_progress
from nhwc.flows.summary import one_line
from nhwc.validators.errors import BusyError, DataError, MachineError, NhwcError

Overlap: TypeAlias = Literal["refuse", "queue"]

RETRIES = 3
"""How often a scheduled run tries again after storage or network failed it."""

FIRST_WAIT = 5.0
"""Seconds before the first of them, give or take half; each next one waits twice as long."""

_progress: ContextVar[Progress] = ContextVar("progress", default=no_progress)
"""Who is told of the progress: no parameter of the flow, since Prefect stores those."""

_came_to: ContextVar[list[Ingested | NhwcError]] = ContextVar("came_to")
"""What a run came to, kept beside Prefect, which cannot say it any more where its server has gone."""


@flow(name="nhwc-ingest", validate_parameters=False, persist_result=False)
def ingest_flow(
    recipe: Recipe | str,
    overlap: Overlap = "refuse",
    retries: int = RETRIES,
    engine: Mapping[str, Any] | None = None,
) -> State[Any]:
    """The flow that `nhwc ingest`, `nhwc.ingest` and a deployment run.

    A run that may not publish is a failed flow run whose message says why; its state's data is the error, else the
    Ingested.

    Args:
        recipe: its file, or a Recipe.
        overlap: what becomes of it where another run is writing the dataset: refuse it, or queue: try again later.
        retries: how often it is tried again where storage or network failed; never for what is wrong with the data.
        engine: who makes the shards: name, workers and address of EngineOptions; threads of this process where none is.
    """
    return _run(recipe, None, overlap, retries, engine)


@flow(name="nhwc-ingest-and-gate", validate_parameters=False, persist_result=False)
def ingest_and_gate(
    recipe: Recipe | str,
    gate: dict[str, Any] | None = None,
    overlap: Overlap = "refuse",
    retries: int = RETRIES,
    engine: Mapping[str, Any] | None = None,
) -> State[Any]:
    """The same, but only what the gate passes is published; else the last good version stays `latest`.

    Args:
        recipe, overlap, retries, engine: as of `nhwc-ingest`.
        gate: options of `nhwc.gate`, by name.
    """
    return _run(recipe, gate or {}, overlap, retries, engine)


def _run(
    recipe: Recipe | str,
    gate: Mapping[str, Any] | None,
    overlap: Overlap,
    retries: int,
    engine: Mapping[str, Any] | None,
) -> State[Any]:
    """Ingest, show what came of it, and say it as a state."""
    if server.get(None) is None:  # else who waits for the flow has set it
        server.set(Server())
    try:
        asked, options = read_recipe(recipe), gate_options(gate)
        ingested = _tried(partial(_ingest, asked, options, EngineOptions.of(engine or {})), overlap, retries)
    except NhwcError as error:
        _keep(error)
        return Failed(message=str(error), data=error)
    _keep(ingested)
    show(asked, ingested)
    if ingested.version is None:  # an error, which Prefect prints: an Ingested has a manifest of many rows
        return Failed(message=one_line(ingested), data=DataError(ingested.verdict))
    return Completed(message=one_line(ingested), data=ingested)


def _ingest(recipe: Recipe, gate: GateOptions | None, engine: EngineOptions) -> Ingested:
    progress = progress_artifact(recipe, _progress.get())
    return run_ingest(recipe, engine=engine, step=run_as_task, progress=progress, gate=gate)


def _tried(work: Callable[[], Ingested], overlap: Overlap, retries: int) -> Ingested:
    """What the work came to, as a task that is tried again as a whole: what was decoded is not decoded again."""
    if not retries:
        return work()

    def is_transient(task: Any, run: TaskRun, state: State[Any]) -> bool:
        """Whether the machine failed, not the data; a dataset that is held is worth waiting for in a queue only."""
        error = state.data
        return isinstance(error, MachineError | OSError) and (overlap == "queue" or not isinstance(error, BusyError))

    came_to = run_as_task(
        "ingest",
        work,
        retries=retries,
        retry_delay_seconds=exponential_backoff(FIRST_WAIT),
        retry_jitter_factor=0.5,
        retry_condition_fn=is_transient,
    )
    assert isinstance(came_to, Ingested)
    return came_to


def _keep(came_to: Ingested | NhwcError) -> None:
    if (kept := _came_to.get(None)) is not None:
        kept.append(came_to)


def ingest_with_prefect(
    recipe: Recipe,
    *,
    engine: EngineOptions = THREADED,
    progress: Progress = no_progress,
    gate: Mapping[str, Any] | None = None,
) -> Ingested:
    """Run the flow here and now, once: who waits at a terminal is told at once of what failed.

    Args:
        recipe, engine, progress: as of `run_ingest`.
        gate: options of `nhwc.gate`, by name, where only what it passes is to be published.

    Raises what `run_ingest` raises, and MachineError where Prefect's server cannot be reached or started. A server that
    goes away later is told of on stderr.
    """
    with _server():
        return _met(recipe, engine, progress, gate)


def _met(recipe: Recipe, engine: EngineOptions, progress: Progress, gate: Mapping[str, Any] | None) -> Ingested:
    """The same, on the server that is there."""
    kept: list[Ingested | NhwcError] = []
    came_to: Any
    told, keeping, meeting = _progress.set(progress), _came_to.set(kept), server.set(Server())
    try:
        if gate is None:
            state = ingest_flow(recipe, retries=0, engine=asdict(engine), return_state=True)
        else:
            state = ingest_and_gate(recipe, gate=dict(gate), retries=0, engine=asdict(engine), return_state=True)
        came_to = kept[0] if kept else state.result(raise_on_failure=False)
    except Exception as error:  # whatever Prefect's client raises where there is no server
        if not kept:
            raise MachineError(
                f"Prefect could not run the flow: {error}: mend PREFECT_API_URL, or use --direct"
            ) from error
        server.get().lost(error)
        came_to = kept[0]
    finally:
        _progress.reset(told)
        _came_to.reset(keeping)
        server.reset(meeting)
    if isinstance(came_to, Exception):
        raise came_to
    assert isinstance(came_to, Ingested)
    return came_to


def _server() -> AbstractContextManager[object]:
    """A server for one run, but amid a flow of the user's: that has one, in which this run is a part of it."""
    return prefect_server() if FlowRunContext.get() is None else nullcontext()


def run_as_task(name: str, work: Callable[[], Any], **options: Any) -> Any:
    """The step that runs the work as a Prefect task.

    The work takes no arguments, so Prefect has none to walk through and to hash: they can hold a million entries.
    What it raises on purpose fails the task without Prefect printing a traceback, and is raised again here.

    Args:
        name, work: as of a step.
        options: of the task.
    """

    @task(name=name, cache_policy=NO_CACHE, persist_result=False, **options)
    def run() -> Any:
        try:
            return Completed(data=work())
        except (NhwcError, OSError) as error:
            return Failed(message=str(error), data=error)

    came_to = run(return_state=True).result(raise_on_failure=False)
    if isinstance(came_to, Exception):
        raise came_to
    return came_to
