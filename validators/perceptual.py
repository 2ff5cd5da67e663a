"""The perceptual hash of a picture, as `duplicates` compares them. It stands apart since it needs the compiler."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from nhwc.validators.compiled import compiled
from nhwc.validators.duplicates import FREQUENCIES, HASH_BYTES, ORDER

Array = np.ndarray[Any, Any]
Floats = npt.NDArray[np.float32]

CELLS = 40
"""Of the grid, along rows and along cols; two of them are the 5 % that a crop lacks."""

_CROP = 38
_CROPS = 3
"""Along rows and along cols: they begin at cell 0, 1 and 2."""

_LEAST_AMPLITUDE = 2.0  # 0.05 gray levels in the mean over the picture: below, a frequency is noise
_LEAST_FREQUENCIES = 96  # fewer above it, and the picture has too little structure to be told from another


def dct(size: int, frequencies: int = FREQUENCIES) -> Floats:
    """The lowest frequencies of the orthonormal DCT-II of so many cells: [frequencies, size]."""
    angles = np.pi * (np.arange(size) + 0.5) * np.arange(frequencies)[:, None] / size
    basis: npt.NDArray[np.float64] = np.cos(angles) * np.sqrt(2 / size)
    basis[0] /= np.sqrt(2)
    return basis.astype(np.float32)


_OF_WHOLE = dct(CELLS)
_OF_CROPS = np.concatenate(
    [np.pad(dct(_CROP), ((0, 0), (start, CELLS - _CROP - start))) for start in range(_CROPS)]
)  # fmt: skip
_FROM_WHOLE, _FROM_CROPS = np.ascontiguousarray(_OF_WHOLE.T), np.ascontiguousarray(_OF_CROPS.T)


def perceptual_hash(pixels: npt.NDArray[np.uint8] | npt.NDArray[np.uint16]) -> bytes | None:
    """The perceptual hash of a picture, HASH_BYTES long, or None where it has too little to be told by.

    That is where it is blank, or varies in 96 of its 255 lowest frequencies or fewer, as a gradient does; and where it
    has less than 32 rows or cols, two to each frequency (Nyquist): of the 28 x 28 silhouettes of Fashion-MNIST, 4 in
    100 would be taken for a crop of another.

    Args:
        pixels: [rows, cols, channels], upright, uint8 in [0, 255] or uint16 in [0, 65535]; 1 channel is gray, 2 gray
            and alpha, 3 RGB, 4 RGB and alpha. What is transparent is seen on white.

    Raises ValueError for another rank, number of channels or dtype, and for a picture without pixels.
    """
    shaped = pixels.ndim == 3 and 0 not in pixels.shape and pixels.shape[2] <= 4
    if not shaped or pixels.dtype not in (np.uint8, np.uint16):
        raise ValueError(
            "perceptual_hash needs uint8 or uint16 pixels [rows, cols, channels] with 1 to 4 channels. "
            f"Received: {pixels.dtype}{list(pixels.shape)}"
        )
    if min(pixels.shape[:2]) < 2 * FREQUENCIES:
        return None
    return _hash(np.ascontiguousarray(pixels)).tobytes() or None


@compiled
def _hash(pixels: Array) -> Array:
    """uint8 [HASH_BYTES] of a picture, or [0] where it varies in too few frequencies."""
    seen = frequencies(_opaque_cells(pixels) if pixels.shape[2] % 2 else _cells_on_white(pixels))
    varied = 0
    for value in seen[0]:
        varied += abs(value) >= _LEAST_AMPLITUDE
    if varied <= _LEAST_FREQUENCIES:
        return np.empty(0, np.uint8)
    signs = np.zeros(HASH_BYTES, np.uint8)
    for place, value in enumerate(seen.flat):
        if value > 0:
            signs[place // 8] |= 128 >> place % 8
    return signs


@compiled
def frequencies(grid: Floats) -> Floats:
    """The DCT of a grid [40, 40] in ORDER, of the whole and of its nine crops: float32 [10, 256]."""
    whole = _product(_product(_OF_WHOLE, grid), _FROM_WHOLE)
    crops = _product(_product(_OF_CROPS, grid), _FROM_CROPS)
    seen = np.empty((1 + _CROPS**2, FREQUENCIES**2), np.float32)
    for place, frequency in enumerate(ORDER):
        along_rows, along_cols = divmod(frequency, FREQUENCIES)
        seen[0, place] = whole[along_rows, along_cols]
        for crop in range(_CROPS**2):
            top, left = divmod(crop, _CROPS)
            seen[1 + crop, place] = crops[top * FREQUENCIES + along_rows, left * FREQUENCIES + along_cols]
    return seen


@compiled
def _product(left: Floats, right: Floats) -> Floats:
    """Of two small matrices, [rows, cells] and [cells, cols]; one by BLAS could start threads.

    Four terms at once, still added one by one: so the sums are read and written a quarter as often.
    """
    product = np.zeros((left.shape[0], right.shape[1]), np.float32)
    for row in range(len(left)):
        for cell in range(0, CELLS, 4):
            one, two, three, four = left[row, cell], left[row, cell + 1], left[row, cell + 2], left[row, cell + 3]
            for col in range(right.shape[1]):
                total = product[row, col] + one * right[cell, col] + two * right[cell + 1, col]
                product[row, col] = total + three * right[cell + 2, col] + four * right[cell + 3, col]
    return product


@compiled
def _opaque_cells(pixels: Array) -> Floats:
    """Mean luma (ITU-R BT.601) of each cell, float32 [40, 40] in [0, 255], of gray or RGB."""
    rows, cols, channels = pixels.shape
    row_samples, col_samples = _samples(rows, 1), _samples(cols, channels)
    lines = pixels.reshape(rows, cols * channels)
    scale = 255 / (1000 * _white(pixels) * row_samples.shape[1] * col_samples.shape[1])
    cells, band = np.empty((CELLS, CELLS), np.float32), np.empty(cols * channels, np.uint32)
    for cell_row in range(CELLS):
        band[:] = 0
        for sample in range(0, row_samples.shape[1], 3):
            one, two, three = row_samples[cell_row, sample : sample + 3]
            for place in range(len(band)):
                band[place] += lines[one, place] + lines[two, place] + lines[three, place]
        for cell_col in range(CELLS):
            total = 0
            for start in col_samples[cell_col]:
                total += _luma(band, start, channels)
            cells[cell_row, cell_col] = total * scale
    return cells


@compiled
def _cells_on_white(pixels: Array) -> Floats:
    """As _opaque_cells, of gray or RGB with alpha, laid on white."""
    rows, cols, channels = pixels.shape
    row_samples, col_samples = _samples(rows, 1), _samples(cols, channels)
    lines, white = pixels.reshape(rows, cols * channels), _white(pixels)
    scale = 255 / (1000 * white * row_samples.shape[1] * col_samples.shape[1])
    cells = np.empty((CELLS, CELLS), np.float32)
    for cell_row in range(CELLS):
        for cell_col in range(CELLS):
            total = 0
            for row in row_samples[cell_row]:
                line = lines[row]
                for start in col_samples[cell_col]:
                    opacity: Any = np.int64(line[start + np.uint64(channels - 1)])
                    total += _luma(line, start, channels - 1) * opacity + 1000 * white * (white - opacity)
            cells[cell_row, cell_col] = total / white * scale
    return cells


@compiled
def _samples(size: int, step: int) -> Array:
    """Where along an axis of that size the samples of each cell lie, times a step: uint64 [40, 6 or 12].

    Unsigned, since the compiler asks of each other index whether it is to be counted from the end.
    """
    per_cell = 6 if size < 1000 else 12
    samples = np.empty((CELLS, per_cell), np.uint64)
    for cell in range(CELLS):
        for sample in range(per_cell):
            samples[cell, sample] = int((cell * per_cell + sample + 0.5) * size / samples.size) * step
    return samples


@compiled
def _luma(line: Array, start: Any, colours: int) -> Any:
    """Thousandths of the luma of the pixel that begins there, which are whole numbers."""
    green, blue = (start, start) if colours == 1 else (start + np.uint64(1), start + np.uint64(2))
    return 299 * np.int64(line[start]) + 587 * np.int64(line[green]) + 114 * np.int64(line[blue])


@compiled
def _white(pixels: Array) -> int:
    """The largest value of uint8 or uint16."""
    return 255 if pixels.itemsize == 1 else 65535
