"""Work on all cores, so that an interrupt in between leaves no thread waiting."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import Any, Protocol, TypeVar

from nhwc.pipelines.cores import CORES

Item = TypeVar("Item")
Result = TypeVar("Result")
Given_co = TypeVar("Given_co", covariant=True)

THREADS = CORES

_LOOK_S = 0.02
"""Seconds between two looks at work that is done elsewhere, pieces of which take seconds."""


def on_all_cores(
    work: Callable[[Item], Result], items: Iterable[Item], *, at_once: int = 1, threads: int = THREADS
) -> Iterator[Result]:
    """`work(item)` of each item, in the items' order. An interrupt is raised between two results.

    A thread is given `at_once` items before it is given more: to hand over one takes longer than a little work. With
    one thread the work is done in the caller's.
    """
    if threads == 1:
        yield from map(work, items)
        return
    waiting = iter(items)
    parts = iter(lambda: list(islice(waiting, at_once)), [])
    with held_back_interrupts() as let_through, ThreadPoolExecutor(threads) as pool:
        for results in pool.map(partial(_each, work), parts):
            for result in results:
                yield result
                let_through()


def _each(work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    return [work(item) for item in items]


class Promise(Protocol[Given_co]):
    """What a pool or a cluster gives for work that it was handed: `concurrent.futures.Future`, or Dask's."""

    def done(self) -> bool:
        """Whether the work has ended."""
        ...

    def result(self) -> Given_co:
        """What it gave; what it raised is raised."""
        ...


def kept_promises(promises: Iterable[Promise[Result]]) -> Iterator[Result]:
    """The result of each, in order. An interrupt is raised while one is waited for."""
    with held_back_interrupts() as let_through:
        for promise in promises:
            while not promise.done():
                time.sleep(_LOOK_S)
                let_through()
            yield promise.result()
            let_through()


Work = Callable[[], None]
HandOver = Callable[[Work], None]


@contextmanager
def beside() -> Iterator[HandOver]:
    """Pieces of work one after another in a thread beside the caller's; the function given hands over one.

    It waits until the one before has ended, so that no more than two are in memory, and raises that one's error; so
    does the end.
    """
    running: list[tuple[threading.Thread, list[BaseException]]] = []

    def end() -> None:
        while running:
            thread, errors = running[0]
            _join(thread)
            running.pop(0)
            if errors:
                raise errors[0]

    def hand_over(work: Work) -> None:
        end()
        errors: list[BaseException] = []
        thread = threading.Thread(target=_caught, args=(work, errors))
        with held_back_interrupts():
            thread.start()
            running.append((thread, errors))

    try:
        yield hand_over
    except BaseException as error:
        for thread, errors in running:  # what goes on must not outlive the caller's hold of the place it writes to
            _join(thread)
            for other in errors:
                error.add_note(f"beside it failed: {other!r}")
        raise
    end()


def _join(thread: threading.Thread) -> None:
    """Wait for its end. A join that is interrupted calls the thread ended, though it runs (Python 3.11)."""
    with held_back_interrupts():
        thread.join()


def _caught(work: Work, errors: list[BaseException]) -> None:
    try:
        work()
    except BaseException as error:
        errors.append(error)


@contextmanager
def held_back_interrupts() -> Iterator[Callable[[], None]]:
    """Keep SIGINT and SIGTERM waiting meanwhile; the function given lets one that waits through.

    A handler that raises inside a pool's own code, between its taking and its giving back a lock, leaves the pool's
    threads waiting for that lock and the main thread for them: one ingest in fifteen hung so, interrupted while its
    files were handed to the pool.
    """
    if threading.current_thread() is not threading.main_thread():  # no handler runs in another thread
        yield lambda: None
        return
    waiting: list[Callable[[], None]] = []
    handlers: list[tuple[signal.Signals, Any, Any]] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        if callable(before := signal.getsignal(number)):  # else the system ends the process at once, and may
            ours = partial(_keep, waiting, before)
            signal.signal(number, ours)
            handlers.append((number, ours, before))
    try:
        yield lambda: _let_through(waiting)
    finally:
        for number, ours, before in handlers:
            if signal.getsignal(number) is ours:
                signal.signal(number, before)
        _let_through(waiting)


def _keep(waiting: list[Callable[[], None]], handler: Callable[[int, Any], Any], number: int, frame: object) -> None:
    waiting.append(partial(handler, number, frame))


def _let_through(waiting: list[Callable[[], None]]) -> None:
    while waiting:
        waiting.pop(0)()
