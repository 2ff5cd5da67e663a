"""Thumbnails as data: URIs: of stored images, and of files that were left out, as far as these can be shown."""

from __future__ import annotations

import base64
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from PIL import Image, JpegImagePlugin, PngImagePlugin

from nhwc.flows.subject import Subject
from nhwc.pipelines.pillow import open_image
from nhwc.pipelines.probe import probe
from nhwc.pipelines.remote import is_url
from nhwc.pipelines.sources.protocol import Entry
from nhwc.pipelines.sources.remote_folder import source_at
from nhwc.validators.contract import INTEGER_RANGES, TensorContract

Array = np.ndarray[Any, Any]

SIDE = 96
"""Pixels of a thumbnail's longer side."""

PIXEL_ART = 48
"""Up to so many pixels a side an image is kept as it is and enlarged by a whole number, its pixels seen as squares."""

MOST_FILES = 200
"""Files of the source that are read for one report at most."""

MOST_BYTES = 50_000_000
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


def thumbnails(subject: Subject, sample_ids: set[str]) -> dict[str, Thumbnail]:
    """The thumbnail of each of these entries that can be shown, by its id: the stored image where there is one."""
    rows = subject.manifest.filter(pl.col("sample_id").is_in(list(sample_ids)))
    kept = pl.col("status") == "kept"
    found = dict(_of_stored(subject, rows.filter(kept)))
    if subject.source is not None:
        left_out = rows.filter(~kept).sort("path").head(MOST_FILES)
        for sample_id, path in left_out.select("sample_id", "path").iter_rows():
            thumbnail = file_thumbnail(subject.source, path, sample_id)
            if thumbnail is not None:
                found[sample_id] = thumbnail
    return found


def _of_stored(subject: Subject, kept: pl.DataFrame) -> Iterator[tuple[str, Thumbnail]]:
    if subject.pictures is None:
        return
    for rows in kept.sort("shard", "row").partition_by("shard"):
        try:
            for sample_id, image in zip(rows["sample_id"], subject.pictures(rows), strict=True):
                yield sample_id, stored_thumbnail(image, subject.contract)
        except (OSError, ValueError, LookupError):
            continue  # a shard that is missing or damaged: the report is wanted then above all


def stored_thumbnail(image: Array, contract: TensorContract) -> Thumbnail:
    """Of a stored image [rows, cols, channels] whose values lie in the contract's range.

    Of channels that are not 1 gray, 2 gray and alpha, 3 RGB or 4 RGBA, the first three are shown as RGB. What has more
    than 8 bits and uses only the lowest quarter of its range, as microscopes write it, is shown brighter, and says so.
    """
    step = max(1, max(image.shape[:2]) // (4 * SIDE))
    shares = _shares(image[::step, ::step], contract.value_range)
    peak = shares.max(initial=0)
    brighter = int(1 / peak) if image.dtype.itemsize > 1 and 0 < peak < 1 / 4 else 1
    pixels = np.rint(255 * brighter * shares).astype(np.uint8)
    channels = pixels.shape[2]
    shown = pixels[..., 0] if channels == 1 else pixels[..., : channels if channels <= 4 else 3]
    return replace(_encoded(Image.fromarray(shown)), brighter=brighter)


def _shares(image: Array, value_range: tuple[float, float] | None) -> Array:
    """Where in its range each value lies, float64 in [0, 1]; without a range, in the dtype's or that of the values."""
    values = np.nan_to_num(image.astype(np.float64))
    low, high = value_range or INTEGER_RANGES.get(image.dtype.name) or (values.min(), values.max())
    return np.clip((values - low) / ((high - low) or 1), 0, 1)


def file_thumbnail(root: str | Path, path: str, sample_id: str) -> Thumbnail | None:
    """Of a file in the source, a path or a URL, as the manifest names it; None where it cannot, or should not, be read.

    No link is followed out of the source, nothing but a regular file is opened, and none that is over MOST_BYTES, or
    by its header over MOST_PIXELS. A JPEG that ends early is shown as far as it goes.
    """
    try:
        content = _content(root, path, sample_id)
        return None if content is None else _of_file(content)
    except Exception:  # decoders raise nearly anything on damaged bytes, out of memory included
        return None


def _content(root: str | Path, path: str, sample_id: str) -> bytes | None:
    if is_url(root):
        with source_at(root, most_bytes=MOST_BYTES).open(Entry(name=path)) as remote:
            size = remote.seek(0, os.SEEK_END)
            remote.seek(0)
            return remote.read() if size <= MOST_BYTES else None
    root = Path(root)
    unescaped = re.sub(rb"\\x([0-9a-f]{2})", lambda byte: bytes.fromhex(byte[1].decode()), path.encode())
    for name in (path, os.fsdecode(unescaped)):  # which of them it was, the id tells
        if Entry(name=name).sample_id == sample_id:
            file = root / name
            status = file.lstat()
            inside = file.resolve().is_relative_to(root.resolve())
            if inside and stat.S_ISREG(status.st_mode) and status.st_size <= MOST_BYTES:
                return file.read_bytes()
    return None


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
    return _encoded(image if turn is None else image.transpose(turn))


def _encoded(image: Image.Image) -> Thumbnail:
    """The picture at most SIDE pixels a side, as WebP, which has alpha too."""
    longer = max(image.size)
    if longer > SIDE:
        image.thumbnail((SIDE, SIDE))
    times = SIDE // longer if longer <= PIXEL_ART else 1
    encoded = BytesIO()
    image.save(encoded, "WEBP", lossless=times > 1, quality=75, method=2)
    uri = "data:image/webp;base64," + base64.b64encode(encoded.getvalue()).decode()
    return Thumbnail(uri=uri, rows=times * image.height, cols=times * image.width, pixelated=times > 1)
