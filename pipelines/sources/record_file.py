"""A file of records, one after another: what a record of a file is, and where one is not whole."""

from __future__ import annotations

from dataclasses import dataclass

from nhwc.validators.violation import Code


class Breach(Exception):  # noqa: N818  one record's fate, and no error of anyone's
    """What is wrong with one record: code, aspect, what was expected and what was found, in words."""

    def __init__(self, code: Code, aspect: str, *, expected: str, found: str) -> None:
        super().__init__(code, aspect, expected, found)
        self.code, self.aspect, self.expected, self.found = code, aspect, expected, found


@dataclass(frozen=True, kw_only=True)
class Record:
    """One record, or what stands where one should be.

    Args:
        at: its place in the file: the byte where it begins, or its number.
        content: its bytes; none where it has a breach.
        breach: why it cannot be read.
        is_framed: where it begins and ends is known; else more than one may be lost.
    """

    at: int
    content: bytes = b""
    breach: Breach | None = None
    is_framed: bool = True


def broken(aspect: str, *, expected: str, found: str) -> Breach:
    """That a part of a file is not what was written."""
    return Breach(Code.DAMAGED_SOURCE, aspect, expected=expected, found=found)


def too_large(size: int, most: int) -> Breach:
    """That a record is larger than any image may be: it is not read."""
    return Breach(Code.TOO_MANY_BYTES, "bytes", expected=f"at most {most:,} bytes", found=f"{size:,} bytes")
