"""Numbers that the page draws as bars in a table: class balance, and drift as a share of its threshold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from nhwc.validators.splits import SPLITS

CLASSES = 40
"""Classes that have a bar of their own."""


@dataclass(frozen=True, kw_only=True)
class ClassBar:
    """The kept samples of one class.

    Args:
        name: the class's, or how many classes are summed.
        count: in all splits.
        by_split: samples of each split, in the order of the chart's splits.
        share: of all kept samples.
        baseline_share: of all the baseline's; None without a baseline.
    """

    name: str
    count: int
    by_split: tuple[int, ...]
    share: float
    baseline_share: float | None


@dataclass(frozen=True, kw_only=True)
class ClassChart:
    """A bar a class, largest first, the rest summed in the last; `scale` is the share that fills the width."""

    splits: tuple[str, ...]
    bars: tuple[ClassBar, ...]
    scale: float


def class_chart(kept: pl.DataFrame, classes: tuple[str, ...], baseline: pl.DataFrame | None) -> ClassChart:
    """How many samples of each class every split has; classes of the contract without any are in it too."""
    counts: dict[str, dict[str, int]] = {name: {} for name in classes}
    for label, split, count in kept.group_by(_named("label"), _named("split")).len().iter_rows():
        counts.setdefault(label, {})[split] = count
    splits = tuple(sorted({split for found in counts.values() for split in found}, key=_split_order))
    before = None if baseline is None else _shares(baseline)
    bars = [_bar(name, [found.get(split, 0) for split in splits], kept.height, before, (name,))
            for name, found in counts.items()]  # fmt: skip
    bars.sort(key=lambda bar: (-bar.count, bar.name))
    if rest := bars[CLASSES:]:
        summed = [sum(column) for column in zip(*(bar.by_split for bar in rest), strict=True)]
        names = tuple(bar.name for bar in rest)
        bars[CLASSES:] = [_bar(f"{len(rest):,} more", summed, kept.height, before, names)]
    longest = max((max(bar.share, bar.baseline_share or 0) for bar in bars), default=0)
    return ClassChart(splits=splits, bars=tuple(bars), scale=longest or 1)


def _named(column: str) -> pl.Expr:
    return pl.col(column).fill_null(f"no {column}")


def _split_order(name: str) -> tuple[int, str]:
    return (SPLITS.index(name) if name in SPLITS else len(SPLITS)), name


def _shares(baseline: pl.DataFrame) -> dict[str, float]:
    """The share of each class in the baseline's kept samples."""
    kept = baseline.select("status", "label").filter(pl.col("status") == "kept")
    return dict(kept.group_by(_named("label")).agg(pl.len() / max(kept.height, 1)).iter_rows())


def _bar(
    name: str, by_split: list[int], kept: int, baseline: dict[str, float] | None, labels: tuple[str, ...]
) -> ClassBar:
    count = sum(by_split)
    return ClassBar(
        name=name,
        count=count,
        by_split=tuple(by_split),
        share=count / max(kept, 1),
        baseline_share=None if baseline is None else sum(baseline.get(label, 0) for label in labels),
    )


@dataclass(frozen=True, kw_only=True)
class DriftBar:
    """One rule of a comparison with a baseline: how far it is apart, and how far chance alone would bring it."""

    name: str
    statistic: float
    threshold: float

    @property
    def ratio(self) -> float:
        """The statistic as a share of its threshold; above 1 it was reported."""
        if self.threshold > 0:
            return self.statistic / self.threshold
        return 0 if self.statistic <= 0 else float("inf")


def drift_bars(figures: Mapping[str, float]) -> list[DriftBar]:
    """A bar a rule that was compared, farthest apart first."""
    bars = [
        DriftBar(name=name.removeprefix("drift_"), statistic=value, threshold=figures[f"{name}_threshold"])
        for name, value in figures.items()
        if name.startswith("drift_") and f"{name}_threshold" in figures
    ]
    return sorted(bars, key=lambda bar: (-bar.ratio, bar.name))
