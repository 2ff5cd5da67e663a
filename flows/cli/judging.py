"""Commands that judge a dataset: audit, verify, gate, report, codes."""

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
    ReportFile,
    RulesFile,
    Scale,
    Verify,
    app,
    here,
    import_tensorflow,
    place,
    print_table,
    say,
    write,
    written,
)
from nhwc.validators.errors import RecipeError

if TYPE_CHECKING:
    import polars as pl

    from nhwc.flows.gate import GateOptions
    from nhwc.flows.subject import Subject
    from nhwc.validators.verdict import Verdict

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object, each finding with its file.")]


@app.command()
def audit(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", parser=here, help="A folder of images.")],
    json: Json = False,
    report: ReportFile = None,
) -> None:
    """Say what is wrong with a folder of images: broken files, poor images, copies. Nothing is stored."""
    import_tensorflow()
    from nhwc.flows import verdict_text
    from nhwc.flows.audit import audited
    from nhwc.flows.gate import GateOptions, judge_subject
    from nhwc.flows.progress import progress_bar

    with progress_bar(str(folder)) as progress:
        subject = audited(folder, progress=progress)
    verdict = judge_subject(subject, GateOptions())
    if report is not None:
        _write_page(report, subject, verdict, f"nhwc audit {quoted(str(folder))}")
    print(verdict_text.as_json(verdict, subject) if json else verdict_text.as_text(verdict, subject))
    if not verdict.passed:
        raise typer.Exit(1)


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
        say(violation)
    state, images = "whole" if verdict.passed else "damaged", verdict.figures.get("images", 0)
    say(f"{dataset}: {state}; {images:,.0f} images looked at")
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
    json: Json = False,
    junit: Annotated[Path | None, typer.Option(parser=written, metavar="FILE", help="Write JUnit XML there.")] = None,
    report: ReportFile = None,
) -> None:
    """Give a verdict on a version, or on a recipe's source, before a training is paid for."""
    from nhwc.flows import verdict_text
    from nhwc.flows.gate import GateOptions

    options = GateOptions(baseline=baseline, contract=contract, rules=rules, model=model, scale=scale, verify=verify)
    subject, verdict = _judged(data, options)
    if junit is not None:
        write(junit, verdict_text.as_junit(verdict, subject))
    if report is not None:
        _write_report(report, subject, verdict, options)
    say(verdict_text.as_json(verdict, subject) if json else verdict_text.as_text(verdict, subject))
    if not verdict.passed:
        raise typer.Exit(1)


@app.command()
def report(
    data: Gated,
    to: Annotated[Path, typer.Option(parser=written, metavar="FILE", help="Where to write the page.")] = Path(
        "report.html"
    ),
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
    from nhwc.pipelines.remote import is_url

    if source is not None and not is_url(source) and not Path(source).is_dir():
        raise RecipeError("--source", (f"found {source}, which is no folder, expected the one of images",))
    options = GateOptions(baseline=baseline, contract=contract, rules=rules, model=model, scale=scale, verify=verify)
    subject, verdict = _judged(data, options)
    _write_report(to, replace(subject, source=source or subject.source), verdict, options)
    say(f"{one_line(verdict, subject)}\nwritten to {to}")


def _judged(data: str, options: GateOptions) -> tuple[Subject, Verdict]:
    """What the gate judges, and its verdict."""
    if options.model is not None or Path(data).is_file():
        import_tensorflow()
    from nhwc.flows.gate import judge_subject, open_subject

    subject = open_subject(data, options)
    return subject, judge_subject(subject, options)


def _write_report(to: Path, subject: Subject, verdict: Verdict, options: GateOptions) -> None:
    from nhwc.pipelines.version import Version

    before = None if options.baseline is None else Version.open(options.baseline).facts
    said = " ".join(["nhwc gate", *map(quoted, options.as_arguments(subject.name))])
    _write_page(to, subject, verdict, said, baseline=before)


def _write_page(
    to: Path, subject: Subject, verdict: Verdict, said: str, *, baseline: pl.DataFrame | None = None
) -> None:
    """The report of what a command said."""
    from nhwc.flows.native_stderr import silenced_native_stderr
    from nhwc.flows.report import report_html

    with silenced_native_stderr():  # it looks at broken files too
        page = report_html(subject, verdict, baseline=baseline, reproduce=[said])
    write(to, page)


@app.command()
def codes() -> None:
    """List every violation code, what it means and how to mend it."""
    from nhwc.validators.violation import Code

    print_table(("code", "means", "to mend"), [(str(code), code.meaning, code.mend) for code in Code])
