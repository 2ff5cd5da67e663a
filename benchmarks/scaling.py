"""How an ingest grows: a first run, an unchanged second one, and one with 1 % new files, each in a process of its own.

    python benchmarks/scaling.py --images 1000 4000 16000 60000

Small photographs-like JPEGs (160 x 120) are made by code. Start-up (imports) is measured apart, by an ingest of one
image, and taken off. Last, the same through Prefect for the smallest size: how many task runs, and what a no-op costs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

RECIPE = """\
dataset: many
source: {path: photos}
image: {rows: 64, cols: 64}
splits: {train: 0.8, test: 0.2}
publish: {to: datasets}
"""
INGEST = """
import json, resource, sys, time
import tensorflow, nhwc.flows.report, nhwc.flows.gate
from nhwc.flows.ingest import run_ingest
from nhwc.flows.recipe import read_recipe
start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = time.perf_counter()
ingested = run_ingest(read_recipe(sys.argv[1]))
print(json.dumps({
    "seconds": time.perf_counter() - before, "made": ingested.made, "outcome": ingested.outcome,
    "start_mb": start / 1024, "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    "shards_mb": [path.stat().st_size / 1e6 for path in sorted(ingested.place.parent.glob("shards/*.arrow"))],
}))
"""


def write_photographs(folder: Path, numbers: range) -> None:
    """One JPEG a number, no two alike, in ten classes."""
    for number in numbers:
        rng = np.random.default_rng(number)
        coarse = Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8)).resize((160, 120), Image.BICUBIC)
        pixels = np.clip(np.asarray(coarse) + rng.normal(0, 8, (120, 160, 1)), 0, 255).astype(np.uint8)
        path = folder / f"class{number % 10}" / f"{number:06}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path, quality=85)


def ingest(recipe: Path) -> dict[str, float]:
    """Seconds, files made, and memory in MB of one ingest, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", INGEST, str(recipe)],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    return json.loads(done.stdout.splitlines()[-1])


def measure(folder: Path, images: int) -> dict[str, float]:
    """First, unchanged and 1 % new, of so many images."""
    folder.mkdir()
    recipe = folder / "many.yaml"
    (recipe).write_text(RECIPE)
    write_photographs(folder / "photos", range(images))
    time.sleep(2.1)  # a file written within a file system's tick of the look would be read again
    first, second = ingest(recipe), ingest(recipe)
    write_photographs(folder / "photos", range(images, images + max(1, images // 100)))
    more = ingest(recipe)
    assert (images, 0, max(1, images // 100)) == (first["made"], second["made"], more["made"])
    full = first["shards_mb"][:-1] if len(first["shards_mb"]) > 1 else first["shards_mb"]
    return {
        "images": images,
        "first": first["seconds"],
        "unchanged": second["seconds"],
        "new": more["seconds"],
        "start_mb": first["start_mb"],
        "peak_mb": first["peak_mb"],
        "shard_mb": max(full),
    }


def main() -> None:
    """Print a row a size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[1000, 4000, 16000])
    asked = parser.parse_args()
    print("  images   first s  images/s  unchanged s  of first  1% new s  of first  peak MB (start)  largest shard MB")
    with tempfile.TemporaryDirectory() as folder:
        for images in asked.images:
            row = measure(Path(folder) / str(images), images)
            print(
                f"{row['images']:8,} {row['first']:9.2f} {images / row['first']:9.0f} {row['unchanged']:12.3f}"
                f" {row['unchanged'] / row['first']:9.1%} {row['new']:9.2f} {row['new'] / row['first']:9.1%}"
                f" {row['peak_mb']:8.0f} ({row['start_mb']:.0f}) {row['shard_mb']:12.0f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
