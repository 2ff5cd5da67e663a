"""Load: a published version as batches, in an order that is exact, reseeded each epoch and resumable anywhere.

    step -> positions in the epoch -> samples -> one gather from the mapped shards, cast on the way -> batch

or, where batches lie in the shards as they are asked for, those pages themselves (`in_place`).

Everything of a batch, or of several small ones, happens in one call: no work is done for each sample of a small image
in Python, nor for each element in tf.data.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import tensorflow as tf

from nhwc.pipelines.background import Calls
from nhwc.pipelines.batch import BatchOptions, Dealing, Epochs, batch_contract, put_channels_first
from nhwc.pipelines.in_place import in_place
from nhwc.pipelines.memory import Memory
from nhwc.pipelines.plan import Plan, dtype_name, planned
from nhwc.pipelines.stopwatch import Stopwatch, timed, timed_in_graph
from nhwc.validators.guard import guard
from nhwc.validators.spec import check_spec
from nhwc.validators.verdict import Verdict

Array = np.ndarray[Any, Any]

PARALLEL_BATCHES = 2
"""Blocks made at a time: the copy out of the map is bound by memory, which two threads fill."""

BLOCK_BYTES = 4 * 2**20
"""Batches smaller than half of this are made several at once: a call of Python from TensorFlow's threads costs as much
as to copy a hundred kilobytes."""

BLOCK_STEPS = 64
"""At most so many batches are made at once: the first waits for all."""

READY_BATCHES = 2
"""Batches that wait for the consumer. Those that wait are part of an iterator's checkpoint."""

_calls = Calls()
"""By TensorFlow's threads, of what may take long."""


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
        dataset: the folder or URL (s3://...) of a dataset (its latest version), or of one version. From a store each
            shard comes when it is first needed, and stays in the cache (`docs/storage.md`).
        split: a split's name, several joined by `+`, or `all`.
        batch_size: images a batch (for each shard).
        shuffle: a new order of all samples each epoch; otherwise they come in the manifest's order, by path.
        seed: with `shuffle`: the order is a pure function of seed and epoch.
        dtype: of the images: float32, float16 or bfloat16; None: as stored for scale `none`, float32 for any other.
        scale: `none`: stored values; `unit`: [0, 1]; `signed`: [-1, 1]; `standard`: (x - mean) / std per channel, by
            the version's own statistics of the split train (of all where it has none). Computed in float32. A model on
            an accelerator does better to take `none` and scale there: of uint8 a quarter of the bytes are moved.
        channels_first: batches (samples, channels, rows, cols).
        drop_remainder: only whole batches. The batch axis is then static, as it is where the samples divide evenly.
        shard: (index, count) of this process in one training job: each step's samples are dealt among all.
        start_batch: how many batches a training has already seen, counted from its very start: the first iteration goes
            on there, mid-epoch, with what is left of that epoch. How `fit` takes that: `docs/readers.md`, Keras.
        with_ids: a third component: each sample's id in the manifest, by which a pixel is traced to its file.

    Returns:
        A dataset of images dtype[samples, rows, cols, channels], labels int64[samples] and ids string[samples].
        **Each iteration over it is the next epoch**, so `fit(dataset, epochs=3)`, `for batch in dataset` and
        `dataset.repeat()` all see a new order each epoch. `tf.train.Checkpoint(iterator=iter(dataset))` goes on exactly
        where it was written, in another process too, and so do the epochs after it. Three things spoil that: the option
        `experimental_symbolic_checkpoint` (such a checkpoint does not hold which epoch it is in); without `repeat()` a
        `prefetch` of your own, which may have ended the epoch before its last batches are taken; and to write it before
        the iterator has given a batch, when which epoch it is in is not settled yet.

    Raises:
        RecipeError: wrong arguments, all at once, or no such version.
        DataError: shards that the manifest names are missing.
        MachineError: a store cannot be reached.

    An image that breaks the stored contract, or a shard that is damaged, ends the iteration with a TensorFlow error
    whose text names the sample or the file.

    The memory of batches is used again once nothing holds them; a few blocks of a batch each wait for as long as the
    dataset exists. Photographs that a version holds in the order and dtype asked for are not copied: their tensors are
    the mapped pages of shards. Who gets round TensorFlow and writes into them changes later epochs, but never a file.
    """
    options = BatchOptions(
        split=split,
        batch_size=batch_size,
        shuffle=shuffle,
        seed=seed,
        dtype=dtype_name(dtype),
        scale=scale,
        channels_first=channels_first,
        drop_remainder=drop_remainder,
        shard=shard,
        start_batch=start_batch,
        with_ids=with_ids,
    )
    return load_with(dataset, options)


def load_with(dataset: str | Path, options: BatchOptions, *, stopwatch: Stopwatch | None = None) -> tf.data.Dataset:
    """The same. A stopwatch notes what is done for the batches: read, decode, check, cast, batch.

    With it every page is read before anything else is done with it, which otherwise happens on the way.
    """
    return _dataset(replace(planned(dataset, options, face="nhwc.load"), stopwatch=stopwatch))


def _dataset(plan: Plan) -> tf.data.Dataset:
    dataset = in_place(plan)
    if dataset is None:
        dataset = _gathered(plan)
    promised = replace(plan.contracts["batch"], value_range=None)
    Verdict(violations=check_spec(promised, dataset.element_spec[0], stage="batch").violations).require()
    return dataset.with_options(_tf_options(plan.options))


def _gathered(plan: Plan) -> tf.data.Dataset:
    """Batches whose samples are brought together from wherever they lie."""
    options, steps = plan.options, plan.dealing.steps
    epochs = Epochs(plan.samples.height, steps, options)
    blocks = _Blocks(plan, epochs)

    def begin(start: np.int64) -> np.int64:
        with _calls:
            return timed(plan.stopwatch, "batch", epochs.begin)(start)

    def one_epoch(start: tf.Tensor) -> tf.data.Dataset:
        start = tf.ensure_shape(tf.numpy_function(begin, [start], tf.int64, stateful=False), [])
        firsts = tf.data.Dataset.range(start, (start // steps + 1) * steps, blocks.steps)
        batches = firsts.map(blocks.tensors, num_parallel_calls=PARALLEL_BATCHES, deterministic=True)
        if blocks.steps > 1:
            batches = _cut(batches, plan.dealing, start % steps)
        if plan.looked_at:  # batch by batch, so that none is refused for what another holds
            look = partial(_finish, plan, size=plan.dealing.static_size)
            batches = batches.map(look, num_parallel_calls=PARALLEL_BATCHES, deterministic=True)
        return batches.prefetch(READY_BATCHES)

    # `hand_out` is called once an iteration, and fed an element, so that no optimiser takes it for a constant. What it
    # gave is in an iterator's checkpoint; `one_epoch` runs again when that is restored, and so tells `epochs` of it.
    dataset = tf.data.Dataset.from_tensors(0).map(
        lambda zero: tf.ensure_shape(tf.numpy_function(epochs.hand_out, [zero], tf.int64, stateful=False), [])
    )
    dataset = dataset.flat_map(one_epoch)
    if options.start_batch % steps == 0:
        dataset = dataset.apply(tf.data.experimental.assert_cardinality(steps))
    return dataset


def _cut(blocks: tf.data.Dataset, dealing: Dealing, step: tf.Tensor) -> tf.data.Dataset:
    """The batches that several of lie in each block, from that step of the epoch on: not one call for each."""
    if dealing.static_size is not None:
        return blocks.rebatch(dealing.static_size, drop_remainder=True)
    sizes = tf.ensure_shape(tf.numpy_function(dealing.sizes, [step], tf.int64, stateful=False), [None])
    return blocks.rebatch(sizes)


def _tf_options(options: BatchOptions) -> tf.data.Options:
    chosen = tf.data.Options()
    # a prefetch after the epoch's end would leave a checkpoint of its last batches without the epoch
    chosen.experimental_optimization.inject_prefetch = False
    # all is set already; and an iterator that ends waits for the tuner's thread, which sleeps twice as long each time:
    # a pass of 0.08 s ended after 0.15 s, one of 2.6 s after 5.1 s
    chosen.autotune.enabled = False
    if options.shard[1] > 1:  # dealt already: tf.distribute must not deal a second time
        chosen.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return chosen


def _finish(
    plan: Plan, images: tf.Tensor, labels: tf.Tensor, ids: tf.Tensor | None = None, *, size: int | None
) -> tuple[tf.Tensor, ...]:
    """Images, labels and, if asked, ids of so many samples, each stage held against its contract, in the graph."""
    stored, cast = plan.contracts["load"], plan.contracts["cast"]
    batch = batch_contract(cast, samples=size, channels_first=plan.options.channels_first)
    if not plan.cast_on_the_way:
        looked = partial(guard, stored.batched(size), stage="load", ids=ids)
        images = timed_in_graph(plan.stopwatch if plan.looked_at else None, "check", looked)(images)
    watch = plan.stopwatch if plan.cast_in_graph else None
    to_dtype = partial(tf.cast, dtype=plan.cast.dtype) if plan.cast_on_the_way else plan.cast
    # the range after the cast is proved by `cast_problems`, so only the spec is left to check
    images = guard(
        replace(cast.batched(size), value_range=None), timed_in_graph(watch, "cast", to_dtype)(images), stage="cast"
    )
    if plan.options.channels_first:
        images = timed_in_graph(plan.stopwatch, "batch", put_channels_first)(images)
    images = guard(replace(batch, value_range=None), images, stage="batch")
    return (images, labels, ids) if plan.options.with_ids else (images, labels)


class _Blocks:
    """The samples of several steps at once, where batches are small: what a call of Python costs is paid once a block.

    Safe to call from several threads.
    """

    def __init__(self, plan: Plan, epochs: Epochs) -> None:
        self._plan, self._epochs = plan, epochs
        stored = plan.contracts["load"]
        images = min(plan.options.batch_size, plan.samples.height)
        batch_bytes = images * int(np.prod(stored.sizes)) * np.dtype(plan.gathered_dtype).itemsize
        self.steps = min(plan.dealing.steps, BLOCK_STEPS, max(1, BLOCK_BYTES // batch_bytes))
        """How many steps a block holds, but for the last of an epoch."""
        # two more: the consumer's, and one on its way back
        memory = Memory(size=self.steps * batch_bytes, kept=PARALLEL_BATCHES + READY_BATCHES + 2)
        self._gather = plan.gather(memory.array)
        self._labels = plan.labels
        with_ids = plan.options.with_ids or plan.looked_at
        self._ids = plan.samples["sample_id"].cast(pl.Binary).to_arrow() if with_ids else None

    def tensors(self, first: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """In the graph: images (samples, rows, cols, channels), labels int64[samples], and string[samples] ids.

        Finished, but for values that have to be looked at.
        """
        plan = self._plan
        types = (plan.gathered_dtype, tf.int64, tf.string)[: 2 if self._ids is None else 3]
        images, *others = tf.numpy_function(timed(plan.stopwatch, "batch", self), [first], types, stateful=False)
        size = plan.dealing.static_size if self.steps == 1 else None
        images = tf.ensure_shape(images, [size, *plan.contracts["load"].shape])  # by which memory is taken
        others = [tf.ensure_shape(other, [size]) for other in others]
        return (images, *others) if plan.looked_at else _finish(plan, images, *others, size=size)

    def __call__(self, first: np.int64) -> tuple[Array, ...]:
        """The block whose first batch is that one, counted from the start of training; it ends where the epoch does."""
        with _calls:
            dealing = self._plan.dealing
            epoch, step = divmod(int(first), dealing.steps)
            places = [dealing.positions(one) for one in range(step, min(step + self.steps, dealing.steps))]
            order = self._epochs.order(epoch)
            indices = np.concatenate([order[one.start : one.stop] for one in places])
            block = self._gather(indices), self._labels[indices]
            if self._ids is None:
                return block
            return *block, self._ids.take(pa.array(indices)).to_numpy(zero_copy_only=False)
