"""The main job: a folder of images becomes a published version.

    discover -> hash -> (probe -> decode -> convert -> resize -> store) for each chunk -> judge -> publish

Every step is a plain function; `step` decides whether it runs as a Prefect task or just runs.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from shlex import quote as quoted
from typing import Literal, Protocol, TypeVar

import polars as pl

from nhwc.flows.draft import drafted, known_rows, settled_rows
from nhwc.flows.durable import locked, write_text
from nhwc.flows.native_stderr import silenced_native_stderr
from nhwc.flows.parallel import beside
from nhwc.flows.publish import (
    FIRST,
    REFUSED_REPORT,
    REPORT,
    STAGING,
    Draft,
    adopt_shards,
    check_place,
    latest_version,
    name_latest,
    next_number,
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
    make_shard,
    of_the_moment,
    plan_chunks,
)
from nhwc.flows.subject import draft_subject
from nhwc.flows.upload import mirrored, upload, upload_latest
from nhwc.pipelines.sources.labels import Labelling, label_entries, read_label_file
from nhwc.pipelines.sources.protocol import Entry, Source
from nhwc.pipelines.sources.remote_folder import source_at
from nhwc.pipelines.version import Version
from nhwc.validators.errors import DataError, MachineError
from nhwc.validators.manifest import check_manifest
from nhwc.validators.verdict import Verdict
from nhwc.validators.violation import Code, Violation

Result = TypeVar("Result")

MOST_STEPS = 150
"""A run has no more decoding steps than this, since Prefect pays for each: beyond it, a step makes several shards."""


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
    """

    outcome: Literal["published", "unchanged", "refused"]
    version: Version | None
    verdict: Verdict
    manifest: pl.DataFrame
    findings: tuple[Violation, ...]
    made: int
    place: Path


def ingest(recipe: str | Path | Recipe, *, direct: bool = False) -> Version:
    """Ingest a recipe and return the version that it makes, or the latest one where nothing changed.

    Args:
        recipe: the path of a recipe, or a Recipe.
        direct: run without Prefect, whose temporary server takes seconds to start. The same tree comes out.

    Raises RecipeError for a wrong recipe, DataError where the data is over its budget (nothing is published then), and
    MachineError where disk, network or Prefect's server fails.
    """
    asked = read_recipe(recipe)
    if direct:
        ingested = run_ingest(asked)
    else:
        from nhwc.flows.prefect_run import ingest_with_prefect  # noqa: PLC0415  starting Prefect takes seconds

        ingested = ingest_with_prefect(asked)
    if ingested.version is None:
        raise DataError(ingested.verdict)
    return ingested.version


def run_ingest(recipe: Recipe, *, step: Step = run_now, progress: Progress = no_progress) -> Ingested:
    """All the work of an ingest, one line a stage. Raises MachineError where the machine fails."""
    with _in_place(recipe) as before:
        look = look_at(recipe, _source(recipe))
        if before is not None and is_unchanged(look, before):
            return _unchanged(recipe, before)
        forget(recipe.dataset_path)
        draft, decoded = _make_draft(recipe, before, look, step, progress)
        ingested = step("publish", partial(_judge_and_publish, draft, before, decoded))
        lasting = ingested.manifest.filter(of_the_moment(Code.UNREADABLE_FOLDER)).is_empty()
        if ingested.version is not None and lasting:  # else another run may find something else though nothing changes
            remember(look, ingested.version)
        return ingested


def _unchanged(recipe: Recipe, version: Version) -> Ingested:
    """The latest version, which an ingest would come to again: nothing that it would read has changed."""
    return Ingested(
        outcome="unchanged",
        version=version,
        verdict=recipe.checks.budget(version.facts),
        manifest=version.facts,
        findings=version.findings,
        made=0,
        place=version.folder,
    )


def draft_of(recipe: Recipe, *, step: Step = run_now, progress: Progress = no_progress) -> Draft:
    """What an ingest would publish. What was decoded for it stays staged, so the ingest need not decode it again.

    Raises MachineError where the machine fails.
    """
    with _in_place(recipe, publishing=False) as before:
        look = look_at(recipe, _source(recipe))
        return _make_draft(recipe, before, look, step, progress)[0]


@contextmanager
def _in_place(recipe: Recipe, *, publishing: bool = True) -> Iterator[Version | None]:
    """Hold the dataset meanwhile; its latest version. Raises MachineError where the machine fails."""
    dataset = recipe.dataset_path
    try:
        if recipe.remote is not None:
            with mirrored(recipe.remote, dataset, publishing=publishing):
                yield latest_version(dataset, recipe.remote)
            return
        check_place(dataset)
        with locked(dataset):
            yield latest_version(dataset)
    except MemoryError as error:
        raise MachineError(f"{dataset}: out of memory: lower image.max_pixels, or use a larger machine") from error
    except OSError as error:
        raise MachineError(
            f"{error.filename or dataset}: {error.strerror or error}: mend it, then run the same again"
        ) from error


def _make_draft(
    recipe: Recipe, before: Version | None, look: Look, step: Step, progress: Progress
) -> tuple[Draft, int]:
    """The draft, and how many files were decoded for it now."""
    source, labelling = _source(recipe), _labelling(recipe)
    known = known_hashes(recipe.dataset_path, look)
    discovery = step("discover", partial(source.discover, known))
    entries = label_entries(discovery, labelling)
    hashed = step("hash", partial(_hash, entries, source, recipe, progress, known))
    rows = known_rows(hashed, before, recipe)
    settled = set(rows["sample_id"])
    unsettled = [one for one, name in zip(hashed.entries, hashed.sample_ids, strict=True) if name not in settled]
    new = [one for one in map(hashed.of, unsettled) if one.violation is None]
    made = _make_shards(plan_chunks(new, recipe.image), source, recipe, step, progress)
    manifest = pl.concat([settled_rows(entries, hashed), rows, *(shard.rows for shard in made)])
    remember_hashes(recipe.dataset_path, look, hashed, manifest)
    decoded = sum(shard.decoded for shard in made)
    return drafted(recipe, discovery, labelling, entries, manifest, before), decoded


def _source(recipe: Recipe) -> Source:
    return source_at(recipe.source_path, most_bytes=recipe.image.max_bytes)


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
    chunks: Sequence[Chunk], source: Source, recipe: Recipe, step: Step, progress: Progress
) -> list[MadeShard]:
    """Each chunk's shard. Chunks follow one another, so many to a step; inside one, all cores work on its samples."""
    total = sum(len(chunk.samples) for chunk in chunks)
    staging, shards = recipe.dataset_path / STAGING, recipe.dataset_path / "shards"
    staging.mkdir(exist_ok=True)
    each = max(1, -(-len(chunks) // MOST_STEPS))
    groups = [chunks[start : start + each] for start in range(0, len(chunks), each)]
    with beside() as hand_over:  # a shard is written and synced while the next is decoded
        workshop = Workshop(
            source=source,
            image=recipe.image,
            staging=staging,
            shards=shards,
            advance=partial(_advance, progress, "decode", total),
            hand_over=hand_over,
        )
        steps = [
            step(f"decode {number} of {len(groups)}", partial(_make_group, group, workshop))
            for number, group in enumerate(groups, 1)
        ]
    return list(itertools.chain.from_iterable(steps))


def _make_group(chunks: Sequence[Chunk], workshop: Workshop) -> list[MadeShard]:
    return [make_shard(chunk, workshop) for chunk in chunks]


def _advance(progress: Progress, name: str, total: int, more: int) -> None:
    progress(name, more, total)


def _judge_and_publish(draft: Draft, before: Version | None, made: int) -> Ingested:
    """Publish the draft if its budget allows and anything changed."""
    check_manifest(draft.manifest).require()
    dataset, verdict = draft.recipe.dataset_path, draft.recipe.checks.budget(draft.manifest)
    ingested = partial(Ingested, verdict=verdict, manifest=draft.manifest, findings=draft.findings, made=made)
    if not verdict.passed:
        _write_report(draft, dataset / REFUSED_REPORT, ["nhwc gate RECIPE"])
        return ingested(outcome="refused", version=None, place=write_refused(draft))
    adopt_shards(draft)
    number = next_number(draft, before)
    version = before if before is not None and number is None else _publish(draft, number or FIRST, before)
    if before is not None and number is None and draft.recipe.remote is not None:
        upload(before, draft.recipe.remote, before)  # what the store lost
    tidy(dataset)
    outcome: Literal["unchanged", "published"] = "unchanged" if number is None else "published"
    version = replace(version, remote=draft.recipe.remote)
    return ingested(outcome=outcome, version=version, place=version.folder)


def _publish(draft: Draft, number: str, before: Version | None) -> Version:
    """The version with its report, named by `latest` last."""
    version = write_version(draft, number)
    _write_report(
        draft, version.folder / REPORT, [f"nhwc gate {quoted(f'{draft.recipe.named_dataset}/{version.number}')}"]
    )
    if (remote := draft.recipe.remote) is not None:
        upload(version, remote, before)
    name_latest(version)
    if remote is not None:
        upload_latest(version, remote, before)
    return version


def _write_report(draft: Draft, path: Path, reproduce: Sequence[str]) -> None:
    """What the gate says of the draft, as a page."""
    from nhwc.flows.gate import GateOptions, judge_subject  # noqa: PLC0415  it imports this module
    from nhwc.flows.report import report_html  # noqa: PLC0415  Jinja, for what is published only

    subject = draft_subject(draft, name=draft.recipe.dataset, checked=True)
    verdict = judge_subject(subject, GateOptions())
    with silenced_native_stderr():  # it looks at broken files too
        page = report_html(subject, verdict, reproduce=reproduce)
    write_text(path, page)
