"""Hold a contract against what was found of a tensor: the one comparison behind all three checkers."""

from __future__ import annotations

import math
from dataclasses import dataclass

from nhwc.validators.contract import TensorContract, interval
from nhwc.validators.violation import Code, Violation


@dataclass(frozen=True, kw_only=True)
class Found:
    """What is known of a tensor. None means: not determined by whoever looked.

    Args:
        sizes: the size of each axis; None where the rank itself is unknown.
        dtype: the dtype's name.
        low, high: smallest and largest value; NaN where any value is not a number.
    """

    sizes: tuple[int | None, ...] | None
    dtype: str
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a comparison came to: violations, and the aspects that could not be judged (never counted as passed)."""

    violations: tuple[Violation, ...] = ()
    undetermined: tuple[str, ...] = ()


def compare(contract: TensorContract, found: Found, *, stage: str, sample_id: str | None = None) -> Finding:
    """Every breach of the contract, and every aspect that what was found leaves open.

    Where the rank is wrong the axes cannot be told apart, so only the rank is reported for the shape.
    """
    violations: list[Violation] = []
    undetermined: list[str] = []

    def breach(code: Code, aspect: str, expected: str, seen: str, hint: str = "") -> None:
        violations.append(
            Violation(
                code=code, stage=stage, aspect=aspect, sample_id=sample_id, expected=expected, found=seen, hint=hint
            )
        )

    if found.sizes is None:
        undetermined += ["rank", *(axis.name for axis in contract.axes if axis.size is not None)]
    elif len(found.sizes) != contract.rank:
        names = ", ".join(axis.name for axis in contract.axes)
        breach(Code.WRONG_RANK, "rank", f"{contract.rank} ({names})", f"{len(found.sizes)} {_shown(found.sizes)}")
    else:
        for axis, size in zip(contract.axes, found.sizes, strict=True):
            if axis.size is None:
                continue
            if size is None:
                undetermined.append(axis.name)
            elif not axis.allows(size):
                code = Code.WRONG_CHANNELS if axis.name == "channels" else Code.WRONG_SIZE
                breach(code, axis.name, axis.expected, str(size), _swapped(contract, found.sizes))
    if found.dtype not in contract.dtypes:
        breach(Code.WRONG_DTYPE, "dtype", "|".join(contract.dtypes), found.dtype)
    if contract.value_range is not None and not contract.range_settled_by(found.dtype):
        low, high = contract.value_range
        if found.low is None or found.high is None:
            undetermined.append("range")
        elif not (low <= found.low and found.high <= high):
            breach(Code.OUT_OF_RANGE, "range", interval(low, high), _spread(found.low, found.high))
    return Finding(violations=tuple(violations), undetermined=tuple(undetermined))


def _swapped(contract: TensorContract, sizes: tuple[int | None, ...]) -> str:
    """How to mend sizes that fit once an axis is moved: channels that stand first, or rows and cols swapped."""
    names = [axis.name for axis in contract.axes]
    if names[-3:] != ["rows", "cols", "channels"] or None in sizes:
        return ""
    samples, (first, second, third) = sizes[:-3], sizes[-3:]

    def fits(*image: int | None) -> bool:
        pairs = zip(contract.axes, (*samples, *image), strict=True)
        return all(axis.size is None or size is None or axis.allows(size) for axis, size in pairs)

    if fits(first, second, third):
        return ""
    if fits(second, third, first):
        return f"the channels look like they come first, in {_shown(sizes)}: move that axis to the end (np.moveaxis)"
    return f"rows and cols look swapped, in {_shown(sizes)}: transpose them" if fits(second, first, third) else ""


def _shown(sizes: tuple[int | None, ...]) -> str:
    return "(" + ", ".join("?" if size is None else str(size) for size in sizes) + ")"


def _spread(low: float, high: float) -> str:
    return "values that are not numbers" if math.isnan(low) or math.isnan(high) else interval(low, high)
