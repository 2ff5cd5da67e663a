"""Write files so that they are whole or not there at all, whatever happens meanwhile."""

from __future__ import annotations

import fcntl
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import polars as pl

from nhwc.flows.parallel import on_all_cores
from nhwc.validators.errors import BusyError

_SYNCED_AT_ONCE = 4
"""Files: many of them together take a tenth of the time of one after another."""


def write_durably(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a file beside `path`, bring it to the disk, and only then give it its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".unfinished")
    try:
        write(unfinished)
        _sync(unfinished)
    except OSError as error:
        error.filename = error.filename or str(path)
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise
    move_durably(unfinished, path)


def write_frame(path: Path, frame: pl.DataFrame) -> None:
    """Write a frame as Parquet, durably. A full disk is an OSError, of which polars' own writer makes another."""
    content = io.BytesIO()
    frame.write_parquet(content, compression_level=1)  # half the default's time; hashes only grow by more
    write_durably(path, lambda unfinished: unfinished.write_bytes(content.getbuffer()))


def write_text(path: Path, text: str) -> None:
    """Write text in UTF-8, durably."""
    write_durably(path, lambda unfinished: unfinished.write_text(text, encoding="utf-8"))


def move_durably(old: Path, new: Path) -> None:
    """Rename in one atomic step, and bring the folders that changed to the disk."""
    old.replace(new)
    _sync(new.parent)
    if old.parent != new.parent:
        _sync(old.parent)


def sync_tree(folder: Path) -> None:
    """Bring all that lies below a folder to the disk, itself included."""
    paths = [folder, *folder.rglob("*")]
    list(on_all_cores(_sync, (path for path in paths if not path.is_dir()), at_once=16, threads=_SYNCED_AT_ONCE))
    for path in paths:
        if path.is_dir():
            _sync(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder for this process alone; a killed process lets go by itself.

    Raises BusyError where another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError(
                f"{folder}: another run is writing this dataset: wait for it, then run this again"
            ) from None
        yield
    finally:
        os.close(descriptor)
