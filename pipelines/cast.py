"""Cast: stored values to the scale and dtype that a model takes, with the proof that none leaves its range."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

import ml_dtypes  # noqa: F401  by it NumPy knows bfloat16
import numpy as np

from nhwc.validators.array import check_array
from nhwc.validators.contract import Axis, TensorContract

if TYPE_CHECKING:
    import tensorflow as tf

Array = np.ndarray[Any, Any]
ToDtype = Callable[[Array, str], Array]
"""The same values in the dtype of that name."""
New = Callable[[tuple[int, ...], str], Array]
"""From (shape, dtype): an array to be written into, C-contiguous, whatever it holds."""


def by_numpy(images: Array, dtype: str) -> Array:
    """A ToDtype."""
    return images.astype(dtype)


Scale = Literal["none", "unit", "signed", "standard"]
SCALES: tuple[str, ...] = get_args(Scale)

SPACING = {"float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}
"""Each float dtype that can be asked for, with the distance from 1 to the next number it holds."""


@dataclass(frozen=True, kw_only=True)
class ChannelStatistics:
    """Mean and standard deviation of each channel, of stored values."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def spread(self) -> tuple[float, ...]:
        """What each channel is divided by: its standard deviation, or 1 where that is 0 (it is then only centred)."""
        return tuple(std or 1.0 for std in self.std)

    @classmethod
    def of_splits(cls, channels: Mapping[str, Mapping[str, Sequence[float]]]) -> ChannelStatistics:
        """Those that a training is scaled by: of its own split, or of all samples where none is called train."""
        chosen = channels.get("train") or channels["all"]
        return cls(mean=tuple(chosen["mean"]), std=tuple(chosen["std"]))


def cast_dtype(stored: TensorContract, *, scale: str, dtype: str | None) -> str:
    """The dtype that comes out: the one asked for; else the stored one for scale `none`, float32 for any other."""
    return dtype or (stored.dtypes[0] if scale == "none" else "float32")


def cast_contract(
    stored: TensorContract,
    *,
    scale: str = "none",
    dtype: str | None = None,
    statistics: ChannelStatistics | None = None,
) -> TensorContract:
    """What an image is after the cast.

    Args:
        stored: of a stored image, fully determined: axes rows, cols, channels.
        scale: `none` keeps stored values, `unit` is [0, 1], `signed` [-1, 1], `standard` (x - mean) / std per channel.
        dtype: see `cast_dtype`.
        statistics: of the channels, for `standard`; without it that scale's range is left open.
    """
    ranges = {"none": stored.value_range, "unit": (0, 1), "signed": (-1, 1)}
    becomes = cast_dtype(stored, scale=scale, dtype=dtype)
    value_range = _standard_range(stored, becomes, statistics) if scale == "standard" else ranges[scale]
    return replace(stored, dtype=becomes, value_range=value_range)


def _standard_range(
    stored: TensorContract, dtype: str, statistics: ChannelStatistics | None
) -> tuple[float, float] | None:
    """The ends of the stored range, standardised in float64, and as much around them as rounding can add."""
    if statistics is None or stored.value_range is None:
        return None
    low, high = stored.value_range
    lows, highs = [], []
    for mean, spread in zip(statistics.mean, statistics.spread, strict=True):
        # less than half a spacing each: mean, difference, spread, quotient, and the cast to the dtype
        rounding = 2 * SPACING.get(dtype, 0.0) * max(abs(low), abs(high), abs(mean)) / spread
        lows.append((low - mean) / spread - rounding)
        highs.append((high - mean) / spread + rounding)
    return min(lows), max(highs)


@dataclass(frozen=True, kw_only=True)
class Cast:
    """The transform (x - shift) / spread, computed in float32, then brought to its dtype.

    Args:
        dtype: what comes out.
        shift, spread: float32[channels] or float32[]; None: the values stay, only the dtype changes.

    As by division in float32, not by multiplying with its reciprocal: with scale `unit` and `signed` every result is
    the float32 nearest to the exact one, and the ends of the stored range fall exactly on 0, 1 and -1.
    """

    dtype: str
    shift: Array | None = None
    spread: Array | None = None

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        """Cast a batch: (samples, rows, cols, channels) of any stored dtype to the same shape of this dtype."""
        import tensorflow as tf  # noqa: PLC0415  contracts are printed without it

        if self.shift is not None and self.spread is not None:
            images = tf.cast(images, tf.float32)
            if self.shift.any():
                images = images - self.shift
            images = images / self.spread
        return tf.cast(images, self.dtype)

    @property
    def in_float32(self) -> bool:
        """Whether a float32 is on the way, or is what comes out."""
        return self.spread is not None or self.dtype == "float32"

    def write(self, images: Array, rows: Array, into: Array, places: Array) -> None:
        """The same on the host, in memory that is there, up to the float32 (`in_float32`); other threads may run.

        Args:
            images: (samples, rows, cols, channels) of the stored dtype, C-contiguous.
            rows: int64[n]: which of them.
            into: float32 (samples, rows, cols, channels), C-contiguous.
            places: int64[n]: where in it.
        """
        from nhwc.pipelines.loops import write_quotients  # noqa: PLC0415  numba, which contracts are printed without

        cols, channels = images.shape[-2:]
        shift = np.zeros(1, np.float32) if self.shift is None else self.shift
        spread = np.ones(1, np.float32) if self.spread is None else self.spread
        shifts, spreads = (np.tile(np.broadcast_to(one, channels), cols) for one in (shift, spread))
        lines = (-1, images.shape[1], cols * channels)  # as long as a row of the image, not as its channels
        write_quotients(
            images.reshape(lines), rows, shifts, 1 / spreads.astype(np.float64), into.reshape(lines), places
        )

    def on_host(self, images: Array, new: New = np.empty, to_dtype: ToDtype = by_numpy) -> Array:
        """A call without TensorFlow: (samples, rows, cols, channels), C-contiguous, to an array of the dtype.

        The very array, where nothing changes. `new` makes the array for what is computed in float32.
        """
        if self.spread is not None:
            floats, every = new(images.shape, "float32"), np.arange(len(images))
            self.write(images, every, floats, every)
            images = floats
        return images if images.dtype == self.dtype else to_dtype(images, self.dtype)


def make_cast(
    stored: TensorContract,
    *,
    scale: str = "none",
    dtype: str | None = None,
    statistics: ChannelStatistics | None = None,
) -> Cast:
    """The cast from stored images to that scale and dtype; `statistics` is needed for `standard`.

    Raises ValueError where they are missing.
    """
    becomes = cast_dtype(stored, scale=scale, dtype=dtype)
    if scale == "none" or stored.value_range is None:
        return Cast(dtype=becomes)
    low, high = (np.asarray(end, np.float32) for end in stored.value_range)
    if scale == "standard":
        if statistics is None:
            raise ValueError("scale: found standard without statistics, expected the channels' mean and spread")
        return Cast(
            dtype=becomes,
            shift=np.asarray(statistics.mean, np.float32),
            spread=np.asarray(statistics.spread, np.float32),
        )
    if scale == "signed":
        middle = np.asarray((low + high) / 2)
        return Cast(dtype=becomes, shift=middle, spread=np.maximum(high - middle, middle - low))
    return Cast(dtype=becomes, shift=low, spread=np.asarray(high - low))


def cast_problems(cast: Cast, stored: TensorContract, contract: TensorContract) -> list[str]:
    """What the cast would break of its contract, in words. Empty is a proof for every image that keeps `stored`.

    The cast never decreases from one value to a larger one (rounding does not either), so if both ends of the stored
    range keep the contract, all that lies between them does, and no batch needs a look.
    """
    if stored.value_range is None or contract.value_range is None:
        return [f"cast from {stored} to {contract}: found no value range, expected one on both sides"]
    ends = np.array(stored.value_range, stored.dtypes[0]).reshape(2, 1, 1, 1)
    ends = np.repeat(ends, stored.shape[-1] or 1, axis=-1)
    any_size = replace(contract, axes=tuple(Axis(axis.name) for axis in contract.batched(None).axes))
    with np.errstate(over="ignore"):  # a value that the dtype cannot hold becomes infinite, which is found here
        finding = check_array(any_size, cast.on_host(ends), stage="cast")
    return [
        f"cast to {contract}: the stored range [{stored.value_range[0]:g}, {stored.value_range[1]:g}] "
        f"becomes {violation.found}: choose another scale or dtype"
        for violation in finding.violations
    ]
