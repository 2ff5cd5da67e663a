"""Whether so much was quarantined that a dataset must not be published."""

from __future__ import annotations

import polars as pl

from nhwc.validators.verdict import Verdict
from nhwc.validators.violation import Code, Violation


def check_budget(manifest: pl.DataFrame, *, bad_fraction: float, bad_fraction_per_class: float) -> Verdict:
    """Hold a manifest against its budget.

    Args:
        manifest: columns as in `manifest.COLUMNS`; skipped rows do not count.
        bad_fraction: the largest share of the discovered images that may be quarantined, 0 to 1.
        bad_fraction_per_class: the same for each class.

    The verdict's figures are the counts of discovered images, kept and quarantined.
    """
    images = manifest.filter(pl.col("status") != "skipped").select("label", bad=pl.col("status") == "quarantined")
    bad = int(images["bad"].sum())
    figures = {"images": images.height, "kept": images.height - bad, "quarantined": bad}
    violations = []
    if bad == images.height:
        found = f"none of {images.height} images"
        hint = "" if images.height else "name a folder that has images; of a published dataset `nhwc gate` tells"
        nothing = _violation(Code.NOTHING_KEPT, aspect="kept", expected="at least one sample", found=found, hint=hint)
        violations.append(nothing)
    elif bad / images.height > bad_fraction:
        violations.append(_share(Code.OVER_BUDGET, "all", bad, images.height, bad_fraction))
    classes = (
        images.drop_nulls("label").group_by("label").agg(pl.col("bad").sum(), pl.len().alias("count")).sort("label")
    )
    for row in classes.iter_rows(named=True):
        if row["bad"] / row["count"] > bad_fraction_per_class:
            name = f"class {row['label']}"
            violations.append(_share(Code.OVER_CLASS_BUDGET, name, row["bad"], row["count"], bad_fraction_per_class))
    return Verdict(violations=tuple(violations), figures=figures)


def _share(code: Code, aspect: str, bad: int, count: int, allowed: float) -> Violation:
    found = f"{bad} of {count} images quarantined ({bad / count:.1%})"
    return _violation(code, aspect=aspect, expected=f"at most {allowed:.1%}", found=found)


def _violation(code: Code, *, aspect: str, expected: str, found: str, hint: str = "") -> Violation:
    return Violation(code=code, stage="publish", aspect=aspect, expected=expected, found=found, hint=hint)
