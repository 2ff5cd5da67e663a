"""NumPy's .npz and .npy files: stacks of images of one size, and labels beside them. Pickles are never read."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np

from nhwc.pipelines.npy import Layout, NpyHeader, read_npy_header
from nhwc.pipelines.sources.container import damaged
from nhwc.pipelines.sources.stacked import Named, StackedSource, Stacks, stacks_of
from nhwc.pipelines.sources.unpacked import see_bound, unpacked_bytes
from nhwc.pipelines.sources.zip_members import WRONG_DIRECTORY
from nhwc.validators.errors import DataError

_LOCAL_HEADER_BYTES = 30


@dataclass(frozen=True, kw_only=True)
class Arrays(StackedSource):
    """The arrays of one .npz, or one .npy of images with another of labels.

    Args:
        path: of the .npz or .npy.
        images: of a .npz, the array of images; None: all whose name says so, as x_train and train_images do.
        labels: of a .npz, the array of labels; of a .npy, the file of labels. None: as the images' name has it.
        layout: of each image.
    """

    path: Path
    images: str | None = None
    labels: str | Path | None = None
    layout: Layout = "channels_last"

    @property
    def files(self) -> Sequence[Path]:
        """The file, and a .npy's labels."""
        return [self.path, self.labels] if isinstance(self.labels, Path) else [self.path]

    def read(self) -> Stacks:
        """The stacks. Uncompressed arrays are mapped, compressed ones unpacked once."""
        with self.path.open("rb") as file:
            is_archive = file.read(2) == b"PK"
        if is_archive:
            named = None if self.labels is None else str(self.labels)
            return stacks_of(_archive(self.path), self.path, images=self.images, labels=named)
        arrays = {"images": _mapped(self.path)}
        if isinstance(self.labels, Path):
            arrays["labels"] = _mapped(self.labels)
        return stacks_of(arrays, self.path, images="images", labels=None)


def _archive(path: Path) -> Mapping[str, Any]:
    """Each array of a .npz, by its name."""
    with _read(path) as archive:
        names = [one.filename.removesuffix(".npy") for one in archive.infolist() if one.filename.endswith(".npy")]
    return Named(names, partial(_array, path))


def _array(path: Path, name: str) -> np.ndarray[Any, Any]:
    with _read(path) as archive:
        return _member(path, archive, archive.getinfo(f"{name}.npy"))


@contextmanager
def _read(path: Path) -> Iterator[zipfile.ZipFile]:
    """The zip. Raises DataError for whatever is wrong with it or with what is read from it."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (*WRONG_DIRECTORY, RuntimeError, zlib.error, EOFError) as error:  # RuntimeError: a member is encrypted
        raise damaged(path, "bytes", expected="a whole .npz", found=str(error), hint="save it again") from error


def _member(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray[Any, Any]:
    if member.compress_type == zipfile.ZIP_STORED and not member.flag_bits & 1:
        with path.open("rb") as file:
            file.seek(member.header_offset)
            local = file.read(_LOCAL_HEADER_BYTES)
            # ZIP's APPNOTE, 4.3.7: the lengths of name and extra field, which the directory may give otherwise
            skipped = int.from_bytes(local[26:28], "little") + int.from_bytes(local[28:30], "little")
            return _mapped(path, member.header_offset + _LOCAL_HEADER_BYTES + skipped, member.file_size)
    with archive.open(member) as packed:
        header = _header(packed, path)
        see_bound(path, header.size, member.compress_size)
        content = unpacked_bytes(packed, header.size, path)
        packed.read(1)  # which sees the checksum
    if len(content) != header.size:
        raise _short(path, header, len(content))
    return content.view(header.dtype).reshape(header.shape, order=header.order)


def _mapped(path: Path, begins: int = 0, size: int | None = None) -> np.ndarray[Any, Any]:
    """The array of a .npy that begins there, its pages read when they are touched."""
    with path.open("rb") as file:
        file.seek(begins)
        header = _header(file, path)
        values = file.tell()
    most = (path.stat().st_size if size is None else begins + size) - values
    if not header.dtype.itemsize:
        raise damaged(path, "dtype", expected="values that take room", found=str(header.dtype), hint="save it again")
    if not header.size:
        return np.empty(header.shape, header.dtype)
    if header.size > most:
        raise _short(path, header, most)
    return np.memmap(path, header.dtype, "r", values, header.shape, header.order)


def _short(path: Path, header: NpyHeader, found: int) -> DataError:
    expected = f"{header.size:,} for shape {header.shape}"
    return damaged(path, "bytes", expected=expected, found=f"{found:,}", hint="save it again")


def _header(file: IO[bytes], path: Path) -> NpyHeader:
    """Raises DataError where there is no such header, or the array is one of objects."""
    try:
        header = read_npy_header(file)
    except ValueError as error:
        raise damaged(path, "header", expected="a .npy header", found=str(error), hint="save it again") from error
    if header.dtype.hasobject:
        expected = "an array of numbers or text, since only pickle reads objects"
        found = str(header.dtype)
        raise damaged(path, "dtype", expected=expected, found=found, hint="save it with allow_pickle=False")
    return header
