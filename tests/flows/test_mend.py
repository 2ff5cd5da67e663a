"""What is damaged or deleted of a dataset is brought back by the next ingest, byte by byte."""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import nhwc
from nhwc.flows import publish, shard_hashes
from nhwc.flows.deciding import Ingested
from nhwc.flows.ingest import run_ingest
from nhwc.flows.publish import STAGING
from nhwc.flows.recipe import Recipe
from nhwc.flows.seen import SEEN
from nhwc.flows.shard_hashes import SHARD_HASHES
from nhwc.flows.summary import text
from nhwc.validators.errors import RecipeError

Make = Callable[..., Recipe]

FILES = (
    "latest",
    "1.1.0/checksums",
    "1.1.0/contract.yaml",
    "1.1.0/manifest.parquet",
    "1.1.0/recipe.yaml",
    "1.1.0/report.html",
    "1.1.0/statistics.json",
    "the older shard",
    "the newer shard",
)
"""All that a dataset's latest version consists of."""


@pytest.fixture
def grown(photos: Path, recipe_for: Make, write_image: Any) -> Recipe:
    """A recipe whose dataset has two versions, each with a shard of its own, and a file that was refused in each."""
    recipe = recipe_for(
        checks={"bad_fraction": 0.5, "bad_fraction_per_class": 0.5}, splits={"train": 0.7, "test": 0.3, "seed": 3}
    )
    (photos / "cat/5bad.png").write_bytes((photos / "cat/5.png").read_bytes()[:60])
    run_ingest(recipe)
    for number in range(4):
        write_image(f"dog/1{number}.png")
    (photos / "dog/12bad.png").write_bytes((photos / "cat/5.png").read_bytes()[:70])
    assert "1.1.0" == run_ingest(recipe).place.name
    settle(recipe)
    return recipe


def settle(recipe: Recipe) -> None:
    """As if the last ingest had been a while after the files were written."""
    later = time.time_ns() + 10_000_000_000
    os.utime(recipe.dataset_path / SEEN, ns=(later, later))


def place(dataset: Path, name: str) -> Path:
    """The path of one of FILES."""
    if not name.endswith("shard"):
        return dataset / name
    older = set(nhwc.Version.open(dataset / "1.0.0").kept["shard"])
    newer = set(nhwc.Version.open(dataset / "1.1.0").kept["shard"]) - older
    (shard,) = older if name == "the older shard" else newer
    return dataset / "shards" / f"{shard}.arrow"


def delete(path: Path) -> None:
    path.unlink()


def flip(path: Path) -> None:
    """One bit, in the middle of the file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [delete, flip])
@pytest.mark.parametrize("name", FILES)
def test_whatever_is_damaged_comes_back(grown: Recipe, tree: Any, name: str, damage: Callable[[Path], None]) -> None:
    """The next ingest says so, ends with the tree as it was, and decodes at most what lay in the one shard or version;
    the one after it finds all as an undisturbed one does."""
    whole = tree(grown.dataset_path)
    path = place(grown.dataset_path, name)
    damage(path)
    assert not nhwc.verify(grown.dataset_path).passed
    ingested = run_ingest(grown)
    assert whole == tree(grown.dataset_path)
    assert ("unchanged", "1.1.0") == (ingested.outcome, ingested.place.name)
    assert (str(path.relative_to(grown.dataset_path)) in [one.replace("1.1.0/", "") for one in ingested.mended]) or (
        path.name in ingested.mended
    )
    assert f"mended, as it was published: {', '.join(ingested.mended)}" in text(ingested, "pets")
    decoded = {"the older shard": 20, "the newer shard": 4, "1.1.0/manifest.parquet": 5}
    assert decoded.get(name, 0) == ingested.made
    assert nhwc.verify(grown.dataset_path).passed
    assert () == run_ingest(grown).mended


def test_a_deleted_version_comes_back(grown: Recipe, tree: Any) -> None:
    """As long as `latest` tells what it was, and the source is the same."""
    whole = tree(grown.dataset_path)
    shutil.rmtree(grown.dataset_path / "1.1.0")
    assert not nhwc.verify(grown.dataset_path).passed
    assert ("1.1.0",) == run_ingest(grown).mended
    assert whole == tree(grown.dataset_path)


def test_much_damage_at_once_comes_back(grown: Recipe, tree: Any) -> None:
    """All files of the version, and one shard, are flipped; only `latest` is left to tell what they were."""
    whole = tree(grown.dataset_path)
    damaged = [place(grown.dataset_path, name) for name in FILES[1:-1]]
    for path in damaged:
        flip(path)
    run_ingest(grown)
    assert whole == tree(grown.dataset_path)


@pytest.mark.parametrize("name", ["contract.yaml", "manifest.parquet", "recipe.yaml", "report.html", "statistics.json"])
@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(path.read_bytes() + b" ")])
def test_a_version_that_is_come_back_to_is_whole(
    grown: Recipe, tree: Any, name: str, damage: Callable[[Path], None]
) -> None:
    """Whoever went back to an earlier version, and ingests the same source again, gets the later one as it was."""
    whole = tree(grown.dataset_path)
    (grown.dataset_path / "latest").write_text("1.0.0\n")
    damage(grown.dataset_path / "1.1.0" / name)
    ingested = run_ingest(grown)
    assert ("published", "1.1.0") == (ingested.outcome, ingested.version.number)
    assert whole == tree(grown.dataset_path)
    assert nhwc.verify(grown.dataset_path).passed


def test_without_latest_and_checksums_the_files_tell(grown: Recipe, tree: Any) -> None:
    """Both that vouch for the rest are gone: the draft has to be, file by file, what lies there."""
    whole = tree(grown.dataset_path)
    (grown.dataset_path / "latest").unlink()
    (grown.dataset_path / "1.1.0/checksums").unlink()
    assert {"checksums", "latest"} == set(run_ingest(grown).mended)
    assert whole == tree(grown.dataset_path)


@pytest.mark.parametrize(
    "name", ["1.1.0/manifest.parquet", "1.1.0/statistics.json", "1.1.0/checksums", "the older shard"]
)
def test_what_the_source_no_longer_makes_is_not_made_up(
    grown: Recipe, tree: Any, write_image: Any, photos: Path, name: str
) -> None:
    """A new version takes the place of one that cannot be mended; it is left as it is, and said in one line."""
    path = place(grown.dataset_path, name)
    path.unlink()
    (photos / "cat/0.png").unlink()
    left = tree(grown.dataset_path / "1.1.0")
    ingested = run_ingest(grown)
    assert ("published", "2.0.0", 23) == (
        ingested.outcome,
        ingested.place.name,
        nhwc.Version.open(grown.dataset_path).kept.height,
    )
    if "checksums" in name:  # `latest` and the files tell what they were
        assert ("checksums",) == ingested.mended
    else:
        assert left == tree(grown.dataset_path / "1.1.0")
    lost = name in ("1.1.0/manifest.parquet", "1.1.0/statistics.json")
    assert lost == ("damaged, and not what this source makes now: version 1.1.0" in text(ingested, "pets"))
    assert nhwc.verify(grown.dataset_path).passed


def test_only_samples_that_came_are_a_minor_change_of_a_damaged_version(grown: Recipe, write_image: Any) -> None:
    """What its manifest says still counts, though its statistics are gone."""
    (grown.dataset_path / "1.1.0/statistics.json").unlink()
    write_image("cat/new.png")
    assert "1.2.0" == run_ingest(grown).place.name


def test_rot_that_changes_no_stamp_is_mended_once_verify_has_found_it(grown: Recipe, tree: Any) -> None:
    """A disk that rots tells nobody; no shard is read again at each ingest."""
    whole = tree(grown.dataset_path)
    run_ingest(grown)
    note = grown.dataset_path / SHARD_HASHES
    trusted = note.read_bytes()
    shard = place(grown.dataset_path, "the older shard")
    flip(shard)
    status, table = shard.stat(), pl.read_parquet(note)
    mine = pl.col("name") == shard.stem
    for column, value in (("written_ns", status.st_mtime_ns), ("changed_ns", status.st_ctime_ns)):
        table = table.with_columns(pl.when(mine).then(pl.lit(value)).otherwise(column).alias(column))
    table.write_parquet(note)  # as if nothing had touched the shard
    assert trusted != note.read_bytes()
    assert () == run_ingest(grown).mended
    assert not nhwc.verify(grown.dataset_path).passed
    assert (f"shards/{shard.name}",) == run_ingest(grown).mended
    assert whole == tree(grown.dataset_path)


def test_shards_are_read_once(grown: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unchanged dataset's shards are not read again; a shard that was touched is, and found whole."""
    run_ingest(grown)
    read: list[str] = []
    sha256_of = shard_hashes.sha256_of
    monkeypatch.setattr(shard_hashes, "sha256_of", lambda path: (read.append(path.name), sha256_of(path))[1])
    run_ingest(grown)
    assert [] == read
    shard = place(grown.dataset_path, "the older shard")
    shard.touch()
    assert (run_ingest(grown).mended, [shard.name]) == ((), read)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"PAR1PAR1"])
def test_a_damaged_note_of_shards_is_none(grown: Recipe, content: bytes, tree: Any) -> None:
    whole = tree(grown.dataset_path)
    (grown.dataset_path / SHARD_HASHES).write_bytes(content)
    assert () == run_ingest(grown).mended
    assert whole == tree(grown.dataset_path)


def killed_after(left: Iterator[int], move: Callable[[Path, Path], None], old: Path, new: Path) -> None:
    """Move, until it was done so often."""
    if next(left, None) is None:
        raise KeyboardInterrupt
    move(old, new)


def test_a_killed_mending_goes_on(grown: Recipe, tree: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are put in place one after another; wherever it ends, the next ingest ends in the same tree."""
    whole = tree(grown.dataset_path)
    move = publish.move_durably
    for allowed in range(4):
        for name in ("manifest.parquet", "report.html", "statistics.json", "checksums"):
            flip(grown.dataset_path / "1.1.0" / name)
        left = iter(range(allowed))

        with monkeypatch.context() as patched:
            patched.setattr(publish, "move_durably", partial(killed_after, left, move))
            with pytest.raises(KeyboardInterrupt):
                run_ingest(grown)
        run_ingest(grown)
        assert whole == tree(grown.dataset_path)


def test_a_refused_run_mends_no_file_of_a_draft(grown: Recipe, photos: Path, tree: Any) -> None:
    """A source over its budget makes no version, and none again."""
    (grown.dataset_path / "1.1.0/statistics.json").unlink()
    for number in range(9):
        (photos / f"dog/{number}.png").write_bytes(b"")
        (photos / f"cat/{number}.png").write_bytes(b"")
    left = tree(grown.dataset_path / "1.1.0")
    ingested: Ingested = run_ingest(grown)
    assert "refused" == ingested.outcome
    assert left == tree(grown.dataset_path / "1.1.0")


def test_the_report_is_the_same_for_the_same_draft(photos: Path, recipe_for: Make) -> None:
    """Its hash stands in the checksums, so that it can be made again."""
    (photos / "cat/bad.png").write_bytes((photos / "cat/5.png").read_bytes()[:60])
    recipe = recipe_for(checks={"bad_fraction": 0.5, "bad_fraction_per_class": 0.5})
    pages = set()
    for _ in range(2):
        pages.add((run_ingest(recipe).place / "report.html").read_bytes())
        shutil.rmtree(recipe.dataset_path)
    assert 1 == len(pages)


def test_a_folder_that_only_looks_like_a_dataset_is_left_alone(photos: Path, recipe_for: Make) -> None:
    """A number for a name makes no version of it."""
    recipe = recipe_for()
    (recipe.dataset_path / "1.0.0").mkdir(parents=True)
    with pytest.raises(RecipeError, match="expected a new folder or a published dataset"):
        run_ingest(recipe)


@pytest.mark.parametrize("storage", ["pixels", "encoded"])
@pytest.mark.parametrize("suffix", [".arrow", ".parquet"])
def test_what_rots_while_it_waits_is_made_again(
    photos: Path, recipe_for: Make, tree: Any, storage: str, suffix: str
) -> None:
    """A refused run leaves what it decoded; what changes of a shard before the next run is never published."""
    image = {"rows": 4, "cols": 5, "storage": storage}
    (photos / "cat" / "broken.png").write_bytes(b"")
    recipe = recipe_for(image=image, checks={"bad_fraction": 0.5, "bad_fraction_per_class": 0.5})
    expected = tree(run_ingest(recipe).place.parent)
    shutil.rmtree(recipe.dataset_path)
    assert "refused" == run_ingest(recipe_for(image=image, checks={"bad_fraction": 0})).outcome
    for staged in (recipe.dataset_path / STAGING).glob(f"*{suffix}"):
        content = bytearray(staged.read_bytes())
        content[len(content) // 2] ^= 1
        staged.write_bytes(content if suffix == ".arrow" else content[: len(content) // 2])
    ingested = run_ingest(recipe)
    assert (20, expected) == (ingested.made, tree(ingested.place.parent))
