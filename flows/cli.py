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
from typing import Annotated, Any

import typer

from nhwc.validators.errors import MachineError, NhwcError, RecipeError

app = typer.Typer(
    help="Turn image datasets into checked, training-ready batches of shape (samples, rows, cols, channels).",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

RecipeFile = Annotated[Path, typer.Argument(metavar="RECIPE", help="A recipe in YAML.")]
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

    if to.exists():
        raise RecipeError(str(to), ("found a file there already, expected none: name another with --to",))
    text = propose_recipe(source, recipe=to)
    to.write_text(text, encoding="utf-8")
    print(f"{text}\nwritten to {to}\nnext: nhwc explain {to}, then nhwc ingest {to}")


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
    dataset: Dataset,
    baseline: Annotated[Path | None, typer.Option(help="A version to compare with.")] = None,
    contract: Annotated[Path | None, typer.Option(help="A contract.yaml that must be kept.")] = None,
    model: Annotated[Path | None, typer.Option(help="A Keras model's .keras or .h5 file.")] = None,
    scale: Annotated[str, typer.Option(help="How batches will be loaded: none, unit, signed or standard.")] = "none",
    verify: Annotated[bool, typer.Option("--verify", help="Hold files and pixels against their hashes too.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML there.")] = None,
) -> None:
    """Give a verdict on a published version, before a training is paid for."""
    if model is not None:
        _import_tensorflow()
    from nhwc.flows.gate import as_json, as_junit, verdict_text
    from nhwc.flows.gate import gate as judged

    verdict = judged(dataset, baseline=baseline, contract=contract, model=model, scale=scale, verify=verify)
    if junit is not None:
        junit.write_text(as_junit(verdict, str(dataset)), encoding="utf-8")
    print(as_json(verdict) if json else verdict_text(verdict, dataset))
    if not verdict.passed:
        raise typer.Exit(1)


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
