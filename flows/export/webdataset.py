"""Tar files that webdataset reads in a stream: of each sample its image, its class id, and what else is known."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

from nhwc.flows.durable import write_durably
from nhwc.flows.export.form import Array, Content, Encoded, Part, files_line
from nhwc.flows.export.names import write_classes


@dataclass(frozen=True)
class WebDataset:
    """`<split>-000000.tar` of `<sample id>.png` (or `.npy`), `.cls` and `.json`; class names in `classes.json` too."""

    name: ClassVar[str] = "webdataset"
    libraries: ClassVar[tuple[str, ...]] = ("pillow",)
    content: Content

    def problems(self) -> list[str]:
        """None: no name of a file or a class becomes a name in the archive."""
        return []

    def encoded(self, image: Array) -> bytes:
        """PNG, or a .npy file."""
        return self.content.image_file(image)

    def write(self, part: Part, samples: Iterable[Encoded], folder: Path) -> Sequence[Path]:
        """One archive."""
        path = folder / f"{part.split}-{part.number:06d}.tar"

        def write(unfinished: Path) -> None:
            with tarfile.open(unfinished, "w", format=tarfile.USTAR_FORMAT) as archive:
                for sample, image in samples:
                    _add(archive, f"{sample.sample_id}.{self.content.suffix}", image)
                    _add(archive, f"{sample.sample_id}.cls", str(sample.label_id).encode())
                    _add(archive, f"{sample.sample_id}.json", json.dumps(asdict(sample), ensure_ascii=False).encode())

        write_durably(path, write)
        return [path]

    def finish(self, parts: Sequence[Part], folder: Path, sums: Mapping[str, str]) -> None:
        """Write the class names."""
        write_classes(folder, self.content.classes)

    def reading(self, out: Path) -> tuple[str, str]:
        """By webdataset."""
        files = files_line(out, f"{self.content.first_split}-*.tar")
        mode = (
            {1: '"pill"', 3: '"pilrgb"', 4: '"pilrgba"'}[self.content.contract.sizes[-1]] if self.content.is_png else ""
        )
        columns = f'.decode({mode}).to_tuple("{self.content.suffix}", "cls")'
        return "import pathlib, webdataset", f"webdataset.WebDataset({files}, shardshuffle=False){columns}"


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    """A file that says nothing of who wrote it when."""
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))
