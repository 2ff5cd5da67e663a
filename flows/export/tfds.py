"""A directory that `tfds.builder_from_directory` opens: files of examples, and TFDS's own metadata."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import tensorflow as tf
import tensorflow_datasets as tfds
from array_record.python.array_record_module import ArrayRecordWriter

from nhwc.flows.durable import write_durably
from nhwc.flows.export.form import Array, Content, Encoded, Part, Sample, png
from nhwc.flows.export.tfrecord import example, record_writer

_OPTIONS = "group_size:1,uncompressed"
"""Of ArrayRecord: each record can be reached by itself; PNG cannot be compressed further."""


@dataclass(frozen=True)
class Tfds:
    """`<name>-<split>.<file format>-00000-of-00002`, which is tfrecord or array_record.

    8-bit gray and RGB images are `Image` features of PNG; all others are `Tensor`, since TFDS's readers make other
    pixels of such PNG, and not the same ones.
    """

    libraries: ClassVar[tuple[str, ...]] = ("pillow", "tensorflow-datasets", "array-record")
    content: Content
    file_format: str

    @property
    def name(self) -> str:
        """With the file format."""
        return f"tfds ({self.file_format})"

    @property
    def is_image(self) -> bool:
        """Whether images are of the feature `Image`."""
        return self.content.is_png and self.content.contract.sizes[-1] in (1, 3)

    def problems(self) -> list[str]:
        """Class names that TFDS does not read back from the lines of its text file."""
        lost = [name for name in self.content.classes if "\n" in name or "\r" in name or name != name.strip()]
        if not lost:
            return []
        found = f"found {', '.join(map(repr, lost[:5]))}"
        return [f"classes: {found}, which TFDS reads back otherwise: rename the class, or export to another form"]

    def encoded(self, image: Array) -> bytes:
        """PNG, or the values as they lie in memory."""
        return png(image) if self.is_image else image.tobytes()

    def write(self, part: Part, samples: Iterable[Encoded], folder: Path) -> Sequence[Path]:
        """One file, in which each record is one sample."""
        template = self._template(folder).replace(split=part.split)
        path = Path(template.sharded_filepath(shard_index=part.number, num_shards=part.count))

        def write(unfinished: Path) -> None:
            opened = tf.io.TFRecordWriter if self.file_format == "tfrecord" else _array_record_writer
            with record_writer(unfinished, opened) as write_record:
                for sample, image in samples:
                    write_record(_example(sample, image))

        write_durably(path, write)
        return [path]

    def finish(self, parts: Sequence[Part], folder: Path, sums: Mapping[str, str]) -> None:
        """Write what TFDS has to know of features, splits and their files."""
        template = self._template(folder)
        tfds.folder_dataset.write_metadata(
            data_dir=folder,
            features=self._features(),
            split_infos=[self._split(name, parts, template) for name in self.content.splits],
            version=self.content.number,
            filename_template=template,
            check_data=False,
            supervised_keys=("image", "label"),
            metadata=tfds.core.MetadataDict(dataset=self.content.dataset),
            disable_shuffling=True,
        )

    def _features(self) -> tfds.features.FeaturesDict:
        sizes = self.content.contract.sizes
        image = (
            tfds.features.Image(shape=sizes, encoding_format="png")
            if self.is_image
            else tfds.features.Tensor(shape=sizes, dtype=self.content.dtype, encoding="bytes")
        )
        return tfds.features.FeaturesDict(
            {
                "image": image,
                "label": tfds.features.ClassLabel(names=self.content.classes),
                "path": tfds.features.Text(),
                "sample_id": tfds.features.Text(),
            }
        )

    def _split(self, name: str, parts: Sequence[Part], template: tfds.core.ShardedFileTemplate) -> tfds.core.SplitInfo:
        template, mine = template.replace(split=name), [part for part in parts if part.split == name]
        files = map(Path, template.sharded_filepaths(num_shards=len(mine)))
        return tfds.core.SplitInfo(
            name=name,
            shard_lengths=[part.size for part in mine],
            num_bytes=sum(path.stat().st_size for path in files),
            filename_template=template,
        )

    def _template(self, folder: Path) -> tfds.core.ShardedFileTemplate:
        name = re.sub(r"[^a-z0-9]+", "_", self.content.dataset.lower()).strip("_")
        if not name[:1].isalpha():  # as TFDS wants a name to begin
            name = f"dataset_{name}".rstrip("_")
        return tfds.core.ShardedFileTemplate(data_dir=folder, dataset_name=name, filetype_suffix=self.file_format)

    def reading(self, out: Path) -> tuple[str, str]:
        """By TFDS, as a tf.data.Dataset or, of ArrayRecord, as a sequence."""
        split = repr(self.content.first_split)
        reading = (
            f"as_dataset(split={split}, as_supervised=True)"
            if self.file_format == "tfrecord"
            else f"as_data_source(split={split})"
        )
        return "import tensorflow_datasets as tfds", f"tfds.builder_from_directory({str(out)!r}).{reading}"


def _array_record_writer(path: str) -> ArrayRecordWriter:
    return ArrayRecordWriter(path, _OPTIONS)


def _example(sample: Sample, image: bytes) -> bytes:
    features: dict[str, bytes | list[int]] = {
        "image": image,
        "label": [sample.label_id],
        "path": sample.path.encode(),
        "sample_id": sample.sample_id.encode(),
    }
    return example(features)
