"""From any rows and cols to the target's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from PIL import Image

from nhwc.pipelines.image_recipe import Method, ResizeRecipe
from nhwc.pipelines.resample import Box, interpolate, resample
from nhwc.pipelines.stage import Array

_KERNELS: Mapping[Method, Image.Resampling] = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "area": Image.Resampling.BOX,
}
_TENSORFLOW_KERNELS: Mapping[Method, str] = {"bilinear": "bilinear", "bicubic": "bicubic", "lanczos": "lanczos3"}

_LARGE = 3 << 24
"""Values of an RGB image from which on memory matters more than speed."""


def resize(array: Array, *, rows: int, cols: int, resize: ResizeRecipe, dtype: str) -> Array:
    """The image at the target's rows and cols.

    Args:
        array: uint8, uint16 or float32 [rows, cols, channels], channels 1, 3 or 4 (RGBA).
        rows, cols: the target, in pixels.
        resize: kernel and fit. Kernels are Pillow's, so that bilinear and nearest equal `keras.utils.load_img`; those
            not to be antialiased are `tf.image.resize`'s. `crop` is the middle that keras' `keep_aspect_ratio` takes;
            `pad` fits the whole image in, centred, and fills the rest with zeros.
        dtype: of the result. float32 values are not rounded; uint8 and uint16 are, and all stay in the range.

    Returns:
        dtype [rows, cols, channels], the same values where the size is the target's already. With 4 channels colour is
        weighted by alpha, so that what is transparent does not bleed into what is not.
    """
    height, width = array.shape[:2]
    if (height, width) == (rows, cols):
        return array if array.dtype == dtype else array.astype(dtype)
    whole = (0, 0, width, height)
    if resize.fit == "pad":
        inner_rows, inner_cols = _fitted(height, width, rows, cols)
        inner = _sampled(array, _Sampling(whole, inner_rows, inner_cols, resize), dtype)
        padded = np.zeros((rows, cols, array.shape[2]), dtype)
        top, left = (rows - inner_rows) // 2, (cols - inner_cols) // 2
        padded[top : top + inner_rows, left : left + inner_cols] = inner
        return padded
    box = _middle(height, width, rows, cols) if resize.fit == "crop" else whole
    return _sampled(array, _Sampling(box, rows, cols, resize), dtype)


def _fitted(height: int, width: int, rows: int, cols: int) -> tuple[int, int]:
    """Rows and cols of the whole image, its aspect kept, within the target."""
    if height * cols >= width * rows:
        return rows, max(1, round(width * rows / height))
    return max(1, round(height * cols / width)), cols


def _middle(height: int, width: int, rows: int, cols: int) -> Box:
    """The middle of the image that has the target's aspect, as keras' keep_aspect_ratio takes it."""
    crop_rows = max(1, min(height, width * rows // cols))
    crop_cols = max(1, min(width, height * cols // rows))
    top, left = (height - crop_rows) // 2, (width - crop_cols) // 2
    return left, top, left + crop_cols, top + crop_rows


@dataclass(frozen=True)
class _Sampling:
    """A box of the image, sampled at rows and cols."""

    box: Box
    rows: int
    cols: int
    resize: ResizeRecipe

    @property
    def by_tensorflow(self) -> bool:
        return self.resize.method in _TENSORFLOW_KERNELS and not self.resize.antialiased

    def inner(self, array: Array) -> Array:
        """What lies in the box."""
        left, top, right, bottom = self.box
        return array[top:bottom, left:right]

    def image(self, image: Image.Image) -> Array:
        """An 8-bit or float image by Pillow. The kernel sees what lies around the box, as it does in keras."""
        return np.asarray(image.resize((self.cols, self.rows), _KERNELS[self.resize.method], box=self.box))

    def plane(self, plane: Array) -> Array:
        """One channel [rows, cols] of any dtype, as float32."""
        return self.pixels(plane[..., np.newaxis])[..., 0] if self.by_tensorflow else self.image(_float_image(plane))

    def pixels(self, array: Array) -> Array:
        """All channels at once by TensorFlow, as float32."""
        import tensorflow as tf  # noqa: PLC0415  seconds, and only kernels that are not antialiased need it

        inner, method = self.inner(array), _TENSORFLOW_KERNELS[self.resize.method]
        return np.asarray(tf.image.resize(inner, (self.rows, self.cols), method=method, antialias=False))


def _sampled(array: Array, sampling: _Sampling, dtype: str) -> Array:
    channels, method = array.shape[2], sampling.resize.method
    if array.dtype == np.uint8 and method == "bilinear" and sampling.by_tensorflow and channels != 4:
        return interpolate(sampling.inner(array), rows=sampling.rows, cols=sampling.cols, dtype=dtype)
    if array.dtype == np.uint8 and dtype == "uint8" and not sampling.by_tensorflow:
        if method != "nearest" and channels != 4:
            return resample(array, box=sampling.box, rows=sampling.rows, cols=sampling.cols, method=method)
        if channels == 4 or (channels == 3 and array.size < _LARGE):
            return sampling.image(Image.fromarray(array))
        # the same values: Pillow's RGB takes 4 bytes a pixel, a plane by itself takes one
        images = (Image.fromarray(np.ascontiguousarray(array[..., channel])) for channel in range(channels))
        return np.stack([sampling.image(image) for image in images], axis=-1)
    if channels == 4 and method != "nearest":
        planes = _weighted_planes(array, sampling)
    elif sampling.by_tensorflow:
        return _within_range(sampling.pixels(array), dtype)
    else:
        planes = [sampling.plane(array[..., channel]) for channel in range(channels)]
    return _within_range(np.stack(planes, axis=-1), dtype)


def _weighted_planes(array: Array, sampling: _Sampling) -> list[Array]:
    """Red, green, blue and alpha, the colours weighted by alpha while they are sampled."""
    alpha = array[..., 3].astype(np.float32)
    sampled = sampling.plane(alpha)
    weight = np.where(sampled > 0, sampled, np.inf)  # where nothing is seen the colour is black
    return [*(sampling.plane(array[..., channel] * alpha) / weight for channel in range(3)), sampled]


def _float_image(plane: Array) -> Image.Image:
    """[rows, cols] as Pillow's float image; from 8 and 16 bits without a float copy on the way."""
    image = Image.fromarray(np.ascontiguousarray(plane))
    return image if image.mode == "F" else image.convert("F")


def _within_range(sampled: Array, dtype: str) -> Array:
    """Kernels with negative weights overshoot: clipped, and rounded to the nearest where dtype is whole."""
    clipped = np.clip(sampled, 0, 65535 if dtype == "uint16" else 255)
    return (clipped if dtype == "float32" else np.rint(clipped)).astype(dtype)
