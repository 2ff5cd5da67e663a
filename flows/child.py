"""What child processes have in common: how one is started, and that it ends with the process that started it."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def program(module: str, *arguments: object) -> list[str]:
    """The command that runs a module of nhwc; no file of the working folder can take the place of one of Python's."""
    return [sys.executable, "-P", "-m", module, *map(str, arguments)]


def import_path() -> dict[str, str]:
    """The variable by which a child finds the modules where this process does."""
    return {"PYTHONPATH": os.pathsep.join(folder for folder in sys.path if folder)}


def die_with(parent: int, *, by: signal.Signals = signal.SIGKILL) -> None:
    """Be ended by that signal when the process of that id is, or end now where it has ended already.

    By prctl(2), which only Linux has: elsewhere a child ends when it next reads from its closed pipe. It is the thread
    that started the child whose end ends it.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, by, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(1)
