"""Boxes in pictures as samples of their own: what COCO's and Pascal VOC's annotations make of a folder of pictures.

A crop is decoded here, and handed on as an array: JPEG and PNG of ordinary size, as they are decoded in this process
anywhere. Annotations are drawn on the pixels as stored, so no EXIF orientation is applied where those have their size.
"""

from __future__ import annotations

import io
import math
import threading
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import BinaryIO, ClassVar

import numpy as np

from nhwc.pipelines.decode import Encoded, decode
from nhwc.pipelines.npy import npy_bytes
from nhwc.pipelines.probe import probe
from nhwc.pipelines.sources.container import DamagedSampleError, OpenedAnew, listing_of
from nhwc.pipelines.sources.protocol import Discovery, Entry, Listing, by_name, refused
from nhwc.pipelines.stage import Array
from nhwc.validators.errors import SampleRefused
from nhwc.validators.violation import Code

_PICTURES = 4
"""Pictures that are held: the crops of one follow one another."""

_MOST_BYTES, _MOST_PIXELS = 32 << 20, 50_000_000
_FORMATS = ("jpeg", "png")


@dataclass(frozen=True, kw_only=True)
class Box:
    """An annotation.

    Args:
        name: of the sample, unique in its source.
        picture: the file's name, relative to the folder of pictures, with /.
        size: (rows, cols) of the picture, as the annotations say.
        left, top, right, bottom: its edges in pixels from the picture's top left corner.
        label: its class; None where the annotations do not say.
        split: None where nothing says which.
    """

    name: str
    picture: str
    size: tuple[int, int]
    left: float
    top: float
    right: float
    bottom: float
    label: str | None
    split: str | None


@dataclass(frozen=True, kw_only=True)
class NoBox:
    """An annotation that is not what it has to be.

    Args:
        name: of the sample that it would be, unique in its source.
        split: as of a Box.
        expected, found: what it has to be, and what is wrong with it.
        code, aspect: what kind of wrong that is, and of what.
    """

    name: str
    split: str | None
    expected: str
    found: str
    code: Code = Code.BAD_BOX
    aspect: str = "annotation"


class CropSource(OpenedAnew, ABC):
    """A source whose samples are boxes. Annotations are read when they are first asked for, once a process."""

    readers: ClassVar[int] = 1

    @property
    @abstractmethod
    def pictures(self) -> Path:
        """The folder of pictures."""

    @property
    @abstractmethod
    def annotations(self) -> Sequence[Path]:
        """The files of annotations."""

    @property
    @abstractmethod
    def classes(self) -> tuple[str, ...]:
        """The class names in their own order; empty where they have none."""

    @abstractmethod
    def boxes(self) -> Iterable[Box | NoBox]:
        """Every annotation. Raises DataError where they are damaged as a whole."""

    def discover(self, known: Container[str] = ()) -> Discovery:
        """Every box, those that no picture can have quarantined."""
        return Discovery(entries=by_name(map(self._entry, self.boxes())), classes=self.classes)

    def _entry(self, box: Box | NoBox) -> Entry:
        if isinstance(box, NoBox):
            entry, said = Entry(name=box.name, split=box.split), {"expected": box.expected, "found": box.found}
            return refused(entry, "quarantined", box.code, aspect=box.aspect, **said)
        entry = Entry(name=box.name, label=box.label, split=box.split)
        path = PurePosixPath(box.picture)
        if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in box.picture:
            expected = "a name in the folder of pictures"
            return refused(
                entry, "quarantined", Code.UNSAFE_NAME, aspect="name", expected=expected, found=repr(box.picture)
            )
        rows, cols = box.size
        edges = (box.left, box.top, box.right, box.bottom)
        if not all(map(math.isfinite, edges)):
            edges = (0, 0, 0, 0)
        # a box may leave its picture by less than a pixel: annotations are drawn on screens
        left, top, right, bottom = (round(edge) for edge in edges)
        inside = -1 <= left < right <= cols + 1 and -1 <= top < bottom <= rows + 1
        left, top, right, bottom = max(left, 0), max(top, 0), min(right, cols), min(bottom, rows)
        if not inside or left >= right or top >= bottom:
            found = f"left {box.left:g}, top {box.top:g}, right {box.right:g}, bottom {box.bottom:g}"
            expected = f"a box in {rows} rows and {cols} cols"
            return refused(entry, "quarantined", Code.BAD_BOX, aspect="box", expected=expected, found=found)
        at = (path.as_posix(), rows, cols, top, left, bottom, right)
        return Entry(name=box.name, label=box.label, split=box.split, at=at)

    def open(self, entry: Entry) -> BinaryIO:
        """The crop as a .npy file's bytes, [rows, cols, channels]. Raises OSError where its picture cannot be read."""
        picture, rows, cols, top, left, bottom, right = entry.at
        pixels = self._open_pictures.pixels(self.pictures / str(picture), (int(rows), int(cols)))
        return io.BytesIO(npy_bytes(pixels[int(top) : int(bottom), int(left) : int(right)]))

    @cached_property
    def _open_pictures(self) -> _Pictures:
        return _Pictures(root=self.pictures.resolve())

    def listing(self) -> Listing:
        """Name, inode, size and times of the annotations and of every picture."""
        with_pictures = sorted(path for path in self.pictures.rglob("*") if path.is_file())
        return listing_of([*self.annotations, *with_pictures])


class _Pictures:
    """The pictures decoded last. Safe from several threads."""

    def __init__(self, *, root: Path) -> None:
        self._root, self._lock = root, threading.Lock()
        self._held: OrderedDict[tuple[Path, tuple[int, int]], Array] = OrderedDict()

    def pixels(self, file: Path, size: tuple[int, int]) -> Array:
        """uint8 or uint16 [rows, cols, channels] of a picture of this size. Raises OSError."""
        with self._lock:
            if (file, size) in self._held:
                return self._held[file, size]
        if not file.resolve(strict=True).is_relative_to(self._root):
            raise DamagedSampleError("a link that leaves the folder of pictures")
        if not file.is_file():
            raise DamagedSampleError("its picture is no file")
        try:
            pixels = _decoded(file, size)
        except SampleRefused as refusal:
            raise DamagedSampleError(f"its picture: {refusal.violation.code}: {refusal.violation.found}") from refusal
        with self._lock:
            self._held[file, size] = pixels
            if len(self._held) > _PICTURES:
                self._held.popitem(last=False)
        return pixels


def _decoded(file: Path, size: tuple[int, int]) -> Array:
    with file.open("rb") as opened:
        content = opened.read(_MOST_BYTES + 1)
    facts = probe(content)
    if facts.format not in _FORMATS or len(content) > _MOST_BYTES or facts.rows * facts.cols > _MOST_PIXELS:
        found = f"{facts.format}, {len(content):,} bytes, {facts.rows} x {facts.cols} pixels"
        raise DamagedSampleError(f"its picture is no ordinary JPEG or PNG: {found}")
    stored = (facts.rows, facts.cols)
    pixels = decode(Encoded(content, facts), orientation="ignore" if stored == size else "apply")
    if pixels.shape[:2] != size:
        raise DamagedSampleError(
            f"its annotations say {size[0]} x {size[1]}, the picture has {stored[0]} x {stored[1]}"
        )
    return np.ascontiguousarray(pixels)
