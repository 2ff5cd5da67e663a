"""Small sources made by code, and recipes for them."""

import hashlib
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nhwc.flows.recipe import Recipe, parse_recipe
from nhwc.flows.seen import HASHES
from nhwc.flows.shard_hashes import SHARD_HASHES

Write = Callable[..., Path]


@pytest.fixture
def write_image(tmp_path: Path) -> Write:
    """Writes one image below photos/: gray, colour or with alpha, its pixels drawn by its name."""

    def write(name: str, *, rows: int = 6, cols: int = 9, channels: int = 3, format: str = "PNG") -> Path:
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
        pixels = np.random.default_rng(seed).integers(0, 256, (rows, cols, channels), dtype=np.uint8)
        Image.fromarray(pixels[..., 0] if channels == 1 else pixels).save(path, format)
        return path

    return write


@pytest.fixture
def photos(tmp_path: Path, write_image: Write) -> Path:
    """Twenty images in two classes."""
    for label in ("cat", "dog"):
        for number in range(10):
            write_image(f"{label}/{number}.png")
    return tmp_path / "photos"


@pytest.fixture
def recipe_for(tmp_path: Path) -> Callable[..., Recipe]:
    """A recipe for photos/, 4 x 5 pixels, with some parts replaced."""

    def make(**parts: Any) -> Recipe:
        plain: dict[str, Any] = {
            "dataset": "pets",
            "source": {"path": "photos"},
            "image": {"rows": 4, "cols": 5},
            "publish": {"to": "datasets"},
        }
        return parse_recipe(plain | parts, base=tmp_path)

    return make


def tree_hash(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file below a folder, by relative path; without notes of times and inodes."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name not in (HASHES, SHARD_HASHES))
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture
def tree() -> Callable[[Path], dict[str, str]]:
    """Every file of a folder with its hash."""
    return tree_hash


_fresh = itertools.count()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of this test's own."""
    monkeypatch.setenv("NHWC_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(params=["memory", "s3"])
def bucket(request: pytest.FixtureRequest) -> str:
    """A place of this test's own on each kind of store."""
    above = request.getfixturevalue("s3") if request.param == "s3" else "memory://bucket"
    return f"{above}/{next(_fresh)}"


@pytest.fixture(scope="module")
def server() -> Iterator[None]:
    """A Prefect server of the tests' own."""
    from prefect.testing.utilities import prefect_test_harness  # noqa: PLC0415  seconds, which only these tests pay

    with prefect_test_harness(server_startup_timeout=120):
        yield
