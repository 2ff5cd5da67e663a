"""What sources have in common whose samples lie in a few files: archives, tables, records, arrays."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import polars as pl

from nhwc.pipelines.sources.protocol import STAMP, Discovery, Entry, Listing, by_name
from nhwc.validators.errors import DataError
from nhwc.validators.splits import SPLIT_NAMES
from nhwc.validators.verdict import Verdict
from nhwc.validators.violation import Code, Violation


class OpenedAnew:
    """A dataclass that is pickled by its fields alone: what it has opened or read, another process opens for itself."""

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]


class DamagedSampleError(OSError):
    """The bytes of one sample are not whole: its source is damaged, and not the machine."""


def damaged(
    file: Path | str,
    aspect: str,
    *,
    expected: str,
    found: str,
    hint: str = "",
    code: Code = Code.DAMAGED_SOURCE,
) -> DataError:
    """That a file of the source is not what it has to be, to be raised: none of its samples can be trusted."""
    violation = Violation(
        code=code, stage="discover", aspect=aspect, expected=expected, found=f"{found} in {file}", hint=hint
    )
    return DataError(Verdict(violations=(violation,)))


def see_file(file: Path) -> Path:
    """The same path. Raises DataError where it is no file, or leads to none: a FIFO would be waited for without end."""
    if not file.is_file():
        found = "a folder" if file.is_dir() else "something else" if file.exists() else "a link to nothing"
        raise damaged(file, "kind", expected="a file", found=found, hint="take it away, or put the file there")
    return file


def listing_of(files: Iterable[Path]) -> Listing:
    """What the system says of these files. There are no stamps: which sample is in which of their bytes it cannot say.

    Raises OSError where one cannot be looked at.
    """
    digest, changed_ns = hashlib.sha256(), 0
    for file in files:
        status = file.stat()
        changed_ns = max(changed_ns, status.st_mtime_ns, status.st_ctime_ns)
        said = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        digest.update(os.fsencode(file) + f" {said}\n".encode())
    return Listing(digest=digest.hexdigest(), changed_ns=changed_ns, stamps=pl.DataFrame(schema=dict(STAMP)))


def files_at(place: Path, *suffixes: str) -> list[Path]:
    """The file itself, or those of a folder, at any depth, that end in one of the suffixes; sorted, nothing hidden."""
    if not place.is_dir():
        return [place]
    found = (file for file in place.rglob("*") if file.name.lower().endswith(suffixes) and file.is_file())
    return sorted(file for file in found if not any(part.startswith(".") for part in file.relative_to(place).parts))


def split_named(name: str) -> str | None:
    """The split that a path names by one of its words, as `train-00000-of-00002.parquet`; None where it names none."""
    words = re.split(r"[^a-z]+", name.lower())
    return next((SPLIT_NAMES[word] for word in words if word in SPLIT_NAMES), None)


_WHOLE = re.compile(r"0|-?[1-9][0-9]{0,17}")


def told_discovery(entries: Iterable[Entry]) -> Discovery:
    """The entries of a source that has labels as text, in their order.

    Where all of them are whole numbers, written as such (7, not 07 or 7.0), they are numbers of classes.
    """
    ordered = by_name(entries)
    labels = {entry.label for entry in ordered if entry.label is not None}
    if not labels or not all(map(_WHOLE.fullmatch, labels)):
        return Discovery(entries=ordered)
    return numbered_discovery(ordered)


def numbered_discovery(ordered: tuple[Entry, ...]) -> Discovery:
    """Entries, sorted by name, whose labels are whole numbers as text. One below 0 is the number of no class."""
    labels = {int(entry.label) for entry in ordered if entry.label is not None}
    return Discovery(entries=ordered, classes=numbered(label for label in labels if label >= 0), numbered=True)


def label_text(label: int | str, classes: Sequence[str]) -> str | None:
    """What a label is called: a number by the name of its class, where classes have names.

    Without them a number below 0, by which many say that they do not know, is no label: None.
    A number that none of them has becomes what no class is called, so that it is quarantined, and not taken for a class
    that is called by a number.
    """
    if isinstance(label, str) or not classes:
        return str(label) if isinstance(label, str) or label >= 0 else None
    return classes[label] if 0 <= label < len(classes) else f"number {label} of {len(classes)} classes"


def numbered(labels: Iterable[int]) -> tuple[str, ...]:
    """The numbers that stand for classes, as text, in the order of numbers and not of letters."""
    return tuple(map(str, sorted(set(labels))))
