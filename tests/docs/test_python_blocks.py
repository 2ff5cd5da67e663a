"""The Python that the pages show runs, in a folder with what its reader has: datasets, a model, a strategy."""

import re
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import nhwc
from nhwc.flows.recipe import parse_recipe

CHECKOUT = Path(__file__).parents[2]
PAGES = [CHECKOUT / "README.md", *sorted((CHECKOUT / "docs").glob("*.md"))]

ELSEWHERE = {"readers.md", "exports.md"}
"""Pages whose blocks have a test of their own: tests/docs/test_pages.py, tests/flows/test_export.py."""

NOT_RUN = {
    "grpc://": "needs a dispatcher and workers, which examples/data_service.py starts and tests/examples runs",
    "s3://": "needs a store: tests/flows/test_storage.py loads from one",
}
"""What a block has in it that cannot run here, and why."""


def blocks() -> Iterator[tuple[str, str]]:
    """Each block of Python, by where it stands, but those that are files: test_commands.py has them run."""
    for page in (one for one in PAGES if one.name not in ELSEWHERE):
        text = page.read_text(encoding="utf-8")
        for found in re.finditer(r"^```python\n(.*?)^```$", text, re.S | re.M):
            if not re.match(r"# [\w.-]+\.py\n", found[1]):
                yield f"{page.name}:{text.count(chr(10), 0, found.start()) + 1}", found[1]


BLOCKS = dict(blocks())


def why_not(block: str) -> str | None:
    return next((why for part, why in NOT_RUN.items() if part in block), None)


@pytest.fixture(scope="module")
def home(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with photos/, two datasets that are published, the recipe of one, and a photograph."""
    folder = tmp_path_factory.mktemp("home")
    shutil.copytree(photographs, folder / "photos")
    shutil.copy(photographs / "flower" / "00.jpg", folder / "dog.jpg")
    plain = {"source": {"path": "photos"}, "image": {"rows": 32, "cols": 40}, "publish": {"to": "datasets"}}
    for dataset in ("clothing", "pieces"):
        recipe = parse_recipe({"dataset": dataset} | plain, base=folder)
        nhwc.ingest(recipe, direct=True)
        (folder / f"{dataset}.yaml").write_text(recipe.to_yaml(), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def names() -> dict[str, Any]:
    """What the blocks take for given."""
    import keras  # noqa: PLC0415  seconds, which only these tests pay
    import tensorflow as tf  # noqa: PLC0415

    layers = [keras.Input((32, 40, 3)), keras.layers.Conv2D(4, 3), keras.layers.Flatten(), keras.layers.Dense(2)]
    model = keras.Sequential([*layers, keras.layers.Softmax()])
    model.compile("adam", "sparse_categorical_crossentropy")
    given = {"path": "datasets/clothing", "rank": 1, "world_size": 2, "strategy": tf.distribute.get_strategy()}
    return given | {"nhwc": nhwc, "tf": tf, "model": model}


@pytest.mark.parametrize("where", [where for where, block in BLOCKS.items() if why_not(block) is None])
def test_a_block_runs(where: str, home: Path, names: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an error and without a warning."""
    monkeypatch.chdir(home)
    monkeypatch.setattr(nhwc, "ingest", partial(nhwc.ingest, direct=True), raising=False)  # without a Prefect server
    exec(compile(BLOCKS[where], where, "exec"), dict(names))


def test_what_is_not_run_is_there() -> None:
    """No reason stands above for a block that is gone, and most blocks run."""
    left_out = [part for part in NOT_RUN for block in BLOCKS.values() if part in block]
    assert set(NOT_RUN) == set(left_out)
    assert len(left_out) < len(BLOCKS) / 2
