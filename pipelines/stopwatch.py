"""Stopwatch: what each thread that makes batches is at, and for what their consumer waits."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, ParamSpec, TypeVar

import numpy as np

Array = np.ndarray[Any, Any]
Given = ParamSpec("Given")
Result = TypeVar("Result")


class Span(NamedTuple):
    """That a thread was at a stage, from when to when: seconds of `time.perf_counter`."""

    stage: str
    start: float
    end: float


class Stopwatch:
    """Notes what each thread is at. Safe for many threads.

    A stage that begins within another interrupts it: the spans of one thread never overlap.
    """

    def __init__(self) -> None:
        self._spans: list[Span] = []
        self._thread = threading.local()

    @property
    def spans(self) -> list[Span]:
        """All that has ended by now."""
        return self._spans.copy()

    @contextmanager
    def at(self, stage: str) -> Iterator[None]:
        """This thread is at that stage within."""
        outer = getattr(self._thread, "stage", None)
        self._turn_to(stage)
        try:
            yield
        finally:
            self._turn_to(outer)

    def _turn_to(self, stage: str | None) -> None:
        now, left = time.perf_counter(), getattr(self._thread, "stage", None)
        if left is not None:
            self._spans.append(Span(left, self._thread.since, now))
        self._thread.stage, self._thread.since = stage, now


def timed(stopwatch: Stopwatch | None, stage: str, call: Callable[Given, Result]) -> Callable[Given, Result]:
    """The same call, noted as that stage; the very one given where there is no stopwatch."""
    if stopwatch is None:
        return call
    import tensorflow as tf  # noqa: PLC0415  batches that nobody times are made without it, too

    def watched(*given: Given.args, **named: Given.kwargs) -> Result:
        with stopwatch.at(stage):
            return call(*given, **named)

    # a graph calls it too, by `numpy_function`, which would translate it at each call
    unconverted: Callable[Given, Result] = tf.autograph.experimental.do_not_convert(watched)
    return unconverted


def waited_for(spans: Sequence[Span], waits: Sequence[tuple[float, float]]) -> dict[str, float]:
    """Seconds of the waits by what was being done meanwhile, by stage.

    Args:
        spans: of all threads.
        waits: from when to when the consumer waited, in order, not overlapping.

    Where several threads are at work at once each counts for its part. What the sum lacks to all that was waited is
    time in which no thread was at any stage.
    """
    stages = list(dict.fromkeys(span.stage for span in spans))
    if not stages:
        return {}
    times = np.array([(span.start, span.end) for span in spans]).reshape(-1)
    moments, places = np.unique(np.concatenate([times, np.asarray(waits, np.float64).reshape(-1)]), return_inverse=True)
    starts, ends = places[: len(times)].reshape(-1, 2).T
    number = np.array([stages.index(span.stage) for span in spans])
    changes = np.zeros((len(stages), len(moments)))
    np.add.at(changes, (number, starts), 1)
    np.add.at(changes, (number, ends), -1)
    working = changes.cumsum(axis=1)[:, :-1]  # threads at each stage between one moment and the next
    waiting = np.zeros(len(moments))
    np.add.at(waiting, places[len(times) :], np.tile([1, -1], len(waits)))
    seconds = np.diff(moments) * waiting.cumsum()[:-1] / np.maximum(working.sum(axis=0), 1)
    return dict(zip(stages, (working * seconds).sum(axis=1).tolist(), strict=True))


def worked(spans: Sequence[Span], start: float, end: float) -> dict[str, float]:
    """Seconds that threads were at each stage between start and end, all threads together."""
    seconds: dict[str, float] = {}
    for span in spans:
        within = min(span.end, end) - max(span.start, start)
        if within > 0:
            seconds[span.stage] = seconds.get(span.stage, 0.0) + within
    return seconds
