"""Which split each sample falls in: by hash, stratified by class, and never moved by images that come later."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import polars as pl

SPLITS = ("train", "validation", "test")
"""What a split is called, in this order wherever splits stand in one."""

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "test": "test",
    "testing": "test",
}
"""Folder and file spellings of the three splits, in lower case."""

_ASSIGNED = {"group": pl.String, "split": pl.String}


def assign_splits(
    samples: pl.DataFrame, fractions: Mapping[str, float], *, seed: int, settled: pl.DataFrame | None = None
) -> pl.DataFrame:
    """The split of each group of samples.

    Args:
        samples: group and label of each sample, text. Samples of one group (the same bytes, say) never part; a group
            counts for the class that sorts first among its members'.
        fractions: the share of each split, adding up to 1; a split whose share is 0 gets no new group.
        seed: another seed is another assignment.
        settled: group and split of groups assigned earlier, each once: they stay where they are, whatever comes, unless
            their split is no longer among the fractions.

    Within a class the groups stand in the order of SHA-256(seed, group), which no listing order and no other image
    can change, and each goes to the split that is furthest below its share. So every class is divided as exactly as
    whole groups allow, and with `settled` from the version before, new images only fill up what is short.

    Returns group and split, a row a group, in any order.
    """
    if settled is None:
        settled = pl.DataFrame(schema=_ASSIGNED)
    groups = samples.group_by("group").agg(pl.col("label").min(), samples=pl.len())
    groups = groups.join(settled.filter(pl.col("split").is_in(list(fractions))), on="group", how="left")
    stay, free = groups.drop_nulls("split"), groups.filter(pl.col("split").is_null())
    totals = dict(groups.group_by("label").agg(pl.col("samples").sum()).iter_rows())
    held = {label: dict.fromkeys(fractions, 0) for label in totals}
    for label, split, count in stay.group_by("label", "split").agg(pl.col("samples").sum()).iter_rows():
        held[label][split] = count
    shared = [name for name, share in fractions.items() if share > 0]  # no share, no sample, whatever is short
    assigned: dict[str, str] = {}
    for group, label, count in sorted(
        free.select("group", "label", "samples").rows(), key=lambda row: _rank(seed, row[0])
    ):
        total, holds = totals[label], held[label]
        assigned[group] = max(shared, key=lambda name: fractions[name] * total - holds[name])
        holds[assigned[group]] += count
    new = pl.DataFrame({"group": list(assigned), "split": list(assigned.values())}, schema=_ASSIGNED)
    return pl.concat([stay.select("group", "split"), new])


def _rank(seed: int, group: str) -> bytes:
    return hashlib.sha256(f"{seed}\0{group}".encode()).digest()
