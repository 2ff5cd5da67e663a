"""Look at a source and write the recipe that fits it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import yaml

from nhwc.flows.inspect import probe_folder
from nhwc.pipelines.probe import HeaderFacts
from nhwc.validators.errors import RecipeError
from nhwc.validators.splits import SPLIT_NAMES

MIXED_SIZE = (224, 224)
"""Rows and cols proposed where the images have more than one size: what most pretrained models take."""


def propose_recipe(source: Path, *, recipe: Path) -> str:
    """The text of a recipe for a folder of images, with what was found as comments.

    Args:
        source: the folder.
        recipe: where the text will be written; paths in it are relative to there.

    Raises RecipeError where the source is no folder or has no image.
    """
    if not source.is_dir():
        raise RecipeError(str(source), ("found no folder there, expected a folder of images",))
    facts, codes = probe_folder(source)
    if not facts:
        raise RecipeError(str(source), (f"found no image among {codes.total()} entries, expected a folder of images",))
    rows, cols, why_size = _size(facts)
    channels, why_channels = _channels(facts)
    deep = any(one.bit_depth == 16 for one in facts)
    parts = [
        f"# {len(facts):,} images found, {codes.total():,} other entries" + _listed(codes),
        f"dataset: {_dataset_name(source)}",
        _yaml({"source": {"kind": "folder", "path": _relative(source, recipe.parent)}}),
        "image:",
        f"  rows: {rows}  # {why_size}",
        f"  cols: {cols}",
        f"  channels: {channels}  # {why_channels}",
        *(
            ["  bit_depth: scale  # 16-bit images were found: scale to 8 bits, keep (with dtype: uint16) or refuse"]
            if deep
            else []
        ),
        _splits(source),
        "checks: {bad_fraction: 0.02, bad_fraction_per_class: 0.1}",
        "publish: {to: datasets/}",
    ]
    return "\n".join(parts) + "\n"


def _size(facts: list[HeaderFacts]) -> tuple[int, int, str]:
    sizes = Counter((one.rows, one.cols) for one in facts)
    if len(sizes) == 1:
        return *next(iter(sizes)), "every image has this size"
    rows, cols = [one.rows for one in facts], [one.cols for one in facts]
    return *MIXED_SIZE, f"{len(sizes)} sizes, rows {min(rows)} to {max(rows)}, cols {min(cols)} to {max(cols)}"


def _channels(facts: list[HeaderFacts]) -> tuple[int, str]:
    counts = Counter(one.channels for one in facts)
    found = ", ".join(f"{count:,} with {channels}" for channels, count in sorted(counts.items()))
    return (1 if set(counts) <= {1, 2} else 3), f"found: {found}"


def _splits(source: Path) -> str:
    folders = [path.name for path in source.iterdir() if path.is_dir() and not path.name.startswith(".")]
    if folders and all(name.lower() in SPLIT_NAMES for name in folders):
        return "splits: {from: folder}  # the first folders are named like splits"
    return "splits: {train: 0.8, validation: 0.1, test: 0.1, seed: 7}"


def _listed(codes: Counter[str]) -> str:
    return ": " + ", ".join(f"{count} {code}" for code, count in codes.most_common()) if codes else ""


def _dataset_name(source: Path) -> str:
    name = "".join(
        char if char.isascii() and (char.isalnum() or char in "._-") else "_" for char in source.resolve().name
    )
    return name.lstrip(".-") or "dataset"


def _relative(source: Path, folder: Path) -> str:
    try:
        return str(source.resolve().relative_to(folder.resolve()))
    except ValueError:
        return str(source.resolve())


def _yaml(plain: dict[str, object]) -> str:
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, default_flow_style=None).rstrip()
