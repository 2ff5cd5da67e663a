"""What threads are at, and for what a consumer waits."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nhwc.pipelines.stopwatch import Span, Stopwatch, timed, waited_for, worked


def test_a_stage_within_another_interrupts_it():
    """The spans of a thread are one after another, without gap or overlap."""
    stopwatch = Stopwatch()
    with stopwatch.at("batch"), stopwatch.at("decode"), stopwatch.at("cast"):
        pass
    spans = stopwatch.spans
    assert ["batch", "decode", "cast", "decode", "batch"] == [span.stage for span in spans]
    assert [span.end for span in spans[:-1]] == [span.start for span in spans[1:]]


def test_an_error_ends_its_stage():
    """What comes after it is not counted."""
    stopwatch = Stopwatch()
    with pytest.raises(ValueError, match="broken"), stopwatch.at("batch"), stopwatch.at("read"):
        raise ValueError("broken")
    assert ["batch", "read", "batch"] == [span.stage for span in stopwatch.spans]
    with stopwatch.at("cast"):
        pass
    assert "cast" == stopwatch.spans[-1].stage


def test_threads_do_not_interrupt_each_other():
    """Each has its own stage."""
    stopwatch, begun, done = Stopwatch(), threading.Event(), threading.Event()

    def read() -> None:
        with stopwatch.at("read"):
            begun.set()
            done.wait(10)

    thread = threading.Thread(target=read)
    with stopwatch.at("cast"):
        thread.start()
        begun.wait(10)
    done.set()
    thread.join()
    assert ["cast", "read"] == [span.stage for span in stopwatch.spans]


def test_without_a_stopwatch_a_call_is_the_very_same():
    """So nothing is paid for what is not measured."""
    assert len is timed(None, "read", len)
    assert 3 == timed(Stopwatch(), "read", len)("abc")


@pytest.mark.parametrize(
    ("spans", "waits", "expected"),
    [
        ([], [(0, 1)], {}),
        ([Span("read", 0, 4)], [], {"read": 0}),
        ([Span("read", 0, 4)], [(1, 2), (3, 6)], {"read": 2}),
        ([Span("read", 0, 4), Span("cast", 4, 5)], [(0, 10)], {"read": 4, "cast": 1}),
        ([Span("read", 0, 4), Span("cast", 2, 4)], [(0, 4)], {"read": 3, "cast": 1}),
        ([Span("read", 0, 4), Span("read", 0, 4)], [(0, 4)], {"read": 4}),
        ([Span("read", 0, 0), Span("cast", 5, 6)], [(0, 5)], {"read": 0, "cast": 0}),
    ],
)
def test_what_is_waited_for(spans, waits, expected):
    """At each moment what threads are at, each for its part; nothing while the consumer does not wait."""
    assert expected == waited_for(spans, waits)


moments = st.integers(0, 30)
a_span = st.builds(
    lambda stage, start, length: Span(stage, start, start + length),
    st.sampled_from(["read", "cast", "batch"]),
    moments,
    st.integers(0, 9),
)


@given(st.lists(a_span, max_size=8), st.lists(moments, unique=True, max_size=8).map(sorted))
def test_every_moment_is_shared_among_those_at_work(spans, cuts):
    """As counted second by second."""
    waits = list(zip(cuts[::2], cuts[1::2], strict=False))
    expected = dict.fromkeys((span.stage for span in spans), 0.0)
    for second in range(40):
        at_work = [span.stage for span in spans if span.start <= second < span.end]
        if any(start <= second < end for start, end in waits):
            for stage in at_work:
                expected[stage] += 1 / len(at_work)
    assert pytest.approx(expected) == waited_for(spans, waits)


def test_work_counts_within_its_window():
    """All threads together; what lies outside does not count."""
    spans = [Span("read", 0, 4), Span("read", 1, 3), Span("cast", 3, 9), Span("cast", 20, 21)]
    assert {"read": 5, "cast": 3} == worked(spans, 1, 6)
    assert {} == worked(spans, 10, 20)
