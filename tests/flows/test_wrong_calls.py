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


@pytest.mark.usefixtures("photos")
def test_numpys_numbers_draw_too(recipe_for: Callable[..., Recipe]) -> None:
    """They are whole numbers. And what is no path is none where the version is right, too."""
    version = nhwc.ingest(recipe_for(), direct=True)
    assert ["nhwc.export:", f"  out: found None, {PATH}"] == refused(
        lambda: nhwc.export(version.folder, to="npz", out=None)  # type: ignore[arg-type]
    )
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
        ("s3://", "s3://: found 's3://', which names no bucket"),
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


GATED = "expected the path or URL of a dataset, a recipe or its path, or a tf.data.Dataset"
PATH = "expected a path, as text or pathlib.Path"
WRONG: list[tuple[Callable[[], object], str, str]] = [
    (lambda: nhwc.gate(None), "nhwc.gate", f"data: found None, {GATED}"),
    (lambda: nhwc.gate(np.zeros(3)), "nhwc.gate", f"data: found an object of type ndarray, {GATED}"),
    (lambda: nhwc.gate("x", foo=1), "nhwc.gate", "foo: unknown option, expected some of baseline, contract, rules, mo"),
    (lambda: nhwc.gate("x", verify="x"), "nhwc.gate", "verify: found 'x', expected True or False"),
    (lambda: nhwc.gate("x", verify=""), "nhwc.gate", "verify: found '', expected True or False"),
    (lambda: nhwc.gate("x", channels_first=1), "nhwc.gate", "channels_first: found 1, expected True or False"),
    (lambda: nhwc.gate("x", baseline=1), "nhwc.gate", f"baseline: found 1, {PLACE}"),
    (lambda: nhwc.gate("x", contract=b"x"), "nhwc.gate", f"contract: found b'x', {PATH}"),
    (lambda: nhwc.gate("x", rules={"dark": "off"}), "nhwc.gate", f"rules: found an object of type dict, {PATH}"),
    (lambda: nhwc.gate("x", samples=0), "nhwc.gate", "samples: found 0, expected a whole number, at least 1"),
    (lambda: nhwc.gate("x", classes="cat"), "nhwc.gate", "classes: found 'cat', expected class names in the order of"),
    (lambda: nhwc.gate("x", classes=[1]), "nhwc.gate", "classes: found an object of type list, expected class names"),
    (lambda: nhwc.ingest({}), "nhwc.ingest", "recipe: found an object of type dict, expected the path of a recipe, or"),
    (lambda: nhwc.ingest("x", workers="a"), "nhwc.ingest", "workers: found 'a', expected a whole number, at least 1"),
    (lambda: nhwc.ingest("x", address=5), "nhwc.ingest", "address: found 5, expected text"),
    (lambda: nhwc.ingest("x", direct="no"), "nhwc.ingest", "direct: found 'no', expected True or False"),
    (lambda: nhwc.ingest("x", gate="yes"), "nhwc.ingest", "gate: found 'yes', expected True, False, or options of nh"),
    (lambda: nhwc.audit(5), "nhwc.audit", f"folder: found 5, {PATH}"),
    (lambda: nhwc.export("x", to="npz", out=None), "nhwc.export", f"out: found None, {PATH}"),
    (lambda: nhwc.load_image(None), "load_image", f"path: found None, {PATH}"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "where", "problem"), WRONG)
def test_a_wrong_type_is_told_by_the_arguments_name(call: Callable[[], object], where: str, problem: str) -> None:
    """Under that of the function."""
    told = refused(call)
    assert f"{where}:" == told[0]
    assert any(line.startswith(f"  {problem}") for line in told[1:])


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (lambda: nhwc.gate(None, foo=1, verify=0, samples="a"), ["data", "foo", "verify", "samples"]),
        (lambda: nhwc.ingest(None, direct=0, gate=1, engine="processes", workers=0),
         ["recipe", "direct", "gate", "workers"]),
        (lambda: nhwc.export(None, to="zip", out=5), ["dataset", "to", "out"]),
        (lambda: nhwc.load_image(b"x", (0, 1), channels=2), ["path", "target_size", "channels"]),
    ],
)  # fmt: skip
def test_all_that_is_wrong_is_told_at_once(call: Callable[[], object], names: list[str]) -> None:
    """A line each."""
    assert names == [line.split(":")[0].strip() for line in refused(call)[1:]]
