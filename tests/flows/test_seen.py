"""An ingest of what has not changed reads no file; whatever changes, it reads again."""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nhwc.flows.ingest import Ingested, run_ingest
from nhwc.flows.recipe import Recipe
from nhwc.flows.seen import SEEN

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
