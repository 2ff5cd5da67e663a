"""The figures of `quality`, measured by loops over an image's pixels. It stands apart since it needs the compiler."""

from __future__ import annotations

from math import exp, log2, sqrt
from typing import Any

import numpy as np

from nhwc.validators.compiled import compiled
from nhwc.validators.quality import FIGURE_COLUMNS, Background, QualityFigures

Array = np.ndarray[Any, Any]

_LATTICE = 192
"""Pixels of the longer side that are looked at, at most: thrice the 64 to which blur is measured."""

_THUMBNAIL = 64
"""The longer side at which cleanvision measures blur."""

_SAMPLES = 8_000
"""So many pixels, at most, give percentiles and histograms: p99 then has 80 above it."""

_PERIOD = 16
"""Pixels after which what a JPEG decoder fills in repeats itself: blocks of 8, with halved chroma 16."""

_RED, _GREEN, _BLUE = (np.float32(weight / 255**2) for weight in (0.241, 0.691, 0.068))
"""What the square of a colour's value adds to the square of the brightness."""

_LIGHTNESSES = 1001
"""From 0 to 1 in thousandths."""


def measure(pixels: Array, *, alpha: Background = "white") -> QualityFigures:
    """The figures of one image, as it was decoded and stands upright, before channels or size are changed.

    They come from a lattice of pixels, at equal strides, of at most 192 x 192; percentiles and histograms from about
    8,000 of these. So the time hardly depends on the image's size.

    Args:
        pixels: uint8 or uint16 [rows, cols, channels], channels 1 gray, 2 gray and alpha, 3 RGB, 4 RGBA.
        alpha: the background that transparent colour is laid on: `black`, or white for all else.

    Raises ValueError for any other rank, number of channels or dtype, and for an image without pixels.
    """
    if (
        pixels.ndim != 3
        or not 1 <= pixels.shape[2] <= 4
        or pixels.dtype not in (np.uint8, np.uint16)
        or not pixels.size
    ):
        raise ValueError(
            "measure needs uint8 or uint16 of shape (rows, cols, channels), channels 1 to 4, none of them 0. "
            f"Received: {pixels.dtype} of shape {pixels.shape}"
        )
    row_step, col_step = _lattice(pixels.shape)
    if not pixels.flags.c_contiguous:  # the loops are compiled for one layout only
        pixels, row_step, col_step = np.ascontiguousarray(pixels[::row_step, ::col_step]), 1, 1
    laid = _laid(pixels, row_step, col_step, alpha != "black")
    planes = laid if laid.dtype == np.uint8 else _eight_bit(laid)
    figures = dict(zip(FIGURE_COLUMNS, _figures(planes), strict=True))
    if laid.dtype == np.uint16:
        figures["spread"], figures["depth_used"] = _sixteen_bit_use(laid)
    return QualityFigures(**figures)


def _lattice(shape: tuple[int, ...]) -> tuple[int, int]:
    """Every so many rows and cols are looked at: a short side is not thinned below 64."""
    step = -(-max(shape[:2]) // _LATTICE)
    return max(1, min(step, shape[0] // _THUMBNAIL)), max(1, min(step, shape[1] // _THUMBNAIL))


@compiled
def _laid(pixels: Array, row_step: int, col_step: int, white: bool) -> Array:
    """The lattice as one gray plane or three of colour, [planes, rows, cols], laid on the background.

    Of colour c whose opacity is a of at most m, on background b, that leaves (c a + b (m - a)) / m, rounded.
    """
    rows, cols, channels = pixels.shape
    most = 255 if pixels.itemsize == 1 else 65535
    behind = most if white else 0
    laid = np.empty((channels - 1 + channels % 2, -(-rows // row_step), -(-cols // col_step)), pixels.dtype)
    for row in range(laid.shape[1]):
        opacity = pixels[row * row_step, ::col_step, channels - 1]
        for plane in range(len(laid)):
            line, colour = laid[plane, row], pixels[row * row_step, ::col_step, plane]
            for col in range(len(line)):
                line[col] = colour[col]
            if channels % 2 == 0:
                for col in range(len(line)):
                    opaque = np.int64(opacity[col])
                    line[col] = (colour[col] * opaque + behind * (most - opaque) + most // 2) // most
    return laid


@compiled
def _figures(planes: Array) -> tuple[float, ...]:
    """The figures in QualityFigures' order, of uint8 [1 or 3, rows, cols]."""
    few, gray = _thinned(planes), _gray(planes)
    counts = _counts(few, 256)
    total, lightness, chroma = _gray_light(counts[0]) if len(few) == 1 else _colour_light(few)
    spread, depth_used = _use(counts, 8)
    fill_share, fill_level = _fill(planes)
    pixels = few.shape[1]
    return (
        total / pixels,
        _reaching(lightness, 0.05 * pixels) / 1000,
        _reaching(lightness, 0.99 * pixels) / 1000,
        _reaching(chroma, 0.99 * pixels) / 255,
        _entropy(counts, few.size),
        _sharpness(_thumbnail(gray)),
        _smoothness(gray),
        spread,
        depth_used,
        fill_share,
        fill_level,
    )


@compiled
def _eight_bit(planes: Array) -> Array:
    """uint16 [planes, rows, cols], rounded to uint8."""
    rounded = np.empty(planes.shape, np.uint8)
    before, after = planes.reshape(-1), rounded.reshape(-1)
    for place in range(len(before)):
        after[place] = (before[place] + 128) // 257
    return rounded


@compiled
def _sixteen_bit_use(planes: Array) -> tuple[float, float]:
    """spread and depth_used of uint16 [planes, rows, cols]."""
    return _use(_counts(_thinned(planes), 1 << 16), 16)


@compiled
def _thinned(planes: Array) -> Array:
    """About _SAMPLES pixels at most, of every so many cols: [planes, pixels]."""
    count, rows, cols = planes.shape
    step = max(1, -(-rows * cols // _SAMPLES))
    thinned = np.empty((count, rows, -(-cols // step)), planes.dtype)
    for plane in range(count):
        for row in range(rows):
            line, before = thinned[plane, row], planes[plane, row, ::step]
            for col in range(len(line)):
                line[col] = before[col]
    return thinned.reshape(count, -1)


@compiled
def _counts(planes: Array, values: int) -> Array:
    """How often each of so many values occurs in whole numbers [planes, pixels]: int64 [planes, values]."""
    counts = np.zeros((len(planes), values), np.int64)
    for plane in range(len(planes)):
        line, count = planes[plane], counts[plane]
        for pixel in range(len(line)):
            count[line[pixel]] += 1
    return counts


@compiled
def _gray_light(counts: Array) -> tuple[float, Array, Array]:
    """As _colour_light, of the counts [256] of gray."""
    total, lightness, chroma = 0.0, np.zeros(_LIGHTNESSES, np.int64), np.zeros(256, np.int64)
    for value in range(256):
        brightness = np.float32(value) / np.float32(255)
        total += counts[value] * brightness
        lightness[int(brightness * np.float32(1000) + np.float32(0.5))] += counts[value]
        chroma[0] += counts[value]
    return total, lightness, chroma


@compiled
def _colour_light(planes: Array) -> tuple[float, Array, Array]:
    """Of uint8 [3, pixels] the sum of brightness, and how many pixels have each thousandth of it, and each chroma.

    Brightness as it is perceived: Darel Rex Finley, HSP colour model.
    """
    red, green, blue = planes
    brightness, chroma = np.empty(len(red), np.float32), np.empty(len(red), np.uint8)
    for pixel in range(len(red)):  # apart from counting, so that it works on many pixels at a time
        squares = _squared(red[pixel], _RED) + _squared(green[pixel], _GREEN) + _squared(blue[pixel], _BLUE)
        brightness[pixel] = sqrt(squares)
        most, least = max(red[pixel], green[pixel]), min(red[pixel], green[pixel])
        chroma[pixel] = max(most, blue[pixel]) - min(least, blue[pixel])
    total, lightnesses, chromas = 0.0, np.zeros(_LIGHTNESSES, np.int64), np.zeros(256, np.int64)
    for pixel in range(len(red)):
        total += brightness[pixel]
        lightnesses[int(brightness[pixel] * np.float32(1000) + np.float32(0.5))] += 1
        chromas[chroma[pixel]] += 1
    return total, lightnesses, chromas


@compiled
def _squared(value: Any, weight: Any) -> Any:
    """A uint8's square times a weight, all in float32."""
    single = np.float32(value)
    return single * single * weight


@compiled
def _reaching(counts: Array, sought: float) -> int:
    """The value up to which so many were counted, of how often each value from 0 on was."""
    upto = 0
    for value in range(len(counts)):
        upto += counts[value]
        if upto >= sought:
            return value
    return len(counts) - 1


@compiled
def _entropy(counts: Array, total: int) -> float:
    """In bits, of counts [planes, 256] as one."""
    entropy = 0.0
    for plane in range(len(counts)):
        for count in counts[plane]:
            if count:
                entropy -= count / total * log2(count / total)
    return abs(entropy)


@compiled
def _use(counts: Array, bits: int) -> tuple[float, float]:
    """spread and depth_used of counts [planes, values of so many bits]."""
    spread, samples, distinct, lowest, highest = 0.0, 0, 0, counts.shape[1], 0
    for plane in range(len(counts)):
        spread = max(spread, _deviation(counts[plane]))
    for value in range(counts.shape[1]):
        count = 0
        for plane in range(len(counts)):
            count += counts[plane, value]
        if count:
            samples, distinct, lowest, highest = samples + count, distinct + 1, min(lowest, value), value
    depth = bits
    while bits == 16 and depth and not highest >> (depth - 1):
        depth -= 1
    used = float(depth)
    if distinct > 1 and 16 * distinct <= samples:  # with fewer many a value is missing by chance
        used = max(0.0, log2(distinct / (highest - lowest + 1)) + depth)
    return spread / max(1, (1 << depth) - 1), used / bits


@compiled
def _deviation(counts: Array) -> float:
    """Standard deviation of whole numbers from 0 on, of how often each occurs."""
    total, squares, count = 0, 0, 0
    for value in range(len(counts)):
        count += counts[value]
        total += counts[value] * value
        squares += counts[value] * value * value
    return sqrt(count * squares - total * total) / count


@compiled
def _gray(planes: Array) -> Array:
    """Thousandths of a gray level by ITU-R 601-2, which are whole numbers: int32 [rows, cols] in [0, 255000]."""
    gray = np.empty(planes.shape[1:], np.int32)
    for row in range(len(gray)):
        line = gray[row]
        if len(planes) == 1:
            for col in range(len(line)):
                line[col] = 1000 * np.int32(planes[0, row, col])
        else:
            red, green, blue = planes[0, row], planes[1, row], planes[2, row]
            for col in range(len(line)):
                line[col] = 299 * red[col] + 587 * green[col] + 114 * blue[col]
    return gray


@compiled
def _smoothness(gray: Array) -> float:
    """As QualityFigures says; 0 for fewer than 32 rows or cols: too few to tell."""
    rows, cols = gray.shape
    if min(rows, cols) < 32:
        return 0.0
    near = far = 0.0
    for apart in (4, 1):
        down = across = 0
        for row in range(rows):
            across += _squared_difference(gray[row, :-apart], gray[row, apart:])
            if row >= apart:
                down += _squared_difference(gray[row], gray[row - apart])
        far, near = near, down / ((rows - apart) * cols) + across / (rows * (cols - apart))
    return sqrt(far / near) if near else 0.0


@compiled
def _squared_difference(one: Array, other: Array) -> Any:
    """The sum of the squares of how two lines of int32 [cols] differ."""
    total: Any = 0
    for col in range(len(one)):
        difference: Any = np.int32(one[col] - other[col])  # that it has 32 bits makes the loop four times faster
        total += np.int64(difference) * difference
    return total


@compiled
def _thumbnail(gray: Array) -> Array:
    """At most 64 x 64 of thousandths of gray, int64 in [0, 255], shrunk as Pillow's antialiased bicubic does."""
    rows, cols = gray.shape
    shrunk, ratio = gray.astype(np.float32), max(rows, cols) / _THUMBNAIL
    if ratio > 1:
        shrunk = _shrunk_rows(_shrunk_rows(shrunk, max(1, int(rows / ratio))), max(1, int(cols / ratio)))
    thumbnail = np.empty(shrunk.shape, np.int64)
    for row in range(len(shrunk)):
        for col in range(shrunk.shape[1]):
            thumbnail[row, col] = min(max(int((shrunk[row, col] + np.float32(500)) / np.float32(1000)), 0), 255)
    return thumbnail


@compiled
def _shrunk_rows(image: Array, after: int) -> Array:
    """float32 [rows, cols] with as many rows as asked for, turned to [cols, rows]."""
    shrunk, line = np.empty((image.shape[1], after), np.float32), np.empty(image.shape[1], np.float32)
    for row in range(after):
        line[:] = 0
        first, weights = _taps(len(image), after, row)
        for tap in range(len(weights)):
            weight, before = weights[tap], first + tap
            for col in range(len(line)):
                line[col] += weight * image[before, col]
        for col in range(len(line)):
            shrunk[col, row] = line[col]
    return shrunk


@compiled
def _taps(before: int, after: int, place: int) -> tuple[int, Array]:
    """Of `before` pixels, the first that makes this one of `after`, and what it and those that follow contribute.

    The weights, float32 [taps], are bicubic (a = -0.5), widened by before / after, and add up to 1.
    """
    scale = before / after
    centre = (place + 0.5) * scale
    start = int(centre - 2 * scale)
    first, last = max(0, start), min(before, start + int(4 * scale) + 2)
    weights, total = np.empty(last - first, np.float64), 0.0
    for tap in range(len(weights)):
        x = abs(first + tap + 0.5 - centre) / scale
        if x < 1:
            weights[tap] = (1.5 * x - 2.5) * x * x + 1
        else:
            weights[tap] = ((-0.5 * x + 2.5) * x - 4) * x + 2 if x < 2 else 0
        total += weights[tap]
    for tap in range(len(weights)):
        weights[tap] /= total
    return first, weights.astype(np.float32)


@compiled
def _sharpness(gray: Array) -> float:
    """cleanvision's score of a gray thumbnail: edges by Pillow's FIND_EDGES, which leaves the border as it is."""
    rows, cols = gray.shape
    levels, edges = np.zeros(256, np.int64), np.zeros(256, np.int64)
    for row in range(rows):
        line = gray[row]
        above, below = gray[max(0, row - 1)], gray[min(row + 1, rows - 1)]
        for col in range(cols):
            edge = line[col]
            levels[edge] += 1
            if 0 < row < rows - 1 and 0 < col < cols - 1:
                around = above[col - 1] + above[col] + above[col + 1] + line[col - 1] + line[col + 1]
                edge = min(max(8 * edge - around - below[col - 1] - below[col] - below[col + 1], 0), 255)
            edges[edge] += 1
    squares = 0
    for level in range(256):
        squares += levels[level] * levels[level]
    by_edges = 1 - exp(-_deviation(edges) / 100)
    by_histogram = 1 - exp(-sqrt(squares / 256 - (gray.size / 256) ** 2) / 100)
    return min(1.0, by_edges + (by_histogram if by_histogram > 0.18 else 0.0))


@compiled
def _fill(planes: Array) -> tuple[float, float]:
    """The largest share of lines that one of the four edges has more than its opposite, and that edge's level."""
    largest, level = 0.0, 0.0
    for upright in (True, False):  # upright, the end of the data may lie at any edge
        sums = _sums_of_repeating(planes, upright)
        pixels = planes.size // len(sums)
        first, last = _filled(sums[::1], pixels), _filled(sums[::-1], pixels)
        if abs(first - last) > largest:
            largest, level = abs(first - last), sums[0 if first > last else -1] / (255 * pixels)
    return largest, level


@compiled
def _sums_of_repeating(planes: Array, upright: bool) -> Array:
    """The sum of each row, or else of each col, of uint8 [planes, rows, cols]; -1 for one that does not repeat itself.

    Repeating is to be exactly the same 16 pixels on; where a line is short, to be constant.
    """
    count, pixels = planes.shape[1:] if upright else planes.shape[:0:-1]
    shift = _PERIOD if pixels >= 3 * _PERIOD else 1
    sums = np.zeros(count, np.int64)
    for place in range(count):
        for plane in range(len(planes)):
            line = planes[plane, place] if upright else planes[plane, :, place]
            if not _repeats(line, shift):
                sums[place] = -1
                break
            for pixel in range(pixels):
                sums[place] += line[pixel]
    return sums


@compiled
def _repeats(line: Array, shift: int) -> bool:
    """Whether each value is the same as the one so many before it."""
    for place in range(shift, len(line)):  # noqa: SIM110  the compiler knows no generator in `all`
        if line[place] != line[place - shift]:
            return False
    return True


@compiled
def _filled(sums: Array, pixels: int) -> float:
    """The share of lines of so many pixels, from the first, that repeat themselves and are as light as it."""
    for place in range(len(sums)):
        if sums[place] < 0 or abs(sums[place] - sums[0]) > 16 * pixels:
            return place / len(sums)
    return 1.0
