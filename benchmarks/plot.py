"""The plot of a run: how many times each demand is met, on a logarithmic axis, the line between pass and short at 1."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

from lines import Line
from matplotlib.figure import Figure

PASS, SHORT, INK, QUIET = "#2b7a78", "#c8553d", "#222222", "#777777"


def draw(lines: Sequence[Line], place: Path, *, title: str) -> None:
    """Write the lines that have a demand as horizontal bars, with the spread of the rounds, to a PNG file."""
    shown = [line for line in lines if line.reach is not None]
    figure = Figure(figsize=(11, 0.34 * len(shown) + 1.4), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    for place_on_axis, line in enumerate(shown):
        reach, span = max(line.reach or 0, 1e-3), line.span or (1, 1)
        colour = PASS if line.verdict == "pass" else SHORT
        axes.barh(place_on_axis, reach - 1, left=1, height=0.62, color=colour)
        axes.plot([max(one, 1e-3) for one in span], [place_on_axis] * 2, color=INK, linewidth=1)
        said = f"{line.shown(line.figure)}  ({line.bound} {line.shown(line.needed or 0)})"
        right = max(reach, *span, 1)
        axes.annotate(said, (right, place_on_axis), (5, 0), textcoords="offset points", va="center", fontsize=7.5)
    axes.axvline(1, color=INK, linewidth=1)
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    axes.set_xlim(min(low, 0.3), max(high * 4, 10))
    axes.set_yticks(range(len(shown)), [_name(line) for line in shown], fontsize=7.5)
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.set_xlabel("times the demand is met: right of 1 it passes; the thin line is the lowest and highest round")
    axes.set_title("\n".join(textwrap.wrap(title, 130)), fontsize=8, color=QUIET, loc="left")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    place.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(place)


def _name(line: Line) -> str:
    beside = "" if line.beside in ("itself", "the bound", "the bounds") else f"\nbeside {line.beside}"
    return f"{line.demand}  {line.name}{beside}"
