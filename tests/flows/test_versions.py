"""`nhwc versions`: what there is, and what it takes."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import nhwc
from nhwc.flows.ingest import run_ingest
from nhwc.flows.recipe import Recipe
from nhwc.pipelines.listing import listed_versions


@pytest.fixture
def dataset(photos: Path, recipe_for: Callable[..., Recipe], write_image: Any) -> Path:
    """Two versions, the second with a file that was refused and a shard more."""
    recipe = recipe_for(checks={"bad_fraction": 0.5, "bad_fraction_per_class": 0.5})
    run_ingest(recipe)
    write_image("dog/new.png")
    (photos / "dog/bad.png").write_bytes(b"\x89PNG")
    run_ingest(recipe)
    return recipe.dataset_path


def test_every_version_is_listed_with_what_it_takes(dataset: Path) -> None:
    """The oldest first; a shard that both have is neither's own."""
    first, second = listed_versions(dataset)
    assert [("1.0.0", False), ("1.1.0", True)] == [(one.version.number, one.is_latest) for one in (first, second)]
    assert {"kept": 20, "quarantined": 0, "skipped": 0} == first.counts
    assert {"kept": 21, "quarantined": 1, "skipped": 0} == second.counts
    sizes = {path.stem: path.stat().st_size for path in (dataset / "shards").iterdir()}
    assert (sum(sizes[name] for name in first.shards), 0) == (first.bytes, first.own_bytes)
    assert (sum(sizes.values()), sum(sizes.values()) - first.bytes) == (second.bytes, second.own_bytes)


def test_the_command_prints_them(dataset: Path, nhwc_command: Any) -> None:
    """A damaged manifest costs its counts only."""
    (dataset / "1.0.0/manifest.parquet").write_bytes(b"")
    status, out, err = nhwc_command("versions", dataset)
    titles, first, second = (line.split("\t") for line in out.splitlines())
    assert (0, "") == (status, err)
    assert ["version", "published", "kept", "quarantined", "shards", "its own"] == titles
    assert ["1.0.0", "damaged", "damaged"] == [first[0], *first[2:4]]
    assert ["1.1.0 latest", "21", "1"] == [second[0], *second[2:4]]
    assert second[1].endswith("UTC")


def test_numbers_are_in_order_of_their_parts(dataset: Path) -> None:
    """And not of their letters."""
    shutil.copytree(dataset / "1.0.0", dataset / "1.10.0")
    shutil.copytree(dataset / "1.0.0", dataset / "1.9.0")
    assert ["1.0.0", "1.1.0", "1.9.0", "1.10.0"] == [one.version.number for one in listed_versions(dataset)]


def test_what_is_no_dataset_is_told(tmp_path: Path) -> None:
    with pytest.raises(nhwc.RecipeError, match="found a folder that is no dataset"):
        listed_versions(tmp_path)
