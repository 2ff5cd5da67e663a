"""One run at a time on a dataset on a store, from whatever machine: a lock object, which its owner renews.

A run that was killed leaves it behind. It is taken over at once by the next run with the same mirror, and by any other
STALE_SECONDS after it was last renewed: clocks of machines that publish one dataset must agree to within minutes.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from nhwc.flows.durable import write_text
from nhwc.pipelines.remote import Remote
from nhwc.validators.errors import BusyError, MachineError

LOCK = ".lock"
"""In the dataset: JSON of owner, host, pid, and when it was renewed, in seconds since 1970."""

STALE_SECONDS = 300
RENEW_SECONDS = 30

_BOOT = Path("/proc/sys/kernel/random/boot_id")


@contextmanager
def locked_remote(remote: Remote, mirror: Path) -> Iterator[None]:
    """Hold a dataset on a store; its mirror must be held by then.

    Raises MachineError where another run holds it, OSError where the store cannot be asked.
    """
    owner = _owner(mirror)
    _take(remote, owner)
    done = threading.Event()
    renewing = threading.Thread(target=_renew, args=(remote, owner, done), name="nhwc-lock", daemon=True)
    renewing.start()
    try:
        yield
    finally:
        done.set()
        renewing.join()
        with suppress(OSError):  # what the run came to stands; the lock goes stale
            if _holder(remote).get("owner") == owner:
                remote.tried(LOCK, lambda filesystem, path: filesystem.rm_file(path))


def require_lock(remote: Remote, mirror: Path) -> None:
    """See that the lock is still held. Raises MachineError where another run took it over, after a long silence."""
    if _holder(remote).get("owner") != _owner(mirror):
        raise MachineError(f"{remote}: another run took over this dataset meanwhile: run this again")


def _owner(mirror: Path) -> str:
    """Who holds the lock while it holds the mirror: this mirror, on this machine since it was started.

    Only one run at a time can hold a mirror. So a lock of the same owner is this run's, or one that was killed left it.
    """
    file = mirror / ".owner"
    if not file.is_file():
        write_text(file, uuid.uuid4().hex)
    place = mirror.stat()  # the mirror of an image that several machines started from is not one mirror
    boot = _BOOT.read_text(encoding="ascii").strip() if _BOOT.is_file() else ""
    return f"{file.read_text(encoding='utf-8')} {boot} {place.st_dev} {place.st_ino}"


def _take(remote: Remote, owner: str) -> None:
    if not _created(remote, owner):
        holder = _holder(remote)
        age = time.time() - holder.get("renewed", 0)
        if holder and holder.get("owner") != owner and age < STALE_SECONDS:
            raise BusyError(
                f"{remote}: another run is writing this dataset (process {holder.get('pid')} on {holder.get('host')}, "
                f"last seen {max(0, age):.0f} s ago): wait for it, then run this again. If it was killed, its lock "
                f"counts for {STALE_SECONDS} s after it was last renewed"
            )
        _write(remote, owner)
    if _holder(remote).get("owner") != owner:  # another came at the same moment, or the store knows no exclusive write
        raise BusyError(f"{remote}: another run has just begun to write this dataset: wait, then run this again")


def _created(remote: Remote, owner: str) -> bool:
    content = _content(owner)
    try:
        remote.tried(LOCK, lambda filesystem, path: filesystem.pipe_file(path, content, mode="create"))
    except FileExistsError:
        return False
    return True


def _write(remote: Remote, owner: str) -> None:
    content = _content(owner)
    remote.tried(LOCK, lambda filesystem, path: filesystem.pipe_file(path, content))


def _content(owner: str) -> bytes:
    said = {"owner": owner, "host": socket.gethostname(), "pid": os.getpid(), "renewed": time.time()}
    return json.dumps(said).encode()


def _holder(remote: Remote) -> dict[str, Any]:
    """What the lock says; nothing where there is none, or it says nothing that can be read."""
    try:
        said = json.loads(remote.read(LOCK))
    except (FileNotFoundError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}


def _renew(remote: Remote, owner: str, done: threading.Event) -> None:
    while not done.wait(RENEW_SECONDS):
        with suppress(OSError):  # the next time may do; before `latest` moves it is seen whether the lock still stands
            if _holder(remote).get("owner") != owner:
                return
            _write(remote, owner)
