"""The report: one HTML page that opens offline, says first what the verdict is, and then shows why.

It is a function of what was judged: no date, no place of the machine, and the same page, byte by byte, for the same
manifest and pixels. It asks for Jinja, so callers import it when a report is wanted.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import polars as pl
from markupsafe import Markup

from nhwc.flows.report.bars import class_chart, drift_bars
from nhwc.flows.report.groups import (
    NAMES,
    finding_groups,
    left_out_groups,
    note_counts,
    of_the_dataset,
    reasons,
    some_of_each_class,
)
from nhwc.flows.report.plots import plots
from nhwc.flows.report.template import page_template, part
from nhwc.flows.report.thumbnails import thumbnails
from nhwc.flows.subject import Subject
from nhwc.validators.manifest import status_counts
from nhwc.validators.verdict import Verdict

SAMPLES, SAMPLES_A_CLASS = 60, 3
CLASSES = 200
"""Class names that the page lists at most."""


def report_html(
    subject: Subject, verdict: Verdict, *, baseline: pl.DataFrame | None = None, reproduce: Sequence[str] = ()
) -> str:
    """The report as one HTML page, which loads nothing and works without scripts too.

    Args:
        subject: what was judged. Its stored images are shown as thumbnails where it can give them, and of what was
            left out the files in its source, where they can be read.
        verdict: what it came to; `drift_` figures in it are drawn.
        baseline: the manifest that it was compared with, drawn below the subject's own.
        reproduce: command lines that make what is reported, in their order.
    """
    kept = subject.kept
    findings, left_out = finding_groups(subject, verdict), left_out_groups(subject)
    samples = some_of_each_class(kept, each=SAMPLES_A_CLASS, most=SAMPLES)
    shown = [*samples, *(entry for group in (*findings, *left_out) for entry in group.gallery)]
    return _rendered(
        subject=subject,
        verdict=verdict,
        counts=status_counts(subject.manifest),
        reasons=reasons(verdict, findings),
        of_the_dataset=list(of_the_dataset(verdict)),
        findings=findings,
        left_out=left_out,
        notes=note_counts(kept),
        samples=samples,
        thumbnails=thumbnails(subject, {entry["sample_id"] for entry in shown}),
        classes=class_chart(kept, subject.classes, baseline),
        drift=drift_bars(verdict.figures),
        plots=plots(kept, subject.contract, baseline),
        reproduce=reproduce,
        versions={name: version(name) for name in ("nhwc", "numpy", "pillow", "polars")},
        most_names=NAMES,
        most_classes=CLASSES,
    )


def _rendered(**parts: Any) -> str:
    script = part("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page = page_template().render(style=Markup(part("page.css")), script=Markup(script), script_hash=digest, **parts)
    return page.lstrip()
