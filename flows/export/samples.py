"""The samples of a version one after another, each held against the hash that was published."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import polars as pl

from nhwc.flows.export.form import Array, Encoded, Part, Sample
from nhwc.flows.parallel import on_all_cores
from nhwc.pipelines.opened import checked_shard
from nhwc.pipelines.store import Shard
from nhwc.pipelines.version import Version
from nhwc.validators.errors import DataError
from nhwc.validators.verdict import Verdict
from nhwc.validators.violation import Code, Violation

Encode = Callable[[Array], bytes]

_AT_ONCE = 8
"""Samples that a thread is given at a time."""


def encoded_samples(version: Version, part: Part, encode: Encode) -> Iterator[Encoded]:
    """Each sample of a part with its image encoded, on all cores, in the order of `nhwc.load` without shuffle.

    Raises DataError: after the last one with all whose pixels are not those that were published, and at once where a
    shard is missing, or none.
    """
    rows = version.kept.filter(pl.col("split") == part.split)[part.first : part.first + part.size]
    one = partial(_encoded, _Shards(version, rows), encode)
    violations: list[Violation] = []
    for outcome in on_all_cores(one, rows.iter_rows(named=True), at_once=_AT_ONCE):
        if isinstance(outcome, Violation):
            violations.append(outcome)
        else:
            yield outcome
    Verdict(violations=tuple(violations)).require()


class _Shards:
    """The shards of some samples, each opened when first needed. Safe to call from several threads."""

    def __init__(self, version: Version, rows: pl.DataFrame) -> None:
        self._version, self._rows = version, rows
        self._decoding, self._contract = version.decoding, version.contract
        self._opened: dict[str, Shard] = {}
        self._lock = threading.Lock()

    def __getitem__(self, name: str) -> Shard:
        """Raises DataError, the shard named, where it is not what was published."""
        with self._lock:
            if name not in self._opened:
                mine = self._rows.filter(pl.col("shard") == name)
                self._opened[name] = checked_shard(
                    self._version.shard_path(name),
                    self._contract,
                    rows=mine["row"].to_numpy(),
                    ids=mine["sample_id"].to_arrow(),
                    image=self._decoding,
                    bring=lambda path: self._version.bring_shard(path.stem),
                )
        return self._opened[name]


def _encoded(shards: _Shards, encode: Encode, row: dict[str, Any]) -> Encoded | Violation:
    """A sample with its image encoded, or what is wrong with its pixels."""
    shard = shards[row["shard"]]
    try:
        image = shard.images[row["row"]]
    except DataError as error:  # of a shard of files: this one is not decoded any more
        return error.verdict.violations[0]
    found = hashlib.sha256(image.data if image.flags.c_contiguous else image.tobytes()).hexdigest()
    if found != row["pixel_hash"]:
        return Violation(
            code=Code.PIXELS_CHANGED,
            stage="export",
            aspect=f"pixels in shard {row['shard']}",
            expected=row["pixel_hash"],
            found=found,
            sample_id=row["sample_id"],
            hint="ingest again: an unchanged source makes the version anew; `nhwc verify` tells what else is damaged",
        )
    sample = Sample(**{name: row[name] for name in ("sample_id", "path", "label", "label_id", "split")})
    return sample, encode(image)
