"""All versions of a dataset: when each was published, what it counts, and what it takes on the disk or the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from nhwc.pipelines.checksums import CHECKSUMS
from nhwc.pipelines.mirror import pull
from nhwc.pipelines.remote import Remote
from nhwc.pipelines.version import Version, numbers_in, sorted_numbers
from nhwc.validators.errors import DataError, MachineError


@dataclass(frozen=True, kw_only=True)
class Listed:
    """One version among the others.

    Args:
        version: the version.
        is_latest: whether `latest` names it.
        published: when its checksums were written, UTC; None where they are missing.
        counts: how many entries are kept, quarantined and skipped; None where its manifest is damaged.
        shards: the names of its shards that are there.
        bytes: what these take.
        own_bytes: what those of them take that no other version names: they go with it.
    """

    version: Version
    is_latest: bool
    published: datetime | None
    counts: dict[str, int] | None
    shards: frozenset[str]
    bytes: int
    own_bytes: int


def listed_versions(dataset: str | Path) -> list[Listed]:
    """The versions of a dataset, in a folder or at a URL, the oldest first.

    Raises RecipeError where nothing is published there, and MachineError where a store cannot be asked.
    """
    latest = Version.at(dataset)
    there = _in_folder(latest.dataset) if latest.remote is None else _on_store(latest.remote)
    versions = [
        Version(dataset=latest.dataset, number=number, remote=latest.remote)
        for number in sorted_numbers(there.published)
    ]
    facts = {version.number: _facts(version) for version in versions}
    listed = []
    for version in versions:
        counts, names = facts[version.number]
        found = names & there.shards.keys()
        others = frozenset[str]().union(*(named for number, (_, named) in facts.items() if number != version.number))
        listed.append(
            Listed(
                version=version,
                is_latest=version.number == latest.number,
                published=there.published[version.number],
                counts=counts,
                shards=found,
                bytes=sum(there.shards[name] for name in found),
                own_bytes=sum(there.shards[name] for name in found - others),
            )
        )
    return listed


@dataclass(frozen=True, kw_only=True)
class _There:
    """What lies at a place: when each version was published, by number, and the bytes of each shard, by name."""

    published: Mapping[str, datetime | None]
    shards: Mapping[str, int]


def _in_folder(dataset: Path) -> _There:
    return _There(
        published={number: _published(dataset / number) for number in numbers_in(dataset)},
        shards={path.stem: path.stat().st_size for path in (dataset / "shards").glob("*.arrow")},
    )


def _on_store(remote: Remote) -> _There:
    """A version is there once its checksums are."""
    try:
        files = remote.files()
    except OSError as error:
        raise MachineError.of(error) from error
    ends = {name: name.removesuffix(f"/{CHECKSUMS}") for name in files}
    return _There(
        published={ends[name]: _time(one.written_ns / 1e9) for name, one in files.items() if name != ends[name]},
        shards={Path(name).stem: one.size for name, one in files.items() if name.startswith("shards/")},
    )


def _facts(version: Version) -> tuple[dict[str, int] | None, frozenset[str]]:
    """Its counts and the names of its shards, as far as its manifest tells."""
    try:
        bring_files(version)
        rows = version.columns("status", "shard")
        counted = dict(rows["status"].value_counts().iter_rows())
        counts = {status: counted.get(status, 0) for status in ("kept", "quarantined", "skipped")}
        return counts, frozenset(rows["shard"].drop_nulls())
    except (DataError, LookupError):
        return None, frozenset()


def bring_files(version: Version) -> None:
    """Have a version's own files in its mirror, if it is on a store.

    Raises DataError where they are damaged, and MachineError where they cannot be brought.
    """
    if version.remote is not None:
        try:
            pull(version.remote, version.number)
        except OSError as error:
            raise MachineError.of(error) from error


def _published(folder: Path) -> datetime | None:
    try:
        return _time((folder / CHECKSUMS).stat().st_mtime)
    except OSError:
        return None


def _time(seconds: float) -> datetime | None:
    """Seconds since 1970 as UTC; None for 0, which a store says that knows no times."""
    return datetime.fromtimestamp(seconds, UTC) if seconds else None
