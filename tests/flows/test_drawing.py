"""The report's drawings: where ticks stand, and where values do."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nhwc.flows.report.drawing import Axis, Frame, doubling_axis, even_axis


@pytest.mark.parametrize(
    ("low", "high", "most", "least_step", "labels"),
    [
        (0, 100, 5, 0, ["0", "25", "50", "75", "100"]),
        (0, 69, 5, 0, ["0", "20", "40", "60"]),
        (0, 2.6, 5, 0, ["0", "1", "2"]),
        (0, 0.04, 5, 0, ["0", "0.01", "0.02", "0.03", "0.04"]),
        (62.4, 91.6, 8, 1, ["65", "70", "75", "80", "85", "90"]),
        (479, 481, 8, 1, ["479", "480", "481"]),
        (900, 2300, 5, 1, ["1,000", "1,500", "2,000"]),
    ],
)
def test_ticks_stand_at_round_numbers(low: float, high: float, most: int, least_step: float, labels: list[str]) -> None:
    """One, two, two and a half or five times a power of ten apart, and no closer than asked."""
    axis = even_axis("x", low, high, most=most, least_step=least_step)
    assert labels == [label for _, label in axis.ticks]


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [
        (-0.5, 3.4, ["1", "2", "4", "8"]),
        (-0.8, 13.9, ["1", "4", "16", "64", "256", "1,024", "4,096"]),
        (4.6, 4.9, []),
    ],
)
def test_a_logarithmic_axis_has_powers_of_two(low: float, high: float, labels: list[str]) -> None:
    """Each, or each second, ..., so that there are at most eight."""
    assert labels == [label for _, label in doubling_axis("x", low, high, most=8).ticks]


@given(st.floats(0, 1e6), st.floats(1e-3, 1e6), st.integers(2, 10))
def test_ticks_lie_on_the_axis(low: float, length: float, most: int) -> None:
    """None beyond an end, and not many more than asked for."""
    axis = even_axis("x", low, low + length, most=most)
    assert len(axis.ticks) <= most
    assert all(-1e-6 <= axis.share(at) <= 1 + 1e-6 for at, _ in axis.ticks)


def test_values_stand_where_their_axes_say() -> None:
    """The first to the right, the second upwards; text is escaped."""
    axis = Axis(name="<b>", low=0, high=10, ticks=((0, "0"), (10, "10")))
    frame = Frame(along=axis, up=axis, height=144)
    left, right, low, top = frame.x(0), frame.x(10), frame.y(0), frame.y(10)
    assert (364, 108, 8) == (right, low, top)
    assert math.isclose((left + right) / 2, frame.x(5))
    svg = str(frame.drawn([frame.point(10, 10, 2, "dot"), frame.bars([0, 5, 10], [10, 0], "steps")]))
    assert '<circle class="dot" cx="364" cy="8" r="2"/>' in svg
    assert ["M42.4 108V8H203.2V108H364V108"] == re.findall(r'class="steps" d="([^"]*)"', svg)
    assert "<b>" not in svg
    assert 2 == svg.count("&lt;b&gt;")
