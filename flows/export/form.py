"""What the forms of an export share: what they are told, and what each has to do."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
from PIL import Image

from nhwc.pipelines.npy import npy_bytes
from nhwc.validators.contract import TensorContract

Array = np.ndarray[Any, Any]

PNG_LEVEL = 1
"""Of zlib: a third of the time of the usual 6 (2.7 instead of 8.8 ms for a photograph of 224 x 224), 8 % more bytes."""


@dataclass(frozen=True, kw_only=True)
class Content:
    """What is exported, beside the samples.

    Args:
        dataset: what the dataset is called.
        number: of the version.
        contract: of every image: axes rows, cols, channels, fully determined.
        classes: class names in the order of their ids.
        splits: how many samples each split has that has any, by name: train, validation, test.
    """

    dataset: str
    number: str
    contract: TensorContract
    classes: tuple[str, ...]
    splits: Mapping[str, int]

    @property
    def is_png(self) -> bool:
        """Whether PNG holds every image, and all who read it see the same: 16 bits come out as 8 of many readers."""
        return self.dtype.name == "uint8"

    @property
    def suffix(self) -> str:
        """Of a file that `image_file` makes."""
        return "png" if self.is_png else "npy"

    def image_file(self, image: Array) -> bytes:
        """An image (rows, cols, channels) as a file of its own: PNG, or .npy."""
        return png(image) if self.is_png else npy_bytes(image)

    def image_bytes(self, image: Array) -> bytes:
        """The same where its shape and dtype stand beside it: PNG, or the values, rows first, little-endian."""
        return png(image) if self.is_png else image.tobytes()

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of every image."""
        return np.dtype(self.contract.dtypes[0])

    @property
    def first_split(self) -> str:
        """The split that stands first; `train` where it has samples."""
        return next(iter(self.splits))


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One sample, as the manifest has it."""

    sample_id: str
    path: str
    label: str
    label_id: int
    split: str


@dataclass(frozen=True, kw_only=True)
class Part:
    """So many samples of one split, one after another, that are written at a time.

    Args:
        split: the split's name.
        number, count: which of the split's parts this is, from 0, and how many there are.
        first: the place of its first sample in the split.
        size: how many samples it has.
    """

    split: str
    number: int
    count: int
    first: int
    size: int

    def __str__(self) -> str:
        return f"{self.split}-{self.number:05d}-of-{self.count:05d}"


Encoded = tuple[Sample, bytes]
"""A sample, and its image as the form stores it."""


class Form(Protocol):
    """One form of an export. The same content and the same libraries make the same bytes."""

    libraries: ClassVar[tuple[str, ...]]
    """The distributions, beside nhwc, that make its bytes what they are."""

    @property
    def name(self) -> str:
        """Which form it is: of two that are called so, the same content makes the same export."""
        ...

    @property
    def content(self) -> Content:
        """What is exported."""
        ...

    def problems(self) -> list[str]:
        """What of the content this form cannot hold."""
        ...

    def encoded(self, image: Array) -> bytes:
        """An image (rows, cols, channels) as it is stored. Called in several threads."""
        ...

    def write(self, part: Part, samples: Iterable[Encoded], folder: Path) -> Sequence[Path]:
        """Write the part's files durably below the folder, where nothing else is called so; their paths."""
        ...

    def finish(self, parts: Sequence[Part], folder: Path, sums: Mapping[str, str]) -> None:
        """Write durably what is not of one part. The SHA-256 of each part's files is given by relative path."""
        ...

    def reading(self, out: Path) -> tuple[str, str]:
        """What to import, and the expression that reads the first split back."""
        ...


def png(image: Array) -> bytes:
    """An image uint8 (rows, cols, 1, 3 or 4 channels) as PNG, without loss."""
    file = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(file, "PNG", compress_level=PNG_LEVEL)
    return file.getvalue()


def files_line(folder: Path, pattern: str) -> str:
    """Python for the files of a folder whose names are like that, in order; of any folder's name."""
    return f"[str(file) for file in sorted(pathlib.Path({str(folder)!r}).glob({pattern!r}))]"
