"""What every shard holds, without reading again those that nobody has touched since they were read last."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path

import polars as pl

from nhwc.flows.durable import write_frame
from nhwc.flows.parallel import on_all_cores
from nhwc.pipelines.checksums import sha256_of

SHARD_HASHES = ".shard-hashes"
"""In the dataset's folder, Parquet: the SHA-256 of every shard that was read, and its stamp before that.

It may be removed: then all shards are read again. What rots on the disk itself changes no stamp: `nhwc verify` finds
it, and removes this note, by which the next ingest finds it too.
"""

_SCHEMA = {
    "name": pl.String,
    "inode": pl.UInt64,
    "size": pl.Int64,  # bytes
    "written_ns": pl.Int64,  # since 1970, as the next
    "changed_ns": pl.Int64,
    "sha256": pl.String,
}

_Stamp = tuple[int, int, int, int]
_Noted = tuple[_Stamp, str]


def shard_hashes(dataset: Path, names: Iterable[str]) -> dict[str, str]:
    """The SHA-256 of each of these shards, by name; those that are missing or unreadable are left out."""
    noted = _noted(dataset)
    hashed = on_all_cores(partial(_hashed, dataset / "shards", noted), names)
    found = dict(one for one in hashed if one is not None)
    if found != noted:
        rows = [(name, *stamp, digest) for name, (stamp, digest) in sorted(found.items())]
        write_frame(dataset / SHARD_HASHES, pl.DataFrame(rows, schema=_SCHEMA, orient="row"))
    return {name: digest for name, (_, digest) in found.items()}


def _hashed(folder: Path, noted: Mapping[str, _Noted], name: str) -> tuple[str, _Noted] | None:
    """A shard's name, and its stamp and SHA-256; None where it is missing or unreadable."""
    path = folder / f"{name}.arrow"
    try:
        stamp = _stamp(path)  # before it is read: what is written meanwhile has another one afterwards
        known = noted.get(name)
        return name, known if known and known[0] == stamp else (stamp, sha256_of(path))
    except OSError:
        return None


def doubt_shards(dataset: Path) -> None:
    """Have every shard read again by whoever asks next. Raises OSError where the note cannot be removed."""
    (dataset / SHARD_HASHES).unlink(missing_ok=True)


def _noted(dataset: Path) -> dict[str, _Noted]:
    try:
        rows = pl.read_parquet(dataset / SHARD_HASHES).select(list(_SCHEMA)).iter_rows()
        return {name: ((inode, size, written, changed), digest) for name, inode, size, written, changed, digest in rows}
    except (OSError, pl.exceptions.PolarsError):
        return {}


def _stamp(path: Path) -> _Stamp:
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
