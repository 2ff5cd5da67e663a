import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from nhwc.pipelines.cast import ChannelStatistics, cast_contract, cast_problems, make_cast
from nhwc.validators.array import check_array
from nhwc.validators.contract import TensorContract, image_contract

STATISTICS = ChannelStatistics(mean=(100.0, 120.5, 0.0), std=(50.0, 7.3, 0.0))


def stored(dtype: str = "uint8") -> TensorContract:
    top = 65535 if dtype == "uint16" else 255
    return image_contract(rows=1, cols=256, channels=3, dtype=dtype, value_range=(0, top))


def every_value(dtype: str) -> np.ndarray:
    """(samples=1, rows=1, cols=256, channels=3): 256 values over the whole stored range."""
    values = np.linspace(0, 65535 if dtype == "uint16" else 255, 256).astype(dtype)
    return np.repeat(values[None, None, :, None], 3, axis=-1)


@pytest.mark.parametrize(
    ("dtype", "scale", "asked", "expected"),
    [
        ("uint8", "none", None, "uint8[rows=1, cols=256, channels=3] in [0, 255]"),
        ("uint8", "none", "float32", "float32[rows=1, cols=256, channels=3] in [0, 255]"),
        ("uint16", "none", None, "uint16[rows=1, cols=256, channels=3] in [0, 65535]"),
        ("float32", "none", None, "float32[rows=1, cols=256, channels=3] in [0, 255]"),
        ("uint8", "unit", None, "float32[rows=1, cols=256, channels=3] in [0, 1]"),
        ("uint8", "unit", "bfloat16", "bfloat16[rows=1, cols=256, channels=3] in [0, 1]"),
        ("uint8", "signed", "float16", "float16[rows=1, cols=256, channels=3] in [-1, 1]"),
        ("uint8", "standard", None, "float32[rows=1, cols=256, channels=3]"),
    ],
)
def test_contract_follows_from_the_options(dtype, scale, asked, expected):
    """Without statistics `standard` leaves its range open; everything else is settled before a version exists."""
    assert expected == str(cast_contract(stored(dtype), scale=scale, dtype=asked))


def test_standard_range_is_the_widest_channels():
    """The contract's range is what the ends of the stored range become, over all channels, and hardly more."""
    low, high = cast_contract(stored(), scale="standard", statistics=STATISTICS).value_range
    assert low == pytest.approx((0 - 120.5) / 7.3, rel=1e-5)
    assert high == pytest.approx(255, rel=1e-5)


@pytest.mark.parametrize("asked", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("scale", ["unit", "signed", "standard"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_every_value_keeps_the_contract(dtype, scale, asked):
    """What is proved of the two ends holds of all values; each is close to the exact one, eager and in a graph."""
    statistics = ChannelStatistics(mean=(100.0, 120.5, 30.0), std=(50.0, 7.3, 2.0)) if scale == "standard" else None
    contract = cast_contract(stored(dtype), scale=scale, dtype=asked, statistics=statistics)
    cast = make_cast(stored(dtype), scale=scale, dtype=asked, statistics=statistics)
    images = every_value(dtype)
    result = cast(tf.constant(images)).numpy()
    assert cast_problems(cast, stored(dtype), contract) == []
    assert check_array(contract.batched(1), result, stage="cast").violations == ()
    exact = images.astype(np.float64)
    top = stored(dtype).value_range[1]
    if scale == "unit":
        exact = exact / top
    elif scale == "signed":
        exact = exact / top * 2 - 1
    else:
        exact = (exact - statistics.mean) / statistics.std
    tolerance = {"float32": 1e-6, "float16": 2e-3, "bfloat16": 1e-2}[asked]
    np.testing.assert_allclose(exact, result.astype(np.float64), rtol=tolerance, atol=tolerance / 10)
    (mapped,) = tf.data.Dataset.from_tensors(images).map(cast)
    np.testing.assert_array_equal(result.astype(np.float64), mapped.numpy().astype(np.float64))


@pytest.mark.parametrize("scale", ["none", "unit", "signed", "standard"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("mean", [(100.0, 120.5, 30.0), (0.0, 0.0, 0.0)])
def test_on_the_host_it_is_the_same(dtype, scale, mean):
    """Written image by image or several at once, to the last bit what the graph makes of them."""
    statistics = ChannelStatistics(mean=mean, std=(50.0, 7.3, 2.0))
    cast = make_cast(stored(dtype), scale=scale, dtype="float32", statistics=statistics)
    assert cast.in_float32
    images = np.concatenate([every_value(dtype), every_value(dtype)[:, :, ::-1]])
    expected = cast(tf.constant(images)).numpy()
    for rows in ([0, 1], [1, 0], [1]):
        places = np.array(rows)[::-1].copy()
        written = np.full(images.shape, np.nan, np.float32)
        cast.write(images, np.array(rows), written, places)
        np.testing.assert_array_equal(expected[rows], written[places])
        assert np.isnan(written[[place for place in (0, 1) if place not in places]]).all()


def test_standard_needs_statistics():
    """It is never another scale instead."""
    with pytest.raises(ValueError, match="scale: found standard without statistics, expected the channels' mean"):
        make_cast(stored("uint8"), scale="standard")


@given(data=st.data())
def test_quotients_by_a_reciprocal_are_those_of_a_division(data):
    """Of any mean and deviation a version may have, to the last bit."""
    mean, std = data.draw(st.floats(0, 65535, width=32)), data.draw(st.floats(2**-10, 65535, width=32))
    statistics = ChannelStatistics(mean=(mean,) * 3, std=(std,) * 3)
    cast = make_cast(stored("uint16"), scale="standard", statistics=statistics)
    values = every_value("uint16")
    expected = (values.astype(np.float32) - np.float32(mean)) / np.float32(std)
    np.testing.assert_array_equal(expected, cast.on_host(values))


@pytest.mark.parametrize("asked", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("scale", ["none", "unit", "signed", "standard"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_without_tensorflow_it_is_the_same(dtype, scale, asked):
    """To the last bit, in each dtype, infinities of float16 included."""
    statistics = ChannelStatistics(mean=(100.0, 120.5, 30.0), std=(50.0, 7.3, 2.0))
    cast = make_cast(stored(dtype), scale=scale, dtype=asked, statistics=statistics)
    with np.errstate(over="ignore"):
        result = cast.on_host(every_value(dtype))
    assert asked == result.dtype.name
    assert cast(tf.constant(every_value(dtype))).numpy().tobytes() == result.tobytes()


@pytest.mark.parametrize(
    ("scale", "asked", "expected"),
    [
        ("none", None, False),
        ("none", "float16", False),
        ("none", "float32", True),
        ("unit", None, True),
        ("signed", "bfloat16", True),
    ],
)
def test_which_casts_pass_through_float32(scale, asked, expected):
    """Every scale but `none`, and what becomes float32."""
    assert expected == make_cast(stored(), scale=scale, dtype=asked).in_float32


def test_unit_is_the_nearest_float32():
    """x / 255, correctly rounded, for each of the 256 bytes; the ends are 0 and 1."""
    result = make_cast(stored(), scale="unit")(tf.constant(every_value("uint8"))).numpy()[0, 0, :, 0]
    np.testing.assert_array_equal((np.arange(256) / 255).astype(np.float32), result)


def test_signed_is_even():
    """-1 and 1 at the ends, and values that mirror one another."""
    result = make_cast(stored(), scale="signed")(tf.constant(every_value("uint8"))).numpy()[0, 0, :, 0]
    assert [result[0], result[-1]] == [-1, 1]
    np.testing.assert_array_equal(result, -result[::-1])


def test_a_flat_channel_is_only_centred():
    """A standard deviation of 0 divides by 1."""
    cast = make_cast(stored(), scale="standard", statistics=ChannelStatistics(mean=(9.0,) * 3, std=(0.0,) * 3))
    np.testing.assert_array_equal([-9, 0, 246], cast(tf.constant([[[[0] * 3, [9] * 3, [255] * 3]]]))[0, 0, :, 0])


def test_none_keeps_values_and_dtype():
    """Scale `none` without a dtype changes nothing; with one, the dtype alone."""
    images = every_value("uint16")
    np.testing.assert_array_equal(images, make_cast(stored("uint16"))(tf.constant(images)))
    widened = make_cast(stored("uint16"), dtype="float32")(tf.constant(images))
    assert widened.dtype == tf.float32
    np.testing.assert_array_equal(images, widened)


@pytest.mark.parametrize(
    ("dtype", "scale", "asked", "statistics", "expected"),
    [
        (
            "uint16",
            "none",
            "float16",
            None,
            "cast to float16[rows=1, cols=256, channels=3] in [0, 65535]: the stored range [0, 65535] becomes "
            "[0, inf]: choose another scale or dtype",
        ),
        (
            "uint8",
            "standard",
            "float16",
            ChannelStatistics(mean=(128.0,) * 3, std=(1e-3,) * 3),
            "becomes [-inf, inf]",
        ),
        ("uint8", "standard", None, None, "found no value range, expected one on both sides"),
    ],
)
def test_a_cast_that_cannot_hold_its_range_is_found(dtype, scale, asked, statistics, expected):
    """The two ends show it before any image is read."""
    contract = cast_contract(stored(dtype), scale=scale, dtype=asked, statistics=statistics)
    any_other = ChannelStatistics(mean=(100.0,) * 3, std=(50.0,) * 3)
    cast = make_cast(stored(dtype), scale=scale, dtype=asked, statistics=statistics or any_other)
    (problem,) = cast_problems(cast, stored(dtype), contract)
    assert expected in problem
