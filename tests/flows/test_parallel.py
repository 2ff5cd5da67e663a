"""Work on all cores: in order, and an interrupt at any moment ends it."""

import itertools
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from nhwc.flows.parallel import beside, on_all_cores


class Interrupted(BaseException):
    """What the test's handler raises."""


@pytest.fixture
def raising_handler() -> Iterator[None]:
    """SIGTERM raises Interrupted meanwhile."""

    def interrupt(*_: object) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGTERM, interrupt)
    yield
    signal.signal(signal.SIGTERM, before)


def test_results_come_in_the_order_of_the_items() -> None:
    """However long each takes."""

    def slow_first(item: int) -> int:
        time.sleep(0.01 if item % 7 == 0 else 0)
        return item * 2

    assert [item * 2 for item in range(100)] == list(on_all_cores(slow_first, range(100)))


def test_what_the_work_raises_is_raised() -> None:
    """At its place in the order."""
    seen: list[int] = []
    with pytest.raises(ZeroDivisionError, match="by zero"):
        seen.extend(on_all_cores(lambda item: 1 // (item - 2), range(5)))
    assert [-1, -1] == seen


@pytest.mark.timeout(120)
@pytest.mark.usefixtures("raising_handler")
def test_an_interrupt_at_any_moment_ends_it() -> None:
    """Interrupted while items are handed over, a pool alone leaves all waiting for one another, one time in fifteen."""
    before = signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    interrupted = 0
    for turn in range(1, 61):
        with pytest.raises(Interrupted):  # noqa: PT012  the clock must not strike before it is looked for
            signal.setitimer(signal.ITIMER_REAL, turn * 0.0005)
            list(on_all_cores(str, itertools.chain(range(3_000), _wait())))
        interrupted += 1
    signal.signal(signal.SIGALRM, before)
    assert 60 == interrupted


def _wait() -> Iterator[int]:
    """No item, but the time until the interrupt has come."""
    time.sleep(0.05)
    yield from ()


@pytest.mark.usefixtures("raising_handler")
def test_an_interrupt_is_raised_between_two_results() -> None:
    """And what has not begun is left undone."""
    done = []

    def note(results: Iterator[int]) -> None:
        for result in results:
            done.append(result)
            if result == 10:
                os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted):
        note(on_all_cores(lambda item: time.sleep(0.001) or item, range(1000)))
    assert list(range(11)) == done


def test_other_threads_may_use_it_too() -> None:
    """Where no handler can be set."""
    got: list[int] = []
    thread = threading.Thread(target=lambda: got.extend(on_all_cores(abs, range(-3, 0))))
    thread.start()
    thread.join()
    assert [3, 2, 1] == got


def test_work_beside_the_caller_is_done_in_order_and_by_the_end() -> None:
    """One piece at a time, while the caller goes on."""
    done: list[int] = []
    going_on = threading.Event()

    def first() -> None:
        going_on.wait(10)
        done.append(1)

    with beside() as hand_over:
        hand_over(first)
        assert [] == done
        going_on.set()
        hand_over(lambda: done.append(2))
        assert 1 == done[0]
    assert [1, 2] == done


def test_an_error_beside_the_caller_is_raised_at_the_next_piece_or_the_end() -> None:
    """A full disk is no success."""

    def fail() -> None:
        raise OSError(28, "No space left on device")

    later: list[int] = []

    def then(*more: Callable[[], None]) -> None:
        with beside() as hand_over:
            for work in (fail, *more):
                hand_over(work)

    with pytest.raises(OSError, match="No space left"):
        then(lambda: later.append(1))
    assert [] == later
    with pytest.raises(OSError, match="No space left"):
        then()


def test_what_runs_beside_ends_before_an_error_of_the_callers_leaves() -> None:
    """Nothing writes into a folder that the caller has let go."""
    done: list[int] = []

    def slow() -> None:
        time.sleep(0.05)
        done.append(1)

    def fail() -> None:
        with beside() as hand_over:
            hand_over(slow)
            raise ValueError("elsewhere")

    with pytest.raises(ValueError, match="elsewhere"):
        fail()
    assert [1] == done
