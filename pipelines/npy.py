"""NumPy's own file format as an image's bytes: an array that never was a file travels like any other image.

A source of arrays hands out each image as such bytes, so probe, hashes, quarantine and shards know one kind of sample.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, Any, Literal

import numpy as np
from numpy.lib import format as npy_format

from nhwc.pipelines.stage import Array

MAGIC = npy_format.MAGIC_PREFIX

DEPTHS = {"bool": 1, "uint8": 8, "uint16": 16, "float16": 16, "float32": 32, "float64": 64}
"""Bits a value of each dtype that an image may have."""

FEWEST_CHANNELS, MOST_CHANNELS = 1, 4


def npy_bytes(image: Array) -> bytes:
    """An image as a .npy file's bytes, little-endian and in C order whatever it was, so that equal images are equal."""
    out = io.BytesIO()
    npy_format.write_array(out, np.ascontiguousarray(image, image.dtype.newbyteorder("<")), allow_pickle=False)
    return out.getvalue()


@dataclass(frozen=True, kw_only=True)
class NpyHeader:
    """What a .npy file says of the values that follow."""

    shape: tuple[int, ...]
    in_fortran_order: bool
    dtype: np.dtype[Any]

    @property
    def order(self) -> Literal["C", "F"]:
        """Of its axes in memory."""
        return "F" if self.in_fortran_order else "C"

    @property
    def size(self) -> int:
        """Bytes of all values."""
        return math.prod(self.shape) * self.dtype.itemsize


_DESCR = re.compile(r"'descr'\s*:\s*'([<>|=]?[biufcSUOVmM]\d*(?:\[\w+\])?)'")
_ORDER = re.compile(r"'fortran_order'\s*:\s*(True|False)")
_SHAPE = re.compile(r"'shape'\s*:\s*\(([\d, ]*)\)")
_MOST_HEADER = 10_000


def read_npy_header(file: IO[bytes]) -> NpyHeader:
    """The header that begins here; the values follow. Raises ValueError where there is none that is plain.

    It is read by patterns, since NumPy's own reader takes it for Python, and lets any of the parser's errors through.
    """
    magic = file.read(len(MAGIC) + 2)
    if magic[:-2] != MAGIC or magic[-2] not in (1, 2, 3):
        raise ValueError(f"bytes {magic.hex(' ')} where a .npy begins")
    length = int.from_bytes(file.read(2 if magic[-2] == 1 else 4), "little")
    text = file.read(min(length, _MOST_HEADER)).decode("latin-1")
    descr, order, shape = (pattern.search(text) for pattern in (_DESCR, _ORDER, _SHAPE))
    if len(text) < length or descr is None or order is None or shape is None:
        raise ValueError(f"a header of {length:,} bytes, {text[:100]!r}")
    try:
        dtype = np.dtype(descr[1])
        sizes = tuple(int(size) for size in shape[1].split(",") if size.strip())
    except (TypeError, ValueError) as error:
        raise ValueError(f"a header {text[:100]!r}") from error
    return NpyHeader(shape=sizes, in_fortran_order=order[1] == "True", dtype=dtype)


def npy_array(content: bytes) -> Array:
    """The array, read-only and without a copy. Raises ValueError where there are too few bytes, or more than values."""
    file = io.BytesIO(content)
    header = read_npy_header(file)
    if len(content) - file.tell() != header.size:
        raise ValueError(f"{len(content) - file.tell():,} bytes of values, expected {header.size:,}")
    values = np.frombuffer(content, header.dtype, math.prod(header.shape), file.tell())
    return values.reshape(header.shape, order=header.order)


Layout = Literal["channels_last", "channels_first"]


def channels_last(image: Array, layout: Layout) -> Array:
    """An image of that layout as (rows, cols, channels); one without an axis of channels as it is."""
    return np.moveaxis(image, 0, -1) if layout == "channels_first" and image.ndim == 3 else image


def swapped_hint(sizes: Sequence[int]) -> str:
    """Which axis of an image that should be (rows, cols, channels) looks like its channels; empty where none does."""
    first, *others = sizes
    if FEWEST_CHANNELS <= first <= MOST_CHANNELS and min(others) > MOST_CHANNELS:
        return (
            f"the first axis, {first}, looks like channels: set source.layout: channels_first, "
            "or np.moveaxis(image, 0, -1)"
        )
    return ""
