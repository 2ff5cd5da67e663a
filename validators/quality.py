"""How good one image is, in a few figures.

`measure` takes them once, while ingesting, from pixels that are decoded already; `quality_rules` judges them.
Brightness, entropy and sharpness are figures of cleanvision 0.3.7 (github cleanlab/cleanvision,
issue_managers/image_property.py), on colour that is laid on its background. Its sharpness finds one in four of those
images that were blurred on purpose: smoothness, a second figure, finds them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import polars as pl

Array = np.ndarray[Any, Any]

Background = Literal["white", "black", "refuse"]

_LATTICE = 192
"""Pixels of the longer side that are looked at, at most: thrice the 64 to which blur is measured."""

_THUMBNAIL = 64
"""The longer side at which cleanvision measures blur."""

_SAMPLES = 8_000
"""So many pixels, at most, give percentiles and histograms: p99 then has 80 above it."""

_EXACT_ROWS = 256
"""So many squares of 8 bits have a sum below 2^24, up to which float32 holds every whole number."""

_PERIOD = 16
"""Pixels after which what a JPEG decoder fills in repeats itself: blocks of 8, with halved chroma 16."""


@dataclass(frozen=True, kw_only=True)
class QualityFigures:
    """What was measured of one decoded image; colour is laid on its background, 16 bits are scaled to 8.

    Args:
        brightness: mean perceived brightness sqrt(0.241 R^2 + 0.691 G^2 + 0.068 B^2), in [0, 1].
        brightness_p5, brightness_p99: percentiles of the same: near 1 and 0 where all is light, or dark.
        chroma: 99th percentile of the largest less the smallest of R, G and B, in [0, 1]; 0 for gray.
        entropy: of the values of all channels in one histogram with a place for each, in bits: at most 8 for gray, and
            log2(3) more for the same gray stored as RGB.
        sharpness: in [0, 1], of the image shrunk to 64 pixels: 1 - exp(-s / 100) for the standard deviation s of its
            edges, and the same for that of its histogram, where it is over 0.18.
        smoothness: root mean square difference of gray 4 pixels of the lattice apart over that of neighbours: 4 where
            all is blurred (values then change at one rate over that distance), 1 for noise; 0 where constant, or with
            fewer than 32 rows or cols.
        spread: standard deviation of the channel that varies most, in [0, 1]: 0 where the image is constant, 1 for the
            largest value of 8 bits, or of as many of 16 bits as are used.
        depth_used: bits that tell values apart as a share of the bits there are, in [0, 1]: log2 of the distinct values
            in the span that they cover, as if they covered all. With 16 bits, leading zero bits are not used either.
            1 where there are too few pixels to tell.
        fill_share: share of the rows (or cols), from one edge, that repeat themselves or are constant, in [0, 1], less
            what the opposite edge has: what a decoder fills in where data ended or are zero.
        fill_level: mean of the edge's values, in [0, 1]; 0 where there is no fill.
    """

    brightness: float
    brightness_p5: float
    brightness_p99: float
    chroma: float
    entropy: float
    sharpness: float
    smoothness: float
    spread: float
    depth_used: float
    fill_share: float
    fill_level: float


FIGURE_COLUMNS: Mapping[str, Any] = {field.name: pl.Float32 for field in fields(QualityFigures)}
"""The figures as columns of a manifest, and their type."""


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
    raw = _coloured(_lattice(pixels), white=alpha != "black")
    seen = raw if raw.dtype == np.uint8 else ((raw.astype(np.uint32) + 128) // 257).astype(np.uint8)
    step = max(1, -(-raw[0].size // _SAMPLES))
    few = seen[:, :, ::step].reshape(len(seen), -1)
    counts = np.stack([np.bincount(plane, minlength=256) for plane in few])
    perceived = _perceived(few)
    dark_to_light = np.bincount((perceived * 1000 + 0.5).astype(np.int64))
    gray = _gray(seen)
    fill_share, fill_level = _fill(seen)
    spread, depth_used = _eight_bit_use(counts) if raw is seen else _sixteen_bit_use(raw[:, :, ::step])
    return QualityFigures(
        brightness=float(perceived.mean()),
        brightness_p5=_percentile(dark_to_light, 0.05) / 1000,
        brightness_p99=_percentile(dark_to_light, 0.99) / 1000,
        chroma=_percentile(np.bincount(few.max(axis=0) - few.min(axis=0)), 0.99) / 255,
        entropy=_entropy(counts),
        sharpness=_sharpness(_thumbnail(gray)),
        smoothness=_smoothness(gray),
        spread=spread,
        depth_used=depth_used,
        fill_share=fill_share,
        fill_level=fill_level,
    )


def _lattice(pixels: Array) -> Array:
    """A view [rows, cols, channels] of every so many pixels; a short side is not thinned below 64."""
    stride = -(-max(pixels.shape[:2]) // _LATTICE)
    rows, cols = (max(1, min(stride, size // _THUMBNAIL)) for size in pixels.shape[:2])
    return pixels[::rows, ::cols]


def _coloured(pixels: Array, *, white: bool) -> Array:
    """One gray plane or three of colour, [planes, rows, cols], laid on the background: (c a + b (m - a)) / m."""
    planes = np.ascontiguousarray(pixels.transpose(2, 0, 1))
    if len(planes) in (1, 3):
        return planes
    most = np.uint32(np.iinfo(pixels.dtype).max)
    opacity = planes[-1].astype(np.uint32)
    behind = most * (most - opacity) if white else np.uint32(0)
    laid: Array = (planes[:-1] * opacity + behind + most // np.uint32(2)) // most
    return laid.astype(pixels.dtype)


def _perceived(planes: Array) -> Array:
    """Brightness as it is perceived (Darel Rex Finley, HSP colour model), float32 [pixels] in [0, 1].

    Args:
        planes: uint8 [1 or 3, pixels].
    """
    if len(planes) == 1:
        gray: Array = planes[0] / np.float32(255)
        return gray
    squares = np.zeros(planes.shape[1], np.float32)
    for plane, weight in zip(planes, (0.241, 0.691, 0.068), strict=True):
        value = plane.astype(np.float32)
        value *= value
        value *= np.float32(weight / 255**2)
        squares += value
    return np.sqrt(squares)


def _percentile(counts: Array, share: float) -> int:
    """The value under which this share lies, of how often each value from 0 on was counted."""
    upto = counts.cumsum()
    return int(np.searchsorted(upto, share * upto[-1]))


def _entropy(counts: Array) -> float:
    """In bits, of counts [channels, 256]."""
    shares = counts[counts > 0] / counts.sum()
    return abs(float((shares * np.log2(shares)).sum()))


def _eight_bit_use(counts: Array) -> tuple[float, float]:
    """spread and depth_used of counts [channels, 256]."""
    values = np.arange(256)
    pixels = counts[0].sum()
    means = (counts * values).sum(axis=1, keepdims=True) / pixels
    deviation = np.sqrt((counts * (values - means) ** 2).sum(axis=1).max() / pixels)
    return float(deviation) / 255, _depth_used(np.flatnonzero(counts.any(axis=0)), samples=counts.sum(), depth=8) / 8


def _sixteen_bit_use(planes: Array) -> tuple[float, float]:
    """spread and depth_used of uint16 [planes, rows, cols]."""
    values = np.flatnonzero(np.bincount(planes.ravel(), minlength=1 << 16))
    bits = int(values[-1]).bit_length()
    deviation = max(float(plane.std(dtype=np.float64)) for plane in planes)
    used = _depth_used(values, samples=planes.size, depth=bits)
    return deviation / max(1, (1 << bits) - 1), used / 16


def _depth_used(values: Array, *, samples: int, depth: int) -> float:
    """Bits that tell values apart, of the distinct values in ascending order; all where there are too few samples."""
    if values.size == 1 or 16 * values.size > samples:  # so few that many a value is missing by chance
        return depth
    return max(0.0, float(np.log2(values.size / (values[-1] - values[0] + 1))) + depth)


def _gray(planes: Array) -> Array:
    """float32 [rows, cols] in [0, 255], by ITU-R 601-2."""
    gray: Array = planes[0].astype(np.float32)
    if len(planes) == 3:
        gray *= np.float32(0.299)
        gray += planes[1] * np.float32(0.587)
        gray += planes[2] * np.float32(0.114)
    return gray


def _smoothness(gray: Array) -> float:
    """As QualityFigures says; 0 for fewer than 32 rows or cols: too few to tell."""
    if min(gray.shape) < 32 or (near := _mean_square_step(gray, 1)) == 0:
        return 0.0
    return float(np.sqrt(_mean_square_step(gray, 4) / near))


def _mean_square_step(gray: Array, apart: int) -> float:
    """Mean squared difference of pixels so far apart, down and across."""
    down, across = gray[apart:] - gray[:-apart], gray[:, apart:] - gray[:, :-apart]
    # einsum: a dot product of BLAS would start threads
    return float(np.einsum("ij,ij->", down, down) / down.size + np.einsum("ij,ij->", across, across) / across.size)


def _thumbnail(gray: Array) -> Array:
    """At most 64 x 64 of a gray image, int16 in [0, 255], shrunk as Pillow's antialiased bicubic does."""
    ratio = max(gray.shape) / _THUMBNAIL
    if ratio > 1:
        for size in gray.shape:
            places, weights = _taps(size, max(1, int(size / ratio)))
            # row by row, since one matrix product by BLAS would start threads in every thread that measures
            gray = np.matmul(weights[:, np.newaxis], gray[places])[:, 0].T
    within: Array = np.minimum(np.maximum(gray + np.float32(0.5), 0), 255)
    return within.astype(np.int16)


@lru_cache(maxsize=512)
def _taps(before: int, after: int) -> tuple[Array, Array]:
    """Which of `before` pixels make each of `after`, and by how much: bicubic (a = -0.5), widened by before / after.

    Returns: int64 [after, taps] and float32 [after, taps], whose rows add up to 1.
    """
    scale = before / after
    centres = (np.arange(after)[:, np.newaxis] + 0.5) * scale
    places = (centres - 2 * scale).astype(np.int64) + np.arange(int(4 * scale) + 2)
    x = np.abs(places + 0.5 - centres) / scale
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    inside = (places >= 0) & (places < before)
    weights = np.where(x < 1, near, np.where(x < 2, far, 0)) * inside
    return places.clip(0, before - 1), (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def _sharpness(gray: Array) -> float:
    """cleanvision's score of a gray thumbnail: edges by Pillow's FIND_EDGES, which leaves the border as it is."""
    edges = gray.copy()
    if min(gray.shape) >= 3:
        three = gray[:-2] + gray[1:-1] + gray[2:]
        inner = 9 * gray[1:-1, 1:-1] - three[:, :-2] - three[:, 1:-1] - three[:, 2:]
        edges[1:-1, 1:-1] = np.minimum(np.maximum(inner, 0), 255)
    by_edges = 1 - np.exp(-_deviation(edges) / 100)
    by_histogram = 1 - np.exp(-_deviation(np.bincount(gray.ravel(), minlength=256)) / 100)
    return float(min(1.0, by_edges + (by_histogram if by_histogram > 0.18 else 0)))


def _deviation(values: Array) -> float:
    """Standard deviation of few and small whole numbers; NumPy's own takes thrice the time."""
    exact = values.ravel().astype(np.float64)
    mean = np.add.reduce(exact) / exact.size
    return float(np.sqrt(max(0.0, np.einsum("i,i->", exact, exact) / exact.size - mean * mean)))


def _fill(planes: Array) -> tuple[float, float]:
    """The largest share of lines that one of the four edges has more than its opposite, and that edge's level."""
    largest, level = 0.0, 0.0
    for lines in (planes, planes.swapaxes(1, 2)):  # upright, the end of the data may lie at any edge
        first, last = _filled(lines), _filled(lines[:, ::-1])
        if abs(first - last) > largest:
            largest = abs(first - last)
            level = float(lines[:, 0 if first > last else -1].mean()) / 255
    return largest, level


def _filled(lines: Array) -> float:
    """The share of lines [planes, lines, pixels], from the first, that repeat themselves and are as light as it."""
    if not _repeats(lines[:, :1])[0]:
        return 0.0
    level = lines.mean(axis=(0, 2), dtype=np.float32)
    same = _repeats(lines) & (np.abs(level - level[0]) <= 16)
    return 1.0 if same.all() else float(same.argmin()) / same.size


def _repeats(lines: Array) -> Array:
    """Whether each line [planes, lines, pixels] is exactly itself 16 pixels on; a short one: whether constant."""
    shift = _PERIOD if lines.shape[2] >= 3 * _PERIOD else 1
    return np.asarray((lines[:, :, shift:] == lines[:, :, :-shift]).all(axis=(0, 2)))


def channel_moments(pixels: Array) -> tuple[Array, Array]:
    """Mean and standard deviation of each channel of pixels of any dtype [rows, cols, channels]: float64 [channels]."""
    if pixels.dtype != np.uint8:
        return pixels.mean(axis=(0, 1), dtype=np.float64), pixels.std(axis=(0, 1), dtype=np.float64)
    rows, cols, channels = pixels.shape
    sums, squares = np.zeros(cols * channels), np.zeros(cols * channels)
    for start in range(0, rows, _EXACT_ROWS):
        band = pixels[start : start + _EXACT_ROWS].reshape(-1, cols * channels).astype(np.float32)
        sums += np.add.reduce(band, axis=0)
        squares += np.einsum("ij,ij->j", band, band)
    count = rows * cols
    total, of_squares = (column.reshape(-1, channels).sum(axis=0) for column in (sums, squares))
    return total / count, np.sqrt(np.maximum(of_squares * count - total * total, 0)) / count
