"""Labels and balance: whether every class has images enough, and has them where they are needed.

What is counted is a class table, a row a class; pandera holds it against the rules, all classes at once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import pandera.polars as pa
import polars as pl
from annotated_types import Ge, Gt, Lt

from nhwc.validators.schema import broken_rules, rows_at_fault
from nhwc.validators.splits import SPLITS
from nhwc.validators.violation import Code, Violation

_NAMED = 20
"""So many classes are named by one rule; of what is more, the number."""


@dataclass(frozen=True, kw_only=True)
class BalanceThresholds:
    """Where a count of the class table becomes a finding.

    "The sets" are clothing (48 to 157 images a class), flowers (40), sign digits (90), clip art (68 to 70),
    Fashion-MNIST (1,000) and the cell pictures (2 to 8); tests/validators/test_balance_corpus.py holds them against the
    defaults.

    Args:
        fewest: images that a class needs, all splits together. With one image a class is learnt or measured, never
            both. The cell pictures have a class of 2, so more cannot be asked for of every set.
        imbalance: how many times as many images to learn from the largest class may have. Over 100 seeds the sets come
            to 6.5 at most, in train; at 20, a model of two classes that never says the smaller one is right 95 times in
            100.
        held_out: a class that is in train alone is a finding where at least so many of its images would be in the
            other splits, were it divided as the whole set is: 2 of 10 with splits of 0.8, 0.1, 0.1. Whole images and
            near-duplicates that stay together leave the cell pictures' classes at 1.14 at most, over 100 seeds. Were
            images divided by chance, a class at 2 would be in train alone once in 7 times.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}  # an unknown key in a recipe is an error

    fewest: Annotated[int, Ge(1)] = 2
    imbalance: Annotated[float, Ge(1), Lt(math.inf)] = 20.0
    held_out: Annotated[float, Gt(0), Lt(math.inf)] = 2.0


@dataclass(frozen=True, kw_only=True)
class _Rule:
    """What must hold of a row of the class table, and what is said where it does not."""

    code: Code
    holds: pl.Expr
    expected: str
    found: pl.Expr


def class_table(manifest: pl.DataFrame, classes: Sequence[str]) -> pl.DataFrame:
    """How many images each class has, a row a class, in the order of their ids.

    Args:
        manifest: with status, label and split; skipped rows do not count, nor do labels that are not in `classes`.
        classes: class names in the order of their ids.

    Returns:
        label (String), label_id (Int32), and as Int64 kept, quarantined, and of those that are kept train, validation,
        test.
    """
    kept = pl.col("status") == "kept"
    counts = manifest.group_by("label").agg(
        kept=kept.sum(),
        quarantined=(pl.col("status") == "quarantined").sum(),
        **{split: (kept & (pl.col("split") == split)).sum() for split in SPLITS},
    )
    counted = pl.col("kept", "quarantined", *SPLITS).fill_null(0).cast(pl.Int64)
    return (
        pl.DataFrame({"label": classes}, schema={"label": pl.String})
        .with_row_index("label_id")
        .select("label", pl.col("label_id").cast(pl.Int32))
        .join(counts, on="label", how="left", maintain_order="left")
        .with_columns(counted)
    )


def judge_balance(
    manifest: pl.DataFrame, classes: Sequence[str], thresholds: BalanceThresholds
) -> tuple[Violation, ...]:
    """Every class with too few images, far fewer than the largest, none to learn from, or none to be measured by.

    A class without any kept image is left to EMPTY_CLASS, which ingest finds. Where no image at all is in train, that
    is the one finding about splits. Rules are told in this order, the classes of each in the order of their ids.

    Args:
        manifest, classes: see `class_table`.
        thresholds: where a count becomes a finding.
    """
    table = class_table(manifest, classes)
    train, others = (int(table.select(pl.sum_horizontal(names).sum()).item()) for names in (["train"], SPLITS[1:]))
    if others and not train:
        return (_no_train(others), *_broken(table, [_small(thresholds)]))
    if not others and not train:
        table = table.with_columns(train="kept")  # no splits: all is there to learn from
    rules = [_small(thresholds), _imbalance(table, thresholds)]
    if others:
        rules += [_unlearnt(), _unmeasured(others / (train + others), thresholds)]
    return tuple(_broken(table, rules))


def _small(limits: BalanceThresholds) -> _Rule:
    return _Rule(
        code=Code.SMALL_CLASS,
        holds=(pl.col("kept") == 0) | (pl.col("kept") >= limits.fewest),
        expected=f"{limits.fewest} or more images of it",
        found=pl.col("kept").cast(pl.String),
    )


def _imbalance(table: pl.DataFrame, limits: BalanceThresholds) -> _Rule:
    """Of the images in train. A class with too few of them to be one, or with none, is another rule's finding."""
    largest = table.sort("train", "label_id", descending=[True, False]).head(1)
    most, label = (largest["train"].sum(), "".join(largest["label"]))
    judged = (pl.col("kept") >= limits.fewest) & (pl.col("train") > 0)
    return _Rule(
        code=Code.IMBALANCE,
        holds=~judged | (pl.col("train") * limits.imbalance >= most),
        expected=f"at least 1 image in train for {limits.imbalance:g} of the largest class, {label}",
        found=pl.format("{} for {}, which is 1 for {}", "train", pl.lit(most), (most / pl.col("train")).round(1)),
    )


def _unlearnt() -> _Rule:
    return _Rule(
        code=Code.UNLEARNT_CLASS,
        holds=(pl.col("train") > 0) | (pl.sum_horizontal("validation", "test") == 0),
        expected="images of it in train",
        found=pl.format("none in train, {} in validation, {} in test", "validation", "test"),
    )


def _unmeasured(share: float, limits: BalanceThresholds) -> _Rule:
    """`share`: of the kept images those in validation and test."""
    measured = pl.sum_horizontal("validation", "test") > 0
    return _Rule(
        code=Code.UNMEASURED_CLASS,
        holds=measured | (pl.col("train") * share < limits.held_out),
        expected="images of it in validation or test",
        found=pl.format("all {} in train", "train"),
    )


def _broken(table: pl.DataFrame, rules: Sequence[_Rule]) -> Iterator[Violation]:
    """What pandera finds broken, class by class."""
    by_code = {rule.code.value: rule for rule in rules}
    for error in broken_rules(pa.DataFrameSchema(checks=[_check(rule) for rule in rules]), table):
        broken = rows_at_fault(error, table)
        if broken is None:  # a rule of ours that could not be looked at must not pass for one that holds
            raise error
        yield from _of_classes(by_code[error.check.name], broken)


def _check(rule: _Rule) -> pa.Check:
    return pa.Check(lambda table: table.lazyframe.select(rule.holds), name=rule.code.value)


def _of_classes(rule: _Rule, broken: pl.DataFrame) -> Iterator[Violation]:
    """The classes that break a rule; of more than `_NAMED`, how many more there are."""
    for label, found in broken.head(_NAMED).select("label", found=rule.found).iter_rows():
        yield _violation(rule.code, aspect=f"class {label}", expected=rule.expected, found=found)
    if broken.height > _NAMED:
        found = f"{broken.height - _NAMED} more"
        yield _violation(rule.code, aspect="classes", expected=rule.expected, found=found)


def _no_train(others: int) -> Violation:
    found = f"none, and {others} in validation and test"
    return _violation(Code.NO_TRAIN, aspect="train", expected="images in train", found=found)


def _violation(code: Code, *, aspect: str, expected: str, found: str) -> Violation:
    return Violation(code=code, stage="balance", aspect=aspect, expected=expected, found=found)
