"""Drift: as many false alarms as stated and no more, and every real change told in words."""

from math import comb

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nhwc.validators import drift
from nhwc.validators.drift import check_drift
from nhwc.validators.violation import Code


def manifest(samples, *, seed, **changes):
    """Kept rows of photographs; `changes` replaces columns by expressions or values."""
    rng = np.random.default_rng(seed)
    rows, level = rng.integers(200, 900, samples), rng.normal(120, 25, samples)
    frame = pl.DataFrame(
        {
            "status": ["kept"] * samples,
            "label": rng.choice(["boot", "hat", "shirt", "shoe"], samples, p=[0.4, 0.3, 0.2, 0.1]),
            "format": rng.choice(["JPEG", "PNG"], samples, p=[0.95, 0.05]),
            "rows": rows,
            "cols": (rows * rng.choice([0.75, 1.0, 4 / 3], samples)).astype(np.int64),
            "channel_mean": [list(one) for one in level[:, None] + rng.normal(0, 8, (samples, 3))],
            "channel_std": [list(one) for one in rng.normal(55, 10, (samples, 3))],
        },
        schema_overrides={"channel_mean": pl.List(pl.Float64), "channel_std": pl.List(pl.Float64)},
    )
    return frame.with_columns(**changes)


def most_alarms(trials, rate, sure=0.99):
    """The binomial distribution's quantile: alarms in so many trials that a true rate stays at or under."""
    below = 0.0
    for alarms in range(trials + 1):
        below += comb(trials, alarms) * rate**alarms * (1 - rate) ** (trials - alarms)
        if below >= sure:
            return alarms
    return trials


def alarms_of(found):
    """The names of the rules that alarmed."""
    return {rule.name for rule in found.rules if rule.alarmed}


CHANNELS = ("channel_mean", "channel_std")


def alarms_among(pairs, baseline, current, rate, *, without=()):
    """How many of so many pairs of sets of one source alarm, with the fewest resamples that reach the rate."""
    rules = 7 if without else 14
    return sum(
        not check_drift(
            manifest(baseline, seed=seed).drop(without),
            manifest(current, seed=seed + 10_000).drop(without),
            seed=seed,
            false_alarm_rate=rate,
            resamples=round(rules / rate) - 1,
        ).verdict.passed
        for seed in range(pairs)
    )


def test_of_two_hundred_pairs_no_more_alarm_than_one_percent_allows():
    """Sets drawn from one source, whose pixels were not measured: seven rules, 699 resamples."""
    assert alarms_among(200, 60, 40, 0.01, without=CHANNELS) <= most_alarms(200, 0.01)


@pytest.mark.parametrize(("baseline", "current"), [(150, 150), (400, 40), (12, 300), (5, 5)])
def test_versions_of_one_source_alarm_at_most_at_the_stated_rate(baseline, current):
    """Of 50 pairs of sets drawn from one source, of any sizes, no more alarm than 10 % allows."""
    assert alarms_among(50, baseline, current, 0.1) <= most_alarms(50, 0.1)


def test_the_rate_is_met_and_not_only_kept():
    """At a stated rate of 20 % the alarms of 100 pairs are about that many: the rules are not blunter than stated."""
    alarms = alarms_among(100, 80, 80, 0.2)
    assert 100 - most_alarms(100, 0.9) <= alarms <= most_alarms(100, 0.2)


def test_a_version_with_samples_added_does_not_alarm():
    """Of 10 that add a twentieth from the same source none alarms, even at 10 %; nor does one compared with itself."""
    for seed in range(10):
        baseline = manifest(400, seed=seed)
        appended = pl.concat([baseline, manifest(20, seed=seed + 10_000)])
        found = check_drift(baseline, appended, seed=seed, false_alarm_rate=0.1, resamples=139)
        assert set() == alarms_of(found)
    assert set() == alarms_of(check_drift(baseline, baseline))


@pytest.mark.parametrize(
    ("changes", "code", "rules"),
    [
        ({"label": pl.col("label").replace("shoe", "hat")}, Code.LOST_CLASS, {"lost_classes"}),
        ({"label": pl.col("label").replace("shoe", "sock")}, Code.NEW_CLASS, {"new_classes", "lost_classes"}),
        ({"label": pl.lit("hat")}, Code.CLASS_DRIFT, {"class_shares"}),
        ({"format": pl.lit("PNG")}, Code.FORMAT_DRIFT, {"formats"}),
        ({"rows": pl.col("rows") // 2, "cols": pl.col("cols") // 2}, Code.SIZE_DRIFT, {"rows", "cols"}),
        ({"rows": pl.col("cols"), "cols": pl.col("rows") * 2}, Code.SIZE_DRIFT, {"aspect"}),
        (
            {"channel_mean": pl.col("channel_mean").list.eval(pl.element() * 1.2)},
            Code.PIXEL_DRIFT,
            {"brightness", "channel_0_mean", "channel_1_mean", "channel_2_mean"},
        ),
        ({"channel_std": pl.col("channel_std").list.eval(pl.element() * 0.8)}, Code.PIXEL_DRIFT, {"channel_0_std"}),
    ],
)
def test_each_change_is_found_by_its_rule(changes, code, rules):
    """In each of 3 draws the rule of the changed column alarms, with its code."""
    for seed in range(3):
        changed = manifest(300, seed=seed + 100, **changes)
        found = check_drift(manifest(300, seed=seed), changed, seed=seed, resamples=1399)
        assert rules <= alarms_of(found)
        assert code in {violation.code for violation in found.violations}


def test_a_change_is_told_in_words():
    """The violation has statistic, threshold and both versions' values; the figures have the numbers."""
    dark = manifest(200, seed=1, channel_mean=pl.lit([10.0, 20.0, 30.0]))
    light = manifest(200, seed=2, channel_mean=pl.lit([110.0, 120.0, 130.0]))
    found = check_drift(dark, light)
    brightness = next(violation for violation in found.violations if violation.aspect == "brightness")
    assert "median 120, four fifths in [120, 120] (greatest difference of the shares up to a value: 1)" == (
        brightness.found
    )
    assert brightness.expected.startswith("as in the baseline: median 20, four fifths in [20, 20] (greatest")
    assert "drift" == brightness.stage
    figures = found.verdict.figures
    assert 1 == figures["drift_brightness"] > figures["drift_brightness_threshold"] > 0
    assert (200, 200, 0.01) == (figures["baseline"], figures["current_compared"], figures["false_alarm_rate"])


def test_lost_and_new_classes_are_named_with_their_samples():
    """Both sides of the finding name them, and how many samples each has."""
    baseline = manifest(100, seed=1, label=pl.Series(["boot"] * 60 + ["hat"] * 40))
    current = manifest(100, seed=2, label=pl.Series(["boot"] * 60 + ["sock"] * 25 + ["cap"] * 15))
    by_aspect = {violation.aspect: violation for violation in check_drift(baseline, current).violations}
    assert by_aspect["lost_classes"].expected.startswith("as in the baseline: hat (40) (")
    assert by_aspect["lost_classes"].found.startswith("none of these (")
    assert by_aspect["new_classes"].found.startswith("cap (15), sock (25) (")


def test_a_class_that_only_the_sampled_rows_lack_is_not_lost(monkeypatch):
    """Where not all rows are compared, a class that the others have is not reported as lost."""
    monkeypatch.setattr(drift, "SAMPLED", 50)
    labels = ["boot"] * 100 + ["hat"] * 100
    baseline = manifest(200, seed=1, label=pl.Series(labels))
    current = manifest(20_000, seed=2, label=pl.Series(["boot"] * 19_999 + ["hat"]))
    found = check_drift(baseline, current)
    assert "lost_classes" not in alarms_of(found)
    assert "class_shares" in alarms_of(found)
    assert 50 == found.counts["current_compared"]


@settings(max_examples=15)
@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_small_sets_neither_crash_nor_alarm(baseline, current, seed):
    """With up to 6 samples a side, chance explains most: only a rate of 50 % may see more."""
    for rate, resamples in ((0.01, 1399), (0.5, 39)):
        found = check_drift(
            manifest(baseline, seed=seed), manifest(current, seed=seed + 1), false_alarm_rate=rate, resamples=resamples
        )
        assert all(rule.alarmed == (rule.statistic > rule.threshold) for rule in found.rules)


def test_missing_values_and_columns_do_not_stop_it():
    """A null is a value of its own; a column that one side lacks is not compared."""
    partly = manifest(60, seed=1, rows=pl.when(pl.int_range(60) % 2 == 0).then(pl.col("rows")))
    found = check_drift(partly, manifest(60, seed=2).drop("channel_std", "format"))
    assert {"class_shares", "lost_classes", "new_classes", "rows", "cols", "aspect", "brightness"} == {
        rule.name for rule in found.rules if not rule.name.startswith("channel")
    }
    assert "rows" in alarms_of(found)
    nothing = manifest(60, seed=1, rows=pl.lit(None, pl.Int64), label=pl.lit(None, pl.String))
    assert "no values" == next(r for r in check_drift(nothing, nothing).rules if r.name == "rows").baseline


def test_only_kept_rows_count():
    """Rows in quarantine change nothing; with no row kept on one side nothing is compared, and that is said."""
    baseline = manifest(60, seed=1)
    bad = manifest(60, seed=2, status=pl.lit("quarantined"), label=pl.lit("sock"))
    assert check_drift(baseline, baseline) == check_drift(baseline, pl.concat([baseline, bad]))
    (violation,) = check_drift(baseline, bad).violations
    assert (Code.NOTHING_KEPT, "60 in the baseline, 0 in the current version") == (violation.code, violation.found)


def test_another_number_of_channels_is_said_and_not_compared():
    """Gray against colour: one finding, and no rule on single channels."""
    gray = manifest(60, seed=1, channel_mean=pl.concat_list(pl.lit(100.0)), channel_std=pl.concat_list(pl.lit(9.0)))
    found = check_drift(manifest(60, seed=2), gray)
    assert [("3", "1")] == [(v.expected, v.found) for v in found.violations if v.code is Code.WRONG_CHANNELS]
    assert not [rule for rule in found.rules if rule.name.startswith("channel")]


def test_the_same_seed_gives_the_same_comparison():
    """Everything is a function of the arguments."""
    pair = manifest(80, seed=1), manifest(90, seed=2)
    assert check_drift(*pair, seed=3) == check_drift(*pair, seed=3)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"false_alarm_rate": 0.0}, r"false_alarm_rate: found 0\.0, expected a number between 0 and 1"),
        ({"false_alarm_rate": 1.0}, r"false_alarm_rate: found 1\.0, expected a number between 0 and 1"),
        ({"resamples": 1000}, r"resamples: found 1000, expected at least 1399 for 14 rules"),
    ],
)
def test_what_cannot_be_reached_is_refused(asked, message):
    """A rate outside 0 to 1, or resamples with which the rarest dealing is more frequent than the rate."""
    with pytest.raises(ValueError, match=message):
        check_drift(manifest(10, seed=1), manifest(10, seed=2), **asked)
