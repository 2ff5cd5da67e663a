"""How fast `nhwc.load` gives batches, beside what a user would otherwise write, all by turns in one run.

    python benchmarks/loading.py [--quick] [--repeats 5] [--photos 4000] [--only L1,L5]

Every batch is copied once by its consumer, as to a device. That copy of batches that lie ready is the physical limit:
no loader's batches come faster to who reads them. Where files are decoded it is libjpeg-turbo alone.
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
from itertools import chain
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import polars as pl
import pyarrow as pa
import tensorflow as tf
import yaml
from contenders import bare
from lines import Line, Say, asked_of, rounds, run
from paired import paired, ratios
from photographs import CLASSES, write_copies

import nhwc
from nhwc.flows.recipe import parse_recipe
from nhwc.pipelines import called
from nhwc.pipelines import load as load_module
from nhwc.pipelines.store import record_batch, samples_a_shard
from nhwc.validators.check import Finding
from nhwc.validators.contract import image_contract
from nhwc.validators.manifest import COLUMNS

BATCH = 128
Batches = Iterable[tuple[tf.Tensor, ...]]


@dataclass(frozen=True, kw_only=True)
class Race:
    """One demand: what it is, how much faster than which rival, and how to make the batches of both."""

    demand: str
    name: str
    rival: str
    needed: float
    ours: Callable[[], Batches]
    theirs: Callable[[], Batches]
    images: int
    limit: Callable[[], object]
    limit_name: str = "the consumer's copy"
    epochs: tuple[int, int] = (1, 1)  # of ours and of theirs a round: so many that a round takes long enough
    repeats: float = 1  # times as many rounds as others


def raced(race: Race, repeats: int) -> Line:
    """The figure of one demand."""
    makers = {"nhwc": race.ours, "peer": race.theirs}
    epochs = dict(zip(makers, race.epochs, strict=True))
    rivals: dict[str, Callable[[], object]] = {
        name: partial(consume, make, epochs[name]) for name, make in makers.items()
    }
    took = paired(rivals | {"limit": race.limit}, max(2, round(repeats * race.repeats)))
    seconds = {name: [one / epochs.get(name, 1) for one in times] for name, times in took.items()}
    ours, theirs = (race.images / float(np.median(seconds[name])) for name in makers)
    of_limit = np.median(ratios(seconds, "nhwc", "limit"))
    return Line(
        demand=race.demand,
        name=race.name,
        beside=race.rival,
        needed=race.needed,
        said=f"{ours:,.0f} beside {theirs:,.0f} images/s; {of_limit:.0%} of {race.limit_name}",
        **rounds(ratios(seconds, "nhwc", "peer")),
    )


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


def unchecked(dataset: Callable[[], tf.data.Dataset]) -> tf.data.Dataset:
    """The same dataset built without its checks, for which TensorFlow itself makes none meanwhile."""
    kept = load_module.check_spec, called.tf.ensure_shape
    load_module.check_spec, called.tf.ensure_shape = lambda *_, **__: Finding(), lambda tensor, _: tensor
    try:
        return dataset()
    finally:
        load_module.check_spec, called.tf.ensure_shape = kept


def ready(images: np.ndarray) -> Callable[[], object]:
    """The consumer's copy alone, of batches that lie ready."""
    batches = [(images[start : start + BATCH],) for start in range(0, len(images), BATCH)]
    return partial(consume, lambda: batches)


def photograph_races(photos: Path, version: Path, images: np.ndarray, labels: np.ndarray) -> list[Race]:
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
    bare_ours = unchecked(partial(load, shuffle=True))
    floats = np.ones((BATCH, *images.shape[1:]), np.float32)  # zeros would be one page of the system's
    one_float = partial(consume, lambda: [(floats,)] * (len(images) // BATCH))
    stored = partial(Race, images=len(images), limit=ready(images), epochs=(5, 5))
    cast = partial(Race, demand="L3", images=len(images), limit=one_float, repeats=3)  # TensorFlow has two speeds here
    in_memory, in_order_name, shuffled_name = "tf.data in memory", "uint8 in order", "uint8 shuffled globally"
    return [
        stored(demand="L1", name=in_order_name, rival=f"{in_memory}, batch", needed=1.0,
               ours=lambda: in_order, theirs=lambda: memory),
        stored(demand="L1", name=in_order_name, rival="tf.data, batches cached in memory", needed=0.8,
               ours=lambda: in_order, theirs=lambda: cached),
        stored(demand="L1", name=in_order_name, rival="keras.utils.image_dataset_from_directory", needed=20.0,
               ours=lambda: in_order, theirs=lambda: keras_way, epochs=(10, 1), repeats=0.5),  # Keras takes its time
        stored(demand="L2", name=shuffled_name, rival=f"{in_memory}, batch, in order", needed=0.9,
               ours=lambda: shuffled, theirs=lambda: memory),
        cast(name="float32, scale unit", rival=f"{in_memory}, batch, cast, multiply", needed=1.5,
             ours=lambda: unit_ours, theirs=lambda: unit),
        cast(name="float32, scale unit", rival="the same, map and prefetch in parallel", needed=1.0,
             ours=lambda: unit_ours, theirs=lambda: parallel),
        cast(name="float32, scale standard", rival=f"{in_memory}, batch, cast, subtract, divide", needed=1.5,
             ours=lambda: standard_ours, theirs=lambda: standard),
        stored(demand="L4", name=f"{shuffled_name}, checked", rival="nhwc, the same unchecked", needed=0.97,
               ours=lambda: shuffled, theirs=lambda: bare_ours, epochs=(3, 3), repeats=6),  # noise is as large as this
    ]  # fmt: skip


def encoded_races(home: Path, count: int) -> list[Race]:
    """Shards that hold the files, decoded at each load, as both peers do."""
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
    race = partial(
        Race,
        demand="EN",
        name="storage: encoded, in order",
        needed=1.0,
        images=count,
        ours=lambda: ours,
        limit=bare(home / "photos", False),
        limit_name="libjpeg-turbo alone",
        repeats=0.8,  # seconds each
    )
    return [
        race(rival="keras.utils.image_dataset_from_directory", theirs=lambda: keras_way),
        race(rival="tf.data, decode_jpeg, resize in parallel", theirs=lambda: plain),
    ]


def decoded(path: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """What a hand-written tf.data loader does with a file."""
    image = tf.io.decode_jpeg(tf.io.read_file(path), channels=3)
    return (tf.cast(tf.image.resize(image, (224, 224)), tf.uint8),)


def small_races(version: Path, images: np.ndarray, labels: np.ndarray) -> list[Race]:
    """L5: 28 x 28 x 1."""
    memory = tf.data.Dataset.from_tensor_slices((images, labels))
    peer = memory.shuffle(10_000).batch(BATCH)
    whole = memory.shuffle(len(images)).batch(BATCH)
    ours = nhwc.load(version, batch_size=BATCH, shuffle=True)
    race = partial(
        Race,
        demand="L5",
        name=f"{len(images):,} of 28 x 28 x 1, shuffled globally",
        needed=0.8,
        epochs=(3, 3),
        images=len(images),
        ours=lambda: ours,
        limit=ready(images),
    )
    return [
        race(rival="tf.data in memory, shuffle(10,000), batch", theirs=lambda: peer),
        race(rival="tf.data in memory, shuffle(all), batch", theirs=lambda: whole),
    ]


def first_batch(version: Path, **options: object) -> float:
    """Seconds from the call of `load` to its first batch."""
    start = time.perf_counter()
    next(iter(nhwc.load(version, batch_size=BATCH, **options)))
    return time.perf_counter() - start


def first_batches(version: Path, rows: int, repeats: int) -> list[Line]:
    """L6."""
    line = partial(Line, demand="L6", beside="itself", needed=0.5, bound="at most", unit="s")
    return [
        line(
            name=f"first batch, version of {rows:,} rows, {name}",
            **rounds([first_batch(version, **options) for _ in range(repeats + 1)][1:]),
        )
        for name, options in {"in order": {}, "shuffled, with ids": {"shuffle": True, "with_ids": True}}.items()
    ]


def measure(asked: argparse.Namespace, say: Say) -> None:
    """Make the datasets and take the times."""
    repeats, photos = (2, 640) if asked.quick else (asked.repeats, asked.photos)
    only = set(asked.only.split(","))
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        versions = {}
        races: list[Race] = []
        if only & {"L1", "L2", "L3", "L4", "L6", "EN"}:
            write_copies(home / "photos", photos)
        if only & {"L1", "L2", "L3", "L4", "L6"}:
            images = np.concatenate([np.rint(batch).astype(np.uint8) for batch, _ in from_directory(home / "photos")])
            labels = np.arange(len(images)) % CLASSES
            versions[photos] = publish(home / "photographs", images)
            races += photograph_races(home / "photos", versions[photos], images, labels)
        if "EN" in only:
            races += encoded_races(home, photos)
        if "L5" in only:
            small = np.random.default_rng(7).integers(0, 256, (60_000, 28, 28, 1), np.uint8)
            races += small_races(publish(home / "small", small), small, np.arange(60_000) % CLASSES)
        for race in races:
            if race.demand in only:
                say(raced(race, repeats))
        if "L6" in only:
            rows = 100_000 if asked.quick else 1_000_000
            versions[rows] = publish(home / "many", np.zeros((rows, 8, 8, 1), np.uint8))
            for rows, version in versions.items():
                for line in first_batches(version, rows, repeats):
                    say(line)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--photos", type=int, default=4000)
    parser.add_argument("--only", default="L1,L2,L3,L4,EN,L5,L6")
    run(measure, asked_of(parser))


if __name__ == "__main__":
    main()
