"""A schedule that fires every few seconds, files that arrive between five of its runs, and Prefect's page of one.

    python benchmarks/schedule_run.py [--interval SECONDS] [--pictures FOLDER]

Everything is on the loopback and in a temporary folder: `nhwc schedule --gate` with a server of its own, in a
PREFECT_HOME of its own. Prints a line a run, and fails where a version, a count or a manifest is not as it should be.
With --pictures, Chromium opens the page of the third run, and its artifacts, and they are saved as PNG.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import nhwc

RECIPE = """\
dataset: places
source: {path: photos}
image: {rows: 32, cols: 32}
checks: {bad_fraction: 0.05}
publish: {to: datasets}
"""

Expected = tuple[str, str, int, int]  # outcome, latest version, kept, quarantined

PATIENCE = 900
"""Seconds in which a run must have ended."""


def write(folder: Path, numbers: range, *, blank: bool = False) -> None:
    """Pictures of coarse noise in two classes, each there at once, as a copy that is done arrives."""
    for number in numbers:
        place = folder / ("sea" if number % 2 else "hill") / f"{number:03}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        coarse = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        image = Image.fromarray(coarse).resize((64, 64), Image.Resampling.BICUBIC)
        arriving = folder.parent / "arriving.png"
        (Image.new("RGB", (64, 64), (90, 90, 90)) if blank else image).save(arriving)
        arriving.replace(place)


def arrivals(photos: Path) -> Iterator[Expected]:
    """Before each of five runs: what changes, and what must come of it."""
    write(photos, range(20))
    yield "published", "1.0.0", 20, 0
    write(photos, range(20, 30))
    yield "published", "1.1.0", 30, 0
    write(photos, range(30, 39))
    (photos / "sea" / "broken.png").write_bytes((photos / "sea" / "031.png").read_bytes()[:200])
    yield "published", "1.2.0", 39, 1
    write(photos, range(39, 40), blank=True)
    yield "refused", "1.2.0", 40, 1
    write(photos, range(39, 50))
    yield "published", "1.3.0", 50, 1


@contextmanager
def schedule(recipe: Path, interval: int, home: Path) -> Iterator[str]:
    """`nhwc schedule`, as a user starts it; its server's address. Ended by Ctrl-C."""
    command = [sys.executable, "-m", "nhwc", "schedule", str(recipe), "--interval", str(interval), "--gate"]
    command += ["--timezone", "Europe/Berlin"]
    env = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    env |= {"PREFECT_HOME": str(home), "PREFECT_LOGGING_LEVEL": "ERROR"}
    running = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env)
    try:
        assert running.stdout is not None
        line = running.stdout.readline()
        print(line, end="", flush=True)
        (address,) = re.findall(r"(http://127\.0\.0\.1:\d+)/deployments", line)
        yield address
    finally:
        running.send_signal(signal.SIGINT)
        print(f"ended by Ctrl-C: status {running.wait(180)}")


def next_run(client: Any, since: datetime) -> Any:
    """The first run that began after that and has ended, cancelled ones aside."""
    from prefect.client.schemas.sorting import FlowRunSort  # noqa: PLC0415  once the server's address is known

    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        for run in client.read_flow_runs(sort=FlowRunSort.START_TIME_ASC):
            ended = run.state is not None and (run.state.is_completed() or run.state.is_failed())
            if ended and run.start_time is not None and run.start_time > since:
                return run
        time.sleep(1)
    raise SystemExit(f"no run ended in {PATIENCE} s")


def check(folder: Path, expected: Expected, said: str) -> None:
    """What lies on the disk, held against what must."""
    version = nhwc.Version.open(folder / "datasets" / "places")
    if expected[0] == "refused":
        import polars as pl  # noqa: PLC0415  the refused manifest alone

        manifest = pl.read_parquet(folder / "datasets" / "places" / "refused.parquet")
    else:
        manifest = version.manifest
    counts = {status: int((manifest["status"] == status).sum()) for status in ("kept", "quarantined", "skipped")}
    files = sorted(str(path.relative_to(folder / "photos")) for path in (folder / "photos").rglob("*.png"))
    found = said.partition(":")[0], version.number, counts["kept"], counts["quarantined"]
    if found != expected or sorted(manifest["path"]) != files or sum(counts.values()) != len(files):
        raise SystemExit(f"found {found} and {manifest.height} rows of {len(files)} files, expected {expected}")
    nhwc.verify(version.folder).require()


def picture(address: str, run: Any, to: Path) -> None:
    """The page of the run, and its artifacts, as Chromium shows them."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415  only where pictures are asked for

    to.mkdir(parents=True, exist_ok=True)
    chromium = next(path for name in ("chromium", "chromium-browser") if (path := shutil.which(name)))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox"] if os.geteuid() == 0 else []
        )
        page = browser.new_page(viewport={"width": 1500, "height": 1100})
        for name, tab in (("run", "Task Runs"), ("artifacts", "Artifacts")):
            page.goto(f"{address}/runs/flow-run/{run.id}?tab={tab.replace(' ', '+')}")
            page.get_by_text(tab, exact=True).first.click(timeout=60_000)
            page.wait_for_timeout(4000)
            page.screenshot(path=to / f"{name}.png")
            print(f"picture: {to / f'{name}.png'}")
        browser.close()


def main() -> None:
    """Five runs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--interval", type=int, default=5)
    parser.add_argument("--pictures", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "recipe.yaml").write_text(RECIPE)
        expectations = arrivals(folder / "photos")
        expected = next(expectations)
        with schedule(folder / "recipe.yaml", asked.interval, folder / "prefect") as address:
            os.environ["PREFECT_API_URL"] = f"{address}/api"  # read when Prefect is imported
            from prefect.client.orchestration import get_client  # noqa: PLC0415

            since = datetime.fromtimestamp(0, tz=UTC)
            with get_client(sync_client=True) as client:
                shown = None
                for number in range(1, 6):  # what arrives does so as one has ended: the next takes seconds to start
                    run = next_run(client, since)
                    said = run.state.message or ""
                    check(folder, expected, said)
                    print(f"run {number}: {run.name}: {run.state.name}: {said}", flush=True)
                    shown = run if number == 3 else shown
                    expected, since = next(expectations, expected), datetime.now(tz=UTC)
            if asked.pictures is not None:
                picture(address, shown, asked.pictures)
    print("versions, counts, manifests and pixels are as they should be")


if __name__ == "__main__":
    main()
