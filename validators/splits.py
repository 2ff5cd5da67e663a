"""Which split each sample falls in: by hash, stratified by class, and never moved by images that come later."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping

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


def assign_splits(
    samples: Iterable[tuple[str, str]],
    fractions: Mapping[str, float],
    *,
    seed: int,
    settled: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """The split of each group of samples.

    Args:
        samples: (group, class) of each sample. Samples of one group (the same bytes, say) never part; a group counts
            for the class that sorts first among its members'.
        fractions: the share of each split, adding up to 1; a split whose share is 0 gets no new group.
        seed: another seed is another assignment.
        settled: groups assigned earlier: they stay where they are, whatever comes, unless their split is no longer
            among the fractions.

    Within a class the groups stand in the order of SHA-256(seed, group), which no listing order and no other image
    can change, and each goes to the split that is furthest below its share. So every class is divided as exactly as
    whole groups allow, and with `settled` from the version before, new images only fill up what is short.
    """
    settled = settled or {}
    shared = [name for name, share in fractions.items() if share > 0]  # no share, no sample, whatever is short
    classes: dict[str, str] = {}
    sizes: dict[str, int] = defaultdict(int)
    for group, label in samples:
        classes[group] = min(label, classes.get(group, label))
        sizes[group] += 1
    members: dict[str, list[str]] = defaultdict(list)
    for group, label in classes.items():
        members[label].append(group)
    assigned: dict[str, str] = {}
    for groups in members.values():
        held = dict.fromkeys(fractions, 0)
        total = sum(sizes[group] for group in groups)
        for group in groups:
            if settled.get(group) in held:
                assigned[group] = settled[group]
                held[settled[group]] += sizes[group]
        for group in sorted((g for g in groups if g not in assigned), key=lambda g: _rank(seed, g)):
            split = max(shared, key=lambda name: fractions[name] * total - held[name])
            assigned[group] = split
            held[split] += sizes[group]
    return assigned


def _rank(seed: int, group: str) -> bytes:
    return hashlib.sha256(f"{seed}\0{group}".encode()).digest()
