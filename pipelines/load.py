"""Load: a published version as batches, in an order that is exact, reseeded each epoch and resumable anywhere.

    step -> positions in the epoch -> samples -> one gather from the mapped shards -> cast -> batch

Everything of a batch happens in one call: no work is done for each sample in Python or for each element in tf.data.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import tensorflow as tf

from nhwc.pipelines.background import Calls
from nhwc.pipelines.batch import BatchOptions, Dealing, Epochs, contracts, put_channels_first
from nhwc.pipelines.cast import SPACING, Cast, ChannelStatistics, cast_dtype, cast_problems, make_cast
from nhwc.pipelines.store import open_shard
from nhwc.pipelines.version import Version
from nhwc.validators.contract import TensorContract
from nhwc.validators.errors import DataError, RecipeError
from nhwc.validators.guard import guard
from nhwc.validators.verdict import Verdict
from nhwc.validators.violation import Code, Violation

Array = np.ndarray[Any, Any]

PARALLEL_BATCHES = 2
"""Batches made at a time: the copy out of the map is bound by memory, which two threads fill."""

READY_BATCHES = 2
"""Batches that wait for the consumer. Those that wait are part of an iterator's checkpoint."""

_calls = Calls()
"""Of `_Gather`, by TensorFlow's threads."""

_LARGE_IMAGE = 16 * 2**10
"""Bytes. To copy so much takes longer than to ask for the copy."""

_FEW_STRETCHES = 16
"""Changes of shard within a batch that are not worth sorting for."""

_ALIGNMENT = 64
"""Bytes. TensorFlow takes a NumPy array that begins at a multiple of this as it is, and copies any other."""


def load(  # noqa: PLR0913 - the public face: every argument is one that a training script sets by name
    dataset: str | Path,
    *,
    split: str = "train",
    batch_size: int = 32,
    shuffle: bool = False,
    seed: int = 0,
    dtype: str | tf.DType | None = None,
    scale: str = "none",
    channels_first: bool = False,
    drop_remainder: bool = False,
    shard: tuple[int, int] = (0, 1),
    start_batch: int = 0,
    with_ids: bool = False,
) -> tf.data.Dataset:
    """A published version's samples as batches of (images, labels), or (images, labels, ids).

    Args:
        dataset: the folder of a dataset (its latest version), or of one version.
        split: a split's name, several joined by `+`, or `all`.
        batch_size: images a batch (for each shard).
        shuffle: a new order of all samples each epoch; otherwise they come in the manifest's order, by path.
        seed: with `shuffle`: the order is a pure function of seed and epoch.
        dtype: of the images: float32, float16 or bfloat16; None: as stored for scale `none`, float32 for any other.
        scale: `none`: stored values; `unit`: [0, 1]; `signed`: [-1, 1]; `standard`: (x - mean) / std per channel, by
            the version's own statistics of the split train (of all where it has none). Computed in float32.
        channels_first: batches (samples, channels, rows, cols).
        drop_remainder: only whole batches. The batch axis is then static, as it is where the samples divide evenly.
        shard: (index, count) of this process in one training job: each step's samples are dealt among all.
        start_batch: how many batches a training has already seen, counted from its very start: the first iteration goes
            on there, mid-epoch, with what is left of that epoch.
        with_ids: a third component: each sample's id in the manifest, by which a pixel is traced to its file.

    Returns:
        A dataset of images dtype[samples, rows, cols, channels], labels int64[samples] and ids string[samples].
        **Each iteration over it is the next epoch**, so `fit(dataset, epochs=3)`, `for batch in dataset` and
        `dataset.repeat()` all see a new order each epoch. `tf.train.Checkpoint(iterator=iter(dataset))` goes on exactly
        where it was written, in another process too, and so do the epochs after it. Two things spoil that: the option
        `experimental_symbolic_checkpoint` (such a checkpoint does not hold which epoch it is in), and, without
        `repeat()`, a `prefetch` of your own, which may have ended the epoch before its last batches are taken.

    Raises:
        RecipeError: wrong arguments, all at once, or no such version.
        DataError: shards that the manifest names are missing.

    An image that breaks the stored contract, or a shard that is damaged, ends the iteration with a TensorFlow error
    whose text names the sample or the file.
    """
    options = BatchOptions(
        split=split,
        batch_size=batch_size,
        shuffle=shuffle,
        seed=seed,
        dtype=_dtype_name(dtype),
        scale=scale,
        channels_first=channels_first,
        drop_remainder=drop_remainder,
        shard=shard,
        start_batch=start_batch,
        with_ids=with_ids,
    )
    problems = options.problems()
    try:
        version = Version.open(dataset)
    except RecipeError as error:
        raise RecipeError("nhwc.load", (*error.problems, *problems)) from error
    return _dataset(_plan(version, options, problems))


def batch_contract_of(
    stored: TensorContract,
    statistics: ChannelStatistics | None,
    *,
    scale: str = "none",
    dtype: str | None = None,
    channels_first: bool = False,
) -> TensorContract:
    """What a batch is that `load` gives of such images with these arguments, of any number of samples.

    Raises RecipeError where they are wrong.
    """
    options = BatchOptions(scale=scale, dtype=_dtype_name(dtype), channels_first=channels_first)
    problems = [*options.problems(), *_dtype_problems(stored, options)]
    if problems:
        raise RecipeError("nhwc.load", tuple(problems))
    return contracts(stored, options, samples=None, statistics=statistics if scale == "standard" else None)["batch"]


def _dtype_name(dtype: object) -> str | None:
    """The name of a dtype however it is given; what is none as it was written, for the message."""
    try:
        return None if dtype is None else str(tf.as_dtype(dtype).name)
    except TypeError:
        return str(dtype)


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """All that is settled before anything is read."""

    options: BatchOptions
    samples: pl.DataFrame  # sample_id, label_id, shard (a place in shards), row
    shards: tuple[Path, ...]
    dealing: Dealing
    cast: Cast
    contracts: dict[str, TensorContract]


def _plan(version: Version, options: BatchOptions, problems: list[str]) -> _Plan:
    """Settle everything. Raises RecipeError with the problems given and those that only the version shows."""
    stored = version.contract
    samples, found = _select(version, options.split)
    problems = [*problems, *found, *_dtype_problems(stored, options)]
    dealing = Dealing(
        samples=samples.height,
        batch_size=options.batch_size,
        shard=options.shard,
        drop_remainder=options.drop_remainder,
    )
    if problems:
        raise RecipeError("nhwc.load", tuple(problems))
    standard = options.scale == "standard"
    statistics = ChannelStatistics.of_splits(version.statistics["channels"]) if standard else None
    promised = contracts(stored, options, samples=dealing.static_size, statistics=statistics)
    cast = make_cast(stored, scale=options.scale, dtype=options.dtype, statistics=statistics)
    problems = [*dealing.problems(), *cast_problems(cast, stored, promised["cast"])]
    if problems:
        raise RecipeError("nhwc.load", tuple(problems))
    names = samples["shard"].unique(maintain_order=True)
    samples = samples.with_columns(pl.col("shard").replace_strict(names, range(len(names)), return_dtype=pl.Int32))
    shards = tuple(version.shard_path(name).absolute() for name in names)
    missing = [_broken_shard(path, Code.MISSING_PART, "no such file") for path in shards if not path.is_file()]
    Verdict(violations=tuple(missing)).require()
    return _Plan(options=options, samples=samples, shards=shards, dealing=dealing, cast=cast, contracts=promised)


def _select(version: Version, split: str) -> tuple[pl.DataFrame, list[str]]:
    """The kept samples of the splits named, in the manifest's order, and what is wrong with the names."""
    manifest = pl.scan_parquet(version.folder / "manifest.parquet").filter(pl.col("status") == "kept")
    kept = manifest.select("sample_id", "label_id", "split", "shard", "row").collect()
    if not isinstance(split, str):
        return kept, []
    exist = sorted(kept["split"].unique())
    asked = exist if split == "all" else split.split("+")
    unknown = [name for name in asked if name not in exist]
    if unknown or not asked:
        there = ", ".join(exist) or "none, since no sample was kept"
        named = ", ".join(map(repr, unknown)) or "no sample"
        return kept, [f"split: found {named}, expected some of: {there} (joined by +), or all"]
    return kept.filter(pl.col("split").is_in(asked)), []


def _dtype_problems(stored: TensorContract, options: BatchOptions) -> list[str]:
    allowed = list(SPACING) if options.scale != "none" else list(dict.fromkeys([stored.dtypes[0], *SPACING]))
    if cast_dtype(stored, scale=options.scale, dtype=options.dtype) in allowed:
        return []
    return [f"dtype: found {options.dtype!r}, expected one of {', '.join(allowed)} with scale {options.scale!r}"]


def _dataset(plan: _Plan) -> tf.data.Dataset:
    options, steps = plan.options, plan.dealing.steps
    epochs = Epochs(plan.samples.height, steps, options)
    batch = _batch_maker(plan)

    def one_epoch(start: tf.Tensor) -> tf.data.Dataset:
        start, order = tf.numpy_function(epochs.begin, [start], (tf.int64, tf.int64), stateful=False)
        start = tf.ensure_shape(start, [])
        return (
            tf.data.Dataset.range(start, (start // steps + 1) * steps)
            .map(lambda step: batch(step % steps, order), num_parallel_calls=PARALLEL_BATCHES, deterministic=True)
            .prefetch(READY_BATCHES)
        )

    # `hand_out` is called once an iteration, and fed an element, so that no optimiser takes it for a constant. What it
    # gave is in an iterator's checkpoint; `one_epoch` runs again when that is restored, and so tells `epochs` of it.
    dataset = tf.data.Dataset.from_tensors(0).map(
        lambda zero: tf.ensure_shape(tf.numpy_function(epochs.hand_out, [zero], tf.int64, stateful=False), [])
    )
    dataset = dataset.flat_map(one_epoch)
    if options.start_batch % steps == 0:
        dataset = dataset.apply(tf.data.experimental.assert_cardinality(steps))
    return dataset.with_options(_tf_options(options))


def _tf_options(options: BatchOptions) -> tf.data.Options:
    chosen = tf.data.Options()
    # a prefetch after the epoch's end would leave a checkpoint of its last batches without the epoch
    chosen.experimental_optimization.inject_prefetch = False
    if options.shard[1] > 1:  # dealt already: tf.distribute must not deal a second time
        chosen.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return chosen


def _batch_maker(plan: _Plan) -> Callable[[tf.Tensor, tf.Tensor], tuple[tf.Tensor, ...]]:
    """A function of (step int64[], order int64[samples] or empty) that makes the batch, in the graph."""
    gather = _Gather(plan)
    labels = tf.constant(plan.samples["label_id"].to_numpy(), tf.int64)
    stored, cast, batch = plan.contracts["load"], plan.contracts["cast"], plan.contracts["batch"]
    size = plan.dealing.static_size
    looked_at = not stored.range_settled_by(stored.dtypes[0])
    ids = (
        tf.constant(plan.samples["sample_id"].to_numpy().astype(np.bytes_))
        if plan.options.with_ids or looked_at
        else None
    )

    def make(step: tf.Tensor, order: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """The batch of one step: images, labels and, if asked, ids, each stage held against its contract."""
        indices = plan.dealing.positions(step)
        if plan.options.shuffle:
            indices = tf.gather(order, indices)
        indices = tf.ensure_shape(indices, [size])
        of_batch = None if ids is None else tf.gather(ids, indices)
        images = tf.numpy_function(gather, [indices], stored.dtypes[0], stateful=False)
        images = tf.ensure_shape(images, [size, *stored.shape])  # by which `gather` allocates: nothing is left open
        images = guard(stored.batched(size), images, stage="load", ids=of_batch)
        # the range after the cast is proved by `cast_problems`, so only the spec is left to check
        images = guard(replace(cast.batched(size), value_range=None), plan.cast(images), stage="cast")
        if plan.options.channels_first:
            images = put_channels_first(images)
        images = guard(replace(batch, value_range=None), images, stage="batch")
        if plan.options.with_ids:
            return images, tf.gather(labels, indices), of_batch
        return images, tf.gather(labels, indices)

    return make


class _Gather:
    """Copies the images of a batch out of the mapped shards, each of which is opened when first needed.

    Safe to call from several threads: the copies let other threads run.
    """

    def __init__(self, plan: _Plan) -> None:
        self._paths, self._contract = plan.shards, plan.contracts["load"]
        self._ids = plan.samples["sample_id"]
        self._shard, self._row = plan.samples["shard"].to_numpy(), plan.samples["row"].to_numpy()
        self._opened: dict[int, Array] = {}
        self._lock = threading.Lock()

    def __call__(self, indices: Array) -> Array:
        """The images at int64[samples] indices: (samples, rows, cols, channels) of the stored dtype."""
        with _calls:
            return self._gather(indices)

    def _gather(self, indices: Array) -> Array:
        numbers, rows = self._shard[indices], self._row[indices]
        images = _aligned((len(indices), *self._contract.shape), self._contract.dtypes[0])
        changes = np.count_nonzero(np.diff(numbers))
        if changes < _FEW_STRETCHES or images[0].nbytes >= _LARGE_IMAGE:
            self._copy_stretches(numbers, rows, images)
        else:
            # small images from many shards: a copy a shard, and one more of the whole, beats a copy a stretch
            by_shard = np.argsort(numbers, kind="stable")
            sorted_images = np.empty_like(images)
            self._copy_stretches(numbers[by_shard], rows[by_shard], sorted_images)
            np.take(sorted_images, np.argsort(by_shard), axis=0, out=images, mode="clip")
        return images

    def _copy_stretches(self, numbers: Array, rows: Array, into: Array) -> None:
        """Copy each stretch of samples that lie in one shard, once."""
        cuts = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(numbers)]
        for first, after in pairwise(cuts):
            _copy(self._images(int(numbers[first])), rows[first:after], into[first:after])

    def _images(self, number: int) -> Array:
        with self._lock:
            if number not in self._opened:
                self._opened[number] = self._open(number)
            return self._opened[number]

    def _open(self, number: int) -> Array:
        """Map a shard, and see that what the manifest places there is there."""
        path = self._paths[number]
        try:
            shard = open_shard(path)
        except FileNotFoundError as error:
            raise _refusal(path, Code.MISSING_PART, "no such file") from error
        except (OSError, KeyError, AttributeError, pa.ArrowException) as error:
            raise _refusal(path, Code.CHECKSUM, f"no readable shard ({error})") from error
        if shard.images.shape[1:] != self._contract.shape or shard.images.dtype != self._contract.dtypes[0]:
            raise _refusal(
                path, Code.CHECKSUM, f"images {shard.images.dtype}{list(shard.images.shape[1:])}, not {self._contract}"
            )
        mine = self._shard == number
        rows, ids = self._row[mine], pa.array(self._ids.filter(mine), pa.string())
        if rows.max() >= len(shard.images) or not shard.sample_ids.take(pa.array(rows)).equals(ids):
            raise _refusal(path, Code.CHECKSUM, "other samples than the manifest places in it")
        return shard.images


def _refusal(path: Path, code: Code, found: str) -> DataError:
    return DataError(Verdict(violations=(_broken_shard(path, code, found),)))


def _broken_shard(path: Path, code: Code, found: str) -> Violation:
    return Violation(code=code, stage="load", aspect="shard", expected=f"the shard published as {path}", found=found)


def _is_run(numbers: Array) -> bool:
    """Whether the numbers go up by one."""
    return len(numbers) == 1 or bool(numbers[-1] - numbers[0] == len(numbers) - 1 and (np.diff(numbers) == 1).all())


def _copy(images: Array, rows: Array, into: Array) -> None:
    """Copy rows of a shard into consecutive images of a batch, once."""
    if _is_run(rows):
        np.copyto(into, images[rows[0] : rows[-1] + 1])
    else:
        np.take(images, rows, axis=0, out=into, mode="clip")  # the rows are known to exist; `raise` would copy twice


def _aligned(shape: tuple[Any, ...], dtype: str) -> Array:
    """A new array, not filled, that TensorFlow takes over without a copy."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory = np.empty(size + _ALIGNMENT, np.uint8)
    first = -memory.ctypes.data % _ALIGNMENT
    return memory[first : first + size].view(dtype).reshape(shape)
