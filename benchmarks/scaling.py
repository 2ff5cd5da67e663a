"""How an ingest grows: its time, its memory, its shards, its Prefect tasks; and how soon the commands start.

    python benchmarks/scaling.py [--quick] [--images 1000 4000 16000 60000] [--repeats 3] [--only SC PR MF ST]

Small photographs-like JPEGs (160 x 120, no two alike) are made by code. Start-up is measured apart, by an ingest of ten
images, and taken off. The smaller sizes take turns with the largest, which is ingested once.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median

from again import Ingest, Source, again_lines, run_json
from contenders import bare
from gate_scale import measured
from lines import Line, Say, asked_of, rounds, run
from paired import paired
from photographs import write_copies, write_small

from nhwc.pipelines.store import samples_a_shard
from nhwc.validators.contract import image_contract

LINEAR, FLAT = 0.9, 1.15
"""Time per image may grow by a tenth, memory by 15 %."""

LEAST_MB, MOST_MB, MOST_TASKS = 64, 512, 200

QUICK = 2.0
"""A flow that does nothing may take twice what it takes on a server that has nothing else to do."""


def ingests(asked: argparse.Namespace, say: Say, home: Path) -> None:
    """Time, memory and shards, and the second runs."""
    few = Source(home / "few", write_small, rows=64, cols=64)
    few.write(10)
    sizes = [200, 500, 1500] if asked.quick else sorted(asked.images)
    sources = {images: Source(home / str(images), write_small, rows=64, cols=64) for images in sizes}
    for images, source in sources.items():
        source.write(images)
    firsts: dict[int, list[Ingest]] = {images: [] for images in sizes}
    starts, all_three = [], []
    repeats = 1 if asked.quick else asked.repeats
    for number in range(repeats):
        starts.append(few.first_run().seconds)
        for images in sizes[:-1]:
            firsts[images].append(sources[images].first_run())
        if number == repeats // 2:
            all_three.append(sources[sizes[-1]].three_runs(sizes[-1]))
            firsts[sizes[-1]].append(all_three[0].first)
    decode = bare(sources[sizes[-2]].photos, False)
    limit = sizes[-2] / median(paired({"decode": decode}, 3)["decode"])
    for line in [*growth(firsts, median(starts), limit), *again_lines(f"{sizes[-1]:,} of 160 x 120", all_three)]:
        say(line)


def growth(firsts: Mapping[int, Sequence[Ingest]], start: float, limit: float) -> list[Line]:
    """What the largest size takes beside the smaller ones, and what libjpeg-turbo alone decodes of them in a second."""
    *_, middle, largest = sorted(firsts)
    rates = {images: [images / (one.seconds - start) for one in some] for images, some in firsts.items()}
    peaks = {images: median(one.peak_mb for one in some) for images, some in firsts.items()}
    said = ", ".join(f"{images:,}: {median(some):,.0f}/s" for images, some in rates.items())
    first = firsts[largest][0]
    line = partial(Line, demand="SC")
    lines = [
        line(
            name=f"images/s at {largest:,}",
            beside=f"{middle:,}",
            needed=LINEAR,
            said=f"{said}; libjpeg-turbo alone {limit:,.0f}/s; start-up {start:.2f} s taken off",
            **rounds([median(rates[largest]) / rate for rate in rates[middle]]),
        ),
        line(
            name=f"resident memory at {largest:,}, once shards are full",
            beside=f"{middle:,}",
            needed=FLAT,
            bound="at most",
            said=", ".join(f"{images:,}: {peak:,.0f} MB" for images, peak in peaks.items())
            + f"; {first.start_mb:,.0f} MB after the imports",
            **rounds([peaks[largest] / one.peak_mb for one in firsts[middle]]),
        ),
    ]
    return [*lines, *shard_lines(first.shards_mb, largest)]


def shard_lines(made_mb: Sequence[float], images: int) -> list[Line]:
    """Of those that an ingest made, the last of which holds what was left over; and of a full one of other sizes."""
    full = sorted(made_mb)[1:] or made_mb
    needed = LEAST_MB if len(made_mb) > 1 else None  # one alone is what was left over
    line = partial(Line, demand="SC", beside="the bounds", unit="MB")
    lines = [
        line(name=f"smallest full shard of {images:,} of 64 x 64 x 3", needed=needed, **rounds([min(full)])),
        line(
            name=f"largest shard of {images:,} of 64 x 64 x 3", needed=MOST_MB, bound="at most", **rounds([max(full)])
        ),
    ]
    for rows, channels in ((28, 1), (224, 3), (1024, 3)):
        contract = image_contract(rows=rows, cols=rows, channels=channels, dtype="uint8", value_range=(0, 255))
        size = samples_a_shard(contract) * rows * rows * channels / 1e6
        name = f"a full shard of {rows} x {rows} x {channels}"
        lines.append(line(name=name, needed=LEAST_MB, said=f"{samples_a_shard(contract):,} samples", **rounds([size])))
    return lines


def flows(asked: argparse.Namespace, say: Say, home: Path) -> None:
    """Prefect's tasks, and what they leave the server to do."""
    images, simulated = (200, 60_000) if asked.quick else (4000, 1_000_000)
    source = Source(home / "flow", write_small, rows=224, cols=224)  # so that there is more than one shard
    source.write(images)
    told = run_json("prefect_tasks.py", str(source.recipe), str(simulated))
    empty, full = median(told["empty"]), told["after_full"]
    line = partial(Line, demand="PR", bound="at most")
    tasks = partial(line, beside="the bound", needed=MOST_TASKS, unit="tasks")
    said = f"{told['ingest']:.1f} s"
    say(tasks(name=f"task runs, {images:,} images to 224 x 224", said=said, **rounds([told["tasks"]])))
    name = f"task runs, {simulated:,} images to 224 x 224, simulated"
    say(tasks(name=name, **rounds([told["simulated_tasks"]])))
    after = partial(line, beside=f"an empty flow on a fresh server, {empty:.2f} s")
    said = f"{told['after_ingest']:.2f} s"
    took = told["after_ingest"] / empty
    say(after(name="empty flow right after that ingest", needed=QUICK, said=said, **rounds([took])))
    # only stated: in an ingest no task ends within milliseconds, and the server keeps up
    name, said = (
        f"empty flow right after {told['simulated_tasks']} empty tasks",
        f"{full[0]:.2f} s, then {full[1]:.2f} s",
    )
    say(after(name=name, said=said, **rounds([full[0] / empty])))
    said = f"{told['unchanged']:.2f} s"
    say(after(name="unchanged ingest as a flow", said=said, **rounds([told["unchanged"] / empty])))


def manifests(asked: argparse.Namespace, say: Say, home: Path) -> None:
    """A manifest of a million rows, simulated: the gate over it, beside half of it."""
    smallest, middle, largest = (100, 5_000, 20_000) if asked.quick else (1_000, 500_000, 1_000_000)
    versions = {}
    for seed, rows in enumerate((smallest, middle, largest)):
        made = "import sys; from pathlib import Path; from gate_scale import make_version;"
        made += "make_version(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))"
        command = [sys.executable, "-c", made, str(home), f"rows_{rows}", str(rows), str(seed)]
        subprocess.run(command, check=True, env=os.environ | {"PYTHONPATH": str(Path(__file__).parent)})
        versions[rows] = home / "datasets" / f"rows_{rows}"
    taken = [
        {rows: measured("gate", version) for rows, version in versions.items()}
        for _ in range(1 if asked.quick else asked.repeats)
    ]
    seconds = {rows: median(one[rows][0] for one in taken) for rows in versions}
    peak_mb = {rows: median(one[rows][1] for one in taken) for rows in versions}
    start = seconds[smallest]
    per_row = {rows: [max(1e-9, (one[rows][0] - start) / rows) for one in taken] for rows in (middle, largest)}
    said = ", ".join(f"{rows:,}: {seconds[rows]:.1f} s, {peak_mb[rows]:,.0f} MB" for rows in versions)
    say(
        Line(
            demand="MF",
            name=f"nhwc gate, rows/s of a manifest of {largest:,}",
            beside=f"of {middle:,}",
            needed=LINEAR,
            said=f"{said}; that of {smallest:,} taken off",
            **rounds(small / large for small, large in zip(per_row[middle], per_row[largest], strict=True)),
        )
    )


def starting(asked: argparse.Namespace, say: Say, home: Path) -> None:
    """How soon the commands are there, each in a process of its own."""
    photo = next(write_copies(home / "one", 1).rglob("*.jpg"))
    beside = Path(sys.executable).with_name("nhwc")
    nhwc = [str(beside)] if beside.exists() else [sys.executable, "-m", "nhwc"]
    commands = {
        "nhwc --help": [*nhwc, "--help"],
        "nhwc inspect FILE": [*nhwc, "inspect", str(photo)],
        "python": [sys.executable, "-c", "pass"],
        "import tensorflow": [sys.executable, "-c", "import tensorflow"],
    }
    runs = {
        name: partial(subprocess.run, command, capture_output=True, check=True) for name, command in commands.items()
    }
    took = paired(runs, 2 if asked.quick else 5)
    said = ", ".join(f"{name} {median(took[name]):.2f} s" for name in ("python", "import tensorflow"))
    for name, needed in (("nhwc --help", 0.3), ("nhwc inspect FILE", 1.0)):
        say(
            Line(
                demand="ST",
                name=name,
                beside="itself",
                needed=needed,
                bound="at most",
                unit="s",
                said=said,
                **rounds(took[name]),
            )
        )


GROUPS = {"SC": ingests, "PR": flows, "MF": manifests, "ST": starting}


def measure(asked: argparse.Namespace, say: Say) -> None:
    """All that is asked for, each group in a folder that is removed."""
    for group in asked.only:
        with tempfile.TemporaryDirectory() as place:
            GROUPS[group](asked, say, Path(place))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[1000, 4000, 16_000, 60_000])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=list(GROUPS), choices=list(GROUPS))
    run(measure, asked_of(parser))


if __name__ == "__main__":
    main()
