"""The ingest as a Prefect flow: on the server that is configured, or on a temporary one."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from nhwc.flows import prefect_settings  # noqa: F401  before Prefect, which reads them

# isort: split
from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from nhwc.flows.engines import EngineOptions
from nhwc.flows.ingest import THREADED, Ingested, Progress, no_progress, run_ingest
from nhwc.flows.recipe import Recipe, read_recipe
from nhwc.flows.summary import artifact_key, markdown, one_line
from nhwc.validators.errors import MachineError, NhwcError

_progress: ContextVar[Progress] = ContextVar("progress", default=no_progress)
"""Who is told of the progress: no parameter of the flow, since Prefect stores those."""


@flow(name="nhwc-ingest", validate_parameters=False, persist_result=False)
def ingest_flow(recipe: Recipe | str, engine: EngineOptions = THREADED) -> State[Any]:
    """The flow that `nhwc ingest`, `nhwc.ingest` and a deployment run.

    A run that may not publish is a failed flow run whose message says why; its state's data is the Ingested, or the
    error that ended it.
    """
    try:
        asked = read_recipe(recipe)
        ingested = run_ingest(asked, engine=engine, step=run_as_task, progress=_progress.get())
    except NhwcError as error:
        return Failed(message=str(error), data=error)
    said = one_line(ingested)
    create_markdown_artifact(markdown(ingested, asked.dataset), key=artifact_key(asked.dataset), description=said)
    return Failed(message=said, data=ingested) if ingested.version is None else Completed(message=said, data=ingested)


def ingest_with_prefect(
    recipe: Recipe, *, engine: EngineOptions = THREADED, progress: Progress = no_progress
) -> Ingested:
    """Run the flow here and now.

    Raises what `run_ingest` raises, and MachineError where Prefect's server cannot be reached or started.
    """
    told = _progress.set(progress)
    try:
        came_to = ingest_flow(recipe, engine, return_state=True).result(raise_on_failure=False)
    except Exception as error:  # whatever Prefect's client raises where there is no server
        raise MachineError(f"Prefect could not run the flow: {error}: mend PREFECT_API_URL, or use --direct") from error
    finally:
        _progress.reset(told)
    if isinstance(came_to, Exception):
        raise came_to
    assert isinstance(came_to, Ingested)
    return came_to


def run_as_task(name: str, work: Callable[[], Any]) -> Any:
    """The step that runs the work as a Prefect task.

    The work takes no arguments, so Prefect has none to walk through and to hash: they can hold a million entries.
    What it raises on purpose fails the task without Prefect printing a traceback, and is raised again here.
    """

    @task(name=name, cache_policy=NO_CACHE, persist_result=False)
    def run() -> Any:
        try:
            return Completed(data=work())
        except (NhwcError, OSError) as error:
            return Failed(message=str(error), data=error)

    came_to = run(return_state=True).result(raise_on_failure=False)
    if isinstance(came_to, Exception):
        raise came_to
    return came_to
