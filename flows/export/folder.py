"""A folder for each class, as many readers know it, and beside them a table of what folders cannot say."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from nhwc.flows.durable import write_text
from nhwc.flows.export.form import Array, Content, Encoded, Part, files_line
from nhwc.flows.export.names import CLASSES, folder_names


@dataclass(frozen=True)
class Folder:
    """`<split>/<class>/<sample id>.png` (or `.npy`); `samples-<split>-...csv` has a row an image."""

    name: ClassVar[str] = "folder"
    libraries: ClassVar[tuple[str, ...]] = ("pillow",)
    content: Content

    def problems(self) -> list[str]:
        """None: a class's folder is not named by it where that could go wrong."""
        return []

    def encoded(self, image: Array) -> bytes:
        """PNG, or a .npy file."""
        return self.content.image_file(image)

    @cached_property
    def _folders(self) -> list[str]:
        return folder_names(self.content.classes)

    def write(self, part: Part, samples: Iterable[Encoded], folder: Path) -> Sequence[Path]:
        """A file a sample, and a table of them. They are brought to the disk at the end, all at once."""
        for name in self._folders:  # those of no sample too: some readers want the same folders in every split
            (folder / part.split / name).mkdir(parents=True, exist_ok=True)
        paths, table = [], io.StringIO()
        writer = csv.writer(table, lineterminator="\n")
        writer.writerow(("file", "label_id", "label", "sample_id", "path"))
        for sample, image in samples:
            path = folder / part.split / self._folders[sample.label_id] / f"{sample.sample_id}.{self.content.suffix}"
            path.write_bytes(image)
            paths.append(path)
            file = path.relative_to(folder).as_posix()
            writer.writerow((file, sample.label_id, sample.label, sample.sample_id, sample.path))
        write_text(folder / f"samples-{part}.csv", table.getvalue())
        return [*paths, folder / f"samples-{part}.csv"]

    def finish(self, parts: Sequence[Part], folder: Path, sums: Mapping[str, str]) -> None:
        """Write the class names, each with the name of its folder."""
        named = [
            {"name": name, "folder": place} for name, place in zip(self.content.classes, self._folders, strict=True)
        ]
        write_text(folder / CLASSES, json.dumps(named, indent=2, ensure_ascii=False) + "\n")

    def reading(self, out: Path) -> tuple[str, str]:
        """By Keras, with the ids of this version; arrays by NumPy, in the order of classes and ids."""
        folder = out / self.content.first_split
        rows, cols, channels = self.content.contract.sizes
        if not self.content.is_png:
            return "import numpy, pathlib", f"[numpy.load(file) for file in {files_line(folder, '*/*.npy')}]"
        names = f"[one['folder'] for one in json.loads(pathlib.Path({str(out / CLASSES)!r}).read_text())]"
        mode = {1: "grayscale", 3: "rgb", 4: "rgba"}[channels]
        code = (
            f"keras.utils.image_dataset_from_directory({str(folder)!r}, class_names={names}, "
            f"image_size=({rows}, {cols}), color_mode={mode!r}, shuffle=False)"
        )
        return "import json, keras, pathlib", code
