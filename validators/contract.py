"""What a tensor must be: named axes, a dtype and a value range.

A contract says nothing of how it is checked. `check.compare` holds it against what was found, and the
three checkers (`spec`, `guard`, `array`) differ only in how they find it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

Size = int | tuple[int, ...] | None
"""One size, a choice of sizes, or None: any size."""

INTEGER_RANGES: dict[str, tuple[int, int]] = {
    "uint8": (0, 2**8 - 1),
    "uint16": (0, 2**16 - 1),
    "int8": (-(2**7), 2**7 - 1),
    "int16": (-(2**15), 2**15 - 1),
    "int32": (-(2**31), 2**31 - 1),
    "bool": (0, 1),
}
"""Every value that such a dtype can hold: a range around it needs no look at the values."""


@dataclass(frozen=True)
class Axis:
    """One axis of a tensor: its name and the sizes that are allowed (None: any).

    Raises ValueError where it has no name, or a size that no axis can have.
    """

    name: str
    size: Size = None

    def __post_init__(self) -> None:
        """Refuse what no axis is."""
        problems = []
        if not isinstance(self.name, str) or not self.name:
            problems.append(f"name: found {self.name!r}, expected text, as 'rows'")
        several = isinstance(self.size, tuple)
        sizes = self.size if isinstance(self.size, tuple) else () if self.size is None else (self.size,)
        if (several and not sizes) or not all(type(one) is int and one >= 0 for one in sizes):
            problems.append(f"size: found {self.size!r}, expected a whole number, a tuple of some, or None: any")
        if problems:
            raise ValueError(f"Axis: {'; '.join(problems)}")

    def allows(self, size: int) -> bool:
        """Whether an axis of this size keeps the contract."""
        if self.size is None:
            return True
        return size in self.size if isinstance(self.size, tuple) else size == self.size

    @property
    def expected(self) -> str:
        """The allowed sizes in words: `any`, `224` or `1|3`."""
        if self.size is None:
            return "any"
        return "|".join(map(str, self.size)) if isinstance(self.size, tuple) else str(self.size)

    def __str__(self) -> str:
        return f"{self.name}={self.expected}"


@dataclass(frozen=True, kw_only=True)
class TensorContract:
    """What a tensor must be at one place of the pipeline.

    Args:
        axes: the axes in order, for instance rows, cols, channels.
        dtype: the dtype's name, or a tuple of the names that are allowed.
        value_range: lowest and highest value allowed, both included; None: any finite or other value.

    Raises ValueError, with all that is wrong, where no tensor can be so.
    """

    axes: tuple[Axis, ...]
    dtype: str | tuple[str, ...]
    value_range: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        """Refuse what no tensor can be."""
        if problems := [*_wrong_axes(self.axes), *_wrong_dtypes(self.dtype), *_wrong_range(self.value_range)]:
            raise ValueError(f"TensorContract: {'; '.join(problems)}")

    @property
    def rank(self) -> int:
        """The number of axes."""
        return len(self.axes)

    @property
    def is_batch(self) -> bool:
        """Whether the first axis is `samples`."""
        return self.axes[:1] != () and self.axes[0].name == "samples"

    @property
    def dtypes(self) -> tuple[str, ...]:
        """The dtypes that are allowed."""
        return self.dtype if isinstance(self.dtype, tuple) else (self.dtype,)

    @property
    def shape(self) -> tuple[int | None, ...]:
        """The sizes in order; None where more than one is allowed."""
        return tuple(axis.size if isinstance(axis.size, int) else None for axis in self.axes)

    @property
    def sizes(self) -> tuple[int, ...]:
        """The shape of a contract whose every size is one number. Raises ValueError for any other."""
        sizes = tuple(axis.size for axis in self.axes if isinstance(axis.size, int))
        if len(sizes) != self.rank:
            raise ValueError(f"{self} leaves a size open")
        return sizes

    @property
    def item_bytes(self) -> int:
        """What one such tensor takes, of the first dtype that is allowed. Raises ValueError where a size is open."""
        return math.prod(self.sizes) * np.dtype(self.dtypes[0]).itemsize

    @property
    def is_determined(self) -> bool:
        """Whether every size is one number, the dtype is one, and a value range is given."""
        return None not in self.shape and isinstance(self.dtype, str) and self.value_range is not None

    def range_settled_by(self, dtype: str) -> bool:
        """Whether no value of this dtype can lie outside the value range: then no value needs a look."""
        if self.value_range is None:
            return True
        lowest, highest = INTEGER_RANGES.get(dtype, (-math.inf, math.inf))
        return self.value_range[0] <= lowest and highest <= self.value_range[1]

    def axis(self, name: str) -> Axis:
        """The axis of that name. Raises KeyError where the contract has none."""
        for axis in self.axes:
            if axis.name == name:
                return axis
        raise KeyError(f"{self} has no axis {name!r}")

    def with_axis(self, name: str, size: Size) -> TensorContract:
        """The same contract with another size on one axis."""
        self.axis(name)
        return replace(self, axes=tuple(Axis(name, size) if axis.name == name else axis for axis in self.axes))

    def batched(self, samples: int | None) -> TensorContract:
        """The contract of a batch of such tensors: an axis `samples` in front."""
        return replace(self, axes=(Axis("samples", samples), *self.axes))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for YAML; `from_dict` reads them back equal."""
        return {
            # a list, since YAML and JSON writers may sort the keys of a mapping, and rows must stay before cols
            "axes": [
                {"name": axis.name, "size": list(axis.size) if isinstance(axis.size, tuple) else axis.size}
                for axis in self.axes
            ],
            "dtype": list(self.dtype) if isinstance(self.dtype, tuple) else self.dtype,
            "value_range": None if self.value_range is None else list(self.value_range),
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> TensorContract:
        """The contract that `to_dict` wrote. Raises KeyError where a part is missing."""
        dtype, value_range = plain["dtype"], plain["value_range"]
        return cls(
            axes=tuple(
                Axis(axis["name"], tuple(axis["size"]) if isinstance(axis["size"], list) else axis["size"])
                for axis in plain["axes"]
            ),
            dtype=tuple(dtype) if isinstance(dtype, list) else dtype,
            value_range=None if value_range is None else tuple(value_range),
        )

    def __str__(self) -> str:
        text = f"{'|'.join(self.dtypes)}[{', '.join(map(str, self.axes))}]"
        return text if self.value_range is None else f"{text} in {interval(*self.value_range)}"


def _wrong_axes(axes: Any) -> list[str]:
    if not isinstance(axes, tuple) or not all(isinstance(axis, Axis) for axis in axes):
        return [f"axes: found {axes!r}, expected a tuple of Axis"]
    names = [axis.name for axis in axes]
    twice = sorted({name for name in names if names.count(name) > 1})
    return [f"axes: found {', '.join(twice)} more than once, expected each axis once"] if twice else []


def _wrong_dtypes(dtype: Any) -> list[str]:
    names = dtype if isinstance(dtype, tuple) and dtype else (dtype,)
    if all(isinstance(name, str) and _is_dtype(name) for name in names):
        return []
    return [f"dtype: found {dtype!r}, expected a dtype's whole name, as 'uint8', or a tuple of some"]


def _wrong_range(value_range: Any) -> list[str]:
    try:
        low, high = (0, 0) if value_range is None else value_range
        in_order = bool(low <= high)  # not of NaN
    except (TypeError, ValueError):  # no pair, or none of numbers
        in_order = False
    return [] if in_order else [f"value_range: found {value_range!r}, expected (lowest, highest), or None: any"]


_OF_OTHERS = re.compile(r"bfloat16|string|float[468]_e\w+|u?int[1-7]")
"""Dtypes that TensorFlow has beside those of NumPy."""


@lru_cache(maxsize=64)
def _is_dtype(name: str) -> bool:
    """Whether a dtype is called so, and not only understood by NumPy, which takes `u` for one too."""
    try:
        return _OF_OTHERS.fullmatch(name) is not None or np.dtype(name).name == name
    except (TypeError, ValueError, SyntaxError):
        return False


def interval(low: float, high: float) -> str:
    """Both ends in words, as `[0, 255]`: short where that is exact, and in full where it is not."""
    return f"[{_number(low)}, {_number(high)}]"


def _number(value: float) -> str:
    short = f"{value:g}"
    return short if float(short) == value else str(value)


def image_contract(
    *, rows: Size, cols: Size, channels: Size, dtype: str | tuple[str, ...], value_range: tuple[float, float] | None
) -> TensorContract:
    """The contract of one image: axes rows, cols, channels, in this order."""
    return TensorContract(
        axes=(Axis("rows", rows), Axis("cols", cols), Axis("channels", channels)), dtype=dtype, value_range=value_range
    )
