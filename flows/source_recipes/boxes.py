"""The recipe's `source:` part of pictures with boxes drawn on them: each box a sample."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from typing_extensions import override

from nhwc.flows.recipe_part import PathText
from nhwc.flows.source_recipes.kind import AtPath, no_file, no_folder
from nhwc.pipelines.image_recipe import ImageRecipe
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

    @override
    def wrong_place(self, base: Path) -> str | None:
        wrong = self.no_path() or no_file("source.path", self.path, base, "COCO's annotations, a .json")
        return wrong or no_folder("source.images", self.images, base, "that of the pictures")

    @override
    def source(self, base: Path, image: ImageRecipe) -> Source:
        return Coco(path=base / self.path, images=base / self.images)


class VocRecipe(AtPath):
    """Pascal VOC's annotations as crops.

    Args:
        path: the folder that has JPEGImages and Annotations.
    """

    kind: Literal["voc"]

    @override
    def wrong_place(self, base: Path) -> str | None:
        if wrong := self.no_path():
            return wrong
        if not (base / self.path / "JPEGImages").is_dir():
            return f"source.path: found {self.path!r}, which has no JPEGImages/, expected Pascal VOC's folder"
        return None

    @override
    def source(self, base: Path, image: ImageRecipe) -> Source:
        return Voc(path=base / self.path)
