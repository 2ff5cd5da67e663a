"""Child processes that decode: started when first needed, used again, and gone when idle, at the end, or with us.

Whatever a child does, it is one exception here: NoAnswer.
"""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from typing import IO, Any

from nhwc.flows.child import import_path, program
from nhwc.flows.contained_child import IDLE_SECONDS
from nhwc.flows.messages import read_message, write_message
from nhwc.pipelines.image import one_large_image
from nhwc.validators.errors import MachineError
from nhwc.validators.violation import Code

START_SECONDS = 300
"""For a child to start, which on a new machine compiles loops for 20 seconds, or to load TensorFlow; on a busy one."""

_TURNS = 8
"""Messages of a child for one request, at most: that it loads, has loaded, has a large image; and the answer."""

_ENVIRONMENT = {
    "PYTHONWARNINGS": "ignore",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "CUDA_VISIBLE_DEVICES": "-1",  # decoding needs no GPU, whose memory TensorFlow would take whole
    **dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"), "1"),  # one image at a time
}


class NoAnswer(Exception):  # noqa: N818  a file's fate and no error of anyone's
    """A child was stopped, died, or had none; why, as a code and in words."""

    def __init__(self, code: Code, found: str) -> None:
        super().__init__(code, found)
        self.code, self.found = code, found


def ask(request: dict[str, Any], content: bytes, *, seconds: float, most: int) -> tuple[dict[str, Any], bytes]:
    """A child's answer to a request about a file: what it says, and at most `most` bytes that it carries.

    The seconds count from when it is ready and, where the image is large, from when no other large one is at work.
    Raises NoAnswer, and MachineError where no child can be started.
    """
    child = _borrowed()
    try:
        answer = child.ask(request, content, seconds=seconds, most=most)
    except BaseException:  # an interrupt too: what it is at, nobody knows
        child.end()
        raise
    _give_back(child)
    return answer


class Child:
    """One child process. It is used by one thread at a time."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process, self._idle_since = process, time.monotonic()
        self._requests: IO[bytes] = process.stdin
        self._answers: IO[bytes] = process.stdout

    @classmethod
    def started(cls) -> Child:
        """A new one, ready. Raises MachineError where that fails."""
        try:
            child = cls(_pool().starter.submit(_start).result())
        except OSError as error:
            raise MachineError(f"a process to decode in cannot be started: {error.strerror or error}") from error
        try:
            child._message(START_SECONDS, most=0)
        except BaseException as error:
            child.end()
            if isinstance(error, NoAnswer):
                raise MachineError(f"a process to decode in does not start: {error.found}") from error
            raise
        return child

    @property
    def is_fresh(self) -> bool:
        """Whether it surely still waits for requests."""
        return self._process.poll() is None and time.monotonic() - self._idle_since < IDLE_SECONDS / 2

    def rest(self) -> None:
        """Note that it begins to wait."""
        self._idle_since = time.monotonic()

    def ask(
        self, request: dict[str, Any], content: bytes, *, seconds: float, most: int
    ) -> tuple[dict[str, Any], bytes]:
        """Its answer. Raises NoAnswer; then it is of no more use."""
        told: tuple[dict[str, Any], bytes] | None = (request, content)
        allowed = seconds
        with ExitStack() as held:
            for _ in range(_TURNS):
                said, carried = self._message(allowed, most=most, after=told)
                told, allowed = None, seconds
                if said.get("state") == "loading":
                    allowed = START_SECONDS
                elif said.get("state") == "large":
                    held.enter_context(one_large_image)
                    told = {}, b""
                elif "state" not in said:
                    return said, carried
        raise NoAnswer(Code.DECODER_DIED, "messages without end")

    def end(self) -> None:
        """Stop it, whatever it is at."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._requests, self._answers):
            with suppress(OSError):  # of what was not yet sent
                pipe.close()

    def _message(
        self, seconds: float, *, most: int, after: tuple[dict[str, Any], bytes] | None = None
    ) -> tuple[dict[str, Any], bytes]:
        """The next message, `after` something is sent to it first. Raises NoAnswer."""
        with self._killed_after(seconds) as late:
            try:
                if after is not None:
                    write_message(self._requests, *after)
                return read_message(self._answers, most=most)
            except (EOFError, OSError):
                found = f"nothing after {seconds:,} seconds" if late.is_set() else self._how_it_ended()
                raise NoAnswer(Code.TOO_SLOW if late.is_set() else Code.DECODER_DIED, found) from None
            except (ValueError, RecursionError) as error:
                raise NoAnswer(Code.DECODER_DIED, f"an answer that is none: {error}") from error

    @contextmanager
    def _killed_after(self, seconds: float) -> Iterator[threading.Event]:
        """Kill it where it is not done by then, so that whoever reads from it goes on; the event says so."""
        late = threading.Event()

        def kill() -> None:
            late.set()
            self._process.kill()

        timer = threading.Timer(seconds, kill)
        timer.daemon = True
        timer.start()
        try:
            yield late
        finally:
            timer.cancel()
            timer.join()  # else it could still kill, while the child is at another request
        if late.is_set():
            raise NoAnswer(Code.TOO_SLOW, f"nothing after {seconds:,} seconds")

    def _how_it_ended(self) -> str:
        try:
            status = self._process.wait(5)
        except subprocess.TimeoutExpired:
            return "no answer, though its process runs"
        return f"it ended by {signal.Signals(-status).name}" if status < 0 else f"it ended with status {status}"


def _start() -> subprocess.Popen[bytes]:
    """A child that finds the modules where this process does. To be called in the starter's thread alone."""
    return subprocess.Popen(
        program("nhwc.flows.contained_child", os.getpid()),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | _ENVIRONMENT | import_path(),
        start_new_session=True,  # what the terminal sends is for us
    )


@dataclass(frozen=True)
class _Pool:
    """The children of one process.

    Args:
        idle: those that wait; the last one is taken first, so that those not needed grow old and end.
        starter: starts them all. The system kills a child with the thread that started it, and this one lives longest.
    """

    idle: list[Child] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    starter: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "nhwc-starts-children"))

    def end(self) -> None:
        """End those that wait."""
        while self.idle:
            self.idle.pop().end()


def _pool() -> _Pool:
    return _pool_of(os.getpid())  # a process that was forked from this one starts its own


@cache
def _pool_of(process: int) -> _Pool:
    pool = _Pool()
    atexit.register(lambda: pool.end() if os.getpid() == process else None)
    return pool


def _borrowed() -> Child:
    """One that waits, or a new one."""
    pool = _pool()
    while True:
        with pool.lock:
            child = pool.idle.pop() if pool.idle else None
        if child is None:
            return Child.started()
        if child.is_fresh:
            return child
        child.end()


def _give_back(child: Child) -> None:
    pool = _pool()
    child.rest()
    with pool.lock:
        pool.idle.append(child)
