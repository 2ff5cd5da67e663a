"""Kill an ingest at random moments, run the same command again, and compare the trees.

    NHWC_CORPUS=... python benchmarks/kills.py --engine processes --times 100
    NHWC_CORPUS=... python benchmarks/kills.py --engine dask --times 20 --worker

Each time into a new folder: the run is begun, killed after a random time by SIGKILL (with --worker one of its worker
processes, and the run goes on), and begun anew until it ends by itself. The tree must be that of an undisturbed run,
what readers see in between must be whole, and no process may be left. Shards are small, so that there are many.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil
import yaml

import nhwc

MAIN = """
import sys
from nhwc.flows import cli, shards
shards.samples_a_shard = lambda contract: {samples}
cli.main()
"""
WORKERS = {"processes": "nhwc.flows.worker", "dask": "multiprocessing.spawn", "ray": "default_worker.py"}
NOTES = (".seen", ".hashes", ".shard-hashes")  # what nhwc notes beside the versions, with times and inodes in it


@dataclass(frozen=True, kw_only=True)
class Trial:
    """How runs are started and killed."""

    source: Path
    engine: str
    samples: int
    worker: bool
    rows: int

    def command(self, folder: Path) -> list[str]:
        """An ingest into the folder."""
        plain = {
            "dataset": "killed",
            "source": {"path": str(self.source)},
            "image": {"rows": self.rows, "cols": self.rows},
            "splits": {"from": "folder"},
            "checks": {"bad_fraction": 1, "bad_fraction_per_class": 1},
            "publish": {"to": "."},
        }
        (folder / "recipe.yaml").write_text(yaml.safe_dump(plain))
        main = MAIN.format(samples=self.samples)
        return [sys.executable, "-c", main, "ingest", "recipe.yaml", "--direct", "--engine", self.engine]

    def begin(self, folder: Path) -> subprocess.Popen[bytes]:
        """An ingest, running; what it says is kept beside the dataset."""
        with (folder / "said").open("ab") as said:
            return subprocess.Popen(self.command(folder), cwd=folder, stdout=said, stderr=said)


def tree(dataset: Path) -> str:
    """One hash of every file below it, but for the notes."""
    digest = hashlib.sha256()
    for path in sorted(path for path in dataset.rglob("*") if path.is_file() and path.name not in NOTES):
        digest.update(f"{path.relative_to(dataset)} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def workers_of(process: psutil.Process, engine: str) -> list[psutil.Process]:
    """The processes that work for a run."""
    found = []
    with contextlib.suppress(psutil.NoSuchProcess):
        for child in process.children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                if any(WORKERS.get(engine, "-") in part for part in child.cmdline()):
                    found.append(child)
    return found


def killed(trial: Trial, expected: str, longest: float, seed: int) -> str:
    """What came of one kill: `same tree`, or what was wrong."""
    rng = random.Random(seed)
    folder = Path(tempfile.mkdtemp(prefix="kills-"))
    try:
        with trial.begin(folder) as process:
            time.sleep(rng.uniform(0, longest))
            ours = workers_of(psutil.Process(process.pid), trial.engine) if process.poll() is None else []
            if not trial.worker:
                process.kill()
            elif ours:
                rng.choice(ours).kill()
            status = process.wait()
        if trial.worker and status != 0:
            return f"the run did not survive its worker's death: status {status}"
        if not trial.worker and psutil.wait_procs(ours, timeout=20)[1]:
            return "a worker outlived its run"
        dataset = folder / "killed"
        if (dataset / "latest").is_file() and not nhwc.verify(dataset).passed:
            return "readers saw a part of a version"
        if trial.begin(folder).wait() != 0:
            return "the second run failed: " + (folder / "said").read_text()[-300:]
        return "same tree" if tree(dataset) == expected else "another tree"
    finally:
        shutil.rmtree(folder)


def undisturbed(trial: Trial) -> tuple[str, float]:
    """The tree of a run, and its seconds."""
    with tempfile.TemporaryDirectory(prefix="kills-") as folder:
        began = time.perf_counter()
        if (status := trial.begin(Path(folder)).wait()) != 0:
            sys.exit(f"the undisturbed run failed with status {status}: {(Path(folder) / 'said').read_text()}")
        return tree(Path(folder) / "killed"), time.perf_counter() - began


def main() -> None:
    """Run all trials, and print how many ended in the same tree."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", default="threads", choices=["threads", "processes", "dask", "ray"])
    parser.add_argument("--times", type=int, default=100)
    parser.add_argument("--worker", action="store_true", help="kill one worker, not the run")
    parser.add_argument("--samples", type=int, default=100, help="a shard")
    parser.add_argument("--rows", type=int, default=224, help="of the stored images, and cols")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--beside", type=int, default=1, help="trials at a time")
    parser.add_argument("--source", type=Path, help="a folder of images; by default the corpus' clothing")
    given = parser.parse_args()
    source = given.source or Path(os.environ["NHWC_CORPUS"], "datasets", "clothing")
    trial = Trial(
        source=source.resolve(),
        engine=given.engine,
        samples=given.samples,
        worker=given.worker,
        rows=given.rows,
    )
    expected, seconds = undisturbed(trial)
    print(f"an undisturbed run took {seconds:.1f} s, tree {expected[:16]}", flush=True)
    work = partial(killed, trial, expected, seconds * given.beside)
    with ThreadPoolExecutor(given.beside) as pool:
        came_to = Counter[str]()
        for what in pool.map(work, range(given.seed, given.seed + given.times)):
            came_to[what] += 1
            if came_to.total() % 10 == 0:
                print(f"after {came_to.total()}: {dict(came_to)}", flush=True)
    for what, count in came_to.most_common():
        print(f"{count}/{given.times} {what}")
    sys.exit(came_to["same tree"] != given.times)


if __name__ == "__main__":
    main()
