"""Records: a published version as batches, by TensorFlow's own operations only, so that any process can make them.

    stretches of a shard -> records of a fixed length -> those of the split -> batch -> pixels, cast

`load` calls Python for its batches, which is faster and shuffles exactly, but keeps them in the process that asked.
What is made here can be sent elsewhere: to the workers of `tf.data.service`, or into a saved graph.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import tensorflow as tf

from nhwc.pipelines.batch import BatchOptions, epoch_order
from nhwc.pipelines.opened import checked_shard
from nhwc.pipelines.plan import Plan, dtype_name, planned
from nhwc.validators.errors import RecipeError
from nhwc.validators.guard import guard

Array = np.ndarray[Any, Any]

STRETCH_BYTES = 32 * 2**20
"""The most that is read one after another: TensorFlow takes milliseconds to begin in the midst of a file."""

STRETCHES = 16
"""At least so many where there are samples enough, since the service's workers are dealt whole ones."""

SHUFFLED_BYTES = 256 * 2**20
"""What the images may take that a shuffled batch is drawn from."""

PARALLEL_BATCHES = 2
READY_BATCHES = 2


def load_records(  # noqa: PLR0913 - the public face: every argument is one that a training script sets by name
    dataset: str | Path,
    *,
    split: str = "train",
    batch_size: int = 32,
    shuffle: bool = False,
    seed: int = 0,
    dtype: str | tf.DType | None = None,
    scale: str = "none",
    drop_remainder: bool = False,
    with_ids: bool = False,
) -> tf.data.Dataset:
    """The batches of `load`, from operations of TensorFlow only: for `tf.data.service`, whose workers have no Python.

    Args:
        dataset, split, batch_size, dtype, scale, drop_remainder, with_ids: as for `load`.
        shuffle: stretches of shards in an order drawn by seed, and images out of a buffer of 256 MB, anew each
            iteration: not the exact shuffle of `load`. Otherwise images come in the order in which they are stored.
        seed: with `shuffle`.

    Returns:
        A dataset of images dtype[samples, rows, cols, channels], labels int64[samples] and, if asked, ids
        string[samples]; each iteration has every sample of the split once. Dealt among workers by
        `ShardingPolicy.DYNAMIC`, each sample comes once from one of them, and each worker ends with a batch of what
        it has left over; with `drop_remainder` each leaves that out.

    Raises:
        RecipeError: wrong arguments, all at once; no such version; one whose shards keep files (`storage: encoded`) or
            floats, which Python decodes or looks at.
        DataError: shards that are missing, or are not what the manifest says.

    Shards are read by their absolute paths, which have to be the same wherever a worker runs.
    """
    options = BatchOptions(
        split=split,
        batch_size=batch_size,
        shuffle=shuffle,
        seed=seed,
        dtype=dtype_name(dtype),
        scale=scale,
        drop_remainder=drop_remainder,
        with_ids=with_ids,
    )
    plan = planned(dataset, options, face="nhwc.load_records")
    if plan.decoding is not None:
        raise RecipeError("nhwc.load_records", ("found storage: encoded, expected pixels: use nhwc.load",))
    if plan.looked_at:
        stored = plan.contracts["load"]
        raise RecipeError("nhwc.load_records", (f"found {stored}, expected a dtype of whole numbers: use nhwc.load",))
    return _dataset(plan)


@dataclass(frozen=True, kw_only=True)
class _Stretches:
    """Where the split's images lie, as arrays of one entry a stretch; and the samples, as arrays of one a record.

    Args:
        paths: string[stretches]: the shard.
        headers, footers: int64[stretches]: its bytes before and after the stretch.
        first, after: int64[stretches]: the stretch's records among all.
        labels: int64[records]: -1 where the record is none of the split.
        ids: string[records].
    """

    paths: Array
    headers: Array
    footers: Array
    first: Array
    after: Array
    labels: Array
    ids: Array


def _stretches(plan: Plan) -> _Stretches:
    """Cut the shards into stretches; what of them holds no sample of the split is left out where it can be."""
    each = plan.contracts["load"].item_bytes
    most = max(1, min(STRETCH_BYTES // each, plan.samples.height // STRETCHES))
    samples = plan.samples.sort("shard", "row").with_columns(part=pl.col("row").cast(pl.Int64) // most)
    samples = samples.with_columns(stretch=pl.struct("shard", "part").rle_id())
    cuts = samples.group_by("stretch", maintain_order=True).agg(
        pl.col("shard").first(), begin=pl.col("row").min().cast(pl.Int64), end=pl.col("row").max().cast(pl.Int64) + 1
    )
    shard, begin, end = (cuts[name].to_numpy() for name in ("shard", "begin", "end"))
    after = np.cumsum(end - begin)
    first = after - (end - begin)
    stretch = samples["stretch"].to_numpy()
    records = first[stretch] + samples["row"].to_numpy() - begin[stretch]
    labels, ids = np.full(after[-1], -1, np.int64), np.full(after[-1], b"", object)
    labels[records] = samples["label_id"].to_numpy()
    ids[records] = samples["sample_id"].cast(pl.Binary).to_list()
    begins = _begins(plan)
    headers = begins[shard] + begin * each
    sizes = np.array([path.stat().st_size for path in plan.shards])
    return _Stretches(
        paths=np.array([str(path) for path in plan.shards], object)[shard],
        headers=headers,
        footers=sizes[shard] - headers - (end - begin) * each,
        first=first,
        after=after,
        labels=labels,
        ids=ids,
    )


def _begins(plan: Plan) -> Array:
    """Where in each shard the images begin, in bytes, once it is seen that its samples are the manifest's."""
    begins = []
    for number, path in enumerate(plan.shards):
        mine = plan.samples.filter(pl.col("shard") == number)
        ids = mine["sample_id"].cast(pl.String).to_arrow()
        rows = mine["row"].to_numpy()
        begins.append(checked_shard(path, plan.contracts["load"], rows=rows, ids=ids, bring=plan.bring).begins)
    return np.array(begins, np.int64)


def _dataset(plan: Plan) -> tf.data.Dataset:
    options, each, lie = plan.options, plan.contracts["load"].item_bytes, _stretches(plan)
    order = epoch_order(len(lie.paths), options.seed, 0) if options.shuffle else np.arange(len(lie.paths))
    labels, ids = tf.constant(lie.labels), tf.constant(lie.ids, tf.string)

    def read(path: tf.Tensor, header: tf.Tensor, footer: tf.Tensor, first: tf.Tensor, after: tf.Tensor) -> Any:
        images = tf.data.FixedLengthRecordDataset(path, each, header_bytes=header, footer_bytes=footer)
        samples = (labels[first:after], ids[first:after])[: 2 if options.with_ids else 1]
        return tf.data.Dataset.zip(images, *map(tf.data.Dataset.from_tensor_slices, samples))

    # the order is fixed here, not by `shuffle`, whose buffer would be filled by one worker with all that there is
    facts = tuple(one[order] for one in (lie.paths, lie.headers, lie.footers, lie.first, lie.after))
    dataset = tf.data.Dataset.from_tensor_slices(facts).flat_map(read)
    if (lie.labels < 0).any():
        dataset = dataset.filter(lambda image, label, *ids: label >= 0)
    if options.shuffle:
        dataset = dataset.shuffle(max(1, min(plan.samples.height, SHUFFLED_BYTES // each)), seed=options.seed)
    size = options.batch_size if options.drop_remainder else None
    dataset = dataset.batch(options.batch_size, drop_remainder=options.drop_remainder)
    dataset = dataset.map(partial(_finish, plan, size), num_parallel_calls=PARALLEL_BATCHES, deterministic=True)
    return dataset.prefetch(READY_BATCHES)


def _finish(plan: Plan, size: int | None, records: tf.Tensor, *others: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """Images of records string[samples], each stage held against its contract by its spec, in the graph."""
    stored, cast = plan.contracts["load"], plan.contracts["cast"]
    images = tf.reshape(tf.io.decode_raw(records, stored.dtypes[0]), [-1 if size is None else size, *stored.shape])
    images = guard(stored.batched(size), images, stage="load")
    images = guard(replace(cast.batched(size), value_range=None), plan.cast(images), stage="cast")
    return (images, *others)
