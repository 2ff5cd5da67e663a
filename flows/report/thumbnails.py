"""Thumbnails as data: URIs: of stored images, and of files that were left out, as far as these can be shown."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from PIL import Image

from nhwc.flows.contained import contained_thumbnail
from nhwc.flows.parallel import on_all_cores
from nhwc.flows.subject import Subject
from nhwc.pipelines.remote import is_url
from nhwc.pipelines.sources.protocol import Entry
from nhwc.pipelines.sources.remote_folder import source_at
from nhwc.pipelines.thumbnail import SIDE, Thumbnail, thumbnail_of
from nhwc.validators.contract import INTEGER_RANGES, TensorContract
from nhwc.validators.errors import NhwcError

Array = np.ndarray[Any, Any]

MOST_FILES = 200
"""Files of the source that are read for one report at most."""

MOST_BYTES = 50_000_000


def thumbnails(subject: Subject, sample_ids: set[str]) -> dict[str, Thumbnail]:
    """The thumbnail of each of these entries that can be shown, by its id: the stored image where images are stored."""
    rows = subject.manifest.filter(pl.col("sample_id").is_in(list(sample_ids)))
    kept = pl.col("status") == "kept"
    found = dict(_of_stored(subject, rows.filter(kept)))
    if subject.source is not None:
        files = rows if subject.pictures is None else rows.filter(~kept)
        for sample_id, path in files.sort("path").head(MOST_FILES).select("sample_id", "path").iter_rows():
            thumbnail = file_thumbnail(subject.source, path, sample_id)
            if thumbnail is not None:
                found[sample_id] = thumbnail
    return found


def _of_stored(subject: Subject, kept: pl.DataFrame) -> Iterator[tuple[str, Thumbnail]]:
    if subject.pictures is None:
        return
    for rows in kept.sort("shard", "row").partition_by("shard"):
        pictures = list[Array]()
        # missing or damaged: the report is wanted then above all
        with suppress(OSError, ValueError, LookupError, NhwcError):
            pictures.extend(subject.pictures(rows))
        shown = on_all_cores(partial(stored_thumbnail, contract=subject.contract), pictures, at_once=4)
        yield from zip(rows["sample_id"], shown, strict=False)


def stored_thumbnail(image: Array, contract: TensorContract) -> Thumbnail:
    """Of a stored image [rows, cols, channels] whose values lie in the contract's range.

    Of channels that are not 1 gray, 2 gray and alpha, 3 RGB or 4 RGBA, the first three are shown as RGB. What has more
    than 8 bits and uses only the lowest quarter of its range, as microscopes write it, is shown brighter, and says so.
    """
    step = max(1, max(image.shape[:2]) // (4 * SIDE))
    pixels, brighter = image[::step, ::step], 1
    if image.dtype != np.uint8 or contract.value_range not in (None, (0, 255)):
        shares = _shares(pixels, contract.value_range)
        peak = shares.max(initial=0)
        brighter = int(1 / peak) if image.dtype.itemsize > 1 and 0 < peak < 1 / 4 else 1
        pixels = np.rint(255 * brighter * shares).astype(np.uint8)
    channels = pixels.shape[2]
    shown = pixels[..., 0] if channels == 1 else pixels[..., : channels if channels <= 4 else 3]
    return replace(thumbnail_of(Image.fromarray(shown)), brighter=brighter)


def _shares(image: Array, value_range: tuple[float, float] | None) -> Array:
    """Where in its range each value lies, float64 in [0, 1]; without a range, in the dtype's or that of the values."""
    values = np.nan_to_num(image.astype(np.float64))
    low, high = value_range or INTEGER_RANGES.get(image.dtype.name) or (values.min(), values.max())
    return np.clip((values - low) / ((high - low) or 1), 0, 1)


def file_thumbnail(root: str | Path, path: str, sample_id: str) -> Thumbnail | None:
    """Of a file in the source, a path or a URL, as the manifest names it; None where it cannot, or should not, be read.

    No link is followed out of the source, nothing but a regular file is opened, and none that is over MOST_BYTES. It is
    decoded in a child process: a file was left out mostly for what it is.
    """
    try:
        content = _content(root, path, sample_id)
    except (OSError, RuntimeError, ValueError):  # RuntimeError: pathlib of a loop of links; ValueError: NUL in a name
        return None
    return None if content is None else contained_thumbnail(content)


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
