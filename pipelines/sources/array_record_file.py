"""ArrayRecord files (format: github.com/google/array_record), by their own reader."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

from array_record.python.array_record_module import ArrayRecordReader

from nhwc.pipelines.sources.container import damaged
from nhwc.pipelines.sources.record_file import Record, broken, too_large

READ_AT_ONCE = 1 << 22
"""Bytes of a file, about, and at most so many records:"""

RECORDS_AT_ONCE = 100


class ArrayRecordFile:
    """One open file. Several threads may read from it, one at a time. Raises DataError where it is damaged as a whole,
    and OSError where it cannot be opened.

    A record of it is found by its number.
    """

    def __init__(self, file: Path) -> None:
        self._file, self._reading = file, threading.Lock()
        with file.open("rb") as opened:  # raises OSError with what the system says, where the reader says nothing
            size = os.fstat(opened.fileno()).st_size
        self._reader = ArrayRecordReader(str(file), "readahead_buffer_size:0")
        if not self._reader.ok():  # its reader says no more: most often the end is missing, where its index is
            found = f"{size:,} bytes without an index that can be read"
            raise damaged(file, "records", expected="a whole ArrayRecord file", found=found, hint="fetch it again")
        self.count = int(self._reader.num_records())
        self._at_once = max(1, min(RECORDS_AT_ONCE, READ_AT_ONCE * self.count // max(1, size)))

    def records(self, *, most: int) -> Iterator[Record]:
        """Every record, in order; a damaged one, or one of more bytes than `most`, with what is wrong."""
        for begin in range(0, self.count, self._at_once):
            end = min(begin + self._at_once, self.count)
            try:
                with self._reading:
                    contents = self._reader.read(begin, end)
            except (RuntimeError, ValueError):  # one of them is damaged
                yield from (self._one(number, most) for number in range(begin, end))
            else:
                yield from (_within(number, content, most) for number, content in enumerate(contents, begin))

    def record(self, number: int) -> bytes:
        """The content of one record. Raises OSError where it cannot be read."""
        try:
            with self._reading:
                return bytes(self._reader.read([number])[0])
        except (RuntimeError, ValueError, IndexError) as error:
            raise OSError(f"record {number:,} of {self._file.name}: {error}") from error

    def _one(self, number: int, most: int) -> Record:
        try:
            return _within(number, self.record(number), most)
        except OSError as error:
            found = str(error.__cause__).partition("; at byte")[0]
            return Record(at=number, breach=broken("record", expected="the bytes that were written", found=found))


def _within(number: int, content: bytes, most: int) -> Record:
    return (
        Record(at=number, content=content)
        if len(content) <= most
        else Record(at=number, breach=too_large(len(content), most))
    )
