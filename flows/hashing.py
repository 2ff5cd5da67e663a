"""The SHA-256 of every candidate's file: what a sample is known by, and its shard named after."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from types import MappingProxyType

from nhwc.flows.parallel import THREADS, on_all_cores
from nhwc.pipelines.sources.container import DamagedSampleError
from nhwc.pipelines.sources.protocol import Entry, Source
from nhwc.validators.violation import Code, Violation

Advance = Callable[[int], None]
"""Told how many more files are done."""

HASHED_AT_ONCE = 32
"""Files that a thread hashes before it is given more: to hand over one takes longer than to hash a small one."""

READ_AT_ONCE = 1 << 20
"""Bytes of a file that are read for hashing at once."""

Known = tuple[str, int]
"""SHA-256 and size in bytes of a file that has not changed since it was read."""

NOTHING: Mapping[str, Known] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class HashedEntry:
    """A candidate with the SHA-256 and the size in bytes of its file, or with why it cannot be read."""

    entry: Entry
    sha256: str | None = None
    size: int | None = None
    violation: Violation | None = None


@dataclass(frozen=True, kw_only=True)
class Hashes:
    """Every candidate hashed, in the entries' order.

    Args:
        entries: the candidates.
        read: those that were read now, by name.
        known: what is known of the others, by name. They are made when asked for: a hundred thousand objects more
            would have the interpreter look through all that it has for garbage.
    """

    entries: Sequence[Entry]
    read: Mapping[str, HashedEntry]
    known: Mapping[str, Known]

    @cached_property
    def sample_ids(self) -> list[str]:
        """Each candidate's."""
        return [entry.sample_id for entry in self.entries]

    def sha256(self, entry: Entry) -> str | None:
        """Of one candidate's file; None where it was not read."""
        known = self.known.get(entry.name)
        return self.read[entry.name].sha256 if known is None else known[0]

    def of(self, entry: Entry) -> HashedEntry:
        """One of the entries, hashed."""
        if (read := self.read.get(entry.name)) is not None:
            return read
        sha256, size = self.known[entry.name]
        return HashedEntry(entry=entry, sha256=sha256, size=size)


def hash_entries(
    entries: Sequence[Entry], source: Source, *, max_bytes: int, advance: Advance, known: Mapping[str, Known] = NOTHING
) -> Hashes:
    """The SHA-256 of every candidate's file; a file of more than max_bytes is not read, nor is one that is known."""
    still = {name: one for name, one in known.items() if one[1] <= max_bytes}
    unread = [entry for entry in entries if entry.name not in still]
    advance(len(entries) - len(unread))
    read: dict[str, HashedEntry] = {}
    work = partial(_hash_entry, source=source, max_bytes=max_bytes)
    hashed = on_all_cores(work, unread, at_once=HASHED_AT_ONCE, threads=THREADS * source.readers)
    for number, one in enumerate(hashed, 1):
        read[one.entry.name] = one
        if number % HASHED_AT_ONCE == 0 or number == len(unread):
            advance((number - 1) % HASHED_AT_ONCE + 1)
    return Hashes(entries=entries, read=read, known=still)


def _hash_entry(entry: Entry, source: Source, max_bytes: int) -> HashedEntry:
    try:
        with source.open(entry) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            if size > max_bytes:
                expected, found = f"at most {max_bytes:,} bytes", f"{size:,} bytes"
                violation = Violation(
                    code=Code.TOO_MANY_BYTES, stage="probe", aspect="bytes", expected=expected, found=found
                )
                return HashedEntry(entry=entry, size=size, violation=violation)
            content = file.read(min(size + 1, READ_AT_ONCE))
            digest, read = hashlib.sha256(content), len(content)
            while read != size and (content := file.read(READ_AT_ONCE)):
                digest.update(content)
                read += len(content)
            return HashedEntry(entry=entry, sha256=digest.hexdigest(), size=read)
    except OSError as error:
        return HashedEntry(entry=entry, violation=unreadable(error))


def unreadable(error: OSError) -> Violation:
    """That a file cannot be read, or that the bytes of a sample are not whole."""
    code, expected, found = Code.UNREADABLE_FILE, "a readable file", error.strerror or str(error)
    if isinstance(error, DamagedSampleError):
        code, expected = Code.DAMAGED_SOURCE, "bytes that are whole"
    return Violation(code=code, stage="probe", aspect="bytes", expected=expected, found=found)
