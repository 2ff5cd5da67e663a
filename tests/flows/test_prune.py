"""`nhwc prune`: what no version needs goes, and a reader never finds half of one."""

import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import nhwc
from nhwc.flows import prune as pruning
from nhwc.flows import prune_places
from nhwc.flows.durable import locked
from nhwc.flows.ingest import run_ingest
from nhwc.flows.prune import prune
from nhwc.flows.recipe import Recipe
from nhwc.pipelines.listing import Listed
from nhwc.pipelines.version import Version


@pytest.fixture
def recipe(photos: Path, recipe_for: Callable[..., Recipe], write_image: Any) -> Recipe:
    """Of a dataset with four versions: each of the first three has a shard that the next ones lack."""
    for number, rows in enumerate((4, 5, 6)):
        run_ingest(recipe_for(image={"rows": rows, "cols": 5}))
        write_image(f"dog/more{number}.png")
    recipe = recipe_for(image={"rows": 6, "cols": 5})
    assert "3.1.0" == run_ingest(recipe).place.name
    return recipe


def numbers(dataset: Path) -> list[str]:
    return sorted(path.name for path in dataset.iterdir() if path.is_dir() and path.name[0] in "123")


def test_without_yes_nothing_is_dropped(recipe: Recipe, tree: Any, nhwc_command: Any) -> None:
    """The command says what would be, and how to have it."""
    whole = tree(recipe.dataset_path)
    status, out, err = nhwc_command("prune", recipe.dataset_path, "--keep", 2)
    assert (0, "") == (status, err)
    assert ["version 1.0.0", "version 2.0.0"] == out.splitlines()[:2]
    assert 2 == out.count("no version that stays names it")
    assert out.endswith("nothing was dropped. To drop it: the same with --yes\n")
    assert whole == tree(recipe.dataset_path)


def test_old_versions_go_with_the_shards_that_only_they_name(recipe: Recipe, nhwc_command: Any) -> None:
    """What stays is whole, an ingest finds it unchanged, and a second prune finds nothing."""
    dataset = recipe.dataset_path
    status, out, _ = nhwc_command("prune", dataset, "--keep", 2, "--yes")
    assert (0, True) == (status, ": dropped, " in out)
    assert ["3.0.0", "3.1.0"] == numbers(dataset)
    named = {f"{name}.arrow" for number in numbers(dataset) for name in Version.at(dataset / number).kept["shard"]}
    assert named == {path.name for path in (dataset / "shards").iterdir()}
    assert all(nhwc.verify(dataset / number).passed for number in numbers(dataset))
    assert ("unchanged", ()) == ((ingested := run_ingest(recipe)).outcome, ingested.mended)
    assert f"{dataset}: nothing to drop\n" == nhwc_command("prune", dataset, "--keep", 2, "--yes")[1]


def listed(*numbers: str, latest: str, dataset: Path = Path("d")) -> list[Listed]:
    """Versions, each published on the day of its major number."""
    return [
        Listed(
            version=Version(dataset=dataset, number=number),
            is_latest=number == latest,
            published=datetime(2026, 1, int(number[0]), tzinfo=UTC),
            counts=None,
            shards=frozenset(),
            bytes=0,
            own_bytes=0,
        )
        for number in numbers
    ]


@pytest.mark.parametrize(
    ("latest", "keep", "before", "dropped"),
    [
        ("4.0.0", 1, None, ["1.0.0", "2.0.0", "3.0.0"]),
        ("4.0.0", 3, None, ["1.0.0"]),
        ("4.0.0", 9, None, []),
        ("2.0.0", 1, None, ["1.0.0"]),  # those newer than the latest stay
        ("1.0.0", 1, None, []),
        ("4.0.0", 1, 3, ["1.0.0", "2.0.0"]),
        ("4.0.0", 1, 1, []),
    ],
)
def test_which_versions_are_old(latest: str, keep: int, before: int | None, dropped: list[str]) -> None:
    """Never the latest, nor one that is newer."""
    when = None if before is None else datetime(2026, 1, before, tzinfo=UTC)
    found = pruning.outdated(listed("1.0.0", "2.0.0", "3.0.0", "4.0.0", latest=latest), keep=keep, before=when)
    assert dropped == [version.number for version in found]


def test_older_than_counts_from_when_a_version_was_published(recipe: Recipe) -> None:
    """Days, by the time of its checksums."""
    days = 86_400
    written = (recipe.dataset_path / "1.0.0/checksums").stat().st_mtime
    os.utime(recipe.dataset_path / "1.0.0/checksums", (written - 3 * days, written - 3 * days))
    assert ("1.0.0",) == prune(recipe.dataset_path, keep=1, older_than=2).versions
    assert () == prune(recipe.dataset_path, keep=1, older_than=4).versions


def test_a_time_before_all_times_is_a_time(recipe: Recipe) -> None:
    """Nothing was published before it."""
    assert () == prune(recipe.dataset_path, keep=1, older_than=1e300).versions


def test_what_killed_runs_left_goes_too(recipe: Recipe) -> None:
    """Staged shards, halves of files, and shards that no version names."""
    dataset = recipe.dataset_path
    (dataset / ".staging").mkdir()
    (dataset / ".staging/x.arrow").write_bytes(b"123")
    (dataset / "latest.unfinished").write_bytes(b"1")
    (dataset / "shards" / "0.arrow").write_bytes(b"12")
    found = prune(dataset, keep=9, yes=True)
    assert ((), 6, (".staging", "latest.unfinished"), ("shards/0.arrow",)) == (
        found.versions, found.bytes, found.leftovers, found.shards
    )  # fmt: skip
    assert not any((dataset / name).exists() for name in (*found.leftovers, *found.shards))
    assert nhwc.verify(dataset).passed


def test_killed_anywhere_no_reader_finds_a_version_without_its_shards(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After each step every version that a reader finds is whole; the next prune ends where an undisturbed one does."""
    dataset = recipe.dataset_path
    steps = 0
    unlink, rmtree, move = Path.unlink, shutil.rmtree, prune_places.move_durably

    def step(work: Callable[..., Any], limit: int) -> Callable[..., Any]:
        def limited(*arguments: Any, **named: Any) -> Any:
            nonlocal steps
            if steps == limit:
                raise KeyboardInterrupt
            steps += 1
            return work(*arguments, **named)

        return limited

    shutil.copytree(dataset, tmp_path / "copy")
    for limit in range(8):
        rmtree(dataset)
        shutil.copytree(tmp_path / "copy", dataset)
        steps = 0
        with monkeypatch.context() as patched:
            patched.setattr(prune_places, "move_durably", step(move, limit))
            patched.setattr(Path, "unlink", step(unlink, limit))
            patched.setattr(shutil, "rmtree", step(rmtree, limit))
            with pytest.raises(KeyboardInterrupt):
                prune(dataset, keep=1, yes=True)
        assert all(nhwc.verify(dataset / number).passed for number in numbers(dataset)), limit
        prune(dataset, keep=1, yes=True)
        assert (["3.1.0"], 2, True) == (
            numbers(dataset), len(list((dataset / "shards").iterdir())), nhwc.verify(dataset).passed
        )  # fmt: skip


def test_a_dataset_that_is_being_written_is_left_alone(recipe: Recipe, nhwc_command: Any) -> None:
    """Not even a dry run tells of it: what it would call left behind is in use."""
    with locked(recipe.dataset_path):
        status, _, err = nhwc_command("prune", recipe.dataset_path)
    assert (3, True) == (status, "another run is writing this dataset" in err)


@pytest.mark.parametrize("name", ["manifest.parquet", "checksums"])
@pytest.mark.parametrize("number", ["3.0.0", "3.1.0"])
def test_where_a_version_that_stays_is_damaged_nothing_goes(
    recipe: Recipe, tree: Any, nhwc_command: Any, name: str, number: str
) -> None:
    """Which shards it needs cannot be told then."""
    (recipe.dataset_path / number / name).write_bytes(b"")
    left = tree(recipe.dataset_path)
    status, _, err = nhwc_command("prune", recipe.dataset_path, "--keep", 2, "--yes")
    assert (1, True) == (status, f"{number}/{name}" in err)
    assert left == tree(recipe.dataset_path)


def test_the_folder_of_one_version_is_no_dataset(recipe: Recipe, nhwc_command: Any) -> None:
    """The call is wrong, and the right one is said."""
    status, _, err = nhwc_command("prune", recipe.dataset_path / "1.0.0")
    assert (2, True) == (status, f"nhwc prune {recipe.dataset_path}" in err)
