"""`checksums`: the SHA-256 of each file of a version and of its shards, as `sha256sum -c` reads it."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

CHECKSUMS = "checksums"

_LINES = re.compile(r"(?:[0-9a-f]{64}  [^\0\n]+\n)+")
_SHARDS = "../shards/"


def read_checksums(folder: Path) -> dict[str, str]:
    """The SHA-256 of each file of a version and of its shards, by path relative to the version's folder.

    Raises OSError, and ValueError where the file is not just lines of a SHA-256, two spaces and a path, in that folder
    or in the one of shards beside it: it may come from a store.
    """
    text = (folder / CHECKSUMS).read_bytes().decode("ascii")
    if not _LINES.fullmatch(text):
        raise ValueError("not lines of a SHA-256, two spaces and a path")
    sums = {line[66:]: line[:64] for line in text[:-1].split("\n")}
    if outside := [name for name in sums if {"", ".", ".."} & set(name.removeprefix(_SHARDS).split("/"))]:
        raise ValueError(f"{outside[0][:100]!r}, which leads elsewhere")
    return sums


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def found_hash(path: Path) -> str | None:
    """The SHA-256 of a file; None where it is missing or unreadable."""
    try:
        return sha256_of(path)
    except OSError:
        return None
