"""An archive of images, a zip or a tar, read where it is: a folder that nobody need unpack."""

from __future__ import annotations

import io
import os
import threading
import weakref
from collections.abc import Container
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, ClassVar, Protocol, cast

from nhwc.pipelines.sources.container import OpenedAnew, damaged, listing_of
from nhwc.pipelines.sources.folder import HEAD_BYTES
from nhwc.pipelines.sources.members import At, Members, Tree, damaged_rest
from nhwc.pipelines.sources.protocol import Discovery, Entry, Listing, by_name
from nhwc.pipelines.sources.tar_members import PACKED, read_part, tar_members, unpacked
from nhwc.pipelines.sources.zip_members import read_member, zip_members
from nhwc.validators.errors import RecipeError

_OTHERS = {
    b"7z\xbc\xaf\x27\x1c": "7z",
    b"Rar!\x1a\x07": "RAR",
    b"\x28\xb5\x2f\xfd": "Zstandard",
    b"\x04\x22\x4d\x18": "LZ4",
    b"\x1f\x9d": "compress (.Z)",
}
"""What is not read, by the bytes that it begins with."""

_opening = threading.Lock()
"""Held while an archive is opened, so that none is unpacked twice."""


class _Opened(Protocol):
    """An archive, opened."""

    def members(self) -> Members:
        """All that it has."""
        ...

    def read(self, at: At, most: int | None = None) -> bytes:
        """A member's bytes, or the first of them. Raises OSError."""
        ...


@dataclass(frozen=True, kw_only=True)
class Archive(OpenedAnew):
    """The members of an archive as the files of a folder. Nothing is unpacked to a place that has a name.

    Args:
        path: of the zip or the tar, packed by gzip, bzip2 or xz, or not: told by content.
        folder: of the archive, that names are relative to; what lies beside it is no part of the source.
        most_bytes: of a larger image none is read.
    """

    path: Path
    folder: str = ""
    most_bytes: int
    readers: ClassVar[int] = 1

    def discover(self, known: Container[str] = ()) -> Discovery:
        """Every member, told as files of a folder are, and what stands for a rest that cannot be read.

        Raises DataError where the archive is none, or damaged as a whole; RecipeError where it has no such folder.
        """
        opened = self._opened
        found = opened.members()
        tree = Tree.of(found.members, below=self.folder)
        if self.folder and not tree.members and not tree.folders:
            tops = sorted({member.name.removeprefix("./").split("/")[0] for member in found.members})
            shown = ", ".join(repr(top) for top in tops[:5]) or "nothing"
            problem = f"found no folder {self.folder!r} in {self.path}, expected one of its own: it begins with {shown}"
            raise RecipeError("source.folder", (problem,))
        entries = list(
            tree.entries(lambda at: opened.read(at, HEAD_BYTES), below=self.folder, most_bytes=self.most_bytes)
        )
        if found.damage is not None:
            entries.append(damaged_rest(f"./{self.path.name}", found.damage))  # no member has a name with ./
        return Discovery(entries=by_name(entries), folders=tuple(sorted(tree.folders, key=os.fsencode)))

    def open(self, entry: Entry) -> BinaryIO:
        """The member, whole and checked where the archive has a checksum of it."""
        return io.BytesIO(self._opened.read(cast(At, entry.at)))

    def listing(self) -> Listing:
        """Name, inode, size and times of the archive."""
        return listing_of([self.path])

    @property
    def _opened(self) -> _Opened:
        with _opening:
            return self._opened_once

    @cached_property
    def _opened_once(self) -> _Opened:
        with self.path.open("rb") as file:
            head = file.read(8)
        if head.startswith((b"PK\3\4", b"PK\5\6")):
            return _Zip(self.path)
        for magic, open_packed in PACKED.items():
            if head.startswith(magic):
                return _UnpackedTar(self.path, *unpacked(self.path, open_packed))
        other = next((name for magic, name in _OTHERS.items() if head.startswith(magic)), None)
        if other is not None or not head:
            hint = "pack it again as one of these, or unpack it" if other else "fetch it again"
            expected, found = "zip, tar, tar.gz, tar.bz2 or tar.xz", other or "no bytes"
            raise damaged(self.path, "format", expected=expected, found=found, hint=hint)
        return _Tar(self.path)


class _Zip:
    def __init__(self, path: Path) -> None:
        self._path = path

    def members(self) -> Members:
        return zip_members(self._path)

    def read(self, at: At, most: int | None = None) -> bytes:
        with self._path.open("rb", buffering=0) as file:
            return read_member(file, at, most)


class _Tar:
    def __init__(self, path: Path) -> None:
        self._path = path

    def members(self) -> Members:
        with self._path.open("rb", buffering=0) as file:
            return tar_members(file, self._path)

    def read(self, at: At, most: int | None = None) -> bytes:
        with self._path.open("rb", buffering=0) as file:
            return read_part(file, at, most)


class _UnpackedTar:
    """A tar in a file without a name, which is gone with this."""

    def __init__(self, path: Path, file: BinaryIO, damage: str | None) -> None:
        self._path, self._file, self._damage = path, file, damage
        weakref.finalize(self, file.close)

    def members(self) -> Members:
        return tar_members(self._file, self._path, self._damage)

    def read(self, at: At, most: int | None = None) -> bytes:
        return read_part(self._file, at, most)
