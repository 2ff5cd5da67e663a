"""Datasets that TensorFlow Datasets prepared, read from their files as they are stored: nothing is decoded twice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from typing_extensions import override

from nhwc.pipelines.image_recipe import ImageRecipe
from nhwc.pipelines.probe import probe
from nhwc.pipelines.sources.array_record_file import ArrayRecordFile
from nhwc.pipelines.sources.container import listing_of
from nhwc.pipelines.sources.example import Features, image_bytes
from nhwc.pipelines.sources.example_files import BESIDE, ClassNames, ExampleSource, RecordFile
from nhwc.pipelines.sources.protocol import Listing
from nhwc.pipelines.sources.record_file import Breach, Record
from nhwc.pipelines.sources.tfds_spec import Asked, Spec, read_spec
from nhwc.pipelines.sources.tfrecord_file import tfrecord_at, tfrecords
from nhwc.validators.check import Found, compare
from nhwc.validators.errors import DataError, SampleRefused

OPEN_AT_ONCE = 8
"""ArrayRecord files that stay open, each with its index in memory."""


@dataclass(frozen=True, kw_only=True)
class Tfds(ExampleSource):
    """A prepared dataset of any TFDS builder, in TFRecord or ArrayRecord files.

    Args:
        path: its folder, with features.json and dataset_info.json.
        image_name: the image's feature; None: the one that supervised keys name, or the only Image.
        label: the label's feature; None: the one that supervised keys name, or the only ClassLabel, or none.
        splits: which of its splits are read, and as which; None: all, which must be named as ours are.
        recipe: what is asked of images.
    """

    path: Path
    image_name: str | None = None
    label: str | None = None
    splits: Mapping[str, str] | None = None
    recipe: ImageRecipe

    @cached_property
    def spec(self) -> Spec:
        """What the dataset says of itself. Raises as `read_spec` does."""
        asked = Asked(path=self.path, image=self.image_name, label=self.label, splits=self.splits, recipe=self.recipe)
        return read_spec(asked)

    @cached_property
    def _array_record(self) -> Any:
        """Opens a file, or gives one that is open."""
        return lru_cache(maxsize=OPEN_AT_ONCE)(ArrayRecordFile)

    @property
    @override
    def folder(self) -> Path:
        return self.path

    @property
    def most_bytes(self) -> int:
        """Of an encoded image."""
        return self.recipe.max_bytes

    @property
    @override
    def files(self) -> Sequence[RecordFile]:
        return self.spec.files

    @override
    def records(self, file: RecordFile) -> Iterator[Record]:
        most = self.most_bytes + BESIDE
        if self.spec.framing == "tfrecord":
            return tfrecords(file.path, most=most)
        return ArrayRecordFile(file.path).records(most=most)

    @override
    def record(self, file: Path, at: int) -> bytes:
        if self.spec.framing == "tfrecord":
            return tfrecord_at(file, at)
        try:
            content: bytes = self._array_record(file).record(at)
        except DataError as error:  # it was whole when it was discovered
            raise OSError(f"{file.name} is not whole any more") from error
        return content

    @override
    def image(self, features: Features) -> bytes:
        return image_bytes(features, self.spec.image, self.spec.raw, most=self.most_bytes)

    @override
    def image_feature(self, features: Features) -> str:
        return self.spec.image

    @override
    def label_features(self, features: Features) -> tuple[str | None, str | None]:
        return self.spec.label, None

    @override
    def class_names(self) -> ClassNames:
        return ClassNames(self.spec.classes)

    def see(self, image: bytes) -> None:
        """Raises Breach where an encoded image is not of the size and depth that its feature says."""
        if self.spec.raw is not None:
            return
        try:
            facts = probe(image)
        except SampleRefused:  # told where all images are probed
            return
        dtype = "uint16" if facts.bit_depth > 8 else "uint8"
        found = Found(sizes=(facts.rows, facts.cols, facts.channels), dtype=dtype)
        for violation in compare(self.spec.contract, found, stage="discover").violations:
            expected = f"{violation.expected}, as the feature {self.spec.image} says"
            raise Breach(violation.code, violation.aspect, expected=expected, found=violation.found)

    def listing(self) -> Listing:
        """Name, inode, size and times of all files in its folder."""
        return listing_of(file for file in sorted(self.path.iterdir()) if file.is_file())
