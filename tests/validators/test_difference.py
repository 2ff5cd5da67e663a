"""What tells two manifests, or two recipes, apart."""

from typing import Any

import polars as pl
import pytest

from nhwc.validators.difference import DIFFERENCE_COLUMNS, key_differences, sample_differences


def manifest(**entries: tuple[Any, ...]) -> pl.DataFrame:
    """A row an entry: status, code, label, split, pixel_hash, by its name."""
    rows = [(name, f"{name}.png", *facts) for name, facts in entries.items()]
    return pl.DataFrame(rows, schema=dict.fromkeys(DIFFERENCE_COLUMNS, pl.String), orient="row")


def kept(label: str = "cat", split: str = "train", pixels: str = "p") -> tuple[Any, ...]:
    return ("kept", None, label, split, pixels)


def left_out(code: str) -> tuple[Any, ...]:
    return ("quarantined", code, "cat", None, None)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (manifest(a=kept()), manifest(a=kept()), {}),
        (manifest(a=kept()), manifest(a=kept(), b=kept("dog")), {"added": [("b.png", "dog", "train")]}),
        (manifest(a=kept(), b=kept()), manifest(a=kept()), {"removed": [("b.png", "cat", "train")]}),
        (manifest(a=kept()), manifest(a=kept(pixels="q")), {"pixels": [("a.png",)]}),
        (manifest(a=kept()), manifest(a=kept("dog")), {"labels": [("a.png", "cat", "dog")]}),
        (manifest(a=kept()), manifest(a=kept(split="test")), {"splits": [("a.png", "train", "test")]}),
        (manifest(a=left_out("x")), manifest(a=left_out("x")), {}),
        (
            manifest(a=left_out("x")),
            manifest(a=left_out("y")),
            {"came": [("a.png", "y")], "went": [("a.png", "x")]},
        ),
        (
            manifest(a=kept()),
            manifest(a=left_out("x")),
            {"removed": [("a.png", "cat", "train")], "came": [("a.png", "x")]},
        ),
    ],
)
def test_each_kind_of_change_is_told(old: pl.DataFrame, new: pl.DataFrame, told: dict[str, list[Any]]) -> None:
    """By path, and nothing else with it."""
    found = {name: rows.rows() for name, rows in vars(sample_differences(old, new)).items() if rows.height}
    assert told == found


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ({"a": 1}, {"a": 1}, {}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 3, "c": 2}}, {"a.b": (1, 3)}),
        ({"a": {"b": 1}}, {"a": None}, {"a": (None, None), "a.b": (1, None)}),
        ({"a": [1]}, {"a": [1, 2], "b": {}}, {"a": ([1], [1, 2]), "b": (None, {})}),
    ],
)
def test_keys_that_differ_are_told_by_their_dotted_names(old: Any, new: Any, told: Any) -> None:
    """A list is one value; what one side lacks is None there."""
    assert {key: one for key, one in told.items() if one != (None, None)} == key_differences(old, new)
