"""The frame of TFRecord files (format: tensorflow.org/tutorials/load_data/tfrecord).

    length (uint64) | checksum of the length (uint32) | content | checksum of the content (uint32)

All are little-endian. A checksum is a masked CRC-32C.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import google_crc32c
import numpy as np

from nhwc.pipelines.sources.container import damaged
from nhwc.pipelines.sources.record_file import Breach, Record, broken, too_large

HEADER, FOOTER = 12, 4
"""Bytes before and after a record's content."""

READ_AT_ONCE = 1 << 20
"""Bytes."""

LOOKED_AT_FIRST = 1 << 12
"""Bytes in which the next record is looked for where the frame is broken, then twice as many, up to READ_AT_ONCE."""

_MASK = 0xA282EAD8


def tfrecords(file: Path, *, most: int) -> Iterator[Record]:
    """Every record of a file, in its order; where its frame is broken, what was lost and then what follows.

    No more is read at once than a record whose length has a right checksum and lies within the file.

    Args:
        file: read once, from its begin to its end.
        most: bytes of a record; a larger one is passed over.

    Raises DataError where nothing in the file is a record, or it is compressed, and OSError.
    """
    with file.open("rb", READ_AT_ONCE) as stream:
        size, at = os.fstat(stream.fileno()).st_size, 0
        while at < size:
            header = stream.read(HEADER)
            length = _length(header)
            if length is None or at + HEADER + length + FOOTER > size:
                begins = _next_header(stream, at + 1, size)
                if length is None and at == 0:
                    _see_that_it_is_one(file, header, begins, size)
                yield Record(at=at, breach=_lost(length, at, begins, size), is_framed=False)
            else:
                begins = at + HEADER + length + FOOTER
                yield _record(stream, at, length, most)
            stream.seek(begins)
            at = begins


def tfrecord_at(file: Path, at: int) -> bytes:
    """The content of the record that begins at a byte. Raises OSError where there is no whole one."""
    with file.open("rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        stream.seek(at)
        length = _length(stream.read(HEADER))
        if length is None or at + HEADER + length + FOOTER > size:
            raise OSError(f"no whole record at byte {at:,} of {file.name}")
        record = _record(stream, at, length, length)
    if record.breach is not None:
        raise OSError(f"{record.breach.found} at byte {at:,} of {file.name}")
    return record.content


def _masked(checksum: int) -> int:
    return (((checksum >> 15) | (checksum << 17)) + _MASK) & 0xFFFFFFFF


def _length(header: bytes) -> int | None:
    """Bytes of the content that follows; None where the header is not whole or its checksum wrong."""
    if len(header) < HEADER:
        return None
    length, checksum = struct.unpack("<QI", header)
    return int(length) if _masked(google_crc32c.value(header[:8])) == checksum else None


def _record(stream: BinaryIO, at: int, length: int, most: int) -> Record:
    """The record whose header was just read."""
    if length > most:
        return Record(at=at, breach=too_large(length, most))
    content, checksum = stream.read(length), stream.read(FOOTER)
    if struct.pack("<I", _masked(google_crc32c.value(content))) != checksum:
        found = f"{length:,} bytes with another checksum"
        return Record(at=at, breach=broken("checksum", expected="the bytes that were written", found=found))
    return Record(at=at, content=content)


def _lost(length: int | None, at: int, begins: int, size: int) -> Breach:
    """What to say of the bytes from one place to the next where a record begins."""
    lost = f"bytes {at:,} to {begins:,} are lost"
    if length is not None:
        expected = f"{length:,} bytes, the length of the record at byte {at:,}"
        return broken("bytes", expected=expected, found=f"{size - at - HEADER:,} before the file ends: {lost}")
    expected = f"the length of a record at byte {at:,}, and its checksum"
    found = f"{size - at:,} bytes before the file ends" if size - at < HEADER else "another checksum"
    return broken("length", expected=expected, found=f"{found}: {lost}")


def _see_that_it_is_one(file: Path, header: bytes, begins: int, size: int) -> None:
    """Raises DataError where a file that does not begin with a record is no TFRecord file, or a compressed one."""
    if packing := _packing(file):
        hint = "unpack it (gunzip), or write it without compression"
        raise damaged(file, "compression", expected="TFRecords that are not compressed", found=packing, hint=hint)
    if begins == size:
        found = f"bytes {header[:8].hex(' ')}, and no record after them"
        raise damaged(file, "length", expected="a TFRecord file", found=found, hint="fetch it again")


def _packing(file: Path) -> str | None:
    """GZIP or ZLIB, where a record is what the file unpacks to."""
    with file.open("rb") as stream:
        head = stream.read(1 << 16)
    try:
        unpacked = zlib.decompressobj(zlib.MAX_WBITS | 32).decompress(head, HEADER)
    except zlib.error:
        return None
    return ("GZIP" if head[:2] == b"\x1f\x8b" else "ZLIB") if _length(unpacked) is not None else None


def _next_header(stream: BinaryIO, start: int, size: int) -> int:
    """Where the next record begins whose length has a right checksum and lies within the file; its size where none."""
    begin, each = start, LOOKED_AT_FIRST
    while begin < size:
        stream.seek(begin)
        block = stream.read(each + HEADER - 1)
        places = len(block) - HEADER + 1
        if places <= 0:
            break
        lengths = np.ndarray(places, "<u8", block, 0, (1,))  # at each byte, whether aligned or not
        checksums = np.ndarray(places, "<u4", block, 8, (1,))
        may_be = np.flatnonzero((lengths < size - begin) & (checksums != 0))  # a run of zeros is none
        right = may_be[_masked_of(block, may_be) == checksums[may_be]]
        for place in map(int, right):
            if begin + place + HEADER + int(lengths[place]) + FOOTER <= size:
                return begin + place
        begin, each = begin + places, min(2 * each, READ_AT_ONCE)
    return size


def _masked_of(block: bytes, places: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The masked checksum of the eight bytes at each place."""
    content, tables = np.frombuffer(block, np.uint8), _tables()
    checksum = np.full(places.shape, google_crc32c.value(bytes(8)), np.uint32)
    for byte in range(8):
        checksum ^= tables[byte, content[places + byte]]
    return ((checksum >> np.uint32(15)) | (checksum << np.uint32(17))) + np.uint32(_MASK)


@cache
def _tables() -> np.ndarray[Any, Any]:
    """[byte, value] What one byte of eight adds to their checksum: CRCs of one length differ as their bytes do."""
    none = google_crc32c.value(bytes(8))
    each = (bytes(byte) + bytes([value]) + bytes(7 - byte) for byte in range(8) for value in range(256))
    return np.array([google_crc32c.value(one) ^ none for one in each], np.uint32).reshape(8, 256)
