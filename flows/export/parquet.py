"""Parquet files that Hugging Face's `datasets` reads with images and class names, and any other reader as columns."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from nhwc.flows.durable import write_durably, write_text
from nhwc.flows.export.croissant import CROISSANT, croissant_text
from nhwc.flows.export.form import Array, Content, Encoded, Part

FILES = "data"
"""The folder of the Parquet files, as `datasets` has it."""

_ROW_GROUP = 100
"""Samples: what a reader has to take into memory at a time."""

_TEXTS = ("split", "sample_id", "path")


@dataclass(frozen=True)
class Parquet:
    """`data/<split>-00000-of-00002.parquet`, `README.md` that says so to `datasets`, and Croissant metadata.

    A row a sample: image, label, split, sample_id, path.
    """

    name: ClassVar[str] = "parquet"
    libraries: ClassVar[tuple[str, ...]] = ("pillow", "pyarrow")
    content: Content

    def problems(self) -> list[str]:
        """None: names are JSON in the schema."""
        return []

    def encoded(self, image: Array) -> bytes:
        """PNG, or the values as they lie in memory."""
        return self.content.image_bytes(image)

    def write(self, part: Part, samples: Iterable[Encoded], folder: Path) -> Sequence[Path]:
        """One file."""
        path, waiting = folder / FILES / f"{part}.parquet", iter(samples)

        compression = "none" if self.content.is_png else "zstd"  # PNG cannot be compressed further

        def write(unfinished: Path) -> None:
            with pq.ParquetWriter(
                unfinished, self._schema, compression=compression, use_dictionary=["split"]
            ) as writer:
                while group := list(islice(waiting, _ROW_GROUP)):
                    writer.write_table(self._table(group))

        write_durably(path, write)
        return [path]

    @cached_property
    def _image_type(self) -> pa.DataType:
        if self.content.is_png:
            return pa.struct({"bytes": pa.binary(), "path": pa.string()})
        return pa.list_(pa.list_(pa.list_(pa.from_numpy_dtype(self.content.dtype))))

    @cached_property
    def _schema(self) -> pa.Schema:
        image = pa.field("image", self._image_type)
        if not self.content.is_png:
            image = image.with_metadata(self._array_metadata)
        others = pa.field("label", pa.int64()), *(pa.field(name, pa.string()) for name in _TEXTS)
        said = json.dumps({"info": {"features": self._features}}, ensure_ascii=False)
        return pa.schema([image, *others], metadata={"huggingface": said})

    @property
    def _array_metadata(self) -> dict[str, str]:
        """By what `datasets` knows its Array3D; to who has it not loaded the column is of lists."""
        said = json.dumps([self.content.contract.sizes, self.content.dtype.name])
        name = "datasets.features.features.Array3DExtensionType"
        return {"ARROW:extension:name": name, "ARROW:extension:metadata": said}

    @property
    def _features(self) -> dict[str, Any]:
        """The columns in the words of `datasets`."""
        image: dict[str, Any] = {"_type": "Image"}
        if not self.content.is_png:
            sizes = list(self.content.contract.sizes)
            image = {"shape": sizes, "dtype": self.content.dtype.name, "_type": "Array3D"}
        label = {"names": list(self.content.classes), "_type": "ClassLabel"}
        return {"image": image, "label": label} | {name: {"dtype": "string", "_type": "Value"} for name in _TEXTS}

    def _table(self, group: Sequence[Encoded]) -> pa.Table:
        samples = [sample for sample, _ in group]
        images = [image for _, image in group]
        columns = {
            "image": self._column(samples, images),
            "label": pa.array([sample.label_id for sample in samples], pa.int64()),
            **{name: pa.array([getattr(sample, name) for sample in samples], pa.string()) for name in _TEXTS},
        }
        return pa.table(columns, schema=self._schema)

    def _column(self, samples: Sequence[Any], images: Sequence[bytes]) -> pa.Array:
        if self.content.is_png:
            names = [f"{sample.sample_id}.png" for sample in samples]
            return pa.StructArray.from_arrays(
                [pa.array(images, pa.binary()), pa.array(names)], fields=list(self._image_type)
            )
        column = pa.array(np.frombuffer(b"".join(images), self.content.dtype))
        for size in reversed(self.content.contract.sizes):
            column = pa.ListArray.from_arrays(np.arange(0, len(column) + 1, size, dtype=np.int32), column)
        return column

    def finish(self, parts: Sequence[Part], folder: Path, sums: Mapping[str, str]) -> None:
        """Write what says to `datasets` and to readers of Croissant what lies there."""
        write_text(folder / "README.md", self._card())
        write_text(folder / CROISSANT, croissant_text(self.content, {name: sums[name] for name in sorted(sums)}))

    def _card(self) -> str:
        """A dataset card: which files are which split."""
        files = "".join(f"  - split: {name}\n    path: {FILES}/{name}-*.parquet\n" for name in self.content.splits)
        return (
            f"---\nconfigs:\n- config_name: default\n  data_files:\n{files}---\n"
            f"Version {self.content.number}, exported by nhwc: {self.content.contract}.\n"
        )

    def reading(self, out: Path) -> tuple[str, str]:
        """By `datasets`."""
        return "import datasets", f"datasets.load_dataset({str(out)!r}, split={self.content.first_split!r})"
