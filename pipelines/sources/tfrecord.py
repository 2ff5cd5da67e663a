"""TFRecord files of tf.train.Examples that no catalogue describes: which features to read, the recipe says."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from typing_extensions import override

from nhwc.pipelines.sources.container import listing_of, split_named
from nhwc.pipelines.sources.example import Features, Raw, image_bytes, names_of
from nhwc.pipelines.sources.example_files import BESIDE, ExampleSource, RecordFile, Seen
from nhwc.pipelines.sources.protocol import Entry, Listing, refused
from nhwc.pipelines.sources.record_file import Record
from nhwc.pipelines.sources.tfrecord_file import tfrecord_at, tfrecords
from nhwc.validators.errors import RecipeError
from nhwc.validators.violation import Code

IMAGE_FEATURES = ("image/encoded", "image", "image_raw")
"""Of which the first that an Example has is its image, where the recipe names none."""

LABEL_FEATURES = ("image/class/label", "label")
"""Of which the first that an Example has is its label, where the recipe names none."""

_NAME = re.compile(r"\.tfrecords?($|[-._])|-\d{5}-of-\d{5}$", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class TfRecord(ExampleSource):
    """One TFRecord file, or those of a folder at any depth: x.tfrecord, x.tfrecords, x-00000-of-00002 and the like.

    The split of a sample is what its file's path names, else train.

    Args:
        path: a file or a folder.
        image: the image's feature; None: as in IMAGE_FEATURES.
        label: the label's feature, whole numbers or text; None: as in LABEL_FEATURES.
        class_name: the feature that holds the name of the class; labels, if there are any, are then its numbers.
        raw: how images are stored that are arrays; None: they are encoded.
        most_bytes: of an image.
    """

    path: Path
    image_name: str | None = None
    label: str | None = None
    class_name: str | None = None
    raw: Raw | None = None
    most_bytes: int

    @property
    @override
    def folder(self) -> Path:
        return self.path if self.path.is_dir() else self.path.parent

    @cached_property
    def _found(self) -> list[Path]:
        """Files, and links, with such a name, or the one file, sorted."""
        if not self.path.is_dir():
            return [self.path]
        found = (file for file in self.path.rglob("*") if _NAME.search(file.name) and not file.is_dir())
        return sorted(file for file in found if not any(part.startswith(".") for part in self._parts(file)))

    def _parts(self, file: Path) -> tuple[str, ...]:
        return file.relative_to(self.folder).parts

    @property
    def files(self) -> Sequence[RecordFile]:
        """As above; links in a folder are not among them."""
        files = [file for file in self._found if file.is_file() and (file == self.path or not file.is_symlink())]
        if not files:
            expected = "expected files named like train.tfrecord or train.tfrecord-00000-of-00002, or the path of one"
            raise RecipeError("source.path", (f"found no TFRecord file in {self.path}, {expected}",))
        names = ["/".join(self._parts(file)) for file in files]
        return [
            RecordFile(path=file, name=name, split=split_named(name) or "train")
            for file, name in zip(files, names, strict=True)
        ]

    def beside(self) -> Sequence[Entry]:
        """Links, and what is no file: none is read."""
        read = {file.path for file in self.files}
        others = [file for file in self._found if file not in read]
        return [
            refused(
                Entry(name="/".join(self._parts(file))), "skipped",
                Code.LINK if file.is_symlink() else Code.SPECIAL_FILE,
                aspect="kind", expected="a file", found="a link" if file.is_symlink() else "something else",
            )
            for file in others
        ]  # fmt: skip

    @override
    def records(self, file: RecordFile) -> Iterator[Record]:
        return tfrecords(file.path, most=self.most_bytes + BESIDE)

    @override
    def record(self, file: Path, at: int) -> bytes:
        return tfrecord_at(file, at)

    @override
    def image(self, features: Features) -> bytes:
        return image_bytes(features, self.image_feature(features), self.raw, most=self.most_bytes)

    @override
    def image_feature(self, features: Features) -> str:
        return self.image_name or _first(IMAGE_FEATURES, features)

    @override
    def label_features(self, features: Features) -> tuple[str | None, str | None]:
        return self.label or _first(LABEL_FEATURES, features), self.class_name

    def judge(self, seen: Seen) -> None:
        """Raises RecipeError where not one Example has the feature of the image, or that of a label that is named."""
        if not seen.examples:
            return
        have = f"expected one of theirs: {names_of(seen.features)}"
        problems = []
        if not seen.images:
            asked = repr(self.image_name) if self.image_name else " or ".join(map(repr, IMAGE_FEATURES))
            problems.append(f"image: found no feature {asked} in {seen.examples:,} records, {have}")
        for key, name, count in (("label", self.label, seen.labels), ("class_name", self.class_name, seen.names)):
            if name and not count:
                problems.append(f"{key}: found no feature {name!r} in {seen.examples:,} records, {have}")
        if problems:
            raise RecipeError("source", tuple(problems))

    def listing(self) -> Listing:
        """Name, inode, size and times of its files."""
        return listing_of(file.path for file in self.files)


def _first(names: Sequence[str], features: Features) -> str:
    return next((name for name in names if name in features), names[0])
