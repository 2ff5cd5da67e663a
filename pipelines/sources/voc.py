"""Pascal VOC's folders: JPEGImages, Annotations and ImageSets; each object a sample (format: the VOC devkit)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from xml.etree import ElementTree

from nhwc.pipelines.sources.container import see_file
from nhwc.pipelines.sources.crops import Box, CropSource, NoBox
from nhwc.validators.errors import RecipeError
from nhwc.validators.splits import SPLIT_NAMES


@dataclass(frozen=True, kw_only=True)
class Voc(CropSource):
    """The objects of a folder's annotations, split as ImageSets/Main/train.txt, val.txt and test.txt say.

    Args:
        path: the folder that has Annotations and JPEGImages.
    """

    path: Path

    @property
    def pictures(self) -> Path:
        """The folder of pictures."""
        return self.path / "JPEGImages"

    @cached_property
    def annotations(self) -> Sequence[Path]:
        """A file a picture, and the lists of splits. Raises RecipeError where there is none."""
        found = sorted((self.path / "Annotations").glob("*.xml"))
        if not found:
            expected = "expected a folder with JPEGImages/ and Annotations/*.xml"
            raise RecipeError("source.path", (f"found no Annotations/*.xml in {self.path}, {expected}",))
        return list(map(see_file, [*found, *sorted((self.path / "ImageSets" / "Main").glob("*.txt"))]))

    @property
    def classes(self) -> tuple[str, ...]:
        """None: names alone, which are sorted."""
        return ()

    def boxes(self) -> Iterator[Box | NoBox]:
        """Every object of every picture, or the one of a file that tells of none."""
        for file in self.annotations:
            if file.suffix != ".xml":
                continue
            try:
                root = ElementTree.fromstring(file.read_bytes())
                picture, size = (
                    _text(root, "filename"),
                    (int(_text(root, "size/height")), int(_text(root, "size/width"))),
                )
            except (ElementTree.ParseError, ValueError) as error:
                yield self._no_box(file, file.stem, "XML with filename, size and objects", error)
                continue
            for number, one in enumerate(root.iter("object")):
                name = f"{file.stem}#{number}"
                try:
                    yield self._box(file, one, name=name, picture=picture, size=size)
                except ValueError as error:
                    yield self._no_box(file, name, "an object with name and bndbox", error)

    def _box(self, file: Path, one: ElementTree.Element, *, name: str, picture: str, size: tuple[int, int]) -> Box:
        """Of one object. Raises ValueError where it is none."""
        left, top, right, bottom = (float(_text(one, f"bndbox/{edge}")) for edge in ("xmin", "ymin", "xmax", "ymax"))
        return Box(
            name=name,
            picture=picture,
            size=size,
            left=left - 1,  # VOC counts pixels from 1, and the last one belongs to the box
            top=top - 1,
            right=right,
            bottom=bottom,
            label=_text(one, "name"),
            split=self._split_of(file),
        )

    def _no_box(self, file: Path, name: str, expected: str, error: Exception) -> NoBox:
        found = f"{str(error)[:200]} in {file.name}"
        return NoBox(name=name, split=self._split_of(file), expected=expected, found=found)

    def _split_of(self, file: Path) -> str | None:
        return self._splits.get(file.stem, None if self._splits else "train")

    @cached_property
    def _splits(self) -> dict[str, str]:
        """The split of each picture, by its name without suffix; empty where there are no lists."""
        lists = {file.stem: file for file in self.annotations if file.suffix == ".txt"}
        return {
            line.split()[0]: split
            for name, split in SPLIT_NAMES.items()
            if name in lists
            for line in lists[name].read_text(encoding="utf-8", errors="backslashreplace").splitlines()
            if line.strip()
        }


def _text(element: ElementTree.Element, path: str) -> str:
    """The text below. Raises ValueError where there is none."""
    text = (element.findtext(path) or "").strip()
    if not text:
        raise ValueError(f"no {path}")
    return text
