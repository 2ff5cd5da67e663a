"""What is made ahead: of what, how often, by how many threads, and what is left of what nobody asks for."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from nhwc.pipelines.ahead import Ahead


def until(number: int) -> int | None:
    """Numbers up to nine, one after another."""
    return number + 1 if number < 9 else None


def waited_for(condition) -> bool:
    """Whether it holds within ten seconds."""
    end = time.monotonic() + 10
    while not condition() and time.monotonic() < end:
        time.sleep(0.001)
    return condition()


@pytest.mark.parametrize("threads", [1, 3])
def test_what_comes_next_is_made_before_it_is_asked_for(threads):
    """As many as are to be ready and no more, each once, up to the end."""
    made = []

    def make(number: int) -> int:
        made.append(number)
        return 10 * number

    ahead = Ahead(make, after=until, ready=2, threads=threads)
    for number in range(10):
        assert 10 * number == ahead(number)
        expected = set(range(min(number + 3, 10)))
        assert waited_for(lambda expected=expected: expected == set(made))
    assert list(range(10)) == sorted(made)


def test_it_is_made_beside_the_consumer():
    """Where one waits for what another makes, both are at work."""
    together = threading.Barrier(2, timeout=10)

    def make(number: int) -> int:
        if number:
            together.wait()
        return number

    ahead = Ahead(make, after=until, ready=1, threads=1)
    assert 0 == ahead(0)
    together.wait()
    assert 1 == ahead(1)
    together.abort()


def test_what_is_asked_for_again_is_held_until_the_last_time():
    """And made anew after that."""
    made = []
    ahead = Ahead(lambda number: made.append(number) or [number], after=lambda number: None, ready=2, threads=1)
    first = ahead(4, last=False)
    assert first is ahead(4, last=False)
    assert first is ahead(4, last=True)
    assert [4] == made
    assert first is not ahead(4)
    assert [4, 4] == made


@pytest.mark.parametrize("last", [True, False])
def test_an_error_is_raised_where_its_number_is_asked_for(last):
    """Not before; and asked for once more, it is tried again."""
    broken = {2}

    def make(number: int) -> int:
        if number in broken:
            raise OSError(f"no {number}")
        return number

    ahead = Ahead(make, after=until, ready=3, threads=2)
    assert [0, 1] == [ahead(0, last=last), ahead(1, last=last)]
    with pytest.raises(OSError, match="no 2"):
        ahead(2, last=last)
    broken.clear()
    assert [2, 3] == [ahead(2, last=last), ahead(3, last=last)]


def test_what_nobody_goes_on_with_is_let_go():
    """However many iterators were begun and left; two that take turns are each served once."""
    made = []
    ahead = Ahead(lambda number: made.append(number) or number, after=lambda number: number + 1, ready=2, threads=1)
    for start in range(0, 10_000, 100):
        assert start == ahead(start)
    assert 2 * 3 >= len(ahead._begun)
    assert waited_for(lambda: not any(one.running() for one in ahead._begun.values()))
    made.clear()
    for step in range(20):
        assert (20_000 + step, 30_000 + step) == (ahead(20_000 + step), ahead(30_000 + step))
    assert len(made) == len(set(made))


def test_safe_for_many_threads():
    """Each gets its own numbers, whatever others ask for meanwhile, also those that it asks for once more."""
    ahead = Ahead(lambda number: number * number, after=lambda number: number + 1, ready=3, threads=2)

    def run(start: int) -> list[int]:
        return [max(ahead(one, last=False), ahead(one)) for one in range(start, start + 200)]

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(run, range(0, 8000, 1000)))
    assert [[number * number for number in range(start, start + 200)] for start in range(0, 8000, 1000)] == found
