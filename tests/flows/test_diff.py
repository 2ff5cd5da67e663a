"""`nhwc diff`: what changed between two versions, for a person and for a program."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nhwc.flows.ingest import run_ingest
from nhwc.flows.recipe import Recipe


@pytest.fixture
def dataset(photos: Path, recipe_for: Callable[..., Recipe], write_image: Any) -> Path:
    """Between its two versions all changes that there are."""
    loose = {"bad_fraction": 0.5, "bad_fraction_per_class": 0.5}
    run_ingest(recipe_for(checks=loose))
    for number in range(7):
        write_image(f"bird/{number}.png")
    write_image("dog/3.png", rows=7)
    (photos / "dog/4.png").unlink()
    (photos / "dog/bad\x1b[31m.png").write_bytes(b"\x89PNG")
    return run_ingest(recipe_for(checks=loose, splits={"train": 0.5, "test": 0.5})).place.parent


def test_the_text_counts_and_then_names(dataset: Path, nhwc_command: Any) -> None:
    """A line each; no file name steers the terminal."""
    status, out, err = nhwc_command("diff", dataset / "1.0.0", dataset)
    assert (0, "") == (status, err)
    lines = out.splitlines()
    assert "samples added: 7: bird/0.png, bird/1.png, bird/2.png, bird/3.png, bird/4.png, and 2 more" == lines[0]
    assert "samples removed: 1: dog/4.png" == lines[1]
    assert "samples with other pixels: 1: dog/3.png" == lines[2]
    assert lines[3].startswith("split train -> test: ")
    assert any(line.startswith("came: ") and line.endswith(r": 1: dog/bad\x1b[31m.png") for line in lines)
    assert "classes added: 1: bird" in lines
    assert "classes with another id: 2: cat, dog" in lines
    assert {"recipe splits.test: 0.0 -> 0.5", "recipe splits.train: 1.0 -> 0.5"} <= set(lines)
    assert "nothing differs\n" == nhwc_command("diff", dataset, dataset / "2.0.0")[1]


def test_the_json_has_every_name(dataset: Path, nhwc_command: Any) -> None:
    """And the same back to front is the reverse."""
    there = json.loads(nhwc_command("diff", dataset / "1.0.0", dataset, "--json")[1])
    back = json.loads(nhwc_command("diff", dataset, dataset / "1.0.0", "--json")[1])
    assert [f"bird/{number}.png" for number in range(7)] == [one["path"] for one in there["samples"]["added"]]
    assert there["samples"]["added"] == back["samples"]["removed"]
    assert there["samples"]["came"] == back["samples"]["went"]
    assert [["cat", "dog"], ["bird", "cat", "dog"]] == there["classes"] == back["classes"][::-1]
    assert [0.0, 0.5] == there["recipe"]["splits.test"] == back["recipe"]["splits.test"][::-1]
    assert there["contract"] is None


def test_another_contract_is_told(photos: Path, recipe_for: Callable[..., Recipe], nhwc_command: Any) -> None:
    """As text, and as the keys of the recipe that brought it about."""
    run_ingest(recipe_for())
    dataset = run_ingest(recipe_for(image={"rows": 3, "cols": 5})).place.parent
    _, out, _ = nhwc_command("diff", dataset / "1.0.0", dataset / "2.0.0")
    assert "samples with other pixels: 20: cat/0.png" in out
    assert "contract: uint8[rows=4, cols=5, channels=3] in [0, 255] -> uint8[rows=3, cols=5" in out
    assert "recipe image.rows: 4 -> 3" in out


def test_what_is_no_dataset_ends_with_2(tmp_path: Path, nhwc_command: Any) -> None:
    assert 2 == nhwc_command("diff", tmp_path, tmp_path)[0]
