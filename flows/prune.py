"""Drop old versions, and what no version needs: never so that a reader finds a version without its shards."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from nhwc.flows.durable import locked, move_durably
from nhwc.flows.publish import STAGING
from nhwc.flows.soundness import is_named, read_sums, unsound_files
from nhwc.pipelines.checksums import CHECKSUMS
from nhwc.pipelines.listing import Listed, listed_versions
from nhwc.pipelines.version import Version
from nhwc.validators.errors import DataError, MachineError, RecipeError
from nhwc.validators.verdict import Verdict
from nhwc.validators.violation import Code, Violation

KEEP = 3
"""Versions that are kept unless another number is asked for: the latest, and two to fall back on."""


@dataclass(frozen=True, kw_only=True)
class Prunable:
    """What a prune drops.

    Args:
        versions: old versions, the oldest first.
        shards: files of shards that no version that stays names.
        leftovers: what runs that were killed or refused left behind: an ingest may make it again.
        bytes: what all that takes.
    """

    versions: tuple[Version, ...]
    shards: tuple[Path, ...]
    leftovers: tuple[Path, ...]
    bytes: int


def prune(dataset: str | Path, *, keep: int = KEEP, older_than: float | None = None, yes: bool = False) -> Prunable:
    """Find what can be dropped of a dataset, and with `yes` drop it.

    Args:
        dataset: the dataset's folder.
        keep: so many versions stay: `latest`, and the newest before it. One newer than `latest` always stays.
        older_than: drop only versions that were published longer ago than so many days.
        yes: drop it. Training that reads a version that is dropped loses the shards that it has not opened yet.

    Raises RecipeError where there is no dataset, DataError where it cannot be told which shards are needed, since a
    version that stays is damaged, and MachineError where another run holds the dataset or the disk fails.
    """
    latest = Version.at(dataset)
    if latest.dataset.resolve() != Path(dataset).resolve():
        problem = f"found a version's folder, expected its dataset's: nhwc prune {latest.dataset}"
        raise RecipeError(str(dataset), (problem,))
    try:
        with locked(latest.dataset):
            found = _prunable(latest.dataset, keep, older_than)
            if yes:
                _drop(latest.dataset, found)
    except OSError as error:
        raise MachineError.of(error, dataset) from error
    return found


def _prunable(dataset: Path, keep: int, older_than: float | None) -> Prunable:
    listed = listed_versions(dataset)
    versions = outdated(listed, keep=keep, before=None if older_than is None else _days_ago(older_than))
    needed = _needed_shards([one.version for one in listed if one.version not in versions])
    shards = tuple(path for path in sorted((dataset / "shards").glob("*.arrow")) if path.name not in needed)
    leftovers = tuple(path for path in (dataset / STAGING, *sorted(dataset.glob("*.unfinished"))) if path.exists())
    folders = [version.folder for version in versions]
    return Prunable(
        versions=versions, shards=shards, leftovers=leftovers, bytes=sum(map(_bytes, (*folders, *shards, *leftovers)))
    )


def outdated(listed: Sequence[Listed], *, keep: int, before: datetime | None) -> tuple[Version, ...]:
    """The versions that are not among the `keep` newest up to the latest one, and were published before that time."""
    (latest,) = (place for place, one in enumerate(listed) if one.is_latest)
    old = listed[: max(0, latest + 1 - max(1, keep))]
    return tuple(one.version for one in old if before is None or (one.published is not None and one.published < before))


def _days_ago(days: float) -> datetime:
    return datetime.now(UTC) - timedelta(days=days)


def _needed_shards(staying: Iterable[Version]) -> set[str]:
    """The files of shards that these versions name. Raises DataError where one of them does not reliably say."""
    needed = set[str]()
    for version in staying:
        sums = read_sums(version)
        damaged = {CHECKSUMS, "manifest.parquet"} & set(unsound_files(version, sums))
        if damaged or (version.number == Version.at(version.dataset).number and not is_named(version)):
            unknown = Violation(
                code=Code.CHECKSUM,
                stage="prune",
                aspect=f"{version.number}/{min(damaged, default=CHECKSUMS)}",
                expected="the file as it was published, which says what shards are needed",
                found="another, or none",
                hint="nothing was dropped. `nhwc ingest` mends the latest version; restore another from a copy, or "
                "have it dropped too, with a smaller --keep",
            )
            raise DataError(Verdict(violations=(unknown,)))
        needed |= {name.rpartition("/")[2] for name in sums if name.startswith("../")}
        needed |= {f"{name}.arrow" for name in version.columns("shard")["shard"].drop_nulls().unique()}
    return needed


def _drop(dataset: Path, found: Prunable) -> None:
    """First no reader finds the versions, then they go, last their shards: killed anywhere, the next prune goes on."""
    hidden = dataset / STAGING
    hidden.mkdir(exist_ok=True)
    for version in found.versions:
        move_durably(version.folder, hidden / f"pruned-{version.number}")
    for path in (*hidden.glob("pruned-*"), *found.shards, *found.leftovers, hidden):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _bytes(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else (path,)
    return sum(file.stat().st_size for file in files if file.is_file())
