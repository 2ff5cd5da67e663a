"""8-bit images at other rows and cols, to the bit as Pillow and TensorFlow give them, in half of their time or less.

Pillow's way (src/libImaging/Resample.c): each output is a sum of its taps in whole numbers, weights in 22 bits, across
the rows first and then down the cols, rounded to 8 bits in between. TensorFlow's bilinear (resize_bilinear_op.cc) takes
the four nearest pixels, in float32. Both are done here in the same order of the same operations.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np

from nhwc.validators.compiled import compiled

Array = np.ndarray[Any, Any]
Antialiased = Literal["area", "bilinear", "bicubic", "lanczos"]

Box = tuple[int, int, int, int]
"""left, top, right, bottom: Pillow's order, cols before rows."""

_KERNELS: dict[Antialiased, tuple[int, float]] = {
    "area": (0, 0.5),
    "bilinear": (1, 1.0),
    "bicubic": (2, 2.0),
    "lanczos": (3, 3.0),
}
"""Number and support, in pixels of the output, of each kernel."""

_BITS = 22
"""Of a weight: 32 less 8 of a value and 2 for what overshoots."""

_HALF = 1 << (_BITS - 1)

_MOST_LANES = 160
"""Lines that are worked on side by side, at most: turned, so that the same place of each lies next to the others', and
the machine computes many at a time."""

# places have no sign, and need no look at whether they are < 0
_ONE, _TWO, _THREE = np.uint64(1), np.uint64(2), np.uint64(3)


def resample(pixels: Array, *, box: Box, rows: int, cols: int, method: Antialiased) -> Array:
    """A box of the image at rows and cols, antialiased, as `PIL.Image.resize`.

    Args:
        pixels: uint8 [rows, cols, channels], channels 1 or 3.
        box: what is taken; the kernel sees what lies around it.
        rows, cols: of the result.
        method: the kernel.

    Returns: uint8 [rows, cols, channels].
    """
    height, width, _ = pixels.shape
    left, top, right, bottom = box
    kernel, support = _KERNELS[method]
    starts, weights = _taps(height, top, bottom, rows, kernel, support)
    first, after = int(starts[0]), int(starts[-1]) + weights.shape[1]  # the rows that are looked at
    lines = np.ascontiguousarray(pixels[first:after])
    down = None if (top, bottom, rows) == (0, height, height) else (starts - np.uint64(first), weights)
    across = None if (left, right, cols) == (0, width, width) else _taps(width, left, right, cols, kernel, support)
    if down is not None and height - rows > 2 * max(width - cols, 0):  # where many rows go, they go first: Pillow #9549
        lines, down = _along_cols(lines, down), None
    if across is not None:
        lines = _along_rows(lines, across)
    return lines if down is None else _along_cols(lines, down)


def _along_rows(lines: Array, taps: tuple[Array, Array]) -> Array:
    """[rows, cols, channels] to other cols."""
    rows, _, channels = lines.shape
    sampled = np.empty((rows, len(taps[0]) * channels), np.uint8)
    _across(lines.reshape(rows, -1), *taps, channels, sampled)
    return sampled.reshape(rows, -1, channels)


def _along_cols(lines: Array, taps: tuple[Array, Array]) -> Array:
    """[rows, cols, channels] to other rows."""
    sampled = np.empty((len(taps[0]), *lines.shape[1:]), np.uint8)
    _down(lines.reshape(len(lines), -1), *taps, sampled.reshape(len(sampled), -1))
    return sampled


def interpolate(pixels: Array, *, rows: int, cols: int, dtype: str) -> Array:
    """The image at rows and cols, bilinear without antialiasing, as `tf.image.resize`.

    Args:
        pixels: uint8 [rows, cols, channels], any channels.
        rows, cols: of the result.
        dtype: float32, or uint8: rounded, halves to the even.

    Returns: dtype [rows, cols, channels].
    """
    height, _, channels = pixels.shape
    sampled, lines = np.empty((rows, cols * channels), dtype), np.ascontiguousarray(pixels).reshape(height, -1)
    _interpolate(lines, channels, sampled, dtype == "uint8")
    return sampled.reshape(rows, cols, channels)


@compiled
def _weight(kernel: int, x: float) -> float:
    """Of a tap that lies x pixels of the output from its centre."""
    if kernel == 0:
        return 1.0 if -0.5 < x <= 0.5 else 0.0
    distance = abs(x)
    if kernel == 1:
        return max(0.0, 1.0 - distance)
    if kernel == 2:
        if distance < 1:
            return (1.5 * distance - 2.5) * distance * distance + 1
        return (((distance - 5) * distance + 8) * distance - 4) * -0.5 if distance < 2 else 0.0
    if not -3 <= x < 3:
        return 0.0
    return _sinc(x) * _sinc(x / 3)


@compiled
def _sinc(x: float) -> float:
    return 1.0 if x == 0 else math.sin(x * math.pi) / (x * math.pi)


@compiled
def _taps(size: int, first: int, last: int, out: int, kernel: int, support: float) -> tuple[Array, Array]:
    """Where each output's taps begin, uint64 [out], and their weights, int32 [out, taps]: as many for each.

    Where fewer count the others weigh 0, so that the loops over them have one length; none lies outside the image.
    """
    scale = (last - first) / out
    widened = max(scale, 1.0)
    reach = support * widened
    begins, ends = np.empty(out, np.int64), np.empty(out, np.int64)
    for place in range(out):
        centre = first + (place + 0.5) * scale
        begins[place] = max(0, int(centre - reach + 0.5))
        ends[place] = min(size, int(centre + reach + 0.5))
    taps = (ends - begins).max()
    starts, weights = np.minimum(begins, size - taps), np.zeros((out, taps), np.int32)
    exact = np.empty(taps, np.float64)
    for place in range(out):
        centre, total = first + (place + 0.5) * scale, 0.0
        count = ends[place] - begins[place]
        for tap in range(count):
            exact[tap] = _weight(kernel, (tap + begins[place] - centre + 0.5) * (1.0 / widened))
            total += exact[tap]
        for tap in range(count):
            weight = exact[tap] / total if total != 0 else exact[tap]
            rounded = int(weight * (1 << _BITS) + (-0.5 if weight < 0 else 0.5))
            weights[place, begins[place] - starts[place] + tap] = rounded
    return starts.astype(np.uint64), weights


@compiled
def _across(lines: Array, starts: Array, weights: Array, channels: int, into: Array) -> None:
    """Along each line [lines, places], places being cols by channels, into as many [lines, places]."""
    lanes = _lanes(len(lines))
    step, taps = np.uint64(channels), np.uint64(weights.shape[1])
    before, after = _words(lines, lanes), _words(into, lanes)
    places = 4 * before.shape[1] + channels  # a pixel more than there are: a tap that weighs 0 may lie there
    columns = np.empty((places, lanes), np.uint8)
    sampled, totals = np.empty((4 * after.shape[1], lanes), np.uint8), np.empty(lanes, np.int32)
    for row in range(0, len(lines), lanes):
        _turn(lines, np.arange(row, min(row + lanes, len(lines))), before, columns)
        for place in range(np.uint64(into.shape[1])):
            col = place // step
            at = starts[col] * step + place % step
            for lane in range(lanes):
                totals[lane] = _HALF
            for tap in range(np.uint64(0), taps, _TWO):  # two at once: totals are read and written half as often
                one = weights[col, tap]
                other = weights[col, tap + _ONE] if tap + _ONE < taps else np.int32(0)
                for lane in range(lanes):
                    totals[lane] += np.int32(columns[at, lane]) * one + np.int32(columns[at + step, lane]) * other
                at += _TWO * step
            for lane in range(lanes):
                sampled[place, lane] = min(max(totals[lane] >> _BITS, 0), 255)
        _turn_back(sampled, after, into[row : row + lanes])


@compiled
def _down(lines: Array, starts: Array, weights: Array, into: Array) -> None:
    """Along each place of lines [lines, places] into other lines."""
    totals = np.empty(lines.shape[1], np.int32)
    for row in range(len(into)):
        totals[:] = _HALF
        for tap in range(np.uint64(weights.shape[1])):
            line, weight = lines[starts[row] + tap], weights[row, tap]
            for place in range(len(totals)):
                totals[place] += np.int32(line[place]) * weight
        for place in range(len(totals)):
            into[row, place] = min(max(totals[place] >> _BITS, 0), 255)


@compiled
def _lanes(lines: int) -> int:
    """How many of so many lines to take at a time: each time as many, in whole registers of 16 values."""
    times = -(-lines // _MOST_LANES)
    return -(-lines // (16 * times)) * 16


@compiled
def _words(lines: Array, lanes: int) -> Array:
    """Memory for so many lines of uint8 [lines, places] as words of four: uint32 [lanes, words]."""
    return np.empty((lanes, -(-lines.shape[1] // 4)), np.uint32)


@compiled
def _turn(lines: Array, numbers: Array, words: Array, columns: Array) -> None:
    """Lines of these numbers, of uint8 [lines, places], as the first lanes of columns [places or more, lanes]."""
    values, lanes = words.view(np.uint8), columns.shape[1]
    column = np.empty(lanes, np.uint32)
    for lane in range(np.uint64(len(numbers))):
        number = np.uint64(numbers[lane])
        for place in range(np.uint64(lines.shape[1])):
            values[lane, place] = lines[number, place]
    for word in range(np.uint64(words.shape[1])):
        for lane in range(np.uint64(lanes)):
            column[lane] = words[lane, word]
        at = word * np.uint64(4)
        for lane in range(lanes):
            columns[at, lane] = column[lane]
        for lane in range(lanes):
            columns[at + _ONE, lane] = column[lane] >> 8
        for lane in range(lanes):
            columns[at + _TWO, lane] = column[lane] >> 16
        for lane in range(lanes):
            columns[at + _THREE, lane] = column[lane] >> 24


@compiled
def _turn_back(columns: Array, words: Array, lines: Array) -> None:
    """The first lanes of columns [places or more, lanes] as lines of uint8 [lines, places]."""
    values, lanes = words.view(np.uint8), columns.shape[1]
    column = np.empty(lanes, np.uint32)
    for word in range(np.uint64(words.shape[1])):
        at = word * np.uint64(4)
        for lane in range(lanes):
            low = np.uint32(columns[at, lane]) | np.uint32(columns[at + _ONE, lane]) << 8
            column[lane] = low | np.uint32(columns[at + _TWO, lane]) << 16 | np.uint32(columns[at + _THREE, lane]) << 24
        for lane in range(np.uint64(lanes)):
            words[lane, word] = column[lane]
    for lane in range(np.uint64(len(lines))):
        for place in range(np.uint64(lines.shape[1])):
            lines[lane, place] = values[lane, place]


@compiled
def _neighbours(size: int, out: int, channels: int) -> tuple[Array, Array, Array]:
    """Of each of [out, channels] values the places of the two around its centre, and how far it is towards the second.

    Returns: uint64, uint64 and float32 [out * channels], the places among [size * channels] values.
    """
    lower, upper = np.empty(out * channels, np.uint64), np.empty(out * channels, np.uint64)
    share, scale = np.empty(out * channels, np.float32), np.float32(size) / np.float32(out)
    for pixel in range(out):
        centre = (np.float32(pixel) + np.float32(0.5)) * scale - np.float32(0.5)
        whole = np.floor(centre)
        for channel in range(channels):
            place = pixel * channels + channel
            lower[place] = max(0, int(whole)) * channels + channel
            upper[place] = min(size - 1, int(np.ceil(centre))) * channels + channel
            share[place] = centre - whole
    return lower, upper, share


@compiled
def _interpolate(lines: Array, channels: int, into: Array, rounded: bool) -> None:
    """Between four values of lines [lines, places]: across two lines, and then between these."""
    above, below, drop = _neighbours(len(lines), len(into), 1)
    left, right, share = _neighbours(lines.shape[1] // channels, into.shape[1] // channels, channels)
    lanes = _lanes(len(into))
    before, after, fall = _words(lines, lanes), _words(into, lanes), np.zeros(lanes, np.float32)
    upper, lower = np.empty((2, 4 * before.shape[1], lanes), np.uint8)
    sampled = np.empty((4 * after.shape[1], lanes), into.dtype)
    for row in range(0, len(into), lanes):
        part = into[row : row + lanes]
        _turn(lines, above[row : row + lanes], before, upper)
        _turn(lines, below[row : row + lanes], before, lower)
        fall[: len(part)] = drop[row : row + lanes]
        for place in range(np.uint64(into.shape[1])):
            near, far, along = left[place], right[place], share[place]
            for lane in range(lanes):
                top, bottom = np.float32(upper[near, lane]), np.float32(lower[near, lane])
                top += (np.float32(upper[far, lane]) - top) * along
                bottom += (np.float32(lower[far, lane]) - bottom) * along
                value = top + (bottom - top) * fall[lane]
                sampled[place, lane] = np.int32(np.rint(value)) if rounded else value
        if rounded:
            _turn_back(sampled, after, part)
        else:
            part[:] = sampled[: part.shape[1], : len(part)].T
