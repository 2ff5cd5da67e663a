"""The recipe's `source:` part of pictures with boxes drawn on them: each box a sample."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from nhwc.flows.recipe_part import PathText
from nhwc.flows.source_recipes.kind import AtPath
from nhwc.pipelines.image_recipe import ImageRecipe
from nhwc.pipelines.remote import is_url
from nhwc.pipelines.sources.coco import Coco
from nhwc.pipelines.sources.protocol import Source
from nhwc.pipelines.sources.voc import Voc


class CocoRecipe(AtPath):
    """COCO's annotations as crops.

    Args:
        path: the annotations, instances_*.json.
        images: the folder of its pictures.
    """

    kind: Literal["coco"]
    images: PathText

    def wrong_place(self, base: Path) -> str | None:
        """As above."""
        if not is_url(self.path) and not (base / self.path).is_file():
            return f"source.path: found {self.path!r}, which is no file, expected COCO's annotations, a .json"
        if is_url(self.images) or not (base / self.images).is_dir():
            return f"source.images: found {self.images!r}, which is no folder, expected that of the pictures"
        return super().wrong_place(base)

    def source(self, base: Path, image: ImageRecipe) -> Source:
        """As above."""
        return Coco(path=base / self.path, images=base / self.images)


class VocRecipe(AtPath):
    """Pascal VOC's annotations as crops.

    Args:
        path: the folder that has JPEGImages and Annotations.
    """

    kind: Literal["voc"]

    def wrong_place(self, base: Path) -> str | None:
        """As above."""
        if not is_url(self.path) and not (base / self.path / "JPEGImages").is_dir():
            return f"source.path: found {self.path!r}, which has no JPEGImages/, expected Pascal VOC's folder"
        return super().wrong_place(base)

    def source(self, base: Path, image: ImageRecipe) -> Source:
        """As above."""
        return Voc(path=base / self.path)
