"""Files that a table lists, each with its label: nothing else of the folder that they lie in is looked at."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import BinaryIO, ClassVar, cast

import polars as pl

from nhwc.pipelines.sources.container import OpenedAnew, listing_of, split_named, told_discovery
from nhwc.pipelines.sources.labels import label_from_listed, missing_entry
from nhwc.pipelines.sources.members import Wrong, refused_for, unsafe
from nhwc.pipelines.sources.protocol import STAMP, Discovery, Entry, Listing
from nhwc.pipelines.sources.table import Listed, columns_of, read_listed
from nhwc.validators.errors import RecipeError
from nhwc.validators.violation import Code

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "image": ("path", "file_name", "filename", "image", "file", "image_path", "filepath", "file_path", "img"),
    "label": ("label", "class", "class_name", "category", "target"),
    "split": ("split", "subset"),
}
"""What the columns are called, the first that a table has, in whichever case, where the recipe does not name them."""

_Look = Callable[[str], os.stat_result | Wrong]
"""What the system says of a path, or why it is none of a file of the source."""

_MISSING = Code.MISSING_FILE, "bytes", "a file in the source", "none"


@dataclass(frozen=True, kw_only=True)
class Files(OpenedAnew):
    """The files that a table lists. The split is what the table says, or else its name, or train.

    Args:
        table: CSV, tabs, JSON lines or Parquet.
        root: the folder that its paths are relative to.
        image, label, split: its columns; None: the first of COLUMNS that it has. It need not have one of splits.
    """

    table: Path
    root: Path
    image: str | None = None
    label: str | None = None
    split: str | None = None
    readers: ClassVar[int] = 1

    def discover(self, known: Container[str] = ()) -> Discovery:
        """Every path that is listed, once, quarantined where it is no file or leads out of the root.

        Raises RecipeError where the table cannot be read, lacks a column, or lists nothing that there is.
        """
        look, split = self._looking(), split_named(self.table.name) or "train"
        entries = [self._entry(path, said, look, split) for path, said in self._listed.items()]
        if entries and all(entry.violation and entry.violation.code is Code.MISSING_FILE for entry in entries):
            found = f"found none of the {len(entries):,} files that {self.table} lists, as {entries[0].path!r}"
            raise RecipeError(
                "source.root", (f"{found}, in {self.root}, expected the folder that paths are relative to",)
            )
        return told_discovery(entries)

    def open(self, entry: Entry) -> BinaryIO:
        """The file, unbuffered: it is read in large pieces."""
        return cast(BinaryIO, open(self.root / entry.name, "rb", buffering=0))  # noqa: PTH123  pathlib's takes twice as long

    def listing(self) -> Listing:
        """The table's name, inode, size and times, and those of every file that it lists."""
        table, look = listing_of([self.table]), self._looking()
        digest, changed_ns = hashlib.sha256(table.digest.encode()), table.changed_ns
        stamps = list[tuple[bytes, int, int, int, int]]()
        for path in sorted(self._listed):
            status = look(path)
            if not isinstance(status, os.stat_result):
                digest.update(f"{path!r} {status[0]}\n".encode())
                continue
            stamps.append((path.encode(), status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns))
            digest.update(f"{stamps[-1]}\n".encode())
            changed_ns = max(changed_ns, status.st_mtime_ns, status.st_ctime_ns)
        table_of_stamps = pl.DataFrame(stamps, schema=dict(STAMP), orient="row")
        return Listing(digest=digest.hexdigest(), changed_ns=changed_ns, stamps=table_of_stamps)

    @cached_property
    def _columns(self) -> dict[str, str]:
        """The table's columns, as `read_listed` wants them."""
        present = columns_of(self.table, key="source.path")
        named = {"image": self.image, "label": self.label, "split": self.split}
        chosen = {role: name or _first(COLUMNS[role], present) for role, name in named.items()}
        problems = [
            f"{role}: found {', '.join(present)} in {self.table}, expected "
            + (repr(chosen[role]) if chosen[role] else f"one of {', '.join(COLUMNS[role])}: name it")
            for role in named
            if chosen[role] not in present and (role != "split" or chosen[role])
        ]
        if problems:
            raise RecipeError("source.columns", tuple(problems))
        roles = {"image": "path", "label": "label", "split": "split"}
        return {roles[role]: name for role, name in chosen.items() if name is not None}

    @cached_property
    def _listed(self) -> dict[str, Listed]:
        return read_listed(self.table, self._columns, key="source.path")

    def _entry(self, path: str, said: Listed, look: _Look, split: str) -> Entry:
        found, with_split = look(path), "split" in self._columns
        if found == _MISSING:
            return missing_entry(path, "source.root")
        entry = Entry(name=path, split=None if with_split else split)
        if isinstance(found, os.stat_result):
            return label_from_listed(entry, said, with_split=with_split)
        return refused_for(entry, found)

    def _looking(self) -> _Look:
        """Which answers for one path after another, and looks at each folder once."""
        root = os.path.realpath(self.root)

        @cache
        def leaves(path: str) -> bool:
            real = os.path.realpath(f"{root}/{path}")
            return real != root and not real.startswith(root.rstrip("/") + "/")

        def look(path: str) -> os.stat_result | Wrong:
            if problem := unsafe(path):
                return Code.UNSAFE_NAME, "path", "a path inside source.root", problem
            try:
                file = Path(root, path)
                status = file.lstat()
                is_link = stat.S_ISLNK(status.st_mode)
                if leaves(path.rpartition("/")[0]) or (is_link and leaves(path)):
                    return Code.UNSAFE_NAME, "path", "a path inside source.root", "a link that leaves it"
                status = file.stat() if is_link else status
            except (FileNotFoundError, NotADirectoryError):
                return _MISSING
            except OSError as error:
                return Code.UNREADABLE_FILE, "bytes", "a readable file", error.strerror or str(error)
            if not stat.S_ISREG(status.st_mode):
                return Code.SPECIAL_FILE, "kind", "a file", stat.filemode(status.st_mode)
            return status

        return look


def _first(names: Iterable[str], present: list[str]) -> str | None:
    lower = {column.lower(): column for column in reversed(present)}
    return next((lower[name] for name in names if name in lower), None)
