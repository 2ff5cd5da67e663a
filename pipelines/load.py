"""Load: a published version as batches, in an order that is exact, reseeded each epoch and resumable anywhere.

    number of a batch -> positions in its epoch -> samples -> one gather from the mapped shards, cast on the way

or, where batches lie in the shards as they are asked for, those pages themselves (`in_place`).

Everything of a batch, or of several small ones, happens in one call: no work is done for each sample of a small image
in Python, nor for each element in tf.data.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import tensorflow as tf

from nhwc.pipelines.background import Calls
from nhwc.pipelines.batch import BatchOptions, Epochs
from nhwc.pipelines.called import called_for_each, given, made_of_each
from nhwc.pipelines.cast import by_numpy
from nhwc.pipelines.cores import CORES
from nhwc.pipelines.finish import finished
from nhwc.pipelines.in_place import in_place
from nhwc.pipelines.memory import Memory
from nhwc.pipelines.plan import Plan, dtype_name, planned
from nhwc.pipelines.stopwatch import Stopwatch, timed
from nhwc.pipelines.store import ALIGNMENT
from nhwc.validators.spec import check_spec
from nhwc.validators.verdict import Verdict

Array = np.ndarray[Any, Any]

BLOCK_BYTES = 4 * 2**20
"""Batches smaller than half of this are made several at once: to make one by itself costs as much as to copy a hundred
kilobytes."""

BLOCK_STEPS = 64
"""At most so many batches are made at once: the first waits for all."""

READY_BATCHES = 2
"""Batches that wait for the consumer. Those that wait are part of an iterator's checkpoint."""

COPYING_THREADS = max(1, min(2, CORES - 1))
"""Blocks copied at a time. A core is left to the consumer: memory is as fast as one thread or two copy from it."""

DECODING_THREADS = min(CORES, 16)
"""Blocks decoded at a time, where shards hold files, as long as they do not take more than DECODED_BYTES."""

DECODED_BYTES = 2**30

Call = Callable[[np.int64], Any]

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
        `experimental_symbolic_checkpoint` (such a checkpoint does not hold which epoch it is in); what asks for more
        than it has given (your own `prefetch`, `unbatch().batch(n)`), which may have ended the epoch before its last
        batches are taken, unless `repeat()` comes before it; and to write it before the iterator has given a batch,
        when which epoch it is in is not settled yet. Keep the dataset, or one made of it by its methods, as long as
        what is made of it in other ways (`tf.data.experimental.to_variant`, datasets as elements or as results of a
        `tf.function`): with it ends what its batches are made by.

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
    dealing = plan.dealing
    epochs = Epochs(plan.samples.height, dealing.steps, plan.options)
    blocks = _Blocks(plan, epochs)
    number, numbers = tf.TensorSpec([], tf.int64), tf.TensorSpec([None], tf.int64)

    def hand_out(zero: np.int64) -> tuple[np.int64]:
        return (np.int64(epochs.hand_out()),)

    def begin(start: np.int64) -> tuple[np.int64, np.int64]:
        epochs.go_on(int(start))
        return start, np.int64(epochs.end(int(start)))

    def sizes(start: np.int64) -> tuple[Array]:
        return (dealing.sizes(int(start) % dealing.steps),)

    def one_epoch(start: tf.Tensor, begin: Call, sizes: Call, block: Call) -> tf.data.Dataset:
        first, end = given(begin, start, [number, number])
        firsts = tf.data.Dataset.range(first, end, blocks.steps)
        batches = called_for_each(firsts, block, blocks.spec, threads=blocks.threads)
        if blocks.steps > 1:  # cut by TensorFlow: not one call for each
            static = dealing.static_size
            each = given(sizes, start, [numbers])[0] if static is None else static
            batches = batches.rebatch(each, drop_remainder=static is not None)
        return batches.prefetch(READY_BATCHES)

    # `hand_out` is called once an iteration. What it gave is in an iterator's checkpoint; `one_epoch` runs again when
    # that is restored, and so tells `epochs` of it.
    starts = called_for_each(tf.data.Dataset.from_tensors(np.int64(0)), hand_out, [number])
    dataset = made_of_each(starts, one_epoch, (begin, sizes, blocks))
    if plan.options.start_batch % dealing.steps == 0:
        dataset = dataset.apply(tf.data.experimental.assert_cardinality(dealing.steps))
    return dataset


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


class _Blocks:
    """The samples of several steps at once, where batches are small: what a call of Python costs is paid once a block.

    Safe to call from several threads.
    """

    def __init__(self, plan: Plan, epochs: Epochs) -> None:
        self._plan, self._epochs = plan, epochs
        images = min(plan.options.batch_size, plan.samples.height)
        widest = max(np.dtype(one).itemsize for one in (plan.gathered_dtype, plan.cast.dtype))
        batch_bytes = images * int(np.prod(plan.contracts["load"].sizes)) * widest
        # what is looked at comes a batch at a time, so that none is refused for what another holds
        self.steps = 1 if plan.looked_at else min(plan.dealing.steps, BLOCK_STEPS, max(1, BLOCK_BYTES // batch_bytes))
        """How many steps a block holds, but for the last of an epoch."""
        decoding = max(COPYING_THREADS, min(DECODING_THREADS, DECODED_BYTES // (self.steps * batch_bytes)))
        self.threads = COPYING_THREADS if plan.decoding is None else decoding
        """How many are made at once."""
        # two more: the consumer's, and one on its way back
        self._memory = Memory(size=self.steps * batch_bytes, kept=self.threads + READY_BATCHES + 2)
        self._gather = plan.gather(self._memory.array)
        self._labels = plan.labels

    @cached_property
    def _ids(self) -> pa.Array:
        return self._plan.samples["sample_id"].cast(pl.Binary).to_arrow()

    @property
    def spec(self) -> tuple[tf.TensorSpec, ...]:
        """Images (samples, rows, cols, channels) or with channels before rows, labels, and ids if asked."""
        size, batch = self._plan.dealing.static_size if self.steps == 1 else None, self._plan.contracts["batch"]
        images = tf.TensorSpec([size, *batch.shape[1:]], batch.dtypes[0])
        others = tf.TensorSpec([size], tf.int64), tf.TensorSpec([size], tf.string)
        return images, *others[: 2 if self._plan.options.with_ids else 1]

    def __call__(self, first: np.int64) -> tuple[Array, ...]:
        """The block whose first batch is that one, counted from the start of training; it ends where the epoch does."""
        with _calls:
            return timed(self._plan.stopwatch, "batch", self._made)(int(first))

    def _made(self, first: int) -> tuple[Array, ...]:
        plan, dealing = self._plan, self._plan.dealing
        epoch, step = divmod(first, dealing.steps)
        places = [dealing.positions(one) for one in range(step, min(step + self.steps, dealing.steps))]
        order = self._epochs.order(epoch)
        indices = np.concatenate([order[one.start : one.stop] for one in places])

        def ids() -> Array:
            return self._ids.take(pa.array(indices)).to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]

        def names() -> list[str]:
            return [one.decode() for one in ids().tolist()]

        images = finished(plan, self._gather(indices), names, new=self._memory.array, to_dtype=_to_dtype)
        block = images, self._labels[indices]
        return (*block, ids()) if plan.options.with_ids else block


def _to_dtype(images: Array, dtype: str) -> Array:
    """By TensorFlow, which takes a quarter of NumPy's time to float16."""
    if not tf.executing_eagerly():  # it was turned off for the whole process
        return by_numpy(images, dtype)
    with tf.device("CPU:0"):
        aligned = images.ctypes.data % ALIGNMENT == 0  # else TensorFlow would end the process
        tensor = tf.experimental.dlpack.from_dlpack(images.__dlpack__()) if aligned else tf.constant(images)
        return np.asarray(tf.cast(tensor, dtype))
