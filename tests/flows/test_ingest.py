"""The main job: a folder becomes a version, every entry accounted for, nothing made twice."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml

import nhwc
from nhwc.flows.deciding import Ingested
from nhwc.flows.durable import locked
from nhwc.flows.hashing import hash_entries
from nhwc.flows.ingest import run_ingest
from nhwc.flows.recipe import Recipe
from nhwc.flows.seen import HASHES, SEEN
from nhwc.flows.shard_hashes import SHARD_HASHES
from nhwc.pipelines.image import load_image
from nhwc.pipelines.store import open_shard
from nhwc.validators.contract import image_contract
from nhwc.validators.errors import DataError, MachineError, RecipeError

Make = Callable[..., Recipe]


def fates(ingested: Ingested) -> dict[str, str]:
    """kept, or the code, of each path."""
    rows = ingested.manifest.select("path", pl.coalesce("code", "status")).iter_rows()
    return dict(rows)


def stored(ingested: Ingested) -> dict[str, np.ndarray[Any, Any]]:
    """The stored pixels of each kept path."""
    assert ingested.version is not None
    version = ingested.version
    rows = version.kept.select("path", "shard", "row").iter_rows()
    return {path: open_shard(version.shard_path(shard)).images[row] for path, shard, row in rows}


def test_a_folder_becomes_a_version(photos: Path, recipe_for: Make) -> None:
    """All that a version promises is there: contract, classes, counts, figures, checksums, and `latest`."""
    ingested = run_ingest(recipe_for())
    version = nhwc.Version.open(photos.parent / "datasets" / "pets")
    assert ("published", "1.0.0", 20) == (ingested.outcome, version.number, version.kept.height)
    assert image_contract(rows=4, cols=5, channels=3, dtype="uint8", value_range=(0, 255)) == version.contract
    assert ("cat", "dog") == version.classes
    assert {"cat": 0, "dog": 1} == dict(version.kept.select("label", "label_id").unique().iter_rows())
    assert {"discovered": 20, "kept": 20} == version.statistics["counts"]
    pixels = np.stack(list(stored(ingested).values())).astype(np.float64)
    channels = version.statistics["channels"]["all"]
    np.testing.assert_allclose(channels["mean"], pixels.mean(axis=(0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(channels["std"], pixels.std(axis=(0, 1, 2)), rtol=1e-12)
    names = {"checksums", "contract.yaml", "manifest.parquet", "recipe.yaml", "report.html", "statistics.json"}
    assert names == {path.name for path in version.folder.iterdir()}
    assert {SEEN, "1.0.0", "latest", "shards"} == {path.name for path in version.dataset.iterdir()} - {
        HASHES,
        SHARD_HASHES,
    }
    assert nhwc.verify(version.dataset).passed


def test_stored_pixels_are_what_the_stages_give_for_the_file_alone(photos: Path, recipe_for: Make) -> None:
    """Neither the chunk nor the neighbours change an image."""
    for path, pixels in stored(run_ingest(recipe_for())).items():
        alone = load_image(photos / path, target_size=(4, 5), method="bilinear", dtype="uint8")
        np.testing.assert_array_equal(alone, pixels)


def test_every_entry_is_accounted_for(photos: Path, recipe_for: Make, write_image: Any) -> None:
    """discovered = kept + quarantined + skipped, by name, each failure with its whole violation."""
    whole = write_image("dog/whole.png").read_bytes()
    (photos / "cat" / "half.png").write_bytes(whole[: len(whole) // 2])
    (photos / "cat" / "empty.png").touch()
    (photos / "dog" / "page.jpg").write_text("<html>")
    (photos / "stray.png").write_bytes(whole)
    (photos / "notes.txt").write_text("hello")
    (photos / "dog" / "link.png").symlink_to("0.png")
    os.mkfifo(photos / "dog" / "pipe.png")
    (photos / "none").mkdir()
    ingested = run_ingest(recipe_for(checks={"bad_fraction": 0.5, "bad_fraction_per_class": 0.5}))
    expected = {
        "cat/half.png": "truncated",
        "cat/empty.png": "empty_file",
        "dog/page.jpg": "not_an_image",
        "stray.png": "no_class",
        "notes.txt": "other_file",
        "dog/link.png": "link",
        "dog/pipe.png": "special_file",
        "none": "empty_folder",
    }
    assert expected == {path: fate for path, fate in fates(ingested).items() if fate != "kept"}
    assert {"kept": 21, "quarantined": 4, "skipped": 4} == dict(ingested.manifest["status"].value_counts().iter_rows())
    row = ingested.manifest.row(by_predicate=pl.col("path") == "cat/half.png", named=True)
    assert ("quarantined", "decode") == (row["status"], row["stage"])
    assert all(row[name] for name in ("aspect", "expected", "found", "hint", "sha256"))
    assert (photos / "cat" / "half.png").stat().st_size == row["bytes"]
    assert [("empty_class", "none in none")] == [(finding.code, finding.found) for finding in ingested.findings]


def test_an_unchanged_second_run_makes_nothing(photos: Path, recipe_for: Make, tree: Any) -> None:
    """No file is decoded, no version made, no byte written."""
    run_ingest(recipe_for())
    before = tree(photos.parent / "datasets")
    again = run_ingest(recipe_for())
    assert ("unchanged", 0) == (again.outcome, again.made)
    assert again.version is not None
    assert "1.0.0" == again.version.number
    assert before == tree(photos.parent / "datasets")


def _add(photos: Path, write_image: Any) -> None:
    write_image("cat/new.png")


def _change(photos: Path, write_image: Any) -> None:
    (photos / "cat" / "0.png").write_bytes((photos / "cat" / "1.png").read_bytes())


def _remove(photos: Path, write_image: Any) -> None:
    (photos / "cat" / "0.png").unlink()


def _relabel(photos: Path, write_image: Any) -> None:
    (photos / "cat" / "0.png").rename(photos / "dog" / "moved.png")


def _new_class(photos: Path, write_image: Any) -> None:
    write_image("bird/0.png")


def _litter(photos: Path, write_image: Any) -> None:
    (photos / "notes.txt").touch()


def _touch(photos: Path, write_image: Any) -> None:
    os.utime(photos / "cat" / "0.png", (0, 0))


@pytest.mark.parametrize(
    ("change", "number", "made"),
    [
        (_add, "1.1.0", 1),
        (_change, "2.0.0", 1),
        (_remove, "2.0.0", 0),
        (_relabel, "2.0.0", 1),
        (_new_class, "2.0.0", 1),
        (_litter, "1.0.1", 0),
        (_touch, "1.0.0", 0),
    ],
)
def test_the_version_says_what_changed(
    photos: Path, recipe_for: Make, write_image: Any, change: Any, number: str, made: int
) -> None:
    """Major when samples change or go, minor when some are added, patch when only words about them changed; and only
    what is new is decoded."""
    first = run_ingest(recipe_for())
    assert first.version is not None
    old = {path.name: path.read_bytes() for path in first.version.folder.iterdir()}
    change(photos, write_image)
    second = run_ingest(recipe_for())
    assert second.version is not None
    assert (number, made) == (second.version.number, second.made)
    assert nhwc.verify(second.version.dataset).passed
    assert old == {path.name: path.read_bytes() for path in first.version.folder.iterdir()}


@pytest.mark.parametrize(
    ("parts", "number", "made"),
    [
        ({"image": {"rows": 8, "cols": 5}}, "2.0.0", 20),
        ({"image": {"rows": 4, "cols": 5, "resize": {"method": "nearest"}}}, "2.0.0", 20),
        ({"image": {"rows": 4, "cols": 5, "max_pixels": 1000}}, "1.0.1", 20),
        ({"labels": {"classes": ["dog", "cat"]}}, "2.0.0", 0),
        ({"splits": {"train": 0.5, "test": 0.5}}, "2.0.0", 0),
        ({"checks": {"bad_fraction": 0.5}}, "1.0.1", 0),
    ],
)
def test_another_recipe_is_another_version(
    photos: Path, recipe_for: Make, parts: dict[str, Any], number: str, made: int
) -> None:
    """What changes pixels is decoded anew; class order and splits need no decoding."""
    run_ingest(recipe_for())
    again = run_ingest(recipe_for(**parts))
    assert again.version is not None
    assert (number, made) == (again.version.number, again.made)


@pytest.mark.parametrize(("level", "warned"), [("off", []), ("warn", ["over_budget", "over_class_budget"])])
def test_the_recipe_says_what_a_broken_budget_weighs(
    photos: Path, recipe_for: Make, level: str, warned: list[str]
) -> None:
    """For the ingest and for the gate; that nothing at all was kept always refuses."""
    (photos / "cat" / "bad.png").touch()
    codes = ("over_budget", "over_class_budget", "nothing_kept")
    recipe = recipe_for(checks={"bad_fraction": 0, "bad_fraction_per_class": 0, "rules": dict.fromkeys(codes, level)})
    version = run_ingest(recipe).version
    assert version is not None
    verdict = nhwc.gate(version.dataset)
    assert warned == [one.code for one in verdict.warnings if one.code in codes]
    assert not {one.code for one in verdict.violations} & set(codes)
    for path in photos.rglob("*.png"):
        path.write_bytes(b"")
    assert ["nothing_kept"] == [one.code for one in run_ingest(recipe).verdict.violations]


@pytest.mark.parametrize(
    ("checks", "code"),
    [
        ({"bad_fraction": 0.04, "bad_fraction_per_class": 1}, "over_budget"),
        ({"bad_fraction": 1, "bad_fraction_per_class": 0.08}, "over_class_budget"),
    ],
)
def test_a_broken_budget_publishes_nothing(photos: Path, recipe_for: Make, checks: dict[str, float], code: str) -> None:
    """The reason is in the error, each bad file in a manifest beside; once mended, the same command publishes."""
    (photos / "cat" / "bad.png").touch()
    recipe = recipe_for(checks=checks)
    with pytest.raises(DataError, match=rf"publish: {code}: .* found 1 of \d+ images quarantined") as caught:
        nhwc.ingest(recipe, direct=True)
    assert 1 == caught.value.exit_status
    assert not (recipe.dataset_path / "latest").exists()
    assert not (recipe.dataset_path / "shards").exists()
    refused = pl.read_parquet(recipe.dataset_path / "refused.parquet")
    assert ["cat/bad.png"] == refused.filter(pl.col("code") == "empty_file")["path"].to_list()
    (photos / "cat" / "bad.png").unlink()
    assert "1.0.0" == nhwc.ingest(recipe, direct=True).number
    assert {SEEN, "1.0.0", "latest", "shards"} == {path.name for path in recipe.dataset_path.iterdir()} - {
        HASHES,
        SHARD_HASHES,
    }


def test_a_refused_run_leaves_the_last_version_as_it_is(photos: Path, recipe_for: Make, tree: Any) -> None:
    """Readers of `latest` go on reading the last good version."""
    version = nhwc.ingest(recipe_for(), direct=True)
    before = tree(version.folder)
    for path in (photos / "cat").iterdir():
        path.write_bytes(b"")
    with pytest.raises(DataError, match="over_class_budget: class cat found 10 of 10 images quarantined"):
        nhwc.ingest(recipe_for(), direct=True)
    assert "1.0.0" == nhwc.Version.open(version.dataset).number
    assert before == tree(version.folder)
    assert nhwc.verify(version.dataset).passed


def test_an_empty_source_publishes_nothing(tmp_path: Path, recipe_for: Make) -> None:
    """No image is no dataset."""
    (tmp_path / "photos").mkdir()
    with pytest.raises(DataError, match="nothing_kept: kept found none of 0 images"):
        nhwc.ingest(recipe_for(), direct=True)


def test_splits_given_by_folders(tmp_path: Path, recipe_for: Make, write_image: Any) -> None:
    """train/, validation/ and test/ are splits, the folders below are classes."""
    for split in ("train", "validation", "test"):
        write_image(f"{split}/cat/{split}.png")
    version = nhwc.ingest(recipe_for(splits={"from": "folder"}), direct=True)
    assert ("cat",) == version.classes
    assert ["test", "train", "validation"] == version.kept["split"].to_list()


def test_a_file_with_another_name_stays_in_its_split(photos: Path, recipe_for: Make, write_image: Any) -> None:
    """Whatever files and folders are called: what was tested on never becomes what is trained on."""
    recipe = recipe_for(splits={"train": 0.6, "test": 0.4})
    before = run_ingest(recipe).version
    for path in photos.glob("cat/*"):
        path.rename(path.with_name(f"renamed_{path.name}"))
    (photos / "dog").rename(photos / "hound")
    first, second = photos / "hound/0.png", photos / "hound/1.png"
    first.rename(photos / "swap")
    second.rename(first)
    (photos / "swap").rename(second)
    write_image("hound/new.png")
    after = run_ingest(recipe).version
    assert before is not None
    assert after is not None
    both = before.kept.join(after.kept, on="sha256", suffix="_after")
    assert 20 == both.height
    assert both["split"].to_list() == both["split_after"].to_list()


def test_splits_made_by_hash_never_move(photos: Path, recipe_for: Make, write_image: Any) -> None:
    """Images that come later move none, and each class is divided as asked."""
    recipe = recipe_for(splits={"train": 0.6, "validation": 0.2, "test": 0.2, "seed": 3})
    first = nhwc.ingest(recipe, direct=True).kept
    assert {("cat", "test", 2), ("cat", "train", 6), ("cat", "validation", 2)} <= set(
        first.group_by("label", "split").len().iter_rows()
    )
    for number in range(10, 30):
        write_image(f"cat/{number}.png")
    second = nhwc.ingest(recipe, direct=True).kept
    old, new = (dict(kept.select("path", "split").iter_rows()) for kept in (first, second))
    assert old == {path: new[path] for path in old}
    assert {("cat", "test", 6), ("cat", "train", 18), ("cat", "validation", 6)} <= set(
        second.group_by("label", "split").len().iter_rows()
    )


def test_copies_of_one_file_share_a_split(photos: Path, recipe_for: Make) -> None:
    """The same bytes never stand in train and in test."""
    for number in range(40):
        (photos / "dog" / f"copy{number}.png").write_bytes((photos / "cat" / "0.png").read_bytes())
    version = nhwc.ingest(recipe_for(splits={"train": 0.5, "test": 0.5}), direct=True)
    copies = version.kept.filter(pl.col("path").str.contains("copy") | (pl.col("path") == "cat/0.png"))
    assert 1 == copies["split"].n_unique()


def test_labels_and_splits_from_a_file(photos: Path, recipe_for: Make) -> None:
    """The file decides; what it does not list is skipped, what it lists and is missing is quarantined."""
    table = pl.DataFrame(
        {"path": ["cat/0.png", "dog/1.png", "gone.png"], "label": ["a", "b", "a"], "split": ["train", "test", "train"]}
    )
    table.write_csv(photos.parent / "labels.csv")
    recipe = recipe_for(
        labels={"from": "file", "file": "labels.csv"},
        splits={"from": "file"},
        checks={"bad_fraction": 1, "bad_fraction_per_class": 1},
    )
    ingested = run_ingest(recipe)
    assert {"kept": 2, "quarantined": 1, "skipped": 18} == dict(ingested.manifest["status"].value_counts().iter_rows())
    assert "missing_file" == fates(ingested)["gone.png"]
    assert ingested.version is not None
    assert [("a", "train"), ("b", "test")] == ingested.version.kept.select("label", "split").rows()


@pytest.mark.parametrize(
    ("image", "shape", "dtype"),
    [
        ({"channels": 1}, (4, 5, 1), "uint8"),
        ({"channels": 4}, (4, 5, 4), "uint8"),
        ({"dtype": "float32"}, (4, 5, 3), "float32"),
        ({"dtype": "uint16", "bit_depth": "keep"}, (4, 5, 3), "uint16"),
    ],
)
def test_the_contract_is_what_is_stored(
    photos: Path, recipe_for: Make, image: dict[str, Any], shape: tuple[int, ...], dtype: str
) -> None:
    """Channels and dtype of the recipe are those of the shards, gray or colour, eight bits or sixteen."""
    pixels = stored(run_ingest(recipe_for(image={"rows": 4, "cols": 5, **image})))
    assert {(shape, dtype)} == {(array.shape, array.dtype.name) for array in pixels.values()}


def test_a_class_without_images_left_keeps_its_id(photos: Path, recipe_for: Make) -> None:
    """Ids come from what was discovered, not from what decoded: a bad file does not move them."""
    for path in (photos / "cat").iterdir():
        path.write_bytes(b"")
    recipe = recipe_for(checks={"bad_fraction": 1, "bad_fraction_per_class": 1})
    ingested = run_ingest(recipe)
    assert ingested.version is not None
    assert {"dog": 1} == dict(ingested.version.kept.select("label", "label_id").unique().iter_rows())
    assert ["none in cat"] == [finding.found for finding in ingested.findings]


def test_a_dataset_that_another_run_writes_is_left_alone(photos: Path, recipe_for: Make) -> None:
    """Two runs at once on one dataset: the second says so and touches nothing."""
    recipe = recipe_for()
    with locked(recipe.dataset_path), pytest.raises(MachineError, match="another run is writing this dataset"):
        nhwc.ingest(recipe, direct=True)


def test_the_source_is_never_touched(photos: Path, recipe_for: Make, tree: Any) -> None:
    """Not a byte, not a name."""
    before = tree(photos)
    run_ingest(recipe_for())
    assert before == tree(photos)


def test_the_recorded_recipe_and_contract_are_plain_yaml(photos: Path, recipe_for: Make) -> None:
    """Other tools can read them."""
    version = nhwc.ingest(recipe_for(), direct=True)
    recipe = yaml.safe_load((version.folder / "recipe.yaml").read_text())
    assert ("pets", "photos", "datasets") == (recipe["dataset"], recipe["source"]["path"], recipe["publish"]["to"])
    contract = yaml.safe_load((version.folder / "contract.yaml").read_text())
    assert {"rows": 4, "cols": 5, "channels": 3} == {axis["name"]: axis["size"] for axis in contract["image"]["axes"]}


def test_a_changed_shard_is_made_again(photos: Path, recipe_for: Make) -> None:
    """A shard that was deleted is missed by verify and mended by the next run."""
    version = nhwc.ingest(recipe_for(), direct=True)
    for path in (version.dataset / "shards").iterdir():
        path.unlink()
    assert {"missing_part"} == set(nhwc.verify(version.dataset).by_code())
    again = run_ingest(recipe_for())
    assert 20 == again.made
    assert nhwc.verify(version.dataset).passed


def test_other_files_in_the_datasets_place_are_left_alone(photos: Path, recipe_for: Make) -> None:
    """A folder that is no dataset is refused before anything is written; nothing in it is touched."""
    recipe = recipe_for()
    (recipe.dataset_path / "1.0.0").mkdir(parents=True)
    (recipe.dataset_path / "1.0.0" / "thesis.txt").write_text("precious")
    with pytest.raises(RecipeError, match=r"publish.to:\n  found .*pets, which holds 1\.0\.0 and no `latest`"):
        nhwc.ingest(recipe, direct=True)
    assert ["1.0.0/thesis.txt"] == [
        str(path.relative_to(recipe.dataset_path)) for path in recipe.dataset_path.rglob("*") if path.is_file()
    ]


def test_no_version_is_ever_overwritten(photos: Path, recipe_for: Make, write_image: Any, tree: Any) -> None:
    """After a step back of `latest`, what is published next takes a number that is free."""
    recipe = recipe_for()
    nhwc.ingest(recipe, direct=True)
    write_image("cat/new.png")
    second = nhwc.ingest(recipe, direct=True)
    assert "1.1.0" == second.number
    before = tree(second.folder)
    (recipe.dataset_path / "latest").write_text("1.0.0\n")
    write_image("dog/newer.png")
    assert "1.2.0" == nhwc.ingest(recipe, direct=True).number
    assert before == tree(second.folder)


def test_what_fails_for_the_moment_is_tried_again(
    photos: Path, recipe_for: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that vanishes between two reads is quarantined in that run only."""
    recipe = recipe_for(checks={"bad_fraction": 0.5, "bad_fraction_per_class": 0.5})
    hidden = photos / "cat" / "0.png"
    real = hash_entries

    def hash_then_lose(*arguments: Any, **options: Any) -> Any:
        hashed = real(*arguments, **options)
        hidden.rename(photos.parent / "away")
        return hashed

    with monkeypatch.context() as patched:
        patched.setattr("nhwc.flows.making.hash_entries", hash_then_lose)
        first = run_ingest(recipe)
    assert "unreadable_file" == fates(first)["cat/0.png"]
    (photos.parent / "away").rename(hidden)
    second = run_ingest(recipe)
    assert ("kept", 1) == (fates(second)["cat/0.png"], second.made)


def test_a_refused_run_does_not_settle_splits(photos: Path, recipe_for: Make) -> None:
    """Splits are those of the file as it is when the version is published."""
    table = pl.DataFrame(
        {"path": ["cat/0.png", "dog/1.png", "gone.png"], "label": ["a", "b", "a"], "split": ["train"] * 3}
    )
    recipe_parts = {"labels": {"from": "file", "file": "labels.csv"}, "splits": {"from": "file"}}
    table.write_csv(photos.parent / "labels.csv")
    assert "refused" == run_ingest(recipe_for(**recipe_parts)).outcome
    table[:2].with_columns(split=pl.lit("test")).write_csv(photos.parent / "labels.csv")
    version = nhwc.ingest(recipe_for(**recipe_parts), direct=True)
    assert ["test", "test"] == version.kept["split"].to_list()


def test_a_file_over_the_byte_budget_is_not_read(photos: Path, recipe_for: Make) -> None:
    """Its true size is told; no byte of it is hashed."""
    with (photos / "cat" / "large.png").open("wb") as file:
        file.write((photos / "cat" / "0.png").read_bytes())
        file.truncate(2**40)
    image = {"rows": 4, "cols": 5, "max_bytes": 10_000}
    ingested = run_ingest(recipe_for(image=image, checks={"bad_fraction": 1, "bad_fraction_per_class": 1}))
    row = ingested.manifest.row(by_predicate=pl.col("path") == "cat/large.png", named=True)
    assert ("too_many_bytes", "1,099,511,627,776 bytes", None) == (row["code"], row["found"], row["sha256"])


def test_many_small_shards_make_few_steps(
    photos: Path, recipe_for: Make, monkeypatch: pytest.MonkeyPatch, tree: Any
) -> None:
    """Prefect pays for each step, so a step takes several shards; the tree is the same however they are grouped."""
    monkeypatch.setattr("nhwc.flows.shards.samples_a_shard", lambda contract: 3)
    version = nhwc.ingest(recipe_for(), direct=True)
    expected = tree(version.dataset)
    assert 7 == version.kept["shard"].n_unique()
    version.dataset.rename(version.dataset.with_name("first"))
    monkeypatch.setattr("nhwc.flows.engines.threads.MOST_STEPS", 2)
    names: list[str] = []

    def step(name: str, work: Any) -> Any:
        names.append(name)
        return work()

    run_ingest(recipe_for(), step=step)
    assert ["discover", "hash", "decode 1 of 2", "decode 2 of 2", "publish"] == names
    assert expected == tree(recipe_for().dataset_path)


def test_a_parquet_file_may_be_a_link(photos: Path, recipe_for: Make) -> None:
    """As those in a hub's cache are; one to nothing is passed over."""
    images = [path.read_bytes() for path in sorted(photos.rglob("*.png"))]
    pl.DataFrame({"image": images, "label": ["cat"] * 10 + ["dog"] * 10}).write_parquet(photos.parent / "blob")
    (photos.parent / "table").mkdir()
    (photos.parent / "table" / "train.parquet").symlink_to(photos.parent / "blob")
    (photos.parent / "table" / "gone.parquet").symlink_to("nowhere")
    ingested = run_ingest(recipe_for(source={"kind": "parquet", "path": "table"}))
    assert {"kept"} == set(fates(ingested).values())
    assert 20 == len(fates(ingested))
