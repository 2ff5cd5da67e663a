"""How much each finding weighs: refuse the data, warn, or say nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

from nhwc.validators.quality_rules import QUALITY_CODES
from nhwc.validators.verdict import Verdict
from nhwc.validators.violation import Code, Violation

Level = Literal["refuse", "warn", "off"]

WARNING = (frozenset(QUALITY_CODES) - {Code.BLANK, Code.HALF_BLANK, Code.TINY}) | {
    # copies: wasteful, and harmless as long as label and split agree
    Code.SAME_BYTES,
    Code.SAME_PIXELS,
    Code.NEAR_DUPLICATE,
    # classes
    Code.EMPTY_CLASS,
    Code.CASE_TWINS,
    Code.SMALL_CLASS,
    Code.IMBALANCE,
    Code.UNMEASURED_CLASS,
    # the user's own rules that only warn
    Code.OWN_WARNING,
    # a comparison with a baseline
    Code.NEW_CLASS,
    Code.CLASS_DRIFT,
    Code.SIZE_DRIFT,
    Code.PIXEL_DRIFT,
    Code.FORMAT_DRIFT,
    # a model: likely, not certain
    Code.MODEL_UNSCALED,
    Code.MODEL_UNDETERMINED,
}
"""What warns unless a recipe says otherwise; everything else refuses."""


def judge(violations: Iterable[Violation], levels: Mapping[Code, Level], figures: Mapping[str, float]) -> Verdict:
    """The verdict that findings come to.

    Args:
        violations: every finding.
        levels: the recipe's, by code; a code that is not in it warns or refuses as WARNING says.
        figures: what was counted or measured, by name.
    """
    weighed: dict[Level, list[Violation]] = {"refuse": [], "warn": [], "off": []}
    for violation in violations:
        default: Level = "warn" if violation.code in WARNING else "refuse"
        weighed[levels.get(violation.code, default)].append(violation)
    return Verdict(violations=tuple(weighed["refuse"]), warnings=tuple(weighed["warn"]), figures=figures)
