"""A small folder of images, and an ingest of any source, for what must come out of both alike."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nhwc.flows.deciding import Ingested
from nhwc.flows.engines import EngineOptions
from nhwc.flows.ingest import run_ingest
from nhwc.flows.recipe import parse_recipe

IN_FOLDERS = {"splits": {"from": "folder"}}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Twelve images, each of its own, in the folders of two splits and two classes."""
    for name in (f"{split}/{label}/{n}.png" for split in ("train", "test") for label in ("cat", "dog") for n in "012"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
        Image.fromarray(np.random.default_rng(seed).integers(0, 256, (6, 9, 3), np.uint8)).save(path)
    return tmp_path / "photos"


@pytest.fixture
def ingest_source(tmp_path: Path) -> Callable[..., Ingested]:
    """Ingests a source to 4 x 5 pixels, into the dataset of this name; half of it may be bad."""

    def ingest(source: dict[str, Any], to: str = "out", engine: str = "threads", **parts: Any) -> Ingested:
        plain: dict[str, Any] = {
            "dataset": to,
            "source": source,
            "image": {"rows": 4, "cols": 5},
            "checks": {"bad_fraction": 0.9, "bad_fraction_per_class": 0.9},
            "publish": {"to": "datasets"},
        }
        return run_ingest(parse_recipe(plain | parts, base=tmp_path), engine=EngineOptions(name=engine))

    return ingest


@pytest.fixture
def folder_content(photos: Path, ingest_source: Callable[..., Ingested]) -> str:
    """What the folder of images comes to."""
    version = ingest_source({"kind": "folder", "path": str(photos)}, to="folder", **IN_FOLDERS).version
    assert version is not None
    return version.content
