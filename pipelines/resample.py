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


def resample(pixels: Array, *, box: Box, rows: int, cols: int, method: Antialiased) -> Array:
    """A box of the image at rows and cols, antialiased, as `PIL.Image.resize`.

    Args:
        pixels: uint8 [rows, cols, channels], channels 1 or 3.
        box: what is taken; the kernel sees what lies around it.
        rows, cols: of the result.
        method: the kernel.

    Returns: uint8 [rows, cols, channels].
    """
    height, width, channels = pixels.shape
    left, top, right, bottom = box
    kernel, support = _KERNELS[method]
    starts, weights = _taps(height, top, bottom, rows, kernel, support)
    first, after = int(starts[0]), int(starts[-1]) + weights.shape[1]  # the rows that are looked at
    lines = np.ascontiguousarray(pixels[first:after])
    down = None if (top, bottom, rows) == (0, height, height) else (starts - np.uint64(first), weights)
    across = None if (left, right, cols) == (0, width, width) else _taps(width, left, right, cols, kernel, support)
    if down is not None and height - rows > 2 * max(width - cols, 0):  # where many rows go, they go first: Pillow #9549
        lines, down = _along_cols(lines, down, channels), None
    if across is not None:
        lines = _along_rows(lines, across)
    return np.ascontiguousarray(lines[..., :channels]) if down is None else _along_cols(lines, down, channels)


def _along_rows(lines: Array, taps: tuple[Array, Array]) -> Array:
    """[rows, cols, channels] to other cols; of 3 channels it makes 4, the last without meaning."""
    channels = lines.shape[2]
    sampled = np.empty((len(lines), len(taps[0]), channels if channels == 1 else 4), np.uint8)
    (_across if channels == 1 else _across_colour)(lines, *taps, sampled)
    return sampled


def _along_cols(lines: Array, taps: tuple[Array, Array], channels: int) -> Array:
    """[rows, cols, channels or more] to other rows."""
    sampled = np.empty((len(taps[0]), lines.shape[1], channels), np.uint8)
    _down(lines, *taps, sampled)
    return sampled


def interpolate(pixels: Array, *, rows: int, cols: int, dtype: str) -> Array:
    """The image at rows and cols, bilinear without antialiasing, as `tf.image.resize`.

    Args:
        pixels: uint8 [rows, cols, channels], any channels.
        rows, cols: of the result.
        dtype: float32, or uint8: rounded, halves to the even.

    Returns: dtype [rows, cols, channels].
    """
    height, width, channels = pixels.shape
    sampled, lines = np.empty((rows, cols * channels), dtype), np.ascontiguousarray(pixels).reshape(height, -1)
    down, across = _neighbours(height, rows, 1), _neighbours(width, cols, channels)
    _interpolate(lines, down, across, sampled, dtype == "uint8")
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
def _across(lines: Array, starts: Array, weights: Array, into: Array) -> None:
    """Along each line [lines, cols, channels], channel by channel."""
    for row in range(len(lines)):
        for channel in range(lines.shape[2]):
            line = lines[row, :, channel]
            for col in range(np.uint64(into.shape[1])):  # numbers without a sign need no look at whether they are < 0
                total = np.int32(_HALF)
                for tap in range(np.uint64(weights.shape[1])):
                    total += np.int32(line[starts[col] + tap]) * weights[col, tap]
                into[row, col, channel] = min(max(total >> _BITS, 0), 255)


@compiled
def _across_colour(lines: Array, starts: Array, weights: Array, into: Array) -> None:
    """The same of [lines, cols, 3] into [lines, cols, 4], whose fourth channel means nothing.

    A register takes four values at once: a pixel's, and the first of the next. The very last pixel has none after it.
    """
    _across(lines[-1:], starts, weights, into[-1:])
    one, two, three, four = np.uint64(1), np.uint64(2), np.uint64(3), np.uint64(4)
    values, totals = lines.reshape(-1), np.empty(4 * into.shape[1], np.int32)
    for row in range(len(lines) - 1):
        begin = np.uint64(row) * np.uint64(lines.shape[1]) * three
        for col in range(np.uint64(into.shape[1])):
            red = green = blue = beyond = np.int32(_HALF)
            place = begin + three * starts[col]
            for tap in range(np.uint64(weights.shape[1])):
                weight, at = weights[col, tap], place + three * tap
                red += np.int32(values[at]) * weight
                green += np.int32(values[at + one]) * weight
                blue += np.int32(values[at + two]) * weight
                beyond += np.int32(values[at + three]) * weight
            at = four * col
            totals[at], totals[at + one], totals[at + two], totals[at + three] = red, green, blue, beyond
        _round(totals, into[row].reshape(-1))


@compiled
def _down(lines: Array, starts: Array, weights: Array, into: Array) -> None:
    """Along each col of [lines, cols, channels or more] into [rows, cols, channels]."""
    width = lines.shape[1] * lines.shape[2]
    flat, totals, rounded = lines.reshape(len(lines), width), np.empty(width, np.int32), np.empty(width, np.uint8)
    pixels = rounded.reshape(lines.shape[1], lines.shape[2])
    for row in range(len(into)):
        totals[:] = _HALF
        for tap in range(weights.shape[1]):
            _add(flat[starts[row] + np.uint64(tap)], weights[row, tap], totals)
        _round(totals, rounded)
        for col in range(np.uint64(into.shape[1])):
            for channel in range(np.uint64(into.shape[2])):
                into[row, col, channel] = pixels[col, channel]


@compiled
def _add(line: Array, weight: Any, totals: Array) -> None:
    for place in range(len(totals)):
        totals[place] += np.int32(line[place]) * weight


@compiled
def _round(totals: Array, into: Array) -> None:
    for place in range(len(totals)):
        into[place] = min(max(totals[place] >> _BITS, 0), 255)


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
def _interpolate(
    lines: Array, down: tuple[Array, Array, Array], across: tuple[Array, Array, Array], into: Array, rounded: bool
) -> None:
    """Between four values of lines [rows, values]: across two lines, and then between these."""
    line = np.empty(lines.shape[1], np.float32)
    above, below = np.empty(into.shape[1], np.float32), np.empty(into.shape[1], np.float32)
    left, right, share = across
    for row in range(len(into)):
        for number, between in ((down[0][row], above), (down[1][row], below)):
            _between(lines[number], line, left, right, share, between)
        fall = down[2][row]
        for place in range(len(above)):
            value = above[place] + (below[place] - above[place]) * fall
            into[row, place] = np.rint(value) if rounded else value


@compiled
def _between(values: Array, line: Array, left: Array, right: Array, share: Array, into: Array) -> None:
    """Between pairs of values, by way of a line of float32."""
    for place in range(len(line)):
        line[place] = values[place]
    for place in range(np.uint64(len(left))):
        value = line[left[place]]
        into[place] = value + (line[right[place]] - value) * share[place]
