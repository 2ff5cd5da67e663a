"""A picture small enough to stand in a page, of pixels or of a file that need not be whole."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image, JpegImagePlugin, PngImagePlugin

from nhwc.pipelines.pillow import open_image
from nhwc.pipelines.probe import probe

SIDE = 96
"""Pixels of a thumbnail's longer side."""

PIXEL_ART = 48
"""Up to so many pixels a side an image is kept as it is and enlarged by a whole number, its pixels seen as squares."""

MOST_PIXELS = 25_000_000


@dataclass(frozen=True, kw_only=True)
class Thumbnail:
    """A small picture.

    Args:
        uri: data:image/webp.
        rows, cols: in which it is shown.
        pixelated: whether that is enlarged.
        brighter: how many times brighter it is shown than it is.
    """

    uri: str
    rows: int
    cols: int
    pixelated: bool
    brighter: int = 1


_OPEN: Mapping[str, Callable[[BytesIO], Image.Image]] = {
    "jpeg": JpegImagePlugin.JpegImageFile,
    "png": PngImagePlugin.PngImageFile,
}

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What brings a picture of each EXIF orientation upright."""


def thumbnail_of_file(content: bytes) -> Thumbnail | None:
    """Of a file's bytes; None where they cannot be shown, or are by their header of more than MOST_PIXELS.

    A JPEG that ends early is shown as far as it goes.
    """
    try:
        return _of_file(content)
    except Exception:  # decoders raise nearly anything on damaged bytes, out of memory included
        return None


def _of_file(content: bytes) -> Thumbnail | None:
    facts = probe(content)
    if facts.rows * facts.cols > MOST_PIXELS:
        return None
    if facts.format == "jpeg":
        content += b"\xff\xd9"  # a mark that ends it, for where its own is missing
    opener = _OPEN.get(facts.format)
    image = opener(BytesIO(content)) if opener else open_image(content, facts.format)
    if image.mode in ("L", "RGB", "CMYK"):
        image.thumbnail((SIDE, SIDE))  # first, since a JPEG is then decoded at a reduced size
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    elif image.mode != "L":
        image = image.convert("RGBA" if facts.alpha else "RGB")
    turn = _TURNS.get(facts.orientation)
    return thumbnail_of(image if turn is None else image.transpose(turn))


def thumbnail_of(image: Image.Image) -> Thumbnail:
    """The picture at most SIDE pixels a side, as WebP, which has alpha too."""
    longer = max(image.size)
    if longer > SIDE:
        image.thumbnail((SIDE, SIDE))
    times = SIDE // longer if longer <= PIXEL_ART else 1
    encoded = BytesIO()
    image.save(encoded, "WEBP", lossless=times > 1, quality=75, method=2)
    uri = "data:image/webp;base64," + base64.b64encode(encoded.getvalue()).decode()
    return Thumbnail(uri=uri, rows=times * image.height, cols=times * image.width, pixelated=times > 1)
