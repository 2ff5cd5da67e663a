"""Sources whose samples are tf.train.Examples in files of records."""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, ClassVar

from nhwc.pipelines.sources.container import OpenedAnew, numbered
from nhwc.pipelines.sources.example import Features, label_of, parse
from nhwc.pipelines.sources.protocol import Discovery, Entry, by_name, refused
from nhwc.pipelines.sources.record_file import Breach, Record, broken
from nhwc.validators.violation import Code

BESIDE = 1 << 20
"""Bytes that a record may have beside its image: the label, and features that nobody asked for."""


@dataclass(frozen=True, kw_only=True)
class RecordFile:
    """One file of records.

    Args:
        path: where it is.
        name: its path relative to the source, with /; names of samples begin with it.
        split: of its samples.
        promised: how many records it should have, where something says.
    """

    path: Path
    name: str
    split: str
    promised: int | None = None


class ClassNames:
    """How the numbers and the names of classes go together: as known before, or as the records tell.

    Args:
        names: of the numbers from 0, where they are known.
    """

    def __init__(self, names: Sequence[str] | None = None) -> None:
        self._known, self._has_text = names is not None, False
        self._names = dict(enumerate(names or ()))
        self._numbered = all(name == str(number) for number, name in self._names.items())
        self._numbers = {name: number for number, name in self._names.items()}

    @property
    def classes(self) -> tuple[str, ...]:
        """The names in the order of their numbers; none where a label is text without a number."""
        if self._has_text:
            return ()
        if self.is_numbered:
            return numbered(self._names)
        return tuple(name for _, name in sorted(self._names.items()))

    @property
    def is_numbered(self) -> bool:
        """There are numbers alone, or each is its own name."""
        return self._numbered and not self._has_text and bool(self._names)

    def label(self, number: int | None, name: str | None) -> str | None:
        """The name of a class of which a record tells its number, its name, or both.

        Raises Breach where the number is none of the known ones, or number and name contradict what was told before.
        """
        if number is None:
            if name is not None and self._known:
                raise Breach(Code.NO_CLASS, "label", expected="the number of a class", found=repr(name))
            self._has_text = self._has_text or name is not None
            return name
        if number < 0:
            raise Breach(Code.NO_CLASS, "label", expected="the number of a class, from 0", found=str(number))
        if self._known:
            if number not in self._names:
                expected = f"a number from 0 to {len(self._names) - 1}"
                raise Breach(Code.UNKNOWN_CLASS, "label", expected=expected, found=str(number))
            return self._names[number]
        self._numbered = self._numbered and name is None
        name = str(number) if name is None else name
        if self._names.get(number, name) != name or self._numbers.get(name, number) != number:
            before = f"{number} with {self._names.get(number)!r} and {self._numbers.get(name)} with {name!r} before"
            expected = "one name for each number, and one number for each name"
            raise Breach(Code.CONFLICTING_LABEL, "label", expected=expected, found=f"{number} with {name!r}, {before}")
        self._names[number], self._numbers[name] = name, number
        return name


@dataclass(kw_only=True)
class Seen:
    """What all records together had.

    Args:
        classes: of their labels.
        examples: how many were Examples.
        features: the names of all features of the first of them.
        images, labels, names: how many had the feature of the image, of the label, and of its class's name.
    """

    classes: ClassNames = field(default_factory=ClassNames)
    examples: int = 0
    features: tuple[str, ...] = ()
    images: int = 0
    labels: int = 0
    names: int = 0


class ExampleSource(OpenedAnew, ABC):
    """A source whose samples are `<file>@<place in it>`."""

    readers: ClassVar[int] = 1

    @property
    @abstractmethod
    def files(self) -> Sequence[RecordFile]:
        """All files of records, sorted by name. Raises RecipeError or DataError where there are none to read."""

    @abstractmethod
    def records(self, file: RecordFile) -> Iterator[Record]:
        """Every record of a file. Raises DataError where it is damaged as a whole."""

    @abstractmethod
    def record(self, file: Path, at: int) -> bytes:
        """The content of one record. Raises OSError."""

    @abstractmethod
    def image(self, features: Features) -> bytes:
        """The bytes of the image that an Example holds. Raises Breach."""

    @property
    @abstractmethod
    def folder(self) -> Path:
        """What names of files are relative to."""

    @abstractmethod
    def image_feature(self, features: Features) -> str:
        """The name of the image's feature."""

    @abstractmethod
    def label_features(self, features: Features) -> tuple[str | None, str | None]:
        """The names of the features of the label, and of the class's name."""

    def class_names(self) -> ClassNames:
        """What is known of the classes before any record is read."""
        return ClassNames()

    def see(self, image: bytes) -> None:
        """Look at an image when it is discovered. Raises Breach."""

    def judge(self, seen: Seen) -> None:
        """Look at what all records had. Raises RecipeError where they are not as the recipe says."""

    def discover(self, known: Container[str] = ()) -> Discovery:
        """Every record, with its label and split; where a file is not whole, what was lost."""
        seen = Seen(classes=self.class_names())
        entries = [entry for file in self.files for entry in self._entries(file, seen)]
        self.judge(seen)
        return Discovery(
            entries=by_name([*entries, *self.beside()]),
            classes=seen.classes.classes,
            numbered=seen.classes.is_numbered,
        )

    def beside(self) -> Sequence[Entry]:
        """What else the source has."""
        return ()

    def open(self, entry: Entry) -> BinaryIO:
        """The image's bytes."""
        name, at = entry.at
        try:
            return io.BytesIO(self.image(parse(self.record(self.folder / str(name), int(at)))))
        except Breach as breach:
            raise OSError(f"{breach.found}, expected {breach.expected}") from breach

    def _entries(self, file: RecordFile, seen: Seen) -> Iterator[Entry]:
        count, is_whole = 0, True
        for record in self.records(file):
            count += 1
            is_whole = is_whole and record.is_framed
            yield self._entry(file, record, seen)
        if file.promised is not None and is_whole and count != file.promised:
            breach = broken("records", expected=f"{file.promised:,}", found=f"{count:,}")
            yield _refused(Entry(name=f"{file.name}@end", split=file.split), breach)

    def _entry(self, file: RecordFile, record: Record, seen: Seen) -> Entry:
        name = f"{file.name}@{record.at:012}"
        try:
            if record.breach is not None:
                raise record.breach
            label = self._label(parse(record.content), seen)
        except Breach as breach:
            return _refused(Entry(name=name, split=file.split), breach)
        return Entry(name=name, label=label, split=file.split, at=(file.name, record.at))

    def _label(self, features: Features, seen: Seen) -> str | None:
        """The label of an Example whose image is looked at first."""
        seen.features = seen.features or tuple(sorted(features))
        seen.examples += 1
        label, name = self.label_features(features)
        seen.images += self.image_feature(features) in features
        seen.labels += label is not None and label in features
        seen.names += name is not None and name in features
        self.see(self.image(features))
        told = None if label is None else label_of(features, label)
        text = None if name is None else label_of(features, name)
        if isinstance(told, str) and text is None:
            told, text = None, told
        if isinstance(told, str) or isinstance(text, int):
            expected = f"a whole number in {label}, and its class's name as text in {name}"
            raise Breach(Code.NO_CLASS, "label", expected=expected, found=f"{told!r} and {text!r}")
        return seen.classes.label(told, text)


def _refused(entry: Entry, breach: Breach) -> Entry:
    return refused(
        entry, "quarantined", breach.code, aspect=breach.aspect, expected=breach.expected, found=breach.found
    )
