"""See that a process ends with the one that started it, even where that one is killed."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def die_with(parent: int, *, by: signal.Signals = signal.SIGKILL) -> None:
    """Be ended by that signal when the process of that id is, or end now where it has ended already.

    By prctl(2), which only Linux has: elsewhere a child ends when it next reads from its closed pipe. It is the thread
    that started the child whose end ends it.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, by, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(1)
