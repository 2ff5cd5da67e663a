"""A first ingest, an unchanged second one, and one with 1 % new files, each in a process of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from lines import Line, rounds
from photographs import path_of

Write = Callable[[Path, Iterable[int]], Path]
"""Writes the photographs of these numbers into a folder."""

RECIPE = """\
dataset: many
source: {{path: photos}}
image: {{rows: {rows}, cols: {cols}}}
splits: {{train: 0.8, test: 0.2}}
publish: {{to: datasets}}
"""


@dataclass(frozen=True, kw_only=True)
class Ingest:
    """What one ingest took.

    Args:
        seconds: from the recipe to the published version; imports are not counted.
        made: files that were decoded.
        outcome: published or unchanged.
        start_mb, peak_mb: resident memory after the imports, and the most it came to.
        shards_mb: every shard's size, in MB.
    """

    seconds: float
    made: int
    outcome: str
    start_mb: float
    peak_mb: float
    shards_mb: Sequence[float]


@dataclass(frozen=True, kw_only=True)
class ThreeRuns:
    """The first, the unchanged and the one with 1 % new files."""

    images: int
    first: Ingest
    unchanged: Ingest
    new: Ingest


def ingest(recipe: Path) -> Ingest:
    """Ingest in a process of its own."""
    return Ingest(**run_json("again.py", str(recipe)))


def run_json(script: str, *arguments: str, python: str | None = None) -> dict[str, Any]:
    """What a script beside this one prints last, by another interpreter if one is given.

    Raises CalledProcessError, its stderr printed, where it fails.
    """
    command = [python or sys.executable, str(Path(__file__).with_name(script)), *arguments]
    quiet = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=quiet)
    if done.returncode:
        print(done.stderr, file=sys.stderr)
        done.check_returncode()
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def ingest_here(recipe: Path) -> Ingest:
    """The same in this process."""
    import tensorflow  # noqa: F401, PLC0415  what an ingest imports on its way belongs to its start

    from nhwc.flows.ingest import run_ingest  # noqa: PLC0415
    from nhwc.flows.recipe import read_recipe  # noqa: PLC0415

    start = resident_mb("VmRSS")
    before = time.perf_counter()
    ingested = run_ingest(read_recipe(recipe))
    return Ingest(
        seconds=time.perf_counter() - before,
        made=ingested.made,
        outcome=ingested.outcome,
        start_mb=start,
        peak_mb=resident_mb("VmHWM"),
        shards_mb=[path.stat().st_size / 1e6 for path in ingested.place.parent.glob("shards/*.arrow")],
    )


def resident_mb(name: str) -> float:
    """Of this process alone, now (VmRSS) or at most (VmHWM): what getrusage calls the peak may be the parent's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024


class Source:
    """A folder of photographs and a recipe for it, ingested from the beginning as often as needed."""

    def __init__(self, home: Path, write: Write, *, rows: int, cols: int) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.photos, self.recipe, self._datasets = home / "photos", home / "many.yaml", home / "datasets"
        self._write = partial(write, self.photos)
        self.recipe.write_text(RECIPE.format(rows=rows, cols=cols))

    def write(self, images: int) -> None:
        """Write the first so many."""
        self._write(range(images))

    def first_run(self) -> Ingest:
        """Of what `write` wrote, from the beginning."""
        shutil.rmtree(self._datasets, ignore_errors=True)
        time.sleep(2.1)  # a file written within a file system's tick of the look would be read again
        return ingest(self.recipe)

    def three_runs(self, images: int) -> ThreeRuns:
        """Of the so many that `write` wrote; afterwards all is as it was before."""
        more = range(images, images + max(1, images // 100))
        first, unchanged = self.first_run(), ingest(self.recipe)
        self._write(more)
        new = ingest(self.recipe)
        for number in more:
            path_of(self.photos, number).unlink()
        shutil.rmtree(self._datasets)
        assert (images, 0, len(more)) == (first.made, unchanged.made, new.made), (first, unchanged, new)
        return ThreeRuns(images=images, first=first, unchanged=unchanged, new=new)


def again_lines(what: str, runs: Sequence[ThreeRuns]) -> list[Line]:
    """I4: each run as a share of the first of its round."""
    lines = []
    for name, needed, took in (
        ("unchanged second run", 0.03, [one.unchanged.seconds for one in runs]),
        ("run with 1 % new files", 0.06, [one.new.seconds for one in runs]),
    ):
        firsts = [one.first.seconds for one in runs]
        lines.append(
            Line(
                demand="I4",
                name=f"{name}, {what}",
                beside="the first run",
                needed=needed,
                bound="at most",
                unit="share",
                said=f"{median(took):.2f} s beside {median(firsts):.1f} s",
                **rounds(seconds / first for seconds, first in zip(took, firsts, strict=True)),
            )
        )
    return lines


if __name__ == "__main__":
    print(json.dumps(asdict(ingest_here(Path(sys.argv[1])))))
