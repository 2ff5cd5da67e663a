"""A line of the table that `make bench` prints: a demand, the figure, its spread, and whether it passes."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Literal, TypedDict

HEAD = (
    "| demand | what | beside | needed | figure | lowest to highest | | said besides |\n"
    "| --- | --- | --- | ---: | ---: | --- | --- | --- |"
)


@dataclass(frozen=True, kw_only=True)
class Line:
    """One figure of one run.

    Args:
        demand: its short name: L1, I2, ...
        name: what was measured.
        beside: the named peer, or what it is a part of.
        figure: the median of the rounds.
        low, high: the lowest and the highest round; both the figure where there was one round.
        needed: what is demanded of the figure; None where it is only stated.
        bound: on which side of `needed` the figure passes.
        unit: `times` and `share` are ratios.
        said: rates and the physical limit, in words.
    """

    demand: str
    name: str
    beside: str
    figure: float
    low: float
    high: float
    needed: float | None = None
    bound: Literal["at least", "at most"] = "at least"
    unit: Literal["times", "share", "s", "MB", "levels", "tasks"] = "times"
    said: str = ""

    @property
    def reach(self) -> float | None:
        """How many times the demand is fulfilled: 1 just passes; None where nothing is demanded."""
        return None if self.needed is None else self._times(self.figure)

    @property
    def span(self) -> tuple[float, float] | None:
        """The same of the worst and of the best round."""
        if self.needed is None:
            return None
        worst, best = sorted((self._times(self.low), self._times(self.high)))
        return worst, best

    @property
    def verdict(self) -> str:
        """`pass`, `short` or `stated`."""
        return "stated" if self.reach is None else "pass" if self.reach >= 1 else "short"

    def _times(self, figure: float) -> float:
        needed = self.needed or 0.0
        over, under = (figure, needed) if self.bound == "at least" else (needed, figure)
        return over / max(under, 1e-9)

    def shown(self, figure: float) -> str:
        """A figure in this line's unit."""
        if self.unit == "share":
            return f"{figure:.1%}"
        if self.unit in ("MB", "tasks"):
            return f"{figure:,.0f} {self.unit}"
        return f"{figure:.2f}" if self.unit == "times" else f"{figure:.2f} {self.unit}"

    def __str__(self) -> str:
        needed = "" if self.needed is None else f"{self.bound} {self.shown(self.needed)}"
        spread = "" if self.low == self.high else f"{self.shown(self.low)} to {self.shown(self.high)}"
        cells = (self.demand, self.name, self.beside, needed, self.shown(self.figure), spread, self.verdict, self.said)
        return f"| {' | '.join(cells)} |"


class Rounds(TypedDict):
    """A line's figure and its spread."""

    figure: float
    low: float
    high: float


def rounds(figures: Iterable[float]) -> Rounds:
    """Median, lowest and highest of the figure that each round gave."""
    taken = list(figures)
    return {"figure": median(taken), "low": min(taken), "high": max(taken)}


def table(lines: Iterable[Line]) -> str:
    """The lines as one Markdown table."""
    return "\n".join([HEAD, *map(str, lines)])


def from_json(file: Path) -> list[Line]:
    """The lines that a script wrote with --json."""
    return [Line(**one) for one in json.loads(file.read_text())]


def write_json(lines: Sequence[Line], file: Path) -> None:
    """Write the lines, a JSON object each."""
    file.write_text(json.dumps([asdict(one) for one in lines], indent=1) + "\n")


Say = Callable[[Line], None]
"""Told each line as soon as it is measured, since all take minutes."""


def asked_of(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The command line with what all scripts have: --quick, --peers, --json."""
    parser.add_argument("--quick", action="store_true", help="few images and repeats: a try, no measurement")
    parser.add_argument("--peers", nargs="*", default=[], metavar="PYTHON", help="interpreters that have the peers")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the lines there too")
    return parser.parse_args()


def run(measure: Callable[[argparse.Namespace, Say], None], asked: argparse.Namespace) -> None:
    """Measure, print each line as it comes, and write what --json asks for."""
    lines: list[Line] = []

    def say(line: Line) -> None:
        lines.append(line)
        print(line, flush=True)

    print(HEAD, flush=True)
    try:
        measure(asked, say)
    finally:  # what was measured before something broke is not lost
        if asked.json:
            write_json(lines, asked.json)
