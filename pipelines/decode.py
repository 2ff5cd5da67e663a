"""From encoded bytes to pixels as they are: faithful, or refused.

libjpeg-turbo decodes gray and YCbCr JPEG, TensorFlow CMYK and what is special of PNG, and Pillow all else: TensorFlow
gives a palette BMP as raw indices, a GIF without its canvas, is killed by some animated WebP, and knows neither TIFF
nor AVIF. What libjpeg-turbo warns of, and a PNG that breaks a rule, TensorFlow decodes, or refuses.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import simplejpeg
from PIL import Image

from nhwc.pipelines.header import HeaderFacts, ends_early
from nhwc.pipelines.npy import npy_array
from nhwc.pipelines.pillow import PIXEL_LIMITS, open_image
from nhwc.pipelines.png import is_plain, plain_png
from nhwc.pipelines.stage import Array
from nhwc.validators.contract import interval
from nhwc.validators.errors import SampleRefused
from nhwc.validators.violation import Code, Violation

# TensorFlow is imported where it decodes: it takes seconds and half a gigabyte, and nearly all files do without

BAND_PIXELS = 1 << 20
"""Pixels that are copied or computed at a time, so that a large image never stands twice in memory."""


class NeedsTensorFlow(Exception):  # noqa: N818  no error: where it is decoded is the caller's choice
    """Raised by an Encoded's `before_tensorflow` that wants none; `decode` lets it through."""


def as_it_comes() -> None:
    """Let TensorFlow be imported."""


@dataclass(frozen=True)
class Encoded:
    """A file's bytes and what its header says of them.

    Args:
        before_tensorflow: called before TensorFlow, which may not have been imported yet, decodes it.
    """

    content: bytes
    facts: HeaderFacts
    before_tensorflow: Callable[[], None] = as_it_comes


Decoder = Literal["libjpeg-turbo", "tensorflow", "pillow", "numpy"]


def decoder_of(facts: HeaderFacts) -> Decoder:
    """Which decoder reads such an image rightly, where it is whole."""
    if facts.format == "jpeg" and facts.mode != "CMYK":
        return "libjpeg-turbo"
    if facts.format == "npy":
        return "numpy"
    return "tensorflow" if facts.format in ("jpeg", "png") and not is_plain(facts) else "pillow"


def reduction(facts: HeaderFacts, *, rows: int, cols: int) -> int:
    """By how much a JPEG's sides can be divided while it is decoded, so that each is twice the target's at least.

    Returns 8, 4 or 2, by which libjpeg scales in its inverse DCT; 1 where there is no such room, and for what
    libjpeg-turbo does not decode.
    """
    if decoder_of(facts) != "libjpeg-turbo":
        return 1
    if facts.orientation >= 5:
        rows, cols = cols, rows
    return next((by for by in (8, 4, 2) if facts.rows >= 2 * rows * by and facts.cols >= 2 * cols * by), 1)


def decode(
    encoded: Encoded,
    *,
    orientation: Literal["apply", "ignore", "refuse"] = "apply",
    reduced_by: int = 1,
    float_range: tuple[float, float] | None = None,
) -> Array:
    """The pixels of the first frame: uint8 or uint16 [rows, cols, channels], channels 1, 2 (gray, alpha), 3 or 4.

    Palettes are expanded, with a transparent colour to 4 channels; CMYK becomes RGB; one bit becomes 0 and 255; 16-bit
    PNG and gray TIFF stay uint16, over the full range; a GIF fills its whole canvas. With orientation `apply`, rows and
    cols are the upright picture's. Of a TIFF with 16 bits a colour, and of an AVIF with 10 or 12, Pillow keeps 8.
    With reduced_by, which `reduction` gives, rows and cols are divided by it, rounded up. Arrays of floats become
    uint16 over float_range, the lowest and highest value that they may have.

    Raises SampleRefused: TRUNCATED, UNDECODABLE, DIFFERS_FROM_HEADER, OUT_OF_RANGE; and NeedsTensorFlow.
    """
    facts = encoded.facts
    try:
        pixels = _of_array(encoded, float_range) if facts.format == "npy" else _pixels(encoded, reduced_by)
    except (SampleRefused, NeedsTensorFlow):
        raise
    except Exception as error:  # decoders raise nearly anything on damaged bytes, out of memory included
        if isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError":  # TensorFlow's
            raise _refused(Code.OUT_OF_MEMORY, "memory", expected="enough", found=_brief(error)) from error
        early = ends_early(encoded.content, facts.format) or "truncated" in str(error)
        code = Code.TRUNCATED if early else Code.UNDECODABLE
        raise _refused(code, "bytes", expected=f"a whole {facts.format}", found=_brief(error)) from error
    expected = (-(-facts.rows // reduced_by), -(-facts.cols // reduced_by), facts.channels)
    if pixels.shape != expected:
        raise _refused(
            Code.DIFFERS_FROM_HEADER, "shape", expected=f"{expected}, as its header says", found=f"{pixels.shape}"
        )
    return upright(pixels, facts.orientation) if orientation == "apply" else pixels


def upright(pixels: Array, orientation: int) -> Array:
    """The picture [rows, cols, channels] as its EXIF orientation 1 to 8 wants it seen (EXIF 2.3, tag 274)."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def _pixels(encoded: Encoded, reduced_by: int) -> Array:
    match decoder_of(encoded.facts):
        case "libjpeg-turbo":
            return _by_libjpeg(encoded, reduced_by)
        case "tensorflow":
            return _by_tensorflow(encoded)
        case _:
            return _plain_png(encoded) if encoded.facts.format == "png" else _by_pillow(encoded)


def _by_libjpeg(encoded: Encoded, reduced_by: int) -> Array:
    """By simplejpeg, in half TensorFlow's time; the accurate DCT and smooth chroma give the same values."""
    facts = encoded.facts
    # of the scales that libjpeg knows, simplejpeg takes the smallest that leaves so many rows and cols
    rows, cols = -(-facts.rows // reduced_by), -(-facts.cols // reduced_by)
    try:
        pixels: Array = simplejpeg.decode_jpeg(
            encoded.content,
            colorspace="GRAY" if facts.channels == 1 else "RGB",
            min_height=rows,
            min_width=cols,
            min_factor=reduced_by,
        )
        return pixels
    except ValueError:  # any warning of libjpeg's; TensorFlow tells what can be read all the same from what cannot
        return _jpeg_by_tensorflow(encoded, reduced_by)


def _plain_png(encoded: Encoded) -> Array:
    image = plain_png(encoded.content, encoded.facts)
    return _png_by_tensorflow(encoded) if image is None else _copied(image)


def _by_tensorflow(encoded: Encoded) -> Array:
    return _jpeg_by_tensorflow(encoded) if encoded.facts.format == "jpeg" else _png_by_tensorflow(encoded)


def _jpeg_by_tensorflow(encoded: Encoded, reduced_by: int = 1) -> Array:
    encoded.before_tensorflow()
    import tensorflow as tf  # noqa: PLC0415

    # never channels=3: a gray image would come out as colour without a word
    return np.asarray(tf.io.decode_jpeg(encoded.content, channels=0, ratio=reduced_by, dct_method="INTEGER_ACCURATE"))


def _png_by_tensorflow(encoded: Encoded) -> Array:
    encoded.before_tensorflow()
    import tensorflow as tf  # noqa: PLC0415

    facts = encoded.facts
    dtype = tf.uint16 if facts.bit_depth == 16 else tf.uint8
    # with 0 channels a transparent colour is dropped, with 4 it becomes alpha
    has_transparent_colour = facts.alpha and facts.mode in ("1", "L", "I;16", "RGB")
    pixels = np.asarray(tf.io.decode_png(encoded.content, channels=4 if has_transparent_colour else 0, dtype=dtype))
    return np.ascontiguousarray(pixels[..., ::3]) if facts.channels == 2 and has_transparent_colour else pixels


def _of_array(encoded: Encoded, float_range: tuple[float, float] | None) -> Array:
    """uint8 or uint16 [rows, cols, channels] of a .npy: gray gets its axis, bool becomes 0 and 255, floats 16 bits."""
    array = npy_array(encoded.content)
    array = array[..., np.newaxis] if array.ndim == 2 else array
    if array.dtype.kind == "f":
        if float_range is None:
            raise ValueError(f"{array.dtype.name} without image.float_range")
        return _over_range(array, *float_range)
    pixels = array * np.uint8(255) if array.dtype == bool else array
    return np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("="))


def _over_range(array: Array, low: float, high: float) -> Array:
    """uint16 over all its range for floats over theirs. Raises SampleRefused where any value is outside, or NaN."""
    with np.errstate(invalid="ignore"):  # NaN, which is told below
        least, most = float(array.min()), float(array.max())
    if not (low <= least and most <= high):
        isnan = np.isnan(least) or np.isnan(most)
        found = "values that are not numbers" if isnan else interval(least, most)
        raise _refused(Code.OUT_OF_RANGE, "range", expected=f"image.float_range, {interval(low, high)}", found=found)
    return np.rint((array.astype(np.float64) - low) * (65535 / (high - low))).astype(np.uint16)


def _by_pillow(encoded: Encoded) -> Array:
    facts = encoded.facts
    if facts.rows * facts.cols > (limit := PIXEL_LIMITS.get(facts.format, facts.rows * facts.cols)):
        raise ValueError(f"more than {limit:,} pixels, the most that is read of a {facts.format}")
    image: Image.Image = open_image(encoded.content, facts.format)
    image.load()  # once, on a fresh open: after a failed load a second one gives half-decoded pixels
    if facts.alpha and image.mode in ("P", "PA", "L"):
        image = image.convert("LA" if image.mode == "L" else "RGBA")
    elif image.mode in ("P", "CMYK", "YCbCr"):
        image = image.convert("RGB")
    elif image.mode == "1":
        image = image.convert("L")
    return _copied(image)


def _copied(image: Image.Image) -> Array:
    """The pixels as an array [rows, cols, channels], copied band by band: `np.asarray` needs thrice the memory."""
    channels = len(image.getbands())
    dtype = np.uint16 if image.mode.startswith("I;16") else np.uint8
    pixels = np.empty((image.height, image.width, channels), dtype)
    step = max(1, BAND_PIXELS // image.width)
    for start in range(0, image.height, step):
        stop = min(start + step, image.height)
        pixels[start:stop] = np.asarray(image.crop((0, start, image.width, stop))).reshape(-1, image.width, channels)
    return pixels


def _refused(code: Code, aspect: str, *, expected: str, found: str) -> SampleRefused:
    return SampleRefused(Violation(code=code, stage="decode", aspect=aspect, expected=expected, found=found))


def _brief(error: Exception) -> str:
    """The first line of an error, without the graph's node names."""
    text = str(error).strip().split("\n")[0].split("}} ")[-1].split(" [Op:")[0]
    return f"{type(error).__name__}: {text[:200]}"
