"""Plots as SVG that takes the page's ink and fonts, light or dark, with what they show in words."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import StringIO
from typing import Any

import matplotlib as mpl
import numpy as np
import polars as pl
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from nhwc.validators.contract import INTEGER_RANGES, TensorContract

Array = np.ndarray[Any, Any]

MOST_SIZES = 600
"""Different sizes that the plot of sizes shows at most."""

_BINS = 40

_WIDE = 8
"""Sizes so many times apart are drawn on a logarithmic scale."""

_INK, _CURRENT, _BASELINE = "#010203", "#040506", "#070809"
_AS_THE_PAGE = {_INK: "currentColor", _CURRENT: "var(--part-0)", _BASELINE: "var(--part-1)"}
"""What each colour becomes on the page, which has others where it is dark."""

_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": _INK,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "text.parse_math": False,
}


@dataclass(frozen=True, kw_only=True)
class Plot:
    """One plot.

    Args:
        title: what it shows.
        words: the same in numbers, for who does not see it.
        svg: the drawing.
    """

    title: str
    words: str
    svg: Markup


def plots(kept: pl.DataFrame, contract: TensorContract, baseline: pl.DataFrame | None) -> list[Plot]:
    """Sizes, aspect and brightness of the kept samples, over the baseline's; none where no sample's are known."""
    sides = [("this version", kept.select(_MEASURED))]
    if baseline is not None:
        sides.append(("baseline", baseline.select("status", *_MEASURED).filter(pl.col("status") == "kept")))
    with mpl.rc_context(_STYLE):
        return [*_sizes(sides, contract), *_aspect(sides), *_brightness(sides, contract)]


_MEASURED = ("rows", "cols", "channel_mean")

_Sides = list[tuple[str, pl.DataFrame]]
"""A name and kept samples: this version's, then the baseline's."""

_COLOURS = (_CURRENT, _BASELINE)


def _sizes(sides: _Sides, contract: TensorContract) -> Iterator[Plot]:
    """Source rows over cols, a point a size, larger the more have it."""
    known = [(name, side.drop_nulls(["rows", "cols"])) for name, side in sides]
    if not known[0][1].height:
        return
    figure, axes = _axes(5.6)
    words: list[str] = []
    for k, (name, side) in reversed(list(enumerate(known))):
        sizes = side.group_by("rows", "cols").len()
        counts = sizes.top_k(MOST_SIZES, by=["len", "rows", "cols"]).sort("len", "rows", "cols", descending=True)
        area = 12 + 240 * np.sqrt(counts["len"].to_numpy() / max(side.height, 1))
        axes.scatter(counts["cols"], counts["rows"], s=area, color=_COLOURS[k], alpha=0.45, linewidths=0, label=name)
        words.insert(0, _sizes_in_words(name if len(known) > 1 else "sources", side, sizes.height))
    rows, cols, _ = contract.shape
    if rows and cols:
        axes.scatter([cols], [rows], marker="+", s=90, color=_INK, label=f"stored: {rows} x {cols}")
    left, low, right, high = axes.dataLim.extents
    if max(right, high) > _WIDE * min(left, low):
        axes.set_xscale("log", base=2)
        axes.set_yscale("log", base=2)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.4g}"))
        axis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("cols")
    axes.set_ylabel("rows")
    yield _plot("Rows and cols of the sources", "; ".join(words), figure, axes)


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
    figure, axes = _axes(2.2)
    edges = np.linspace(*span, _BINS + 1)
    words = []
    for k, (name, values) in enumerate(known):
        counts, _ = np.histogram(np.clip(values, *span), edges)
        shares = 100 * counts / max(values.size, 1)
        filled = k == 0
        axes.stairs(
            shares, edges, fill=filled, color=_COLOURS[k], alpha=0.75 if filled else 1, linewidth=1.5, label=name
        )
        words.append(_spread_in_words(name if len(known) > 1 else "samples", values, said))
    axes.set_xticks(ticks, [f"{said(tick):.4g}" for tick in ticks])
    axes.set_xlabel(label)
    axes.set_ylabel("% of samples")
    yield _plot(title, "; ".join(words), figure, axes)


def _spread_in_words(name: str, values: Array, said: Callable[[float], float]) -> str:
    if not values.size:
        return f"{name}: none"
    low, middle, high = (said(value) for value in np.quantile(values, (0.1, 0.5, 0.9)))
    return f"{name}: median {middle:.2f}, four fifths from {low:.2f} to {high:.2f}"


def _axes(height: float) -> tuple[Figure, Axes]:
    """A drawing of 5.2 inches (374 points) width, its axes with a faint grid."""
    figure = Figure(figsize=(5.2, height), layout="constrained")
    axes = figure.add_subplot()
    axes.grid(color=_INK, alpha=0.12, linewidth=0.8)
    axes.set_axisbelow(True)
    return figure, axes


def _plot(title: str, words: str, figure: Figure, axes: Axes) -> Plot:
    if len(axes.get_legend_handles_labels()[0]) > 1:
        legend = axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1), ncols=3, borderpad=0)
        for handle in legend.legend_handles:
            if handle is not None and hasattr(handle, "set_sizes"):
                handle.set_sizes([40])
                handle.set_alpha(1)
    written, nothing = StringIO(), dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with mpl.rc_context({"svg.hashsalt": title}):  # names within it are then its own, and the same in every run
        figure.savefig(written, format="svg", transparent=True, metadata=nothing)
    return Plot(title=title, words=words, svg=Markup(_inline(written.getvalue())))


def _inline(svg: str) -> str:
    """The drawing as a part of a page: the page's ink and fonts, no names but those that it refers to."""
    svg = svg[svg.index("<svg") :]
    for colour, name in _AS_THE_PAGE.items():
        svg = svg.replace(colour, name)
    svg = re.sub(r"<metadata>.*?</metadata>|<style .*?</style>", "", svg, flags=re.DOTALL)
    named = set(re.findall(r"#(\w+)", svg))
    svg = re.sub(r' id="([^"]*)"', lambda name: name[0] if name[1] in named else "", svg)
    svg = re.sub(r"font-family: [^;\"]*; ", "", svg)
    return svg.replace("<svg ", '<svg aria-hidden="true" focusable="false" ', 1)
