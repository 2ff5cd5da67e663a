"""Keep what C libraries write to the terminal off it.

libjpeg and libtiff warn in a line for each damaged file, TensorFlow at its import on a machine without a GPU.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def silenced_native_stderr() -> Iterator[None]:
    """Send file descriptor 2 to nowhere meanwhile; Python's own `sys.stderr` goes on reaching the terminal.

    What these warnings tell is in the violations, by sample. The descriptor is the process's, so this belongs around
    whole pieces of work, in one thread, never around a single sample.
    """
    sys.stderr.flush()
    terminal, python_stderr = os.dup(2), sys.stderr
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        with open(terminal, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False) as kept:
            if python_stderr is sys.__stderr__:
                sys.stderr = kept
            os.dup2(nowhere, 2)
            try:
                yield
            finally:
                os.dup2(terminal, 2)
                sys.stderr = python_stderr
    finally:
        os.close(nowhere)
        os.close(terminal)
