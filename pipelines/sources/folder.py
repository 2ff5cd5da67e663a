"""A folder of images: what lies in it, entry by entry, told by content and never by suffix."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import BinaryIO, ClassVar, cast

import polars as pl

from nhwc.pipelines.probe import claimed_format, sniff
from nhwc.pipelines.sources.protocol import STAMP, Discovery, Entry, Listing, by_name, refused
from nhwc.validators.violation import Code

LITTER_FOLDERS = frozenset({"__MACOSX", "@eaDir"})
LITTER_FILES = frozenset({"Thumbs.db", "ehthumbs.db", "desktop.ini", "Icon\r"})
HEAD_BYTES = 64

_SETTLED = frozenset({errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG})
"""Why a folder cannot be listed that says nothing of the disk: what lies in it is left out, by name."""


@dataclass(frozen=True, kw_only=True)
class Folder:
    """The folder at `root`. Links are never followed: what one leads to inside is found by itself."""

    root: Path
    readers: ClassVar[int] = 1

    def discover(self, known: Container[str] = ()) -> Discovery:
        """Every file, link and special file below the root, and every folder without any.

        Hidden and littered files are skipped, each by name. A file is a candidate when its first bytes are those of an
        image, or when it is named like one (and will then be quarantined with what is wrong with its bytes). It is
        not opened where its name is known to be a candidate's.

        Raises OSError where the disk fails while a folder is listed: what lies in it cannot be known then.
        """
        folders: list[str] = []
        entries = by_name(self._walk(folders, known))
        return Discovery(entries=entries, folders=tuple(sorted(folders, key=os.fsencode)))

    def open(self, entry: Entry) -> BinaryIO:
        """The entry's file, unbuffered: it is read in large pieces."""
        path = os.path.join(self.root, entry.name)  # noqa: PTH118  pathlib's joining and opening take twice as long
        return cast(BinaryIO, open(path, "rb", buffering=0))  # noqa: PTH123

    def listing(self) -> Listing:
        """Name, inode, size, mode and times of every entry, folders too; of a link also where it leads."""
        digest, changed_ns, waiting = hashlib.sha256(), 0, [""]
        names, inodes, sizes = list[bytes](), list[int](), list[int]()
        written, changed = list[int](), list[int]()  # columns: of rows each would be one object more a file
        while waiting:
            folder = waiting.pop()
            try:
                with os.scandir(self.root / folder) as found:
                    items = sorted(found, key=attrgetter("name"))
            except OSError as error:
                digest.update(f"{folder!r} {error.errno}\n".encode())
                continue
            above, lines = f"{folder}/" if folder else "", list[str]()
            for item in items:
                name = above + item.name
                try:
                    status = item.stat(follow_symlinks=False)
                except OSError as error:
                    lines.append(f"{name!r} {error.errno}\n")
                    continue
                mode, inode, size = status.st_mode, status.st_ino, status.st_size
                written_ns, inode_ns = status.st_mtime_ns, status.st_ctime_ns
                changed_ns = max(changed_ns, written_ns, inode_ns)
                leads = ""
                if stat.S_ISREG(mode):
                    names.append(os.fsencode(name))
                    inodes.append(inode)
                    sizes.append(size)
                    written.append(written_ns)
                    changed.append(inode_ns)
                elif stat.S_ISDIR(mode):
                    waiting.append(name)
                elif stat.S_ISLNK(mode):
                    target = os.path.realpath(item.path)
                    leads = f" {target!r} {Path(target).exists()}"
                lines.append(f"{name!r} {mode} {inode} {size} {written_ns} {inode_ns}{leads}\n")
            digest.update("".join(lines).encode())
        columns = (names, inodes, sizes, written, changed)
        table = pl.DataFrame(dict(zip(STAMP, columns, strict=True)), schema=dict(STAMP))
        return Listing(digest=digest.hexdigest(), changed_ns=changed_ns, stamps=table)

    def _walk(self, folders: list[str], known: Container[str]) -> Iterator[Entry]:
        waiting = [""]
        while waiting:
            folder = waiting.pop()
            try:
                with os.scandir(self.root / folder) as listing:
                    items = list(listing)
            except OSError as error:
                if error.errno not in _SETTLED:
                    raise
                yield _unlisted(folder, error)
                continue
            if folder:
                folders.append(folder)
                if not items:
                    yield empty_folder(folder)
            for item in items:
                name = f"{folder}/{item.name}" if folder else item.name
                if item.is_dir(follow_symlinks=False):
                    waiting.append(name)
                elif name in known and item.is_file(follow_symlinks=False):
                    yield Entry(name=name)
                else:
                    yield self._classified(Entry(name=name), item)

    def _classified(self, entry: Entry, item: os.DirEntry[str]) -> Entry:
        """The entry with its fate, decided in the order in which one thing hides another."""
        if (by_its_name := refused_by_name(entry)) is not None:
            return by_its_name
        if item.is_symlink():
            return self._link(entry)
        try:
            status = item.stat(follow_symlinks=False)
            if not stat.S_ISREG(status.st_mode):
                return refused(
                    entry,
                    "skipped",
                    Code.SPECIAL_FILE,
                    aspect="kind",
                    expected="a file",
                    found=stat.filemode(status.st_mode),
                )
            with open(item.path, "rb", buffering=0) as file:  # noqa: PTH123  as in `open`
                head = file.read(HEAD_BYTES)
        except OSError as error:
            return unreadable(entry, error)
        return told_by_head(entry, head)

    def _link(self, entry: Entry) -> Entry:
        try:
            target = (self.root / entry.name).resolve(strict=True)
        except (OSError, RuntimeError):  # pathlib calls a loop a RuntimeError before Python 3.13
            return refused(
                entry,
                "skipped",
                Code.LINK_BROKEN,
                aspect="kind",
                expected="a file",
                found="a link to nowhere or in a loop",
            )
        inside = target.is_relative_to(self.root.resolve())
        found = "a link inside the source" if inside else "a link that leaves the source"
        return refused(
            entry, "skipped", Code.LINK if inside else Code.LINK_OUTSIDE, aspect="kind", expected="a file", found=found
        )


def refused_by_name(entry: Entry) -> Entry | None:
    """The entry, skipped, where it is hidden or a system's litter."""
    *above, own = entry.name.split("/")
    if any(part.startswith(".") for part in (*above, own)):
        return refused(entry, "skipped", Code.HIDDEN, aspect="name", expected="no leading dot", found=entry.path)
    if own in LITTER_FILES or LITTER_FOLDERS.intersection(above):
        return refused(entry, "skipped", Code.LITTER, aspect="name", expected="a sample's name", found=entry.path)
    return None


def claims_an_image(entry: Entry) -> bool:
    """Whether it is named like an image: a candidate, whatever its bytes are."""
    return claimed_format(Path(entry.name).suffix) is not None


def told_by_head(entry: Entry, head: bytes) -> Entry:
    """The entry, skipped where neither its first HEAD_BYTES nor its name are an image's."""
    if sniff(head) is None and not claims_an_image(entry):
        return refused(entry, "skipped", Code.OTHER_FILE, aspect="content", expected="an image", found=repr(head[:8]))
    return entry


def unreadable(entry: Entry, error: OSError) -> Entry:
    """The entry, quarantined since the system does not let it be read."""
    found = error.strerror or str(error)
    return refused(entry, "quarantined", Code.UNREADABLE_FILE, aspect="bytes", expected="a readable file", found=found)


def empty_folder(name: str) -> Entry:
    """What stands for a folder that has nothing in it."""
    return refused(
        Entry(name=name), "skipped", Code.EMPTY_FOLDER, aspect="folder", expected="images in it", found="nothing"
    )


def folders_above(names: Iterable[str]) -> Iterator[str]:
    """Every folder that the names lie in, once."""
    seen: set[str] = set()
    for name in names:
        above = name.rpartition("/")[0]
        while above and above not in seen:
            seen.add(above)
            yield above
            above = above.rpartition("/")[0]


def _unlisted(folder: str, error: OSError) -> Entry:
    entry = Entry(name=folder or ".")
    return refused(
        entry,
        "quarantined",
        Code.UNREADABLE_FOLDER,
        aspect="folder",
        expected="a folder that can be listed",
        found=error.strerror or str(error),
    )
