"""Make shards: read, decode and check a chunk of files, and keep what passed as one Arrow file."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from nhwc.flows.durable import write_durably, write_frame
from nhwc.flows.native_stderr import silenced_native_stderr
from nhwc.flows.parallel import on_all_cores
from nhwc.pipelines.image import Prepared, image_stages, prepare
from nhwc.pipelines.image_recipe import ImageRecipe
from nhwc.pipelines.sources.protocol import Entry, Source
from nhwc.pipelines.stage import Array, Stage
from nhwc.pipelines.store import record_batch, samples_a_shard, shard_name
from nhwc.validators.manifest import frame
from nhwc.validators.violation import Code, Violation

OF_THE_MOMENT = frozenset({Code.CHANGED, Code.UNREADABLE_FILE, Code.OUT_OF_MEMORY})
"""What the next run may find otherwise though the bytes are the same: never taken over from a run before."""

Advance = Callable[[int], None]
"""Told how many more files are done."""


@dataclass(frozen=True, kw_only=True)
class HashedEntry:
    """A candidate with the SHA-256 and the size in bytes of its file, or with why it cannot be read."""

    entry: Entry
    sha256: str | None = None
    size: int | None = None
    violation: Violation | None = None


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """So many candidates as make one shard, and the name that it will have."""

    name: str
    samples: tuple[HashedEntry, ...]


@dataclass(frozen=True, kw_only=True)
class MadeShard:
    """The manifest's rows of a chunk, and how many files were decoded for them now."""

    rows: pl.DataFrame
    decoded: int


def hash_entries(entries: Sequence[Entry], source: Source, *, max_bytes: int, advance: Advance) -> list[HashedEntry]:
    """The SHA-256 of every candidate's file, in the entries' order; a file of more than max_bytes is not read."""
    hashed = []
    for one in on_all_cores(partial(_hash_entry, source=source, max_bytes=max_bytes), entries):
        hashed.append(one)
        advance(1)
    return hashed


def _hash_entry(entry: Entry, source: Source, max_bytes: int) -> HashedEntry:
    try:
        with source.location(entry).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > max_bytes:
                expected, found = f"at most {max_bytes:,} bytes", f"{size:,} bytes"
                violation = Violation(
                    code=Code.TOO_MANY_BYTES, stage="probe", aspect="bytes", expected=expected, found=found
                )
                return HashedEntry(entry=entry, size=size, violation=violation)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            return HashedEntry(entry=entry, sha256=digest, size=file.tell())
    except OSError as error:
        return HashedEntry(entry=entry, violation=_unreadable(error))


def plan_chunks(samples: Sequence[HashedEntry], image: ImageRecipe) -> list[Chunk]:
    """The samples in order, cut where shards are full."""
    size = samples_a_shard(image.contract)
    chunks = []
    for start in range(0, len(samples), size):
        part = tuple(samples[start : start + size])
        offered = ((one.entry.sample_id, one.sha256 or "", one.entry.label or "") for one in part)
        chunks.append(Chunk(name=shard_name(offered, image.fingerprint), samples=part))
    return chunks


def make_shard(
    chunk: Chunk, *, source: Source, image: ImageRecipe, staging: Path, shards: Path, advance: Advance
) -> MadeShard:
    """The manifest's rows of a chunk; its shard lies in `staging` afterwards, or already in `shards`.

    A chunk that an earlier run finished is not made again: its rows are written last, and read back here.
    """
    rows_file, shard_file = staging / f"{chunk.name}.parquet", staging / f"{chunk.name}.arrow"
    if rows_file.is_file():
        rows = pl.read_parquet(rows_file)
        if rows["shard"].null_count() == rows.height or shard_file.is_file() or (shards / shard_file.name).is_file():
            advance(len(chunk.samples))
            splits = {sample.entry.sample_id: sample.entry.split for sample in chunk.samples}  # may be others by now
            split = pl.col("sample_id").replace_strict(splits, return_dtype=pl.String)
            return MadeShard(rows=rows.with_columns(split=split), decoded=0)
    images = np.empty((len(chunk.samples), *image.contract.sizes), image.dtype)
    kept: list[dict[str, Any]] = []
    rows_made: list[dict[str, Any]] = []
    make = partial(_make_sample, source=source, image=image, stages=image_stages(image))
    with silenced_native_stderr():
        for row, array in on_all_cores(make, chunk.samples):
            if array is not None:
                images[len(kept)] = array
                row |= {"shard": chunk.name, "row": len(kept)}
                kept.append(row)
            rows_made.append(row)
            advance(1)
    if kept:
        labels, ids = [row["label"] for row in kept], [row["sample_id"] for row in kept]
        batch = record_batch(images[: len(kept)], labels, ids, image.contract)
        write_durably(shard_file, partial(_write_arrow, batch))
    rows = frame(rows_made)
    if not any(row.get("code") in OF_THE_MOMENT for row in rows_made):
        write_frame(rows_file, rows)
    return MadeShard(rows=rows, decoded=rows.height - rows["decoder"].null_count())


def _make_sample(
    sample: HashedEntry, *, source: Source, image: ImageRecipe, stages: Sequence[Stage]
) -> tuple[dict[str, Any], Array | None]:
    """The manifest's row of one candidate, and what is stored of it if it is kept."""
    prepared = _prepare(sample, source, image, stages)
    row = entry_row(sample.entry) | {"sha256": sample.sha256, "bytes": sample.size, "decoder": prepared.decoder}
    if prepared.facts is not None:
        row |= asdict(prepared.facts)
    if prepared.figures is not None:
        row |= asdict(prepared.figures) | {"perceptual_hash": prepared.perceptual_hash}
    row["notes"] = [str(code) for code in (*sample.entry.notes, *prepared.notes)]
    if prepared.array is None:
        return row | violation_row(*prepared.violations), None
    return row | {"status": "kept"} | _pixel_facts(prepared.array), prepared.array


def _prepare(sample: HashedEntry, source: Source, image: ImageRecipe, stages: Sequence[Stage]) -> Prepared:
    """Read one file and pass it through the stages; whatever is wrong with it comes back as violations."""
    try:
        with source.location(sample.entry).open("rb") as file:
            content = file.read(image.max_bytes + 1)  # one more than allowed is enough to refuse it
    except OSError as error:
        return Prepared(violations=(_unreadable(error),))
    if len(content) <= image.max_bytes and hashlib.sha256(content).hexdigest() != sample.sha256:
        changed = Violation(
            code=Code.CHANGED, stage="probe", aspect="bytes", expected=f"sha256 {sample.sha256}", found="another"
        )
        return Prepared(violations=(changed,))
    suffix = Path(sample.entry.name).suffix
    return prepare(content, suffix=suffix, recipe=image, stages=stages, sample_id=sample.entry.sample_id)


def entry_row(entry: Entry) -> dict[str, Any]:
    """The part of a row that discovery knows."""
    row: dict[str, Any] = {
        "sample_id": entry.sample_id, "path": entry.path, "label": entry.label, "split": entry.split
    }  # fmt: skip
    if entry.violation is not None:
        row |= violation_row(entry.violation) | {"status": entry.status}
    return row


def violation_row(*violations: Violation) -> dict[str, Any]:
    """The part of a row that says why it is quarantined: the first code, and all that was found and expected."""
    row = {"status": "quarantined", "code": str(violations[0].code), "stage": violations[0].stage}
    for name in ("aspect", "expected", "found", "hint"):
        row[name] = "; ".join(getattr(violation, name) for violation in violations)
    return row


def _pixel_facts(pixels: Array) -> dict[str, Any]:
    """Hash, and mean and standard deviation of each channel in float64, of one stored image."""
    channels = [pixels[..., channel] for channel in range(pixels.shape[-1])]
    return {
        "pixel_hash": hashlib.sha256(pixels.tobytes()).hexdigest(),
        "channel_mean": [float(channel.mean(dtype=np.float64)) for channel in channels],
        "channel_std": [float(channel.std(dtype=np.float64)) for channel in channels],
    }


def _write_arrow(batch: pa.RecordBatch, path: Path) -> None:
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write(batch)


def _unreadable(error: OSError) -> Violation:
    found = error.strerror or str(error)
    return Violation(code=Code.UNREADABLE_FILE, stage="probe", aspect="bytes", expected="a readable file", found=found)
