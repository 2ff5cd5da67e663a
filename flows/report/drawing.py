"""Axes and what stands in them, drawn as SVG that takes the page's ink and fonts, light or dark."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

from markupsafe import Markup

WIDTH = 374
"""Of every drawing, in its own units; a letter is ten of them high."""

_ABOVE, _BELOW, _RIGHT = 8, 36, 10
"""Room around the axes: below for the ticks' labels and the axis's name."""

_LETTER = 6.2
"""The width of a digit, and a little more: fonts differ."""

_STEPS = (1, 2, 2.5, 5, 10)


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One axis.

    Args:
        name: what its values are.
        low, high: its ends.
        ticks: places on it, each with its label.
    """

    name: str
    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]

    def share(self, value: float) -> float:
        """Where a value stands: 0 at the low end, 1 at the high one."""
        return (value - self.low) / (self.high - self.low)


def even_axis(name: str, low: float, high: float, *, most: int, least_step: float = 0) -> Axis:
    """An axis with at most so many ticks at round numbers, no closer than `least_step`."""
    rough = max((high - low) / max(most - 1, 1), least_step)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * one for one in _STEPS if power * one >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    ticks = tuple((k * step, f"{k * step:,.6g}") for k in range(first, last + 1))
    return Axis(name=name, low=low, high=high, ticks=ticks)


def doubling_axis(name: str, low: float, high: float, *, most: int) -> Axis:
    """An axis of base-2 logarithms, its ticks labelled with the powers."""
    first, last = math.ceil(low), math.floor(high)
    ticks = tuple((k, f"{2.0**k:,.6g}") for k in range(first, last + 1, -(-(last - first + 1) // most) or 1))
    return Axis(name=name, low=low, high=high, ticks=ticks)


@dataclass(frozen=True, kw_only=True)
class Frame:
    """Two axes in a drawing of that height; `along` runs to the right, `up` upwards."""

    along: Axis
    up: Axis
    height: int

    @property
    def left(self) -> float:
        """Where the axes begin: right of the ticks' labels and of the name, which stands on end."""
        return 30 + _LETTER * max((len(label) for _, label in self.up.ticks), default=0)

    def x(self, value: float) -> float:
        """From the left."""
        return self.left + self.along.share(value) * (WIDTH - _RIGHT - self.left)

    def y(self, value: float) -> float:
        """From the top."""
        return self.height - _BELOW - self.up.share(value) * (self.height - _BELOW - _ABOVE)

    def drawn(self, content: Iterable[Markup]) -> Markup:
        """The whole drawing, the content over a faint grid."""
        head = f'<svg viewBox="0 0 {WIDTH} {self.height}" aria-hidden="true" focusable="false">'
        parts = chain([Markup(head)], self._ruled(), content, [Markup("</svg>")])
        return Markup("\n").join(parts)

    def _ruled(self) -> Iterable[Markup]:
        left, right, low, top = self.left, WIDTH - _RIGHT, self.height - _BELOW, _ABOVE
        across, upright = [self.x(at) for at, _ in self.along.ticks], [self.y(at) for at, _ in self.up.ticks]
        grid = [f"M{_n(x)} {top}V{low}" for x in across] + [f"M{_n(left)} {_n(y)}H{right}" for y in upright]
        marks = [f"M{_n(x)} {low}v4" for x in across] + [f"M{_n(left)} {_n(y)}h-4" for y in upright]
        yield _path("".join(grid), "grid")
        yield _path(f"M{_n(left)} {top}V{low}H{right}" + "".join(marks), "axes")
        yield from (_text(x, low + 15, label) for x, (_, label) in zip(across, self.along.ticks, strict=True))
        yield from (
            _text(left - 7, y + 3.5, label, "end") for y, (_, label) in zip(upright, self.up.ticks, strict=True)
        )
        yield _text((left + right) / 2, self.height - 4, self.along.name)
        yield Markup('<g transform="rotate(-90)">{}</g>').format(_text(-(low + top) / 2, 11, self.up.name))

    def bars(self, edges: Sequence[float], values: Sequence[float], kind: str) -> Markup:
        """Steps of these values between these edges, one more than values, from the lower end up."""
        low = self.y(self.up.low)
        steps = [f"V{_n(self.y(value))}H{_n(self.x(edge))}" for value, edge in zip(values, edges[1:], strict=True)]
        return _path(f"M{_n(self.x(edges[0]))} {_n(low)}" + "".join(steps) + f"V{_n(low)}", kind)

    def point(self, along: float, up: float, radius: float, kind: str) -> Markup:
        """A disc."""
        spot = f'cx="{_n(self.x(along))}" cy="{_n(self.y(up))}" r="{_n(radius)}"'
        return Markup(f'<circle class="{kind}" {spot}/>')

    def cross(self, along: float, up: float) -> Markup:
        """A + mark."""
        return _path(f"M{_n(self.x(along) - 5)} {_n(self.y(up))}h10m-5 -5v10", "cross")


def _path(steps: str, kind: str) -> Markup:
    return Markup(f'<path class="{kind}" d="{steps}"/>')


def _text(x: float, y: float, text: str, anchor: str = "middle") -> Markup:
    where = Markup(f'<text x="{_n(x)}" y="{_n(y)}" text-anchor="{anchor}">')
    return where + text + Markup("</text>")


def _n(value: float) -> str:
    """A coordinate to a tenth, the same on every machine."""
    return f"{value:.1f}".removesuffix(".0")
