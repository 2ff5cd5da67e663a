"""What an archive has, and what becomes of each of its members: told as `folder.Folder` tells it of files."""

from __future__ import annotations

import posixpath
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from nhwc.pipelines.sources.folder import claims_an_image, empty_folder, folders_above, refused_by_name, told_by_head
from nhwc.pipelines.sources.protocol import Entry, refused
from nhwc.pipelines.sources.unpacked import most_unpacked
from nhwc.validators.violation import Code

Wrong = tuple[Code, str, str, str]
"""A code, and the aspect, what was expected and what was found, in words."""

At = tuple[int, ...]
"""Where a member's bytes lie, in the terms of the archive's kind."""

_ON_A_DRIVE = re.compile(r"[A-Za-z]:(/|$)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """One member of an archive.

    Args:
        name: as the archive has it.
        kind: what it is.
        size: in bytes, unpacked.
        packed: in bytes, as it lies in the archive.
        at: where its bytes lie.
        leads: where a link leads, relative to the archive's root.
        wrong: why it cannot be read, if it cannot.
    """

    name: str
    kind: Literal["file", "folder", "link", "special"] = "file"
    size: int = 0
    packed: int = 0
    at: At = ()
    leads: str = ""
    wrong: Wrong | None = None


@dataclass(frozen=True, kw_only=True)
class Members:
    """All members that an archive has, in its order; and what is wrong with what follows them, if anything is."""

    members: tuple[Member, ...]
    damage: str | None = None


def unsafe(name: str) -> str | None:
    """What makes a name one that leads out of its archive on some system, or is none; None where nothing does."""
    path = name.replace("\\", "/")
    if "\0" in name:
        return "a name with NUL"
    if path.startswith("/") or _ON_A_DRIVE.match(path):
        return "an absolute path"
    if ".." in path.split("/"):
        return "a path with .."
    return None if plain(name) else "no name"


def plain(name: str) -> str:
    """A safe name without what says nothing: ./ at its begin, // and a / at its end. Empty where nothing is left."""
    return "/".join(part for part in name.split("/") if part not in ("", "."))


def refused_for(entry: Entry, wrong: Wrong) -> Entry:
    """The entry, quarantined."""
    code, aspect, expected, found = wrong
    return refused(entry, "quarantined", code, aspect=aspect, expected=expected, found=found)


def unsafe_entry(name: str, problem: str) -> Entry:
    """What stands for a member whose name is unsafe."""
    return refused_for(Entry(name=name), (Code.UNSAFE_NAME, "name", "a path inside the archive", problem))


def damaged_rest(name: str, damage: str) -> Entry:
    """What stands for the part of an archive that cannot be read."""
    return refused_for(
        Entry(name=name), (Code.DAMAGED_SOURCE, "members", "an archive that is whole to its end", damage)
    )


@dataclass(frozen=True, kw_only=True)
class Tree:
    """The members of an archive as the files of a folder.

    Args:
        members: those whose names are safe, by plain name; more than one where the archive has the name twice.
        unsafe: entries of the others.
        folders: every folder, whether it is a member or only in names.
    """

    members: Mapping[str, tuple[Member, ...]]
    unsafe: tuple[Entry, ...]
    folders: frozenset[str]

    @classmethod
    def of(cls, members: Iterable[Member], *, below: str = "", prefix: str = "") -> Tree:
        """The tree below one folder of the archive, names relative to it; unsafe names wherever they lead.

        Entries of unsafe names have the prefix before them.
        """
        found, folders = defaultdict[str, list[Member]](list), set[str]()
        strange = dict[str, Entry]()
        for member in members:
            if problem := unsafe(member.name):
                if member.kind != "folder" or problem != "no name":
                    strange[member.name] = unsafe_entry(prefix + member.name, problem)
                continue
            name = _relative(plain(member.name), below)
            if name is not None and member.kind == "folder":
                folders.add(name)
            elif name is not None:
                found[name].append(member)
        folders.update(folders_above([*found, *folders]))
        return cls(
            members={name: tuple(same) for name, same in found.items()},
            unsafe=tuple(strange.values()),
            folders=frozenset(folders),
        )

    def entries(self, head: Callable[[At], bytes], *, below: str, most_bytes: int) -> Iterator[Entry]:
        """An entry for each name and for each empty folder.

        Args:
            head: a member's first HEAD_BYTES; raises OSError.
            below: the folder of the archive that names are relative to.
            most_bytes: of a larger image none is read.
        """
        yield from self.unsafe
        yield from map(empty_folder, self.folders - set(folders_above([*self.members, *self.folders])))
        for name, (member, *_) in self.members.items():
            entry = Entry(name=name, at=member.at)
            yield self.no_file(name, below=below) or _file(entry, member, head, most_bytes)

    def no_file(self, name: str, *, prefix: str = "", below: str = "") -> Entry | None:
        """What becomes of a name that stands for no file, or for more than one; None where it stands for one.

        Args:
            name: in the tree.
            prefix: what its entry's name has before it.
            below: as for `entries`.
        """
        entry, same = Entry(name=prefix + name), self.members[name]
        if (by_its_name := refused_by_name(entry)) is not None:
            return by_its_name
        if len(same) > 1:
            return refused_for(entry, (Code.NAME_TWICE, "name", "one member of this name", f"{len(same)} members"))
        if same[0].kind == "file":
            return None
        code, found = Code.SPECIAL_FILE, "a FIFO or a device"
        if same[0].kind == "link":  # what it leads to inside is found by itself
            code, found = self._leads(same[0], below)
        return refused(entry, "skipped", code, aspect="kind", expected="a file", found=found)

    def _leads(self, link: Member, below: str) -> tuple[Code, str]:
        seen = set[str]()
        while True:
            path = posixpath.normpath(link.leads)
            target = "" if path == (below or ".") else _relative(path, below)
            if target is None or unsafe(link.leads) == "an absolute path" or path.split("/")[0] == "..":
                return Code.LINK_OUTSIDE, "a link that leaves the source"
            if target == "" or target in self.folders:
                return Code.LINK, "a link inside the source"
            if target in seen or target not in self.members:
                return Code.LINK_BROKEN, "a link to nowhere or in a loop"
            seen.add(target)
            if self.members[target][0].kind != "link":
                return Code.LINK, "a link inside the source"
            link = self.members[target][0]


def _relative(name: str, below: str) -> str | None:
    """The name relative to a folder; None where it does not lie below it."""
    if not below:
        return name or None
    return name.removeprefix(f"{below}/") if name.startswith(f"{below}/") else None


def _file(entry: Entry, member: Member, head: Callable[[At], bytes], most_bytes: int) -> Entry:
    """A member that is a file, decided in the order in which one thing hides another."""
    if member.wrong is not None:
        return refused_for(entry, member.wrong)
    try:
        told = entry if claims_an_image(entry) else told_by_head(entry, head(member.at))
    except OSError as error:
        return refused_for(entry, (Code.DAMAGED_SOURCE, "bytes", "bytes that can be unpacked", str(error)))
    return told if told.status != "candidate" else as_image(entry, member, most_bytes)


def as_image(entry: Entry, member: Member, most_bytes: int) -> Entry:
    """The entry of an image, quarantined where its member cannot be read, is too large or is packed too well."""
    if member.wrong is not None:
        return refused_for(entry, member.wrong)
    if member.size > most_bytes:
        found = f"{member.size:,} bytes"
        return refused_for(entry, (Code.TOO_MANY_BYTES, "bytes", f"at most {most_bytes:,} bytes", found))
    if member.size > most_unpacked(member.packed):
        expected = f"at most {most_unpacked(member.packed):,} bytes out of {member.packed:,}"
        return refused_for(entry, (Code.PACKED_TOO_WELL, "bytes", expected, f"{member.size:,}"))
    return entry
