"""Times of rivals, taken by turns, so that whatever else the machine does falls on all of them alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping


def paired(rivals: Mapping[str, Callable[[], object]], repeats: int = 7) -> dict[str, list[float]]:
    """Seconds of each call, by the rival's name: A B, B A, A B, ..., after one round that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in rivals}
    order = list(rivals.items())
    for number in range(repeats + 1):
        for name, run in order if number % 2 else reversed(order):
            start = time.perf_counter()
            run()
            if number:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def ratios(seconds: Mapping[str, list[float]], ours: str, theirs: str) -> list[float]:
    """How many times faster `ours` is than `theirs`, in each round."""
    return [slow / fast for slow, fast in zip(seconds[theirs], seconds[ours], strict=True)]
