"""WebDataset: tars in which the members of one sample share a name up to its first dot (0001.jpg, 0001.cls)."""

from __future__ import annotations

import io
import json
import re
from collections import defaultdict
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

from nhwc.pipelines.probe import claimed_format, sniff
from nhwc.pipelines.sources.container import OpenedAnew, damaged, files_at, listing_of, split_named, told_discovery
from nhwc.pipelines.sources.folder import HEAD_BYTES
from nhwc.pipelines.sources.members import Member, Tree, as_image, damaged_rest, refused_for
from nhwc.pipelines.sources.protocol import Discovery, Entry, Listing, refused
from nhwc.pipelines.sources.tar_members import PACKED, read_part, tar_members
from nhwc.validators.errors import RecipeError
from nhwc.validators.violation import Code

_NAME = re.compile(r"(?P<key>(?:.*/)?[^./]+)\.(?P<extension>[^/]*)", re.DOTALL)
"""As `webdataset` itself takes a name apart."""

MOST_LABEL_BYTES = 1 << 20
"""Of a member that a label is read from."""

_Parts = list[tuple[str, Member]]
"""The members of one sample, each with its extension in lower case."""


@dataclass(frozen=True, kw_only=True)
class WebDataset(OpenedAnew):
    """The samples of a tar, or of all tars of a folder. The split is what a tar's name says, or train.

    Args:
        path: of the tar, or of the folder.
        image: extensions of the image, the first that a sample has; empty: whichever extension is an image's.
        label: the extension of the label, a number or a text, as `cls`; or a field of JSON, as `json:label`, of a
            field's field as `json:meta.label`.
        most_bytes: of a larger image none is read.
    """

    path: Path
    image: tuple[str, ...] = ()
    label: str = "cls"
    most_bytes: int
    readers: ClassVar[int] = 1

    def discover(self, known: Container[str] = ()) -> Discovery:
        """Every sample as `<tar>/<key>`, every member that is of none, and what stands for a rest that is damaged.

        A link in the folder is not followed.

        Raises DataError where a tar is none, RecipeError where the folder has none.
        """
        return told_discovery(entry for file in self._files for entry in self._entries(file))

    def open(self, entry: Entry) -> BinaryIO:
        """The image's member."""
        tar, offset, size = entry.at
        with self._file(str(tar)).open("rb", buffering=0) as file:
            return io.BytesIO(read_part(file, (int(offset), int(size))))

    def listing(self) -> Listing:
        """Name, inode, size and times of the tars."""
        return listing_of(self._files)

    @property
    def _files(self) -> list[Path]:
        files = files_at(self.path, ".tar", *(".tar.gz", ".tgz", ".tar.bz2", ".tar.xz"))
        if not files:
            raise RecipeError("source.path", (f"found no .tar in {self.path}, expected the tars of a webdataset",))
        return files

    def _name(self, file: Path) -> str:
        return file.name if file == self.path else file.relative_to(self.path).as_posix()

    def _file(self, name: str) -> Path:
        return self.path / name if self.path.is_dir() else self.path

    def _entries(self, path: Path) -> Iterator[Entry]:
        name = self._name(path)
        if path != self.path and path.is_symlink():
            yield refused(Entry(name=name), "skipped", Code.LINK, aspect="kind", expected="a tar", found="a link")
            return
        split = split_named(name) or "train"
        with path.open("rb", buffering=0) as file:
            _see_packed(file, path)
            found = tar_members(file, path)
            tree = Tree.of(found.members, prefix=f"{name}/")
            yield from tree.unsafe
            samples = defaultdict[str, _Parts](list)
            for member_name, (member, *_) in tree.members.items():
                if (refusal := tree.no_file(member_name, prefix=f"{name}/")) is not None:
                    yield refusal
                elif (parts := _NAME.fullmatch(member_name)) is not None:
                    samples[parts["key"]].append((parts["extension"].lower(), member))
                else:
                    yield _without_key(Entry(name=f"{name}/{member_name}"), member, file)
            for key, parts_of in samples.items():
                yield self._sample(Entry(name=f"{name}/{key}", split=split), name, parts_of, file)
        if found.damage is not None:
            yield damaged_rest(name, found.damage)

    def _sample(self, entry: Entry, tar: str, parts: _Parts, file: BinaryIO) -> Entry:
        images = self._images(parts)
        if len(images) != 1:
            named = "|".join(self.image)
            return _wrong_parts(entry, "image", f"one member .{named}" if named else "one image", parts)
        extension, _, field = self.label.partition(":")
        labels = [member for suffix, member in parts if suffix == extension.lower()]
        if len(labels) != 1:
            return _wrong_parts(entry, "label", f"one member .{extension}", parts)
        try:
            label = _label(_text(labels[0], file), field)
        except (OSError, ValueError, RecursionError) as error:
            expected = f"{'JSON' if field else 'text'} of at most {MOST_LABEL_BYTES:,} bytes in .{extension}"
            return refused_for(entry, (Code.DAMAGED_SOURCE, "label", expected, str(error)))
        if not isinstance(label, str):
            expected = f"a number or a text as {self.label}"
            return refused_for(entry, (Code.WRONG_PARTS, "label", expected, _shown(label)))
        whole = Entry(name=entry.name, split=entry.split, label=label, at=(tar, *images[0].at))
        return as_image(whole, images[0], self.most_bytes)

    def _images(self, parts: _Parts) -> list[Member]:
        """The members that may be the sample's image."""
        if self.image:
            wanted = next((one for one in self.image if any(suffix == one for suffix, _ in parts)), None)
            return [member for suffix, member in parts if suffix == wanted]
        images = [(suffix, member) for suffix, member in parts if claimed_format(f".{suffix.rpartition('.')[2]}")]
        photographs = [one for one in images if not one[0].endswith("npy")]  # beside one an array is something else
        return [member for _, member in photographs or images]


def _see_packed(file: BinaryIO, path: Path) -> None:
    """Raises DataError where a tar is packed: out of its middle nothing can be read."""
    if file.read(8).startswith(tuple(PACKED)):
        hint = "unpack it first, as by gunzip"
        raise damaged(path, "format", expected="a tar that is not packed", found="a packed one", hint=hint)


def _without_key(entry: Entry, member: Member, file: BinaryIO) -> Entry:
    """A member that is of no sample: quarantined where it is an image, else skipped."""
    expected, found = "a name as <key>.<extension>", entry.path
    if sniff(read_part(file, member.at, HEAD_BYTES)) is not None:
        return refused_for(entry, (Code.WRONG_PARTS, "name", expected, found))
    return refused(entry, "skipped", Code.OTHER_FILE, aspect="name", expected=expected, found=found)


def _wrong_parts(entry: Entry, aspect: str, expected: str, parts: _Parts) -> Entry:
    found = " ".join(sorted(f".{suffix}" for suffix, _ in parts))
    return refused_for(entry, (Code.WRONG_PARTS, aspect, expected, found))


def _text(member: Member, file: BinaryIO) -> str:
    """Raises ValueError or OSError where it is none."""
    if member.wrong is not None or member.size > MOST_LABEL_BYTES:
        raise ValueError(member.wrong[-1] if member.wrong else f"{member.size:,} bytes")
    return read_part(file, member.at).decode("utf-8")


def _label(text: str, field: str) -> Any:
    """The label, text where it is a number or a text; else what stands there, None where nothing does."""
    if not field:
        return text.strip() or None
    found: Any = json.loads(text)
    for name in field.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    is_number = isinstance(found, int) and not isinstance(found, bool)
    return str(found) if is_number else found or None


def _shown(label: object) -> str:
    return "none" if label is None else f"{type(label).__name__} {label!r}"[:80]


def extensions(image: str) -> tuple[str, ...]:
    """The extensions that a text such as `jpg;png` names, in lower case and without dots before them."""
    return tuple(one.strip().removeprefix(".").lower() for one in image.split(";") if one.strip(" ."))
