"""Which images a set should not have, by the figures that were measured of them.

`judge_quality` holds a manifest's figures against thresholds and sees no pixel. Dark, light, blurry, low information
and odd aspect have the thresholds of cleanvision 0.3.7 (github cleanlab/cleanvision, issue_managers/image_property.py).
Two are mended: odd size, whose fences flag a third of a set of ordinary photographs, and blurry, which looks at
smoothness besides.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
import polars as pl
from annotated_types import Ge, Lt

from nhwc.validators.quality import FIGURE_COLUMNS
from nhwc.validators.violation import Code

QUALITY_CODES = (
    Code.BLANK,
    Code.HALF_BLANK,
    Code.TINY,
    Code.DARK,
    Code.LIGHT,
    Code.BLURRY,
    Code.LOW_INFORMATION,
    Code.LOW_BIT_DEPTH,
    Code.GRAY,
    Code.ODD_ASPECT,
    Code.ODD_SIZE,
)
"""What `judge_quality` finds, in the order in which it is said."""


Amount = Annotated[float, Ge(0), Lt(math.inf)]
"""Of a figure: a number, and not the one that is none, with which every comparison is false."""


@dataclass(frozen=True, kw_only=True)
class QualityThresholds:
    """Where a figure of an image becomes a finding. The figures are columns of the manifest (docs/manifest.md).

    "Photographs" are the 953 of a clothing set and 200 of a flower set that the defaults were calibrated on; what
    they came to stands in tests/validators/test_quality_corpus.py.

    Args:
        dark: of brightness_p99, below it. cleanvision's.
        light: of brightness_p5, above it. cleanvision's, which says 1 - brightness_p5 < 0.05.
        sharp: of sharpness, below it: blurry. cleanvision's. It sees what is blurred at 64 pixels, and of photographs
            that were blurred by a thirtieth of their longer side about a quarter.
        smooth: of smoothness, above it: blurry. Photographs have up to 2.7; blurred by a Gaussian of 4 pixels of 500,
            3.0 and more, and of 8, 3.6.
        low_information: of entropy in bits, below it. cleanvision's. Photographs have 4.4 and more.
        low_bit_depth: of depth_used, below it: 5 of 8 bits come to 0.63, 8 bits in 16 to 0.5, photographs to 0.96.
        gray: of chroma, below it, if it is below `gray_contrast` times spread too, so that no dark or pale colour is
            taken for gray. Gray saved as colour JPEG comes to 0.01, photographs to 0.024 and more.
        gray_contrast: of chroma as a share of spread, below it: gray, if chroma is below `gray` too.
        gray_most: where more than this share of the set is gray, it is no colour set, and gray is not found.
        blank: of spread, below it: under 3 of 255 levels. Photographs have 0.067 and more.
        half_blank: of fill_share, from it on, where the fill is neither black nor white: photographs have none.
        half_blank_black: the same where the fill is black, as zeros of an unpacked format are: an object on a black
            ground leaves 0.15, dark microscopy 0.23. White is paper, and no finding.
        aspect: of the shorter side as a share of the longer, below it; cleanvision's. But only where the set is not so
            itself: `aspect_octaves` and three interquartile ranges from its median, in log2.
        aspect_octaves: the least distance from the set's median aspect, in log2.
        size_factor: of the root of rows x cols: an image is odd where it is more than so many times as large, or as
            small, as the set's median, and more than three interquartile ranges of log2 from it. cleanvision's fences
            are the second alone, which falls to nothing where most images have one size.
        tiny: of the shorter side in pixels, below it; only where the target asks for more rows or cols than there are.
        enlargement: an image is tiny too where its rows or cols are enlarged more than so many times.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}  # an unknown key in a recipe is an error

    dark: Amount = 0.32
    light: Amount = 0.95
    sharp: Amount = 0.29
    smooth: Amount = 2.9
    low_information: Amount = 3.0
    low_bit_depth: Amount = 0.7
    gray: Amount = 0.02
    gray_contrast: Amount = 0.25
    gray_most: Amount = 0.5
    blank: Amount = 0.01
    half_blank: Amount = 0.05
    half_blank_black: Amount = 0.4
    aspect: Amount = 0.35
    aspect_octaves: Amount = 1.0
    size_factor: Amount = 3.0
    tiny: Annotated[int, Ge(0)] = 16
    enlargement: Amount = 4.0


_IQRS = 3
"""Interquartile ranges from the median within which nothing is odd, as cleanvision's iqr_factor."""

_FOUND_SCHEMA = dict.fromkeys(("sample_id", "code", "aspect", "expected", "found"), pl.String)


@dataclass(frozen=True, kw_only=True)
class _Rule:
    """A finding: for which rows, and in which words."""

    code: Code
    aspect: str
    broken: pl.Expr
    expected: str
    found: pl.Expr


def judge_quality(
    kept: pl.DataFrame | pl.LazyFrame, thresholds: QualityThresholds, *, rows: int, cols: int, channels: int
) -> pl.DataFrame:
    """Every finding of every kept sample. A figure that is null, or NaN, gives none: see `unmeasured`.

    Args:
        kept: a row a sample: sample_id, the header's rows, cols and orientation, and FIGURE_COLUMNS. Of a LazyFrame
            only these are collected.
        rows, cols, channels: of the target.

    Returns:
        String columns sample_id, code (one of QUALITY_CODES), aspect, expected, found; by code in the order of
        QUALITY_CODES, and within it in the order of `kept`.
    """
    sideways = pl.col("orientation").fill_null(1) >= 5
    seen = (
        kept.lazy()
        .select(
            "sample_id",
            *FIGURE_COLUMNS,
            rows=pl.when(sideways).then("cols").otherwise("rows"),
            cols=pl.when(sideways).then("rows").otherwise("cols"),
        )
        .with_columns(
            short=pl.min_horizontal("rows", "cols"),
            aspect=pl.min_horizontal("rows", "cols") / pl.max_horizontal("rows", "cols"),
            size=(pl.col("rows").cast(pl.Float64) * pl.col("cols")).sqrt(),
        )
        .collect()
    )
    rules = (
        *_by_brightness(thresholds),
        *_by_content(thresholds, gray_share=_gray_share(seen, thresholds) if channels >= 3 else 1.0),
        *_by_shape(thresholds, rows=rows, cols=cols),
        *_by_the_set(seen, thresholds),
    )
    found = [
        seen.filter(rule.broken).select(
            "sample_id",
            code=pl.lit(rule.code.value),
            aspect=pl.lit(rule.aspect),
            expected=pl.lit(rule.expected),
            found=rule.found,
        )
        for rule in sorted(rules, key=lambda rule: QUALITY_CODES.index(rule.code))
    ]
    return pl.concat([pl.DataFrame(schema=_FOUND_SCHEMA), *found])


def unmeasured(kept: pl.DataFrame | pl.LazyFrame) -> int:
    """How many kept samples lack a figure: those of a version that was made before there were any."""
    lacking = pl.any_horizontal(pl.col(list(FIGURE_COLUMNS)).is_null())
    return int(kept.lazy().select(lacking.sum()).collect().item())


def _by_brightness(limits: QualityThresholds) -> Iterator[_Rule]:
    yield _Rule(
        code=Code.DARK,
        aspect="brightness",
        broken=pl.col("brightness_p99") < limits.dark,
        expected=f"a hundredth of the pixels at {limits.dark:g} or lighter",
        found=pl.format("a hundredth at {}", pl.col("brightness_p99").round(3)),
    )
    yield _Rule(
        code=Code.LIGHT,
        aspect="brightness",
        broken=pl.col("brightness_p5") > limits.light,
        expected=f"a twentieth of the pixels at {limits.light:g} or darker",
        found=pl.format("a twentieth at {}", pl.col("brightness_p5").round(3)),
    )


def _by_content(limits: QualityThresholds, *, gray_share: float) -> Iterator[_Rule]:
    blank = pl.col("spread") < limits.blank
    for code, figure, least in (
        (Code.LOW_INFORMATION, "entropy", limits.low_information),
        (Code.BLANK, "spread", limits.blank),
    ):
        yield _Rule(
            code=code,
            aspect=figure,
            broken=pl.col(figure) < least,
            expected=f"{least:g} or more",
            found=pl.format("{}", pl.col(figure).round(3)),
        )
    yield _Rule(
        code=Code.BLURRY,
        aspect="sharpness",
        broken=(pl.col("sharpness") < limits.sharp) | (pl.col("smoothness") > limits.smooth),
        expected=f"sharpness {limits.sharp:g} or more, smoothness {limits.smooth:g} or less",
        found=pl.format("sharpness {}, smoothness {}", pl.col("sharpness").round(2), pl.col("smoothness").round(2)),
    )
    yield _Rule(
        code=Code.LOW_BIT_DEPTH,
        aspect="bit depth",
        broken=(pl.col("depth_used") < limits.low_bit_depth) & ~blank,
        expected=f"{limits.low_bit_depth:.0%} of the bits used, or more",
        found=pl.format("{} %", (pl.col("depth_used") * 100).round(0).cast(pl.Int32)),
    )
    if gray_share <= limits.gray_most:
        yield _Rule(
            code=Code.GRAY,
            aspect="colour",
            broken=_is_gray(limits) & ~blank,
            expected=f"channels that differ by {limits.gray:g} or more somewhere",
            found=pl.format("by {}", pl.col("chroma").round(3)),
        )
    black, white = pl.col("fill_level") <= 0.02, pl.col("fill_level") >= 0.98
    share = pl.when(black).then(limits.half_blank_black).otherwise(limits.half_blank)
    yield _Rule(
        code=Code.HALF_BLANK,
        aspect="fill",
        broken=(pl.col("fill_share") >= share) & ~white & ~blank,
        expected=f"under {limits.half_blank:.0%} filled from one edge, or under {limits.half_blank_black:.0%} if black",
        found=pl.format("{} % filled", (pl.col("fill_share") * 100).round(0).cast(pl.Int32)),
    )


def _by_shape(limits: QualityThresholds, *, rows: int, cols: int) -> Iterator[_Rule]:
    enlarged = (pl.col("rows") < rows) | (pl.col("cols") < cols)
    far = (pl.col("rows") * limits.enlargement < rows) | (pl.col("cols") * limits.enlargement < cols)
    yield _Rule(
        code=Code.TINY,
        aspect="size",
        broken=far | (enlarged & (pl.col("short") < limits.tiny)),
        expected=f"sides of {limits.tiny} or more, enlarged at most {limits.enlargement:g} times to {rows} x {cols}",
        found=pl.format("{} x {}", "rows", "cols"),
    )


def _by_the_set(seen: pl.DataFrame, limits: QualityThresholds) -> Iterator[_Rule]:
    if seen.is_empty():
        return
    middle, reach = _middle_and_reach(seen["aspect"], limits.aspect_octaves)
    bound = min(limits.aspect, middle / reach)
    yield _Rule(
        code=Code.ODD_ASPECT,
        aspect="aspect",
        broken=pl.col("aspect") < bound,
        expected=f"a shorter side of {bound:.2g} of the longer or more; the set's median is {middle:.2g}",
        found=pl.format("{}: {} x {}", pl.col("aspect").round(3), "rows", "cols"),
    )
    middle, reach = _middle_and_reach(seen["size"], float(np.log2(limits.size_factor)))
    low, high = middle / reach, middle * reach
    yield _Rule(
        code=Code.ODD_SIZE,
        aspect="size",
        broken=(pl.col("size") < low) | (pl.col("size") > high),
        expected=f"root of rows x cols from {low:.0f} to {high:.0f}; the set's median is {middle:.0f}",
        found=pl.format("{}: {} x {}", pl.col("size").round(0).cast(pl.Int64), "rows", "cols"),
    )


def _middle_and_reach(values: pl.Series, least: float) -> tuple[float, float]:
    """The median, and the factor from it up to which nothing is odd: `least` or three IQRs, both in log2."""
    octaves = values.log(2)
    low, middle, high = (octaves.quantile(share, "linear") or 0.0 for share in (0.25, 0.5, 0.75))
    return 2.0**middle, 2.0 ** max(least, _IQRS * (high - low))


def _gray_share(seen: pl.DataFrame, limits: QualityThresholds) -> float:
    share = seen.select(_is_gray(limits).mean()).item()
    return 1.0 if share is None else float(share)


def _is_gray(limits: QualityThresholds) -> pl.Expr:
    return (pl.col("chroma") < limits.gray) & (pl.col("chroma") < limits.gray_contrast * pl.col("spread"))
