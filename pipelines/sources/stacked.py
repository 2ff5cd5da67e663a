"""Sources of arrays: images of one size, stacked along their first axis, and a label for each."""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, Literal

import numpy as np

from nhwc.pipelines.npy import npy_bytes
from nhwc.pipelines.sources.container import OpenedAnew, damaged, listing_of, numbered
from nhwc.pipelines.sources.protocol import Discovery, Entry, Listing, by_name

Layout = Literal["channels_last", "channels_first"]


@dataclass(frozen=True, kw_only=True)
class Stack:
    """Images of one size.

    Args:
        name: of the stack, unique in its source.
        images: [samples, rows, cols], [samples, rows, cols, channels], or channels first; read image by image.
        labels: a whole number or a text for each; None where there are none.
        split: of all of them; None where nothing says which.
        file: that they are read from.
    """

    name: str
    images: Any
    labels: Sequence[int] | Sequence[str] | None
    split: str | None
    file: Path


@dataclass(frozen=True, kw_only=True)
class Stacks:
    """All that a source of arrays has; the class names in the order of their numbers, where it knows them."""

    stacks: tuple[Stack, ...]
    classes: tuple[str, ...] = ()


class StackedSource(OpenedAnew, ABC):
    """A source whose samples are `<stack>/<number>`. What it has is read when it is first asked for, once a process."""

    readers: ClassVar[int] = 1
    layout: Layout = "channels_last"

    @property
    @abstractmethod
    def files(self) -> Sequence[Path]:
        """All files that it is read from."""

    @abstractmethod
    def read(self) -> Stacks:
        """What it has. Raises DataError where a file is damaged, RecipeError where it is not as the recipe says."""

    @cached_property
    def _read(self) -> Stacks:
        read = self.read()
        for stack in read.stacks:
            _see_counts(stack)
        return read

    def discover(self, known: Container[str] = ()) -> Discovery:
        """Every image, with its label and split."""
        read = self._read
        named = [isinstance(stack.labels[0], str) for stack in read.stacks if stack.labels]
        is_numbered = bool(named) and not any(named) and not read.classes
        entries = by_name(
            entry for place, stack in enumerate(read.stacks) for entry in _entries(stack, read.classes, place)
        )
        classes = read.classes
        if is_numbered:
            classes = numbered(int(label) for stack in read.stacks for label in stack.labels or ())
        return Discovery(entries=entries, classes=classes, numbered=is_numbered)

    def open(self, entry: Entry) -> BinaryIO:
        """The image as a .npy file's bytes, (rows, cols) or (rows, cols, channels)."""
        stack, number = entry.at
        image = np.asarray(self._read.stacks[int(stack)].images[int(number)])
        return io.BytesIO(npy_bytes(np.moveaxis(image, 0, -1) if self._is_first(image) else image))

    def _is_first(self, image: np.ndarray[Any, Any]) -> bool:
        return self.layout == "channels_first" and image.ndim == 3

    def listing(self) -> Listing:
        """Name, inode, size and times of its files."""
        return listing_of(self.files)


def _see_counts(stack: Stack) -> None:
    """Raises DataError where there are not as many labels as images, so which is whose nobody knows."""
    if stack.labels is not None and len(stack.labels) != len(stack.images):
        expected, found = f"{len(stack.images):,} labels, one for each image", f"{len(stack.labels):,}"
        raise damaged(stack.file, "labels", expected=expected, found=found, hint="fetch images and labels again")


def _entries(stack: Stack, classes: Sequence[str], place: int) -> Iterator[Entry]:
    labels: Sequence[int | str] = stack.labels if stack.labels is not None else [""] * len(stack.images)
    for number, label in enumerate(labels):
        is_named = not isinstance(label, str) and 0 <= int(label) < len(classes)
        text = classes[int(label)] if is_named else str(label)
        yield Entry(name=f"{stack.name}/{number:08}", label=text or None, split=stack.split, at=(place, number))
