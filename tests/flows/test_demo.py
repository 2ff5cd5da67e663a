"""The demo is the main job on real images, start to end."""

import re
from functools import partial
from pathlib import Path

import pytest

import nhwc
from nhwc.flows.demo import run_demo


def test_the_demo_ingests_loads_and_trains(tmp_path: Path) -> None:
    """It says what was refused and why, shows a batch's contract, and learns digits it has not seen."""
    said: list[str] = []
    run_demo(tmp_path / "demo", direct=True, say=said.append)
    text = "\n".join(said)
    assert "1,802 discovered = 1,797 kept, 5 quarantined, 0 skipped" in text
    for code in ("empty_file", "no_class", "not_an_image", "too_many_pixels", "truncated"):
        assert re.search(rf"^ +{code} +1  ", text, re.MULTILINE)
    assert "contract of a batch: float32[samples=32, rows=8, cols=8, channels=1] in [0, 1]" in text
    assert "china.jpg is (100, 100, 3)" in text
    assert float(re.findall(r"epoch \d: ([\d.]+)%", text)[-1]) > 85
    assert nhwc.verify(tmp_path / "demo" / "datasets" / "digits").passed
    run_demo(tmp_path / "demo", direct=True, say=said.append)


def test_an_edited_recipe_may_have_the_demo_refused(tmp_path: Path) -> None:
    """With the verdict, as an ingest says it."""
    run = partial(run_demo, tmp_path / "demo", direct=True)
    with pytest.raises(KeyboardInterrupt):
        run(say=partial(interrupt, "2. nhwc ingest"))
    recipe = tmp_path / "demo" / "digits.yaml"
    recipe.write_text(recipe.read_text().replace("checks: {", "checks: {bad_fraction: 0, "))
    said: list[str] = []
    with pytest.raises(nhwc.DataError, match="over_budget: all found 5 of 1802"):
        run(say=said.append)
    assert any("refused: nothing published" in line for line in said)


def interrupt(at: str, said: str) -> None:
    if said.startswith(at):
        raise KeyboardInterrupt


def test_the_demo_leaves_other_folders_alone(tmp_path: Path) -> None:
    """A folder that it did not make is never emptied."""
    (tmp_path / "mine").touch()
    with pytest.raises(nhwc.RecipeError, match="which the demo did not make"):
        run_demo(tmp_path, direct=True, say=print)
    assert (tmp_path / "mine").exists()
