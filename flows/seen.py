"""Whether anything that an ingest reads has changed since the last one, told without reading a file.

As git's index does: the system's facts of every entry (inode, size, times of change) are compared, not the bytes. The
time of the last change of an inode (ctime) cannot be set by a program, so a changed file with its old date is seen.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version as installed
from pathlib import Path

from nhwc.flows.durable import write_text
from nhwc.flows.recipe import Recipe
from nhwc.pipelines.sources.protocol import Source
from nhwc.pipelines.version import Version

SEEN = ".seen"
"""In the dataset's folder: the number of its latest version, and the digest of what it was made from."""

_TICK_NS = 2_000_000_000
"""A file may change twice within what its file system can tell apart: 2 s on FAT, milliseconds elsewhere."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """What an ingest finds before it reads anything.

    Args:
        digest: of the recipe, of the files that it names, and of the source's listing.
        changed_ns: when anything of it changed last, in nanoseconds since 1970.
        at_ns: when the look was taken.
    """

    digest: str
    changed_ns: int
    at_ns: int


def look_at(recipe: Recipe, source: Source) -> Look:
    """Look at the recipe, the files that it names, and the source's listing. Raises OSError where one is unreadable."""
    at_ns = time.time_ns()
    listing = source.listing()
    digest = hashlib.sha256()
    named = (recipe.label_file, recipe.frozen_contract, recipe.own_rules)
    for part in (installed("nhwc"), recipe.image.fingerprint, recipe.to_yaml(), str(source), listing.digest):
        digest.update(part.encode() + b"\0")
    for file in named:
        digest.update(b"\0" if file is None else hashlib.sha256(file.read_bytes()).digest())
    return Look(digest=digest.hexdigest(), changed_ns=listing.changed_ns, at_ns=at_ns)


def is_unchanged(look: Look, version: Version) -> bool:
    """Whether the version is what an ingest would come to: nothing changed since, and its shards are there."""
    file = version.dataset / SEEN
    try:
        said, seen_ns = file.read_text(encoding="utf-8"), file.stat().st_mtime_ns
    except (OSError, UnicodeDecodeError):
        return False
    settled = look.changed_ns + _TICK_NS <= seen_ns  # else it may have changed once more after that look
    return settled and said == _said(look, version) and _are_files(version)


def remember(look: Look, version: Version) -> None:
    """Write down that the version is what this look comes to. The file's own time is that of the look."""
    file = version.dataset / SEEN
    write_text(file, _said(look, version))
    os.utime(file, ns=(look.at_ns, look.at_ns))


def forget(dataset: Path) -> None:
    """The next ingest reads everything."""
    (dataset / SEEN).unlink(missing_ok=True)


def _said(look: Look, version: Version) -> str:
    return f"{version.number} {look.digest}\n"


def _are_files(version: Version) -> bool:
    names: Iterable[str] = version.columns("shard")["shard"].drop_nulls().unique()
    return all(version.shard_path(name).is_file() for name in names)
