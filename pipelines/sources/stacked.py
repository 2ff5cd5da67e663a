"""Sources of arrays: images of one size, stacked along their first axis, and a label for each."""

from __future__ import annotations

import io
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import numpy as np

from nhwc.pipelines.npy import Layout, channels_last, npy_bytes
from nhwc.pipelines.sources.container import (
    DamagedSampleError,
    OpenedAnew,
    damaged,
    label_text,
    listing_of,
    numbered_discovery,
    split_named,
)
from nhwc.pipelines.sources.protocol import Discovery, Entry, Listing, by_name
from nhwc.validators.errors import RecipeError


@dataclass(frozen=True, kw_only=True)
class Stack:
    """Images of one size.

    Args:
        name: of the stack, unique in its source.
        images: [samples, rows, cols], [samples, rows, cols, channels], or channels first, or [samples] of encoded
            files; read image by image.
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
            _see_pixels(stack)
        return read

    def discover(self, known: Container[str] = ()) -> Discovery:
        """Every image, with its label and split."""
        read = self._read
        named = [isinstance(stack.labels[0], str) for stack in read.stacks if stack.labels]
        is_numbered = bool(named) and not any(named) and not read.classes
        entries = by_name(
            entry for place, stack in enumerate(read.stacks) for entry in _entries(stack, read.classes, place)
        )
        return numbered_discovery(entries) if is_numbered else Discovery(entries=entries, classes=read.classes)

    def open(self, entry: Entry) -> BinaryIO:
        """The image as a .npy file's bytes, (rows, cols) or (rows, cols, channels); an encoded file's as they are."""
        stack, number = entry.at
        try:
            image = np.asarray(self._read.stacks[int(stack)].images[int(number)])
        except (OSError, RuntimeError) as error:  # libhdf5's, of a damaged chunk
            raise DamagedSampleError(str(error)) from error
        if image.dtype.hasobject or image.ndim == 0:
            raise DamagedSampleError(f"a value of dtype {image.dtype}, where an array of numbers should be")
        if image.ndim == 1:
            return io.BytesIO(image.tobytes())
        return io.BytesIO(npy_bytes(channels_last(image, self.layout)))

    def listing(self) -> Listing:
        """Name, inode, size and times of its files."""
        return listing_of(self.files)


def _see_counts(stack: Stack) -> None:
    """Raises DataError where there are not as many labels as images, so which is whose nobody knows."""
    if stack.labels is not None and len(stack.labels) != len(stack.images):
        expected, found = f"{len(stack.images):,} labels, one for each image", f"{len(stack.labels):,}"
        raise damaged(stack.file, "labels", expected=expected, found=found, hint="fetch images and labels again")


def _see_pixels(stack: Stack) -> None:
    """Raises DataError where images have no pixels: of such a file may promise any number."""
    if len(stack.images) and 0 in stack.images.shape[1:]:
        found = f"{stack.name} of shape {tuple(stack.images.shape)}"
        raise damaged(stack.file, "shape", expected="images with pixels", found=found, hint="save it again")


def _entries(stack: Stack, classes: Sequence[str], place: int) -> Iterator[Entry]:
    labels: Sequence[int | str] = stack.labels if stack.labels is not None else [""] * len(stack.images)
    for number, label in enumerate(labels):
        text = label_text(label, classes)
        yield Entry(name=f"{stack.name}/{number:08}", label=text or None, split=stack.split, at=(place, number))


class Named(Mapping[str, Any]):
    """Arrays by name, each opened when it is first asked for: what nobody asks for may be anything."""

    def __init__(self, names: Iterable[str], opened: Callable[[str], Any]) -> None:
        self._names, self._opened, self._kept = dict.fromkeys(names), opened, dict[str, Any]()

    def __getitem__(self, name: str) -> Any:
        if name not in self._names:
            raise KeyError(name)
        if name not in self._kept:
            self._kept[name] = self._opened(name)
        return self._kept[name]

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def stacks_of(arrays: Mapping[str, Any], file: Path, *, images: str | None, labels: str | None) -> Stacks:
    """The stacks that named arrays are: images, their labels and split told by name, and class names if there are any.

    Args:
        arrays: by name, each with shape and dtype, read when it is sliced.
        file: that has them.
        images: the name of the only array of images; None: all that are named like x_train, images, test_images.
        labels: the name of its labels; None: as the images' name has it, as y_train, labels, test_labels.

    Raises RecipeError where there is none by that name, DataError where labels are not one a sample.
    """
    found = [images] if images is not None else [name for name in arrays if _has_word(name, _IMAGE_WORDS)]
    missing = [f"no array {name!r}" for name in (*found, labels) if name is not None and name not in arrays]
    if not found or missing:
        seen = ", ".join(sorted(arrays)) or "nothing"
        told = " and ".join(missing) or "no array named like images or x_train"
        raise RecipeError("source", (f"found {told} among {seen} in {file}: set source.images and source.labels",))
    stacks = []
    for name in found:
        rank, are_files = len(arrays[name].shape), arrays[name].dtype.kind == "O"  # of variable length: encoded files
        if rank != 1 if are_files else rank < 3:
            expected = "images, [samples, rows, cols] or with channels"
            raise damaged(file, "rank", expected=expected, found=f"{name} of shape {tuple(arrays[name].shape)}")
        own = labels or next((one for one in arrays if one in _label_names(name)), None)
        told_labels = None if own is None else labels_of(arrays[own], own, file)
        split = split_named(name) or "train"
        stacks.append(Stack(name=name, images=arrays[name], labels=told_labels, split=split, file=file))
    classes = next((arrays[name] for name in ("classes", "class_names", "label_names") if name in arrays), None)
    return Stacks(stacks=tuple(stacks), classes=() if classes is None else _classes(classes, file))


def _classes(array: Any, file: Path) -> tuple[str, ...]:
    names = np.asarray(array[()])
    if names.ndim != 1 or names.dtype.kind not in "SUO":
        found = f"{names.dtype} of shape {names.shape}"
        raise damaged(file, "class names", expected="one text a class", found=found)
    return tuple(map(_text, names))


_IMAGE_WORDS = {"x": "y", "images": "labels", "image": "label"}
"""Words of names of images, and those of their labels'."""


def _has_word(name: str, words: Container[str]) -> bool:
    return any(word in words for word in re.split(r"[^a-z]+", name.lower()))


def _label_names(name: str) -> set[str]:
    """The names that the labels of images of this name may have."""
    return {
        re.sub(rf"(?<![A-Za-z]){word}(?![A-Za-z])", theirs, name, flags=re.IGNORECASE)
        for word, theirs in _IMAGE_WORDS.items()
    } - {name}


def labels_of(array: Any, name: str, file: Path) -> list[int] | list[str]:
    """The labels as whole numbers or texts, one a sample; a second axis of 1, as Keras' CIFAR has it, is dropped.

    False is 0 and True is 1. Raises DataError where they are something else.
    """
    labels = np.asarray(array[()])
    labels = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
    if labels.ndim != 1 or labels.dtype.kind not in "iubSUO":
        expected = "one whole number or text a sample"
        raise damaged(file, "labels", expected=expected, found=f"{name}: {labels.dtype} of shape {labels.shape}")
    return [_text(label) for label in labels] if labels.dtype.kind in "SUO" else list(map(int, labels))


def _text(label: Any) -> str:
    """As text; bytes that are not UTF-8 as surrogates, which no label may have."""
    return label.decode("utf-8", "surrogateescape") if isinstance(label, bytes) else str(label)
