"""TFRecord files of tf.train.Example, under the names that TensorFlow's image readers use."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import tensorflow as tf

from nhwc.flows.durable import write_durably
from nhwc.flows.export.form import Array, Content, Encoded, Part, Sample, files_line
from nhwc.flows.export.names import write_classes
from nhwc.validators.errors import MachineError


@dataclass(frozen=True)
class TFRecord:
    """`<split>-00000-of-00002.tfrecord`; class names in `classes.json`."""

    name: ClassVar[str] = "tfrecord"
    libraries: ClassVar[tuple[str, ...]] = ("pillow", "tensorflow")
    content: Content

    def problems(self) -> list[str]:
        """None: names are bytes, images bytes with their shape and dtype beside them."""
        return []

    def encoded(self, image: Array) -> bytes:
        """PNG, or the values as they lie in memory, rows first, little-endian."""
        return self.content.image_bytes(image)

    def write(self, part: Part, samples: Iterable[Encoded], folder: Path) -> Sequence[Path]:
        """One file, in which each record is one sample."""
        path = folder / f"{part}.tfrecord"

        def write(unfinished: Path) -> None:
            with record_writer(unfinished, tf.io.TFRecordWriter) as write_record:
                for sample, image in samples:
                    write_record(example(self._features(sample, image)))

        write_durably(path, write)
        return [path]

    def _features(self, sample: Sample, image: bytes) -> dict[str, bytes | list[int]]:
        rows, cols, channels = self.content.contract.sizes
        features: dict[str, bytes | list[int]] = {
            "image/height": [rows],
            "image/width": [cols],
            "image/channels": [channels],
            "image/class/label": [sample.label_id],
            "image/class/text": sample.label.encode(),
            "image/filename": sample.path.encode(),
            "image/key": sample.sample_id.encode(),
        }
        if self.content.is_png:
            return features | {"image/encoded": image, "image/format": b"png"}
        return features | {"image/raw": image, "image/dtype": self.content.dtype.name.encode()}

    def finish(self, parts: Sequence[Part], folder: Path, sums: Mapping[str, str]) -> None:
        """Write the class names."""
        write_classes(folder, self.content.classes)

    def reading(self, out: Path) -> tuple[str, str]:
        """By tf.data."""
        image, decoded = "image/encoded", 'tf.io.decode_png(x["image/encoded"])'
        if not self.content.is_png:
            shape, dtype = list(self.content.contract.sizes), self.content.dtype.name
            image, decoded = "image/raw", f'tf.reshape(tf.io.decode_raw(x["image/raw"], "{dtype}"), {shape})'
        kinds = {image: "tf.string", "image/class/label": "tf.int64"}
        features = ", ".join(f'"{name}": tf.io.FixedLenFeature([], {kind})' for name, kind in kinds.items())
        code = (
            f"tf.data.TFRecordDataset({files_line(out, f'{self.content.first_split}-*.tfrecord')})"
            f".map(lambda x: tf.io.parse_single_example(x, {{{features}}}))"
            f'.map(lambda x: ({decoded}, x["image/class/label"]))'
        )
        return "import pathlib, tensorflow as tf", code


@contextmanager
def record_writer(path: Path, opened: Callable[[str], Any]) -> Iterator[Callable[[bytes], object]]:
    """The function that writes one record after another with the writer that is opened by a path.

    Raises MachineError where the disk fails, of which these writers make errors of their own.
    """

    def told(call: Callable[..., Any], *given: object) -> Any:
        try:
            return call(*given)
        except (tf.errors.OpError, RuntimeError) as error:
            found = str(error) if str(path) in str(error) else f"{path}: {error}"
            raise MachineError(f"{found}: mend it, then run the same again") from error

    writer = told(opened, str(path))
    try:
        yield partial(told, writer.write)
    finally:
        told(writer.close)


def example(features: Mapping[str, bytes | list[int]]) -> bytes:
    """A serialized tf.train.Example of these features: always the same bytes, which is not its default."""
    plain = {
        name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
        if isinstance(value, bytes)
        else tf.train.Feature(int64_list=tf.train.Int64List(value=value))
        for name, value in features.items()
    }
    serialized: bytes = tf.train.Example(features=tf.train.Features(feature=plain)).SerializeToString(
        deterministic=True
    )
    return serialized
