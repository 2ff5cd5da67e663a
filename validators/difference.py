"""What tells two versions of a dataset apart: sample by sample, and key by key of what was asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

DIFFERENCE_COLUMNS = ("sample_id", "path", "status", "code", "label", "split", "pixel_hash")
"""The manifest's columns that are compared."""


@dataclass(frozen=True, kw_only=True)
class SampleDifferences:
    """What became of every entry, each a frame sorted by path. An entry is told by its path.

    Args:
        added, removed: samples that only the new, or only the old version has: path, label, split.
        pixels: samples that are stored with other pixels: path.
        labels, splits: samples under another label, or in another split: path, old, new.
        came, went: entries that are left out for a code now and were not for this one before, and the reverse: path,
            code.
    """

    added: pl.DataFrame
    removed: pl.DataFrame
    pixels: pl.DataFrame
    labels: pl.DataFrame
    splits: pl.DataFrame
    came: pl.DataFrame
    went: pl.DataFrame


def sample_differences(old: pl.DataFrame, new: pl.DataFrame) -> SampleDifferences:
    """Compare two manifests by DIFFERENCE_COLUMNS."""
    kept_old, kept_new = old.filter(status="kept"), new.filter(status="kept")
    both = kept_new.join(kept_old, on="sample_id", suffix="_old")
    codes_old, codes_new = old.drop_nulls("code"), new.drop_nulls("code")
    return SampleDifferences(
        added=_without(kept_new, kept_old, "label", "split"),
        removed=_without(kept_old, kept_new, "label", "split"),
        pixels=both.filter(pl.col("pixel_hash") != pl.col("pixel_hash_old")).select("path").sort("path"),
        labels=_moved(both, "label"),
        splits=_moved(both, "split"),
        came=_without(codes_new, codes_old, "code", on=("sample_id", "code")),
        went=_without(codes_old, codes_new, "code", on=("sample_id", "code")),
    )


def _without(
    rows: pl.DataFrame, others: pl.DataFrame, *columns: str, on: tuple[str, ...] = ("sample_id",)
) -> pl.DataFrame:
    """The rows that the others lack."""
    return rows.join(others, on=list(on), how="anti").select("path", *columns).sort("path")


def _moved(both: pl.DataFrame, column: str) -> pl.DataFrame:
    changed = both.filter(pl.col(column) != pl.col(f"{column}_old"))
    return changed.select("path", old=f"{column}_old", new=column).sort("path")


def key_differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Where two nested mappings differ: (old, new) by dotted key, in the new one's order; None where one has none."""
    flat_old, flat_new = dict(_flat(old)), dict(_flat(new))
    keys = dict.fromkeys([*flat_new, *flat_old])
    return {key: (flat_old.get(key), flat_new.get(key)) for key in keys if flat_old.get(key) != flat_new.get(key)}


def _flat(plain: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in plain.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value
