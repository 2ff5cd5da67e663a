"""How fast a published version is read by each road: tf.data, PyTorch, a loop over arrays, all by turns in one run.

    python benchmarks/readers.py [--images 2560] [--repeats 7]

Images of 224 x 224 x 3, uint8, shuffled, in batches of 128 that their consumer copies once; shards in the page cache.
PyTorch, which it needs, has one thread of its own, as in its workers: more would wait for those of the others.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from statistics import median

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import torch
from loading import publish
from paired import paired, ratios
from torch.utils.data import BatchSampler, DataLoader, RandomSampler

import nhwc
from nhwc.pipelines.data_source import DataSource
from nhwc.pipelines.version import Version

BATCH = 128
BESIDE = "NumPy fancy indexing, in memory"
Batches = Callable[[], Iterable[tuple[object, object]]]


class Views:
    """What `DataSource` would be if it gave read-only views of the mapped shards: no copy, and PyTorch warns."""

    def __init__(self, version: Version) -> None:
        shards = {name: version.open_shard(name).images for name in version.kept["shard"].unique()}
        self.rows = [
            (shards[name], row, label) for name, row, label in version.kept.select("shard", "row", "label_id").rows()
        ]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        images, row, label = self.rows[index]
        return images[row], label


def loader(source: object, workers: int) -> DataLoader:
    """PyTorch's own, as it is mostly written."""
    return DataLoader(source, batch_size=BATCH, shuffle=True, num_workers=workers, persistent_workers=workers > 0)


def whole_batches(source: DataSource, workers: int) -> DataLoader:
    """The same, by a sampler that asks for a batch at once."""
    sampler = BatchSampler(RandomSampler(source), BATCH, drop_last=False)
    return DataLoader(source, sampler=sampler, batch_size=None, num_workers=workers, persistent_workers=workers > 0)


def shuffled(count: int) -> list[np.ndarray]:
    return np.array_split(np.random.default_rng(7).permutation(count), range(BATCH, count, BATCH))


def loop(source: DataSource) -> Iterable[tuple[np.ndarray, np.ndarray]]:
    for indices in shuffled(len(source)):
        yield source[indices]


def one_by_one(source: DataSource) -> Iterable[tuple[np.ndarray, np.ndarray]]:
    for indices in shuffled(len(source)):
        images, labels = zip(*(source[index] for index in indices.tolist()), strict=True)
        yield np.stack(images), np.array(labels)


def fancy(images: np.ndarray, labels: np.ndarray) -> Iterable[tuple[np.ndarray, np.ndarray]]:
    for indices in shuffled(len(images)):
        yield images[indices], labels[indices]


def consume(make: Batches, count: int, sink: np.ndarray) -> None:
    """Copy every batch once, as to a device, and see that none is missing."""
    seen = 0
    for images, _ in make():
        array = np.asarray(images)
        np.copyto(sink[: len(array)], array)
        seen += len(array)
    if seen != count:
        raise SystemExit(f"found {seen} images, expected {count}")


def readers(folder: Path, images: np.ndarray) -> dict[str, Batches]:
    """Every road, by its name."""
    source = nhwc.data_source(folder)
    views = Views(Version.open(folder))
    labels = source[np.arange(len(source))][1]
    tensors = torch.utils.data.TensorDataset(torch.from_numpy(images), torch.from_numpy(labels))
    roads: dict[str, Batches] = {
        BESIDE: partial(fancy, images, labels),
        "nhwc.load": nhwc.load(folder, batch_size=BATCH, shuffle=True).__iter__,
        "data_source, a list of indices a batch": partial(loop, source),
        "data_source, one by one and np.stack": partial(one_by_one, source),
    }
    for workers in (0, 2):
        made = {
            "data_source": loader(source, workers),
            "data_source, BatchSampler": whole_batches(source, workers),
            "read-only views": loader(views, workers),
            "tensors in memory": loader(tensors, workers),
        }
        roads |= {f"DataLoader, {workers} workers: {name}": made[name].__iter__ for name in made}
    return roads


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2560)
    parser.add_argument("--repeats", type=int, default=7)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    images = np.random.default_rng(1).integers(0, 256, (asked.images, 224, 224, 3), np.uint8)
    sink = np.empty((BATCH, 224, 224, 3), np.uint8)
    with tempfile.TemporaryDirectory() as place:
        roads = readers(publish(Path(place, "dataset"), images), images)
        rivals = {name: partial(consume, make, asked.images, sink) for name, make in roads.items()}
        seconds = paired(rivals, asked.repeats)
    print(f"| reader | images/s | beside {BESIDE} | lowest to highest |\n| --- | ---: | ---: | --- |")
    for name, taken in seconds.items():
        times = ratios(seconds, name, BESIDE)
        rate, spread = asked.images / median(taken), f"{min(times):.2f} to {max(times):.2f}"
        print(f"| {name} | {rate:,.0f} | {median(times):.2f} | {spread} |")


if __name__ == "__main__":
    main()
