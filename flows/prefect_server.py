"""A Prefect server: the one that is configured, or one of our own on this machine for as long as it is needed."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nhwc.flows import prefect_settings  # noqa: F401  before Prefect, which reads them

# isort: split
from prefect.settings import PREFECT_API_URL, get_current_settings, temporary_settings

from nhwc.flows.child import die_with
from nhwc.validators.errors import MachineError

PORT = 4200
"""Where Prefect's users look for its pages."""

STARTING = 120.0
"""Seconds that it may take to start: 10 to 30 are usual."""


@contextmanager
def prefect_server(port: int = 0) -> Iterator[str]:
    """The address of the server's API, which is configured meanwhile.

    Without PREFECT_API_URL one is started, on the loopback only, with its database in PREFECT_HOME, and stopped at the
    end, however this process ends: Prefect's own temporary one outlives a kill. Raises MachineError where it does not
    start.

    Args:
        port: where, if that is free; else, and for 0, at any other.
    """
    if (configured := get_current_settings().api.url) is not None:
        yield configured
        return
    with _own_server(port) as url, temporary_settings({PREFECT_API_URL: url}):
        yield url


def _see_home() -> None:
    """Raises MachineError where a server would have no place to write: Prefect says so in thousands of lines."""
    settings = get_current_settings()
    mend = "set PREFECT_HOME to a folder that can be written, or use --direct"
    try:
        settings.home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MachineError(f"{settings.home}: {error.strerror}: {mend}") from error
    if not os.access(settings.home, os.W_OK | os.X_OK):
        raise MachineError(f"{settings.home}: found a folder of Prefect's that cannot be written in: {mend}")


@contextmanager
def _own_server(wanted: int) -> Iterator[str]:
    _see_home()
    port, settings = _free_port(wanted), get_current_settings()
    log = settings.home / "nhwc-server.log"
    env = os.environ | settings.to_environment_variables(exclude_unset=True)
    command = [sys.executable, "-m", __name__, str(os.getpid()), str(port)]
    with log.open("wb") as said:  # a session of its own: a Ctrl-C is ours, and it ends after the runs have
        started = subprocess.Popen(command, stdout=said, stderr=said, start_new_session=True, env=env)
    try:
        url = f"http://127.0.0.1:{port}/api"
        _wait_until_healthy(started, url, log)
        yield url
    finally:
        _stop(started)


def _wait_until_healthy(started: subprocess.Popen[bytes], url: str, log: Path) -> None:
    end = time.monotonic() + STARTING
    while time.monotonic() < end and started.poll() is None:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/health", timeout=5) as answer:
            if answer.status == 200:
                return
        time.sleep(0.3)
    raise MachineError(
        f"Prefect's server did not start: its log is {log}: mend what it says, or start one by `prefect server start` "
        "and set PREFECT_API_URL"
    )


def _stop(started: subprocess.Popen[bytes]) -> None:
    """End it, at last by force."""
    for end, seconds in ((signal.SIGTERM, 20), (signal.SIGKILL, 20)):
        started.send_signal(end)
        with contextlib.suppress(subprocess.TimeoutExpired):
            started.wait(seconds)
            return


def _free_port(wanted: int) -> int:
    for port in (wanted, 0):
        with socket.socket() as tried, contextlib.suppress(OSError):
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind(("127.0.0.1", port))
            return int(tried.getsockname()[1])
    raise MachineError("no port of 127.0.0.1 is free for Prefect's server")


def _become_server(parent: int, port: int) -> None:
    """Become Prefect's server, which ends with its parent even where that is killed."""
    die_with(parent, by=signal.SIGTERM)
    server = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    os.execv(sys.executable, server)


if __name__ == "__main__":
    _become_server(*map(int, sys.argv[1:3]))
