"""What a source owes: every entry it has, by name, and the bytes of those that may be samples."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, BinaryIO, ClassVar, Literal, Protocol

import polars as pl

from nhwc.validators.violation import Code, Violation


@dataclass(frozen=True, kw_only=True, slots=True)  # there are as many as files
class Entry:
    """One thing that a source has, and what is to become of it.

    Args:
        name: its path relative to the source, with /, as the system gives it (bytes that are not UTF-8 as surrogates).
        status: `candidate` may become a sample; the other two never will.
        violation: why it is quarantined or skipped.
        label: the class name of a candidate.
        split: the split it was given by folder or file; None where the recipe's fractions decide.
        notes: what is remarkable about it though it may be kept.
        at: where in the source its bytes lie, in the source's own terms, where the name alone does not tell.
    """

    name: str
    status: Literal["candidate", "quarantined", "skipped"] = "candidate"
    violation: Violation | None = None
    label: str | None = None
    split: str | None = None
    notes: tuple[Code, ...] = ()
    at: tuple[str | int, ...] = ()

    @property
    def sample_id(self) -> str:
        """16 hex digits of SHA-256 of the name's bytes: another name is another sample."""
        return hashlib.sha256(os.fsencode(self.name)).hexdigest()[:16]

    @property
    def suffix(self) -> str:
        """Of its file's name, with the dot, as .jpg; empty where the name ends in something else, as in x.tar@512."""
        suffix = PurePosixPath(self.name).suffix
        return suffix if suffix[1:].isalnum() else ""

    @property
    def path(self) -> str:
        """The name as text that is always UTF-8: other bytes are shown as \\xNN."""
        if self.name.isascii():
            return self.name
        return os.fsencode(self.name).decode("utf-8", "backslashreplace")


@dataclass(frozen=True, kw_only=True)
class Discovery:
    """Everything that a source has.

    Args:
        entries: one each, sorted by name.
        folders: the names of all its folders.
        classes: the class names in the order of their ids, where the source itself has an order.
        numbered: the source's labels are numbers of classes, from 0, shown as text; names, if any, are the recipe's to
            give. A number below 0 says that nobody knows.
    """

    entries: tuple[Entry, ...]
    folders: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    numbered: bool = False


STAMP: Mapping[str, Any] = {
    "name": pl.Binary,  # that its entry will have, in the system's bytes
    "inode": pl.UInt64,
    "size": pl.Int64,  # bytes
    "written_ns": pl.Int64,  # since 1970, as the next
    "changed_ns": pl.Int64,
}
"""The columns of what the system says of a file: while all are the same, so is what is in it."""


@dataclass(frozen=True, kw_only=True)
class Listing:
    """What the system says of everything that a source has, without a byte of it being read.

    Args:
        digest: SHA-256, 64 hex digits: another one where anything was added, removed, renamed or written since.
        changed_ns: when anything of it changed last, in nanoseconds since 1970.
        stamps: a row a file; columns as in STAMP.
    """

    digest: str
    changed_ns: int
    stamps: pl.DataFrame


class Source(Protocol):
    """Where samples come from.

    All methods are safe to call from several threads and never write. Discovery is deterministic: the same content
    gives the same entries in the same order, whatever order the system lists them in. `folder.Folder` is an example.
    It is pickled where other processes read from it.
    """

    readers: ClassVar[int]
    """Threads a core that reading keeps busy: more than one where each waits for a network meanwhile."""

    def discover(self, known: Container[str] = ()) -> Discovery:
        """Every entry, sorted by name. Entries without a label yet; `labels.label_entries` gives them theirs.

        Files of known names were candidates when they were last read and have not changed since: none is opened.
        """
        ...

    def open(self, entry: Entry) -> BinaryIO:
        """The file that holds this entry's bytes, at its begin, as a context manager. Raises OSError.

        A read may give fewer bytes than there are. `seek(0, os.SEEK_END)` tells how many there are.
        """
        ...

    def listing(self) -> Listing:
        """What tells whether anything changed since an earlier look."""
        ...


def refused(
    entry: Entry, status: Literal["quarantined", "skipped"], code: Code, *, aspect: str, expected: str, found: str
) -> Entry:
    """The same entry, quarantined or skipped for this reason, seen while discovering."""
    violation = Violation(
        code=code, stage="discover", aspect=aspect, sample_id=entry.sample_id, expected=expected, found=found
    )
    return Entry(name=entry.name, status=status, violation=violation, label=entry.label, split=entry.split)


def by_name(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """Sorted by the names' bytes, which no locale changes."""
    return tuple(sorted(entries, key=lambda entry: os.fsencode(entry.name)))
