"""Commands that judge a dataset: verify, gate, report, codes."""

from __future__ import annotations

from pathlib import Path
from shlex import quote as quoted
from typing import TYPE_CHECKING, Annotated

import typer

from nhwc.flows.cli.shared import (
    Baseline,
    ContractFile,
    Dataset,
    Gated,
    ModelFile,
    RulesFile,
    Scale,
    Verify,
    app,
    import_tensorflow,
    place,
    print_table,
)

if TYPE_CHECKING:
    from nhwc.flows.gate import GateOptions
    from nhwc.flows.subject import Subject
    from nhwc.validators.verdict import Verdict


@app.command()
def verify(
    dataset: Dataset,
    sample: Annotated[
        int | None, typer.Option(min=1, help="Look at so many images, drawn at random, instead of all.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of that draw.")] = 0,
) -> None:
    """Hold every file and every stored image against its published hash."""
    from nhwc.flows.verify import verify as check

    verdict = check(dataset, sample=sample, seed=seed)
    for violation in verdict.violations:
        print(violation)
    state, images = "whole" if verdict.passed else "damaged", verdict.figures.get("images", 0)
    print(f"{dataset}: {state}; {images:,.0f} images looked at")
    if not verdict.passed:
        raise typer.Exit(1)


@app.command()
def gate(
    data: Gated,
    baseline: Baseline = None,
    contract: ContractFile = None,
    rules: RulesFile = None,
    model: ModelFile = None,
    scale: Scale = "none",
    verify: Verify = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML there.")] = None,
    report: Annotated[Path | None, typer.Option(help="Write the report's HTML page there.")] = None,
) -> None:
    """Give a verdict on a version, or on a recipe's source, before a training is paid for."""
    from nhwc.flows import verdict_text
    from nhwc.flows.gate import GateOptions

    options = GateOptions(baseline=baseline, contract=contract, rules=rules, model=model, scale=scale, verify=verify)
    subject, verdict = _judged(data, options)
    if junit is not None:
        junit.write_text(verdict_text.as_junit(verdict, str(data)), encoding="utf-8")
    if report is not None:
        _write_report(report, subject, verdict, options)
    print(verdict_text.as_json(verdict) if json else verdict_text.as_text(verdict, subject))
    if not verdict.passed:
        raise typer.Exit(1)


@app.command()
def report(
    data: Gated,
    to: Annotated[Path, typer.Option(help="Where to write the page.")] = Path("report.html"),
    source: Annotated[
        str | None,
        typer.Option(parser=place, metavar="PLACE", help="The folder of images, to show those that were left out."),
    ] = None,
    baseline: Baseline = None,
    contract: ContractFile = None,
    rules: RulesFile = None,
    model: ModelFile = None,
    scale: Scale = "none",
    verify: Verify = False,
) -> None:
    """Write what the gate finds as one HTML page that opens offline: galleries, plots, and how to reproduce it."""
    from dataclasses import replace

    from nhwc.flows.gate import GateOptions
    from nhwc.flows.verdict_text import one_line

    options = GateOptions(baseline=baseline, contract=contract, rules=rules, model=model, scale=scale, verify=verify)
    subject, verdict = _judged(data, options)
    _write_report(to, replace(subject, source=source or subject.source), verdict, options)
    print(f"{one_line(verdict, subject)}\nwritten to {to}")


def _judged(data: str, options: GateOptions) -> tuple[Subject, Verdict]:
    """What the gate judges, and its verdict."""
    if options.model is not None or Path(data).is_file():
        import_tensorflow()
    from nhwc.flows.gate import judge_subject, open_subject

    subject = open_subject(data, options)
    return subject, judge_subject(subject, options)


def _write_report(to: Path, subject: Subject, verdict: Verdict, options: GateOptions) -> None:
    from nhwc.flows.native_stderr import silenced_native_stderr
    from nhwc.flows.report import report_html
    from nhwc.pipelines.version import Version

    before = None if options.baseline is None else Version.open(options.baseline).facts
    said = " ".join(["nhwc gate", *map(quoted, options.as_arguments(subject.name))])
    with silenced_native_stderr():  # it looks at broken files too
        page = report_html(subject, verdict, baseline=before, reproduce=[said])
    to.write_text(page, encoding="utf-8")


@app.command()
def codes() -> None:
    """List every violation code, what it means and how to mend it."""
    from nhwc.validators.violation import Code

    print_table(("code", "means", "to mend"), [(str(code), code.meaning, code.mend) for code in Code])
