"""`checksums`: the SHA-256 of each file of a version and of its shards, as `sha256sum -c` reads it."""

from __future__ import annotations

import hashlib
from pathlib import Path


def read_checksums(folder: Path) -> dict[str, str]:
    """The SHA-256 of each file of a version and of its shards, by path relative to the version's folder."""
    lines = (folder / "checksums").read_text(encoding="utf-8").splitlines()
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
