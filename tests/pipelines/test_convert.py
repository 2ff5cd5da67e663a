"""Channels and bit depth, value by value."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from PIL import Image

from nhwc.pipelines.convert import convert

DECODED = npst.arrays(
    st.sampled_from([np.uint8, np.uint16]),
    st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(1, 4)),
)


@pytest.mark.parametrize(
    ("pixel", "channels", "dtype", "alpha", "expected"),
    [
        ([7], 1, "uint8", "white", [7]),
        ([7], 3, "uint8", "white", [7, 7, 7]),
        ([7], 4, "uint8", "white", [7, 7, 7, 255]),
        ([0, 0], 1, "uint8", "white", [255]),
        ([0, 0], 1, "uint8", "black", [0]),
        ([100, 128], 3, "uint8", "white", [177, 177, 177]),  # (100 * 128 + 255 * 127) / 255 = 177.2
        ([100, 128], 3, "uint8", "black", [50, 50, 50]),  # 100 * 128 / 255 = 50.2
        ([100, 128], 4, "uint8", "white", [100, 100, 100, 128]),
        ([1, 2, 3], 4, "uint8", "white", [1, 2, 3, 255]),
        ([255, 0, 0], 1, "uint8", "white", [76]),
        ([0, 255, 0], 1, "uint8", "white", [150]),
        ([0, 0, 255], 1, "uint8", "white", [29]),
        ([1, 2, 3, 0], 3, "uint8", "white", [255, 255, 255]),
        ([1, 2, 3, 255], 3, "uint8", "black", [1, 2, 3]),
        ([1, 2, 3], 3, "uint16", "white", [257, 514, 771]),
        ([1], 4, "uint16", "white", [257, 257, 257, 65535]),
        ([9], 3, "float32", "white", [9, 9, 9]),
    ],
)
def test_eight_bit_pixels(pixel, channels, dtype, alpha, expected):
    """Each kind of 8-bit pixel in each form, worked out by hand."""
    array = np.array([[pixel]], np.uint8)
    assert expected == convert(array, channels=channels, dtype=dtype, alpha=alpha)[0, 0].tolist()


@pytest.mark.parametrize(
    ("pixel", "channels", "dtype", "expected"),
    [
        ([128], 1, "uint8", [0]),  # 0.498
        ([129], 1, "uint8", [1]),  # 0.502
        ([65535], 1, "uint8", [255]),
        ([257], 1, "float32", [1.0]),
        ([65535, 0, 0], 1, "uint16", [19595]),
        ([65535, 65535, 65535], 1, "uint16", [65535]),
        ([1, 2, 3], 4, "uint16", [1, 2, 3, 65535]),
        ([40000, 32768], 3, "uint16", [52767, 52767, 52767]),
        ([65535, 65535, 65535, 65535], 3, "uint16", [65535, 65535, 65535]),
    ],
)
def test_sixteen_bit_pixels(pixel, channels, dtype, expected):
    """16 bits are kept, or divided by 257 and rounded to the nearest; nothing overflows."""
    array = np.array([[pixel]], np.uint16)
    assert expected == convert(array, channels=channels, dtype=dtype)[0, 0].tolist()


def test_float32_keeps_what_is_between():
    """16 bits as float32 are not rounded."""
    converted = convert(np.array([[[1000]]], np.uint16), channels=1, dtype="float32")
    assert np.float32(1000 / 257) == pytest.approx(converted[0, 0, 0])
    assert converted.dtype == np.float32


def test_composition_rounds_to_the_nearest():
    """All 65,536 pairs of gray and alpha on white are the exact quotient, rounded; 255 is odd, so no ties."""
    colour, alpha = np.meshgrid(np.arange(256), np.arange(256), indexing="ij")
    exact = np.floor((colour * alpha + 255 * (255 - alpha)) / 255 + 0.5)
    composed = convert(np.stack([colour, alpha], -1).astype(np.uint8), channels=1, dtype="uint8")
    np.testing.assert_array_equal(exact, composed[..., 0])


def test_gray_is_pillows():
    """RGB to gray equals Pillow's convert("L") for a grid through the whole cube."""
    cube = np.array(list(itertools.product(range(0, 256, 15), repeat=3)), np.uint8).reshape(18, -1, 3)
    expected = np.asarray(Image.fromarray(cube).convert("L"))
    np.testing.assert_array_equal(expected, convert(cube, channels=1, dtype="uint8")[..., 0])


def test_rank_2_becomes_rank_3():
    """A gray (28, 28) array becomes (28, 28, 1)."""
    assert convert(np.zeros((28, 28), np.uint8), channels=1, dtype="uint8").shape == (28, 28, 1)


def test_large_images_are_converted_as_small_ones_are():
    """Bands do not show: an image of many bands equals its parts."""
    tall = np.random.default_rng(1).integers(0, 255, (3001, 1000, 4), np.uint8)
    whole = convert(tall, channels=3, dtype="uint8")
    np.testing.assert_array_equal(whole[1040:1060], convert(tall[1040:1060], channels=3, dtype="uint8"))
    np.testing.assert_array_equal(whole[-5:], convert(tall[-5:], channels=3, dtype="uint8"))


@given(array=DECODED, channels=st.sampled_from([1, 3, 4]), dtype=st.sampled_from(["uint8", "uint16", "float32"]))
def test_any_decoded_array_converts(array, channels, dtype):
    """Rows and cols stay, channels and dtype are the recipe's, values in range, and the input is left alone."""
    before = array.copy()
    converted = convert(array, channels=channels, dtype=dtype)
    assert (*array.shape[:2], channels) == converted.shape
    assert converted.dtype.name in ((dtype, "uint8") if dtype == "float32" else (dtype,))
    assert converted.max() <= (65535 if dtype == "uint16" else 255)
    np.testing.assert_array_equal(before, array)


@given(array=npst.arrays(np.uint8, (3, 4, 3)))
def test_eight_bits_survive_sixteen(array):
    """uint8 to uint16 and back is the same array."""
    wide = convert(array, channels=3, dtype="uint16")
    np.testing.assert_array_equal(array, convert(wide, channels=3, dtype="uint8"))
