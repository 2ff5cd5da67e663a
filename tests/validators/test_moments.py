"""Mean and standard deviation of channels are NumPy's in float64, whatever the dtype and the layout."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nhwc.validators.moments import channel_moments

DTYPES = (np.uint8, np.uint16, np.float32, np.float64, np.int16)


def pixels(dtype, shape, seed=0):
    largest = 1 if np.issubdtype(dtype, np.floating) else np.iinfo(dtype).max
    return (np.random.default_rng(seed).random(shape) * largest).astype(dtype)


def expected(image):
    exact = image.astype(np.float64)
    return np.stack([exact.mean(axis=(0, 1)), exact.std(axis=(0, 1))])


@given(
    st.sampled_from(DTYPES), st.tuples(st.integers(1, 40), st.integers(1, 40), st.integers(1, 5)), st.integers(0, 99)
)
@settings(max_examples=60)
def test_moments_are_numpys(dtype, shape, seed):
    """Of any dtype and size, float64 [channels] each."""
    mean, std = channel_moments(pixels(dtype, shape, seed))
    assert (np.float64, np.float64) == (mean.dtype, std.dtype)
    np.testing.assert_allclose(np.stack([mean, std]), expected(pixels(dtype, shape, seed)), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize(
    "layout",
    [lambda image: image[::-1, ::2], lambda image: image.swapaxes(0, 1), lambda image: image[..., ::-1]],
    ids=["strided", "turned", "channels reversed"],
)
def test_layout_changes_no_moment(dtype, layout):
    """A view is measured as its copy."""
    view = layout(pixels(dtype, (20, 30, 3)))
    assert [part.tolist() for part in channel_moments(view.copy())] == [part.tolist() for part in channel_moments(view)]


@pytest.mark.parametrize("rows", [65_536, 65_537])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_sums_of_many_large_values_are_exact(dtype, rows):
    """White rows as many as 32 bits can just add up, and one more: no deviation at all."""
    mean, std = channel_moments(np.full((rows, 2, 3), np.iinfo(dtype).max, dtype))
    assert ([np.iinfo(dtype).max] * 3, [0] * 3) == (mean.tolist(), std.tolist())
