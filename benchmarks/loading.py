"""How fast `nhwc.load` gives batches, beside what a user would otherwise write, all by turns in one run.

    python benchmarks/loading.py [--repeats 7] [--photos 3000] [--only L1,L5]

With NHWC_CORPUS the photographs are those of its `clothing`, as often as needed; else smooth random ones. Every batch
is copied once by its consumer, as to a device. Each line: images/s of both, and their ratio, the median of the rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from itertools import chain, cycle, islice
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import polars as pl
import pyarrow as pa
import tensorflow as tf
import yaml
from paired import paired, ratio, ratio_of_best

import nhwc
from nhwc.flows.recipe import parse_recipe
from nhwc.pipelines import load as load_module
from nhwc.pipelines.store import record_batch, samples_a_shard
from nhwc.validators.contract import image_contract
from nhwc.validators.manifest import COLUMNS

BATCH, CLASSES = 128, 8
Batches = Iterable[tuple[tf.Tensor, ...]]


@dataclass(frozen=True, kw_only=True)
class Line:
    """One promise: what it is, how much faster than which rival, and how to make the batches of both."""

    name: str
    rival: str
    needed: float
    ours: Callable[[], Batches]
    theirs: Callable[[], Batches]
    images: int
    epochs: tuple[int, int] = (1, 1)  # of ours and of theirs a round: so many that a round takes long enough


def photographs(folder: Path, count: int) -> None:
    """Write that many JPEG files in CLASSES class folders."""
    corpus = os.environ.get("NHWC_CORPUS")
    if corpus:
        contents = [path.read_bytes() for path in sorted(Path(corpus, "datasets", "clothing").rglob("*.jpg"))]
    else:
        rng = np.random.default_rng(7)
        coarse = rng.integers(0, 256, (64, 25, 20, 3)).astype(np.float32)
        smooth = tf.cast(tf.clip_by_value(tf.image.resize(coarse, (500, 400), "bicubic"), 0, 255), tf.uint8)
        contents = [tf.io.encode_jpeg(image).numpy() for image in smooth]
    for number, content in enumerate(islice(cycle(contents), count)):
        path = folder / f"class_{number % CLASSES}" / f"{number:06d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def from_directory(folder: Path) -> tf.data.Dataset:
    """What Keras makes of the photographs."""
    return keras.utils.image_dataset_from_directory(
        folder, image_size=(224, 224), batch_size=BATCH, shuffle=False, verbose=False
    )


def publish(folder: Path, images: np.ndarray) -> Path:
    """Write images uint8[samples, rows, cols, channels] as a published version, each in a class by its number."""
    count, (rows, cols, channels) = len(images), images.shape[1:]
    contract = image_contract(rows=rows, cols=cols, channels=channels, dtype="uint8", value_range=(0, 255))
    (folder / "1.0.0").mkdir(parents=True)
    (folder / "shards").mkdir()
    number = np.arange(count)
    ids = np.array([f"{one * 0x9E3779B97F4A7C15 % 2**64:016x}" for one in range(count)])
    labels = np.array([f"class_{one}" for one in range(CLASSES)])[number % CLASSES]
    size = samples_a_shard(contract)
    for start in range(0, count, size):
        part = slice(start, start + size)
        batch = record_batch(images[part], labels[part].tolist(), ids[part].tolist(), contract)
        with pa.ipc.new_file(str(folder / "shards" / f"{start // size:032x}.arrow"), batch.schema) as writer:
            writer.write_batch(batch)
    columns = {
        "sample_id": ids,
        "path": [f"{one:08d}.jpg" for one in range(count)],
        "status": ["kept"] * count,
        "label": labels,
        "label_id": number % CLASSES,
        "split": ["train"] * count,
        "sha256": [f"{one:064x}" for one in range(count)],
        "shard": [f"{one:032x}" for one in number // size],
        "row": number % size,
        "perceptual_hash": pl.Series([np.random.default_rng(1).bytes(320)] * count, dtype=pl.Binary),
    }
    manifest = pl.DataFrame(columns).with_columns(pl.lit(None).alias(name) for name in COLUMNS if name not in columns)
    manifest = manifest.select(pl.col(name).cast(dtype) for name, dtype in COLUMNS.items())
    manifest.write_parquet(folder / "1.0.0" / "manifest.parquet")
    plain = {"format": 1, "image": contract.to_dict(), "fingerprint": "0" * 64}
    plain["classes"] = [f"class_{one}" for one in range(CLASSES)]
    (folder / "1.0.0" / "contract.yaml").write_text(yaml.safe_dump(plain))
    figures = {"mean": [127.0] * channels, "std": [64.0] * channels}
    (folder / "1.0.0" / "statistics.json").write_text(json.dumps({"channels": {"all": figures}}))
    (folder / "latest").write_text("1.0.0\n")
    return folder


def consume(make: Callable[[], Batches], epochs: int = 1) -> None:
    """Take every batch of so many epochs and copy it once."""
    sink = None
    for images, *_ in chain.from_iterable(make() for _ in range(epochs)):
        array = np.asarray(images)
        sink = np.empty_like(array) if sink is None else sink
        np.copyto(sink[: len(array)], array)


def unguarded(dataset: Callable[[], tf.data.Dataset]) -> tf.data.Dataset:
    """The same dataset built without its checks."""
    kept, load_module.guard = load_module.guard, lambda contract, tensor, **_: tensor
    try:
        return dataset()
    finally:
        load_module.guard = kept


def photograph_lines(photos: Path, version: Path, images: np.ndarray, labels: np.ndarray) -> list[Line]:
    """L1 to L4: 224 x 224 x 3."""
    load = partial(nhwc.load, version, batch_size=BATCH)
    memory = tf.data.Dataset.from_tensor_slices((images, labels)).batch(BATCH)
    cached = memory.cache()
    statistics = tf.constant([127.0] * 3), tf.constant([64.0] * 3)
    unit = memory.map(lambda x, y: (tf.cast(x, tf.float32) * (1 / 255), y))
    standard = memory.map(lambda x, y: ((tf.cast(x, tf.float32) - statistics[0]) / statistics[1], y))
    parallel = memory.map(lambda x, y: (tf.cast(x, tf.float32) * (1 / 255), y), tf.data.AUTOTUNE).prefetch(2)
    keras_way = from_directory(photos)
    in_order, shuffled = load(), load(shuffle=True)
    unit_ours, standard_ours = load(scale="unit"), load(scale="standard")
    bare = unguarded(partial(load, shuffle=True))
    line = partial(Line, images=len(images))
    return [
        line(name="L1 uint8 in order", rival="from_tensor_slices.batch", needed=1.0, epochs=(5, 5),
             ours=lambda: in_order, theirs=lambda: memory),
        line(name="L1 uint8 in order", rival="batches cached in memory", needed=0.8, epochs=(5, 5),
             ours=lambda: in_order, theirs=lambda: cached),
        line(name="L1 uint8 in order", rival="image_dataset_from_directory", needed=20.0, epochs=(10, 1),
             ours=lambda: in_order, theirs=lambda: keras_way),
        line(name="L2 uint8 shuffled", rival="from_tensor_slices.batch", needed=0.9, epochs=(5, 5),
             ours=lambda: shuffled, theirs=lambda: memory),
        line(name="L3 scale unit", rival="batch, cast, multiply", needed=1.5,
             ours=lambda: unit_ours, theirs=lambda: unit),
        line(name="L3 scale unit", rival="the same, parallel", needed=1.0,
             ours=lambda: unit_ours, theirs=lambda: parallel),
        line(name="L3 scale standard", rival="batch, cast, subtract, divide", needed=1.5,
             ours=lambda: standard_ours, theirs=lambda: standard),
        line(name="L3 left to the device", rival="scale unit", needed=1.0,
             ours=lambda: in_order, theirs=lambda: unit_ours),
        line(name="L4 checked", rival="unchecked", needed=0.97, epochs=(5, 5),
             ours=lambda: shuffled, theirs=lambda: bare),
    ]  # fmt: skip


def encoded_lines(home: Path, count: int) -> list[Line]:
    """EN: shards that hold the files, decoded at each load, as both peers do."""
    recipe = {
        "dataset": "encoded",
        "source": {"path": "photos"},
        "image": {"rows": 224, "cols": 224, "storage": "encoded", "resize": {"antialias": False}},  # as both peers
        "publish": {"to": "datasets"},
    }
    version = nhwc.ingest(parse_recipe(recipe, base=home), direct=True)
    ours = nhwc.load(version.dataset, batch_size=BATCH)
    files = tf.data.Dataset.list_files(str(home / "photos" / "*" / "*.jpg"), shuffle=False)
    plain = files.map(decoded, num_parallel_calls=tf.data.AUTOTUNE).batch(BATCH).prefetch(2)
    keras_way = from_directory(home / "photos")
    line = partial(Line, name="EN encoded", needed=1.0, images=count, ours=lambda: ours)
    return [
        line(rival="image_dataset_from_directory", theirs=lambda: keras_way),
        line(rival="decode_jpeg, resize, parallel", theirs=lambda: plain),
    ]


def decoded(path: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """What a hand-written tf.data loader does with a file."""
    image = tf.io.decode_jpeg(tf.io.read_file(path), channels=3)
    return (tf.cast(tf.image.resize(image, (224, 224)), tf.uint8),)


def small_lines(version: Path, images: np.ndarray, labels: np.ndarray) -> list[Line]:
    """L5: 28 x 28 x 1."""
    memory = tf.data.Dataset.from_tensor_slices((images, labels))
    peer = memory.shuffle(10_000).batch(BATCH)
    whole = memory.shuffle(len(images)).batch(BATCH)
    ours = nhwc.load(version, batch_size=BATCH, shuffle=True)
    line = partial(
        Line, name="L5 28 x 28 x 1 shuffled", needed=0.8, epochs=(3, 3), images=len(images), ours=lambda: ours
    )
    return [
        line(rival="shuffle(10,000).batch", theirs=lambda: peer),
        line(rival="shuffle(all).batch", theirs=lambda: whole),
    ]


def first_batch(version: Path, **options: object) -> float:
    """Seconds from the call of `load` to its first batch."""
    start = time.perf_counter()
    next(iter(nhwc.load(version, batch_size=BATCH, **options)))
    return time.perf_counter() - start


def main() -> None:
    """Make the datasets, take the times, print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--photos", type=int, default=3000)
    parser.add_argument("--only", default="L1,L2,L3,L4,EN,L5,L6")
    given = parser.parse_args()
    only = given.only.split(",")
    with tempfile.TemporaryDirectory() as folder:
        home, lines = Path(folder), []
        if {"L1", "L2", "L3", "L4", "EN"} & set(only):
            photographs(home / "photos", given.photos)
        if {"L1", "L2", "L3", "L4"} & set(only):
            images = np.concatenate([np.rint(batch).astype(np.uint8) for batch, _ in from_directory(home / "photos")])
            labels = np.arange(len(images)) % CLASSES
            lines += photograph_lines(home / "photos", publish(home / "photographs", images), images, labels)
            into = np.empty_like(images)
            rate = len(images) / min(paired({"memcpy": lambda: np.copyto(into, images)})["memcpy"])
            print(f"physical limit: one thread copies {rate:,.0f} images 224 x 224 x 3 a second")
            del into
        if "EN" in only:
            lines += encoded_lines(home, given.photos)
        if "L5" in only:
            small = np.random.default_rng(7).integers(0, 256, (60_000, 28, 28, 1), np.uint8)
            lines += small_lines(publish(home / "small", small), small, np.arange(60_000) % CLASSES)
        print(f"{'':24} {'beside':32} {'images/s':>10} {'theirs':>10} {'ratio':>6}  lowest-highest  of best  needed")
        for line in lines:
            if line.name[:2] in only:
                makers = {"nhwc": line.ours, "peer": line.theirs}
                epochs = dict(zip(makers, line.epochs, strict=True))
                rivals = {name: partial(consume, make, epochs[name]) for name, make in makers.items()}
                took = paired(rivals, 3 if line.needed > 10 else given.repeats)  # Keras takes its time
                seconds = {name: [one / epochs[name] for one in times] for name, times in took.items()}
                middle, low, high = ratio(seconds, "nhwc", "peer")
                rates = [line.images / float(np.median(seconds[name])) for name in rivals]
                print(
                    f"{line.name:24} {line.rival:32} {rates[0]:10,.0f} {rates[1]:10,.0f} {middle:6.2f}  "
                    f"{f'{low:.2f}-{high:.2f}':14} {ratio_of_best(seconds, 'nhwc', 'peer'):7.2f} {line.needed:7.2f}",
                    flush=True,
                )
        if "L6" in only:
            million = publish(home / "million", np.zeros((1_000_000, 8, 8, 1), np.uint8))
            for options in ({}, {"shuffle": True}, {"shuffle": True, "with_ids": True}):
                times = sorted(first_batch(million, **options) for _ in range(given.repeats))
                print(f"L6 first batch, manifest of 1,000,000 rows, {options}: {times[len(times) // 2]:.2f} s, "
                      f"{times[0]:.2f}-{times[-1]:.2f}, needed 0.50")  # fmt: skip


if __name__ == "__main__":
    main()
