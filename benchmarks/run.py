"""Every figure of nhwc's speed, in one run on one machine: a table, and a plot of how far each demand is met.

    make bench                                     installs the peers, then runs all
    python benchmarks/run.py --peers PYTHON ... [--quick] [--only loading ingesting scaling] [--plot FILE] [--json FILE]

Each figure is the median of rounds in which the contenders take turns, on two cores, the files in the page cache.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

from lines import Line, asked_of, from_json, table, write_json
from plot import draw

HERE = Path(__file__).parent
GROUPS = ("loading", "ingesting", "scaling")
CORES = 2


def machine() -> str:
    """What it was measured on, and with what."""
    names = ("tensorflow", "keras", "prefect", "numpy")
    cpu = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), "")
    shown = "the corpus' photographs" if os.environ.get("NHWC_CORPUS") else "photographs made by code"
    return (
        f"{CORES} cores of {cpu.rpartition(': ')[2] or platform.machine()}, load {os.getloadavg()[0]:.1f} before, "
        f"{shown}, python {platform.python_version()}, " + ", ".join(f"{name} {version(name)}" for name in names)
    )


def measured(group: str, asked: argparse.Namespace, folder: Path) -> tuple[list[Line], int]:
    """The lines of one group, from a process of its own, and its exit status."""
    file = folder / f"{group}.json"
    command = [sys.executable, str(HERE / f"{group}.py"), "--json", str(file), "--peers", *asked.peers]
    quiet = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "", "PYTHONWARNINGS": "ignore"}
    with (folder / "stderr").open("w+") as said:  # TensorFlow's greetings, and what broke
        done = subprocess.run(
            [*command, *["--quick"] * asked.quick], env=quiet, stdout=sys.stderr, stderr=said, check=False
        )
        said.seek(0)
        if done.returncode:
            print(*said.readlines()[-30:], sep="", file=sys.stderr)
    return (from_json(file) if file.exists() else []), done.returncode


def main() -> int:
    """Measure, then print one table; 1 if a script failed. A short line fails nothing: it may be the machine."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=list(GROUPS), choices=GROUPS)
    parser.add_argument("--plot", type=Path, metavar="FILE", help="docs/bench.png where not given; with --quick none")
    asked = asked_of(parser)
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])  # all that is started keeps to them
    said, start = machine(), time.monotonic()
    lines: list[Line] = []
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        for group in asked.only:
            some, status = measured(group, asked, Path(folder))
            lines += some
            failed += [f"{group} failed with exit status {status}: its lines are missing"] * (status != 0)
    if asked.json:
        write_json(lines, asked.json)
    place = asked.plot or (None if asked.quick else HERE.parent / "docs" / "bench.png")
    if place and lines:
        draw(lines, place, title=said + "; a try with few images" * asked.quick)
    counts = {verdict: sum(one.verdict == verdict for one in lines) for verdict in ("pass", "short", "stated")}
    told = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    print(
        f"{said}; {(time.monotonic() - start) / 60:.0f} min{'; a try with few images' * asked.quick}\n\n{table(lines)}"
    )
    print("\n".join(["", told, *failed]))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
