"""COCO's annotations, `instances_*.json`: each box a sample of its category (format: cocodataset.org/#format-data)."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from nhwc.pipelines.sources.container import damaged, split_named
from nhwc.pipelines.sources.crops import Box, CropSource, NoBox
from nhwc.validators.violation import Code

_WRONG = (ValueError, LookupError, TypeError, ArithmeticError, AttributeError)
"""What is raised by a part of the file that is not what it has to be: JSON may have anything anywhere."""


@dataclass(frozen=True, kw_only=True)
class _Picture:
    """One of `images`; size: (rows, cols)."""

    name: str
    size: tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Coco(CropSource):
    """The boxes of one file of annotations. Crowds (`iscrowd`) are no single thing, and left out.

    Args:
        path: of the annotations.
        images: the folder that their file names are relative to.
    """

    path: Path
    images: Path

    @property
    def pictures(self) -> Path:
        """The folder of pictures."""
        return self.images

    @property
    def annotations(self) -> Sequence[Path]:
        """The one file."""
        return [self.path]

    @property
    def classes(self) -> tuple[str, ...]:
        """The categories in the order of their ids."""
        return tuple(self._categories.values())

    def boxes(self) -> Iterator[Box | NoBox]:
        """Every annotation that is no crowd."""
        for place, one in enumerate(self._said["annotations"]):
            try:
                if not one.get("iscrowd"):
                    yield self._box(one)
            except _WRONG as error:
                name, expected = f"annotations[{place}]", "id, image_id, category_id and a bbox of 4 numbers"
                yield NoBox(name=name, split=self._split, expected=expected, found=_wrong(error))

    def _box(self, one: dict[str, Any]) -> Box:
        """Of one annotation. Raises one of _WRONG where it is none."""
        picture = self._images.get(one["image_id"], "none of images has it")
        if isinstance(picture, str):
            raise ValueError(f"image_id {one['image_id']!r:.100}: {picture}")
        left, top, width, height = map(float, one["bbox"])
        name = f"{picture.name}#{one['id']}"
        _ = name.encode()
        return Box(
            name=name,
            picture=picture.name,
            size=picture.size,
            left=left,
            top=top,
            right=left + width,
            bottom=top + height,
            label=self._categories.get(one["category_id"]),
            split=self._split,
        )

    @property
    def _split(self) -> str:
        return split_named(self.path.stem) or "train"

    @cached_property
    def _images(self) -> dict[Any, _Picture | str]:
        """Each picture by its id, or what is wrong with it. Raises DataError where two have one id."""
        images = list[tuple[Any, _Picture | str]]()
        for place, one in enumerate(self._said["images"]):
            with suppress(*_WRONG):  # what has no id is nobody's picture
                _ = hash(one["id"])
                images.append((one["id"], _picture(one, place)))
        if twice := _twice((number, one if isinstance(one, str) else one.name) for number, one in images):
            hint = "give each picture an id of its own"
            raise damaged(self.path, "images", expected="each id once", found=f"id {twice}", hint=hint)
        return dict(images)

    @cached_property
    def _categories(self) -> dict[Any, str]:
        """The name of each by its id, sorted by id. Raises DataError where two have one id, or one name."""
        by_id = [(one["id"], str(one["name"])) for one in self._said["categories"]]
        by_name = [(name, number) for number, name in by_id]
        for key, pairs in (("id", by_id), ("name", by_name)):
            if twice := _twice(pairs):
                said = {"expected": f"each {key} once", "found": f"{key} {twice}"}
                hint = "give each category an id and a name of its own"
                raise damaged(self.path, "categories", hint=hint, code=Code.CONFLICTING_LABEL, **said)
        return dict(sorted(by_id, key=lambda one: int(one[0])))

    @cached_property
    def _said(self) -> dict[str, Any]:
        """The file's content, its three parts and its categories there. Raises DataError where they are not."""
        try:
            said = json.loads(self.path.read_bytes())
            if not isinstance(said, dict):
                raise TypeError(f"{type(said).__name__} as a whole")
            for part in ("images", "annotations"):
                if not isinstance(said[part], list):
                    raise TypeError(f"{part} that is no list")
            for one in said["categories"]:
                if not isinstance(one, dict):
                    raise TypeError(f"{one!r:.100} among categories")
                _ = int(one["id"]), str.encode(one["name"])
        except (*_WRONG, RecursionError) as error:
            expected = "JSON with images (id, file_name, height, width), annotations (bbox of 4) and categories"
            raise damaged(self.path, "annotations", expected=expected, found=_wrong(error)) from error
        return dict(said)


def _twice(pairs: Iterable[tuple[Any, Any]]) -> str:
    """The first three of the keys that two have, each with whose it is, as `1 of 'cat' and 'dog'`; empty for none."""
    whose: dict[Any, list[Any]] = defaultdict(list)
    for key, other in pairs:
        whose[key].append(other)
    twice = {key: " and ".join(map(ascii, others[:3])) for key, others in whose.items() if len(others) > 1}
    return ", ".join(f"{key!a:.100} of {others:.200}" for key, others in list(twice.items())[:3])


def _picture(one: dict[str, Any], place: int) -> _Picture | str:
    """One of `images`, or what is wrong with it."""
    try:
        name, size = one["file_name"], (int(one["height"]), int(one["width"]))
        if not isinstance(name, str):
            raise TypeError(f"file_name {name!r:.100}")
        _ = name.encode()
        return _Picture(name=name, size=size)
    except _WRONG as error:
        return f"images[{place}]: {_wrong(error)}"


def _wrong(error: Exception) -> str:
    """What is wrong, in words."""
    return f"no {error}" if isinstance(error, KeyError) else str(error)[:200]
