"""Single-bit flips at random places of each kind of file in a version: how many `nhwc verify` finds.

Run as `python benchmarks/bit_rot.py`: 300 flips of each kind, in two small datasets made for it, one of pixels and one
of encoded files. Each flip is put right before the next.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

import nhwc

FLIPS = 300


def publish(folder: Path, storage: str) -> nhwc.Version:
    """A dataset of two versions, so that there is one beside the latest; the latest."""
    rng = np.random.default_rng(7)
    folder /= storage
    folder.mkdir()
    recipe = folder / f"{storage}.yaml"
    recipe.write_text(
        f"dataset: {storage}\nsource: {{path: photos}}\nimage: {{rows: 16, cols: 16, storage: {storage}}}\n"
        "publish: {to: datasets}\n"
    )
    for label, number in ((label, number) for label in ("cat", "dog") for number in range(6)):
        path = folder / "photos" / label / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (24, 20, 3), dtype=np.uint8)).save(path)
        if number in (3, 5):
            nhwc.ingest(recipe, direct=True)
    return nhwc.Version.open(folder / "datasets" / storage)


def kinds(version: nhwc.Version) -> Iterator[tuple[Path, Path]]:
    """One file of each kind, and what `verify` is given: the dataset's folder, or an older version's."""
    shard = version.shard_path(version.kept["shard"][0])
    yield shard, version.dataset
    for name in ("manifest.parquet", "recipe.yaml", "contract.yaml", "statistics.json", "checksums", "report.html"):
        yield version.folder / name, version.dataset
    yield version.dataset / "latest", version.dataset
    yield version.dataset / "1.0.0" / "checksums", version.dataset / "1.0.0"


def found(path: Path, judged: Path, flips: int) -> int:
    """How many of so many single-bit flips of a file are found. Each place is drawn once, while there are enough."""
    whole = path.read_bytes()
    places = np.random.default_rng(7).choice(len(whole) * 8, flips, replace=flips > len(whole) * 8)
    count = 0
    for bit in places:
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << (bit % 8)
        path.write_bytes(damaged)
        count += not nhwc.verify(judged).passed
    path.write_bytes(whole)
    assert nhwc.verify(judged).passed
    return count


def main(flips: int) -> bool:
    """Print a line for each kind; whether all were found."""
    missed = 0
    with tempfile.TemporaryDirectory() as place:
        for storage in ("pixels", "encoded"):
            version = publish(Path(place), storage)
            for path, judged in kinds(version):
                count = found(path, judged, flips)
                missed += flips - count
                name = f"shard of {storage}" if path.suffix == ".arrow" else str(path.relative_to(version.dataset))
                print(f"{storage}: {name}: {count} of {flips}")
    return missed == 0


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.exit(0 if main(int(sys.argv[1]) if sys.argv[1:] else FLIPS) else 1)
