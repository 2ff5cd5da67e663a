"""Look at a source and write the recipe that fits it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml

from nhwc.flows.frozen_contract import FrozenContract
from nhwc.flows.inspect import probe_source
from nhwc.flows.places import writes_into
from nhwc.flows.printable import printable
from nhwc.flows.source_kind import source_kind
from nhwc.pipelines.image_recipe import ImageRecipe
from nhwc.pipelines.probe import HeaderFacts
from nhwc.pipelines.remote import is_url
from nhwc.pipelines.sources.labels import Labelling, class_names, label_entries
from nhwc.pipelines.sources.protocol import Discovery
from nhwc.validators.errors import RecipeError
from nhwc.validators.splits import SPLIT_NAMES

MIXED_SIZE = (224, 224)
"""Rows and cols proposed where the images have more than one size: what most pretrained models take."""


SMALL_GRAY, HOLDS_LITTLE = 64, {"low_information": 0.25, "low_bit_depth": 0.3}
"""Gray images of at most so many rows and cols are mostly drawings on an empty ground, as digits and Fashion-MNIST are.
By the thresholds for photographs a sixth of Fashion-MNIST would be warned of; by these none is, but what is empty."""


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """The text of a recipe, and of the contract that it freezes; no contract where there are no classes yet."""

    recipe: str
    contract: str | None


def propose_recipe(source: str | Path, *, recipe: Path, contract: Path) -> Proposal:
    """A recipe for a source, with what was found as comments, and the contract inferred from it.

    Args:
        source: a folder of images, or any other kind of source: what it is, its content tells.
        recipe: where the text will be written; paths in it are relative to there.
        contract: where the contract will be written, beside the recipe.

    Raises RecipeError where there is no source, or no image in it, or it has a path that a recipe cannot name;
    DataError where it is damaged.
    """
    if is_url(source):
        raise RecipeError(str(source), ("found a URL, expected a path on this machine: write the recipe yourself",))
    source = Path(source)
    if not source.exists():
        raise RecipeError(str(source), ("found nothing there, expected a folder of images, or a file of them",))
    found = _look(source)
    if not found.facts:
        number = found.codes.total()
        raise RecipeError(str(source), (f"found no image among {number} entries, expected {_EXPECTED}",))
    rows, cols, why_size = _size(found.facts)
    channels, why_channels = _channels(found.facts)
    name = _dataset_name(source)
    parts = [
        f"# {len(found.facts):,} images found, {found.codes.total():,} other entries" + _listed(found.codes),
        yaml.safe_dump({"dataset": name}).rstrip(),
        _yaml({"source": {"kind": found.kind, "path": _relative(source, recipe.parent)}}),
        "image:",
        f"  rows: {rows}  # {why_size}",
        f"  cols: {cols}",
        f"  channels: {channels}  # {why_channels}",
        *_depths(found.facts),
        *_labels(found, contract.name),
        *_splits(found),
        *_checks(found, contract.name),
        _yaml({"publish": {"to": _place(source, recipe.parent, name)}}),
    ]
    image = ImageRecipe(rows=rows, cols=cols, channels=channels).contract
    frozen = FrozenContract(image=image, classes=found.classes).to_yaml() if found.classes else None
    return Proposal(recipe="\n".join(parts) + "\n", contract=frozen)


_EXPECTED = "a folder of images, or a file of them"


@dataclass(frozen=True, kw_only=True)
class _Look:
    """What a source has.

    Args:
        kind: of source.
        facts: the header of every image.
        codes: how many entries have each code that keeps them out.
        classes: the class names, if it has any.
        own_labels: labels are the source's, not its folders'.
        numbered: they are numbers.
        in_splits: its first folders are named like splits.
        splits: of those that it gives itself, how many images each has.
    """

    kind: str
    facts: list[HeaderFacts]
    codes: Counter[str]
    classes: tuple[str, ...]
    own_labels: bool
    numbered: bool
    in_splits: bool
    splits: Counter[str]


def _look(path: Path) -> _Look:
    model = source_kind(path)
    source = model.source(Path(), ImageRecipe(rows=1, cols=1))
    discovery = source.discover()
    facts, codes = probe_source(source, discovery)
    in_splits = not model.own_labels and _in_split_folders(discovery)
    labelling = Labelling(split_folders=in_splits, given=model.own_labels)
    entries = label_entries(discovery, labelling)
    return _Look(
        kind=model.kind,
        facts=facts,
        codes=codes,
        classes=class_names(entries, labelling, discovery),
        own_labels=model.own_labels,
        numbered=discovery.numbered,
        in_splits=in_splits,
        splits=Counter(entry.split for entry in discovery.entries if entry.split is not None),
    )


def _depths(facts: list[HeaderFacts]) -> Iterator[str]:
    if any(one.mode.startswith("float") for one in facts):
        yield "  float_range: [0, 1]  # floats were found: the lowest and the highest value that they may have"
    elif any(one.bit_depth == 16 for one in facts):
        choices = "scale to 8 bits, keep (with dtype: uint16) or refuse"
        yield f"  bit_depth: scale  # 16-bit images were found: {choices}"


def _labels(found: _Look, contract: str) -> Iterator[str]:
    if not found.classes:
        yield from _WRITE_LABELS
    elif found.numbered:
        yield f"# labels are {len(found.classes)} numbers: labels: {{classes: [...]}} names them in their order;"
        yield f"# write the same names into {contract}, which holds the numbers"


def _splits(found: _Look) -> Iterator[str]:
    if found.in_splits:
        yield "splits: {from: folder}  # the first folders are named like splits"
    elif len(found.splits) > 1:
        counted = ", ".join(f"{split} {count:,}" for split, count in sorted(found.splits.items()))
        yield f"splits: {{from: source}}  # {counted}"
    else:
        yield "splits: {train: 0.8, validation: 0.1, test: 0.1, seed: 7}"


def _checks(found: _Look, contract: str) -> Iterator[str]:
    checks: dict[str, object] = {"bad_fraction": 0.02, "bad_fraction_per_class": 0.1}
    if found.classes:
        checks["contract"] = contract
        yield "# what was found is frozen there: images and classes of later versions must keep it"
    if all(one.channels <= 2 and max(one.rows, one.cols) <= SMALL_GRAY for one in found.facts):
        checks["thresholds"] = HOLDS_LITTLE
        yield "# small gray images hold less than the photographs that thresholds are made for"
    yield _yaml({"checks": checks})


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


def _in_split_folders(discovery: Discovery) -> bool:
    """Whether the first folders, hidden ones aside, are all named like splits."""
    folders = {folder.split("/")[0] for folder in discovery.folders if not folder.startswith(".")}
    return bool(folders) and all(name.lower() in SPLIT_NAMES for name in folders)


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
