"""The audit of a folder as it is: quality, copies and broken files, in one pass that writes nothing.

    discover -> read -> probe -> decode -> figures and hashes -> clusters -> the gate's own rules

These are ingest's stages by the default recipe up to the decoded pixels, so figures, hashes and clusters are those that
an ingest records. What comes after them there, convert, resize and store, is left out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from nhwc.flows.contained import prepare_contained
from nhwc.flows.draft import clustered
from nhwc.flows.gate import GateOptions, judge_subject
from nhwc.flows.hashing import HashedEntry, unreadable
from nhwc.flows.native_stderr import silenced_native_stderr
from nhwc.flows.parallel import on_all_cores
from nhwc.flows.recipe import CheckRecipe
from nhwc.flows.shards import entry_row, prepared_row, read_at_most
from nhwc.flows.steps import Progress, no_progress
from nhwc.flows.subject import Subject
from nhwc.pipelines.image import Prepared, image_stages, prepare
from nhwc.pipelines.image_recipe import ImageRecipe
from nhwc.pipelines.sources.folder import Folder
from nhwc.pipelines.sources.protocol import Discovery, Entry, Source
from nhwc.pipelines.stage import Stage
from nhwc.validators.argument import PATH, named, wrong_place
from nhwc.validators.contract import image_contract
from nhwc.validators.errors import RecipeError
from nhwc.validators.manifest import frame
from nhwc.validators.quality import FIGURE_COLUMNS
from nhwc.validators.splits import SPLIT_NAMES
from nhwc.validators.verdict import Verdict
from nhwc.validators.violation import Violation

AUDITED = ImageRecipe(rows=1, cols=1)
"""The default recipe. No size is asked for: nothing is resized, and no image is too small for it."""

UNLABELLED, UNSPLIT = ".", "all"
"""Label of a file that lies in no folder, and split where the first folders are not named like splits."""

FILES_AT_ONCE = 8
"""That a thread is given before it is given more."""

Examine = Callable[[Entry], tuple[HashedEntry, Prepared]]


def audit(folder: str | Path) -> Verdict:
    """A verdict on a folder of images: each file that cannot be read rightly, each finding of quality, each copy.

    The first folder below it is taken for the label, or the second one where all first ones are named like splits: the
    same picture under two labels, or in two splits, refuses, as does a broken file; what is merely poor warns.

    Raises RecipeError where there is no such folder.
    """
    if problems := named(folder=wrong_place(folder, expected=PATH)):
        raise RecipeError("nhwc.audit", tuple(problems))
    return judge_subject(audited(Path(folder)), GateOptions())


def audited(folder: Path, *, progress: Progress = no_progress) -> Subject:
    """What the gate judges of a folder: a row a discovered entry, and the violations of those that are refused.

    Raises RecipeError where there is no such folder.
    """
    if not folder.is_dir():
        found = "something that is no folder" if folder.exists() else "nothing there"
        raise RecipeError(str(folder), (f"found {found}, expected a folder of images",))
    source = Folder(root=folder)
    entries = list(_labelled(source.discover()))
    candidates = [entry for entry in entries if entry.status == "candidate"]
    decoding = partial(_examined, source=source, stages=image_stages(AUDITED)[:1])
    examine = partial(decoding, preparing=prepare_contained)
    rows = [entry_row(entry) for entry in entries if entry.status != "candidate"]
    findings = [entry.violation for entry in entries if entry.status == "quarantined" and entry.violation is not None]
    with silenced_native_stderr():
        for row, violations in on_all_cores(partial(_row, examine=examine), candidates, at_once=FILES_AT_ONCE):
            rows.append(row)
            findings += violations
            progress("audit", 1, len(candidates))
        # what was decoded without harm once may be decoded here, where its pixels are wanted
        manifest = _pixel_hashed(frame(rows), candidates, partial(decoding, preparing=prepare))
    return Subject(
        name=str(folder),
        manifest=clustered(manifest).drop("perceptual_hash"),
        contract=image_contract(rows=None, cols=None, channels=3, dtype="uint8", value_range=AUDITED.value_range),
        classes=(),
        checks=CheckRecipe(bad_fraction=1, bad_fraction_per_class=1),  # each file that is refused is a finding itself
        findings=tuple(findings),
        source=folder,
        checked=True,  # rows of no shard are not a manifest's
    )


def _labelled(discovery: Discovery) -> Iterator[Entry]:
    """Every entry, candidates with the label and the split that their folders give."""
    first = [name.lower() for name in discovery.folders if "/" not in name and not name.startswith(".")]
    in_splits = bool(first) and all(name in SPLIT_NAMES for name in first)
    for entry in discovery.entries:
        if entry.status != "candidate":
            yield entry
            continue
        *folders, _ = entry.path.split("/")
        split = SPLIT_NAMES[folders.pop(0).lower()] if in_splits and folders else UNSPLIT
        yield replace(entry, label=folders[0] if folders else UNLABELLED, split=split)


def _row(entry: Entry, *, examine: Examine) -> tuple[dict[str, Any], tuple[Violation, ...]]:
    """The manifest's row of one file, and why it is refused if it is. No pixels are kept."""
    hashed, prepared = examine(entry)
    violations = tuple(replace(one, sample_id=entry.sample_id) for one in prepared.violations)
    return prepared_row(hashed, prepared), violations


def _pixel_hashed(manifest: pl.DataFrame, candidates: Iterable[Entry], examine: Examine) -> pl.DataFrame:
    """The manifest with a `pixel_hash` that two rows share where their decoded pixels are the same.

    Equal pixels have equal figures. So only files with the very figures of a file of other bytes are decoded once more,
    and their pixels hashed; for all others, the hash of their bytes does. To hash all takes a sixth of an audit.
    """
    files = manifest.filter(pl.col("status") == "kept").unique("sha256", keep="first", maintain_order=True)
    alike = set(files.filter(pl.struct(*FIGURE_COLUMNS).is_duplicated())["sample_id"])
    again = (entry for entry in candidates if entry.sample_id in alike)
    hashes = dict(on_all_cores(partial(_pixel_hash, examine=examine), again))
    return manifest.with_columns(pixel_hash=pl.col("sha256").replace(hashes))


def _pixel_hash(entry: Entry, *, examine: Examine) -> tuple[str | None, str | None]:
    """The hash of a file's bytes, and of its decoded pixels and their sizes."""
    hashed, prepared = examine(entry)
    if prepared.array is None:  # it was changed meanwhile
        return hashed.sha256, hashed.sha256
    digest = hashlib.sha256(str(prepared.array.shape).encode())
    digest.update(np.ascontiguousarray(prepared.array).data)
    return hashed.sha256, digest.hexdigest()


def _examined(
    entry: Entry, *, source: Source, stages: Sequence[Stage], preparing: Callable[..., Prepared]
) -> tuple[HashedEntry, Prepared]:
    """One file, read, hashed and passed through the decoder."""
    try:
        with source.open(entry) as file:
            content = read_at_most(file, AUDITED.max_bytes + 1)  # one more than allowed is enough to refuse it
    except OSError as error:
        return HashedEntry(entry=entry), Prepared(violations=(unreadable(error),))
    sha256 = hashlib.sha256(content).hexdigest() if len(content) <= AUDITED.max_bytes else None
    prepared = preparing(content, suffix=entry.suffix, recipe=AUDITED, stages=stages, sample_id=entry.sample_id)
    return HashedEntry(entry=entry, sha256=sha256, size=len(content)), prepared
