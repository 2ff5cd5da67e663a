"""What the roads from a shard to a batch of 128 x 224 x 224 x 3 cost, in milliseconds, each the median of many turns.

python benchmarks/roads.py
"""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import polars as pl
import tensorflow as tf
from loading import BATCH, publish
from paired import paired

import nhwc
from nhwc.pipelines.called import called_for_each
from nhwc.pipelines.cast import ChannelStatistics, make_cast
from nhwc.pipelines.loops import write_copies
from nhwc.pipelines.store import open_shard
from nhwc.validators.contract import image_contract

TURNS = 30
ROWS = np.arange(BATCH)


def mapped_anew(shard: Path, begins: int, into: np.ndarray) -> None:
    """Map a batch's pages, copy from them, unmap them."""
    with shard.open("rb") as file:
        page = begins - begins % mmap.ALLOCATIONGRANULARITY
        own = mmap.mmap(file.fileno(), begins - page + into.nbytes, access=mmap.ACCESS_COPY, offset=page)
    np.copyto(into.reshape(-1), np.frombuffer(own, np.uint8, into.nbytes, begins - page))


def by_numpy(images: np.ndarray, mean: np.ndarray | None, std: np.ndarray, into: np.ndarray) -> None:
    """(image - mean) / std in NumPy's own passes, an image at a time so that it stays in the caches."""
    for image, written in zip(images, into, strict=True):
        if mean is None:
            np.divide(image, std, out=written, dtype=np.float32, casting="unsafe")
        else:
            np.copyto(written, image)
            np.subtract(written, mean, out=written)
            np.divide(written, std, out=written)


def begun(dataset: tf.data.Dataset) -> None:
    """An iterator, and its first batch."""
    next(iter(dataset))


def twice(number: np.int64) -> tuple[np.int64]:
    """As little as Python can do."""
    return (2 * number,)


def by_map(number: tf.Tensor) -> tf.Tensor:
    """The same, in a graph."""
    return tf.numpy_function(twice, [number], [tf.int64], stateful=False)


def roads(home: Path) -> dict[str, Callable[[], object]]:
    """Each by what it is called."""
    images = np.random.default_rng(7).integers(0, 256, (1000, 224, 224, 3), np.uint8)
    version = publish(home / "images", images)
    name = pl.read_parquet(version / "1.0.0" / "manifest.parquet")["shard"][0]
    shard = version / "shards" / f"{name}.arrow"
    opened = open_shard(shard)
    stored, into = opened.images, np.empty((BATCH, 224, 224, 3), np.uint8)
    assert isinstance(stored, np.ndarray)
    floats, numbers = np.empty(into.shape, np.float32), tf.data.Dataset.range(8)
    contract = image_contract(rows=224, cols=224, channels=3, dtype="uint8", value_range=(0, 255))
    statistics = ChannelStatistics(mean=(120.0, 110.0, 100.0), std=(60.0, 61.0, 62.0))
    unit, standard = (make_cast(contract, scale=scale, statistics=statistics) for scale in ("unit", "standard"))
    mean, std = (np.tile(np.asarray(one, np.float32), 224) for one in (statistics.mean, statistics.std))
    lines, written = stored[:BATCH].reshape(BATCH, 224, -1), floats.reshape(BATCH, 224, -1)
    return {
        "copy a batch out of a map that stays": partial(write_copies, stored, ROWS, into, ROWS),
        "map a batch anew, copy, unmap": partial(mapped_anew, shard, opened.begins, into),
        "to float32 by one compiled loop, unit": partial(unit.write, stored, ROWS, floats, ROWS),
        "to float32 by NumPy's passes, unit": partial(by_numpy, lines, None, np.float32(255), written),
        "to float32 by one compiled loop, standard": partial(standard.write, stored, ROWS, floats, ROWS),
        "to float32 by NumPy's passes, standard": partial(by_numpy, lines, mean, std, written),
        "begin a call of Python by Dataset.map": partial(begun, numbers.map(by_map)),
        "begin a call of Python by its operation": partial(
            begun, called_for_each(numbers, twice, [numbers.element_spec])
        ),
        "begin a pass in place": partial(begun, nhwc.load(version, batch_size=BATCH)),
        "begin a pass that copies": partial(begun, nhwc.load(version, batch_size=BATCH, shuffle=True)),
    }


def main() -> None:
    """Print a row a road."""
    with tempfile.TemporaryDirectory() as folder:
        for name, seconds in paired(roads(Path(folder)), TURNS).items():
            print(f"{name:44} {1000 * median(seconds):7.2f} ms")


if __name__ == "__main__":
    main()
