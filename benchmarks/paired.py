"""Times of rivals, taken by turns, so that whatever else the machine does falls on all of them alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from statistics import median


def paired(rivals: Mapping[str, Callable[[], object]], repeats: int = 7) -> dict[str, list[float]]:
    """Seconds of each call, by the rival's name: A B A B ..., after one round that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in rivals}
    for number in range(repeats + 1):
        for name, run in rivals.items():
            start = time.perf_counter()
            run()
            if number:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def ratio(seconds: Mapping[str, list[float]], ours: str, theirs: str) -> tuple[float, float, float]:
    """How many times faster `ours` is than `theirs`: the median over the rounds, the lowest and the highest."""
    rounds = [slow / fast for slow, fast in zip(seconds[theirs], seconds[ours], strict=True)]
    return median(rounds), min(rounds), max(rounds)


def ratio_of_best(seconds: Mapping[str, list[float]], ours: str, theirs: str) -> float:
    """The same of the fastest round of each: nearest to what a machine of their own would give them."""
    return min(seconds[theirs]) / min(seconds[ours])
