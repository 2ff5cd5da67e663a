"""What a shard's rows say of the pixels."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nhwc.flows.shards import _pixel_facts


@given(
    size=st.tuples(st.integers(1, 600), st.integers(1, 9), st.sampled_from([1, 3, 4])),
    low=st.integers(0, 255),
    seed=st.integers(0, 9),
)
def test_moments_are_those_of_float64(size, low, seed):
    """Mean and standard deviation of each channel, also where all values are the largest, and in more than one band."""
    pixels = np.random.default_rng(seed).integers(low, 256, size, np.uint8)
    facts = _pixel_facts(pixels)
    np.testing.assert_allclose(pixels.mean(axis=(0, 1), dtype=np.float64), facts["channel_mean"], rtol=1e-14)
    np.testing.assert_allclose(pixels.std(axis=(0, 1), dtype=np.float64), facts["channel_std"], rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_pixel_facts_of_every_dtype(dtype):
    """The hash is of the bytes as they are stored; a constant channel deviates by 0 exactly."""
    pixels = np.full((300, 4, 3), 7, dtype)
    pixels[..., 1] = np.arange(300)[:, np.newaxis] % 200
    facts = _pixel_facts(pixels)
    assert hashlib.sha256(pixels.tobytes()).hexdigest() == facts["pixel_hash"]
    assert facts["pixel_hash"] == _pixel_facts(pixels[::-1][::-1])["pixel_hash"]
    assert ([7, 7], [0, 0]) == (facts["channel_mean"][::2], facts["channel_std"][::2])
    assert facts["channel_std"][1] == pytest.approx(float(pixels[..., 1].std(dtype=np.float64)))
