"""One recipe by every engine, by 1, 2 and 4 workers, and with the source listed in another order: one tree.

    NHWC_CORPUS=... python benchmarks/engines.py

Prints the hash of every tree, and ends with status 1 where one differs.
"""

from __future__ import annotations

import os
import random
import shutil
import sys
import tempfile
from pathlib import Path

from kills import tree

import nhwc
from nhwc.flows.recipe import parse_recipe

RUNS = [("threads", None), *((engine, workers) for engine in ("processes", "dask", "ray") for workers in (1, 2, 4))]


def ingested(source: Path, folder: Path, engine: str, workers: int | None) -> str:
    """The hash of the tree that comes of it."""
    plain = {
        "dataset": "photographs",
        "source": {"path": str(source)},
        "image": {"rows": 500, "cols": 500},  # 178 a shard, so six of them
        "splits": {"from": "folder"},
        "checks": {"bad_fraction": 1, "bad_fraction_per_class": 1},
        "publish": {"to": "."},
    }
    version = nhwc.ingest(parse_recipe(plain, base=folder), direct=True, engine=engine, workers=workers)
    found = tree(version.dataset)
    shutil.rmtree(version.dataset)
    return found


def listed(source: Path) -> list[str]:
    """All its names, in the order in which the system lists them."""
    return [f"{where}/{name}" for where, folders, files in os.walk(source) for name in (*folders, *files)]


def main() -> None:
    """Run all."""
    corpus = Path(os.environ["NHWC_CORPUS"], "datasets", "clothing")
    trees = set()
    with tempfile.TemporaryDirectory(dir="/dev/shm") as memory, tempfile.TemporaryDirectory() as place:
        source = Path(memory, "source")
        shutil.copytree(corpus, source)
        for engine, workers in RUNS:
            found = ingested(source, Path(place), engine, workers)
            trees.add(found)
            print(f"{engine:<10} {workers or '':>2} workers  {found[:32]}", flush=True)
        before = listed(source)
        shutil.rmtree(source)
        files = [path for path in corpus.rglob("*") if path.is_file()]
        random.Random(7).shuffle(files)
        for path in files:  # a memory file system lists what was made last first
            copy = source / path.relative_to(corpus)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, copy)
        if listed(source) == before:
            sys.exit("the other listing is the same one")
        found = ingested(source, Path(place), "threads", None)
        trees.add(found)
        print(f"threads, listed in another order  {found[:32]}")
    print(f"{len(RUNS) + 1} runs, {len(trees)} tree")
    sys.exit(len(trees) != 1)


if __name__ == "__main__":
    main()
