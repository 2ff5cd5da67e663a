"""NumPy's own file format as an image's bytes: an array that never was a file travels like any other image.

A source of arrays hands out each image as such bytes, so probe, hashes, quarantine and shards know one kind of sample.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

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


def npy_header(content: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """Shape, whether it is in Fortran order, dtype, and where the values begin. Raises ValueError where it has none."""
    file = io.BytesIO(content)
    version = npy_format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"a .npy of version {version[0]}.{version[1]}, expected 1.0 or 2.0")
    read = npy_format.read_array_header_1_0 if version == (1, 0) else npy_format.read_array_header_2_0
    shape, in_fortran_order, dtype = read(file)
    if any(size < 0 for size in shape):
        raise ValueError(f"a shape of {shape}")
    return shape, in_fortran_order, dtype, file.tell()


def npy_array(content: bytes) -> Array:
    """The array, read-only and without a copy. Raises ValueError where there are too few bytes, or more than values."""
    shape, in_fortran_order, dtype, begins = npy_header(content)
    count = int(np.prod(shape, dtype=object))
    if len(content) - begins != count * dtype.itemsize:
        raise ValueError(f"{len(content) - begins:,} bytes of values, expected {count * dtype.itemsize:,}")
    values = np.frombuffer(content, dtype, count, begins)
    return values.reshape(shape, order="F" if in_fortran_order else "C")


def swapped_hint(sizes: Sequence[int]) -> str:
    """Which axis of an image that should be (rows, cols, channels) looks like its channels; empty where none does."""
    first, *others = sizes
    if FEWEST_CHANNELS <= first <= MOST_CHANNELS and min(others) > MOST_CHANNELS:
        return (
            f"the first axis, {first}, looks like channels: set source.layout: channels_first, "
            "or np.moveaxis(image, 0, -1)"
        )
    return ""
