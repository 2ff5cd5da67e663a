"""The Python blocks of pages whose every block stands for itself, run as they are written."""

import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import nhwc
from nhwc.flows.recipe import parse_recipe

DOCS = Path(__file__).parents[2] / "docs"
PAGES = ("readers.md",)
NOT_FOR_ALL = ("torch", "jax", "grain")
"""What a block may import that need not be installed."""


def blocks(name: str) -> Iterator[tuple[str, str]]:
    """Each Python block of a page, and where it stands: `readers.md:17`. Its line numbers are the page's."""
    text = (DOCS / name).read_text(encoding="utf-8")
    for block in re.finditer(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        line = text[: block.start(1)].count("\n")
        yield f"{name}:{line + 1}", "\n" * line + block[1]


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which `datasets/clothing` is a published version."""
    base = tmp_path_factory.mktemp("pages")
    for number in range(40):
        coarse = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        path = base / "photos" / ("hat" if number % 2 else "shoes") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(coarse).resize((64, 64), Image.Resampling.BICUBIC).save(path)
    recipe = {"dataset": "clothing", "source": {"path": "photos"}, "publish": {"to": "datasets"}}
    nhwc.ingest(parse_recipe(recipe | {"image": {"rows": 32, "cols": 32}}, base=base), direct=True)
    return base


CASES = [pytest.param(where, code, id=where) for name in PAGES for where, code in blocks(name)]


@pytest.mark.parametrize(("where", "code"), CASES)
def test_a_block_runs(where: str, code: str, published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an error and without a warning."""
    for package in NOT_FOR_ALL:
        if re.search(rf"^(import|from) {package}\b", code, re.MULTILINE) and find_spec(package) is None:
            pytest.skip(f"{package} is not installed: {where} is tried where it is")
    monkeypatch.chdir(published)
    exec(compile(code, where, "exec"), {"__name__": where})


def test_every_page_has_blocks() -> None:
    """A page that is renamed, or written otherwise, is not passed over."""
    assert all(list(blocks(name)) for name in PAGES)
