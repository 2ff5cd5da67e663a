"""Keep what C libraries write to the terminal off it.

libjpeg and libtiff warn in a line for each damaged file, TensorFlow at its import on a machine without a GPU.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def silenced_native_stderr() -> Iterator[None]:
    """Send file descriptor 2 to nowhere meanwhile; Python's own `sys.stderr` goes on reaching the terminal.

    What these warnings tell is in the violations, by sample. The descriptor is the process's, so this belongs around
    whole pieces of work, never around a single sample. Of several threads the first silences it, the last ends that.
    """
    with _lock:
        if not _silenced:
            _silence()
        _silenced.append(threading.get_ident())
    try:
        yield
    finally:
        with _lock:
            _silenced.remove(threading.get_ident())
            if not _silenced:
                _restore.pop()()


_lock = threading.Lock()
_silenced: list[int] = []
_restore: list[Callable[[], None]] = []


def _silence() -> None:
    sys.stderr.flush()
    terminal, python_stderr = os.dup(2), sys.stderr
    kept = open(terminal, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)  # noqa: SIM115  a descriptor
    if python_stderr is sys.__stderr__:
        sys.stderr = kept
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)

    def restore() -> None:
        os.dup2(terminal, 2)
        sys.stderr = python_stderr
        kept.close()
        os.close(terminal)

    _restore.append(restore)
