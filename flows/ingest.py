"""The main job: a folder of images becomes a published version.

    discover -> hash -> (probe -> decode -> convert -> resize -> store) for each chunk -> judge -> publish

Every step is a plain function; `step` decides whether it runs as a Prefect task or just runs. The first half, up to a
draft of the version, is in `making.py`; whether it is published is decided in `deciding.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nhwc.flows.deciding import Ingested, judge_and_publish
from nhwc.flows.durable import locked
from nhwc.flows.engines import EngineOptions, open_engine
from nhwc.flows.making import make_draft, source_of
from nhwc.flows.mend import condition_of
from nhwc.flows.publish import Draft, check_place
from nhwc.flows.recipe import Recipe, read_recipe
from nhwc.flows.seen import forget, is_unchanged, look_at, remember
from nhwc.flows.shards import of_the_moment
from nhwc.flows.steps import Progress, Step, no_progress, run_now
from nhwc.flows.upload import mirrored
from nhwc.pipelines.version import Version
from nhwc.validators.argument import named, shown, wrong_flag, wrong_place
from nhwc.validators.errors import DataError, MachineError, RecipeError
from nhwc.validators.violation import Code

if TYPE_CHECKING:
    from nhwc.flows.gate import GateOptions

THREADED = EngineOptions()
"""The engine that is taken where none is named."""


def ingest(
    recipe: str | Path | Recipe,
    *,
    direct: bool = False,
    gate: bool | Mapping[str, Any] = False,
    engine: str = "threads",
    workers: int | None = None,
    address: str | None = None,
) -> Version:
    """Ingest a recipe and return the version that it makes, or the latest one where nothing changed.

    Args:
        recipe: the path of a recipe, or a Recipe.
        direct: run without Prefect, whose temporary server takes seconds to start. The same tree comes out.
        gate: publish only what the gate passes: True, or options of `nhwc.gate` by name. What it refuses leaves the
            last good version as `latest`.
        engine: who makes the shards: `threads` of this process, `processes` of this machine, `dask` or `ray`. The same
            tree comes out.
        workers: how many processes; None: as many as this machine has cores.
        address: of a Dask scheduler or a Ray cluster that runs already; its workers must see the source and the
            dataset's folder at the same paths.

    Raises RecipeError for a wrong recipe, gate or engine, DataError where the data is over its budget or refused by the
    gate (nothing is published then), and MachineError where disk, network, a worker or Prefect's server fails.
    """
    options = EngineOptions(name=engine, workers=workers, address=address)
    if problems := [*_wrong_types(recipe, direct, gate), *options.problems()]:
        raise RecipeError("nhwc.ingest", tuple(problems))
    judging: Mapping[str, Any] | None = ({} if gate else None) if isinstance(gate, bool) else gate
    asked, chosen = read_recipe(recipe), gate_options(judging)
    if direct:
        ingested = run_ingest(asked, engine=options, gate=chosen)
    else:
        from nhwc.flows.prefect_run import ingest_with_prefect  # noqa: PLC0415  starting Prefect takes seconds

        ingested = ingest_with_prefect(asked, engine=options, gate=judging)
    if ingested.version is None:
        raise DataError(ingested.verdict)
    return ingested.version


def _wrong_types(recipe: object, direct: object, gate: object) -> list[str]:
    """A line for each argument that is of no type that it may have."""
    of_gate = "expected True, False, or options of nhwc.gate by name, as {'baseline': 'datasets/pets/1.0.0'}"
    wrong_recipe = wrong_place(recipe, expected="the path of a recipe, or a Recipe")
    return named(
        recipe=None if isinstance(recipe, Recipe) else wrong_recipe,
        direct=wrong_flag(direct),
        gate=None if isinstance(gate, bool | Mapping | None) else f"found {shown(gate)}, {of_gate}",
    )


def gate_options(asked: Mapping[str, Any] | None) -> GateOptions | None:
    """The gate that is asked for, if any. Raises RecipeError where it cannot judge what is not published yet."""
    if asked is None:
        return None
    from nhwc.flows.gate import draft_options  # noqa: PLC0415  it imports this module

    return draft_options(asked)


def run_ingest(
    recipe: Recipe,
    *,
    engine: EngineOptions = THREADED,
    step: Step = run_now,
    progress: Progress = no_progress,
    gate: GateOptions | None = None,
) -> Ingested:
    """All the work of an ingest, one line a stage. With a gate, only what it passes is published.

    Raises RecipeError for a wrong engine, and for a gate whose baseline, contract, rules or model is none, and
    MachineError where the machine fails.
    """
    engine.check()
    with _in_place(recipe):
        recipe.source.prepare(recipe.base)
        condition = condition_of(recipe)
        look = look_at(recipe, source_of(recipe))
        before = condition.before if gate is None and condition.is_whole else None  # a gate judges what there is anew
        if before is not None and is_unchanged(look, before):
            return _unchanged(recipe, before, condition.mended)
        forget(recipe.dataset_path)
        with open_engine(engine) as opened:
            draft, decoded = make_draft(recipe, condition, look, opened, step, progress)
        ingested = step("publish", partial(judge_and_publish, draft, condition, decoded, gate))
        lasting = ingested.manifest.filter(of_the_moment(Code.UNREADABLE_FOLDER)).is_empty()
        if ingested.version is not None and lasting:  # else another run may find something else though nothing changes
            remember(look, ingested.version)
        return ingested


def _unchanged(recipe: Recipe, version: Version, mended: tuple[str, ...]) -> Ingested:
    """The latest version, which an ingest would come to again: nothing that it would read has changed."""
    return Ingested(
        outcome="unchanged",
        version=version,
        verdict=recipe.checks.budget(version.facts),
        manifest=version.facts,
        findings=version.findings,
        made=0,
        place=version.folder,
        mended=mended,
    )


def draft_of(
    recipe: Recipe, *, engine: EngineOptions = THREADED, step: Step = run_now, progress: Progress = no_progress
) -> Draft:
    """What an ingest would publish. What was decoded for it stays staged, so the ingest need not decode it again.

    Raises RecipeError for a wrong engine, and MachineError where the machine fails.
    """
    engine.check()
    with _in_place(recipe, publishing=False):
        recipe.source.prepare(recipe.base)
        look = look_at(recipe, source_of(recipe))
        with open_engine(engine) as opened:
            return make_draft(recipe, condition_of(recipe), look, opened, step, progress)[0]


@contextmanager
def _in_place(recipe: Recipe, *, publishing: bool = True) -> Iterator[None]:
    """Hold the dataset meanwhile. Raises MachineError where the machine fails."""
    dataset = recipe.dataset_path
    try:
        if recipe.remote is not None:
            with mirrored(recipe.remote, dataset, publishing=publishing):
                yield
            return
        check_place(dataset)
        with locked(dataset):
            yield
    except MemoryError as error:
        raise MachineError(f"{dataset}: out of memory: lower image.max_pixels, or use a larger machine") from error
    except OSError as error:
        raise MachineError.of(error, dataset) from error
