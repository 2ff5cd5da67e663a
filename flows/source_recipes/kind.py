"""What all kinds of sources answer, whatever their keys are."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from nhwc.flows.recipe_part import Part, PathText
from nhwc.pipelines.image_recipe import ImageRecipe
from nhwc.pipelines.remote import is_url
from nhwc.pipelines.sources.protocol import Source


class Kind(Part):
    """What all kinds of sources answer.

    Args:
        kind: which kind of source it is; a folder where none is named.
    """

    own_labels: ClassVar[bool] = True
    """The source says the label of each sample, and the split where it knows one; else folders or a file do."""

    kind: str

    @property
    def place(self) -> str:
        """The path, relative to the recipe, or the URL that the source is read from."""
        raise NotImplementedError

    def wrong_place(self, base: Path) -> str | None:
        """What is wrong with the place, as `key: found ..., expected ...`."""
        raise NotImplementedError

    def prepare(self, base: Path) -> None:
        """Write what has to be there before it can be read, where the recipe says so. Raises as a run does."""

    def source(self, base: Path, image: ImageRecipe) -> Source:
        """The source itself.

        Args:
            base: what paths are relative to.
            image: what is asked of its images; of a file that is larger than that allows no more need be read.
        """
        raise NotImplementedError


class AtPath(Kind):
    """A source that is at one path, where something has to be.

    Args:
        path: where it lies: a path relative to the recipe.
    """

    path: PathText

    @property
    def place(self) -> str:
        """As above."""
        return self.path

    def no_path(self) -> str | None:
        """That the place is a URL, where none is read."""
        if not is_url(self.place):
            return None
        return f"source.path: found {self.place!r}, expected a path on this machine: only folders are read by URL"

    def wrong_place(self, base: Path) -> str | None:
        """As above."""
        if wrong := self.no_path():
            return wrong
        if not (base / self.place).exists():
            return f"source.path: found {self.place!r}, where there is nothing, expected a file or a folder"
        if not ((base / self.place).is_file() or (base / self.place).is_dir()):
            return f"source.path: found {self.place!r}, which is neither, expected a file or a folder"
        return None


def no_file(key: str, path: str, base: Path, expected: str) -> str | None:
    """That there is no file at a path, as `key: found ..., expected ...`."""
    is_there = (base / path).is_file()
    return None if is_there else f"{key}: found {path!r}, which is no file, expected {expected}"


def no_folder(key: str, path: str, base: Path, expected: str) -> str | None:
    """The same of a folder."""
    is_there = (base / path).is_dir()
    return None if is_there else f"{key}: found {path!r}, which is no folder, expected {expected}"
