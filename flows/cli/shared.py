"""What commands share: the app, arguments that several have, and how they print."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from nhwc.flows.printable import printable
from nhwc.validators.errors import RecipeError

app = typer.Typer(
    help="Turn image datasets into checked, training-ready batches of shape (samples, rows, cols, channels).",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def place(text: str) -> str:
    """A path as pathlib writes it, or a URL as it is."""
    from nhwc.pipelines.remote import is_url

    return text if is_url(text) else str(Path(text))


def here(text: str) -> Path:
    """A path on this machine. Raises RecipeError for a URL, of which pathlib would make the name of a folder."""
    from nhwc.pipelines.remote import is_url

    if is_url(text):
        raise RecipeError(text, ("found a URL, expected a folder on this machine: this command reads no store",))
    return Path(text)


def complain(message: str) -> None:
    """Say on stderr what is wrong, whatever names are in it."""
    print("\n".join(map(printable, f"nhwc: {message}".split("\n"))), file=sys.stderr)


def written(text: str) -> Path:
    """A file to be written. Raises RecipeError where none can be, before anything is done for it."""
    path = Path(text)
    if path.is_dir():
        raise RecipeError(text, ("found a folder, expected a file to write: name one in it",))
    if not path.parent.is_dir():
        raise RecipeError(text, (f"found no folder {path.parent}, expected the one to write in: make it first",))
    return path


def write(path: Path, text: str) -> None:
    """Write it whole or not at all; into what is no file, as /dev/stdout or a pipe, and through a link, as it is."""
    from nhwc.flows.durable import write_text

    if path.is_symlink() or (path.exists() and not path.is_file()):
        path.write_text(text, encoding="utf-8")
    else:
        write_text(path, text)


RecipeFile = Annotated[
    Path,
    typer.Argument(metavar="RECIPE", readable=False, help="A recipe in YAML."),  # who reads it says what is wrong
]
Gated = Annotated[
    str,
    typer.Argument(
        metavar="DATASET", parser=place, help="A published dataset, one version of it (or a URL), or a recipe."
    ),
]
Baseline = Annotated[str | None, typer.Option(parser=place, metavar="DATASET", help="A version to compare with.")]
ContractFile = Annotated[Path | None, typer.Option(readable=False, help="A contract.yaml that must be kept.")]
RulesFile = Annotated[Path | None, typer.Option(readable=False, help="A Python file of own pandera rules. It is run.")]
ModelFile = Annotated[Path | None, typer.Option(help="A Keras model's .keras or .h5 file.")]
ReportFile = Annotated[
    Path | None, typer.Option(parser=written, metavar="FILE", help="Write the report's HTML page there.")
]
Scale = Annotated[str, typer.Option(help="How batches will be loaded: none, unit, signed or standard.")]
Verify = Annotated[bool, typer.Option("--verify", help="Hold files and pixels against their hashes too.")]
Dataset = Annotated[
    str,
    typer.Argument(metavar="DATASET", parser=place, help="A published dataset, or one version of it: folder or URL."),
]
EngineName = Annotated[str, typer.Option("--engine", help="Who makes the shards: threads, processes, dask or ray.")]
Workers = Annotated[int | None, typer.Option(help="How many processes; as many as there are cores.")]
Address = Annotated[str | None, typer.Option(help="Of a Dask scheduler or a Ray cluster that runs already.")]
Gate = Annotated[bool, typer.Option("--gate", help="Publish only what the gate passes.")]
Direct = Annotated[bool, typer.Option("--direct", help="Run without Prefect: the same tree, without its start-up.")]


def say(text: object) -> None:
    """Print lines in which no name can steer the terminal: names come from who made the files."""
    print("\n".join(map(printable, str(text).split("\n"))))


def print_table(titles: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    """Rows under their titles: framed to the width of a terminal, tab-separated into a pipe."""
    rows = [tuple(printable(str(cell)) for cell in row) for row in rows]
    if not sys.stdout.isatty():
        print("\n".join("\t".join(row) for row in (titles, *rows)))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(*titles)
    for row in rows:
        table.add_row(*(cell.replace("[", r"\[") for cell in row))
    Console().print(table)


def import_tensorflow() -> None:
    """Import TensorFlow without the lines that it writes about CUDA on machines that have none.

    Raises RecipeError where Keras, which TensorFlow imports, is told of a backend that is none.
    """
    from nhwc.flows.native_stderr import silenced_native_stderr
    from nhwc.validators.model import no_backend

    with silenced_native_stderr():
        try:
            import tensorflow  # noqa: F401
        except ValueError as error:
            raise no_backend(error) from error


def gate_of(asked: bool, baseline: str | None) -> dict[str, Any] | None:
    """The options of the gate that an ingest has to pass, or None. Raises RecipeError for some of no gate."""
    if not asked and baseline is not None:
        raise RecipeError("gate", ("baseline: found one, which only the gate compares with: add --gate",))
    if not asked:
        return None
    from nhwc.pipelines.remote import is_url

    return {} if baseline is None else {"baseline": baseline if is_url(baseline) else str(Path(baseline).absolute())}
