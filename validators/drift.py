"""Drift: whether a version is still distributed like its baseline, with a stated rate of false alarms.

No figure is compared with a constant. The samples of both versions are pooled and dealt anew, at random, into two sets
of their sizes, some two thousand times: what differs between two such sets is chance alone. A rule's p-value is its
rank among the dealings, and the smallest p-value of all rules is held against its own distribution over the same
dealings (Westfall and Young, Resampling-Based Multiple Testing, 1993: the single-step minP). So all rules together
alarm on at most `false_alarm_rate` of versions from the same source, whatever the sizes and however the rules depend on
one another. Samples that both versions share only bring them closer than the dealings are: an appended dataset alarms
less often still.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from nhwc.validators.verdict import Verdict
from nhwc.validators.violation import Code, Violation

Array = np.ndarray[Any, Any]

SAMPLED = 10_000
"""Rows of each side that are compared at most, drawn at random: enough to see 3 of 100 samples move."""

_BINS = 256
"""An ordered column of more values than this is compared at so many quantiles of the pool."""

_CHUNK = 200
"""Dealings whose counts are held at once."""


@dataclass(frozen=True, kw_only=True)
class DriftRule:
    """One figure of the samples, compared.

    Args:
        name: class_shares, lost_classes, new_classes, formats, rows, cols, aspect, brightness, channel_0_mean, ...
        code: what it is reported as.
        measure: what statistic and threshold are, in words.
        statistic: how far the two versions are apart.
        threshold: how far two sets of one source may be; only more than this is reported.
        baseline, current: what each version has, in words.
        alarmed: whether it is reported.
    """

    name: str
    code: Code
    measure: str
    statistic: float
    threshold: float
    baseline: str
    current: str
    alarmed: bool

    @property
    def violation(self) -> Violation:
        """The finding, for a rule that alarmed."""
        return Violation(
            code=self.code,
            stage="drift",
            aspect=self.name,
            expected=f"as in the baseline: {self.baseline} ({self.measure}: by chance at most {self.threshold:.3g})",
            found=f"{self.current} ({self.measure}: {self.statistic:.3g})",
        )


@dataclass(frozen=True, kw_only=True)
class Drift:
    """What a comparison with a baseline came to.

    Args:
        counts: kept samples of each side, how many of them were compared, resamples and false_alarm_rate.
        rules: every rule, alarmed or not.
        violations: of the rules that alarmed, and of what could not be compared at all.
    """

    counts: Mapping[str, float]
    rules: tuple[DriftRule, ...] = ()
    violations: tuple[Violation, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """The violations, and as figures the counts with each rule's statistic and threshold."""
        figures = dict(self.counts)
        for rule in self.rules:
            figures |= {f"drift_{rule.name}": rule.statistic, f"drift_{rule.name}_threshold": rule.threshold}
        return Verdict(violations=self.violations, figures=figures)


def check_drift(
    baseline: pl.DataFrame,
    current: pl.DataFrame,
    *,
    false_alarm_rate: float = 0.01,
    seed: int = 0,
    resamples: int | None = None,
) -> Drift:
    """Compare the kept samples of two manifests: class shares, formats, sizes, aspect, brightness, channels.

    Args:
        baseline, current: manifests, columns as in `manifest.COLUMNS`; rows that are not kept do not count, and a
            column that one side lacks is not compared.
        false_alarm_rate: the share of versions from the baseline's own source that may alarm, by any rule.
        seed: of the dealings and, above `SAMPLED` rows, of which rows are compared.
        resamples: dealings; by default 20 / false_alarm_rate - 1.

    A class that one side lacks is reported where chance would not explain it: with 5 samples a side, or for a class of
    one or two, it does. Whether the lists of classes are equal is the contract's matter.

    Raises ValueError where the rate is not between 0 and 1, or where there are too few resamples to reach it.
    """
    if not 0 < false_alarm_rate < 1:
        raise ValueError(f"false_alarm_rate: found {false_alarm_rate!r}, expected a number between 0 and 1")
    baseline, current = _kept(baseline), _kept(current)
    counts: dict[str, float] = {"baseline": baseline.height, "current": current.height}
    if 0 in counts.values():
        return Drift(counts=counts, violations=(_nothing_kept(baseline, current),))
    compared = _at_most(SAMPLED, baseline, seed), _at_most(SAMPLED, current, seed)
    rules, violations = _rules(*compared)
    resamples = math.ceil(20 / false_alarm_rate) - 1 if resamples is None else resamples
    needed = math.ceil(len(rules) / false_alarm_rate) - 1  # so that being each rule's greatest can still be an alarm
    if resamples < needed:
        raise ValueError(f"resamples: found {resamples}, expected at least {needed} for {len(rules)} rules")
    sizes = compared[0].height, compared[1].height
    codes = [_codes(pl.concat([side.select(rule.column).to_series() for side in compared]), rule) for rule in rules]
    distances = _distances(rules, codes, sizes, resamples, np.random.default_rng(seed))
    limits = _limits(distances, false_alarm_rate)
    judged = tuple(
        _judged(
            rule, baseline, current, distances[0, k] * rule.measure.unit(*sizes), limits[k] * rule.measure.unit(*sizes)
        )
        for k, rule in enumerate(rules)
    )
    counts |= {"baseline_compared": sizes[0], "current_compared": sizes[1]}
    counts |= {"resamples": resamples, "false_alarm_rate": false_alarm_rate}
    violations += [rule.violation for rule in judged if rule.alarmed]
    return Drift(counts=counts, rules=judged, violations=tuple(violations))


@dataclass(frozen=True, kw_only=True)
class _Measure:
    """How far two sets are apart in one column.

    Args:
        name: in words.
        ordered: whether the column's values have an order.
        distance: from counts int64[sets, bins] of the current set, totals int64[bins] of the pool and the samples of
            baseline and current set to int64[sets]: whole numbers, so that equal distances are equal.
        unit: what a distance of 1 is, for so many samples of baseline and current set.
        words: what baseline and current have, from all their values; None where they have no difference of this kind.
    """

    name: str
    ordered: bool = False
    distance: Callable[[Array, Array, int, int], Array]
    unit: Callable[[int, int], float] = lambda baseline, current: 1 / (baseline * current)
    words: Callable[[pl.Series, pl.Series], tuple[str, str] | None]


def _gaps(counts: Array, totals: Array, baseline: int, current: int) -> Array:
    """Share in the current set less share in the baseline, times the samples of both: int64[sets, bins]."""
    gaps: Array = counts * (baseline + current) - totals * current
    return gaps


def _share_words(baseline: pl.Series, current: pl.Series) -> tuple[str, str]:
    """The three values whose shares differ most."""
    shares = [series.fill_null("none").value_counts(normalize=True) for series in (baseline, current)]
    both = shares[0].join(shares[1], on=baseline.name, how="full", coalesce=True).fill_null(0)
    apart = (pl.col("proportion") - pl.col("proportion_right")).abs()
    both = both.sort(apart, baseline.name, descending=[True, False]).head(3)
    before, after = (", ".join(f"{row[0]} {row[k]:.1%}" for row in both.iter_rows()) for k in (1, 2))
    return before, after


def _spread_words(baseline: pl.Series, current: pl.Series) -> tuple[str, str]:
    """Median and the range of four fifths."""
    before, after = ([series.quantile(q, "linear") for q in (0.5, 0.1, 0.9)] for series in (baseline, current))
    text = [
        "no values" if low is None else f"median {middle:.4g}, four fifths in [{low:.4g}, {high:.4g}]"
        for middle, low, high in (before, after)
    ]
    return text[0], text[1]


def _lost_words(baseline: pl.Series, current: pl.Series) -> tuple[str, str] | None:
    """The classes that only the baseline has, with their samples."""
    lost = baseline.filter(~baseline.is_in(current.unique().implode())).value_counts().sort(baseline.name)
    names = ", ".join(f"{name} ({count})" for name, count in lost.iter_rows())
    return (names, "none of these") if names else None


def _new_words(baseline: pl.Series, current: pl.Series) -> tuple[str, str] | None:
    """The classes that only the current version has, with their samples."""
    words = _lost_words(current, baseline)
    return words and (words[1], words[0])


_MOVED = _Measure(
    name="share of samples that would have to move",  # the total variation distance
    distance=lambda *facts: np.abs(_gaps(*facts)).sum(axis=1),
    unit=lambda baseline, current: 0.5 / (baseline * current),
    words=_share_words,
)
_SHIFT = _Measure(
    name="greatest difference of the shares up to a value",  # Kolmogorov and Smirnov's statistic
    ordered=True,
    distance=lambda *facts: np.abs(_gaps(*facts).cumsum(axis=1)).max(axis=1),
    words=_spread_words,
)
_LOST = _Measure(
    name="samples of the largest one",
    distance=lambda counts, totals, *_: ((counts == 0) * totals).max(axis=1),
    unit=lambda *_: 1,
    words=_lost_words,
)
_NEW = _Measure(
    name=_LOST.name,
    distance=lambda counts, totals, *_: ((counts == totals) * totals).max(axis=1),
    unit=lambda *_: 1,
    words=_new_words,
)


@dataclass(frozen=True)
class _Rule:
    """One column of the manifest's rows, what it is called and reported as, and how it is compared."""

    name: str
    code: Code
    measure: _Measure
    column: pl.Expr


_MEANS, _STDS = pl.col("channel_mean"), pl.col("channel_std")
_RULES = (
    _Rule("class_shares", Code.CLASS_DRIFT, _MOVED, pl.col("label")),
    _Rule("lost_classes", Code.LOST_CLASS, _LOST, pl.col("label")),
    _Rule("new_classes", Code.NEW_CLASS, _NEW, pl.col("label")),
    _Rule("formats", Code.FORMAT_DRIFT, _MOVED, pl.col("format")),
    _Rule("rows", Code.SIZE_DRIFT, _SHIFT, pl.col("rows")),
    _Rule("cols", Code.SIZE_DRIFT, _SHIFT, pl.col("cols")),
    _Rule("aspect", Code.SIZE_DRIFT, _SHIFT, pl.col("cols") / pl.col("rows")),
    _Rule("brightness", Code.PIXEL_DRIFT, _SHIFT, _MEANS.list.head(3).list.mean()),  # a fourth channel is alpha
)


COMPARED_COLUMNS = tuple(
    sorted(
        {"status", "channel_mean", "channel_std", *(one for rule in _RULES for one in rule.column.meta.root_names())}
    )
)
"""The columns of a manifest that `check_drift` looks at: a baseline needs no others."""


def _kept(manifest: pl.DataFrame) -> pl.DataFrame:
    """The kept rows, of the columns that are compared; in one chunk, since quantiles of several are slow."""
    columns = [name for name in COMPARED_COLUMNS if name in manifest.columns]
    return manifest.select(columns).filter(pl.col("status") == "kept").rechunk()


def _rules(baseline: pl.DataFrame, current: pl.DataFrame) -> tuple[list[_Rule], list[Violation]]:
    """The rules whose columns both sides have, and a finding where their channels cannot be compared."""
    present = set(baseline.columns) & set(current.columns)
    rules, violations = list(_RULES), []
    if "channel_mean" in present:
        before, after = (
            side.select(_MEANS.list.len().alias("channels")).to_series().drop_nulls().unique().sort().to_list()
            for side in (baseline, current)
        )
        if before == after and len(after) == 1:
            for k in range(after[0]):
                rules += [
                    _Rule(f"channel_{k}_{name}", Code.PIXEL_DRIFT, _SHIFT, column.list.get(k))
                    for name, column in (("mean", _MEANS), ("std", _STDS))
                ]
        elif before and after:
            expected, found = (" and ".join(map(str, one)) for one in (before, after))
            violations.append(
                Violation(code=Code.WRONG_CHANNELS, stage="drift", aspect="channels", expected=expected, found=found)
            )
    return [rule for rule in rules if present.issuperset(rule.column.meta.root_names())], violations


def _codes(pooled: pl.Series, rule: _Rule) -> Array:
    """The bin that each value is in: intp[pool]. Missing values have one of their own."""
    if not rule.measure.ordered:
        return pooled.rank("dense").fill_null(0).cast(pl.Int64).to_numpy()
    values = pooled.cast(pl.Float64).fill_null(math.nan).to_numpy()
    known = ~np.isnan(values)
    edges = np.unique(values[known])
    if len(edges) > _BINS:
        edges = np.unique(np.quantile(values[known], np.linspace(0, 1, _BINS)))
    return np.where(known, 1 + np.searchsorted(edges, values), 0)


def _distances(
    rules: list[_Rule], codes: list[Array], sizes: tuple[int, int], resamples: int, rng: np.random.Generator
) -> Array:
    """Each rule's distance, for the versions as they are and then for every dealing: int64[1 + resamples, rules]."""
    ends = np.cumsum([column.max() + 1 for column in codes])
    starts = np.concatenate([[0], ends[:-1]])
    flat = np.stack(codes, axis=1) + starts  # every rule's bins in one range, so that one count serves all
    totals = np.bincount(flat.ravel(), minlength=ends[-1])
    fewer = int(np.argmin(sizes))  # the side that is counted; the other is what the pool has besides
    as_they_are = np.arange(sizes[0], sum(sizes)) if fewer else np.arange(sizes[0])

    def count(dealing: int) -> Array:
        dealt = rng.choice(sum(sizes), sizes[fewer], replace=False, shuffle=False) if dealing else as_they_are
        counted = np.bincount(flat.take(dealt, axis=0).ravel(), minlength=ends[-1])
        return counted if fewer else totals - counted

    distances = np.empty((1 + resamples, len(rules)), np.int64)
    for begin in range(0, 1 + resamples, _CHUNK):
        chunk = range(1 + resamples)[begin : begin + _CHUNK]
        counts = np.stack([count(dealing) for dealing in chunk])
        for k, rule in enumerate(rules):
            bins = slice(starts[k], ends[k])
            distances[chunk.start : chunk.stop, k] = rule.measure.distance(counts[:, bins], totals[bins], *sizes)
    return distances


def _limits(distances: Array, false_alarm_rate: float) -> Array:
    """The distance over which each rule alarms: int64[rules].

    So that of all sets in `distances`, taken alike, at most the rate has any rule over its limit.
    """
    sets = len(distances)
    ranked = np.sort(distances, axis=0)
    at_least = np.stack(
        [sets - np.searchsorted(ranked[:, k], distances[:, k]) for k in range(distances.shape[1])], axis=1
    )  # how many sets are as far apart as this one or farther: the p-value times the sets
    rarest = np.sort(at_least.min(axis=1))
    common = at_least >= rarest[math.floor(false_alarm_rate * sets)]
    limits: Array = np.where(common, distances, -1).max(axis=0)
    return limits


def _judged(
    rule: _Rule, baseline: pl.DataFrame, current: pl.DataFrame, statistic: float, threshold: float
) -> DriftRule:
    """The rule with its numbers, and what both versions have in words, from all their rows."""
    words = rule.measure.words(*(side.select(rule.column).to_series() for side in (baseline, current)))
    before, after = words or ("no class", "no class")
    return DriftRule(
        name=rule.name,
        code=rule.code,
        measure=rule.measure.name,
        statistic=float(statistic),
        threshold=float(threshold),
        baseline=before,
        current=after,
        alarmed=bool(statistic > threshold) and words is not None,
    )


def _at_most(rows: int, side: pl.DataFrame, seed: int) -> pl.DataFrame:
    return side if side.height <= rows else side.sample(rows, seed=seed)


def _nothing_kept(baseline: pl.DataFrame, current: pl.DataFrame) -> Violation:
    found = f"{baseline.height} in the baseline, {current.height} in the current version"
    return Violation(
        code=Code.NOTHING_KEPT, stage="drift", aspect="samples", expected="at least one a side", found=found
    )
