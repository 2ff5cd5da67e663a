"""Publish a version: everything is complete on disk before `latest` names it, in one atomic step."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import yaml

from nhwc.flows.durable import move_durably, write_frame, write_text
from nhwc.flows.parallel import beside
from nhwc.flows.recipe import Recipe
from nhwc.flows.shard_hashes import shard_hashes
from nhwc.pipelines.checksums import CHECKSUMS, found_hash, read_checksums, sha256_of
from nhwc.pipelines.image_recipe import ImageRecipe
from nhwc.pipelines.remote import Remote
from nhwc.pipelines.version import FORMAT, Latest, Version, numbers_in
from nhwc.validators.errors import RecipeError
from nhwc.validators.violation import Violation

STAGING = ".staging"
REFUSED = "refused.parquet"
REFUSED_REPORT = "refused.html"
REPORT = "report.html"

VERSION_FILES = ("manifest.parquet", "contract.yaml", "recipe.yaml", "statistics.json")
"""What every version has beside `checksums` and, since it is in `checksums` too, REPORT."""

FIRST = "1.0.0"

Page = Callable[[str], str]
"""The report of a draft as HTML, for the number that it gets: the same one, byte by byte, for the same draft."""


@dataclass(frozen=True, kw_only=True)
class Draft:
    """All that a version will say, not yet on disk.

    Args:
        manifest: a row a discovered entry, checked.
        classes: class names in the order of their ids.
        findings: what is remarkable about the classes as a whole.
        recipe: what it was made by.
    """

    manifest: pl.DataFrame
    classes: tuple[str, ...]
    findings: tuple[Violation, ...]
    recipe: Recipe

    @property
    def shards(self) -> list[str]:
        """The names of the shards that its samples lie in."""
        return self.manifest["shard"].drop_nulls().unique().sort().to_list()

    @property
    def contract_text(self) -> str:
        """`contract.yaml`."""
        return contract_text(self.recipe.image, self.classes)


def contract_text(image: ImageRecipe, classes: Sequence[str]) -> str:
    """`contract.yaml` of a version that was made so and has these classes, in the order of their ids."""
    plain = {
        "format": FORMAT,
        "image": image.contract.to_dict(),
        "classes": list(classes),
        "fingerprint": image.fingerprint,
        "storage": image.storage,
    }
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)


def latest_version(dataset: Path, remote: Remote | None = None) -> Version | None:
    """The version that `latest` names, or None where nothing is published yet; of a mirror, with where it is of."""
    return replace(Version.open(dataset), remote=remote) if (dataset / "latest").is_file() else None


def next_number(draft: Draft, before: Version | None) -> str | None:
    """The number that the draft gets, or None where nothing changed.

    As TensorFlow Datasets counts: major when existing samples change or go, minor when samples are added, patch when
    the samples are the same and only what is said about them (quarantine, recipe) changed.
    """
    if before is None:
        return FIRST
    major, minor, patch = before.major_minor_patch
    old, new = _samples(before.kept), _samples(draft.manifest.filter(pl.col("status") == "kept"))
    contract_changed = (draft.recipe.image.contract, draft.classes) != (before.contract, before.classes)
    if contract_changed or old.join(new, on=old.columns, how="anti").height:
        return f"{major + 1}.0.0"
    if new.height > old.height:
        return f"{major}.{minor + 1}.0"
    said = draft.recipe.to_yaml(), draft.contract_text, [asdict(finding) for finding in draft.findings]
    was_said = before.recipe_text, before.contract_text, before.statistics["findings"]
    if draft.manifest.equals(before.manifest) and said == was_said:
        return None
    return f"{major}.{minor}.{patch + 1}"


def _samples(kept: pl.DataFrame) -> pl.DataFrame:
    """What a reader gets of each sample."""
    return kept.select("sample_id", "pixel_hash", "label_id", "split")


def adopt_shards(draft: Draft) -> None:
    """Move the draft's shards that were made in this run, or in one before that was killed, to where readers look."""
    dataset = draft.recipe.dataset_path
    (dataset / "shards").mkdir(exist_ok=True)
    for name in draft.shards:
        staged = dataset / STAGING / f"{name}.arrow"
        if staged.is_file():
            move_durably(staged, dataset / "shards" / staged.name)


def write_version(draft: Draft, number: str, page: Page) -> Version:
    """Write the version, which no reader finds before `name_latest`. Killed anywhere, the next run ends the same.

    No version's folder is ever overwritten: where one of that number says something else, the next free one is taken.
    """
    dataset = draft.recipe.dataset_path
    unfinished = write_unfinished(draft, number, page)
    while (dataset / number).exists() and not _says_the_same(dataset / number, unfinished):
        number = next_free(number)
        unfinished = write_unfinished(draft, number, page)
    version = Version(dataset=dataset, number=number, remote=draft.recipe.remote)
    # it may be there already: a run was killed before `latest` moved, or somebody went back
    put_in_place(unfinished, version)
    return version


def name_latest(version: Version) -> None:
    """Let `latest` name the version, in one atomic step."""
    named = Latest(number=version.number, checksums=sha256_of(version.folder / CHECKSUMS))
    write_text(version.dataset / "latest", str(named))


def _says_the_same(version: Path, other: Path) -> bool:
    """Whether two versions' folders hold the same, by their checksums."""
    name = CHECKSUMS
    return (version / name).is_file() and (version / name).read_bytes() == (other / name).read_bytes()


def put_in_place(made: Path, version: Version) -> tuple[str, ...]:
    """Each file that is not as it was made now, one after another and each at once; their names."""
    if not version.folder.exists():
        move_durably(made, version.folder)
        return (version.number,)
    names = (*VERSION_FILES, REPORT, CHECKSUMS)  # last what vouches for the others
    different = [name for name in names if found_hash(version.folder / name) != sha256_of(made / name)]
    for name in different:
        move_durably(made / name, version.folder / name)
    return tuple(different)


def next_free(number: str) -> str:
    """The next number of the same kind: the last part that is not zero, one up."""
    major, minor, patch = map(int, number.split("."))
    if patch:
        return f"{major}.{minor}.{patch + 1}"
    return f"{major}.{minor + 1}.0" if minor else f"{major + 1}.0.0"


def check_place(dataset: Path) -> None:
    """See that a dataset's folder is nhwc's to write in. Raises RecipeError where it holds something else."""
    ours = ("latest", STAGING)
    if not dataset.is_dir() or any((dataset / name).exists() for name in ours) or not any(dataset.iterdir()):
        return
    if not any((dataset / number / CHECKSUMS).is_file() for number in numbers_in(dataset)):  # else `latest` was lost
        names = ", ".join(sorted(path.name for path in dataset.iterdir())[:5])
        found = f"found {dataset}, which holds {names} and no `latest`"
        mend = "name another place, or restore `latest`: a text file with the version's number"
        raise RecipeError("publish.to", (f"{found}, expected a new folder or a published dataset: {mend}",))


def tidy(dataset: Path) -> None:
    """Remove what runs before left behind, once a run has come to its end."""
    shutil.rmtree(dataset / STAGING, ignore_errors=True)
    for name in (REFUSED, REFUSED_REPORT):
        (dataset / name).unlink(missing_ok=True)


def write_refused(draft: Draft) -> Path:
    """Keep the manifest of a run that may not publish where its user can look into it."""
    path = draft.recipe.dataset_path / REFUSED
    write_frame(path, draft.manifest)
    return path


def write_unfinished(draft: Draft, number: str, page: Page) -> Path:
    """All files of a version, where no reader looks; the folder.

    `checksums` is last: it lists the others and the shards, as `sha256sum -c` reads it.
    """
    dataset = draft.recipe.dataset_path
    folder = dataset / STAGING / "version"
    shutil.rmtree(folder, ignore_errors=True)
    with beside() as hand_over:
        hand_over(lambda: write_frame(folder / "manifest.parquet", draft.manifest))
        figures = statistics(draft.manifest, draft.findings)
        texts = {
            "recipe.yaml": draft.recipe.to_yaml(),
            "contract.yaml": draft.contract_text,
            "statistics.json": json.dumps(figures, indent=2, ensure_ascii=False) + "\n",
            REPORT: page(number),
        }
    for name, text in texts.items():
        write_text(folder / name, text)
    sums = {name: sha256_of(folder / name) for name in (*VERSION_FILES, REPORT)}
    write_text(folder / CHECKSUMS, checksums_text(sums | draft_sums(draft)))
    return folder


def draft_sums(draft: Draft) -> dict[str, str]:
    """The hashes of a draft's shards, as `checksums` lists them; of those that only a store has, what was published."""
    dataset, remote = draft.recipe.dataset_path, draft.recipe.remote
    sums = shard_sums(shard_hashes(dataset, draft.shards))
    before = None if remote is None else latest_version(dataset, remote)
    if before is not None:
        published = read_checksums(before.folder)
        wanted = {f"../shards/{name}.arrow" for name in draft.shards if before.publishes_shard(name)}
        sums = {name: published[name] for name in wanted & published.keys()} | sums
    return sums


def shard_sums(hashes: Mapping[str, str]) -> dict[str, str]:
    """The hashes of shards, by name, as `checksums` lists them."""
    return {f"../shards/{name}.arrow": digest for name, digest in hashes.items()}


def checksums_text(sums: Mapping[str, str]) -> str:
    """`checksums`, from the SHA-256 of each file by path relative to the version's folder."""
    return "".join(f"{sums[name]}  {name}\n" for name in sorted(sums))


def statistics(manifest: pl.DataFrame, findings: Sequence[Violation]) -> dict[str, Any]:
    """Counts by status, code, note, split and class; and each channel's mean and standard deviation, in float64."""
    kept = manifest.filter(pl.col("status") == "kept")
    splits = kept.group_by("split", "label").len().sort("split", "label")
    by_split: dict[str, dict[str, int]] = {}
    for split, label, count in splits.iter_rows():
        by_split.setdefault(split, {})[label] = count
    return {
        "counts": {"discovered": manifest.height, **_counts(manifest["status"])},
        "codes": _counts(manifest["code"].drop_nulls()),
        "notes": _counts(kept["notes"].explode().drop_nulls()),
        "splits": by_split,
        "channels": channel_statistics(manifest),
        "findings": [asdict(finding) for finding in findings],
    }


def _counts(values: pl.Series) -> dict[str, int]:
    return dict(sorted(values.value_counts().iter_rows()))


def channel_statistics(manifest: pl.DataFrame) -> Mapping[str, Mapping[str, list[float]]]:
    """Mean and standard deviation of each channel over all kept pixels, of `all` and of each split."""
    kept = manifest.filter(pl.col("status") == "kept")
    splits = kept["split"].unique().sort()
    return {"all": _channels(kept)} | {name: _channels(kept.filter(pl.col("split") == name)) for name in splits}


def _channels(kept: pl.DataFrame) -> Mapping[str, list[float]]:
    """Images are of one size, so each weighs the same.

    The variance of a union is the mean of the variances plus the variance of the means.
    """
    means, stds = (kept[name].explode().to_numpy().reshape(kept.height, -1) for name in ("channel_mean", "channel_std"))
    return {"mean": means.mean(axis=0).tolist(), "std": np.sqrt((stds**2).mean(axis=0) + means.var(axis=0)).tolist()}
