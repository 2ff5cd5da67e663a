"""Ahead: what a consumer will ask for next is made beside what he does."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Generic, TypeVar

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
"""Those that this process may use."""

Made = TypeVar("Made")


class Ahead(Generic[Made]):
    """What a function makes of a number, begun before it is asked for, by threads of its own. Safe for many threads.

    Args:
        make: the same of a number whenever it is called, and by several threads at once. What it raises is raised
            where that number is asked for; asked for once more, it is tried again.
        after: the number that will be asked for after that one; None where nobody knows.
        ready: so many are made ahead.
        threads: so many are made at once.
    """

    def __init__(
        self, make: Callable[[int], Made], *, after: Callable[[int], int | None], ready: int, threads: int
    ) -> None:
        self._make, self._after, self._ready = make, after, ready
        self._begun: dict[int, Future[Made]] = {}
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="nhwc-ahead")

    def __call__(self, number: int, *, last: bool = True) -> Made:
        """That of the number, as soon as it is made. It is held, to be asked for again, until that is the last time."""
        try:
            made = self._asked(number, last=last)
        except RuntimeError:  # the interpreter is ending, and lets no work be begun
            return self._make(number)
        try:
            return made.result()
        except BaseException:
            with self._lock:
                if self._begun.get(number) is made:
                    del self._begun[number]
            raise

    def _asked(self, number: int, *, last: bool) -> Future[Made]:
        """That of the number, being made, and those after it too."""
        with self._lock:
            wanted: int | None = number
            for _ in range(1 + self._ready):
                if wanted is not None and wanted not in self._begun:
                    self._begun[wanted] = self._pool.submit(self._make, wanted)
                wanted = None if wanted is None else self._after(wanted)
            asked = self._begun.pop(number) if last else self._begun[number]
            # what an iterator left behind that nobody goes on with; two that take turns find their own
            for left in list(islice(self._begun, max(0, len(self._begun) - 2 * (1 + self._ready)))):
                del self._begun[left]
            return asked
