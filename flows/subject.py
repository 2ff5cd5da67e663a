"""What the gate judges and the report shows: a published version, what an ingest would publish, a tf.data.Dataset."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from nhwc.flows.publish import STAGING, Draft, channel_statistics, latest_version
from nhwc.flows.recipe import CheckRecipe, recorded_checks
from nhwc.pipelines.cast import ChannelStatistics
from nhwc.pipelines.opened import missing_shard
from nhwc.pipelines.store import Images, Shard, open_shard
from nhwc.pipelines.version import Version
from nhwc.validators.contract import TensorContract
from nhwc.validators.model.labels import Labels
from nhwc.validators.violation import Violation

if TYPE_CHECKING:
    import tensorflow as tf

Array = np.ndarray[Any, Any]

Pictures = Callable[[pl.DataFrame], Iterator[Array]]
"""From rows of a manifest that are kept, in their order, each one's stored image: (rows, cols, channels)."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """All that a verdict is given on.

    Args:
        name: what the user called it: a path, or `dataset`.
        manifest: a row a discovered entry; columns as in `nhwc.validators.manifest.COLUMNS`, but no perceptual_hash.
        contract: of one stored image: axes rows, cols, channels.
        classes: class names in the order of their ids.
        checks: the recipe's.
        findings: what ingest found of the classes, the frozen contract and the user's own rules.
        channels: of the images that a training is scaled by; None where nhwc does not scale them.
        compared: the manifest's columns that a baseline's are held against; None: all that both have.
        pictures: gives the stored images; None where they are not stored.
        source: the folder that paths are relative to, where it is at hand: a path, or a URL as text.
        checked: whether the manifest is known to keep a manifest's own rules.
        labels: what they are, as a training gets them.
        place: of a published version, its own folder or URL, whatever `latest` comes to name.
    """

    name: str
    manifest: pl.DataFrame
    contract: TensorContract
    classes: tuple[str, ...]
    checks: CheckRecipe
    findings: tuple[Violation, ...] = ()
    channels: ChannelStatistics | None = None
    compared: tuple[str, ...] | None = None
    pictures: Pictures | None = None
    source: str | Path | None = None
    checked: bool = False
    labels: Labels = "ids"
    place: str | None = None

    @property
    def kept(self) -> pl.DataFrame:
        """The manifest's rows of the samples that were kept."""
        return self.manifest.filter(pl.col("status") == "kept")

    def paths(self, violations: Iterable[Violation]) -> dict[str | None, str]:
        """The path of each sample that a violation names, by its id."""
        named = list({one.sample_id for one in violations if one.sample_id is not None})
        rows = self.manifest.filter(pl.col("sample_id").is_in(named)).select("sample_id", "path")
        return dict(rows.iter_rows())


def version_subject(version: Version, *, name: str, source: str | Path | None = None) -> Subject:
    """A published version."""
    return Subject(
        name=name,
        manifest=version.facts,
        contract=version.contract,
        classes=version.classes,
        checks=recorded_checks(version),
        findings=(*version.findings, *_lost_shards(version)),
        channels=ChannelStatistics.of_splits(version.statistics["channels"]),
        pictures=partial(_pictures, version.open_shard),
        source=source,
        place=f"{version.name}/{version.number}",
    )


def _lost_shards(version: Version) -> Iterator[Violation]:
    """Those that no reader would find. What is in the others is for `verify`."""
    for name in version.kept["shard"].unique().sort():
        if not version.publishes_shard(name):
            yield missing_shard(version.shard_path(name))


def draft_subject(draft: Draft, *, name: str, checked: bool = False) -> Subject:
    """What an ingest would publish; its shards may still be staged."""
    dataset = draft.recipe.dataset_path
    remote = draft.recipe.remote
    before = None if remote is None else latest_version(dataset, remote)

    def shard(name: str) -> Shard:
        staged = dataset / STAGING / f"{name}.arrow"
        path = staged if staged.is_file() else dataset / "shards" / staged.name
        if before is not None and not path.is_file():
            path = before.bring_shard(name)
        return open_shard(path, draft.recipe.image)

    return Subject(
        name=name,
        manifest=draft.manifest.drop("perceptual_hash"),
        contract=draft.recipe.image.contract,
        classes=draft.classes,
        checks=draft.recipe.checks,
        findings=draft.findings,
        channels=ChannelStatistics.of_splits(channel_statistics(draft.manifest)) if draft.shards else None,
        pictures=partial(_pictures, shard),
        source=draft.recipe.source_path if draft.recipe.source.kind == "folder" else None,
        checked=checked,
    )


def dataset_subject(dataset: tf.data.Dataset, *, classes: Sequence[str], samples: int | None) -> Subject:
    """A tf.data.Dataset, looked at once from its begin.

    Raises RecipeError where its elements are no images, or where it has no end and `samples` sets none.
    """
    from nhwc.pipelines.elements import measure_elements  # noqa: PLC0415  TensorFlow, which no version needs

    elements = measure_elements(dataset, classes=classes, samples=samples)
    return Subject(
        name="dataset",
        manifest=elements.manifest,
        contract=elements.contract,
        classes=elements.classes,
        checks=CheckRecipe(bad_fraction=1, bad_fraction_per_class=1),  # there is no quarantine: each is a finding
        findings=elements.violations,
        labels=elements.labels,
        compared=("status", "label", "channel_mean", "channel_std"),  # it has no files, and so no sizes of its own
    )


def _pictures(shard: Callable[[str], Shard], rows: pl.DataFrame) -> Iterator[Array]:
    opened: dict[str, Images] = {}
    for name, row in rows.select("shard", "row").iter_rows():
        if name not in opened:
            opened[name] = shard(name).images
        yield opened[name][row]
