"""The main job: a folder of images becomes a published version.

    discover -> hash -> (probe -> decode -> convert -> resize -> store) for each chunk -> judge -> publish

Every step is a plain function; `step` decides whether it runs as a Prefect task or just runs.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from shlex import quote as quoted
from typing import Literal, Protocol, TypeVar

import polars as pl
import yaml

from nhwc.flows.durable import locked, write_text
from nhwc.flows.frozen_contract import contract_findings, read_contract
from nhwc.flows.native_stderr import silenced_native_stderr
from nhwc.flows.own_rules import read_own_rules
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
from nhwc.flows.shards import (
    OF_THE_MOMENT,
    Chunk,
    HashedEntry,
    MadeShard,
    entry_row,
    hash_entries,
    make_shard,
    plan_chunks,
    violation_row,
)
from nhwc.flows.subject import draft_subject
from nhwc.pipelines.sources.folder import Folder
from nhwc.pipelines.sources.labels import Labelling, class_findings, class_names, label_entries, read_label_file
from nhwc.pipelines.sources.protocol import Discovery, Entry, Source
from nhwc.pipelines.version import Version
from nhwc.validators.budget import check_budget
from nhwc.validators.duplicates import find_clusters
from nhwc.validators.errors import DataError, MachineError
from nhwc.validators.manifest import COLUMNS, check_manifest, frame
from nhwc.validators.own_rules import judge_own_rules
from nhwc.validators.splits import assign_splits
from nhwc.validators.verdict import Verdict
from nhwc.validators.violation import Violation

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
    with _in_place(recipe):
        before = latest_version(recipe.dataset_path)
        draft, decoded = _make_draft(recipe, before, step, progress)
        return step("publish", partial(_judge_and_publish, draft, before, decoded))


def draft_of(recipe: Recipe, *, step: Step = run_now, progress: Progress = no_progress) -> Draft:
    """What an ingest would publish. What was decoded for it stays staged, so the ingest need not decode it again.

    Raises MachineError where the machine fails.
    """
    with _in_place(recipe):
        return _make_draft(recipe, latest_version(recipe.dataset_path), step, progress)[0]


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


def _make_draft(recipe: Recipe, before: Version | None, step: Step, progress: Progress) -> tuple[Draft, int]:
    """The draft, and how many files were decoded for it now."""
    source, labelling = Folder(root=recipe.source_path), _labelling(recipe)
    discovery = step("discover", source.discover)
    entries = label_entries(discovery, labelling)
    hashed = step("hash", partial(_hash, entries, source, recipe, progress))
    known = _known_rows(hashed, before, recipe)
    new = [one for one in hashed if one.violation is None and one.entry.sample_id not in known]
    made = _make_shards(plan_chunks(new, recipe.image), source, recipe, step, progress)
    rows = frame([*_settled_rows(entries, hashed), *known.values()])
    manifest = pl.concat([rows, *(shard.rows for shard in made)])
    decoded = sum(shard.decoded for shard in made)
    return _draft(recipe, discovery, labelling, entries, manifest, before), decoded


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


def _hash(entries: Sequence[Entry], source: Source, recipe: Recipe, progress: Progress) -> list[HashedEntry]:
    candidates = [entry for entry in entries if entry.status == "candidate"]
    advance = partial(_advance, progress, "hash", len(candidates))
    return hash_entries(candidates, source, max_bytes=recipe.image.max_bytes, advance=advance)


def _known_rows(hashed: Iterable[HashedEntry], before: Version | None, recipe: Recipe) -> dict[str, dict[str, object]]:
    """The rows of the version before that still hold, by sample_id.

    They do where bytes, label and image recipe are the same and the shard is there.
    """
    if before is None or before.fingerprint != recipe.image.fingerprint:
        return {}
    present = {name for name in before.kept["shard"].unique() if before.shard_path(name).is_file()}
    old = {row["sample_id"]: row for row in before.manifest.filter(_decided_by_bytes()).iter_rows(named=True)}
    known = {}
    for one in hashed:
        row = old.get(one.entry.sample_id)
        if row is None or (row["sha256"], row["label"]) != (one.sha256, one.entry.label):
            continue
        if row["shard"] is None or row["shard"] in present:
            known[one.entry.sample_id] = row | {"split": one.entry.split}
    return known


def _decided_by_bytes() -> pl.Expr:
    """Rows that the same bytes and recipe bring about again: kept, or refused by a stage that saw the bytes."""
    by_stage = pl.col("stage").is_in(["probe", "decode", "convert", "resize"]) & pl.col("sha256").is_not_null()
    return (pl.col("status") == "kept") | (by_stage & ~pl.col("code").is_in([str(code) for code in OF_THE_MOMENT]))


def _settled_rows(entries: Iterable[Entry], hashed: Iterable[HashedEntry]) -> list[dict[str, object]]:
    """Rows of what never reaches a decoder: skipped, quarantined by discovery, or not readable."""
    rows = [entry_row(entry) for entry in entries if entry.status != "candidate"]
    return rows + [entry_row(one.entry) | violation_row(one.violation) for one in hashed if one.violation is not None]


def _make_shards(
    chunks: Sequence[Chunk], source: Source, recipe: Recipe, step: Step, progress: Progress
) -> list[MadeShard]:
    """Each chunk's shard. Chunks follow one another, so many to a step; inside one, all cores work on its samples."""
    total = sum(len(chunk.samples) for chunk in chunks)
    staging, shards = recipe.dataset_path / STAGING, recipe.dataset_path / "shards"
    staging.mkdir(exist_ok=True)
    advance = partial(_advance, progress, "decode", total)
    make = partial(make_shard, source=source, image=recipe.image, staging=staging, shards=shards, advance=advance)
    each = max(1, -(-len(chunks) // MOST_STEPS))
    groups = [chunks[start : start + each] for start in range(0, len(chunks), each)]
    steps = [
        step(f"decode {number} of {len(groups)}", partial(_make_group, group, make))
        for number, group in enumerate(groups, 1)
    ]
    return list(itertools.chain.from_iterable(steps))


def _make_group(chunks: Sequence[Chunk], make: Callable[[Chunk], MadeShard]) -> list[MadeShard]:
    return [make(chunk) for chunk in chunks]


def _advance(progress: Progress, name: str, total: int, more: int) -> None:
    progress(name, more, total)


def _draft(
    recipe: Recipe,
    discovery: Discovery,
    labelling: Labelling,
    entries: Sequence[Entry],
    manifest: pl.DataFrame,
    before: Version | None,
) -> Draft:
    """The manifest with label ids and splits, and what there is to say of the classes."""
    classes = class_names(entries, labelling)
    ids = pl.DataFrame(
        {"label": classes, "label_id": range(len(classes))}, schema={"label": pl.String, "label_id": pl.Int32}
    )
    kept = pl.col("status") == "kept"
    manifest = manifest.drop("label_id").join(ids, on="label", how="left", maintain_order="left")
    manifest = _splits(recipe, _clusters(manifest), before).select(list(COLUMNS)).sort("path", "sample_id")
    findings = class_findings(discovery, labelling, manifest.filter(kept)["label"].unique(), classes)
    promised = _broken_promises(recipe, manifest.filter(kept), classes)
    return Draft(manifest=manifest, classes=classes, findings=(*findings, *promised), recipe=recipe)


def _broken_promises(recipe: Recipe, kept: pl.DataFrame, classes: Sequence[str]) -> Iterator[Violation]:
    """What breaks the frozen contract and the user's own rules that the recipe names.

    Looked at here and not only by the gate, since a version may be read where neither file is.
    """
    if (file := recipe.frozen_contract) is not None:
        yield from contract_findings(read_contract(file), image=recipe.image.contract, classes=classes)
    if (file := recipe.own_rules) is not None:
        yield from judge_own_rules(kept.drop("perceptual_hash"), read_own_rules(file))


def _clusters(manifest: pl.DataFrame) -> pl.DataFrame:
    """The manifest with the cluster of each kept row: those that are the same picture share one."""
    kept = manifest.filter(pl.col("status") == "kept")
    found = kept.select("sample_id").with_columns(cluster=find_clusters(kept))
    return manifest.drop("cluster").join(found, on="sample_id", how="left", maintain_order="left")


def _splits(recipe: Recipe, manifest: pl.DataFrame, before: Version | None) -> pl.DataFrame:
    """The manifest with the split of each row: as given, or by hash of its cluster for what is kept.

    What the version before assigned by the same shares stays, so no image moves when others come.
    """
    if recipe.splits.from_ != "hash":
        return manifest
    kept = manifest.filter(pl.col("status") == "kept").select("sample_id", "sha256", "label", "cluster")
    settled = kept.join(_assigned_before(recipe, before), on=["sample_id", "sha256"])
    clusters = dict(settled.group_by("cluster").agg(pl.col("split").min()).iter_rows())
    groups = assign_splits(
        kept.select("cluster", "label").iter_rows(), recipe.splits.fractions, seed=recipe.splits.seed, settled=clusters
    )
    own = dict(settled.select("sample_id", "split").iter_rows())
    splits = {
        sample_id: own.get(sample_id, groups[cluster])
        for sample_id, cluster in kept.select("sample_id", "cluster").iter_rows()
    }
    split = pl.col("sample_id").replace_strict(splits, default=None, return_dtype=pl.String)
    return manifest.with_columns(split=split)


def _assigned_before(recipe: Recipe, before: Version | None) -> pl.DataFrame:
    """sample_id, sha256 and split of the version before, where it was split by the same shares; else no row."""
    asked = recipe.splits.model_dump(mode="json", by_alias=True)
    if before is None or yaml.safe_load(before.recipe_text)["splits"] != asked:
        return frame([]).select("sample_id", "sha256", "split")
    return before.kept.select("sample_id", "sha256", "split")


def _judge_and_publish(draft: Draft, before: Version | None, made: int) -> Ingested:
    """Publish the draft if its budget allows and anything changed."""
    check_manifest(draft.manifest).require()
    checks, dataset = draft.recipe.checks, draft.recipe.dataset_path
    verdict = check_budget(
        draft.manifest, bad_fraction=checks.bad_fraction, bad_fraction_per_class=checks.bad_fraction_per_class
    )
    ingested = partial(Ingested, verdict=verdict, manifest=draft.manifest, findings=draft.findings, made=made)
    if not verdict.passed:
        _write_report(draft, dataset / REFUSED_REPORT, ["nhwc gate RECIPE"])
        return ingested(outcome="refused", version=None, place=write_refused(draft))
    adopt_shards(draft)
    number = next_number(draft, before)
    version = before if before is not None and number is None else _publish(draft, number or FIRST)
    tidy(dataset)
    outcome: Literal["unchanged", "published"] = "unchanged" if number is None else "published"
    return ingested(outcome=outcome, version=version, place=dataset / version.number)


def _publish(draft: Draft, number: str) -> Version:
    """The version with its report, named by `latest` last."""
    version = write_version(draft, number)
    place = Path(draft.recipe.publish.to, draft.recipe.dataset, version.number)
    _write_report(draft, version.folder / REPORT, [f"nhwc gate {quoted(str(place))}"])
    name_latest(version)
    return version


def _write_report(draft: Draft, path: Path, reproduce: Sequence[str]) -> None:
    """What the gate says of the draft, as a page."""
    from nhwc.flows.gate import GateOptions, judge_subject  # noqa: PLC0415  it imports this module
    from nhwc.flows.report import report_html  # noqa: PLC0415  the plotting library, for what is published only

    subject = draft_subject(draft, name=draft.recipe.dataset)
    verdict = judge_subject(subject, GateOptions())
    with silenced_native_stderr():  # it looks at broken files too
        page = report_html(subject, verdict, reproduce=reproduce)
    write_text(path, page)
