"""Make shards: read, decode and check a chunk of files, and keep what passed as one Arrow file."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import polars as pl
import pyarrow as pa

from nhwc.flows.contained import prepare_contained
from nhwc.flows.durable import write_durably, write_frame
from nhwc.flows.hashing import Advance, HashedEntry, unreadable
from nhwc.flows.native_stderr import silenced_native_stderr
from nhwc.flows.parallel import THREADS, HandOver, Work, on_all_cores
from nhwc.pipelines.encoded import EncodedImages
from nhwc.pipelines.image import Prepared, image_stages
from nhwc.pipelines.image_recipe import ImageRecipe
from nhwc.pipelines.opened import checked_shard
from nhwc.pipelines.sources.protocol import Entry, Source
from nhwc.pipelines.stage import Array, Stage
from nhwc.pipelines.store import (
    SHARD_BYTES,
    SHARD_SAMPLES,
    encoded_batch,
    pixel_hash,
    record_batch,
    samples_a_shard,
    shard_name,
)
from nhwc.validators.errors import DataError
from nhwc.validators.manifest import frame
from nhwc.validators.moments import channel_moments
from nhwc.validators.violation import Code, Violation

OF_THE_MOMENT = frozenset({Code.CHANGED, Code.UNREADABLE_FILE, Code.OUT_OF_MEMORY, Code.DECODER_DIED, Code.TOO_SLOW})
"""What the next run may find otherwise though the bytes are the same: never taken over from a run before."""


def of_the_moment(*also: Code) -> pl.Expr:
    """Whether a row's code is of these, or one of OF_THE_MOMENT."""
    return pl.col("code").is_in([str(code) for code in (*OF_THE_MOMENT, *also)])


ROWS_AT_ONCE = 8192
"""Rows of the manifest that wait to become a frame."""

SMALL_BYTES = 1 << 17
"""Of as many files as a thread is given at a time."""

_decoding = threading.BoundedSemaphore(THREADS)
"""Held while an image is decoded: of a source that is waited for there are more threads than cores, and each image
takes the memory of its pixels."""


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


def plan_chunks(samples: Sequence[HashedEntry], image: ImageRecipe) -> list[Chunk]:
    """The samples in order, cut where shards are full."""
    return [
        Chunk(
            name=shard_name(
                ((one.entry.sample_id, one.sha256 or "", one.entry.label or "") for one in part), image.fingerprint
            ),
            samples=part,
        )
        for part in _parts(samples, image)
    ]


def _parts(samples: Sequence[HashedEntry], image: ImageRecipe) -> Iterator[tuple[HashedEntry, ...]]:
    """As many at once as make a full shard: of images all of one size, or of files each of its own."""
    if image.storage == "pixels":
        size = samples_a_shard(image.contract)
        yield from (tuple(samples[start : start + size]) for start in range(0, len(samples), size))
        return
    part: list[HashedEntry] = []
    held = 0
    for sample in samples:
        if part and (held + (sample.size or 0) > SHARD_BYTES or len(part) == SHARD_SAMPLES):
            yield tuple(part)
            part, held = [], 0
        part.append(sample)
        held += sample.size or 0
    if part:
        yield tuple(part)


@dataclass(frozen=True, kw_only=True)
class Workshop:
    """Where shards are made, and how.

    Args:
        source: of the files.
        image: the recipe.
        staging: the folder where shards and their rows are written.
        shards: the folder where shards of versions lie.
        threads: that work on the samples of a chunk.
    """

    source: Source
    image: ImageRecipe
    staging: Path
    shards: Path
    threads: int = THREADS


def do_now(work: Work) -> None:
    """Do what is handed over now."""
    work()


def make_shard(chunk: Chunk, workshop: Workshop, *, advance: Advance, hand_over: HandOver = do_now) -> MadeShard:
    """The manifest's rows of a chunk; its shard is handed over to be written, or lies there already.

    A chunk that an earlier run finished is not made again: its rows are written last, and read back here.
    """
    if (before := _made_before(chunk, workshop)) is not None:
        advance(len(chunk.samples))
        return MadeShard(rows=before, decoded=0)
    image = workshop.image
    content, gathered = _Content(len(chunk.samples), image), _Rows()
    make = partial(_make_sample, source=workshop.source, image=image, stages=image_stages(image))
    with silenced_native_stderr():
        each, threads = _at_once(chunk.samples), workshop.threads * workshop.source.readers
        for row, stored in on_all_cores(make, chunk.samples, at_once=each, threads=threads):
            if stored is not None:
                row |= {"shard": chunk.name, "row": content.add(row, stored)}
            gathered.add(row)
            advance(1)
    rows = gathered.frame()
    hand_over(partial(_write_shard, workshop.staging / chunk.name, content, rows))
    return MadeShard(rows=rows, decoded=rows.height - rows["decoder"].null_count())


def _made_before(chunk: Chunk, workshop: Workshop) -> pl.DataFrame | None:
    """The rows of a chunk that an earlier run finished, if its shard is there too, and both are what was written."""
    rows_file, shard_name = workshop.staging / f"{chunk.name}.parquet", f"{chunk.name}.arrow"
    try:
        rows = pl.read_parquet(rows_file)
    except (FileNotFoundError, pl.exceptions.PolarsError):
        return None
    if rows.height != len(chunk.samples):  # a lost shard's samples alone, without those that were refused beside them
        return None
    without, staged = rows["shard"].null_count() == rows.height, workshop.staging / shard_name
    if not (without or staged.is_file() or (workshop.shards / shard_name).is_file()):
        return None
    if staged.is_file() and not _is_whole(staged, rows.drop_nulls("shard"), workshop.image):
        return None
    splits = {sample.entry.sample_id: sample.entry.split for sample in chunk.samples}  # may be others by now
    return rows.with_columns(split=pl.col("sample_id").replace_strict(splits, return_dtype=pl.String))


def _is_whole(staged: Path, rows: pl.DataFrame, image: ImageRecipe) -> bool:
    """Whether a shard that waited to be published holds what was stored of these rows; it may have waited for long."""
    ids, places = rows["sample_id"].to_arrow(), rows["row"].to_list()
    try:
        images = checked_shard(staged, image.contract, rows=rows["row"].to_numpy(), ids=ids, image=image).images
    except DataError:
        return False
    if len(images) != len(places):
        return False
    if isinstance(images, EncodedImages):
        files = (hashlib.sha256(images.content(place)).hexdigest() for place in places)
        return list(files) == rows["sha256"].to_list()
    return [pixel_hash(images[place]) for place in places] == rows["pixel_hash"].to_list()


def _write_shard(place: Path, content: _Content, rows: pl.DataFrame) -> None:
    """The shard, and then its rows, by which the next run knows that it is whole."""
    if content.kept:
        write_durably(place.with_suffix(".arrow"), partial(_write_arrow, content.batch()))
    if rows.filter(of_the_moment()).is_empty():
        write_frame(place.with_suffix(".parquet"), rows)


def _at_once(samples: Sequence[HashedEntry]) -> int:
    """Files that a thread is given at a time: small ones several, large ones one, so that all threads end together."""
    held = sum(sample.size or 0 for sample in samples)
    return max(1, min(16, SMALL_BYTES * len(samples) // max(1, held)))


class _Rows:
    """The rows of a chunk: as a frame they take a tenth of the memory that they take one by one."""

    def __init__(self) -> None:
        self._frames, self._rows = list[pl.DataFrame](), list[dict[str, Any]]()

    def add(self, row: dict[str, Any]) -> None:
        """One more."""
        self._rows.append(row)
        if len(self._rows) == ROWS_AT_ONCE:
            self._frames.append(frame(self._rows))
            self._rows = []

    def frame(self) -> pl.DataFrame:
        """All of them."""
        return pl.concat([*self._frames, frame(self._rows)])


class _Content:
    """What a shard comes to hold: pixels in one array of its final size, or files as they are."""

    def __init__(self, samples: int, image: ImageRecipe) -> None:
        self._contract, self.kept = image.contract, 0
        pixels = image.storage == "pixels"
        self._pixels = np.empty((samples, *image.contract.sizes), image.dtype) if pixels else None
        self._files, self._labels, self._ids = list[bytes](), list[str](), list[str]()

    def add(self, row: dict[str, Any], stored: Array | bytes) -> int:
        """Hold one more sample; its place."""
        place = self.kept
        if isinstance(stored, bytes):
            self._files.append(stored)
        elif self._pixels is not None:
            self._pixels[place] = stored
        self._labels.append(row["label"])
        self._ids.append(row["sample_id"])
        self.kept += 1
        return place

    def batch(self) -> pa.RecordBatch:
        """All that is held."""
        if self._pixels is None:
            return encoded_batch(self._files, self._labels, self._ids)
        return record_batch(self._pixels[: self.kept], self._labels, self._ids, self._contract)


def _make_sample(
    sample: HashedEntry, *, source: Source, image: ImageRecipe, stages: Sequence[Stage]
) -> tuple[dict[str, Any], Array | bytes | None]:
    """The manifest's row of one candidate, and what is stored of it if it is kept."""
    content, prepared = _prepare(sample, source, image, stages)
    row = prepared_row(sample, prepared)
    if prepared.array is None:
        return row, None
    return row | _pixel_facts(prepared.array), prepared.array if image.storage == "pixels" else content


def prepared_row(sample: HashedEntry, prepared: Prepared) -> dict[str, Any]:
    """The part of a row that is known before anything is stored: what was read, measured, and refused."""
    row = entry_row(sample.entry) | {"sha256": sample.sha256, "bytes": sample.size, "decoder": prepared.decoder}
    if prepared.facts is not None:
        row |= vars(prepared.facts)
    if prepared.figures is not None:
        row |= vars(prepared.figures) | {"perceptual_hash": prepared.perceptual_hash}
    row["notes"] = [str(code) for code in (*sample.entry.notes, *prepared.notes)]
    return row | ({"status": "kept"} if prepared.array is not None else violation_row(*prepared.violations))


def _prepare(
    sample: HashedEntry, source: Source, image: ImageRecipe, stages: Sequence[Stage]
) -> tuple[bytes, Prepared]:
    """Read one file and pass it through the stages; whatever is wrong with it comes back as violations."""
    try:
        with source.open(sample.entry) as file:
            content = read_at_most(file, image.max_bytes + 1)  # one more than allowed is enough to refuse it
    except OSError as error:
        return b"", Prepared(violations=(unreadable(error),))
    if len(content) <= image.max_bytes and hashlib.sha256(content).hexdigest() != sample.sha256:
        changed = Violation(
            code=Code.CHANGED, stage="probe", aspect="bytes", expected=f"sha256 {sample.sha256}", found="another"
        )
        return b"", Prepared(violations=(changed,))
    name = sample.entry.sample_id
    with _decoding:
        return content, prepare_contained(
            content, suffix=sample.entry.suffix, recipe=image, stages=stages, sample_id=name
        )


def read_at_most(file: BinaryIO, most: int) -> bytes:
    """At most so many bytes; a read may give fewer than there are."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    content = file.read(min(most, size + 1))
    while content and len(content) not in (size, most) and (more := file.read(most - len(content))):
        content += more
    return content


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
    mean, std = channel_moments(pixels)
    return {
        "pixel_hash": pixel_hash(pixels),
        "channel_mean": mean.tolist(),
        "channel_std": std.tolist(),
    }


def _write_arrow(batch: pa.RecordBatch, path: Path) -> None:
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write(batch)
