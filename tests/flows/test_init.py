"""Proposed recipes: whatever the folder is called and wherever it lies, the recipe reads back."""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from nhwc.flows.gate import gate
from nhwc.flows.ingest import run_ingest
from nhwc.flows.init import propose_recipe
from nhwc.flows.inspect import inspect
from nhwc.flows.recipe import Recipe, read_recipe
from nhwc.validators.errors import RecipeError
from nhwc.validators.violation import Code


def source_of(folder: Path, *names: str) -> Path:
    """A folder with these images in it."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (3, 2)).save(folder / name)
    return folder


def proposed(source: Path, recipe: Path) -> Recipe:
    """The proposed recipe, written and read back."""
    contract = recipe.with_name("contract.yaml")
    proposal = propose_recipe(source, recipe=recipe, contract=contract)
    recipe.write_text(proposal.recipe, encoding="utf-8")
    if proposal.contract is not None:
        contract.write_text(proposal.contract, encoding="utf-8")
    return read_recipe(recipe)


@pytest.mark.parametrize(
    ("name", "dataset"),
    [
        ("2024", "2024"),
        ("on", "on"),
        ("null", "null"),
        ("1e3", "1e3"),
        ("1_000", "1_000"),
        ("2024-01-01", "2024-01-01"),
        (".hidden", "hidden"),
        ("~", "_"),
        ("my photos: #1", "my_photos___1"),
        ("\uc0ac\uc9c4", "__"),
        ("a" * 200, "a" * 100),
    ],
)
def test_any_name_of_the_folder_is_text(tmp_path: Path, name: str, dataset: str) -> None:
    """YAML takes neither dataset nor path for a number, a date or a truth."""
    source = source_of(tmp_path / name, "cat/a.png")
    recipe = proposed(source, tmp_path / "recipe.yaml")
    assert (dataset, source) == (recipe.dataset, recipe.source_path)


@pytest.mark.parametrize(
    ("source", "recipe", "to"),
    [
        ("photos", ".", "datasets/"),
        ("photos", "photos", "../datasets/"),
        ("photos", "photos/cat", "../../datasets/"),
        ("datasets", ".", "../datasets/"),
        ("datasets", "datasets", "../../datasets/"),
        ("datasets/photos", ".", "../datasets/"),
        ("datasets/photos/photos", ".", "../datasets/"),
        ("datasets/photos", "datasets", "datasets/"),
    ],
)
def test_the_proposed_place_is_not_in_the_source(tmp_path: Path, source: str, recipe: str, to: str) -> None:
    """Wherever the recipe lies, what it publishes does not lie in the source."""
    work = tmp_path / "work"
    source_of(work / source, "cat/a.png")
    assert to == proposed(work / source, work / recipe / "recipe.yaml").publish.to


def test_init_in_the_source_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`nhwc init .`, with relative paths."""
    monkeypatch.chdir(source_of(tmp_path / "photos", "cat/a.png"))
    recipe = proposed(Path(), Path("recipe.yaml"))
    assert ("photos", ".", "../datasets/") == (recipe.dataset, recipe.source.path, recipe.publish.to)


@pytest.mark.parametrize(
    ("names", "from_", "splits"),
    [
        (["a.png"], "file", "hash"),
        (["a.png", "cat/b.png"], "folder", "hash"),
        (["cat/b.png"], "folder", "hash"),
        (["train/a.png", "test/a.png"], "file", "folder"),
        (["train/cat/a.png", "test/cat/a.png"], "folder", "folder"),
        (["a.png", ".hidden/b.png", "__MACOSX/c.png"], "file", "hash"),
    ],
)
def test_without_class_folders_a_label_file_is_proposed(
    tmp_path: Path, names: list[str], from_: str, splits: str
) -> None:
    """It has to be written first, and the recipe says so."""
    source = source_of(tmp_path / "photos", *names)
    text = propose_recipe(source, recipe=tmp_path / "recipe.yaml", contract=tmp_path / "contract.yaml").recipe
    assert ("file" == from_) == ("# no class folders found: write labels.csv, with columns path" in text)
    (tmp_path / "labels.csv").write_text("path,label\na.png,cat\n")
    recipe = proposed(source, tmp_path / "recipe.yaml")
    assert (from_, splits) == (recipe.labels.from_, recipe.splits.from_)


def test_a_label_file_still_to_be_written_is_named(tmp_path: Path) -> None:
    """Reading the proposed recipe before that is one message."""
    source = source_of(tmp_path / "photos", "a.png")
    with pytest.raises(RecipeError, match=r"labels\.file: found 'labels\.csv', which is no file"):
        proposed(source, tmp_path / "recipe.yaml")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has names that are not UTF-8")
def test_a_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    """YAML cannot write it. In the source, where it need not be named, a recipe still can."""
    source = source_of(tmp_path / os.fsdecode(b"caf\xe9"), "cat/a.png")
    with pytest.raises(RecipeError, match=r"caf\\udce9:\n  found a name that is not UTF-8: rename the folder"):
        propose_recipe(source, recipe=tmp_path / "recipe.yaml", contract=tmp_path / "contract.yaml")
    assert "caf_" == proposed(source, source / "recipe.yaml").dataset


def test_the_contract_that_was_found_is_frozen(tmp_path: Path) -> None:
    """The folder keeps it; a class that comes or goes later breaks it, by name."""
    source = source_of(tmp_path / "pets", "cat/a.png", "dog/b.png")
    recipe = proposed(source, tmp_path / "recipe.yaml")
    assert tmp_path / "contract.yaml" == recipe.frozen_contract
    assert () == run_ingest(recipe).findings
    source_of(source, "emu/c.png")
    shutil.rmtree(source / "dog")
    broken = [(str(one.code), one.expected, one.found) for one in run_ingest(recipe).findings]
    expected = [("class dog", "no such class"), ("only the contract's classes", "class emu")]
    assert [("contract_changed", *words) for words in expected] == broken
    verdict = gate(recipe.dataset_path)
    assert 2 == verdict.by_code()["contract_changed"]


@pytest.mark.parametrize(("side", "channels", "small"), [(28, 1, True), (64, 1, True), (65, 1, False), (28, 3, False)])
def test_small_gray_images_have_thresholds_of_their_own(tmp_path: Path, side: int, channels: int, small: bool) -> None:
    """Thin strokes on black are no fault there; what shows nothing still is found."""
    folder = tmp_path / "digits" / "one"
    folder.mkdir(parents=True)
    for number in range(12):
        drawn = np.zeros((side, side), np.uint8)
        if number:
            drawn[3 + number % 4 : side - 4, side // 2 - 2 : side // 2 + 1] = [90 + number, 255, 170]
        Image.fromarray(drawn).convert("L" if channels == 1 else "RGB").save(folder / f"{number}.png")
    recipe = proposed(tmp_path / "digits", tmp_path / "recipe.yaml")
    run_ingest(recipe)
    verdict = gate(recipe.dataset_path)
    assert {"blank": 1} == verdict.by_code()
    warned = [one.sample_id for one in verdict.warnings if one.code == Code.LOW_INFORMATION]
    assert (1 if small else 12) == len(warned)


@pytest.mark.skipif("NHWC_CORPUS" not in os.environ, reason="NHWC_CORPUS is unset")
def test_fashion_mnist_as_proposed_is_hardly_warned_of(tmp_path: Path) -> None:
    """Of 10,000, a few that are dark."""
    recipe = proposed(Path(os.environ["NHWC_CORPUS"], "datasets", "fashion_mnist_idx"), tmp_path / "recipe.yaml")
    run_ingest(recipe)
    verdict = gate(recipe.dataset_path)
    assert verdict.passed
    assert {one.code for one in verdict.warnings} == {Code.DARK}
    assert len(verdict.warnings) < 10


def test_no_classes_no_contract(tmp_path: Path) -> None:
    """Where labels are yet to be written down."""
    source = source_of(tmp_path / "flat", "a.png")
    proposal = propose_recipe(source, recipe=tmp_path / "recipe.yaml", contract=tmp_path / "contract.yaml")
    assert proposal.contract is None
    assert "contract" not in proposal.recipe


def write_npz(place: Path) -> None:
    np.savez(
        place / "it.npz", x_train=np.zeros((4, 5, 6, 3), np.uint8), y_train=[0, 1, 0, 1], x_test=np.zeros((2, 5, 6, 3))
    )


def write_table(place: Path) -> None:
    names = pa.array([1, 0, 1])
    pq.write_table(
        pa.table({"image": pa.array([[[9, 9], [8, 8]]] * 3, pa.list_(pa.list_(pa.uint8()))), "label": names}),
        place / "t.parquet",
    )


@pytest.mark.parametrize(
    ("name", "write", "lines"),
    [
        (
            "it.npz",
            write_npz,
            [
                "  rows: 5  # every image has this size",
                "  float_range: [0, 1]  # floats were found",
                "splits: {from: source}  # test 2, train 4",
            ],
        ),
        (
            "t.parquet",
            write_table,
            [
                "  channels: 1",
                "# labels are 2 numbers: labels: {classes: [...]} names",
                "# write the same names into contract.yaml",
            ],
        ),
    ],
)
def test_any_kind_of_source_has_a_recipe(
    tmp_path: Path, name: str, write: Callable[[Path], None], lines: list[str]
) -> None:
    """Its kind is told by its content; the recipe reads back."""
    write(tmp_path)
    proposal = propose_recipe(tmp_path / name, recipe=tmp_path / "recipe.yaml", contract=tmp_path / "contract.yaml")
    assert all(any(line.startswith(start) for line in proposal.recipe.splitlines()) for start in lines), proposal.recipe
    assert name == proposed(tmp_path / name, tmp_path / "recipe.yaml").source.path
    said, sound = inspect(tmp_path / name)
    assert (f"kind {KINDS_OF[name]}: ", True) == (
        said[len(str(tmp_path / name)) + 2 :][: len(KINDS_OF[name]) + 7],
        sound,
    )


KINDS_OF = {"it.npz": "arrays", "t.parquet": "parquet"}


def test_what_lies_beside_images_does_not_hide_them(tmp_path: Path) -> None:
    """A table of their labels, a tar: it is a folder of images all the same."""
    source = source_of(tmp_path / "photos", "cat/a.png", "dog/b.png")
    pl.DataFrame({"path": ["cat/a.png"], "label": ["cat"]}).write_parquet(source / "labels.parquet")
    (source / "cat" / "old.tar").touch()
    assert "folder" == proposed(source, tmp_path / "recipe.yaml").source.kind
    assert inspect(source)[0].startswith(f"{source}: 2 images, 2 other entries")


def test_a_folder_of_tables_is_inspected_as_what_it_is(tmp_path: Path) -> None:
    """Not as a folder without images."""
    write_table(tmp_path)
    assert inspect(tmp_path)[0].startswith(f"{tmp_path}: kind parquet: 3 images, 0 other entries")


@pytest.mark.parametrize(
    ("content", "found"), [(b"text", "found a file that no source is read from"), (b"", "that no source")]
)
def test_a_file_that_is_no_source(tmp_path: Path, content: bytes, found: str) -> None:
    """Told with the kinds there are."""
    (tmp_path / "it").write_bytes(content)
    with pytest.raises(RecipeError, match=found):
        propose_recipe(tmp_path / "it", recipe=tmp_path / "recipe.yaml", contract=tmp_path / "contract.yaml")
