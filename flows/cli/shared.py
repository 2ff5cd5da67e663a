"""What commands share: the app, arguments that several have, and how they print."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

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


RecipeFile = Annotated[Path, typer.Argument(metavar="RECIPE", help="A recipe in YAML.")]
Gated = Annotated[
    str,
    typer.Argument(
        metavar="DATASET", parser=place, help="A published dataset, one version of it (or a URL), or a recipe."
    ),
]
Baseline = Annotated[str | None, typer.Option(parser=place, metavar="DATASET", help="A version to compare with.")]
ContractFile = Annotated[Path | None, typer.Option(help="A contract.yaml that must be kept.")]
RulesFile = Annotated[Path | None, typer.Option(help="A Python file of own pandera rules. It is run.")]
ModelFile = Annotated[Path | None, typer.Option(help="A Keras model's .keras or .h5 file.")]
Scale = Annotated[str, typer.Option(help="How batches will be loaded: none, unit, signed or standard.")]
Verify = Annotated[bool, typer.Option("--verify", help="Hold files and pixels against their hashes too.")]
Dataset = Annotated[
    str,
    typer.Argument(metavar="DATASET", parser=place, help="A published dataset, or one version of it: folder or URL."),
]
Direct = Annotated[bool, typer.Option("--direct", help="Run without Prefect: the same tree, without its start-up.")]


def print_table(titles: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
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


def import_tensorflow() -> None:
    """Import TensorFlow without the lines that it writes about CUDA on machines that have none."""
    from nhwc.flows.native_stderr import silenced_native_stderr

    with silenced_native_stderr():
        import tensorflow  # noqa: F401
