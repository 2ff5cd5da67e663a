"""Python that TensorFlow's own threads call, and how a process that has such calls comes to its end.

When an interpreter ends, it destroys iterators that are still alive; TensorFlow then waits for the batches that they
have begun, and a batch whose Python part waits for the ending interpreter is waited for for ever. About one process in
thirty hung so, measured with an endless iterator left alive. So the end waits until no batch is being made: without a
consumer, that is when the buffers are full.
"""

from __future__ import annotations

import atexit
import threading
import time
from types import TracebackType

QUIET_SECONDS = 0.25
"""So long without a call, no batch is being made: from one call to the next takes a thread far less."""

MOST_SECONDS = 10.0
"""So long the end of a process waits at most, where another thread still consumes batches."""


class Calls:
    """Counts the calls that are running; `with calls:` around each. Safe for many threads."""

    def __init__(self) -> None:
        self._running, self._last = 0, -QUIET_SECONDS
        self._lock = threading.Lock()
        atexit.register(self.wait_until_quiet)

    def __enter__(self) -> None:
        with self._lock:
            self._running, self._last = self._running + 1, time.monotonic()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._running, self._last = self._running - 1, time.monotonic()

    def wait_until_quiet(self) -> None:
        """Come back once no call has run for QUIET_SECONDS, or after MOST_SECONDS."""
        until = time.monotonic() + MOST_SECONDS
        while (now := time.monotonic()) < until and (self._running or now - self._last < QUIET_SECONDS):
            time.sleep(0.01)
