"""An ingest reads no file that has not changed, and whatever has."""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import polars as pl
import pytest

from nhwc.flows.deciding import Ingested
from nhwc.flows.ingest import run_ingest
from nhwc.flows.recipe import Recipe
from nhwc.flows.seen import HASHES, SEEN
from nhwc.pipelines.sources.folder import Folder
from nhwc.pipelines.sources.protocol import Entry

Make = Callable[..., Recipe]


def ingested(recipe: Recipe) -> tuple[Ingested, bool]:
    """What an ingest came to, and whether it read the files."""
    told: list[str] = []
    outcome = run_ingest(recipe, progress=lambda name, more, total: told.append(name))
    return outcome, "hash" in told


@pytest.fixture
def settled(photos: Path, recipe_for: Make) -> Recipe:
    """A recipe that was ingested a while after its files were written."""
    recipe = recipe_for()
    run_ingest(recipe)
    later = time.time_ns() + 10_000_000_000
    os.utime(recipe.dataset_path / SEEN, ns=(later, later))
    return recipe


def test_an_unchanged_source_is_not_read(settled: Recipe, tree: Any) -> None:
    """The outcome says the same as if it were, and no byte of the dataset changes."""
    before = tree(settled.dataset_path)
    outcome, has_read = ingested(settled)
    assert (False, "unchanged", "1.0.0") == (has_read, outcome.outcome, outcome.version and outcome.version.number)
    assert (20, 0, True, ()) == (outcome.manifest.height, outcome.made, outcome.verdict.passed, outcome.findings)
    assert before == tree(settled.dataset_path)


def test_what_may_have_changed_since_the_look_is_read(photos: Path, recipe_for: Make) -> None:
    """A file written within a file system's tick of the look may have been written once more after it."""
    run_ingest(recipe_for())
    outcome, has_read = ingested(recipe_for())
    assert (True, "unchanged") == (has_read, outcome.outcome)


def same_size_and_date(photos: Path) -> None:
    """Other bytes, of the same length, under the same date: only ctime tells."""
    path = photos / "cat" / "0.png"
    status = path.stat()
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize(
    ("change", "outcome"),
    [
        (same_size_and_date, "refused"),
        (lambda photos: shutil.copy(photos / "cat/0.png", photos / "cat/new.png"), "published"),
        (lambda photos: (photos / "cat/0.png").unlink(), "published"),
        (lambda photos: (photos / "cat/0.png").rename(photos / "dog/00.png"), "published"),
        (lambda photos: (photos / "cat").rename(photos / "lion"), "published"),
        (lambda photos: (photos / "notes.txt").touch(), "published"),
        (lambda photos: (photos / "empty").mkdir(), "published"),
        (lambda photos: (photos / "link").symlink_to("cat/0.png"), "published"),
        (lambda photos: (photos / "cat/0.png").touch(), "unchanged"),
    ],
)
def test_any_change_of_the_source_is_read(
    settled: Recipe, photos: Path, change: Callable[[Path], object], outcome: str
) -> None:
    """Bytes, names, folders, links; and what turns out to be none."""
    change(photos)
    came_to, has_read = ingested(settled)
    assert (True, outcome) == (has_read, came_to.outcome)


def test_where_a_link_leads_is_part_of_the_source(photos: Path, recipe_for: Make, tmp_path: Path) -> None:
    """It may come to lead elsewhere, or nowhere, without being written itself."""
    target = tmp_path / "outside.png"
    target.touch()
    (photos / "link").symlink_to(target)
    recipe = recipe_for()
    run_ingest(recipe)
    later = time.time_ns() + 10_000_000_000
    os.utime(recipe.dataset_path / SEEN, ns=(later, later))
    assert not ingested(recipe)[1]
    target.unlink()
    outcome, has_read = ingested(recipe)
    assert (True, "published") == (has_read, outcome.outcome)


def test_another_recipe_is_another_look(settled: Recipe, recipe_for: Make, tmp_path: Path) -> None:
    """And so is another content of a file that it names."""
    assert ingested(recipe_for(checks={"bad_fraction": 0.5}))[1]
    rules = tmp_path / "own.py"
    for least in (1, 2):
        rules.write_text(
            "import pandera.polars as pa\n"
            f"RULE = pa.DataFrameSchema({{'rows': pa.Column(int, pa.Check.ge({least}))}})\n"
        )
        assert ingested(recipe_for(checks={"file": "own.py"}))[1]


def test_a_missing_shard_is_made_again(settled: Recipe) -> None:
    """Though nothing of the source has changed."""
    (shard,) = (settled.dataset_path / "shards").iterdir()
    shard.unlink()
    outcome, has_read = ingested(settled)
    assert (True, "unchanged", 20) == (has_read, outcome.outcome, outcome.made)
    assert shard.is_file()


def test_what_failed_for_the_moment_is_tried_again(
    photos: Path, recipe_for: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that could not be read may be readable now, and no fact of it tells."""
    (photos / "cat" / "0.png").unlink()
    (photos / "cat" / "0.png").mkdir(mode=0o000)
    recipe = recipe_for(checks={"bad_fraction": 1, "bad_fraction_per_class": 1})
    scandir = os.scandir

    def refusing(path: Any) -> Any:
        if str(path).endswith("0.png"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    outcome, _ = ingested(recipe)
    assert 1 == outcome.manifest.filter(code="unreadable_folder").height
    assert not (recipe.dataset_path / SEEN).exists()


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"1.0.0 0000\n"])
def test_a_damaged_note_is_no_note(settled: Recipe, content: bytes) -> None:
    """Then everything is read."""
    (settled.dataset_path / SEEN).write_bytes(content)
    assert ingested(settled)[1]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The names of the source's files that are opened from now on."""
    names: set[str] = set()
    open_file = Folder.open

    def told(self: Folder, entry: Entry) -> BinaryIO:
        names.add(entry.name)
        return open_file(self, entry)

    monkeypatch.setattr(Folder, "open", told)
    return names


@pytest.fixture
def hashed(photos: Path, recipe_for: Make, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    """A recipe that was ingested a while after its files were written; `.hashes` tells it, `.seen` does not."""
    later = time.time_ns() + 10_000_000_000
    recipe = recipe_for(checks={"bad_fraction": 0.5, "bad_fraction_per_class": 0.5})
    with monkeypatch.context() as patched:
        patched.setattr(time, "time_ns", lambda: later)
        run_ingest(recipe)
    (recipe.dataset_path / SEEN).unlink()
    return recipe


def other_bytes(photos: Path) -> None:
    """A longer file in its place."""
    (photos / "cat/0.png").write_bytes((photos / "cat/0.png").read_bytes() + b"more")


def replaced(photos: Path) -> None:
    """Another file under its name, moved there: of the same size, and with an older date."""
    (photos / "cat/0.png").rename(photos / "dog/x.png")
    shutil.copy2(photos / "dog/x.png", photos / "cat/0.png")


@pytest.mark.parametrize(
    ("change", "read"),
    [
        (lambda photos: None, set()),
        (lambda photos: shutil.copy(photos / "cat/0.png", photos / "cat/new.png"), {"cat/new.png"}),
        (lambda photos: (photos / "cat/0.png").unlink(), set()),
        (lambda photos: (photos / "cat/0.png").touch(), {"cat/0.png"}),
        (same_size_and_date, {"cat/0.png"}),
        (other_bytes, {"cat/0.png"}),
        (replaced, {"cat/0.png", "dog/x.png"}),
        (lambda photos: (photos / "cat/0.png").rename(photos / "dog/00.png"), {"dog/00.png"}),
        (lambda photos: (photos / "dog").rename(photos / "lion"), {f"lion/{number}.png" for number in range(10)}),
    ],
)
def test_only_what_changed_is_read(
    hashed: Recipe, photos: Path, opened: set[str], change: Callable[[Path], object], read: set[str], tree: Any
) -> None:
    """And the version is the one that reading everything gives, its shards' names too."""
    change(photos)
    dataset, twin = hashed.dataset_path, photos.parent / "twin"
    shutil.copytree(dataset, twin)
    assert read == (run_ingest(hashed), opened)[1]
    told = tree(dataset)
    shutil.rmtree(dataset)
    shutil.copytree(twin, dataset)
    (dataset / HASHES).unlink()
    run_ingest(hashed)
    assert told == tree(dataset)


def test_what_may_have_changed_since_it_was_read_is_read_again(
    photos: Path, recipe_for: Make, opened: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file within a tick of the look, or by its dates after it, as where the clock was set back."""
    future = time.time_ns() + 1_000_000_000_000
    os.utime(photos / "cat/0.png", ns=(future, future))
    later = time.time_ns() + 10_000_000_000
    monkeypatch.setattr(time, "time_ns", lambda: later)
    run_ingest(recipe_for())
    (photos / "cat/1.png").touch()
    monkeypatch.setattr(time, "time_ns", lambda: later - 10_000_000_000)
    for _ in range(2):
        opened.clear()
        run_ingest(recipe_for())
        assert {"cat/0.png", "cat/1.png"} <= opened


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"PAR1PAR1"])
def test_damaged_hashes_are_none(hashed: Recipe, opened: set[str], content: bytes) -> None:
    """Then everything is read."""
    (hashed.dataset_path / HASHES).write_bytes(content)
    outcome = run_ingest(hashed)
    assert (20, "unchanged") == (len(opened), outcome.outcome)


def test_hashes_of_another_nhwc_are_none(hashed: Recipe, opened: set[str]) -> None:
    """It may take other files for images."""
    table = pl.read_parquet(hashed.dataset_path / HASHES)
    table.with_columns(nhwc=pl.lit("0.0.0")).write_parquet(hashed.dataset_path / HASHES)
    run_ingest(hashed)
    assert 20 == len(opened)


def test_another_image_recipe_decodes_what_is_not_hashed_again(hashed: Recipe, recipe_for: Make) -> None:
    """The hashes hold whatever becomes of the files."""
    outcome = run_ingest(recipe_for(image={"rows": 3, "cols": 3}))
    assert (20, "2.0.0") == (outcome.made, outcome.version and outcome.version.number)


def test_a_limit_on_bytes_holds_for_what_is_known(hashed: Recipe, recipe_for: Make) -> None:
    """A file that was read before and is over it now is refused as if it were new."""
    small = recipe_for(
        image={"rows": 4, "cols": 5, "max_bytes": 10}, checks={"bad_fraction": 1, "bad_fraction_per_class": 1}
    )
    assert {"too_many_bytes"} == set(run_ingest(small).manifest["code"])


def test_wrong_hashes_are_forgotten(hashed: Recipe) -> None:
    """A file that is not what its hash said is quarantined in that run only."""
    table = pl.read_parquet(hashed.dataset_path / HASHES)
    table.with_columns(sha256=pl.lit("0" * 64)).write_parquet(hashed.dataset_path / HASHES)
    outcome = run_ingest(hashed)
    assert ("refused", {"changed_while_reading"}) == (outcome.outcome, set(outcome.manifest["code"]))
    assert "unchanged" == run_ingest(hashed).outcome
