"""In place: batches in the manifest's order that are the mapped pages of shards themselves, without a copy.

To copy a photograph takes as long as a consumer takes to read it. Where shards hold the samples one after another, as
they do where a version has one split, TensorFlow can be handed their pages, and nothing is left to do for a batch.
"""

from __future__ import annotations

import mmap
import os
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import pairwise
from pathlib import Path
from threading import Thread

import numpy as np
import polars as pl
import tensorflow as tf

from nhwc.pipelines.opened import OpenedShards
from nhwc.pipelines.plan import Array, Plan
from nhwc.pipelines.stopwatch import Stopwatch, timed
from nhwc.pipelines.store import ALIGNMENT
from nhwc.validators.errors import DataError

LARGE_IMAGE = 16 * 2**10
"""Bytes. Smaller images are copied in less time than it takes to hand a batch on."""

MOST_STRETCHES = 64
"""Those of a shard share a map, which keeps a file open; 64 full shards are more than most machines hold in memory."""

_READ_BYTES = 1 << 20

Columns = tuple[Array, ...]
"""images (samples, rows, cols, channels), labels int64[samples] and, if asked, ids object[samples]."""


def in_place(plan: Plan) -> tf.data.Dataset | None:
    """The batches of each epoch, all in the same order; None where they have to be copied, or something is wrong.

    What decides is of the version and of what is asked for, so that a checkpoint fits in another process too; but a
    process that may open no more files copies.
    """
    if not _can_be(plan) or (stretches := _stretches(plan)) is None:
        return None
    parts = list(_parts(stretches, plan.options.batch_size, drop_remainder=plan.options.drop_remainder))
    dataset = parts[0]
    for part in parts[1:]:
        dataset = dataset.concatenate(part)
    if plan.stopwatch is not None:
        dataset = dataset.map(partial(_read_first, plan.stopwatch))
    # so that what lies in two shards is put together beside the consumer's work
    return dataset.prefetch(1).apply(tf.data.experimental.assert_cardinality(plan.dealing.steps))


def _can_be(plan: Plan) -> bool:
    """Whether every epoch is the same and a batch is what is stored."""
    if not (tf.executing_eagerly() or tf.inside_function()):
        return False  # a graph of TensorFlow 1 takes no tensors in
    options, stored = plan.options, plan.contracts["load"]
    each_epoch_alike = not options.shuffle and options.shard[1] == 1 and options.start_batch % plan.dealing.steps == 0
    a_whole_batch = plan.samples.height >= options.batch_size
    as_stored = not (plan.looked_at or plan.cast_on_the_way or plan.cast_left or options.channels_first)
    here = plan.decoding is None and plan.bring is None
    large = stored.item_bytes >= LARGE_IMAGE and stored.item_bytes % ALIGNMENT == 0
    return each_epoch_alike and a_whole_batch and as_stored and here and large


def _stretches(plan: Plan) -> list[Columns] | None:
    """What lies in a shard one after another; None where that is too little at once, or a shard cannot be opened."""
    number, row = plan.samples["shard"].to_numpy(), plan.samples["row"].to_numpy()
    cuts = np.flatnonzero((np.diff(number) != 0) | (np.diff(row) != 1)) + 1
    if len(cuts) >= MOST_STRETCHES:
        return None
    columns = [plan.labels]
    if plan.options.with_ids:
        columns.append(plan.samples["sample_id"].cast(pl.Binary).to_numpy())
    try:
        shards = _mapped(plan)
    except (DataError, OSError):  # said, with all that is wrong, when what copies comes to it
        return None
    if any(shard.ctypes.data % ALIGNMENT for shard in shards):
        return None
    ends = [0, *cuts.tolist(), len(row)]
    return [
        (shards[number[first]][row[first] : row[first] + after - first], *(one[first:after] for one in columns))
        for first, after in pairwise(ends)
    ]


def _mapped(plan: Plan) -> list[Array]:
    """The images of each shard, in a map of the process's own: what is written into it stays out of the file.

    TensorFlow would not write where the dataset holds the same pages; into an array that is no tensor's anybody may.
    Raises DataError where a shard is not what was published, and OSError.
    """
    opened = OpenedShards(plan.shards, plan.samples, plan.contracts["load"])
    mapped = []
    for number, path in enumerate(plan.shards):
        images, begins = np.asarray(opened[number].images), opened[number].begins
        with path.open("rb") as file:
            own = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        mapped.append(np.frombuffer(own, images.dtype, images.size, begins).reshape(images.shape))
    whole = mapped[0].base  # the array over the map, which every view of it keeps alive, unlike this reshaped one
    Thread(target=_read_ahead, args=(plan.shards, weakref.ref(whole)), daemon=True).start()
    return mapped


def _read_ahead(paths: Sequence[Path], wanted: Callable[[], object]) -> None:
    """Have shards read from storage, one after another, beside the consumer's work; what is in memory is left alone.

    Ends once `wanted` gives None: nothing holds the maps any more.
    """
    with suppress(OSError, AttributeError):  # of no matter: then they are read when they are needed
        for path in paths:
            with path.open("rb", buffering=0) as file:
                for begin in range(0, path.stat().st_size, _READ_BYTES):
                    if wanted() is None:
                        return
                    try:
                        os.preadv(file.fileno(), [bytearray(1)], begin, os.RWF_NOWAIT)
                    except BlockingIOError:
                        os.pread(file.fileno(), _READ_BYTES, begin)


def _read_first(stopwatch: Stopwatch, images: tf.Tensor, *others: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """The same, once every page of the images is read, which else the consumer does."""
    read = tf.numpy_function(timed(stopwatch, "read", _touched), [images], tf.int64)
    with tf.control_dependencies([read]):
        return tf.identity(images), *others


def _touched(images: Array) -> np.int64:
    return np.int64(np.add.reduce(images.reshape(-1).view(np.uint8)[:: mmap.PAGESIZE], dtype=np.int64))


def _parts(stretches: Sequence[Columns], size: int, *, drop_remainder: bool) -> Iterator[tf.data.Dataset]:
    """Datasets of batches of a size: of those that lie in one stretch, and of each that is made of several's ends."""
    waiting: list[Columns] = []
    for stretch in stretches:
        missing = -sum(len(part[0]) for part in waiting) % size
        first, left = _cut(stretch, missing)
        if missing:
            waiting.append(first)
            if len(first[0]) < missing:
                continue
            yield _joined(waiting)
        whole, rest = _cut(left, len(left[0]) // size * size)
        if len(whole[0]):
            yield tf.data.Dataset.from_tensor_slices(_tensors([one.reshape(-1, size, *one.shape[1:]) for one in whole]))
        waiting = [rest] if len(rest[0]) else []
    if waiting and not drop_remainder:
        yield _joined(waiting)


def _cut(columns: Columns, place: int) -> tuple[Columns, Columns]:
    """The samples before that place, and those from it on."""
    return tuple(one[:place] for one in columns), tuple(one[place:] for one in columns)


def _joined(parts: Sequence[Columns]) -> tf.data.Dataset:
    """One batch of all, copied together when it is asked for."""
    first, *others = (tf.data.Dataset.from_tensors(_tensors(part)) for part in parts)
    if not others:
        return first
    for other in others:
        first = first.concatenate(other)
    return first.rebatch(sum(len(part[0]) for part in parts), drop_remainder=True)


def _tensors(columns: Sequence[Array]) -> tuple[tf.Tensor, ...]:
    """Images without a copy, all else as TensorFlow takes it."""
    images, *others = columns
    return tf.experimental.dlpack.from_dlpack(images.__dlpack__()), *(tf.constant(one) for one in others)
