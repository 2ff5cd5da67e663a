"""COCO's annotations, `instances_*.json`: each box a sample of its category (format: cocodataset.org/#format-data)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from nhwc.pipelines.sources.container import damaged, split_named
from nhwc.pipelines.sources.crops import Box, CropSource


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

    def boxes(self) -> Iterator[Box]:
        """Every annotation that is no crowd."""
        images = {one["id"]: one for one in self._said["images"]}
        split = split_named(self.path.stem) or "train"
        for one in self._said["annotations"]:
            if one.get("iscrowd"):
                continue
            image = images.get(one["image_id"], {"file_name": "", "height": 0, "width": 0})
            left, top, width, height = map(float, one["bbox"])
            yield Box(
                name=f"{image['file_name'] or 'no image'}#{one['id']}",
                picture=str(image["file_name"]),
                size=(int(image["height"]), int(image["width"])),
                left=left,
                top=top,
                right=left + width,
                bottom=top + height,
                label=self._categories.get(one["category_id"]),
                split=split,
            )

    @cached_property
    def _categories(self) -> dict[int, str]:
        return {one["id"]: str(one["name"]) for one in sorted(self._said["categories"], key=lambda one: int(one["id"]))}

    @cached_property
    def _said(self) -> dict[str, Any]:
        """The file's content, all that is read of it there. Raises DataError where it is not."""
        try:
            said = json.loads(self.path.read_bytes())
            for one in said["images"]:
                _ = hash(one["id"]), str.encode(one["file_name"]), int(one["height"]), int(one["width"])
            for one in said["annotations"]:
                _left, _top, _width, _height = map(float, one["bbox"])
                _ = hash((one["id"], one["image_id"], one["category_id"]))
            for one in said["categories"]:
                _ = int(one["id"]), str.encode(one["name"])
        except (ValueError, LookupError, TypeError, ArithmeticError, AttributeError, RecursionError) as error:
            found = f"{type(error).__name__}: {str(error)[:200]}"
            expected = "JSON with images (id, file_name, height, width), annotations (bbox of 4) and categories"
            raise damaged(self.path, "annotations", expected=expected, found=found) from error
        return dict(said)
