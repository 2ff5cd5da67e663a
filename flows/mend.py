"""Find what is missing or damaged of a dataset's latest version, and bring it back, byte by byte as it was published.

What follows from the rest is written again at once (`latest`, checksums, recipe, contract) where its hash says that it
is what was published. All else comes of the draft that an ingest makes anyway: a lost shard's samples are decoded
again, and a version's other files are put in their places where the whole draft says what the version said.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from nhwc.flows.durable import write_text
from nhwc.flows.hashing import Hashes
from nhwc.flows.publish import (
    FIRST,
    REPORT,
    VERSION_FILES,
    Draft,
    Page,
    checksums_text,
    contract_text,
    draft_sums,
    name_latest,
    next_number,
    put_in_place,
    shard_sums,
    write_unfinished,
)
from nhwc.flows.recipe import Recipe
from nhwc.flows.shard_hashes import doubt_shards, shard_hashes
from nhwc.flows.shards import Chunk
from nhwc.flows.soundness import Sums, is_named, read_sums, unsound_files
from nhwc.pipelines.checksums import CHECKSUMS, found_hash, read_checksums, sha256_of
from nhwc.pipelines.mirror import NUMBER
from nhwc.pipelines.version import Latest, Version, numbers_in
from nhwc.validators.errors import DataError

FOUNDATION = ("manifest.parquet", "contract.yaml", "recipe.yaml")
"""What the next version stands on; the other files of a version only tell of these."""

_DIGEST = re.compile(r"[0-9a-f]{64}")
_FIRST_LINE = re.compile(rf"({NUMBER.pattern})\n")


@dataclass(frozen=True, kw_only=True)
class Condition:
    """In what state a dataset is found, once what follows from the rest is mended.

    Args:
        number: of the latest version; None where nothing was published.
        checksums: the SHA-256 of its `checksums`; None where nothing tells.
        before: what the next version stands on: the latest one, or where its foundation is damaged the newest sound one
            before it; None where there is none.
        damaged: the files of the latest version that are missing or damaged still.
        lost: the names of the shards of `before` that are missing or damaged.
        mended: what was mended already.
    """

    number: str | None = None
    checksums: str | None = None
    before: Version | None = None
    damaged: tuple[str, ...] = ()
    lost: frozenset[str] = frozenset()
    mended: tuple[str, ...] = ()

    @property
    def is_whole(self) -> bool:
        """Whether the latest version is as it was published."""
        return self.before is not None and not self.damaged and not self.lost

    def given_up(self, dataset: Path) -> Version | None:
        """The latest version, where it is damaged and another is published instead of mending it."""
        return Version(dataset=dataset, number=self.number) if self.number and self.damaged else None


def condition_of(recipe: Recipe) -> Condition:
    """Look at the latest version of a recipe's dataset, and mend what follows from the rest.

    Its own files are hashed; shards only where they were touched since they were hashed last. Raises OSError where a
    file cannot be written, and RecipeError where the version lies there in another layout.
    """
    if recipe.remote is not None and not (recipe.dataset_path / "latest").is_file():
        return Condition()  # what stands in a mirror alone was never published
    latest = _latest(recipe.dataset_path)
    if latest is None:
        return Condition()
    version = Version(dataset=recipe.dataset_path, number=latest.number, remote=recipe.remote)
    latest, mended = _agreed(version, latest)
    sums = read_sums(version) if latest.checksums in (None, found_hash(version.folder / CHECKSUMS)) else {}
    mended += _restored_by_recipe(version, sums, recipe)
    damaged = unsound_files(version, sums)
    is_founded = bool(sums) and not set(FOUNDATION) & set(damaged)
    before = version if is_founded else _newest_sound(older_than=version)
    if before is not None:
        before.check_layout()
    if not damaged and not is_named(version):
        name_latest(version)
        mended += ("latest",)
    return Condition(
        number=latest.number,
        checksums=latest.checksums,
        before=before,
        damaged=damaged,
        lost=frozenset() if before is None else _lost_shards(before),
        mended=mended,
    )


def lost_chunks(hashed: Hashes, condition: Condition, recipe: Recipe) -> list[Chunk]:
    """The samples of each lost shard, in their order: together they make the same shard again, under its name.

    A shard of which a sample is no longer offered as it was is left out: it cannot come back.
    """
    before = condition.before
    if not condition.lost or before is None or before.fingerprint != recipe.image.fingerprint:
        return []
    offered = {entry.sample_id: entry for entry in hashed.entries}
    chunks = []
    for name in sorted(condition.lost):
        held = before.kept.filter(shard=name).sort("row")
        entries = [offered[sample_id] for sample_id in held["sample_id"] if sample_id in offered]
        if [(hashed.sha256(entry), entry.label) for entry in entries] == held.select("sha256", "label").rows():
            chunks.append(Chunk(name=name, samples=tuple(map(hashed.of, entries))))
    return chunks


def same_version(draft: Draft, condition: Condition, page: Page) -> tuple[Version, tuple[str, ...]] | None:
    """The latest version where it says what the draft says, and which of its files were mended; else None.

    The draft's shards lie in their places by now.
    """
    if condition.number is None:
        return None
    version = Version(dataset=draft.recipe.dataset_path, number=condition.number, remote=draft.recipe.remote)
    remade = draft_sums(draft)
    if condition.damaged:
        made = write_unfinished(draft, version.number, page)
        if not _says_the_same(version, made, condition.checksums):
            return None
        mended = (*condition.mended, *put_in_place(made, version))
    elif next_number(draft, version) is None and remade.items() <= read_sums(version).items():
        mended = condition.mended
    else:
        return None
    return version, (*mended, *(f"shards/{name}.arrow" for name in sorted(condition.lost)))


def number_after(draft: Draft, condition: Condition) -> str:
    """The number of a version that says something else than the latest one."""
    if condition.number is None:
        return FIRST
    before = condition.before
    if before is None or before.number != condition.number:
        return f"{int(condition.number.split('.')[0]) + 1}.0.0"  # what it said is lost: samples may have changed
    try:
        number = next_number(draft, before)
    except DataError:  # its statistics cannot be read
        number = None
    major, minor, patch = before.major_minor_patch
    return number or f"{major}.{minor}.{patch + 1}"


def _latest(dataset: Path) -> Latest | None:
    """What `latest` says or said, as far as that can be told; None where nothing was published."""
    numbers = [number for number in numbers_in(dataset) if any((dataset / number).iterdir())]
    digests = {found_hash(dataset / number / CHECKSUMS): number for number in numbers}
    try:
        said = Latest.read(dataset)
    except (OSError, ValueError):
        said = None
    if said is not None and said.number in numbers and digests.get(said.checksums, said.number) == said.number:
        return said  # where no version has these checksums, either they or this file's second line are damaged
    text = (dataset / "latest").read_bytes().decode("latin-1") if (dataset / "latest").is_file() else ""
    for digest in _DIGEST.findall(text):
        if digest in digests:
            return Latest(number=digests[digest], checksums=digest)
    if said is not None and (said.checksums or not numbers):
        return said  # the version's folder is gone
    first = _FIRST_LINE.match(text)
    if first and first[1] in numbers:
        return Latest(number=first[1])
    return Latest(number=numbers[-1]) if numbers else None


def _agreed(version: Version, latest: Latest) -> tuple[Latest, tuple[str, ...]]:
    """Where `latest` and the version's checksums contradict each other: the one that its files agree with.

    Checksums are written anew where the files have just the hashes that `latest` vouches for.
    """
    path = version.folder / CHECKSUMS
    if latest.checksums in (None, found := found_hash(path)):
        return latest, ()
    for with_report in (True, False):
        text = _text_of_files(version, with_report=with_report)
        digest = hashlib.sha256(text.encode()).hexdigest()
        if digest == latest.checksums:
            write_text(path, text)
            return latest, (CHECKSUMS,)
        if digest == found:
            return Latest(number=latest.number, checksums=found), ()
    return latest, ()


def _text_of_files(version: Version, *, with_report: bool) -> str:
    """What its checksums would be for the files as they lie; empty where one of them cannot be read."""
    names = (*VERSION_FILES, REPORT) if with_report else VERSION_FILES
    sums = {name: digest for name in names if (digest := found_hash(version.folder / name)) is not None}
    try:
        shards = version.columns("shard")["shard"].drop_nulls().unique()
    except (DataError, LookupError):
        return ""
    return checksums_text(sums | shard_sums(shard_hashes(version.dataset, shards)))


def _restored_by_recipe(version: Version, sums: Sums, recipe: Recipe) -> tuple[str, ...]:
    """Those of recipe and contract that were damaged, and that this recipe makes again."""
    damaged, texts = unsound_files(version, sums), dict[str, str]()
    if "recipe.yaml" in damaged:
        texts["recipe.yaml"] = recipe.to_yaml()
    if "contract.yaml" in damaged and "manifest.parquet" not in damaged:
        labels = version.columns("label", "label_id").drop_nulls().unique().sort("label_id")["label"]
        texts["contract.yaml"] = contract_text(recipe.image, recipe.labels.classes or labels.to_list())
    same = [name for name, text in texts.items() if hashlib.sha256(text.encode()).hexdigest() == sums.get(name)]
    for name in same:
        write_text(version.folder / name, texts[name])
    return tuple(same)


def _newest_sound(*, older_than: Version) -> Version | None:
    """The newest version before this one whose files are all as they were published."""
    dataset, numbers = older_than.dataset, [*numbers_in(older_than.dataset)]
    older = [Version(dataset=dataset, number=number) for number in numbers]
    for version in reversed([one for one in older if one.major_minor_patch < older_than.major_minor_patch]):
        if not unsound_files(version, read_sums(version)):
            return version
    return None


def _lost_shards(version: Version) -> frozenset[str]:
    """The names of its shards that are missing or damaged. Where one is, none is taken on trust."""
    if version.remote is not None:
        return _lost_on_store(version)
    expected = {name: digest for name, digest in read_sums(version).items() if name.startswith("../")}
    names = [name.removeprefix("../shards/").removesuffix(".arrow") for name in expected]
    if shard_sums(shard_hashes(version.dataset, names)) == expected:
        return frozenset()
    doubt_shards(version.dataset)
    found = shard_sums(shard_hashes(version.dataset, names))
    return frozenset(name for name, line in zip(names, expected, strict=True) if found.get(line) != expected[line])


def _lost_on_store(version: Version) -> frozenset[str]:
    """The same of a version on a store. What the mirror has of its shards and is damaged is removed."""
    for name, digest in read_sums(version).items():
        path = version.dataset / name.removeprefix("../")
        if name.startswith("../") and path.is_file() and found_hash(path) != digest:
            path.unlink()
    names = version.columns("shard")["shard"].drop_nulls().unique()
    return frozenset(name for name in names if not version.publishes_shard(name))


def _says_the_same(version: Version, made: Path, checksums: str | None) -> bool:
    """Whether the version made now is the damaged one, by the hash of all its hashes.

    Where that is lost, each file must be the one that lies there, or the one that the old checksums speak of.
    """
    if checksums is not None:
        return sha256_of(made / CHECKSUMS) == checksums
    new, old = read_checksums(made), read_sums(version)
    return all(new[name] in (found_hash(version.folder / name), old.get(name)) for name in (*VERSION_FILES, REPORT))
