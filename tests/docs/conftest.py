"""What the pages stand on: a folder to follow them in, and the commands in this process."""

import io
import runpy
import shlex
import subprocess
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import keras
import pytest

from nhwc.flows.cli import main

CHECKOUT = Path(__file__).parents[2]
Run = Callable[[str], tuple[int, str]]


@pytest.fixture(scope="session")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the pages call photos/, as examples/photographs.py makes it."""
    pytest.importorskip("sklearn")
    folder = tmp_path_factory.mktemp("made") / "photos"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("sys.argv", ["photographs.py", str(folder)])
        runpy.run_path(str(CHECKOUT / "examples" / "photographs.py"), run_name="__main__")
    return folder


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder with the checkout's examples in it, where a reader would be."""
    (tmp_path / "examples").symlink_to(CHECKOUT / "examples")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NHWC_CACHE", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture
def typed(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs one line of a shell: its exit status, and what it printed.

    nhwc's own commands and Python's scripts run in this process, which saves importing everything for each of them.
    """

    def run(line: str) -> tuple[int, str]:
        words = shlex.split(line, comments=True)
        if words[0] not in ("nhwc", "python") or {"|", ";", "&&"} & set(words):
            done = subprocess.run(["bash", "-c", line], cwd=scratch, capture_output=True, text=True, check=False)
            return done.returncode, done.stdout + done.stderr
        words, _, file = (words[:-2], ">", words[-1]) if ">" in words else (words, "", "")
        if words[:2] == ["nhwc", "ingest"] and "--direct" not in words:
            words.append("--direct")  # the same tree without a Prefect server, which tests/flows starts
        out = io.StringIO()
        with redirect_stdout(out), redirect_stderr(out):
            status = _in_this_process(words, monkeypatch)
        if file:
            (scratch / file).write_text(out.getvalue(), encoding="utf-8")
        return status, "" if file else out.getvalue()

    return run


def _in_this_process(words: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    try:
        if words[0] == "nhwc":
            monkeypatch.setattr("sys.argv", words)
            main()
        else:
            _python(words[1:], monkeypatch)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return 0


def _python(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a reader's script ends at no warning of the packages that it uses
        if words[0] == "-c":
            exec(words[1], {})
        else:
            monkeypatch.setattr("sys.argv", words)
            runpy.run_path(words[0], run_name="__main__")


@pytest.fixture(autouse=True)
def first_names() -> None:
    """Layers are called as in a new process, as the pages show it."""
    keras.utils.clear_session()
