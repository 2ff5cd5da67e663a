"""The draft of a version: what was made now and what still holds of the version before, as one manifest."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from nhwc.flows.frozen_contract import FrozenContract, contract_findings, read_contract
from nhwc.flows.hashing import Hashes
from nhwc.flows.own_rules import read_own_rules
from nhwc.flows.publish import Draft
from nhwc.flows.recipe import Recipe
from nhwc.flows.shards import entry_row, of_the_moment, violation_row
from nhwc.pipelines.sources.labels import Labelling, class_findings, class_names
from nhwc.pipelines.sources.protocol import Discovery, Entry
from nhwc.pipelines.version import Version
from nhwc.validators.duplicates import find_clusters
from nhwc.validators.manifest import COLUMNS, frame
from nhwc.validators.own_rules import judge_own_rules
from nhwc.validators.splits import assign_splits
from nhwc.validators.violation import Violation


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A recipe, and the frozen contract and the user's own rules that it names."""

    recipe: Recipe
    contract: FrozenContract | None
    rules: Mapping[str, Any] | None


def read_asked(recipe: Recipe) -> Asked:
    """Both files, read before anything is decoded. Raises RecipeError where one is none."""
    contract, rules = recipe.frozen_contract, recipe.own_rules
    return Asked(
        recipe=recipe,
        contract=None if contract is None else read_contract(contract),
        rules=None if rules is None else read_own_rules(rules),
    )


def known_rows(
    hashed: Hashes, before: Version | None, recipe: Recipe, lost: Collection[str] = frozenset()
) -> pl.DataFrame:
    """The rows of the version before that still hold: same bytes, label and image recipe, and no lost shard."""
    if before is None or before.fingerprint != recipe.image.fingerprint:
        return frame([])
    columns = {
        "sample_id": hashed.sample_ids,
        "sha256": [hashed.sha256(entry) for entry in hashed.entries],
        "label": [entry.label for entry in hashed.entries],
        "split": [entry.split for entry in hashed.entries],
    }
    offered = pl.DataFrame(columns, schema={name: COLUMNS[name] for name in columns}).drop_nulls("sha256")
    there = pl.col("shard").is_null() | ~pl.col("shard").is_in(list(lost))
    old = before.manifest.filter(_decided_by_bytes() & there).drop("split")
    return old.join(offered, on=["sample_id", "sha256", "label"], nulls_equal=True).select(list(COLUMNS))


def _decided_by_bytes() -> pl.Expr:
    """Rows that the same bytes and recipe bring about again: kept, or refused by a stage that saw the bytes."""
    by_stage = pl.col("stage").is_in(["probe", "decode", "convert", "resize"]) & pl.col("sha256").is_not_null()
    return (pl.col("status") == "kept") | (by_stage & ~of_the_moment())


def settled_rows(entries: Iterable[Entry], hashed: Hashes) -> pl.DataFrame:
    """Rows of what never reaches a decoder: skipped, quarantined by discovery, or not readable."""
    rows = [entry_row(entry) for entry in entries if entry.status != "candidate"]
    read = hashed.read.values()
    return frame(
        rows + [entry_row(one.entry) | violation_row(one.violation) for one in read if one.violation is not None]
    )


def drafted(
    asked: Asked,
    discovery: Discovery,
    labelling: Labelling,
    entries: Sequence[Entry],
    manifest: pl.DataFrame,
    before: Version | None,
) -> Draft:
    """The manifest with label ids and splits, and what there is to say of the classes."""
    classes = class_names(entries, labelling, discovery)
    ids = pl.DataFrame(
        {"label": classes, "label_id": range(len(classes))}, schema={"label": pl.String, "label_id": pl.Int32}
    )
    kept = pl.col("status") == "kept"
    manifest = manifest.drop("label_id").join(ids, on="label", how="left", maintain_order="left")
    manifest = _splits(asked.recipe, clustered(manifest), before).select(list(COLUMNS)).sort("path", "sample_id")
    findings = class_findings(discovery, labelling, manifest.filter(kept)["label"].unique(), classes)
    broken = _broken_promises(asked, manifest.filter(kept), classes)
    return Draft(manifest=manifest, classes=classes, findings=(*findings, *broken), recipe=asked.recipe)


def _broken_promises(asked: Asked, kept: pl.DataFrame, classes: Sequence[str]) -> Iterator[Violation]:
    """What breaks the contract and the rules.

    Looked at here and not only by the gate, since a version may be read where neither file is.
    """
    if asked.contract is not None:
        yield from contract_findings(asked.contract, image=asked.recipe.image.contract, classes=classes)
    if asked.rules is not None:
        yield from judge_own_rules(kept.drop("perceptual_hash"), asked.rules)


def clustered(manifest: pl.DataFrame) -> pl.DataFrame:
    """The manifest with the cluster of each kept row: those that are the same picture share one."""
    kept = manifest.filter(pl.col("status") == "kept")
    found = kept.select("sample_id").with_columns(cluster=find_clusters(kept))
    return manifest.drop("cluster").join(found, on="sample_id", how="left", maintain_order="left")


def _splits(recipe: Recipe, manifest: pl.DataFrame, before: Version | None) -> pl.DataFrame:
    """The manifest with the split of each row: as given, or by hash of its cluster for what is kept.

    What the version before assigned by the same shares stays, so no image moves when others come, or when its file gets
    another name.
    """
    if recipe.splits.from_ != "hash":
        return manifest
    kept = manifest.filter(pl.col("status") == "kept").select("sample_id", "sha256", "label", "cluster")
    own = _own_splits(kept, _assigned_before(recipe, before))
    settled = own.group_by(group="cluster").agg(pl.col("split").min())
    groups = assign_splits(
        kept.select("label", group="cluster"), recipe.splits.fractions, seed=recipe.splits.seed, settled=settled
    )
    manifest = manifest.drop("split").join(
        groups, left_on="cluster", right_on="group", how="left", maintain_order="left"
    )
    manifest = manifest.join(own.select("sample_id", own="split"), on="sample_id", how="left", maintain_order="left")
    return manifest.with_columns(split=pl.coalesce("own", "split")).drop("own")


def _own_splits(kept: pl.DataFrame, before: pl.DataFrame) -> pl.DataFrame:
    """sample_id, cluster and split of the samples whose bytes had one, under the same name or else under any."""
    of_bytes = before.group_by("sha256").agg(of_bytes=pl.col("split").min())
    own = kept.join(before, on=["sample_id", "sha256"], how="left").join(of_bytes, on="sha256", how="left")
    own = own.with_columns(split=pl.coalesce("split", "of_bytes"))
    return own.drop_nulls("split").select("sample_id", "cluster", "split")


def _assigned_before(recipe: Recipe, before: Version | None) -> pl.DataFrame:
    """sample_id, sha256 and split of the version before, where it was split by the same shares; else no row."""
    asked = recipe.splits.model_dump(mode="json", by_alias=True)
    if before is None or before.recorded("splits", lambda splits: splits) != asked:
        return frame([]).select("sample_id", "sha256", "split")
    return before.kept.select("sample_id", "sha256", "split")
