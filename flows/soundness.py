"""Whether a version's own files are what was published: by its checksums, and by what `latest` says of these."""

from __future__ import annotations

from typing import TypeAlias

from nhwc.flows.publish import VERSION_FILES
from nhwc.pipelines.checksums import CHECKSUMS, found_hash, read_checksums
from nhwc.pipelines.version import Latest, Version

Sums: TypeAlias = dict[str, str]
"""The SHA-256 of files, by path relative to a version's folder."""


def read_sums(version: Version) -> Sums:
    """Its checksums; empty where they are missing or cannot be read."""
    try:
        return read_checksums(version.folder)
    except (OSError, ValueError):
        return {}


def unsound_files(version: Version, sums: Sums) -> tuple[str, ...]:
    """Its own files that are not what the checksums say, or of which they say nothing; CHECKSUMS where none are."""
    if not sums:
        return (CHECKSUMS,)
    own = sorted({name for name in sums if not name.startswith("../")} | set(VERSION_FILES))
    return tuple(name for name in own if name not in sums or found_hash(version.folder / name) != sums[name])


def is_named(version: Version) -> bool:
    """Whether `latest` names the version and its checksums, or the version alone."""
    try:
        said = Latest.read(version.dataset)
    except (OSError, ValueError):
        return False
    return said.number == version.number and said.checksums in (None, found_hash(version.folder / CHECKSUMS))
