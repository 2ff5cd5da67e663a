"""What an ingest would publish: everything of the source discovered, hashed, decoded where it is new, and staged."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from functools import partial

import polars as pl

from nhwc.flows.draft import drafted, known_rows, read_asked, settled_rows
from nhwc.flows.engines import Engine
from nhwc.flows.hashing import Hashes, Known, hash_entries
from nhwc.flows.mend import Condition, lost_chunks
from nhwc.flows.publish import STAGING, Draft
from nhwc.flows.recipe import Recipe
from nhwc.flows.seen import Look, known_hashes, remember_hashes
from nhwc.flows.shards import Chunk, MadeShard, Workshop, plan_chunks
from nhwc.flows.steps import Progress, Step
from nhwc.pipelines.sources.labels import Labelling, label_entries, read_label_file
from nhwc.pipelines.sources.protocol import Discovery, Entry, Source
from nhwc.pipelines.version import Version
from nhwc.validators.errors import MachineError
from nhwc.validators.violation import Code


def make_draft(
    recipe: Recipe, condition: Condition, look: Look, engine: Engine, step: Step, progress: Progress
) -> tuple[Draft, int]:
    """The draft, and how many files were decoded for it now. What was decoded is staged.

    Args:
        recipe: what is asked for.
        condition: in what state the dataset is.
        look: at the source.
        engine: makes the shards.
        step, progress: are told.

    Raises RecipeError where the contract or rules that it names are none, MachineError where a folder or a worker
    fails, and OSError where the disk does.
    """
    asked, source, labelling = read_asked(recipe), source_of(recipe), _labelling(recipe)
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
    return drafted(asked, discovery, labelling, entries, manifest, condition.before), decoded


def source_of(recipe: Recipe) -> Source:
    """Where a recipe's samples come from."""
    return recipe.source.source(recipe.base, recipe.image)


def _see_folders(discovery: Discovery, before: Version | None) -> None:
    """Raises MachineError where a folder cannot be listed of which the version before has samples."""
    for entry in discovery.entries:
        refused = entry.violation
        if before is None or refused is None or refused.code is not Code.UNREADABLE_FOLDER:
            continue
        lost = before.kept["path"].str.starts_with("" if entry.path == "." else entry.path + "/").sum()
        if lost:
            found = f"{entry.path}: cannot be listed ({refused.found})"
            raise MachineError(f"{found}, and version {before.number} has {lost} samples of it: open it, or remove it")


def _labelling(recipe: Recipe) -> Labelling:
    """How the recipe's entries come to their labels and given splits."""
    with_splits, file = recipe.splits.from_ == "file", recipe.label_file
    return Labelling(
        listed=None if file is None else read_label_file(file, with_splits=with_splits),
        depth=recipe.labels.depth,
        given=recipe.labels.from_ == "source",
        split_given=recipe.splits.from_ == "source",
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
