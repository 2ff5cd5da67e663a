"""The main job: a folder of images becomes a published version.

    discover -> hash -> (probe -> decode -> convert -> resize -> store) for each chunk -> judge -> publish

Every step is a plain function; `step` decides whether it runs as a Prefect task or just runs.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from shlex import quote as quoted
from typing import Literal, Protocol, TypeVar

import polars as pl

from nhwc.flows.draft import drafted, known_rows, settled_rows
from nhwc.flows.durable import locked, write_text
from nhwc.flows.engines import Engine, EngineOptions, open_engine
from nhwc.flows.mend import Condition, condition_of, lost_chunks, number_after, same_version
from nhwc.flows.native_stderr import silenced_native_stderr
from nhwc.flows.publish import (
    REFUSED_REPORT,
    STAGING,
    Draft,
    adopt_shards,
    check_place,
    name_latest,
    tidy,
    write_refused,
    write_version,
)
from nhwc.flows.recipe import Recipe, read_recipe
from nhwc.flows.seen import Look, forget, is_unchanged, known_hashes, look_at, remember, remember_hashes
from nhwc.flows.shards import (
    Chunk,
    Hashes,
    Known,
    MadeShard,
    Workshop,
    hash_entries,
    of_the_moment,
    plan_chunks,
)
from nhwc.flows.soundness import is_named
from nhwc.flows.subject import draft_subject
from nhwc.pipelines.sources.folder import Folder
from nhwc.pipelines.sources.labels import Labelling, label_entries, read_label_file
from nhwc.pipelines.sources.protocol import Discovery, Entry, Source
from nhwc.pipelines.version import Version
from nhwc.validators.errors import DataError, MachineError
from nhwc.validators.manifest import check_manifest
from nhwc.validators.verdict import Verdict
from nhwc.validators.violation import Code, Violation

Result = TypeVar("Result")

THREADED = EngineOptions()
"""The engine that is taken where none is named."""


class Step(Protocol):
    """Runs a named piece of work and gives back what it gave."""

    def __call__(self, name: str, work: Callable[[], Result]) -> Result:
        """Run the work under that name; what it raises is raised."""
        ...


Progress = Callable[[str, int, int], None]
"""Told the name of the work, how many more of its parts are done, and how many there are."""


def run_now(name: str, work: Callable[[], Result]) -> Result:
    """The step that just runs the work."""
    return work()


def no_progress(name: str, more: int, total: int) -> None:
    """The progress that nobody sees."""


@dataclass(frozen=True, kw_only=True)
class Ingested:
    """What an ingest came to.

    Args:
        outcome: published (a new version), unchanged (the latest version already says it), refused (over the budget).
        version: the published or unchanged version; None where refused.
        verdict: of the budget; its violations say why it was refused.
        manifest: a row a discovered entry, also where refused.
        findings: what is remarkable about the classes as a whole.
        made: how many files went to a decoder in this run.
        place: where the version, or the refused manifest, lies.
        mended: what was missing or damaged in the dataset and is as it was published again.
        given_up: the version that is damaged, and that this source does not make again.
    """

    outcome: Literal["published", "unchanged", "refused"]
    version: Version | None
    verdict: Verdict
    manifest: pl.DataFrame
    findings: tuple[Violation, ...]
    made: int
    place: Path
    mended: tuple[str, ...] = ()
    given_up: Version | None = None


def ingest(
    recipe: str | Path | Recipe,
    *,
    direct: bool = False,
    engine: str = "threads",
    workers: int | None = None,
    address: str | None = None,
) -> Version:
    """Ingest a recipe and return the version that it makes, or the latest one where nothing changed.

    Args:
        recipe: the path of a recipe, or a Recipe.
        direct: run without Prefect, whose temporary server takes seconds to start. The same tree comes out.
        engine: who makes the shards: `threads` of this process, `processes` of this machine, `dask` or `ray`. The same
            tree comes out.
        workers: how many processes; None: as many as this machine has cores.
        address: of a Dask scheduler or a Ray cluster that runs already; its workers must see the source and the
            dataset's folder at the same paths.

    Raises RecipeError for a wrong recipe or engine, DataError where the data is over its budget (nothing is published
    then), and MachineError where disk, network, a worker or Prefect's server fails.
    """
    asked, options = read_recipe(recipe), EngineOptions(name=engine, workers=workers, address=address)
    if direct:
        ingested = run_ingest(asked, engine=options)
    else:
        from nhwc.flows.prefect_run import ingest_with_prefect  # noqa: PLC0415  starting Prefect takes seconds

        ingested = ingest_with_prefect(asked, engine=options)
    if ingested.version is None:
        raise DataError(ingested.verdict)
    return ingested.version


def run_ingest(
    recipe: Recipe, *, engine: EngineOptions = THREADED, step: Step = run_now, progress: Progress = no_progress
) -> Ingested:
    """All the work of an ingest, one line a stage.

    Raises RecipeError for a wrong engine, and MachineError where the machine fails.
    """
    engine.check()
    with _in_place(recipe):
        condition = condition_of(recipe)
        look = look_at(recipe, Folder(root=recipe.source_path))
        if condition.before is not None and condition.is_whole and is_unchanged(look, condition.before):
            return _unchanged(recipe, condition.before, condition.mended)
        forget(recipe.dataset_path)
        with open_engine(engine) as opened:
            draft, decoded = _make_draft(recipe, condition, look, opened, step, progress)
        ingested = step("publish", partial(_judge_and_publish, draft, condition, decoded))
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
    with _in_place(recipe):
        look = look_at(recipe, Folder(root=recipe.source_path))
        with open_engine(engine) as opened:
            return _make_draft(recipe, condition_of(recipe), look, opened, step, progress)[0]


@contextmanager
def _in_place(recipe: Recipe) -> Iterator[None]:
    """Hold the dataset's folder meanwhile. Raises MachineError where the machine fails."""
    dataset = recipe.dataset_path
    try:
        check_place(dataset)
        with locked(dataset):
            yield
    except MemoryError as error:
        raise MachineError(f"{dataset}: out of memory: lower image.max_pixels, or use a larger machine") from error
    except OSError as error:
        raise MachineError(
            f"{error.filename or dataset}: {error.strerror or error}: mend it, then run the same again"
        ) from error


def _make_draft(
    recipe: Recipe, condition: Condition, look: Look, engine: Engine, step: Step, progress: Progress
) -> tuple[Draft, int]:
    """The draft, and how many files were decoded for it now."""
    source, labelling = Folder(root=recipe.source_path), _labelling(recipe)
    known = known_hashes(recipe.dataset_path, look)
    discovery = step("discover", partial(source.discover, known))
    _see_folders(discovery, condition.before)
    entries = label_entries(discovery, labelling)
    hashed = step("hash", partial(_hash, entries, source, recipe, progress, known))
    rows = known_rows(hashed, condition.before, recipe, condition.lost)
    lost = lost_chunks(hashed, condition, recipe)
    settled = {*rows["sample_id"], *(one.entry.sample_id for chunk in lost for one in chunk.samples)}
    unsettled = [one for one, name in zip(hashed.entries, hashed.sample_ids, strict=True) if name not in settled]
    new = [one for one in map(hashed.of, unsettled) if one.violation is None]
    made = _make_shards([*lost, *plan_chunks(new, recipe.image)], source, recipe, engine, step, progress)
    manifest = pl.concat([settled_rows(entries, hashed), rows, *(shard.rows for shard in made)])
    remember_hashes(recipe.dataset_path, look, hashed, manifest)
    decoded = sum(shard.decoded for shard in made)
    return drafted(recipe, discovery, labelling, entries, manifest, condition.before), decoded


def _see_folders(discovery: Discovery, before: Version | None) -> None:
    """Raises MachineError where a folder cannot be listed of which the version before has samples."""
    paths = before.kept["path"] if before is not None else pl.Series(dtype=pl.String)
    for entry in discovery.entries:
        if entry.violation is None or entry.violation.code is not Code.UNREADABLE_FOLDER:
            continue
        lost = paths.str.starts_with("" if entry.path == "." else entry.path + "/").sum()
        if before is not None and lost:
            found = f"{entry.path}: cannot be listed ({entry.violation.found})"
            raise MachineError(f"{found}, and version {before.number} has {lost} samples of it: open it, or remove it")


def _labelling(recipe: Recipe) -> Labelling:
    """How the recipe's entries come to their labels and given splits."""
    with_splits, file = recipe.splits.from_ == "file", recipe.label_file
    return Labelling(
        listed=None if file is None else read_label_file(file, with_splits=with_splits),
        depth=recipe.labels.depth,
        split_folders=recipe.splits.from_ == "folder",
        split_listed=with_splits,
        classes=recipe.labels.classes,
    )


def _hash(
    entries: Sequence[Entry], source: Source, recipe: Recipe, progress: Progress, known: Mapping[str, Known]
) -> Hashes:
    candidates = [entry for entry in entries if entry.status == "candidate"]
    advance = partial(_advance, progress, "hash", len(candidates))
    return hash_entries(candidates, source, max_bytes=recipe.image.max_bytes, advance=advance, known=known)


def _make_shards(
    chunks: Sequence[Chunk], source: Source, recipe: Recipe, engine: Engine, step: Step, progress: Progress
) -> list[MadeShard]:
    """Each chunk's shard, by the engine, told in no more steps than it bears."""
    staging, shards = (recipe.dataset_path.absolute() / name for name in (STAGING, "shards"))
    staging.mkdir(exist_ok=True)
    workshop = Workshop(source=source, image=recipe.image, staging=staging, shards=shards)
    advance = partial(_advance, progress, "decode", sum(len(chunk.samples) for chunk in chunks))
    each = max(1, -(-len(chunks) // engine.most_steps))
    groups = [chunks[start : start + each] for start in range(0, len(chunks), each)]
    steps = [
        step(f"decode {number} of {len(groups)}", partial(engine.make, group, workshop, advance))
        for number, group in enumerate(groups, 1)
    ]
    return list(itertools.chain.from_iterable(steps))


def _advance(progress: Progress, name: str, total: int, more: int) -> None:
    progress(name, more, total)


def _judge_and_publish(draft: Draft, condition: Condition, made: int) -> Ingested:
    """Publish the draft if its budget allows and anything changed."""
    check_manifest(draft.manifest).require()
    dataset, verdict = draft.recipe.dataset_path, draft.recipe.checks.budget(draft.manifest)
    ingested = partial(Ingested, verdict=verdict, manifest=draft.manifest, findings=draft.findings, made=made)
    if not verdict.passed:
        write_text(dataset / REFUSED_REPORT, _page(draft, "nhwc gate RECIPE"))
        return ingested(outcome="refused", version=None, place=write_refused(draft), mended=condition.mended)
    adopt_shards(draft)
    page = partial(_page_of_version, draft)
    if (same := same_version(draft, condition, page)) is not None:
        version, mended = same
        if not is_named(version):
            name_latest(version)
            mended += ("latest",)
        ingested = partial(ingested, outcome="unchanged", mended=mended)
    else:
        version = write_version(draft, number_after(draft, condition), page)
        name_latest(version)
        ingested = partial(ingested, outcome="published", mended=condition.mended, given_up=condition.given_up(dataset))
    tidy(dataset)
    return ingested(version=version, place=version.folder)


def _page_of_version(draft: Draft, number: str) -> str:
    place = Path(draft.recipe.publish.to, draft.recipe.dataset, number)
    return _page(draft, f"nhwc gate {quoted(str(place))}")


def _page(draft: Draft, reproduce: str) -> str:
    """What the gate says of the draft, as a page."""
    from nhwc.flows.gate import GateOptions, judge_subject  # noqa: PLC0415  it imports this module
    from nhwc.flows.report import report_html  # noqa: PLC0415  Jinja, for what is published only

    subject = draft_subject(draft, name=draft.recipe.dataset, checked=True)
    verdict = judge_subject(subject, GateOptions())
    with silenced_native_stderr():  # it looks at broken files too
        return report_html(subject, verdict, reproduce=[reproduce])
