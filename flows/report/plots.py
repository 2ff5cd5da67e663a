"""Plots of what was kept: the numbers that are drawn, and what they show in words."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from markupsafe import Markup

from nhwc.flows.report.drawing import Axis, Frame, doubling_axis, even_axis
from nhwc.validators.contract import INTEGER_RANGES, TensorContract

Array = np.ndarray[Any, Any]

MOST_SIZES = 600
"""Different sizes that the plot of sizes shows at most."""

_BINS = 40

_WIDE = 8
"""Sizes so many times apart are drawn on a logarithmic scale."""


@dataclass(frozen=True, kw_only=True)
class Plot:
    """One plot.

    Args:
        title: what it shows.
        words: the same in numbers, for who does not see it.
        key: how each thing in it is marked, and its name; nothing where there is but one.
        svg: the drawing.
    """

    title: str
    words: str
    key: tuple[tuple[str, str], ...]
    svg: Markup


def plots(kept: pl.DataFrame, contract: TensorContract, baseline: pl.DataFrame | None) -> list[Plot]:
    """Sizes, aspect and brightness of the kept samples, over the baseline's; none where no sample's are known."""
    sides = [("this version", kept.select(_MEASURED))]
    if baseline is not None:
        sides.append(("baseline", baseline.select("status", *_MEASURED).filter(pl.col("status") == "kept")))
    return [*_sizes(sides, contract), *_aspect(sides), *_brightness(sides, contract)]


_MEASURED = ("rows", "cols", "channel_mean")

_Sides = list[tuple[str, pl.DataFrame]]
"""A name and kept samples: this version's, then the baseline's."""


def _sizes(sides: _Sides, contract: TensorContract) -> Iterator[Plot]:
    """Source rows over cols, a point a size, larger the more have it."""
    known = [(name, side.drop_nulls(["rows", "cols"])) for name, side in sides]
    if not known[0][1].height:
        return
    points: list[tuple[str, float, float, float]] = []  # how it is marked, cols, rows, radius
    words: list[str] = []
    for k, (name, side) in reversed(list(enumerate(known))):
        sizes = side.group_by("rows", "cols").len()
        counts = sizes.top_k(MOST_SIZES, by=["len", "rows", "cols"]).sort("len", "rows", "cols", descending=True)
        for rows, cols, count in counts.iter_rows():
            points.append(
                (f"points part-{k}", cols, rows, math.sqrt((12 + 240 * math.sqrt(count / side.height)) / math.pi))
            )
        words.insert(0, _sizes_in_words(name if len(known) > 1 else "sources", side, sizes.height))
    key = [(f"point part-{k}", name) for k, (name, _) in enumerate(known)]
    stored_rows, stored_cols, _ = contract.shape
    stored = [(float(stored_cols), float(stored_rows))] if stored_rows and stored_cols else []
    if stored:
        key.append(("plus", f"stored: {stored_rows:,} x {stored_cols:,}"))
    frame, scale = _frame_of_sizes([*((cols, rows) for _, cols, rows, _ in points), *stored])
    content = [frame.point(scale(cols), scale(rows), radius, kind) for kind, cols, rows, radius in points]
    content += [frame.cross(scale(cols), scale(rows)) for cols, rows in stored]
    yield _plot("Rows and cols of the sources", words, key, frame.drawn(content))


def _frame_of_sizes(sizes: list[tuple[float, float]]) -> tuple[Frame, Callable[[float], float]]:
    """The axes that hold these cols and rows, and what brings a size onto them."""
    values = [value for size in sizes for value in size]
    doubling = max(values) > _WIDE * min(values)
    scale: Callable[[float], float] = math.log2 if doubling else float

    def axis(name: str, along: list[float]) -> Axis:
        low, high = scale(min(along)), scale(max(along))
        margin = 0.06 * (high - low) or (0.5 if doubling else max(1, high / 20))
        low, high = low - margin, high + margin
        return doubling_axis(name, low, high, most=8) if doubling else even_axis(name, low, high, most=8, least_step=1)

    cols, rows = (list(along) for along in zip(*sizes, strict=True))
    return Frame(along=axis("cols", cols), up=axis("rows", rows), height=396), scale


def _sizes_in_words(name: str, side: pl.DataFrame, sizes: int) -> str:
    if not sizes:
        return f"{name}: none"
    low, middle, high = (
        side.select(rows=getattr(pl.col("rows"), kind)(), cols=getattr(pl.col("cols"), kind)()).row(0)
        for kind in ("min", "median", "max")
    )
    if sizes == 1:
        return f"{name}: all {low[0]:,} x {low[1]:,}"
    return (
        f"{name}: {sizes:,} sizes, rows {low[0]:,} to {high[0]:,} (median {middle[0]:,.0f}), "
        f"cols {low[1]:,} to {high[1]:,} (median {middle[1]:,.0f})"
    )


def _aspect(sides: _Sides) -> Iterator[Plot]:
    values = [(name, side.select((pl.col("cols") / pl.col("rows")).log(2)).to_series()) for name, side in sides]
    yield from _histogram(
        values,
        "Aspect of the sources",
        "cols / rows",
        span=(-3, 3),
        ticks=(-3, -2, -1, 0, 1, 2, 3),
        said=lambda v: 2**v,
    )


def _brightness(sides: _Sides, contract: TensorContract) -> Iterator[Plot]:
    """The mean of the first three channels (a fourth is alpha), as a share of the value range."""
    low, high = contract.value_range or INTEGER_RANGES.get(contract.dtypes[0], (0, 1))
    mean = pl.col("channel_mean").list.head(3).list.mean()
    values = [(name, side.select((mean - low) / ((high - low) or 1)).to_series()) for name, side in sides]
    ticks = (0, 0.25, 0.5, 0.75, 1)
    yield from _histogram(values, "Brightness of the stored images", "mean, as a share of the range", (0, 1), ticks)


def _histogram(
    sides: list[tuple[str, pl.Series]],
    title: str,
    label: str,
    span: tuple[float, float],
    ticks: tuple[float, ...],
    said: Callable[[float], float] = float,
) -> Iterator[Plot]:
    """Shares of the samples over a value; what lies outside the span counts to its ends."""
    known = [(name, values.filter(values.is_finite()).to_numpy()) for name, values in sides]
    if not known[0][1].size:
        return
    edges = np.linspace(*span, _BINS + 1)
    shares = [100 * np.histogram(np.clip(values, *span), edges)[0] / max(values.size, 1) for _, values in known]
    margin = (span[1] - span[0]) / 20
    along = Axis(
        name=label,
        low=span[0] - margin,
        high=span[1] + margin,
        ticks=tuple((tick, f"{said(tick):.4g}") for tick in ticks),
    )
    most = 1.05 * max(float(share.max()) for share in shares)
    frame = Frame(along=along, up=even_axis("% of samples", 0, most, most=5), height=148)
    kinds = ("filled part-0", "outline part-1")[: len(known)]
    drawn = [frame.bars(edges.tolist(), share.tolist(), kind) for share, kind in zip(shares, kinds, strict=True)]
    key = [(kind, name) for kind, (name, _) in zip(kinds, known, strict=True)]
    words = [_spread_in_words(name if len(known) > 1 else "samples", values, said) for name, values in known]
    yield _plot(title, words, key, frame.drawn(drawn))


def _spread_in_words(name: str, values: Array, said: Callable[[float], float]) -> str:
    if not values.size:
        return f"{name}: none"
    low, middle, high = (said(value) for value in np.quantile(values, (0.1, 0.5, 0.9)))
    return f"{name}: median {middle:.2f}, four fifths from {low:.2f} to {high:.2f}"


def _plot(title: str, words: list[str], key: list[tuple[str, str]], svg: Markup) -> Plot:
    return Plot(title=title, words="; ".join(words), key=tuple(key) if len(key) > 1 else (), svg=svg)
