"""Is a published version still what was published? Only checksums find rot: a decoder accepts most of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from nhwc.flows.publish import VERSION_FILES
from nhwc.flows.shard_hashes import doubt_shards
from nhwc.pipelines.checksums import CHECKSUMS, read_checksums, sha256_of
from nhwc.pipelines.image_recipe import ImageRecipe
from nhwc.pipelines.remote import is_url
from nhwc.pipelines.store import Images, open_shard, pixel_hash
from nhwc.pipelines.version import Latest, Version, numbers_in
from nhwc.validators.argument import named, wrong_number, wrong_place
from nhwc.validators.errors import DataError, MachineError, RecipeError
from nhwc.validators.verdict import Verdict
from nhwc.validators.violation import Code, Violation


def verify(dataset: str | Path, *, sample: int | None = None, seed: int = 0) -> Verdict:
    """Hold every file of a version, every shard and every stored image against its published hash.

    Args:
        dataset: the folder or URL of a dataset (`latest` and the version that it names) or of one version. The
            checksums themselves are held against `latest`; those of other versions only against the files. From a store
            what is not in the cache is brought there, and then the cache is looked at, and whether the store has as
            many bytes.
        sample: look at the pixels of only so many images, drawn at random, and at no whole shard.
        seed: of that draw.

    Every damage found is a violation; those of pixels name the sample. Where there is any, no shard is taken on trust
    by the next ingest. Raises RecipeError for wrong arguments, all at once, and where nothing is published.
    """
    if problems := named(
        dataset=wrong_place(dataset),
        sample=wrong_number(sample, least=1, optional=True),
        seed=wrong_number(seed, least=0),
    ):
        raise RecipeError("nhwc.verify", tuple(problems))
    unnamed = None if is_url(dataset) else _damaged_latest(Path(dataset))
    if unnamed is not None:
        return Verdict(violations=(unnamed,))
    try:
        version = Version.at(dataset)
    except DataError as error:  # what a store has of it is not what it says
        return error.verdict
    verdict = _verify(version, sample, seed)
    if not verdict.passed:
        with suppress(OSError):  # where it may not write, an ingest may not either
            doubt_shards(version.dataset)
    return verdict


def _damaged_latest(dataset: Path) -> Violation | None:
    """What is wrong with the `latest` of a dataset's folder; the folder of a version has none."""
    try:
        said = Latest.read(dataset)
    except (OSError, ValueError) as error:
        if not (dataset / "latest").exists() and not (dataset.is_dir() and numbers_in(dataset)):
            return None  # nothing is published there
        missing = isinstance(error, OSError)
        code, expected = Code.MISSING_PART if missing else Code.CHECKSUM, "the number of a version"
        return _violation(code, "latest", expected=expected, found=str(error))
    folder = dataset / said.number
    if not folder.is_dir():
        others = ", ".join(numbers_in(dataset)) or "no version"
        return _violation(Code.CHECKSUM, "latest", expected=f"one of {others}", found=said.number)
    return None


def _verify(version: Version, sample: int | None, seed: int) -> Verdict:
    try:
        sums = read_checksums(version.folder)
    except PermissionError as error:  # whatever is in it
        raise MachineError.of(error, version.folder) from error
    except (OSError, ValueError) as error:
        lost = _violation(Code.MISSING_PART, CHECKSUMS, expected="a list of hashes", found=str(error))
        return Verdict(violations=(lost,))
    violations = [
        *_contradicted(version),
        *_unlisted(sums, VERSION_FILES),
        *_damaged_files(version, sums, with_shards=sample is None),
    ]
    if any(violation.aspect in ("manifest.parquet", "checksums") for violation in violations):
        return Verdict(violations=tuple(violations))  # its hashes cannot be trusted
    kept = version.kept
    violations += _unlisted(sums, [f"../shards/{name}.arrow" for name in kept["shard"].unique().sort()])
    if sample is not None and sample < kept.height:
        drawn = np.random.default_rng(seed).choice(kept.height, size=sample, replace=False)
        kept = kept[np.sort(drawn)]
    decoding = _decoding(version)
    for (name,), stored in kept.group_by("shard", maintain_order=True):
        violations += _damaged_pixels(version, str(name), decoding, stored)
    return Verdict(violations=tuple(violations), figures={"images": kept.height})


def _contradicted(version: Version) -> Iterator[Violation]:
    """Checksums that are not those that `latest` names, where it names this version."""
    try:
        said = Latest.read(version.dataset)
        found = sha256_of(version.folder / CHECKSUMS)
    except (OSError, ValueError):
        return
    if said.number == version.number and said.checksums not in (None, found):
        yield _violation(
            Code.CHECKSUM, "latest", expected=f"sha256 {said.checksums} of {CHECKSUMS}", found=f"sha256 {found}"
        )


def _unlisted(sums: Mapping[str, str], names: Iterable[str]) -> list[Violation]:
    """What a version has and its `checksums` do not vouch for."""
    return [
        _violation(Code.CHECKSUM, "checksums", expected=f"a line for {name.rpartition('/')[2]}", found="none")
        for name in names
        if name not in sums
    ]


def _damaged_files(version: Version, sums: Mapping[str, str], *, with_shards: bool) -> list[Violation]:
    """The files of a version, and if asked its shards, that are missing or not what `checksums` says."""
    violations = []
    for name, digest in sums.items():
        if not with_shards and name.startswith("../"):
            continue
        try:
            path = version.folder / name
            if name.startswith("../") and version.remote is not None:
                path = version.bring_shard(path.stem)
                violations += _other_size(version, path)
            found = sha256_of(path)
        except PermissionError as error:
            raise MachineError.of(error, name) from error
        except (OSError, ValueError) as error:
            violations.append(_violation(Code.MISSING_PART, name, expected="the file", found=str(error)))
            continue
        except DataError as error:  # of what was brought
            violations += error.verdict.violations
            continue
        if found != digest:
            violations.append(_violation(Code.CHECKSUM, name, expected=f"sha256 {digest}", found=f"sha256 {found}"))
    return violations


def _other_size(version: Version, path: Path) -> list[Violation]:
    """Where the store does not have the shard, or not of the size that it has here."""
    stored, here = version.on_store.get(path.name), path.stat().st_size
    if stored is not None and stored.size == here:
        return []
    found = "none" if stored is None else f"{stored.size:,} bytes"
    return [_violation(Code.MISSING_PART, path.name, expected=f"{here:,} bytes at {version.remote}", found=found)]


def _decoding(version: Version) -> ImageRecipe | None:
    """By what shards of files are decoded; None also where the file that says so is damaged, which is told by then."""
    try:
        return version.decoding
    except DataError:
        return None


def _damaged_pixels(version: Version, name: str, decoding: ImageRecipe | None, rows: pl.DataFrame) -> list[Violation]:
    """The samples of one shard whose pixels are not those that were published."""
    path = version.shard_path(name)
    try:
        shard = open_shard(version.bring_shard(name), decoding)
    except DataError as error:
        return list(error.verdict.violations)
    except (OSError, pa.ArrowException, KeyError, ValueError) as error:
        return [_violation(Code.MISSING_PART, path.name, expected="a readable shard", found=str(error).splitlines()[0])]
    violations = []
    for sample_id, row, digest in rows.select("sample_id", "row", "pixel_hash").iter_rows():
        found = _hash_at(shard.images, row)
        if found != digest:
            violations.append(
                _violation(Code.PIXELS_CHANGED, "pixels", expected=digest, found=found, sample_id=sample_id)
            )
    return violations


def _hash_at(images: Images, row: int) -> str:
    """The SHA-256 of a stored image's pixels, or why there are none."""
    if row >= len(images):
        return "no such row"
    try:
        return pixel_hash(images[row])
    except DataError as error:
        return f"no image: {error.verdict.violations[0].code}"


def _violation(code: Code, aspect: str, *, expected: str, found: str, sample_id: str | None = None) -> Violation:
    """A finding of verify."""
    hint = "ingest again: an unchanged source makes the latest version anew; or restore it from a copy"
    return Violation(
        code=code, stage="verify", aspect=aspect, expected=expected, found=found, sample_id=sample_id, hint=hint
    )
