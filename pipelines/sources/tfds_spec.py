"""What a dataset that TFDS prepared says of itself: features, classes, splits and files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tensorflow_datasets as tfds

from nhwc.pipelines.image_recipe import ImageRecipe
from nhwc.pipelines.npy import DEPTHS
from nhwc.pipelines.sources.container import damaged
from nhwc.pipelines.sources.example import Raw, shape_text
from nhwc.pipelines.sources.example_files import RecordFile
from nhwc.pipelines.sources.tfds_place import FEATURES, INFO
from nhwc.validators.contract import TensorContract, image_contract
from nhwc.validators.errors import MachineError, RecipeError
from nhwc.validators.splits import SPLIT_NAMES

Framing = Literal["tfrecord", "array_record"]

_FRAMINGS: dict[str | None, Framing] = {"tfrecord": "tfrecord", "array_record": "array_record"}
"""By the name of TFDS's file format."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a recipe says of a dataset.

    Args:
        path: the folder of the prepared dataset, that of its version.
        image, label: the names of the features; None: as the dataset's supervised keys say, or the only ones.
        splits: which of its splits are read, and as which of train, validation and test; None: all, by their names.
        recipe: what is asked of images.
    """

    path: Path
    image: str | None
    label: str | None
    splits: Mapping[str, str] | None
    recipe: ImageRecipe


@dataclass(frozen=True, kw_only=True)
class Spec:
    """What is read of a dataset, and how.

    Args:
        framing: of its files.
        files: of the splits that are read.
        image: the name of the image's feature.
        raw: how it is stored where it is a tensor; None: it is an encoded image.
        contract: what an encoded image must be, as far as its feature says.
        label: the name of the label's feature; None: there is none.
        classes: the names of the classes, where the feature has them.
    """

    framing: Framing
    files: tuple[RecordFile, ...]
    image: str
    raw: Raw | None
    contract: TensorContract
    label: str | None
    classes: tuple[str, ...] | None


def read_spec(asked: Asked) -> Spec:
    """What the dataset says of itself, held against what is asked.

    Raises DataError where what it says cannot be read or a file is missing, and RecipeError with everything that is
    asked and is not there, or cannot be.
    """
    info = _info(asked.path)
    features = dict(sorted(_flat(info.features, ""), key=itemgetter(0)))
    problems: list[str] = []
    image = _image_name(asked.image, features, _key(info, 0), problems)
    label = _label_name(asked.label, features, _key(info, 1), problems)
    splits = _splits(asked.splits, list(info.splits), problems)
    framing = _FRAMINGS.get(getattr(info.file_format, "value", None))
    if framing is None:
        problems.append(f"source: found files of {info.file_format}, expected {' or '.join(_FRAMINGS.values())}")
    if image is not None:
        problems += _unfit(image, features[image], asked.recipe)
    if image is None or framing is None or problems:
        raise RecipeError(str(asked.path), tuple(problems))
    return Spec(
        framing=framing,
        files=tuple(file for name, split in splits.items() for file in _files(asked.path, info.splits[name], split)),
        image=image,
        raw=_raw(features[image]),
        contract=_contract(features[image]),
        label=label,
        classes=None if label is None else _classes(features[label]),
    )


def _info(folder: Path) -> Any:
    """Its DatasetInfo."""
    for name in (FEATURES, INFO):
        try:
            told = json.loads((folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            MachineError.see(error, folder / name)
            raise damaged(folder / name, "description", expected="what TFDS writes", found=str(error)) from error
        for strange in _foreign(told):
            expected = "features of tensorflow_datasets itself: others are code that would be imported"
            raise damaged(folder / name, "features", expected=expected, found=repr(strange))
    try:
        info = tfds.builder_from_directory(str(folder)).info
        for split in info.splits.values():
            split.filepaths  # noqa: B018  read when asked for
    except Exception as error:  # whatever TFDS raises of what it cannot read
        found = f"{type(error).__name__}: {error}".splitlines()[0]
        raise damaged(folder, "description", expected="what TFDS writes", found=found) from error
    if not isinstance(info.features, tfds.features.FeaturesDict):
        found = type(info.features).__name__
        raise damaged(folder / FEATURES, "features", expected="a dict of features", found=found)
    return info


def _foreign(told: Any) -> Iterator[str]:
    """The classes of features that TFDS would import from elsewhere: reading a dataset runs no code of its own."""
    parts = told.items() if isinstance(told, dict) else enumerate(told) if isinstance(told, list) else ()
    for key, part in parts:
        if key in ("pythonClassName", "python_class_name", "type", "proto_cls") and isinstance(part, str):
            if not part.startswith(("tensorflow_datasets.", "tensorflow.")):
                yield part
        else:
            yield from _foreign(part)


def _flat(features: Any, above: str) -> Iterator[tuple[str, Any]]:
    """Every feature that is no dict of others, by the name that it has in an Example."""
    for name, feature in features.items():
        if isinstance(feature, tfds.features.FeaturesDict):
            yield from _flat(feature, f"{above}{name}/")
        else:
            yield f"{above}{name}", feature


def _key(info: Any, place: int) -> str | None:
    """The name of the input, or of the target, of who learns from it in the usual way."""
    keys = info.supervised_keys
    return keys[place] if keys is not None and isinstance(keys[place], str) else None


def _image_name(asked: str | None, features: Mapping[str, Any], key: str | None, problems: list[str]) -> str | None:
    usable = [name for name, feature in features.items() if _is_image(feature)]
    encoded = [name for name in usable if type(features[name]) is tfds.features.Image]
    name = _chosen("image", asked, usable, [key] if key in usable else encoded, problems)
    if name is None and asked is None:
        found = f"found {_listed(encoded)}" if encoded else "found no feature that is an image by itself"
        problems.append(f"source.image: {found}: name one, {_one_of(usable, features)}")
    return name


def _label_name(asked: str | None, features: Mapping[str, Any], key: str | None, problems: list[str]) -> str | None:
    usable = [name for name, feature in features.items() if _is_label(feature)]
    classes = [name for name in usable if isinstance(features[name], tfds.features.ClassLabel)]
    name = _chosen("label", asked, usable, [key] if key in usable else classes, problems)
    if name is None and asked is None and classes:
        problems.append(f"source.label: found {_listed(classes)}: name one, {_one_of(usable, features)}")
    return name


def _chosen(
    what: str, asked: str | None, usable: Sequence[str], likely: Sequence[str | None], problems: list[str]
) -> str | None:
    """What is asked for, or else the only likely one."""
    if asked is None:
        return likely[0] if len(likely) == 1 else None
    if asked in usable:
        return asked
    problems.append(f"source.{what}: found {asked!r}, expected one of {_listed(usable) or 'none: there is no such'}")
    return None


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)


def _one_of(usable: Sequence[str], features: Mapping[str, Any]) -> str:
    return f"expected one of {_listed(usable)}" if usable else f"but there is none among {_listed(list(features))}"


def _is_image(feature: Any) -> bool:
    if isinstance(feature, tfds.features.Image):
        return True
    is_array = isinstance(feature, tfds.features.Tensor) and not isinstance(feature, tfds.features.Text)
    return is_array and len(feature.shape) in (2, 3)


def _is_label(feature: Any) -> bool:
    if isinstance(feature, tfds.features.ClassLabel | tfds.features.Text):
        return True
    is_scalar = isinstance(feature, tfds.features.Tensor) and feature.shape == ()
    return is_scalar and np.issubdtype(feature.np_dtype, np.integer)


def _splits(asked: Mapping[str, str] | None, there: Sequence[str], problems: list[str]) -> dict[str, str]:
    """Which of its splits are read, and as which of ours."""
    if asked is not None:
        if unknown := sorted(set(asked) - set(there)):
            problems.append(f"source.splits: found {_listed(unknown)}, expected splits of it: {_listed(there)}")
        return dict(asked)
    if unnamed := [name for name in there if name.lower() not in SPLIT_NAMES]:
        as_ours = ", ".join(f"{name}: {SPLIT_NAMES.get(name.lower(), 'train')}" for name in there)
        found = f"found {_listed(unnamed)} in the dataset, which is none of train, validation and test"
        problems.append(
            f"source.splits: {found}: say as which each is read, as {{{as_ours}}}; a split left out is not read"
        )
        return {}
    return {name: SPLIT_NAMES[name.lower()] for name in there}


def _files(folder: Path, split: Any, name: str) -> Iterator[RecordFile]:
    """The files of a split, which must be there, and be the dataset's own."""
    for file, promised in zip(map(Path, split.filepaths), split.shard_lengths, strict=True):
        if not file.resolve().is_relative_to(folder.resolve()):
            raise damaged(file, "file", expected="a file in the dataset's folder", found="one outside of it")
        if file.is_file():
            relative = file.relative_to(folder).as_posix()
            yield RecordFile(path=file, name=relative, split=name, promised=int(promised))
        elif promised:
            expected = f"a file of {promised:,} records"
            raise damaged(file, "file", expected=expected, found="nothing", hint="prepare the dataset again")


def _unfit(name: str, feature: Any, recipe: ImageRecipe) -> Iterator[str]:
    """What the recipe's image part forbids, or does not say, of every image that there can be."""
    shape, dtype = feature.shape, np.dtype(feature.np_dtype).name
    of_it = f"the dataset's {name} is {dtype} {shape_text(shape)}"
    if any(size is not None and size < 1 for size in shape):
        yield f"source.image: {of_it}, expected sizes of at least 1"
        return
    is_encoded = isinstance(feature, tfds.features.Image)
    format = feature.encoding_format if is_encoded else "npy"
    if is_encoded and dtype == "float32":
        yield f"source.image: {of_it}, which TFDS stores as a picture of its bytes, expected uint8 or uint16"
        return
    if dtype not in DEPTHS:
        yield f"source.image: {of_it}, expected values of {', '.join(DEPTHS)}"
        return
    if format is not None and format not in recipe.formats:
        yield f"image.formats: found {', '.join(recipe.formats)}, but {of_it}, stored as {format}: add {format}"
    if dtype.startswith("float") and recipe.float_range is None:
        yield f"image.float_range: missing, but {of_it}: say its lowest and highest value, as [0, 1]"
    if dtype == "uint16" and recipe.bit_depth == "refuse":
        yield f"image.bit_depth: found refuse, but {of_it}: set scale or keep"
    if len(shape) == 3 and shape[2] == 4 and recipe.alpha == "refuse":
        yield f"image.alpha: found refuse, but {of_it}, with an alpha channel: set white or black"
    if None not in shape[:2] and shape[0] * shape[1] > recipe.max_pixels:
        yield f"image.max_pixels: found {recipe.max_pixels:,}, but {of_it}: raise it"


def _raw(feature: Any) -> Raw | None:
    if isinstance(feature, tfds.features.Image):
        return None
    packed = feature.to_json_content().encoding == "zlib"
    return Raw(shape=tuple(feature.shape), dtype=np.dtype(feature.np_dtype).name, packed=packed)


def _contract(feature: Any) -> TensorContract:
    """What the feature says of a stored image. Of channels only where it says everything: TFDS converts the others."""
    rows, cols, channels = (*feature.shape, None)[:3]
    dtype = np.dtype(feature.np_dtype).name
    return image_contract(
        rows=rows,
        cols=cols,
        channels=channels if None not in (rows, cols) else None,
        dtype=("uint8", "uint16") if dtype == "uint16" else dtype,
        value_range=None,
    )


def _classes(feature: Any) -> tuple[str, ...] | None:
    is_class = isinstance(feature, tfds.features.ClassLabel) and feature.num_classes is not None
    return tuple(feature.names) if is_class else None
