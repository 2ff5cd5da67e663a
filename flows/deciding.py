"""Whether a draft is published: what its budget and the gate say, and what becomes of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from shlex import quote as quoted
from typing import TYPE_CHECKING, Literal

import polars as pl

from nhwc.flows.durable import write_text
from nhwc.flows.mend import Condition, number_after, same_version
from nhwc.flows.native_stderr import silenced_native_stderr
from nhwc.flows.publish import (
    REFUSED_REPORT,
    Draft,
    adopt_shards,
    name_latest,
    tidy,
    write_refused,
    write_version,
)
from nhwc.flows.soundness import is_named
from nhwc.flows.subject import Subject, draft_subject
from nhwc.flows.upload import upload, upload_latest
from nhwc.pipelines.version import Version
from nhwc.validators.manifest import check_manifest
from nhwc.validators.verdict import Verdict
from nhwc.validators.violation import Violation

if TYPE_CHECKING:
    from nhwc.flows.gate import GateOptions


@dataclass(frozen=True, kw_only=True)
class Ingested:
    """What an ingest came to.

    Args:
        outcome: published (a new version), unchanged (the latest version already says it), refused (over the budget).
        version: the published or unchanged version; None where refused.
        verdict: of the budget, and of the gate where one was asked; its violations say why it was refused.
        manifest: a row a discovered entry, also where refused.
        findings: what is remarkable about the classes as a whole.
        made: how many files went to a decoder in this run.
        place: where the version, or the refused manifest, lies.
        mended: what was missing or damaged in the dataset and is as it was published again.
        given_up: the version that is damaged, and that this source does not make again.
    """

    outcome: Literal["published", "unchanged", "refused"]
    version: Version | None
    verdict: Verdict
    manifest: pl.DataFrame
    findings: tuple[Violation, ...]
    made: int
    place: Path
    mended: tuple[str, ...] = ()
    given_up: Version | None = None


def judge_and_publish(draft: Draft, condition: Condition, made: int, gate: GateOptions | None) -> Ingested:
    """Publish the draft if its budget and the gate allow it, and anything changed."""
    check_manifest(draft.manifest).require()
    dataset, remote = draft.recipe.dataset_path, draft.recipe.remote
    before = None if condition.before is None else condition.before.facts
    verdict = draft.recipe.checks.budget(draft.manifest, before)
    if gate is not None and verdict.passed:
        verdict = _judged(draft, gate)[1]
    ingested = partial(Ingested, verdict=verdict, manifest=draft.manifest, findings=draft.findings, made=made)
    if not verdict.passed:
        write_text(dataset / REFUSED_REPORT, _page(draft, "RECIPE", gate))
        return ingested(outcome="refused", version=None, place=write_refused(draft), mended=condition.mended)
    adopt_shards(draft)
    page = partial(_page_of_version, draft)
    if (same := same_version(draft, condition, page)) is not None:
        version, mended = same
        if not is_named(version):
            name_latest(version)
            mended += ("latest",)
        if remote is not None:
            upload(version, remote, version)  # what the store lost
        ingested = partial(ingested, outcome="unchanged", mended=mended)
    else:
        version = write_version(draft, number_after(draft, condition), page)
        if remote is not None:
            upload(version, remote, condition.before)
        name_latest(version)
        if remote is not None:
            upload_latest(version, remote, condition.before)
        ingested = partial(ingested, outcome="published", mended=condition.mended, given_up=condition.given_up(dataset))
    tidy(dataset)
    return ingested(version=version, place=version.folder)


def _judged(draft: Draft, gate: GateOptions | None) -> tuple[Subject, Verdict]:
    """The draft as the gate sees it, and what it says."""
    from nhwc.flows.gate import GateOptions, judge_subject  # noqa: PLC0415  it imports ingest, which imports this

    subject = draft_subject(draft, name=draft.recipe.dataset, checked=True)
    return subject, judge_subject(subject, gate or GateOptions())


def _page_of_version(draft: Draft, number: str) -> str:
    """A version's own page. Whichever gate it passed it is the same, so that it can be made again to the byte."""
    return _page(draft, f"{draft.recipe.named_dataset}/{number}", None)


def _page(draft: Draft, name: str, gate: GateOptions | None) -> str:
    """What the gate says of the draft, as a page. It is judged again by that name."""
    from nhwc.flows.report import report_html  # noqa: PLC0415  Jinja, for what is published only

    subject, verdict = _judged(draft, gate)
    asked = [name] if gate is None else gate.as_arguments(name)
    before = None if gate is None or gate.baseline is None else Version.open(gate.baseline).facts
    with silenced_native_stderr():  # it looks at broken files too
        reproduce = " ".join(["nhwc gate", *map(quoted, asked)])
        return report_html(subject, verdict, baseline=before, reproduce=[reproduce])
