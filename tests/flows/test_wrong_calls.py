"""A public function that is called wrong says which argument, what was found and what is expected, all at once."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nhwc
from nhwc.flows.recipe import Recipe

PLACE = "expected a path or URL, as text or pathlib.Path"


def refused(call: Callable[[], object]) -> list[str]:
    """The lines of the error: where, and each problem."""
    with pytest.raises(nhwc.RecipeError) as caught:
        call()
    return str(caught.value).splitlines()


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"sample": 0}, "sample: found 0, expected a whole number, at least 1"),
        ({"sample": -1}, "sample: found -1, expected a whole number, at least 1"),
        ({"sample": "a"}, "sample: found 'a', expected a whole number, at least 1"),
        ({"sample": 2.5}, "sample: found 2.5, expected a whole number, at least 1"),
        ({"sample": True}, "sample: found True, expected a whole number, at least 1"),
        ({"seed": "x"}, "seed: found 'x', expected a whole number, at least 0"),
        ({"seed": -1}, "seed: found -1, expected a whole number, at least 0"),
    ],
)
def test_a_draw_that_is_none_is_refused(tmp_path: Path, options: dict[str, Any], problem: str) -> None:
    """By verify, before anything is looked at."""
    assert ["nhwc.verify:", f"  {problem}"] == refused(lambda: nhwc.verify(tmp_path / "nowhere", **options))


def test_all_that_is_wrong_with_a_draw_is_told_at_once() -> None:
    """A line each."""
    told = refused(lambda: nhwc.verify(None, sample=0, seed=-1))  # type: ignore[arg-type]
    assert ["nhwc.verify:", f"  dataset: found None, {PLACE}"] == told[:2]
    assert ["sample", "seed"] == [line.split(":")[0].strip() for line in told[2:]]


def test_numpys_numbers_draw_too(photos: Path, recipe_for: Callable[..., Recipe]) -> None:
    """They are whole numbers."""
    version = nhwc.ingest(recipe_for(), direct=True)
    assert {"images": 1} == nhwc.verify(version.folder, sample=np.int64(1), seed=np.uint8(3)).figures  # type: ignore[arg-type]


READERS: dict[str, Callable[..., object]] = {
    "nhwc.load": nhwc.load,
    "nhwc.load_records": nhwc.load_records,
    "nhwc.data_source": nhwc.data_source,
    "nhwc.export": lambda dataset: nhwc.export(dataset, to="npz", out="out"),
}


@pytest.mark.parametrize("face", READERS)
@pytest.mark.parametrize(
    ("dataset", "problem"),
    [
        ("nowhere", "nowhere: found no such folder, expected a published dataset"),
        (Path("/"), "/: found a folder that is no dataset, expected a published dataset"),
        ("s3://", "dataset: found 's3://', which names no bucket"),
        (None, f"dataset: found None, {PLACE}"),
        (5, f"dataset: found 5, {PLACE}"),
        (b"pets", f"dataset: found b'pets', {PLACE}"),
        ({}, f"dataset: found an object of type dict, {PLACE}"),
        ("a\0b", f"dataset: found 'a\\x00b', {PLACE}, without NUL"),
    ],
)
def test_what_is_no_dataset_is_named(face: str, dataset: Any, problem: str) -> None:
    """Beside the function that was called."""
    where, line = refused(lambda: READERS[face](dataset))
    assert f"{face}:" == where
    assert line.startswith(f"  {problem}")


def test_a_password_in_a_url_is_not_repeated() -> None:
    """Errors are logged."""
    told = refused(lambda: nhwc.load("s3://me:secret@bucket/pets"))
    assert "  dataset: found credentials in a s3:// URL" in told[1]
    assert "secret" not in str(told)
