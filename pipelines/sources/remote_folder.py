"""A folder of images on a store: what lies in it, told as `folder.Folder` tells it, from listings and few reads."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, ClassVar

import polars as pl

from nhwc.pipelines.remote import MOST_BYTES, Found, Remote, is_url
from nhwc.pipelines.sources.folder import (
    HEAD_BYTES,
    Folder,
    claims_an_image,
    empty_folder,
    folders_above,
    refused_by_name,
    told_by_head,
    unreadable,
)
from nhwc.pipelines.sources.protocol import STAMP, Discovery, Entry, Listing, Source, by_name
from nhwc.validators.errors import RecipeError


def source_at(place: str | Path, *, most_bytes: int = MOST_BYTES) -> Source:
    """The folder of images at a path or a URL; of a file on a store no more bytes are read than that, and one."""
    if is_url(place):
        return RemoteFolder(remote=Remote.at(str(place)), most_bytes=most_bytes)
    return Folder(root=Path(place))


@dataclass(frozen=True, kw_only=True)
class RemoteFolder:
    """The objects below a URL. There are no links and no special files on a store, and folders only as parts of names.

    Args:
        remote: where.
        most_bytes: of an object that is larger only so many, and one, are read.
    """

    remote: Remote
    most_bytes: int = MOST_BYTES
    readers: ClassVar[int] = 16

    def discover(self, known: Container[str] = ()) -> Discovery:
        """Every object below the URL, and every object that stands for a folder without any.

        An object's first bytes are read only where its name does not claim an image, and is not known.
        """
        found = self._files()
        names = [name for name in found if not name.endswith("/")]
        folders = set(folders_above(found))
        filled = set(folders_above(names))
        entries = [*self._entries(names, found, known), *map(empty_folder, folders - filled)]
        return Discovery(entries=by_name(entries), folders=tuple(sorted(folders, key=os.fsencode)))

    def open(self, entry: Entry) -> BinaryIO:
        """The whole object, or of one that is too large its begin. One request."""
        content = self.remote.read(entry.name, most=self.most_bytes + 1)
        if len(content) <= self.most_bytes:
            return io.BytesIO(content)
        return _Beginning(content, self.remote.found(entry.name).size)

    def listing(self) -> Listing:
        """Name, size and mark of every object. A request for each thousand of them."""
        digest, stamps = hashlib.sha256(), []
        found = self._files()
        for name, one in found.items():
            digest.update(f"{name!r} {one.size} {one.mark}\n".encode())
            mark = int.from_bytes(hashlib.sha256(one.mark.encode()).digest()[:8], "big")
            stamps.append((os.fsencode(name), mark, one.size, one.changed_ns, one.changed_ns))
        table = pl.DataFrame(stamps, schema=dict(STAMP), orient="row")
        changed_ns = max((one.changed_ns for one in found.values()), default=0)
        return Listing(digest=digest.hexdigest(), changed_ns=changed_ns, stamps=table)

    def _files(self) -> dict[str, Found]:
        try:
            found = self.remote.files()
        except FileNotFoundError as error:
            raise self._nothing(error.strerror or "no such bucket") from error
        if not found:
            raise self._nothing("no object below it")
        return found

    def _nothing(self, found: str) -> RecipeError:
        return RecipeError("source.path", (f"found {self.remote}, but {found}, expected a folder of images",))

    def _entries(self, names: Iterable[str], found: dict[str, Found], known: Container[str]) -> Iterator[Entry]:
        asked: list[Entry] = []
        for entry in (Entry(name=name) for name in names):
            if entry.name in known:
                yield entry
            elif (by_its_name := refused_by_name(entry)) is not None:
                yield by_its_name
            elif claims_an_image(entry) or not found[entry.name].size:
                yield told_by_head(entry, b"")
            else:
                asked.append(entry)
        heads = self.remote.heads([entry.name for entry in asked], size=HEAD_BYTES)
        for entry, head in zip(asked, heads, strict=True):
            yield unreadable(entry, head) if isinstance(head, OSError) else told_by_head(entry, head)


class _Beginning(io.BytesIO):
    """The first bytes of a file that has more, and how many it has."""

    def __init__(self, content: bytes, size: int) -> None:
        super().__init__(content)
        self._size = size

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """As of any file; from its end, where that would be."""
        return self._size + offset if whence == os.SEEK_END else super().seek(offset, whence)
