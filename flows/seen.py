"""What has not changed since the last ingest, told without reading a file: nothing at all, or file by file.

As git's index does: the system's facts of every entry (inode, size, times of change) are compared, not the bytes. The
time of the last change of an inode (ctime) cannot be set by a program, so a changed file with its old date is seen.

Two notes lie in the dataset's folder. SEEN says that nothing changed; HASHES what each file's SHA-256 is. Both may be
removed: then all is read.
"""

from __future__ import annotations

import hashlib
import os
import time
from dataclasses import dataclass
from importlib.metadata import version as installed
from pathlib import Path

import polars as pl

from nhwc.flows.durable import write_frame, write_text
from nhwc.flows.hashing import Hashes, Known
from nhwc.flows.recipe import Recipe
from nhwc.pipelines.sources.protocol import STAMP, Source
from nhwc.pipelines.version import Version
from nhwc.validators.violation import Code

SEEN = ".seen"
"""In the dataset's folder: the number of its latest version, and the digest of what it was made from."""

HASHES = ".hashes"
"""In the dataset's folder, Parquet: the SHA-256 of every file that was read, and its stamp then."""

_TICK_NS = 2_000_000_000
"""A file may change twice within what its file system can tell apart: 2 s on FAT, milliseconds elsewhere."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """What an ingest finds before it reads anything.

    Args:
        digest: of the recipe, of the files that it names, and of the source's listing.
        changed_ns: when anything of it changed last, in nanoseconds since 1970.
        at_ns: when the look was taken.
        stamps: of each file of the source, as in Listing.
    """

    digest: str
    changed_ns: int
    at_ns: int
    stamps: pl.DataFrame


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
    return Look(digest=digest.hexdigest(), changed_ns=listing.changed_ns, at_ns=at_ns, stamps=listing.stamps)


def is_unchanged(look: Look, version: Version) -> bool:
    """Whether the version is what an ingest would come to: nothing changed since. Whether it is whole, is not asked."""
    file = version.dataset / SEEN
    try:
        said, seen_ns = file.read_text(encoding="utf-8"), file.stat().st_mtime_ns
    except (OSError, UnicodeDecodeError):
        return False
    settled = look.changed_ns + _TICK_NS <= seen_ns  # else it may have changed once more after that look
    return settled and said == _said(look, version)


def remember(look: Look, version: Version) -> None:
    """Write down that the version is what this look comes to. The file's own time is that of the look."""
    file = version.dataset / SEEN
    write_text(file, _said(look, version))
    os.utime(file, ns=(look.at_ns, look.at_ns))


def known_hashes(dataset: Path, look: Look) -> dict[str, Known]:
    """The files that were read before and have not changed since, by name."""
    try:
        table = pl.read_parquet(dataset / HASHES).filter(nhwc=installed("nhwc"))  # another may see other images
        same = table.join(look.stamps, on=list(STAMP)).select("name", "sha256", "size")
    except (OSError, pl.exceptions.PolarsError):
        return {}
    names, *known = (column.to_list() for column in same)
    return dict(zip(map(os.fsdecode, names), zip(*known, strict=True), strict=True))


def remember_hashes(dataset: Path, look: Look, hashed: Hashes, manifest: pl.DataFrame) -> None:
    """Write down what was read after this look; nothing at all where a file was not what its hash said.

    Nothing of a file that was written within a tick of the look, or by its dates after it: it may have been written
    once more, under the same stamp, after it was read.
    """
    if manifest["code"].is_in([str(Code.CHANGED)]).any():
        (dataset / HASHES).unlink(missing_ok=True)
    elif hashed.read:
        _write_hashes(dataset / HASHES, look, hashed)


def _write_hashes(file: Path, look: Look, hashed: Hashes) -> None:
    settled = look.stamps.filter(pl.max_horizontal("written_ns", "changed_ns") <= look.at_ns - _TICK_NS)
    sha256 = {name: one.sha256 for name, one in hashed.read.items()} | {
        name: one[0] for name, one in hashed.known.items()
    }
    columns = {"name": list(map(os.fsencode, sha256)), "sha256": list(sha256.values())}
    table = pl.DataFrame(columns, schema={"name": pl.Binary, "sha256": pl.String}).drop_nulls()
    table = settled.join(table, on="name", maintain_order="left").with_columns(nhwc=pl.lit(installed("nhwc")))
    if not table.is_empty():
        write_frame(file, table)


def forget(dataset: Path) -> None:
    """The next ingest looks at every file."""
    (dataset / SEEN).unlink(missing_ok=True)


def _said(look: Look, version: Version) -> str:
    return f"{version.number} {look.digest}\n"
