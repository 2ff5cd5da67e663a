"""Whether so much was quarantined that a dataset must not be published."""

from __future__ import annotations

import polars as pl

from nhwc.validators.verdict import Verdict
from nhwc.validators.violation import Code, Violation


def check_budget(
    manifest: pl.DataFrame, *, bad_fraction: float, bad_fraction_per_class: float, before: pl.DataFrame | None = None
) -> Verdict:
    """Hold a manifest against its budget.

    Args:
        manifest: columns as in `manifest.COLUMNS`; skipped rows do not count.
        bad_fraction: the largest share of the discovered images that may be quarantined, 0 to 1.
        bad_fraction_per_class: the same for each class.
        before: the manifest of the version before. What it kept and a damaged file of the source now hides counts as
            quarantined, since one row says of such a file that it is damaged, however much it held.

    The verdict's figures are the counts of discovered images, kept and quarantined.
    """
    images = manifest.filter(pl.col("status") != "skipped").select("label", bad=pl.col("status") == "quarantined")
    hidden = 0
    if before is not None and (damaged := _damaged(manifest)):
        lost = _hidden(manifest, before, damaged)
        images, hidden = pl.concat([images, lost]), lost.height
    bad = int(images["bad"].sum())
    figures = {"images": images.height, "kept": images.height - bad, "quarantined": bad}
    violations = []
    if bad == images.height:
        found = f"none of {images.height} images"
        hint = "" if images.height else "name a folder that has images; of a published dataset `nhwc gate` tells"
        nothing = _violation(Code.NOTHING_KEPT, aspect="kept", expected="at least one sample", found=found, hint=hint)
        violations.append(nothing)
    elif bad / images.height > bad_fraction:
        violations.append(_share(Code.OVER_BUDGET, "all", bad, images.height, bad_fraction, hidden))
    classes = (
        images.drop_nulls("label").group_by("label").agg(pl.col("bad").sum(), pl.len().alias("count")).sort("label")
    )
    for row in classes.iter_rows(named=True):
        if row["bad"] / row["count"] > bad_fraction_per_class:
            name = f"class {row['label']}"
            violations.append(_share(Code.OVER_CLASS_BUDGET, name, row["bad"], row["count"], bad_fraction_per_class))
    return Verdict(violations=tuple(violations), figures=figures)


def _damaged(manifest: pl.DataFrame) -> list[str]:
    """The paths that stand for damaged files of the source."""
    return manifest.filter(status="quarantined", code=str(Code.DAMAGED_SOURCE))["path"].to_list()


def _hidden(manifest: pl.DataFrame, before: pl.DataFrame, damaged: list[str]) -> pl.DataFrame:
    """What was kept, is gone, and lay in a file that is damaged: its label, and bad, which is true.

    A tar's samples are called `file/name`, a record `file@where`, and the members of an archive that is the source by
    their own names, the archive itself `./file`.
    """
    starts = {start for path in damaged for start in (f"{path}/", f"{path.partition('@')[0]}@")}
    inside = [pl.lit(any(path.startswith("./") for path in damaged)), *map(pl.col("path").str.starts_with, starts)]
    gone = before.filter(status="kept").join(manifest, on="path", how="anti").join(manifest, on="sha256", how="anti")
    return gone.filter(pl.any_horizontal(inside)).select("label", bad=pl.lit(True))


def _share(code: Code, aspect: str, bad: int, count: int, allowed: float, hidden: int = 0) -> Violation:
    found = f"{bad} of {count} images quarantined ({bad / count:.1%})"
    hint = ""
    if hidden:
        found += f", {hidden} of them in damaged files of the source, which the version before has"
        hint = "fetch the damaged files again, or take them out of the source"
    return _violation(code, aspect=aspect, expected=f"at most {allowed:.1%}", found=found, hint=hint)


def _violation(code: Code, *, aspect: str, expected: str, found: str, hint: str = "") -> Violation:
    return Violation(code=code, stage="publish", aspect=aspect, expected=expected, found=found, hint=hint)
