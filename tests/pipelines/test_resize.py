"""Rows and cols, kernels and fits."""

import io

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from nhwc.pipelines.image_recipe import ResizeRecipe
from nhwc.pipelines.resize import resize

METHODS = ("nearest", "bilinear", "bicubic", "lanczos", "area")
NOISE = np.random.default_rng(7).integers(0, 256, (37, 53, 4), np.uint8)


def by_keras(array: np.ndarray, rows: int, cols: int, method: str, *, aspect: bool = False) -> np.ndarray:
    out = io.BytesIO()
    Image.fromarray(array[..., 0] if array.shape[2] == 1 else array).save(out, "png")
    mode = {1: "grayscale", 3: "rgb", 4: "rgba"}[array.shape[2]]
    image = keras.utils.load_img(
        io.BytesIO(out.getvalue()),
        color_mode=mode,
        target_size=(rows, cols),
        interpolation=method,
        keep_aspect_ratio=aspect,
    )
    return keras.utils.img_to_array(image)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize(("rows", "cols"), [(10, 20), (80, 30), (37, 20), (1, 1)])
@pytest.mark.parametrize("method", METHODS)
def test_stretch_is_keras(method, rows, cols, channels):
    """uint8 equals keras.utils.load_img and img_to_array bit for bit, larger and smaller."""
    array = np.ascontiguousarray(NOISE[..., :channels])
    expected = by_keras(array, rows, cols, {"area": "box"}.get(method, method))
    resized = resize(array, rows=rows, cols=cols, resize=ResizeRecipe(method=method), dtype="uint8")
    assert resized.dtype == np.uint8
    np.testing.assert_array_equal(expected, resized)


@pytest.mark.parametrize(("rows", "cols"), [(10, 20), (20, 10), (80, 81), (37, 20), (5, 53)])
@pytest.mark.parametrize("method", ["nearest", "bilinear", "bicubic"])
def test_crop_is_keras_keep_aspect_ratio(method, rows, cols):
    """The middle part of the target's aspect, as keras takes it."""
    array = np.ascontiguousarray(NOISE[..., :3])
    expected = by_keras(array, rows, cols, method, aspect=True)
    recipe = ResizeRecipe(method=method, fit="crop")
    np.testing.assert_array_equal(expected, resize(array, rows=rows, cols=cols, resize=recipe, dtype="uint8"))


@pytest.mark.parametrize(
    ("method", "kernel"), [("bilinear", "bilinear"), ("bicubic", "bicubic"), ("lanczos", "lanczos3")]
)
def test_without_antialias_it_is_tensorflow(method, kernel):
    """Kernels that are not widened are those of tf.image.resize."""
    recipe = ResizeRecipe(method=method, antialias=False)
    resized = resize(NOISE[..., :3], rows=9, cols=11, resize=recipe, dtype="float32")
    expected = np.clip(tf.image.resize(NOISE[..., :3], (9, 11), method=kernel, antialias=False), 0, 255)
    np.testing.assert_allclose(expected, resized, atol=1e-3)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("method", METHODS)
def test_uint16_and_float32_follow_uint8(method, channels):
    """Widened to 16 bits, or unrounded, the picture is that of 8 bits within a step of 8 bits."""
    array = NOISE[..., :channels].copy()
    array[..., 3:] = 200  # alpha alike everywhere: premultiplied by 8 bits, small alphas would lose precision
    recipe = ResizeRecipe(method=method)
    narrow = resize(array, rows=12, cols=9, resize=recipe, dtype="uint8").astype(float)
    wide = resize(array.astype(np.uint16) * 257, rows=12, cols=9, resize=recipe, dtype="uint16")
    exact = resize(array, rows=12, cols=9, resize=recipe, dtype="float32")
    assert ("uint16", "float32") == (wide.dtype.name, exact.dtype.name)
    assert np.abs(narrow - wide / 257).max() <= 2
    assert np.abs(narrow - exact).max() <= 2


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_hidden_colours_do_not_bleed(dtype):
    """Shrinking a red pixel beside a fully transparent green one leaves pure red at half the alpha."""
    top = 65535 if dtype == "uint16" else 255
    pair = np.array([[[top, 0, 0, top], [0, top, 0, 0]]], "uint8" if dtype == "float32" else dtype)
    resized = resize(pair, rows=1, cols=1, resize=ResizeRecipe(method="area"), dtype=dtype)[0, 0]
    np.testing.assert_allclose([top, 0, 0, top / 2], resized, atol=1)


def test_area_is_the_mean():
    """area of blocks of 2 x 3 is their mean; float32 leaves it unrounded."""
    array = np.arange(4 * 6, dtype=np.uint8).reshape(4, 6, 1) * np.uint8(7)
    expected = array.reshape(2, 2, 2, 3, 1).mean(axis=(1, 3))
    resized = resize(array, rows=2, cols=2, resize=ResizeRecipe(method="area"), dtype="float32")
    np.testing.assert_allclose(expected, resized, atol=1e-4)


@pytest.mark.parametrize(
    ("size", "target", "inner"),
    [
        ((10, 20), (8, 8), (2, 6, 0, 8)),  # wide: 4 rows in the middle
        ((20, 10), (8, 8), (0, 8, 2, 6)),
        ((10, 10), (7, 9), (0, 7, 1, 8)),
        ((1, 500), (10, 10), (4, 5, 0, 10)),  # never less than a row
    ],
)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_pad(size, target, inner, channels):
    """The whole image fitted in, centred; zeros around it, alpha included."""
    top, bottom, left, right = inner
    array = np.full((*size, channels), 255, np.uint8)
    padded = resize(array, rows=target[0], cols=target[1], resize=ResizeRecipe(fit="pad"), dtype="uint8")
    expected = np.zeros((*target, channels))
    expected[top:bottom, left:right] = 255
    np.testing.assert_array_equal(expected, padded)


@given(
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    target=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    method=st.sampled_from(METHODS),
    fit=st.sampled_from(["stretch", "crop", "pad"]),
    form=st.sampled_from([("uint8", "uint8"), ("uint8", "float32"), ("uint16", "uint16"), ("float32", "float32")]),
    channels=st.sampled_from([1, 3, 4]),
)
def test_every_size_and_form(size, target, method, fit, form, channels):
    """Any image comes to any target, in dtype and range."""
    top = 65535 if form[1] == "uint16" else 255
    array = (np.random.default_rng(0).random((*size, channels)) * top).astype(form[0])
    rows, cols = target
    resized = resize(array, rows=rows, cols=cols, resize=ResizeRecipe(method=method, fit=fit), dtype=form[1])
    assert ((rows, cols, channels), form[1]) == (resized.shape, resized.dtype.name)
    assert resized.min() >= 0
    assert resized.max() <= top


@pytest.mark.parametrize("fit", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("method", METHODS)
def test_the_same_size_is_the_same_image(method, fit):
    """Nothing is resampled where rows and cols are the target's."""
    resized = resize(NOISE, rows=37, cols=53, resize=ResizeRecipe(method=method, fit=fit), dtype="float32")
    np.testing.assert_array_equal(NOISE, resized)


def test_large_images_are_resized_as_small_ones_are(monkeypatch):
    """Plane by plane, as large images are resized, gives the same values as all channels together."""
    array, recipe = np.ascontiguousarray(NOISE[..., :3]), ResizeRecipe(method="nearest")
    together = resize(array, rows=13, cols=8, resize=recipe, dtype="uint8")
    monkeypatch.setattr("nhwc.pipelines.resize._LARGE", 1)
    np.testing.assert_array_equal(together, resize(array, rows=13, cols=8, resize=recipe, dtype="uint8"))
