"""What was found, and what was left out, gathered by code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import polars as pl

from nhwc.flows.subject import Subject
from nhwc.validators.verdict import Verdict
from nhwc.validators.violation import Code, Violation

PICTURES = 12
"""Thumbnails that a group's gallery has at most."""

NAMES = 1_000
"""File names that a group lists at most."""

_CODES = {str(code): code for code in Code}

_SHOWN = ("sample_id", "path", "label", "split", "expected", "found")
"""What a group says of each entry."""

_PLACE = ("path", "label", "split", "cluster")


@dataclass(frozen=True, kw_only=True)
class Group:
    """All entries with one code at one level.

    Args:
        level: refuse or warn; quarantined or skipped.
        code: its name.
        count: findings, or entries left out.
        samples: how many different samples they are of.
        share: of the kept samples; of all discovered entries where some of them were left out.
        whole: which of the two, in words.
        meaning, hints: what it means and how to mend it.
        entries: the first NAMES, each with _SHOWN.
    """

    level: str
    code: str
    count: int
    samples: int
    share: float
    whole: str
    meaning: str
    hints: tuple[str, ...]
    entries: tuple[dict[str, Any], ...]

    @property
    def gallery(self) -> tuple[dict[str, Any], ...]:
        """The entries that are shown as pictures."""
        return self.entries[:PICTURES]

    @property
    def unlisted(self) -> int:
        """How many entries are not listed."""
        return self.count - len(self.entries)


def finding_groups(subject: Subject, verdict: Verdict) -> list[Group]:
    """The findings about samples, by level and code: those that refuse first, the most frequent first."""
    found = pl.concat([_frame("refuse", verdict.violations), _frame("warn", verdict.warnings)])
    places = subject.manifest.select("sample_id", "status", *_PLACE)
    found = found.join(places, on="sample_id", how="left", maintain_order="left")
    # a sample that no manifest names is shown by its id; copies stand side by side
    found = found.with_columns(
        pl.col("path").fill_null(pl.col("sample_id")),
        pl.when(pl.col("stage") == "duplicates").then("cluster").alias("cluster"),
    )
    return _groups(found, subject.manifest, order=("refuse", "warn"))


def left_out_groups(subject: Subject) -> list[Group]:
    """The entries that were not kept, by status and code: quarantined first, the most frequent first."""
    columns = [
        "status",
        pl.col("status").alias("level"),
        "code",
        "hint",
        *_SHOWN,
        pl.lit(None, pl.String).alias("cluster"),
    ]
    left_out = subject.manifest.select(columns).filter(pl.col("level") != "kept")
    return _groups(left_out, subject.manifest, order=("quarantined", "skipped"))


def note_counts(kept: pl.DataFrame) -> list[tuple[str, int, str]]:
    """(code, samples, meaning) of what kept samples are remarkable for, most frequent first."""
    notes = kept.select(pl.col("notes").list.explode().drop_nulls().alias("code")).group_by("code").len()
    return [(code, count, meaning(code)) for code, count in notes.sort("len", "code", descending=[True, False]).rows()]


def meaning(code: str) -> str:
    """What a code means; nothing where it is none."""
    return _CODES[code].meaning if code in _CODES else ""


def _frame(level: str, violations: Iterable[Violation]) -> pl.DataFrame:
    """A row a finding about a sample."""
    of_samples = [one for one in violations if one.sample_id is not None]
    names = ("sample_id", "stage", "expected", "found", "hint")
    columns = {name: [getattr(one, name) for one in of_samples] for name in names}
    columns |= {"level": [level] * len(of_samples), "code": [str(one.code) for one in of_samples]}
    return pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String))


def _groups(rows: pl.DataFrame, manifest: pl.DataFrame, *, order: tuple[str, ...]) -> list[Group]:
    rows = rows.with_columns(pl.col("code").fill_null("without a code")).sort("cluster", "path", maintain_order=True)
    kept = int((manifest["status"] == "kept").sum())
    parts = rows.partition_by("level", "code", maintain_order=True)
    groups = [_group(part, kept=kept, discovered=manifest.height) for part in parts]
    return sorted(groups, key=lambda group: (order.index(group.level), -group.count, group.code))


def _group(rows: pl.DataFrame, *, kept: int, discovered: int) -> Group:
    samples, left_out = rows["sample_id"].n_unique(), (rows["status"] != "kept").any()
    of = discovered if left_out else kept
    return Group(
        level=rows["level"][0],
        code=rows["code"][0],
        count=rows.height,
        samples=samples,
        share=samples / of if of else 0,
        whole="what was discovered" if left_out else "what was kept",
        meaning=meaning(rows["code"][0]),
        hints=tuple(rows["hint"].drop_nulls().unique(maintain_order=True).head(3)),
        entries=tuple(rows.select(_SHOWN).head(NAMES).iter_rows(named=True)),
    )


def some_of_each_class(kept: pl.DataFrame, *, each: int, most: int) -> list[dict[str, Any]]:
    """Kept samples of every class, chosen by their ids, which are hashes: the same ones whenever the same are there."""
    chosen = kept.select("sample_id", "path", "label", "split").sort("sample_id")
    chosen = chosen.with_columns(pl.int_range(pl.len()).over("label").alias("turn")).filter(pl.col("turn") < each)
    return chosen.sort("turn", "label").head(most).sort("label", "turn").drop("turn").to_dicts()


def of_the_dataset(verdict: Verdict) -> Iterator[tuple[str, Violation]]:
    """(level, finding) of what concerns no single sample, those that refuse first."""
    for level, violations in (("refuse", verdict.violations), ("warn", verdict.warnings)):
        yield from ((level, one) for one in violations if one.sample_id is None)


@dataclass(frozen=True, kw_only=True)
class Reason:
    """One code beneath the verdict: its level, how many findings it has, and where on the page they stand."""

    level: str
    code: str
    count: int
    target: str


def reasons(verdict: Verdict, groups: Iterable[Group]) -> list[Reason]:
    """Every code that was found, those that refuse first, and of these what concerns the dataset as a whole."""
    whole = Counter((level, str(one.code)) for level, one in of_the_dataset(verdict))
    found = [
        Reason(level=level, code=code, count=count, target="dataset-findings") for (level, code), count in whole.items()
    ]
    found += [
        Reason(level=one.level, code=one.code, count=one.count, target=f"{one.level}-{one.code}") for one in groups
    ]
    return sorted(found, key=lambda reason: reason.level != "refuse")
