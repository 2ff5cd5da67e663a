"""Where a prune drops things: in a dataset's folder, or on a store and in its mirror."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from typing_extensions import override

from nhwc.flows.durable import locked, move_durably
from nhwc.flows.publish import STAGING
from nhwc.flows.remote_lock import require_lock
from nhwc.flows.upload import mirrored
from nhwc.pipelines.checksums import CHECKSUMS
from nhwc.pipelines.remote import Remote
from nhwc.pipelines.version import Version, sorted_numbers


@dataclass(frozen=True, kw_only=True)
class Prunable:
    """What a prune drops; all names are relative to the dataset, with /.

    Args:
        versions: the numbers of old versions, the oldest first.
        shards: files of shards that no version that stays names.
        leftovers: files and folders that runs left behind which were killed or refused: an ingest may make them again.
        bytes: what all that takes.
    """

    versions: tuple[str, ...]
    shards: tuple[str, ...]
    leftovers: tuple[str, ...]
    bytes: int


class Place(Protocol):
    """Where a dataset is published. All methods raise OSError, or MachineError where another run holds the dataset."""

    def held(self) -> AbstractContextManager[object]:
        """Nobody else writes it meanwhile."""
        ...

    def files(self) -> Mapping[str, int]:
        """The bytes of every file, by its name relative to the dataset; sorted."""
        ...

    def leftovers(self, files: Mapping[str, int]) -> tuple[str, ...]:
        """What runs left behind, of these files and of the folders that they lie in."""
        ...

    def drop(self, found: Prunable) -> None:
        """Drop it: first no reader finds the versions, then they go, last their shards.

        Killed anywhere, the next prune goes on.
        """
        ...


def place_of(version: Version) -> Place:
    """Where a version's dataset is published."""
    if version.remote is None:
        return _Folder(dataset=version.dataset)
    return _Store(remote=version.remote, mirror=version.dataset)


@dataclass(frozen=True, kw_only=True)
class _Folder(Place):
    """On this machine."""

    dataset: Path

    @override
    def held(self) -> AbstractContextManager[object]:
        return locked(self.dataset)

    @override
    def files(self) -> Mapping[str, int]:
        return dict(sorted(_sizes(self.dataset)))

    @override
    def leftovers(self, files: Mapping[str, int]) -> tuple[str, ...]:
        staged = (STAGING,) if (self.dataset / STAGING).exists() else ()
        return (*staged, *(name for name in files if name.endswith(".unfinished") and "/" not in name))

    @override
    def drop(self, found: Prunable) -> None:
        hidden = self.dataset / STAGING
        hidden.mkdir(exist_ok=True)
        for number in found.versions:
            move_durably(self.dataset / number, hidden / f"pruned-{number}")
        for path in (
            *hidden.glob("pruned-*"),
            *(self.dataset / name for name in (*found.shards, *found.leftovers)),
            hidden,
        ):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


@dataclass(frozen=True, kw_only=True)
class _Store(Place):
    """On a store. What is dropped there goes from the mirror on this machine too; others are for who uses them."""

    remote: Remote
    mirror: Path

    @override
    def held(self) -> AbstractContextManager[object]:
        return mirrored(self.remote, self.mirror, publishing=True)

    @override
    def files(self) -> Mapping[str, int]:
        return {name: found.size for name, found in self.remote.files().items()}

    @override
    def leftovers(self, files: Mapping[str, int]) -> tuple[str, ...]:
        """Versions without their checksums: an upload that was cut off, or a prune."""
        folders = {name.partition("/")[0] for name in files if "/" in name}
        return tuple(number for number in sorted_numbers(folders) if f"{number}/{CHECKSUMS}" not in files)

    @override
    def drop(self, found: Prunable) -> None:
        require_lock(self.remote, self.mirror)
        for number in found.versions:  # without it nobody takes the folder for a version
            self._remove(f"{number}/{CHECKSUMS}")
        folders = {*found.versions, *found.leftovers}
        for name in (*(name for name in self.files() if name.partition("/")[0] in folders), *found.shards):
            self._remove(name)
        for folder in folders:
            shutil.rmtree(self.mirror / folder, ignore_errors=True)
        for name in found.shards:
            (self.mirror / name).unlink(missing_ok=True)

    def _remove(self, name: str) -> None:
        with suppress(FileNotFoundError):
            self.remote.tried(name, lambda filesystem, path: filesystem.rm_file(path))


def _sizes(folder: Path) -> Iterator[tuple[str, int]]:
    for path in folder.rglob("*"):
        if path.is_file():
            yield path.relative_to(folder).as_posix(), path.stat().st_size
