"""The command line.

Exit status: 0 passed, 1 the data broke its contract, 2 the recipe or the call is wrong, 3 the machine failed.
"""

from __future__ import annotations

import io
import os
import signal
import sys
from functools import partial
from pathlib import Path
from shlex import quote as quoted
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nhwc.validators.errors import MachineError, NhwcError, RecipeError

if TYPE_CHECKING:
    from nhwc.flows.gate import GateOptions
    from nhwc.flows.subject import Subject
    from nhwc.validators.verdict import Verdict

app = typer.Typer(
    help="Turn image datasets into checked, training-ready batches of shape (samples, rows, cols, channels).",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

RecipeFile = Annotated[Path, typer.Argument(metavar="RECIPE", help="A recipe in YAML.")]
Gated = Annotated[
    Path, typer.Argument(metavar="DATASET", help="A published dataset, the folder of one version, or a recipe.")
]
Baseline = Annotated[Path | None, typer.Option(help="A version to compare with.")]
ContractFile = Annotated[Path | None, typer.Option(help="A contract.yaml that must be kept.")]
RulesFile = Annotated[Path | None, typer.Option(help="A Python file of own pandera rules. It is run.")]
ModelFile = Annotated[Path | None, typer.Option(help="A Keras model's .keras or .h5 file.")]
Scale = Annotated[str, typer.Option(help="How batches will be loaded: none, unit, signed or standard.")]
Verify = Annotated[bool, typer.Option("--verify", help="Hold files and pixels against their hashes too.")]
Dataset = Annotated[Path, typer.Argument(metavar="DATASET", help="A published dataset, or the folder of one version.")]
Direct = Annotated[bool, typer.Option("--direct", help="Run without Prefect: the same tree, without its start-up.")]


def main() -> None:
    """Run the command; end with the right status and, for what can be foreseen, one clear message."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # read when TensorFlow is imported
    _open_missing_streams()
    for number, status in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        signal.signal(number, partial(_interrupted, status))
    try:
        app()
    except NhwcError as error:
        _fail(str(error), error.exit_status)
    except OSError as error:
        _fail(f"{error.filename or 'output'}: {error.strerror or error}", MachineError.exit_status)
    except SystemExit as ended:
        if isinstance(ended.__context__, BrokenPipeError):  # the reader of our output has gone: nothing is left to say
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            sys.exit(0)
        raise


def _fail(message: str, status: int) -> None:
    print(f"nhwc: {message}", file=sys.stderr)
    sys.exit(status)


def _interrupted(status: int, number: int, frame: object) -> None:
    """End by way of SystemExit, so that everything open is closed and Prefect stops its temporary server.

    Whoever interrupts once more ends it at once: what was finished is kept then too.
    """
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, lambda *_: os._exit(status))
    print("nhwc: interrupted; what was finished is kept: run the same again to go on", file=sys.stderr)
    sys.exit(status)


def _open_missing_streams() -> None:
    """See that stdout and stderr are there, and take any file name, whatever the caller closed or set."""
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            if nowhere != descriptor:
                os.dup2(nowhere, descriptor)
            setattr(sys, name, os.fdopen(descriptor, "w", encoding="utf-8"))
        elif isinstance(stream := getattr(sys, name), io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@app.command()
def demo(
    to: Annotated[Path, typer.Option(help="Where to write the images and the dataset.")] = Path("demo"),
    direct: Direct = False,
) -> None:
    """Run the main job on real images, some broken, and train a small Conv2D."""
    _import_tensorflow()
    from nhwc.flows.demo import run_demo

    run_demo(to, direct=direct, say=print)


@app.command()
def init(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="A folder of images.")],
    to: Annotated[Path, typer.Option(help="Where to write the recipe.")] = Path("recipe.yaml"),
) -> None:
    """Look at a folder of images and write a recipe that fits it."""
    from nhwc.flows.init import propose_recipe

    contract = to.with_name(f"{to.stem}.contract.yaml")
    for path in (to, contract):
        if path.exists():
            raise RecipeError(str(path), ("found a file there already, expected none: name another with --to",))
    proposal = propose_recipe(source, recipe=to, contract=contract)
    to.write_text(proposal.recipe, encoding="utf-8")
    if proposal.contract is not None:
        contract.write_text(proposal.contract, encoding="utf-8")
    written = f"{to} and {contract}" if proposal.contract is not None else str(to)
    print(f"{proposal.recipe}\nwritten to {written}\nnext: nhwc explain {to}, then nhwc ingest {to}")


@app.command()
def inspect(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Files, folders or published datasets.")],
) -> None:
    """Say rank, rows, cols, channels, dtype and format of what lies at each path."""
    from nhwc.flows.inspect import inspect as look

    looks = [look(path) for path in paths]
    for text, _ in looks:
        print(text)
    if not all(sound for _, sound in looks):
        raise typer.Exit(1)


@app.command()
def explain(recipe: RecipeFile) -> None:
    """Print the stages of a recipe, each with its contract, before any image is read."""
    from nhwc.flows.recipe import read_recipe

    asked = read_recipe(recipe)
    _import_tensorflow()
    from nhwc.flows.explain import explain as stages

    _print_table(("stage", "does", "what comes out"), stages(asked))
    print(f"nothing was read. next: nhwc ingest {recipe}")


@app.command()
def ingest(recipe: RecipeFile, direct: Direct = False) -> None:
    """Ingest a recipe: check every image, quarantine what is bad, publish a version."""
    from nhwc.flows.recipe import read_recipe

    asked = read_recipe(recipe)
    _import_tensorflow()
    from nhwc.flows.progress import progress_bar
    from nhwc.flows.summary import text

    with progress_bar(asked.dataset) as progress:
        if direct:
            from nhwc.flows.ingest import run_ingest

            ingested = run_ingest(asked, progress=progress)
        else:
            from nhwc.flows.prefect_run import ingest_with_prefect

            ingested = ingest_with_prefect(asked, progress=progress)
    print(text(ingested, asked.dataset))
    if ingested.version is None:
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
    source: Annotated[Path | None, typer.Option(help="The folder of images, to show those that were left out.")] = None,
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


def _judged(data: Path, options: GateOptions) -> tuple[Subject, Verdict]:
    """What the gate judges, and its verdict."""
    if options.model is not None or data.is_file():
        _import_tensorflow()
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
def bench(
    dataset: Dataset,
    split: Annotated[str, typer.Option(help="As in nhwc.load, like all that follow to --channels-first.")] = "train",
    batch_size: Annotated[int, typer.Option(help="Images a batch.")] = 32,
    shuffle: Annotated[bool, typer.Option("--shuffle", help="A new order each epoch.")] = False,
    scale: Scale = "none",
    dtype: Annotated[str | None, typer.Option(help="Of the images: float32, float16 or bfloat16.")] = None,
    channels_first: Annotated[bool, typer.Option("--channels-first", help="Not nhwc but nchw.")] = False,
    step_ms: Annotated[float, typer.Option(min=0, help="Milliseconds that a training step takes on its device.")] = 0,
    seconds: Annotated[float, typer.Option(min=0.1, help="To measure for.")] = 4,
    batches: Annotated[int | None, typer.Option(min=1, help="At most so many in a run.")] = None,
    cold: Annotated[bool, typer.Option("--cold", help="Have the system forget the shards first.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say where the time of a training's batches goes, how long it waits for them, and what to change."""
    _import_tensorflow()
    from nhwc.flows import bench as measuring
    from nhwc.flows.native_stderr import silenced_native_stderr
    from nhwc.pipelines.batch import BatchOptions

    options = BatchOptions(
        split=split,
        batch_size=batch_size,
        shuffle=shuffle,
        scale=scale,
        dtype=dtype,
        channels_first=channels_first,
    )
    pace = measuring.Pace(seconds=seconds, batches=batches, step_ms=step_ms, cold=cold)
    with silenced_native_stderr():
        measured = measuring.bench(dataset, options, pace)
    if json:
        print(measuring.as_json(measured))
        return
    print(measuring.heading(measured))
    _print_table(measuring.TITLES, measuring.as_rows(measured.found))
    print(measuring.as_text(measured))


@app.command()
def codes() -> None:
    """List every violation code, what it means and how to mend it."""
    from nhwc.validators.violation import Code

    _print_table(("code", "means", "to mend"), [(str(code), code.meaning, code.mend) for code in Code])


def _print_table(titles: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    """Rows under their titles: framed to the width of a terminal, tab-separated into a pipe."""
    if not sys.stdout.isatty():
        print("\n".join("\t".join(map(str, row)) for row in (titles, *rows)))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(*titles)
    for row in rows:
        table.add_row(*(str(cell).replace("[", r"\[") for cell in row))
    Console().print(table)


def _import_tensorflow() -> None:
    """Import TensorFlow without the lines that it writes about CUDA on machines that have none."""
    from nhwc.flows.native_stderr import silenced_native_stderr

    with silenced_native_stderr():
        import tensorflow  # noqa: F401
