"""Commands that make a dataset: demo, init, inspect, schema, explain, ingest."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nhwc.flows.cli.shared import (
    Address,
    Baseline,
    Direct,
    EngineName,
    Gate,
    RecipeFile,
    Workers,
    app,
    complain,
    gate_of,
    import_tensorflow,
    place,
    print_table,
    say,
    written,
)
from nhwc.validators.errors import NhwcError, RecipeError


@app.command()
def demo(
    to: Annotated[Path, typer.Option(help="Where to write the images and the dataset.")] = Path("demo"),
    direct: Direct = False,
) -> None:
    """Run the main job on real images, some broken, and train a small Conv2D."""
    import_tensorflow()
    from nhwc.flows.demo import run_demo

    run_demo(to, direct=direct, say=say)


@app.command()
def init(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", parser=place, help="A folder of images, or another source.")
    ],
    to: Annotated[Path, typer.Option(parser=written, metavar="FILE", help="Where to write the recipe.")] = Path(
        "recipe.yaml"
    ),
) -> None:
    """Look at a source of images and write a recipe that fits it."""
    from nhwc.flows.durable import write_text
    from nhwc.flows.init import propose_recipe

    contract = to.with_name(f"{to.stem}.contract.yaml")
    for path in (to, contract):
        if path.exists():
            raise RecipeError(str(path), ("found a file there already, expected none: name another with --to",))
    proposal = propose_recipe(source, recipe=to, contract=contract)
    if proposal.contract is not None:
        write_text(contract, proposal.contract)
    write_text(to, proposal.recipe)
    files = f"{to} and {contract}" if proposal.contract is not None else str(to)
    say(f"{proposal.recipe}\nwritten to {files}\nnext: nhwc explain {to}, then nhwc ingest {to}")


@app.command()
def inspect(
    paths: Annotated[
        list[str],
        typer.Argument(metavar="PATH...", parser=place, help="Files, folders or published datasets, or URLs."),
    ],
) -> None:
    """Say rank, rows, cols, channels, dtype and format of what lies at each path."""
    from nhwc.flows.inspect import inspect as look

    sound, wrong = True, list[NhwcError]()
    for path in paths:
        try:
            text, is_sound = look(path)
        except NhwcError as error:  # the others are told all the same
            wrong.append(error)
            continue
        say(text)
        sound &= is_sound
    for one in wrong[:-1]:
        complain(str(one))
    if wrong:
        raise wrong[-1]
    if not sound:
        raise typer.Exit(1)


@app.command()
def schema() -> None:
    """Print the JSON Schema of a recipe, by which editors complete and check one."""
    from nhwc.flows.recipe_schema import schema_text

    print(schema_text())


@app.command()
def explain(recipe: RecipeFile) -> None:
    """Print the stages of a recipe, each with its contract, before any image is read."""
    from nhwc.flows.frozen_contract import read_contract
    from nhwc.flows.recipe import read_recipe

    asked = read_recipe(recipe)
    if asked.frozen_contract is not None:
        read_contract(asked.frozen_contract)
    import_tensorflow()
    from nhwc.flows.explain import explain as stages

    print_table(("stage", "does", "what comes out"), stages(asked))
    say(f"nothing was read. next: nhwc ingest {recipe}")


@app.command()
def ingest(
    recipe: RecipeFile,
    direct: Direct = False,
    engine: EngineName = "threads",
    workers: Workers = None,
    address: Address = None,
    gate: Gate = False,
    baseline: Baseline = None,
) -> None:
    """Ingest a recipe: check every image, quarantine what is bad, publish a version."""
    from nhwc.flows.engines import EngineOptions
    from nhwc.flows.recipe import read_recipe

    asked, judging = read_recipe(recipe), gate_of(gate, baseline)
    options = EngineOptions(name=engine, workers=workers, address=address)
    options.check()
    from nhwc.flows.progress import progress_bar
    from nhwc.flows.summary import text

    with progress_bar(asked.dataset) as progress:
        if direct:
            from nhwc.flows.ingest import gate_options, run_ingest

            ingested = run_ingest(asked, engine=options, progress=progress, gate=gate_options(judging))
        else:
            from nhwc.flows.prefect_run import ingest_with_prefect

            ingested = ingest_with_prefect(asked, engine=options, progress=progress, gate=judging)
    say(text(ingested, asked.dataset))
    if ingested.version is None:
        raise typer.Exit(1)
