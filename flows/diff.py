"""What changed between two versions, in words and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from nhwc.flows.printable import printable
from nhwc.pipelines.version import Version
from nhwc.validators.difference import DIFFERENCE_COLUMNS, SampleDifferences, key_differences, sample_differences

FIRST_NAMES = 5
"""How many names a line shows."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """What tells version `new` from version `old`.

    Args:
        samples: what became of every entry.
        contract: of one image, old and new, in words; None where it is the same.
        classes: the class names, old and new, in the order of their ids; None where they are the same.
        recipe: (old, new) by dotted key of the recipe.
    """

    samples: SampleDifferences
    contract: tuple[str, str] | None
    classes: tuple[tuple[str, ...], tuple[str, ...]] | None
    recipe: dict[str, tuple[Any, Any]]


def diff(old: str | Path, new: str | Path) -> Difference:
    """Compare two versions, each a dataset (its latest) or one version of it, by folder or URL. No pixel is read.

    Raises RecipeError where nothing is published, and DataError where a version's own files are damaged.
    """
    one, other = Version.open(old), Version.open(new)
    contracts = str(one.contract), str(other.contract)
    classes = one.classes, other.classes
    return Difference(
        samples=sample_differences(one.columns(*DIFFERENCE_COLUMNS), other.columns(*DIFFERENCE_COLUMNS)),
        contract=None if contracts[0] == contracts[1] else contracts,
        classes=None if classes[0] == classes[1] else classes,
        recipe=key_differences(one.recipe_keys, other.recipe_keys),
    )


def as_text(difference: Difference) -> str:
    """A line for each kind of change: how many, and the first names."""
    return "\n".join(_lines(difference)) or "nothing differs"


def as_json(difference: Difference) -> str:
    """All of it, every name: keys as in Difference and SampleDifferences."""
    samples = {name: rows.to_dicts() for name, rows in vars(difference.samples).items()}
    return json.dumps(vars(difference) | {"samples": samples}, indent=2)


def _lines(difference: Difference) -> Iterator[str]:
    samples = difference.samples
    for said, rows in (
        ("samples added", samples.added),
        ("samples removed", samples.removed),
        ("samples with other pixels", samples.pixels),
    ):
        if rows.height:
            yield f"{said}: {_counted(rows)}"
    for said, rows in (("label", samples.labels), ("split", samples.splits)):
        for (old, new), moved in rows.group_by("old", "new", maintain_order=True):
            yield f"{said} {printable(str(old))} -> {printable(str(new))}: {_counted(moved)}"
    for said, rows in (("came", samples.came), ("went", samples.went)):
        for (code,), with_it in rows.sort("code", "path").group_by("code", maintain_order=True):
            yield f"{said}: {code}: {_counted(with_it)}"
    if difference.contract is not None:
        yield "contract: {} -> {}".format(*difference.contract)
    if difference.classes is not None:
        yield from _class_lines(*difference.classes)
    for key, (old, new) in difference.recipe.items():
        yield printable(f"recipe {key}: {_shown(old)} -> {_shown(new)}")


def _class_lines(old: tuple[str, ...], new: tuple[str, ...]) -> Iterator[str]:
    for said, names in (
        ("classes added", [name for name in new if name not in set(old)]),
        ("classes removed", [name for name in old if name not in set(new)]),
    ):
        if names:
            yield f"{said}: {_named(names, len(names))}"
    moved = [name for name in new if name in set(old) and old.index(name) != new.index(name)]
    if moved:
        yield f"classes with another id: {_named(moved, len(moved))}"


def _counted(rows: pl.DataFrame) -> str:
    return _named(rows["path"].head(FIRST_NAMES).to_list(), rows.height)


def _named(names: list[str], count: int) -> str:
    shown = names[:FIRST_NAMES]
    more = f", and {count - len(shown):,} more" if count > len(shown) else ""
    return f"{count:,}: " + ", ".join(map(printable, shown)) + more


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
