"""Every single bit of every file of a version counts: what benchmarks/bit_rot.py prints, in short."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
KINDS = ("shard", "manifest.parquet", "recipe.yaml", "contract.yaml", "statistics.json", "checksums", "report.html")
FLIPS = 10


@pytest.fixture(scope="module")
def bit_rot() -> Iterator[ModuleType]:
    """The script."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
        yield importlib.import_module("bit_rot")


@pytest.mark.parametrize("storage", ["pixels", "encoded"])
def test_every_flip_in_every_kind_of_file_is_found(bit_rot: ModuleType, tmp_path: Path, storage: str) -> None:
    """The nine kinds, `latest` and an older version's checksums among them."""
    version = bit_rot.publish(tmp_path, storage)
    kinds = list(bit_rot.kinds(version))
    assert {*KINDS[1:], "latest"} == {path.name for path, _ in kinds if path.suffix != ".arrow"}
    assert dict.fromkeys(kinds, FLIPS) == {kind: bit_rot.found(*kind, FLIPS) for kind in kinds}
