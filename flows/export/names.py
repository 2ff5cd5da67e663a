"""Names of classes as names of folders, on any file system, from which the class can be told again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from nhwc.flows.durable import write_text

CLASSES = "classes.json"

_PLAIN = " !'()+,=@"
"""What is kept beside letters, digits and `_.-`: no file system, archive or shell of the usual ones takes offence."""

_LONGEST = 120
"""Of a folder's name, in bytes, of the 255 that most file systems allow."""


def folder_names(classes: Sequence[str]) -> list[str]:
    """A folder's name for each class, no two alike even where case does not count.

    Whatever is not plain stands as %XX, so that `urllib.parse.unquote` of what comes before a `~` is the class: after
    it stands what tells apart two that differ in case only, or a part of the SHA-256 of one that was too long.
    """
    names: list[str] = []
    taken: set[str] = set()
    for label in classes:
        name = _folder_name(label)
        if name.casefold() in taken:
            name += f"~{_digest(label)}"
        taken.add(name.casefold())
        names.append(name)
    return names


def _folder_name(label: str) -> str:
    kept = label
    while len(name := _quoted(kept)) > _LONGEST:
        kept = kept[:-1]
    return name if kept == label else f"{name}~{_digest(label)}"


def _quoted(label: str) -> str:
    name = quote(label, safe=_PLAIN).replace("~", "%7E")
    if name[:1] in (".", " "):  # hidden, or a way out
        name = f"%{ord(name[0]):02X}{name[1:]}"
    if name[-1:] in (".", " "):  # which Windows drops
        name = f"{name[:-1]}%{ord(name[-1]):02X}"
    return name


def _digest(label: str) -> str:
    return hashlib.sha256(label.encode()).hexdigest()[:8]


def write_classes(folder: Path, classes: Sequence[str]) -> None:
    """`classes.json`: the class names in the order of their ids."""
    write_text(folder / CLASSES, json.dumps(list(classes), indent=2, ensure_ascii=False) + "\n")
