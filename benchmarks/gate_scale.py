"""How long the gate takes on a large version, and what memory it needs, each time in a process of its own.

    python benchmarks/gate_scale.py [ROWS]     1,000,000 where not given

The versions are published as an ingest publishes them, with figures drawn about as photographs have them: ten classes,
three splits, 1.5 % quarantined, and a hundredth of the images copies of others, with the same label and split. A few
thousand images are dark, blurry, gray, ... by chance, so that there is something to say. Shards are empty files: the
gate reads no pixel.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from nhwc.flows.publish import FIRST, Draft, name_latest, write_version
from nhwc.flows.recipe import parse_recipe
from nhwc.validators.duplicates import HASH_BYTES
from nhwc.validators.manifest import COLUMNS
from nhwc.validators.quality import FIGURE_COLUMNS

CLASSES, SHARD_ROWS, COPY_EVERY, QUARANTINED = 10, 4096, 100, 0.015
SPLITS = {"train": 0.8, "validation": 0.1, "test": 0.1}
ALWAYS = ("sample_id", "path", "status", "label", "label_id", "sha256", "bytes", "format", "rows", "cols")
WHY = {
    "code": "truncated", "stage": "decode", "aspect": "bytes", "expected": "a whole image", "found": "half of one",
    "hint": "fetch the image again",
}  # fmt: skip

NATURAL = {  # mean, deviation, least and most of what photographs have
    "brightness": (0.55, 0.15, 0, 1), "brightness_p5": (0.12, 0.12, 0, 1), "brightness_p99": (0.93, 0.12, 0, 1),
    "chroma": (0.45, 0.18, 0, 1), "entropy": (7.4, 0.8, 0, 9.58), "sharpness": (0.75, 0.17, 0, 1),
    "smoothness": (1.8, 0.4, 0, 4), "spread": (0.24, 0.06, 0.02, 1), "depth_used": (0.99, 0.01, 0, 1),
    "fill_share": (0, 0.01, 0, 1), "fill_level": (0, 0.01, 0, 1),
}  # fmt: skip


def random_bytes(rng: np.random.Generator, count: int, width: int) -> pl.Series:
    """Binary [count], each of so many random bytes."""
    buffers = [None, pa.py_buffer(rng.bytes(count * width))]
    return pl.Series(pl.from_arrow(pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), count, buffers)))


def hexadecimal(rng: np.random.Generator, count: int, digits: int) -> pl.Series:
    """So many random hex digits each, [count]."""
    return random_bytes(rng, count, digits // 2).bin.encode("hex")


def make_manifest(count: int, rng: np.random.Generator) -> pl.DataFrame:
    """A manifest of so many rows, every column filled, sorted by path."""
    number = pl.Series(np.arange(count))
    label = number * CLASSES // count
    figures = {
        name: rng.normal(mean, deviation, count).clip(least, most).astype(np.float32)
        for name, (mean, deviation, least, most) in NATURAL.items()
    }
    assert figures.keys() == FIGURE_COLUMNS.keys()
    rows = pl.DataFrame(
        {
            "number": number,
            "sample_id": hexadecimal(rng, count, 16),
            "status": rng.choice(["kept", "quarantined"], count, p=[1 - QUARANTINED, QUARANTINED]),
            "label": pl.select(pl.format("class_{}", label)).to_series(),
            "label_id": label,
            "split": rng.choice(list(SPLITS), count, p=list(SPLITS.values())),
            "sha256": hexadecimal(rng, count, 64),
            "bytes": rng.integers(20_000, 200_000, count),
            "format": rng.choice(["jpeg", "png", "webp"], count, p=[0.9, 0.08, 0.02]),
            "rows": rng.choice([333, 375, 500, 667], count),
            "cols": rng.choice([375, 500, 640, 667], count),
            "shard": hexadecimal(rng, count // SHARD_ROWS + 1, 64)[number // SHARD_ROWS],
            "row": number % SHARD_ROWS,
            "pixel_hash": hexadecimal(rng, count, 64),
            "channel_mean": pl.Series(rng.normal(120, 40, (count, 3)).clip(0, 255)).arr.to_list(),
            "channel_std": pl.Series(rng.normal(60, 15, (count, 3)).clip(0, 127)).arr.to_list(),
            "perceptual_hash": random_bytes(rng, count, HASH_BYTES),
            **figures,
        }
    ).with_columns(
        pl.format("{}/IMG_{}.jpg", "label", pl.col("number").cast(pl.String).str.zfill(9)).alias("path"),
        cluster="sample_id", channels=3, bit_depth=8, mode=pl.lit("RGB"), alpha=False, orientation=1, frames=1,
        decoder=pl.lit("tensorflow"), notes=pl.lit([], dtype=COLUMNS["notes"]),
        **{name: pl.lit(text) for name, text in WHY.items()},
    )  # fmt: skip
    place = pl.col("number") % COPY_EVERY  # 0: the original, 1: its copy; of the copies a third are the same bytes,
    kind = pl.col("number") // COPY_EVERY % 3  # a third the same pixels, and a third nearly the same
    copied = {"cluster": True, "split": True, "pixel_hash": kind < 2, "sha256": kind < 1}
    smallest = pl.min_horizontal("cluster", pl.col("cluster").shift(-1))
    rows = rows.with_columns(cluster=pl.when(place == 0).then(smallest).otherwise("cluster")).with_columns(
        pl.when((place == 1) & copy).then(pl.col(name).shift()).otherwise(name).alias(name)
        for name, copy in copied.items()
    )
    kept = pl.col("status") == "kept"
    return rows.select(
        (pl.col(name) if name in ALWAYS else pl.when(~kept if name in WHY else kept).then(name)).cast(dtype).alias(name)
        for name, dtype in COLUMNS.items()
    )


def make_version(folder: Path, name: str, count: int, seed: int) -> Path:
    """Publish such a version; the dataset's folder."""
    rng = np.random.default_rng(seed)
    plain = {"dataset": name, "source": {"path": "."}, "image": {"rows": 224, "cols": 224}, "splits": SPLITS}
    plain["publish"] = {"to": str(folder / "datasets")}
    (folder / "photos").mkdir(exist_ok=True)
    draft = Draft(
        manifest=make_manifest(count, rng),
        classes=tuple(f"class_{number}" for number in range(CLASSES)),
        findings=(),
        recipe=parse_recipe(plain, base=folder / "photos"),
    )
    dataset = draft.recipe.dataset_path
    (dataset / "shards").mkdir(parents=True)
    for shard in draft.shards:
        (dataset / "shards" / f"{shard}.arrow").touch()
    name_latest(write_version(draft, FIRST, lambda number: ""))  # no pixels, and so no report
    return dataset


def measured(*arguments: str | Path) -> tuple[float, float, str]:
    """Seconds, peak resident MB and the last line of `nhwc` with these arguments."""
    with tempfile.TemporaryFile("w+") as output:
        start = time.perf_counter()
        process = subprocess.Popen([sys.executable, "-m", "nhwc", *map(str, arguments)], stdout=output)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        return seconds, usage.ru_maxrss / 1024, output.read().splitlines()[-1]


def make(folder: Path, count: int) -> None:
    """Both versions, in a process of their own: what a parent has used counts as used by its children too."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        pool.starmap(make_version, [(folder, name, count, seed) for seed, name in enumerate(("one", "other"))])


def main() -> None:
    """Make two versions, judge the one alone and then against the other, and print."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder), count)
        one, other = (Path(folder, "datasets", name) for name in ("one", "other"))
        print(f"{count:,} rows, load {os.getloadavg()[0]:.1f}")
        for name, options in {"gate": (), "gate --baseline": ("--baseline", other), "gate --json": ("--json",)}.items():
            seconds, peak, said = measured("gate", one, *options)
            print(f"{name:16} {seconds:6.1f} s {peak:7,.0f} MB   {said}")


if __name__ == "__main__":
    main()
