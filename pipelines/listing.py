"""All versions of a dataset: when each was published, what it counts, and what it takes on the disk."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from nhwc.pipelines.version import Version, numbers_in
from nhwc.validators.errors import DataError


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
    """The versions in a dataset's folder, the oldest first. Raises RecipeError where nothing is published there."""
    latest = Version.at(dataset)
    versions = [Version(dataset=latest.dataset, number=number) for number in numbers_in(latest.dataset)]
    facts = {version.number: _facts(version) for version in versions}
    sizes = {path.stem: path.stat().st_size for path in (latest.dataset / "shards").glob("*.arrow")}
    listed = []
    for version in versions:
        counts, names = facts[version.number]
        there = names & sizes.keys()
        others = frozenset[str]().union(*(named for number, (_, named) in facts.items() if number != version.number))
        listed.append(
            Listed(
                version=version,
                is_latest=version.number == latest.number,
                published=_published(version),
                counts=counts,
                shards=there,
                bytes=sum(sizes[name] for name in there),
                own_bytes=sum(sizes[name] for name in there - others),
            )
        )
    return listed


def _facts(version: Version) -> tuple[dict[str, int] | None, frozenset[str]]:
    """Its counts and the names of its shards, as far as its manifest tells."""
    try:
        rows = version.columns("status", "shard")
        counted = dict(rows["status"].value_counts().iter_rows())
        counts = {status: counted.get(status, 0) for status in ("kept", "quarantined", "skipped")}
        return counts, frozenset(rows["shard"].drop_nulls())
    except (DataError, LookupError):
        return None, frozenset()


def _published(version: Version) -> datetime | None:
    try:
        return datetime.fromtimestamp((version.folder / "checksums").stat().st_mtime, UTC)
    except OSError:
        return None
