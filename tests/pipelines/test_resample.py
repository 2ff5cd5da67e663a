"""Resampling gives the values of Pillow and of TensorFlow, to the bit."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from nhwc.pipelines.resample import interpolate, resample

PILLOWS = {
    "area": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
sizes = st.integers(1, 70)


def noise(rows: int, cols: int, channels: int, seed: int, *, hard: bool = False) -> np.ndarray:
    """uint8 [rows, cols, channels]; hard: only black and white, at which kernels overshoot most."""
    pixels = np.random.default_rng(seed).integers(0, 256, (rows, cols, channels), np.uint8)
    return np.where(pixels > 127, 255, 0).astype(np.uint8) if hard else pixels


def by_pillow(pixels: np.ndarray, box: tuple[int, int, int, int], rows: int, cols: int, method: str) -> np.ndarray:
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    return np.asarray(image.resize((cols, rows), PILLOWS[method], box=box)).reshape(rows, cols, pixels.shape[2])


@given(
    size=st.tuples(sizes, sizes),
    target=st.tuples(sizes, sizes),
    corners=st.tuples(*[st.floats(0, 1)] * 4),
    channels=st.sampled_from([1, 3]),
    hard=st.booleans(),
    seed=st.integers(0, 99),
)
@pytest.mark.parametrize("method", PILLOWS)
def test_any_box_at_any_size_is_pillows(method, size, target, corners, channels, hard, seed):
    """Larger, smaller, a box of it, one pixel: never a level off."""
    (height, width), (rows, cols) = size, target
    left, top = int(corners[0] * (width - 1)), int(corners[1] * (height - 1))
    right, bottom = left + 1 + int(corners[2] * (width - left - 1)), top + 1 + int(corners[3] * (height - top - 1))
    pixels, box = noise(height, width, channels, seed, hard=hard), (left, top, right, bottom)
    expected = by_pillow(pixels, box, rows, cols, method)
    sampled = resample(pixels, box=box, rows=rows, cols=cols, method=method)
    assert (np.uint8, expected.shape, True) == (sampled.dtype, sampled.shape, sampled.flags.c_contiguous)
    np.testing.assert_array_equal(expected, sampled)


@pytest.mark.parametrize("rows", [99, 100, 101, 150])
@pytest.mark.parametrize("cols", [50, 99, 100, 120])
def test_which_axis_goes_first_is_pillows(rows, cols):
    """Of 200 x 100 pixels: each pass rounds, so that the order shows."""
    pixels = noise(200, 100, 3, 7)
    expected = by_pillow(pixels, (0, 0, 100, 200), rows, cols, "bilinear")
    np.testing.assert_array_equal(
        expected, resample(pixels, box=(0, 0, 100, 200), rows=rows, cols=cols, method="bilinear")
    )


@pytest.mark.parametrize("height", [15, 160, 161, 321])
def test_as_many_rows_as_are_worked_on_at_a_time_and_more(height):
    """The last of them are fewer."""
    pixels, box = noise(height, 40, 3, 7), (0, 0, 40, height)
    expected = by_pillow(pixels, box, 20, 13, "bicubic")
    np.testing.assert_array_equal(expected, resample(pixels, box=box, rows=20, cols=13, method="bicubic"))


@pytest.mark.parametrize("method", PILLOWS)
def test_photographs_at_224(method):
    """Sizes as photographs have them, upright and not, seen through a view that is turned."""
    for rows, cols in ((500, 400), (375, 500), (1200, 1600)):
        turned = noise(cols, rows, 3, 7).transpose(1, 0, 2)
        expected = by_pillow(np.ascontiguousarray(turned), (0, 0, cols, rows), 224, 224, method)
        np.testing.assert_array_equal(
            expected, resample(turned, box=(0, 0, cols, rows), rows=224, cols=224, method=method)
        )


@given(
    size=st.tuples(sizes, sizes), target=st.tuples(sizes, sizes), channels=st.integers(1, 4), seed=st.integers(0, 99)
)
def test_between_four_pixels_is_tensorflows(size, target, channels, seed):
    """float32 to the bit, and rounded."""
    is_tensorflows(noise(*size, channels, seed), *target)


@pytest.mark.parametrize("rows", [1, 15, 160, 161, 224, 321])
def test_between_four_pixels_of_as_many_rows_as_are_worked_on_at_a_time_and_more(rows):
    """The last of them are fewer."""
    is_tensorflows(noise(75, 50, 3, 7), rows, 22)


def is_tensorflows(pixels: np.ndarray, rows: int, cols: int) -> None:
    expected = tf.image.resize(pixels, (rows, cols), antialias=False).numpy()
    np.testing.assert_array_equal(expected, interpolate(pixels, rows=rows, cols=cols, dtype="float32"))
    np.testing.assert_array_equal(
        np.rint(expected).astype(np.uint8), interpolate(pixels, rows=rows, cols=cols, dtype="uint8")
    )


def test_many_threads_get_the_same():
    """They share nothing."""
    images = [noise(90 + number, 120 - number, 3, number) for number in range(40)]

    def one(pixels: np.ndarray) -> np.ndarray:
        return resample(pixels, box=(0, 0, pixels.shape[1], len(pixels)), rows=32, cols=48, method="lanczos")

    with ThreadPoolExecutor(4) as pool:
        for alone, together in zip(map(one, images), pool.map(one, images), strict=True):
            np.testing.assert_array_equal(alone, together)
