"""Look at a source and write the recipe that fits it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml

from nhwc.flows.frozen_contract import FrozenContract
from nhwc.flows.inspect import probe_folder
from nhwc.flows.places import writes_into
from nhwc.flows.printable import printable
from nhwc.pipelines.image_recipe import ImageRecipe
from nhwc.pipelines.probe import HeaderFacts
from nhwc.pipelines.remote import is_url
from nhwc.pipelines.sources.folder import Folder
from nhwc.pipelines.sources.labels import Labelling, class_names, label_entries
from nhwc.validators.errors import RecipeError
from nhwc.validators.splits import SPLIT_NAMES

MIXED_SIZE = (224, 224)
"""Rows and cols proposed where the images have more than one size: what most pretrained models take."""


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """The text of a recipe, and of the contract that it freezes; no contract where there are no classes yet."""

    recipe: str
    contract: str | None


def propose_recipe(source: str | Path, *, recipe: Path, contract: Path) -> Proposal:
    """A recipe for a folder of images, with what was found as comments, and the contract inferred from it.

    Args:
        source: the folder.
        recipe: where the text will be written; paths in it are relative to there.
        contract: where the contract will be written, beside the recipe.

    Raises RecipeError where the source is no folder, has no image, or has a path that a recipe cannot name.
    """
    if is_url(source):
        raise RecipeError(str(source), ("found a URL, expected a folder on this machine: write the recipe yourself",))
    source = Path(source)
    if not source.is_dir():
        raise RecipeError(str(source), ("found no folder there, expected a folder of images",))
    facts, codes = probe_folder(source)
    if not facts:
        raise RecipeError(str(source), (f"found no image among {codes.total()} entries, expected a folder of images",))
    rows, cols, why_size = _size(facts)
    channels, why_channels = _channels(facts)
    name, in_splits = _dataset_name(source), _in_split_folders(source)
    classes = _classes(source, in_splits)
    checks: dict[str, object] = {"bad_fraction": 0.02, "bad_fraction_per_class": 0.1}
    if classes:
        checks["contract"] = contract.name
    deep = any(one.bit_depth == 16 for one in facts)
    parts = [
        f"# {len(facts):,} images found, {codes.total():,} other entries" + _listed(codes),
        yaml.safe_dump({"dataset": name}).rstrip(),
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
        *([] if classes else _WRITE_LABELS),
        "splits: {from: folder}  # the first folders are named like splits"
        if in_splits
        else "splits: {train: 0.8, validation: 0.1, test: 0.1, seed: 7}",
        *(["# what was found is frozen there: images and classes of later versions must keep it"] if classes else []),
        _yaml({"checks": checks}),
        _yaml({"publish": {"to": _place(source, recipe.parent, name)}}),
    ]
    image = ImageRecipe(rows=rows, cols=cols, channels=channels).contract
    frozen = FrozenContract(image=image, classes=classes).to_yaml() if classes else None
    return Proposal(recipe="\n".join(parts) + "\n", contract=frozen)


def _size(facts: list[HeaderFacts]) -> tuple[int, int, str]:
    sizes = Counter((one.rows, one.cols) for one in facts)
    if len(sizes) == 1:
        return *next(iter(sizes)), "every image has this size"
    rows, cols = [one.rows for one in facts], [one.cols for one in facts]
    return *MIXED_SIZE, f"{len(sizes)} sizes, rows {min(rows)} to {max(rows)}, cols {min(cols)} to {max(cols)}"


def _channels(facts: list[HeaderFacts]) -> tuple[Literal[1, 3], str]:
    counts = Counter(one.channels for one in facts)
    found = ", ".join(f"{count:,} with {channels}" for channels, count in sorted(counts.items()))
    return (1 if set(counts) <= {1, 2} else 3), f"found: {found}"


def _in_split_folders(source: Path) -> bool:
    folders = [path.name for path in source.iterdir() if path.is_dir() and not path.name.startswith(".")]
    return bool(folders) and all(name.lower() in SPLIT_NAMES for name in folders)


def _classes(source: Path, in_splits: bool) -> tuple[str, ...]:
    """The class names that its folders give."""
    labelling = Labelling(split_folders=in_splits)
    return class_names(label_entries(Folder(root=source).discover(), labelling), labelling)


_WRITE_LABELS = (
    "# no class folders found: write labels.csv, with columns path (relative to source.path, with /) and label",
    "labels: {from: file, file: labels.csv}",
)
"""What stands in the recipe where folders give no classes."""


def _place(source: Path, folder: Path, dataset: str) -> str:
    """The nearest place that is not in the source: datasets/ beside the recipe, or further up."""
    for up in range(len(folder.resolve().parts)):
        to = "../" * up + "datasets/"
        if not writes_into(source, to=folder / to, dataset=dataset):
            return to
    raise RecipeError(str(source), ("found no place above it to publish to, expected a folder that is not the root",))


def _listed(codes: Counter[str]) -> str:
    return ": " + ", ".join(f"{count} {code}" for code, count in codes.most_common()) if codes else ""


def _dataset_name(source: Path) -> str:
    name = "".join(
        char if char.isascii() and (char.isalnum() or char in "._-") else "_" for char in source.resolve().name
    )
    return name.lstrip(".-")[:100] or "dataset"


def _relative(source: Path, folder: Path) -> str:
    """The source as the recipe names it. Raises RecipeError where its name is not UTF-8, which YAML cannot write."""
    real, base = source.resolve(), folder.resolve()
    path = str(real.relative_to(base) if real.is_relative_to(base) else real)
    try:
        path.encode()
    except UnicodeEncodeError as error:
        raise RecipeError(printable(path), ("found a name that is not UTF-8: rename the folder",)) from error
    return f"./{path}" if path.startswith("~") else path


def _yaml(plain: dict[str, object]) -> str:
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, default_flow_style=None).rstrip()
