"""How long the search for near duplicates takes, what memory it needs, and how much of what was planted it finds.

    python benchmarks/duplicates_scale.py [ROWS]     1,000,000 where not given

A picture is made of three smooth random pictures from a pool, each mirrored or not, upon one of eight common layouts,
so that hashes crowd as those of real collections do. One in a hundred gets a copy: encoded again (2 % of the bits
flipped), mirrored, or cropped (its whole is its original's crop, with 8 % of the bits flipped).
"""

from __future__ import annotations

import resource
import sys
import time

import numpy as np
import polars as pl

from nhwc.validators import duplicates
from nhwc.validators.near_pairs import MIRROR
from nhwc.validators.perceptual import dct, frequencies

POOL, LAYOUTS, AT_ONCE = 4000, 8, 20_000


def pool(rng: np.random.Generator, count: int) -> np.ndarray:
    """Smooth random pictures as frequencies [count, 2, 10, 256]: as they are and mirrored, in the hash's order."""
    fall = 1 / (1 + np.add.outer(np.arange(40), np.arange(40)))
    made = np.empty((count, 2, 10, 256), np.float32)
    for number in range(count):
        grid = dct(40, 40).T @ (rng.standard_normal((40, 40)) * fall) @ dct(40, 40)
        for side, seen in enumerate((grid, grid[:, ::-1])):
            made[number, side] = frequencies(seen.astype(np.float32))
    return made


def make_hashes(rows: int, rng: np.random.Generator) -> np.ndarray:
    """Hashes of random pictures: uint8 [rows, 10, 32]."""
    parts, layouts = pool(rng, POOL), pool(rng, LAYOUTS)[:, 0]
    hashes = np.empty((rows, 10, 32), np.uint8)
    for start in range(0, rows, AT_ONCE):
        count = min(AT_ONCE, rows - start)
        made = layouts[rng.integers(LAYOUTS, size=count)]
        for _ in range(3):
            made += parts[rng.integers(POOL, size=count), rng.integers(2, size=count)]
        hashes[start : start + count] = np.packbits(made > 0, axis=-1)
    return hashes


def plant(hashes: np.ndarray, rng: np.random.Generator) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Overwrite the last hundredth by copies of others; the rows of originals and copies, by kind."""
    rows = len(hashes)
    originals = rng.permutation(rows - rows // 100)[: rows // 100]
    copies = np.arange(rows - rows // 100, rows)
    kinds = np.arange(len(copies)) % 3
    hashes[copies] = hashes[originals]
    mirror = MIRROR.view(np.uint8)
    swapped = [0, 3, 2, 1, 6, 5, 4, 9, 8, 7]  # a crop at the left is the mirrored picture's at the right
    hashes[copies[kinds == 1]] = hashes[copies[kinds == 1]][:, swapped] ^ mirror
    crops = rng.integers(1, 10, size=(kinds == 2).sum())
    hashes[copies[kinds == 2], 0] = hashes[originals[kinds == 2], crops]
    rate = np.where(kinds == 2, 0.08, 0.02)[:, None, None]
    for start in range(0, len(copies), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        flips = rng.random((len(copies[part]), 10, 256)) < rate[part]
        hashes[copies[part]] ^= np.packbits(flips, axis=-1)
    names = ("encoded again", "mirrored", "cropped")
    return {name: (originals[kinds == kind], copies[kinds == kind]) for kind, name in enumerate(names)}


def main() -> None:
    """Make, search, and print."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    rng = np.random.default_rng(7)
    hashes = make_hashes(rows, rng)
    planted = plant(hashes, rng)
    ids = pl.Series("sample_id", [f"{number:016x}" for number in rng.permutation(rows)])
    samples = pl.DataFrame(
        {
            "sample_id": ids,
            "sha256": ids + ids + ids + ids,
            "pixel_hash": ids + ids + ids + ids,
            "perceptual_hash": [row.tobytes() for row in hashes],
        },
        schema_overrides={"perceptual_hash": pl.Binary},
    )
    del hashes
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    start = time.perf_counter()
    clusters = duplicates.find_clusters(samples)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{rows:,} rows: {seconds:.1f} s, peak RSS {peak:,.0f} MB ({before:,.0f} MB before the search)")
    ranks = clusters.rank("dense").to_numpy()
    for name, (originals, copies) in planted.items():
        print(f"  {name}: {np.mean(ranks[originals] == ranks[copies]):.2%} of {len(copies):,} planted copies found")
    sizes = clusters.value_counts()["count"]
    print(
        f"  rows in a cluster {sizes.filter(sizes > 1).sum():,}, planted {2 * (rows // 100):,}, largest {sizes.max()}"
    )


if __name__ == "__main__":
    main()
