"""Wrong recipes: one message with the key, the value and what is allowed; all wrong keys at once."""

import datetime
import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from nhwc.flows.frozen_contract import read_contract
from nhwc.flows.recipe import parse_recipe, read_recipe
from nhwc.validators.errors import MachineError, RecipeError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with photos/, a link to it, a link to itself and labels.csv in it."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "album").symlink_to("photos")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "labels.csv").write_text("path,label\n")
    return tmp_path


def plain(**parts: Any) -> dict[str, Any]:
    """A right recipe with some parts replaced."""
    right = {
        "dataset": "clothing",
        "source": {"kind": "folder", "path": "photos"},
        "image": {"rows": 32, "cols": 48},
        "publish": {"to": "datasets"},
    }
    return right | parts


def image(**keys: Any) -> dict[str, Any]:
    return plain(image={"rows": 32, "cols": 48, **keys})


def test_the_needed_keys_are_enough(folder: Path) -> None:
    """Everything else has the defaults that the documentation shows."""
    recipe = parse_recipe(plain(), base=folder)
    assert "uint8[rows=32, cols=48, channels=3] in [0, 255]" == str(recipe.image.contract)
    assert {"train": 1.0} == recipe.splits.fractions
    assert folder / "datasets" / "clothing" == recipe.dataset_path
    assert (0.02, 0.1) == (recipe.checks.bad_fraction, recipe.checks.bad_fraction_per_class)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (plain(check={}), "check: unknown key, did you mean checks? expected one of dataset, source, image"),
        (plain(dataset="a/b"), "dataset: found 'a/b', expected letters, digits"),
        (plain(source={"kind": "ftp", "path": "photos"}), "source.kind: found 'ftp', expected one of folder, "),
        (plain(source={"path": "fotos"}), "source.path: found 'fotos', which is no folder"),
        ({"dataset": "a"}, "source: missing"),
        ({"dataset": "a"}, "image: missing"),
        ({"dataset": "a"}, "publish: missing"),
        (plain(image={"rows": 32}), "image.cols: missing"),
        (image(chanels=3), "image.chanels: unknown key, did you mean channels? expected one of rows, cols"),
        (image(channels=5), "image.channels: found 5, expected 1, 3 or 4"),
        (image(dtype="int8"), "image.dtype: found 'int8', expected 'uint8', 'uint16' or 'float32'"),
        (plain(image={"rows": 0, "cols": 8}), "image.rows: found 0, expected greater than or equal to 1"),
        (plain(image={"rows": "32", "cols": 8}), "image.rows: found '32', expected a whole number without quotes"),
        (plain(image={"rows": 3.5, "cols": 8}), "image.rows: found 3.5, expected a whole number without quotes"),
        (image(resize={"metod": "area"}), "image.resize.metod: unknown key, did you mean method?"),
        (image(resize={"method": "cubic"}), "image.resize.method: found 'cubic', expected 'nearest', 'bilinear'"),
        (image(resize={"method": "nearest", "antialias": True}), "image.resize.antialias: true, but method nearest"),
        (image(resize={"method": "area", "antialias": False}), "image.resize.antialias: false, but method area"),
        (image(bit_depth="keep"), "image.bit_depth: keep, but dtype uint8 cannot hold 16 bits"),
        (image(dtype="uint16"), "image.dtype: uint16, but bit_depth scale leaves 8 bits"),
        (image(channels=4, alpha="refuse"), "image.alpha: refuse, but channels: 4 asks for an alpha channel"),
        (image(formats=["jpeg", "tga"]), "image.formats.1: found 'tga', expected 'jpeg'"),
        (image(formats=[]), "image.formats: found []"),
        (image(max_pixels=0), "image.max_pixels: found 0, expected greater than or equal to 1"),
        (plain(labels={"classes": [False, "yes"]}), "labels.classes.0: found False, expected text: put it in quotes"),
        (plain(labels={"classes": ["a", "a"]}), "labels.classes: found a more than once"),
        (plain(labels={"from": "file"}), "labels.file: missing, but from: file needs it"),
        (plain(labels={"from": "file", "file": "l.csv"}), "labels.file: found 'l.csv', which is no file"),
        (plain(labels={"file": "labels.csv"}), "labels.file: found 'labels.csv', but from: folder does not read it"),
        (plain(labels={"from": "file", "file": "labels.csv", "depth": 2}), "labels.depth: found 2, but from: file"),
        (plain(splits={"train": 0.9, "test": 0.2}), "splits: found train: 0.9, test: 0.2, which add up to 1.1"),
        (plain(splits={"train": 1.5}), "splits.train: found 1.5, expected less than or equal to 1"),
        (plain(splits={"from": "folder", "seed": 7}), "splits.from: found folder beside shares or a seed"),
        (plain(splits={"from": "file"}), "splits.from: found file, but labels come from folders"),
        (plain(splits={"dev": 0.1}), "splits.dev: unknown key, expected one of from, train, validation, test, seed"),
        (plain(checks={"bad_fraction": 2}), "checks.bad_fraction: found 2, expected less than or equal to 1"),
        (
            plain(checks={"thresholds": {"dark": float("nan")}}),
            "checks.thresholds.dark: found nan, expected less than inf",
        ),
        (
            plain(checks={"thresholds": {"light": float("inf")}}),
            "checks.thresholds.light: found inf, expected less than inf",
        ),
        (
            plain(checks={"thresholds": {"tiny": -5}}),
            "checks.thresholds.tiny: found -5, expected greater than or equal to 0",
        ),
        (plain(dataset="a" * 101), f"dataset: found '{'a' * 101}', expected at most 100 letters"),
        (plain(dataset=2024), "dataset: found 2024, expected text: put it in quotes"),
        (plain(dataset=datetime.date(2024, 1, 1)), "dataset: found 2024-01-01 (date), expected text: put it in quotes"),
        (image(**{"2024": {datetime.date(2024, 1, 1): 1}}), "image.2024.2024-01-01: found 2024-01-01 (date)"),
        (plain(labels=None), "labels: found None, expected keys from, file, depth, classes"),
        (plain(labels="file"), "labels: found 'file', expected keys from, file, depth, classes"),
        (image(resize="area"), "image.resize: found 'area', expected keys method, antialias"),
        (plain(labels={"from_": "folder"}), "labels.from_: unknown key, did you mean from? expected one of from, file"),
        (plain(splits={"from_": "folder"}), "splits.from_: unknown key, did you mean from?"),
        (plain(splits={"train": 0}), "splits: found train: 0, which add up to 0, expected 1"),
        (plain(splits={"train": 0, "test": 0.5}), "splits: found test: 0.5, train: 0, which add up to 0.5"),
        (plain(splits={"train": float("nan")}), "splits.train: found nan, expected"),
        (plain(splits={"seed": 10**5000}), "splits.seed: found a number of 16610 bits, expected at most 63"),
        (plain(source={"path": "~/photos"}), "source.path: found '~/photos', expected a path written out: ~ is not"),
        (plain(publish={"to": "~"}), "publish.to: found '~', expected a path written out: ~ is not expanded"),
        (plain(labels={"from": "file", "file": "~/l.csv"}), "labels.file: found '~/l.csv', expected a path written"),
        (plain(source={"path": "a\0b"}), r"source.path: found 'a\x00b', expected text without NUL"),
        (plain(publish={"to": "a\0b"}), r"publish.to: found 'a\x00b', expected text without NUL"),
        (plain(labels={"from": "file", "file": "\0"}), r"labels.file: found '\x00', expected text without NUL"),
        (
            plain(labels={"classes": ["\ud800"]}),
            r"labels.classes.0: found '\ud800', expected text without NUL and lone",
        ),
        (plain(**{"\x1b": 1}), r"\x1b: unknown key"),
        (plain(source={"path": "a" * 300}), "a path of source, labels or publish cannot be looked at: "),
        (plain(publish={"to": "loop"}), "a path of source, labels or publish cannot be looked at: Symlink loop"),
        (plain(publish={"to": "labels.csv"}), "publish.to: found 'labels.csv', but "),
        (plain(publish={"to": "labels.csv/out"}), "publish.to: found 'labels.csv/out', but "),
        (plain(publish={"to": "."}, dataset="labels.csv"), "publish.to: found '.', but "),
    ],
)
def test_a_wrong_recipe_is_told_by_key_value_and_what_is_allowed(folder: Path, wrong: Any, message: str) -> None:
    """Each wrong key has a line of its own."""
    with pytest.raises(RecipeError) as caught:
        parse_recipe(wrong, base=folder)
    assert [] != [problem for problem in caught.value.problems if problem.startswith(message)], caught.value.problems


@pytest.mark.parametrize(
    ("to", "dataset", "source"),
    [
        ("photos", "clothing", "photos"),
        ("photos/out", "clothing", "photos"),
        (".", "photos", "photos"),
        ("album/out", "clothing", "photos"),
        ("album", "clothing", "photos"),
        ("photos", "clothing", "album"),
        (".", "album", "photos"),
        ("..", "{folder}", "photos"),
        ("datasets", "clothing", "."),
    ],
)
def test_nothing_is_published_into_the_source(folder: Path, to: str, dataset: str, source: str) -> None:
    """The dataset's folder may be, lie in or hold the source as little as lie in it by a link; both are named."""
    dataset = dataset.format(folder=folder.name)
    wrong = plain(publish={"to": to}, dataset=dataset, source={"path": source})
    message = f"publish.to: found {to!r}, but {Path(to, dataset)} and source.path {source!r} lie in one another"
    with pytest.raises(RecipeError) as caught:
        parse_recipe(wrong, base=folder)
    assert [message] == [problem[: len(message)] for problem in caught.value.problems]


def test_a_dataset_may_lie_beside_its_source(folder: Path) -> None:
    """Only <to>/<dataset> is written to: <to> itself may hold the source."""
    assert folder / "clothing" == parse_recipe(plain(publish={"to": "."}), base=folder).dataset_path


def test_all_wrong_keys_are_told_at_once(folder: Path) -> None:
    """A recipe is mended in one go, not one error at a time."""
    wrong = plain(
        dataset="a b",
        source={"path": "fotos"},
        image={"rows": 0, "cols": "8", "channels": 5, "chanels": 3},
        splits={"train": 0.5, "test": 0.6},
        checks={"bad_fraction": -1},
        extra=1,
    )
    with pytest.raises(RecipeError, match="extra: unknown key") as caught:
        parse_recipe(wrong, base=folder)
    expected = {"extra", "dataset", "source.path", "splits", "checks.bad_fraction"}
    expected |= {f"image.{key}" for key in ("rows", "cols", "channels", "chanels")}
    assert expected == {problem.partition(":")[0] for problem in caught.value.problems}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dataset: [", "cannot be read as YAML"),
        ("- a list", "found list, expected keys: dataset, source"),
        ("", "found NoneType, expected keys"),
        ("dataset: a\ndataset: b\n", "key 'dataset' is given twice"),
        ("image: {rows: 1, cols: 1, rows: 1}\n", "key 'rows' is given twice"),
        ("dataset: !!python/object/apply:os.getcwd []\n", "cannot be read as YAML"),
        ("labels: &a {classes: [*a]}", "labels.classes.0: found parts that hold themselves"),
        ("labels: " + "[" * 50 + "]" * 50, "found parts that hold themselves or lie too deep"),
        ("labels: " + "[" * 5000, "cannot be read as YAML: maximum recursion depth exceeded"),
        ('publish: {to: "a\\0b"}', r"publish.to: found 'a\\x00b', expected text without NUL"),
        ('dataset: "\\ud800"', r"dataset: found '\\ud800', expected text without NUL and lone surrogates"),
        ("dataset: 2024-01-01", r"dataset: found 2024-01-01 \(date\), expected text"),
        ("dataset: 2024-13-45", "cannot be read as YAML: month must be in 1..12"),
        ("dataset: !!bool maybe", "cannot be read as YAML"),
        ("dataset: !!timestamp maybe", "cannot be read as YAML"),
        ("labels: {<<: 3}", "cannot be read as YAML"),
    ],
)
def test_text_that_is_no_recipe_is_one_message(folder: Path, text: str, message: str) -> None:
    """YAML's own errors, keys given twice and unsafe tags are wrong recipes, not crashes."""
    path = folder / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=message):
        read_recipe(path)


def test_a_folder_is_no_recipe(folder: Path) -> None:
    """Who names the images instead of the recipe is told what to do first."""
    with pytest.raises(RecipeError, match="found a folder, expected a recipe's file: `nhwc init FOLDER` writes one"):
        read_recipe(folder)


def test_merge_keys_add_what_is_not_given(folder: Path) -> None:
    """YAML's << takes the keys of other mappings; what stands beside it goes before, in any nesting of anchors."""
    path = folder / "recipe.yaml"
    path.write_text(
        "dataset: a\nsource: {path: photos}\nimage: {rows: 1, cols: 1}\npublish: {to: datasets}\n"
        "labels: &given {from: folder}\n"
        "splits: {<<: *given}\n"
        "checks: {<<: {bad_fraction: 0.5, bad_fraction_per_class: 0.5}, bad_fraction: 0.25}\n"
    )
    recipe = read_recipe(path)
    assert ("folder", 0.25, 0.5) == (
        recipe.splits.from_,
        recipe.checks.bad_fraction,
        recipe.checks.bad_fraction_per_class,
    )


def test_a_missing_recipe_is_one_message(tmp_path: Path) -> None:
    """The path is named."""
    with pytest.raises(RecipeError, match=r"nothing\.yaml"):
        read_recipe(tmp_path / "nothing.yaml")


def test_a_recipe_that_may_not_be_read_is_no_wrong_recipe(
    folder: Path, monkeypatch: pytest.MonkeyPatch, nhwc_command: Callable[..., tuple[int, str, str]]
) -> None:
    """Nor is a contract: it is the machine's to mend, and the command ends with status 3."""
    real, file = Path.read_text, folder / "x.yaml"
    file.touch()

    def forbidden(path: Path, *args: Any, **how: Any) -> str:
        if path.name == file.name:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path, *args, **how)

    monkeypatch.setattr(Path, "read_text", forbidden)
    monkeypatch.setattr("os.access", lambda path, *_, **__: Path(path).name != file.name)
    for read in (read_recipe, read_contract):
        with pytest.raises(MachineError, match=r"x.yaml: Permission denied: mend it, then run the same again"):
            read(file)
    status, _, said = nhwc_command("explain", file)
    assert 3 == status
    assert "x.yaml: Permission denied: mend it" in " ".join(said.split())


def test_the_recorded_recipe_reads_back_equal(folder: Path) -> None:
    """What a version stores of its recipe is itself a recipe, all defaults written out."""
    recipe = parse_recipe(
        plain(
            labels={"from": "file", "file": "labels.csv", "classes": ["1", "no"]}, splits={"train": 0.5, "test": 0.5}
        ),
        base=folder,
    )
    assert recipe == parse_recipe(yaml.safe_load(recipe.to_yaml()), base=folder)


def test_off_needs_no_quotes(folder: Path) -> None:
    """YAML 1.1 takes it for false, which means the same here; true means nothing."""
    file = folder / "recipe.yaml"
    file.write_text(yaml.safe_dump(plain()) + "checks: {rules: {dark: off, light: warn, gray: 'off'}}\n")
    assert {"dark": "off", "light": "warn", "gray": "off"} == read_recipe(file).checks.rules
    file.write_text(yaml.safe_dump(plain()) + "checks: {rules: {dark: on}}\n")
    with pytest.raises(RecipeError, match=r"checks.rules.dark: found True, expected 'refuse', 'warn' or 'off'"):
        read_recipe(file)
