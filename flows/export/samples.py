"""The samples of a version one after another, each held against the hash that was published."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import polars as pl

from nhwc.flows.export.form import Array, Encoded, Part, Sample
from nhwc.flows.parallel import on_all_cores
from nhwc.pipelines.opened import OpenedShards
from nhwc.pipelines.store import pixel_hash
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
    names = rows["shard"].unique(maintain_order=True)
    rows = rows.with_columns(place=pl.col("shard").replace_strict(names, range(len(names)), return_dtype=pl.Int64))
    shards = OpenedShards(
        [version.shard_path(name) for name in names],
        rows.select("sample_id", "row", shard="place"),
        version.contract,
        decoding=version.decoding,
        bring=lambda path: version.bring_shard(path.stem),
    )
    one = partial(_encoded, shards, encode)
    violations: list[Violation] = []
    for outcome in on_all_cores(one, rows.iter_rows(named=True), at_once=_AT_ONCE):
        if isinstance(outcome, Violation):
            violations.append(outcome)
        else:
            yield outcome
    Verdict(violations=tuple(violations)).require()


def _encoded(shards: OpenedShards, encode: Encode, row: dict[str, Any]) -> Encoded | Violation:
    """A sample with its image encoded, or what is wrong with its pixels."""
    shard = shards[row["place"]]
    try:
        image = shard.images[row["row"]]
    except DataError as error:  # of a shard of files: this one is not decoded any more
        return error.verdict.violations[0]
    if (found := pixel_hash(image)) != row["pixel_hash"]:
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
