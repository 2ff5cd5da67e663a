"""From any decoded array to the recipe's channels and bit depth, and nothing lost that the recipe does not give up."""

from __future__ import annotations

from typing import Literal

import numpy as np

from nhwc.pipelines.decode import BAND_PIXELS
from nhwc.pipelines.stage import Array

Depth = Literal["uint8", "uint16", "float32"]


def convert(
    array: Array,
    *,
    channels: Literal[1, 3, 4],
    dtype: Depth,
    alpha: Literal["white", "black", "refuse"] = "white",
) -> Array:
    """The image with the recipe's channels and value range.

    Args:
        array: uint8 or uint16 [rows, cols, channels], channels 1 gray, 2 gray and alpha, 3 RGB, 4 RGBA;
            or [rows, cols].
        channels: 1, 3 or 4. With 4, alpha is kept, and is opaque where there was none. Otherwise a transparent image
            is laid on the background: round((c * a + b * (m - a)) / m) for colour c, alpha a, background b, and m 255
            or 65535.
        dtype: uint8 or float32 for [0, 255], uint16 for [0, 65535]. For uint8, 16 bits become 8 by round(v / 257), for
            float32 by v / 257 unrounded.
        alpha: the background.

    Returns:
        [rows, cols, channels] of uint8 or uint16 as dtype says. For float32: float32 from 16 bits, and uint8 from 8,
        which the resize stage turns into float32 without a loss.

    RGB becomes gray by ITU-R 601-2, (19595 R + 38470 G + 7471 B + 32768) >> 16, as Pillow computes it. 8 bits become 16
    by v * 257. Composition comes before gray, gray before the change of depth.
    """
    pixels = array[..., np.newaxis] if array.ndim == 2 else array
    wanted = _stored(pixels.dtype, dtype)
    if pixels.shape[2] == channels and pixels.dtype == wanted:
        return pixels
    rows, cols = pixels.shape[:2]
    converted = np.empty((rows, cols, channels), wanted)
    step = max(1, BAND_PIXELS // max(cols, 1))
    for start in range(0, rows, step):
        band = _with_channels(pixels[start : start + step], channels, white=alpha != "black")
        converted[start : start + step] = _with_depth(band, wanted)
    return converted


def _stored(source: np.dtype[np.generic], dtype: Depth) -> np.dtype[np.generic]:
    eight_bits_are_exact = dtype == "float32" and source == np.uint8
    return np.dtype(np.uint8 if eight_bits_are_exact else dtype)


def _with_channels(band: Array, channels: int, *, white: bool) -> Array:
    if channels == 4:
        return _rgba(band)
    if band.shape[2] in (2, 4):
        band = _on_background(band, white=white)
    if channels == 1:
        return band if band.shape[2] == 1 else _gray(band)
    return band if band.shape[2] == 3 else np.broadcast_to(band, (*band.shape[:2], 3))


def _on_background(band: Array, *, white: bool) -> Array:
    """Colour on the background, in uint32, which holds 65535 * 65535 + 32767."""
    most = np.uint32(np.iinfo(band.dtype).max)
    colour, alpha = band[..., :-1].astype(np.uint32), band[..., -1:].astype(np.uint32)
    background = most * (most - alpha) if white else np.uint32(0)
    return ((colour * alpha + background + most // np.uint32(2)) // most).astype(band.dtype)


def _gray(band: Array) -> Array:
    weighted = np.full(band.shape[:2], 1 << 15, np.uint32)
    for channel, weight in enumerate((19595, 38470, 7471)):
        weighted += band[..., channel] * np.uint32(weight)
    return (weighted >> np.uint32(16)).astype(band.dtype)[..., np.newaxis]


def _rgba(band: Array) -> Array:
    out = np.empty((*band.shape[:2], 4), band.dtype)
    has_alpha = band.shape[2] in (2, 4)
    out[..., :3] = band[..., :-1] if has_alpha else band
    out[..., 3:] = band[..., -1:] if has_alpha else np.iinfo(band.dtype).max
    return out


def _with_depth(band: Array, wanted: np.dtype[np.generic]) -> Array:
    if band.dtype == wanted:
        return band
    if wanted == np.uint16:
        return band.astype(np.uint16) * np.uint16(257)
    if wanted == np.float32:
        return band / np.float32(257)
    return ((band.astype(np.uint32) + 128) // 257).astype(np.uint8)
