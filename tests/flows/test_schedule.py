"""The ingest on a schedule, on a real server: what runs, what stops, and what a server that fails does not lose."""

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, get_current_settings, temporary_settings

import nhwc
from nhwc.flows.durable import locked
from nhwc.flows.engines import EngineOptions
from nhwc.flows.prefect_server import prefect_server
from nhwc.flows.schedule import read_schedule

EXAMPLE = Path(__file__).parents[2] / "examples" / "schedule"
RECIPE = """\
dataset: pets
source: {path: photos}
image: {rows: 4, cols: 5}
checks: {rules: {tiny: 'off'}}
publish: {to: datasets}
"""


@pytest.fixture
def recipe(tmp_path: Path, photos: Path) -> Path:
    """A recipe's file for photos/."""
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE)
    return path


@contextlib.contextmanager
def own_server(home: Path) -> Iterator[dict[str, str]]:
    """A server as `nhwc schedule` starts one; what a command needs in its environment to use it."""
    unset = temporary_settings({PREFECT_HOME: home}, restore_defaults={PREFECT_API_URL})
    with unset, prefect_server() as url:
        log = Path(get_current_settings().home, "nhwc-server.log")
        assert log.is_file()
        yield {"PREFECT_API_URL": url, "PREFECT_HOME": str(home)}


@pytest.fixture(scope="module")
def real_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """One for all these tests but the one that kills its own."""
    with own_server(tmp_path_factory.mktemp("prefect")) as env:
        yield env


def started(*command: object, env: dict[str, str], cwd: Path) -> subprocess.Popen[str]:
    """A command of this environment, in a session of its own."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.Popen(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"PATH": path, "PWD": str(cwd), "TF_CPP_MIN_LOG_LEVEL": "3"} | env,
        cwd=cwd,
        start_new_session=True,
    )


def ended(*command: object, env: dict[str, str], cwd: Path) -> tuple[int, str]:
    """Exit status and all that it said."""
    running = started(*command, env=env, cwd=cwd)
    said, _ = running.communicate(timeout=240)
    return running.returncode, said


def wait_for(what: Callable[[], object], seconds: float = 240) -> None:
    """Until it is true."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.2)


def latest(folder: Path) -> str | None:
    """The number of the last good version."""
    file = folder / "datasets" / "pets" / "latest"
    return file.read_text().splitlines()[0] if file.is_file() else None


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({}, "cron, interval: found neither"),
        ({"cron": "* * * * *", "interval": "5"}, "cron, interval: found both"),
        ({"cron": "every night"}, "cron: found 'every night', expected five fields"),
        ({"cron": "0 0 31 2 *"}, "cron: found .*, which never comes round, expected a day that there is"),
        (
            {"interval": "15m", "gate": {"baseline": "nowhere"}},
            "nowhere:\n  found no such folder, expected a published",
        ),
        ({"interval": "0"}, "interval: found '0', expected seconds"),
        ({"interval": "5 years"}, "interval: found '5 years', expected seconds"),
        ({"interval": "15m", "timezone": "Mars/Base"}, "timezone: found 'Mars/Base', expected a name of IANA's"),
        ({"interval": "15m", "overlap": "maybe"}, "overlap: found 'maybe', expected refuse or queue"),
        ({"interval": "15m", "name": "a/b"}, "name: found 'a/b'"),
        ({"interval": "15m", "engine": EngineOptions(workers=2)}, "workers: found beside threads"),
        ({"interval": "15m", "gate": {"verify": True}}, "verify: found True, which does not go with a recipe"),
        ({"interval": "15m", "gate": {"baselin": "x"}}, "baselin: unknown option, expected some of baseline"),
    ],
)
def test_a_wrong_schedule_is_told_before_anything_starts(recipe: Path, asked: dict[str, Any], message: str) -> None:
    """All that is wrong with it, and how it is meant to be."""
    with pytest.raises(nhwc.RecipeError, match=message):
        read_schedule(**({"cron": None, "interval": None, "recipe": recipe} | asked))


@pytest.mark.parametrize(("written", "seconds"), [("90", 90), ("1.5s", 1.5), ("15m", 900), ("2h", 7200), ("1d", 86400)])
def test_intervals(recipe: Path, written: str, seconds: float) -> None:
    """Seconds, or with a unit."""
    interval = read_schedule(recipe=recipe, cron=None, interval=written).interval
    assert interval is not None
    assert seconds == interval.total_seconds()


def test_it_runs_until_it_is_ended(real_server: dict[str, str], recipe: Path, write_image: Any) -> None:
    """Files that arrive make the next version; SIGTERM ends it, the run that goes on, and every process."""
    nhwc_schedule = [sys.executable, "-m", "nhwc", "schedule", recipe, "--interval", "3", "--timezone", "Asia/Tokyo"]
    nhwc_schedule += ["--engine", "processes", "--workers", "1"]
    running = started(*nhwc_schedule, env=real_server, cwd=recipe.parent)
    assert running.stdout is not None
    lines: list[str] = []
    reading = threading.Thread(target=lambda: lines.extend(running.stdout or ()), daemon=True)
    reading.start()
    try:
        wait_for(lambda: latest(recipe.parent) == "1.0.0")
        write_image("cat/new.png")
        wait_for(lambda: latest(recipe.parent) == "1.1.0")
        family = [psutil.Process(running.pid), *psutil.Process(running.pid).children(recursive=True)]
    finally:
        running.send_signal(signal.SIGTERM)
    assert 143 == running.wait(180), "".join(lines)
    reading.join()
    running.stdout.close()
    assert [] == [one for one in family if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
    assert any("pets: next run 20" in line and "JST (Asia/Tokyo); runs are shown at http" in line for line in lines)
    with locked(recipe.parent / "datasets" / "pets"):  # nothing holds it any more
        pass


def test_a_refused_run_says_why_and_the_next_one_comes(
    real_server: dict[str, str], recipe: Path, write_image: Any, photos: Path
) -> None:
    """Each with all its reasons and no traceback; once the source is mended it is published."""
    bad = photos / "cat" / "bad.png"
    bad.touch()
    lines: list[str] = []
    running = started(
        sys.executable, "-m", "nhwc", "schedule", recipe, "--interval", "3", env=real_server, cwd=recipe.parent
    )
    reading = threading.Thread(target=lambda: lines.extend(running.stdout or ()), daemon=True)
    reading.start()
    try:
        wait_for(lambda: any("over_budget: all found 1 of 21" in line for line in lines))
        assert latest(recipe.parent) is None
        bad.unlink()
        wait_for(lambda: latest(recipe.parent) == "1.0.0")
    finally:
        running.send_signal(signal.SIGTERM)
    assert 143 == running.wait(180), "".join(lines)
    reading.join()
    assert running.stdout is not None
    running.stdout.close()
    assert "Traceback" not in "".join(lines)


def test_a_killed_run_leaves_no_lock(recipe: Path) -> None:
    """SIGKILL while it decodes; the next run goes on at once."""
    code = "import os, nhwc, signal, sys\nfrom nhwc.flows.ingest import run_ingest\nfrom nhwc.flows.recipe import *\n"
    code += "run_ingest(read_recipe(sys.argv[1]), progress=lambda name, *_: name == 'decode' and os.kill(0, 9))"
    status, said = ended(sys.executable, "-c", code, recipe, env={}, cwd=recipe.parent)
    assert -signal.SIGKILL == status, said
    assert latest(recipe.parent) is None
    assert "1.0.0" == nhwc.ingest(recipe, direct=True).number


def test_a_killed_ingest_leaves_no_process(tmp_path: Path, recipe: Path) -> None:
    """SIGKILL, as of the system that is out of memory: the server that was started for the run ends too."""
    running = started(sys.executable, "-m", "nhwc", "ingest", recipe, env={"PREFECT_HOME": str(tmp_path)}, cwd=tmp_path)
    try:
        wait_for(lambda: (tmp_path / "nhwc-server.log").is_file() and psutil.Process(running.pid).children())
        family = psutil.Process(running.pid).children(recursive=True)
    finally:
        running.kill()
        running.communicate()
    wait_for(lambda: not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in family))


RUN_AND = """
import os, sqlite3, sys, threading, time
from nhwc.flows.prefect_run import ingest_with_prefect
from nhwc.flows.recipe import read_recipe
def trouble(name, more, total):
    if name == "decode" and not began:
        began.append(name)
        %s
began = []
print(ingest_with_prefect(read_recipe("recipe.yaml"), progress=trouble).outcome)
"""


def test_a_server_that_dies_in_mid_run_loses_no_data(tmp_path: Path, recipe: Path) -> None:
    """The version is published, and one line says that Prefect does not know."""
    with own_server(tmp_path / "prefect") as env:
        living = [one for one in psutil.Process().children() if one.status() != psutil.STATUS_ZOMBIE]
        (server,) = [one for one in living if env["PREFECT_API_URL"].split(":")[2].split("/")[0] in one.cmdline()]
        code = RUN_AND % f"os.kill({server.pid}, 9); time.sleep(0.5)"
        patience = {"PREFECT_CLIENT_MAX_RETRIES": "1"}  # else Prefect tries for a minute to tell of the end
        status, said = ended(sys.executable, "-c", code, env=env | patience, cwd=tmp_path)
    assert 0 == status, said
    assert "published" in said
    assert 1 == said.count("nhwc: Prefect could not be told")
    assert "1.0.0" == latest(tmp_path)
    assert nhwc.verify(tmp_path / "datasets" / "pets").passed


def test_a_locked_database_in_mid_run_loses_no_data(real_server: dict[str, str], tmp_path: Path, recipe: Path) -> None:
    """Held until the version is published; then the flow ends as it should, or it is said that it could not be told."""
    holding = sqlite3.connect(Path(real_server["PREFECT_HOME"]) / "prefect.db", isolation_level=None, timeout=60)
    signal_file = tmp_path / "decoding"
    running = started(
        sys.executable,
        "-c",
        RUN_AND % f"open({str(signal_file)!r}, 'w').close(); time.sleep(1)",
        env=real_server,
        cwd=tmp_path,
    )
    try:
        wait_for(signal_file.exists)
        holding.execute("BEGIN EXCLUSIVE")
        wait_for(lambda: latest(tmp_path) == "1.0.0")
    finally:
        holding.close()
        said, _ = running.communicate(timeout=240)
    assert 0 == running.returncode, said
    assert "published" in said
    assert "Traceback" not in said


def test_the_example_is_deployed_and_a_worker_runs_it(
    real_server: dict[str, str], tmp_path: Path, recipe: Path
) -> None:
    """`prefect deploy --all` and a worker of a process pool, as its README says, without a network."""
    (tmp_path / "prefect.yaml").write_text((EXAMPLE / "prefect.yaml").read_text())
    for command in (
        "prefect work-pool create nhwc --type process",
        "prefect deploy --all --no-prompt",
        "prefect deployment run nhwc-ingest-and-gate/nightly",
        "prefect worker start --pool nhwc --run-once",
    ):
        status, said = ended(*command.split(), env=real_server, cwd=tmp_path)
        assert 0 == status, said
    assert "1.0.0" == latest(tmp_path), said


def test_a_hook_tells_of_a_failure(real_server: dict[str, str], tmp_path: Path, recipe: Path) -> None:
    """The example posts the verdict's line to whoever listens."""
    heard: list[dict[str, str]] = []

    class Listener(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    (tmp_path / "photos" / "cat" / "bad.png").touch()
    with HTTPServer(("127.0.0.1", 0), Listener) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        tell = {"TELL": f"http://127.0.0.1:{listening.server_port}/"}
        status, said = ended(sys.executable, EXAMPLE / "tell_failures.py", recipe, env=real_server | tell, cwd=tmp_path)
        listening.shutdown()
    assert 1 == status, said
    (told,) = heard
    assert told["message"].startswith("refused: nothing published; 21 discovered = 20 kept, 1 quarantined")
