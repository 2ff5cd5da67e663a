"""One .npz file of whole arrays: `images_train`, `labels_train`, `ids_train`, ..., and `classes`."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from nhwc.flows.durable import write_durably
from nhwc.flows.export.form import Array, Content, Encoded, Part

FILE = "arrays.npz"

_PARTS = ".parts"
"""Where what is finished of the arrays waits for the others: a .npz file cannot be gone on with."""

_ID = np.dtype("S16")
"""A sample's id as a part has it; 16 hex digits."""


@dataclass(frozen=True)
class Npz:
    """`arrays.npz`, its members not compressed, so that reading is copying."""

    name: ClassVar[str] = "npz"
    libraries: ClassVar[tuple[str, ...]] = ("numpy",)
    content: Content

    def problems(self) -> list[str]:
        """Class names that NumPy's strings cut short."""
        lost = [name for name in self.content.classes if name.endswith("\0")]
        return [f"classes: found {lost[0]!r}, whose end NumPy drops: export to another form"] if lost else []

    def encoded(self, image: Array) -> bytes:
        """The values as they lie in memory."""
        return image.tobytes()

    def write(self, part: Part, samples: Iterable[Encoded], folder: Path) -> Sequence[Path]:
        """The part's stretch of each of the split's three arrays, without a header."""
        stretches = [folder / _PARTS / f"{part}.{name}" for name in ("images", "labels", "ids")]
        labels, ids = np.empty(part.size, np.int64), np.empty(part.size, _ID)

        def write(unfinished: Path) -> None:
            with unfinished.open("wb") as file:
                for place, (sample, image) in enumerate(samples):
                    file.write(image)
                    labels[place], ids[place] = sample.label_id, sample.sample_id.encode()

        images_path, labels_path, ids_path = stretches
        write_durably(images_path, write)
        write_durably(labels_path, lambda unfinished: unfinished.write_bytes(labels.tobytes()))
        write_durably(ids_path, lambda unfinished: unfinished.write_bytes(ids.astype("<U16").tobytes()))
        return stretches

    def finish(self, parts: Sequence[Part], folder: Path, sums: Mapping[str, str]) -> None:
        """Put the arrays together."""

        def write(unfinished: Path) -> None:
            with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_STORED) as archive:
                for split, samples in self.content.splits.items():
                    mine = [folder / _PARTS / str(part) for part in parts if part.split == split]
                    shape = (samples, *self.content.contract.sizes)
                    for name, dtype, sizes in (
                        ("images", self.content.dtype, shape),
                        ("labels", np.dtype(np.int64), shape[:1]),
                        ("ids", np.dtype("<U16"), shape[:1]),
                    ):
                        _add(archive, f"{name}_{split}", dtype, sizes, _stretches(mine, name))
                classes = np.array(self.content.classes, np.str_)
                _add(archive, "classes", classes.dtype, classes.shape, iter([classes.tobytes()]))

        write_durably(folder / FILE, write)
        shutil.rmtree(folder / _PARTS)

    def reading(self, out: Path) -> tuple[str, str]:
        """By NumPy."""
        names = [f"{name}_{self.content.first_split}" for name in ("images", "labels")]
        return "import numpy", f"[numpy.load({str(out / FILE)!r})[name] for name in {names}]"


def _stretches(parts: Sequence[Path], name: str) -> Iterator[bytes]:
    for part in parts:
        with part.with_name(f"{part.name}.{name}").open("rb") as file:
            while stretch := file.read(1 << 20):
                yield stretch


def _add(
    archive: zipfile.ZipFile, name: str, dtype: np.dtype[Any], shape: tuple[int, ...], stretches: Iterator[bytes]
) -> None:
    """An array, stretch by stretch; nothing in it says when."""
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
        np.lib.format.write_array_header_1_0(member, header)
        for stretch in stretches:
            member.write(stretch)
