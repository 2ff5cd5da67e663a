"""CIFAR's binary batches: a label, or two, and 3,072 bytes of pixels a record (format: cs.toronto.edu/~kriz/cifar)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from nhwc.pipelines.sources.container import damaged, see_file, split_named
from nhwc.pipelines.sources.stacked import Stack, StackedSource, Stacks
from nhwc.validators.errors import RecipeError

_PIXELS = (3, 32, 32)
_PIXEL_BYTES = 3072
_NAMES = {"label": "batches.meta.txt", "fine": "fine_label_names.txt", "coarse": "coarse_label_names.txt"}


@dataclass(frozen=True, kw_only=True)
class Cifar(StackedSource):
    """The .bin files of a folder: CIFAR-10 or, where fine_label_names.txt lies there too, CIFAR-100.

    Args:
        path: the folder.
        labels: of CIFAR-100, which of a record's two labels.
    """

    path: Path
    labels: Literal["fine", "coarse"] = "fine"

    @cached_property
    def files(self) -> Sequence[Path]:
        """Batches, and class names where there are any. Raises RecipeError where there is no batch."""
        batches = list(map(see_file, sorted(self.path.glob("*.bin"))))
        if not batches:
            expected = "expected CIFAR's data_batch_1.bin or train.bin"
            raise RecipeError("source.path", (f"found no .bin file in {self.path}, {expected}",))
        return [*batches, *(file for file in [self._names] if file.is_file())]

    @property
    def _is_100(self) -> bool:
        return (self.path / _NAMES["fine"]).is_file()

    @property
    def _names(self) -> Path:
        return self.path / _NAMES[self.labels if self._is_100 else "label"]

    def read(self) -> Stacks:
        """Each batch, its pixels mapped, with the label asked for."""
        before = 2 if self._is_100 else 1
        column = 1 if self._is_100 and self.labels == "fine" else 0
        stacks = []
        for file in self.files:
            if file.suffix != ".bin":
                continue
            size = file.stat().st_size
            if not size or size % (before + _PIXEL_BYTES):
                expected = f"records of {before + _PIXEL_BYTES:,} bytes"
                raise damaged(file, "bytes", expected=expected, found=f"{size:,} bytes", hint="fetch it again")
            records = np.memmap(file, np.uint8, "r").reshape(-1, before + _PIXEL_BYTES)
            images = np.moveaxis(records[:, before:].reshape(-1, *_PIXELS), 1, -1)
            labels = records[:, column].tolist()
            split = split_named(file.stem) or "train"
            stacks.append(Stack(name=file.stem, images=images, labels=labels, split=split, file=file))
        return Stacks(stacks=tuple(stacks), classes=self._classes())

    def _classes(self) -> tuple[str, ...]:
        if not self._names.is_file():
            return ()
        lines = self._names.read_text(encoding="utf-8", errors="backslashreplace").splitlines()
        return tuple(line.strip() for line in lines if line.strip())
