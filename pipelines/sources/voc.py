"""Pascal VOC's folders: JPEGImages, Annotations and ImageSets; each object a sample (format: the VOC devkit)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from xml.etree import ElementTree

from nhwc.pipelines.sources.container import see_file
from nhwc.pipelines.sources.crops import Box, CropSource, NoBox
from nhwc.validators.errors import RecipeError
from nhwc.validators.splits import SPLIT_NAMES
from nhwc.validators.violation import Code


@dataclass(frozen=True, kw_only=True)
class Voc(CropSource):
    """The objects of a folder's annotations, split as ImageSets/Main/train.txt, val.txt and test.txt say.

    What those list and no annotation tells of is quarantined, and so are the objects of a picture that they give two
    splits.

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
        """Every object of every picture, or the one of a file that tells of none; and what is listed alone."""
        files = {file.stem: file for file in self.annotations if file.suffix == ".xml"}
        for name in self._listed.keys() - files.keys():
            said = {"expected": f"Annotations/{name}.xml, which a list of a split names", "found": "none"}
            yield NoBox(name=name, split=self._split_of(name), code=Code.MISSING_FILE, aspect="file", **said)
        for file in files.values():
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
                if len(lists := self._listed.get(file.stem, {})) > 1:
                    said = {"expected": "one", "found": ", ".join(f"{one}.txt" for one in sorted(lists.values()))}
                    yield NoBox(name=name, split=None, code=Code.CONFLICTING_LABEL, aspect="split", **said)
                    continue
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
            split=self._split_of(file.stem),
        )

    def _no_box(self, file: Path, name: str, expected: str, error: Exception) -> NoBox:
        found = f"{str(error)[:200]} in {file.name}"
        return NoBox(name=name, split=self._split_of(file.stem), expected=expected, found=found)

    def _split_of(self, picture: str) -> str | None:
        """The split that the lists give it, or train where there are none; None where they give it none, or two."""
        splits = self._listed.get(picture, {})
        return next(iter(splits)) if len(splits) == 1 else None if self._listed else "train"

    @cached_property
    def _listed(self) -> dict[str, dict[str, str]]:
        """By a picture's name without suffix, its splits, each with the list that gives it; empty without lists."""
        lists = {file.stem: file for file in self.annotations if file.suffix == ".txt"}
        listed: dict[str, dict[str, str]] = defaultdict(dict)
        for name, split in SPLIT_NAMES.items():
            if name in lists:
                text = lists[name].read_text(encoding="utf-8", errors="backslashreplace")
                for line in filter(str.strip, text.splitlines()):
                    listed[line.split()[0]][split] = name
        return dict(listed)


def _text(element: ElementTree.Element, path: str) -> str:
    """The text below. Raises ValueError where there is none."""
    text = (element.findtext(path) or "").strip()
    if not text:
        raise ValueError(f"no {path}")
    return text
