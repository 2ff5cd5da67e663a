"""Tar: where each member lies, so that it is read from its place; one that is packed is first unpacked, once."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import lzma
import os
import posixpath
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, cast

from nhwc.pipelines.sources.container import DamagedSampleError, damaged
from nhwc.pipelines.sources.members import At, Member, Members, Wrong, plain
from nhwc.pipelines.sources.unpacked import PIECE, most_unpacked, nameless_file, no_room, room, write
from nhwc.validators.violation import Code

MOST_HEADER_BYTES = 1 << 20
"""Of one member: a long name and a few facts of its file."""

_WRONG_HEADER = (tarfile.TarError, ValueError, LookupError, ArithmeticError, AttributeError, TypeError, RecursionError)
"""What tarfile raises of a header that is none: its own errors, and those of the text and numbers in it."""

PACKED: Mapping[bytes, Callable[[Path], Any]] = {
    b"\x1f\x8b": gzip.GzipFile,
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\0": lzma.LZMAFile,
}
"""What reads a packed file, by the bytes that it begins with."""


def tar_members(file: BinaryIO, path: Path, lost: str | None = None) -> Members:
    """All members of an open tar, in its order; those before a damage, and the damage.

    Args:
        file: where it is read from.
        path: what it is called in errors.
        lost: why what follows is not in the file, where that is known before.

    Raises DataError where not even the first header is one.
    """
    headers, found = _Headers(file), list[Member]()
    try:
        tar = tarfile.TarFile(fileobj=cast(BinaryIO, headers), mode="r", encoding="utf-8", errors="surrogateescape")
        for info in _headers_of(tar, headers):
            if info.isreg() and info.sparse is None and info.offset_data + info.size > headers.size:
                lost = lost or f"its end at byte {headers.size:,}, within {info.name}"
                break
            found.append(_member(info))
        else:
            lost = lost or headers.wrong_end(tar.offset)
    except _WRONG_HEADER as error:
        lost = lost or str(error) or type(error).__name__
    if lost is not None and not found:
        raise damaged(path, "members", expected="a tar with members", found=lost, hint="fetch it again")
    return Members(members=tuple(found), damage=lost)


def _headers_of(tar: tarfile.TarFile, headers: _Headers) -> Iterator[tarfile.TarInfo]:
    """Each header, of none more bytes read than a header has. A damaged one may point backwards: it is the last."""
    ended = -1
    while tar.offset > ended and (info := tar.next()) is not None:
        ended, headers.left = info.offset, MOST_HEADER_BYTES
        cast(Any, tar).members.clear()  # it keeps all of them otherwise
        yield info
    if tar.offset <= ended:
        raise tarfile.ReadError(f"a header at byte {ended:,} that points backwards")


class _Headers:
    """What tarfile reads headers from: no more bytes than a header has, whatever it says of its own size."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self.left = file, MOST_HEADER_BYTES
        self.size = file.seek(0, os.SEEK_END)
        file.seek(0)

    def read(self, size: int) -> bytes:
        """As of any file."""
        if not 0 <= size <= self.left:
            raise tarfile.ReadError(f"a header of {size:,} bytes at byte {self.tell():,}")
        self.left -= size
        return self._file.read(size)

    def seek(self, offset: int) -> int:
        """As of any file."""
        if not 0 <= offset <= self.size:
            raise tarfile.ReadError(f"its end at byte {self.size:,}, where {offset - self.size:,} more should follow")
        return self._file.seek(offset)

    def tell(self) -> int:
        """As of any file."""
        return self._file.tell()

    def wrong_end(self, offset: int) -> str | None:
        """What is wrong with what follows the last member; a tar ends with a block of zeros."""
        self._file.seek(offset)
        block = self._file.read(tarfile.BLOCKSIZE)
        if block == bytes(tarfile.BLOCKSIZE):
            return None
        return f"no header at byte {offset:,}" if block else f"its end at byte {offset:,}, without an end mark"


def _member(info: tarfile.TarInfo) -> Member:
    if info.isdir():
        return Member(name=info.name, kind="folder")
    if info.issym() or info.islnk():
        above = posixpath.dirname(plain(info.name)) if info.issym() else ""
        return Member(name=info.name, kind="link", leads=posixpath.join(above, info.linkname))
    if info.isdev():
        return Member(name=info.name, kind="special")
    wrong: Wrong | None = None
    if info.sparse is not None:
        wrong = (Code.UNSUPPORTED_PACKING, "packing", "bytes that lie together", "a sparse member")
    at = (info.offset_data, info.size)
    return Member(name=info.name, size=info.size, packed=info.size, at=at, wrong=wrong)


def read_part(file: BinaryIO, at: At, most: int | None = None) -> bytes:
    """The bytes (offset, size) of an open file, or the first of them.

    Raises DamagedSampleError where it has not as many.
    """
    offset, size = at
    size = size if most is None else min(most, size)
    pieces, held = list[bytes](), 0
    while held < size and (piece := os.pread(file.fileno(), size - held, offset + held)):
        pieces.append(piece)
        held += len(piece)
    if held < size:
        raise DamagedSampleError(f"{held:,} bytes at byte {offset:,}, expected {size:,}")
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def unpacked(path: Path, open_packed: Callable[[Path], Any]) -> tuple[BinaryIO, str | None]:
    """A packed file unpacked into a file without a name, and what is wrong with what is not in it.

    It is bounded, and whoever closes it, or ends, gives its room back. Raises DataError where more comes out of it than
    out of any tar of images, and MachineError where the disk has no room.
    """
    most, free = most_unpacked(path.stat().st_size), room()
    file = nameless_file()
    with contextlib.ExitStack() as undone:
        undone.callback(file.close)
        held, damage = 0, None
        with open_packed(path) as packed:
            while piece := _piece(packed):
                if isinstance(piece, str):
                    damage = piece
                    break
                held += len(piece)
                if held > most:
                    raise damaged(
                        path, "bytes", expected=f"at most {most:,} bytes out of {path.stat().st_size:,}", found="more",
                        code=Code.PACKED_TOO_WELL,
                    )  # fmt: skip
                if held > free:
                    raise no_room(path)
                write(file, piece, path)
        undone.pop_all()
    return file, damage


def _piece(packed: Any) -> bytes | str:
    """The next bytes, or what is wrong with them. Those before a damage come first: read1 waits for no more."""
    try:
        return cast(bytes, packed.read1(PIECE))
    except (EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError) as error:
        return str(error) or "bytes that cannot be unpacked"
    except OSError as error:
        if error.errno is not None:  # bz2 calls bad bytes an OSError, without a number
            raise
        return str(error)
