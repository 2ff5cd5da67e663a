"""Drop old versions, and what no version needs: never so that a reader finds a version without its shards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from nhwc.flows.prune_places import Place, Prunable, place_of
from nhwc.flows.soundness import is_named, read_sums, unsound_files
from nhwc.pipelines.checksums import CHECKSUMS
from nhwc.pipelines.listing import Listed, bring_files, listed_versions
from nhwc.pipelines.version import Version
from nhwc.validators.errors import DataError, MachineError, RecipeError
from nhwc.validators.verdict import Verdict
from nhwc.validators.violation import Code, Violation

_LONG_AGO = 365_000
"""Days: a thousand years, which a calendar can go back."""

KEEP = 3
"""Versions that are kept unless another number is asked for: the latest, and two to fall back on."""


def prune(dataset: str | Path, *, keep: int = KEEP, older_than: float | None = None, yes: bool = False) -> Prunable:
    """Find what can be dropped of a dataset, and with `yes` drop it.

    Args:
        dataset: the dataset's folder or URL.
        keep: so many versions stay: `latest`, and the newest before it. One newer than `latest` always stays.
        older_than: drop only versions that were published longer ago than so many days.
        yes: drop it. Training that reads a version that is dropped loses the shards that it has not opened yet.

    Raises RecipeError where there is no dataset, DataError where it cannot be told which shards are needed, since a
    version that stays is damaged, and MachineError where another run holds the dataset, or disk or network fails.
    """
    latest = Version.at(dataset)
    above = str(latest.remote or latest.dataset.resolve())
    if above != (str(dataset).rstrip("/") if latest.remote else str(Path(dataset).resolve())):
        problem = f"found one version, expected its dataset: nhwc prune {latest.name}"
        raise RecipeError(str(dataset), (problem,))
    place = place_of(latest)
    try:
        with place.held():
            found = _prunable(place, listed_versions(latest.name), keep, older_than)
            if yes:
                place.drop(found)
    except OSError as error:
        raise MachineError.of(error, dataset) from error
    return found


def _prunable(place: Place, listed: Sequence[Listed], keep: int, older_than: float | None) -> Prunable:
    versions = outdated(listed, keep=keep, before=None if older_than is None else _days_ago(older_than))
    needed = _needed_shards([one for one in listed if one.version not in versions])
    files = place.files()
    shards = tuple(name for name in files if _is_shard(name) and name not in needed)
    numbers, leftovers = tuple(version.number for version in versions), place.leftovers(files)
    return Prunable(
        versions=numbers, shards=shards, leftovers=leftovers, bytes=_bytes(files, {*numbers, *shards, *leftovers})
    )


def _is_shard(name: str) -> bool:
    return name.startswith("shards/") and name.endswith(".arrow")


def _bytes(files: Mapping[str, int], dropped: set[str]) -> int:
    """Of the files that are dropped, or lie in a folder that is."""
    return sum(size for name, size in files.items() if name in dropped or name.partition("/")[0] in dropped)


def outdated(listed: Sequence[Listed], *, keep: int, before: datetime | None) -> tuple[Version, ...]:
    """The versions that are not among the `keep` newest up to the latest one, and were published before that time."""
    (latest,) = (place for place, one in enumerate(listed) if one.is_latest)
    old = listed[: max(0, latest + 1 - max(1, keep))]
    return tuple(one.version for one in old if before is None or (one.published is not None and one.published < before))


def _days_ago(days: float) -> datetime:
    return datetime.now(UTC) - timedelta(days=min(days, _LONG_AGO))


def _needed_shards(staying: Iterable[Listed]) -> set[str]:
    """The files of shards that these versions name, relative to the dataset.

    Raises DataError where one of them does not reliably say.
    """
    needed = set[str]()
    for one in staying:
        version = one.version
        if one.counts is None:
            bring_files(version)  # which says what is damaged on a store
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
        needed |= {name.removeprefix("../") for name in sums if name.startswith("../")}
        needed |= {f"shards/{name}.arrow" for name in version.columns("shard")["shard"].drop_nulls().unique()}
    return needed
