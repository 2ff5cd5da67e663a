"""Zip: where each member lies, so that it is read and unpacked from its place, whoever reads another meanwhile."""

from __future__ import annotations

import contextlib
import posixpath
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from nhwc.pipelines.sources.container import DamagedSampleError, damaged
from nhwc.pipelines.sources.members import At, Member, Members, Wrong, plain
from nhwc.validators.violation import Code

WRONG_DIRECTORY = (zipfile.BadZipFile, NotImplementedError, ValueError, OverflowError, LookupError, struct.error)
"""What zipfile raises of a directory that is none; a name that is not UTF-8 and says so is a ValueError."""

_LOCAL = struct.Struct("<4s22x2H")
"""A member's own header: its mark, and the sizes of the name and the extras that follow."""

_ENCRYPTED, _UTF8 = 0x1, 0x800
_FROM_DOS, _FROM_UNIX = (0, 10, 11, 14), 3
_METHODS = {
    1: "Shrink", 6: "Implode", 9: "Deflate64", 12: "bzip2", 14: "LZMA", 93: "Zstandard", 95: "xz", 98: "PPMd",
}  # fmt: skip
_PIECE = 1 << 20
_MOST_LINK_BYTES = 4096


def zip_members(path: Path) -> Members:
    """All members, in the order of the directory. Raises DataError where the zip has none at its end."""
    try:
        with zipfile.ZipFile(path) as opened:
            infos, directory = opened.infolist(), opened.start_dir
    except WRONG_DIRECTORY as error:
        found, hint = str(error) or type(error).__name__, "fetch it again: a zip's directory is at its end"
        raise damaged(path, "directory", expected="a whole zip", found=found, hint=hint) from error
    members = list(map(_member, infos))
    for place, wrong in _misplaced(infos, directory):
        members[place] = replace(members[place], wrong=members[place].wrong or wrong)
    with path.open("rb", buffering=0) as file:
        return Members(members=tuple(_led(member, file) if member.kind == "link" else member for member in members))


def read_member(file: BinaryIO, at: At, most: int | None = None) -> bytes:
    """A member's bytes, checked by size and CRC; or the first of them, unchecked. Raises DamagedSampleError."""
    begins, packed, size, crc, method = at
    file.seek(begins)
    header = file.read(_LOCAL.size)
    if len(header) < _LOCAL.size or header[:4] != b"PK\3\4":
        raise DamagedSampleError(f"no header of a member at byte {begins:,}")
    _, name, extra = _LOCAL.unpack(header)
    file.seek(begins + _LOCAL.size + name + extra)
    wanted = size if most is None else min(size, most)
    content = (
        _inflated(file, packed, wanted) if method == zipfile.ZIP_DEFLATED else _stored(file, min(packed, wanted + 1))
    )
    if most is None and len(content) != size:
        found = "more" if len(content) > size else f"{len(content):,}"
        raise DamagedSampleError(f"{found} bytes unpacked, where its zip says {size:,}")
    if most is None and zlib.crc32(content) != crc:
        raise DamagedSampleError(f"bytes with CRC {zlib.crc32(content):08x}, where its zip says {crc:08x}")
    return content if most is None else content[:most]


def _stored(file: BinaryIO, size: int) -> bytes:
    pieces, left = list[bytes](), size
    while left and (piece := file.read(left)):
        pieces.append(piece)
        left -= len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _inflated(file: BinaryIO, packed: int, size: int) -> bytes:
    """What so many packed bytes unpack to, or one byte more than it should be where there is more."""
    inflate, pieces, held = zlib.decompressobj(-zlib.MAX_WBITS), list[bytes](), 0
    try:
        while packed and held <= size and not inflate.eof and (piece := file.read(min(packed, _PIECE))):
            packed -= len(piece)
            pieces.append(inflate.decompress(piece, size + 1 - held))
            held += len(pieces[-1])
    except zlib.error as error:
        raise DamagedSampleError(str(error)) from error
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _member(info: zipfile.ZipInfo) -> Member:
    name = _name(info)
    mode = info.external_attr >> 16 if info.create_system == _FROM_UNIX else 0
    if info.is_dir() or name.endswith("/"):
        return Member(name=name, kind="folder")
    at = (info.header_offset, info.compress_size, info.file_size, info.CRC, info.compress_type)
    kind = "link" if stat.S_ISLNK(mode) else "file" if stat.S_IFMT(mode) in (0, stat.S_IFREG) else "special"
    return Member(name=name, kind=kind, size=info.file_size, packed=info.compress_size, at=at, wrong=_wrong(info))  # type: ignore[arg-type]  # one of the three


def _name(info: zipfile.ZipInfo) -> str:
    """The name, with / whichever way its slashes lean where it comes from Windows.

    The directory says whether it is UTF-8. Where it does not, it is UTF-8 all the same if it reads as that, as macOS
    and Info-ZIP write it, and else code page 437, as the format has it.
    """
    name = info.orig_filename
    if not info.flag_bits & _UTF8 and not name.isascii():
        with contextlib.suppress(UnicodeDecodeError):
            name = name.encode("cp437").decode("utf-8")
    return name.replace("\\", "/") if info.create_system in _FROM_DOS else name


def _wrong(info: zipfile.ZipInfo) -> Wrong | None:
    """What keeps it from being read, by the directory alone."""
    if info.flag_bits & _ENCRYPTED:
        return Code.UNSUPPORTED_PACKING, "packing", "bytes without a password", "an encrypted member"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        found = _METHODS.get(info.compress_type, f"method {info.compress_type}")
        return Code.UNSUPPORTED_PACKING, "packing", "stored or deflated", found
    if info.compress_type == zipfile.ZIP_STORED and info.compress_size != info.file_size:
        found = f"{info.file_size:,} bytes stored in {info.compress_size:,}"
        return Code.DAMAGED_SOURCE, "bytes", "a size that is one", found
    return None


def _misplaced(infos: list[zipfile.ZipInfo], directory: int) -> Iterable[tuple[int, Wrong]]:
    """(place in infos, what is wrong) of members that share bytes with another, or with the zip's directory.

    A few bytes that many members share unpack to more than any disk holds: https://www.bamsoftware.com/hacks/zipbomb/.
    """
    order = sorted(range(len(infos)), key=lambda place: infos[place].header_offset)
    begins = [infos[place].header_offset for place in order]
    for place, next_begins in zip(order, [*begins, directory][1:], strict=True):
        info = infos[place]
        ends = info.header_offset + _LOCAL.size + len(info.orig_filename) + info.compress_size
        if info.header_offset < 0 or ends > directory:
            found = f"bytes from {info.header_offset:,} to {ends:,}, where its zip has {directory:,}"
            yield place, (Code.DAMAGED_SOURCE, "bytes", "bytes within the zip", found)
        elif ends > next_begins:
            yield place, (Code.PACKED_TOO_WELL, "bytes", "bytes of its own", "bytes that are another member's too")


def _led(link: Member, file: BinaryIO) -> Member:
    """The link, with where it leads: that is its content."""
    try:
        leads = "" if link.wrong else read_member(file, link.at, _MOST_LINK_BYTES).decode("utf-8", "surrogateescape")
    except OSError:
        leads = ""
    return replace(link, leads=posixpath.join(posixpath.dirname(plain(link.name)), leads or "?"))
