"""IDX, the files of the MNIST family, gzipped or not (format: yann.lecun.com/exdb/mnist)."""

from __future__ import annotations

import gzip
import re
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from nhwc.pipelines.sources.container import damaged, see_file, split_named
from nhwc.pipelines.sources.stacked import Stack, StackedSource, Stacks, labels_of
from nhwc.pipelines.sources.unpacked import see_bound, unpacked_bytes
from nhwc.validators.errors import RecipeError

_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
IMAGES = re.compile(r"(?P<stem>.+)[-.]images[-.]idx[34]-ubyte(\.gz)?$")


@dataclass(frozen=True, kw_only=True)
class Idx(StackedSource):
    """The images of a folder, found by their names, or of one file; beside them, or as named, their labels.

    Args:
        path: a folder with files named as MNIST's are, or a file of images.
        labels: the file of labels, where path is a file; None: as MNIST names it.
    """

    path: Path
    labels: Path | None = None

    @property
    def files(self) -> Sequence[Path]:
        """Images and labels."""
        return [file for pair in self._pairs for file in pair if file is not None]

    def read(self) -> Stacks:
        """Each file of images with its labels."""
        stacks = []
        for images, labels in self._pairs:
            name = _stem(images)
            split = "test" if name == "t10k" else split_named(name) or "train"
            told = None if labels is None else labels_of(_read(labels, ranks=(1,)), "values", labels)
            stacks.append(Stack(name=name, images=_read(images, ranks=(3, 4)), labels=told, split=split, file=images))
        return Stacks(stacks=tuple(stacks))

    @cached_property
    def _pairs(self) -> list[tuple[Path, Path | None]]:
        """(images, labels). A file that lies there unpacked too is one file. Raises RecipeError where there is none."""
        if not self.path.is_dir():
            return [(self.path, self.labels or _labels_of(self.path))]
        images = sorted(file for file in self.path.iterdir() if IMAGES.fullmatch(file.name))
        if not images:
            expected = "expected files named like train-images-idx3-ubyte.gz, or the path of one"
            raise RecipeError("source.path", (f"found no file of images in {self.path}, {expected}",))
        names = {file.name for file in images}
        once = [file for file in images if file.name.removesuffix(".gz") not in names - {file.name}]
        return [(see_file(file), _labels_of(file)) for file in once]


def _stem(images: Path) -> str:
    match = IMAGES.fullmatch(images.name)
    return match["stem"] if match else images.name.removesuffix(".gz")


def _labels_of(images: Path) -> Path | None:
    """The file of labels beside a file of images, gzipped or not; None where there is none."""
    name = images.name.replace("images", "labels").replace("idx3", "idx1").replace("idx4", "idx1")
    names = (name, name.removesuffix(".gz"), f"{name}.gz")
    return next(
        (images.with_name(one) for one in names if one != images.name and images.with_name(one).is_file()), None
    )


def _read(file: Path, *, ranks: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """The array of an IDX file of one of these ranks. Raises DataError where it is none, or not whole."""
    with file.open("rb") as raw:
        is_packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        stream = gzip.GzipFile(fileobj=raw) if is_packed else raw
        try:
            return _array(stream, file, ranks, is_packed)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise damaged(file, "gzip", expected="a whole gzip", found=str(error), hint="fetch it again") from error


def _array(stream: Any, file: Path, ranks: tuple[int, ...], is_packed: bool) -> np.ndarray[Any, Any]:
    magic = stream.read(4)
    known = len(magic) == 4 and magic[:2] == b"\0\0" and magic[2] in _DTYPES
    if not known or magic[3] not in ranks:
        expected = f"an IDX file of rank {' or '.join(map(str, ranks))}"
        raise damaged(file, "magic", expected=expected, found=f"bytes {magic.hex(' ')}")
    told = stream.read(4 * magic[3])
    if len(told) < 4 * magic[3]:
        expected = f"{magic[3]} sizes of 4 bytes"
        raise damaged(file, "header", expected=expected, found=f"{len(told)} bytes", hint="fetch it again")
    sizes = struct.unpack(f">{magic[3]}I", told)
    dtype = np.dtype(_DTYPES[magic[2]])
    size = dtype.itemsize * int(np.prod(sizes, dtype=object))
    content, held = _unpacked(stream, size, file) if is_packed else _mapped(file, stream.tell())
    if held != size:
        found = "more" if held > size else f"{held:,}"
        raise damaged(file, "bytes", expected=f"{size:,} bytes for sizes {sizes}", found=found, hint="fetch it again")
    return content.view(dtype).reshape(sizes)


def _unpacked(stream: Any, size: int, file: Path) -> tuple[np.ndarray[Any, Any], int]:
    """The bytes that a gzip was asked for, and how many it has of them; one more where it has more."""
    see_bound(file, size, file.stat().st_size)
    content = unpacked_bytes(stream, size, file)
    return content, len(content) + len(stream.read(1))


def _mapped(file: Path, begins: int) -> tuple[np.ndarray[Any, Any], int]:
    """The bytes of a file from there on, read when they are touched, and how many there are."""
    held = file.stat().st_size - begins
    return np.memmap(file, np.uint8, "r", begins) if held else np.empty(0, np.uint8), held
