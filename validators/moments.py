"""Mean and standard deviation of an image's channels."""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np

from nhwc.validators.compiled import compiled

Array = np.ndarray[Any, Any]


_EXACT_ROWS = 1 << 16
"""So many squares of 8 bits have a sum below 2^32."""


def channel_moments(pixels: Array) -> tuple[Array, Array]:
    """Mean and standard deviation of each channel of pixels of any dtype [rows, cols, channels]: float64 [channels].

    Of uint8 and uint16 they come from exact sums.
    """
    if pixels.dtype not in (np.uint8, np.uint16, np.float32):
        return pixels.mean(axis=(0, 1), dtype=np.float64), pixels.std(axis=(0, 1), dtype=np.float64)
    rows, cols, channels = pixels.shape
    lines = np.ascontiguousarray(pixels).reshape(rows, cols * channels)
    if pixels.dtype == np.float32:
        mean, std = _float_moments(lines, channels)
        return mean, std
    narrow = pixels.dtype == np.uint8 and rows <= _EXACT_ROWS  # twice as many are added at a time
    totals, squares = np.zeros((2, cols * channels), np.uint32 if narrow else np.int64)
    count, sums = rows * cols, _sums(lines, channels, totals, squares).tolist()
    # Python's whole numbers have no largest, which these products would pass
    deviations = [sqrt(count * square - total * total) / count for total, square in zip(*sums, strict=True)]
    return np.array(sums[0]) / count, np.array(deviations)


@compiled
def _sums(lines: Array, channels: int, totals: Array, squares: Array) -> Array:
    """The sum of each channel, and of its squares, int64 [2, channels], of whole numbers [rows, cols * channels].

    Args:
        totals, squares: zeros [cols * channels], of whole numbers wide enough for the sums over rows.
    """
    for row in range(len(lines)):
        line = lines[row]
        for place in range(len(line)):
            value = np.int64(line[place])
            totals[place] += value
            squares[place] += value * value
    sums = np.zeros((2, channels), np.int64)
    for place in range(len(totals)):
        sums[0, place % channels] += np.int64(totals[place])
        sums[1, place % channels] += np.int64(squares[place])
    return sums


@compiled
def _float_moments(lines: Array, channels: int) -> tuple[Array, Array]:
    """Mean and standard deviation of each channel, float64 [channels], of float32 [rows, cols * channels]."""
    places, count = lines.shape[1], lines.size // channels
    totals, squares = np.zeros(places), np.zeros(places)
    for row in range(len(lines)):
        line = lines[row]
        for place in range(places):
            totals[place] += line[place]
    mean, variance = np.zeros(channels), np.zeros(channels)
    for place in range(places):
        mean[place % channels] += totals[place] / count
    for place in range(places):
        totals[place] = mean[place % channels]
    for row in range(len(lines)):
        line = lines[row]
        for place in range(places):
            apart = line[place] - totals[place]
            squares[place] += apart * apart
    for place in range(places):
        variance[place % channels] += squares[place] / count
    return mean, np.sqrt(variance)
