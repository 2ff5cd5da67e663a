"""The command that runs on: schedule."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from nhwc.flows.cli.shared import (
    Address,
    Baseline,
    EngineName,
    Gate,
    RecipeFile,
    Workers,
    app,
    gate_of,
    import_tensorflow,
)


@app.command()
def schedule(
    recipe: RecipeFile,
    cron: Annotated[str | None, typer.Option(help="When: minute hour day month weekday, as '0 2 * * *'.")] = None,
    interval: Annotated[str | None, typer.Option(help="Or how often: seconds, or as 15m, 2h, 1d.")] = None,
    timezone: Annotated[str, typer.Option(help="Of --cron, as Europe/Berlin.")] = "UTC",
    overlap: Annotated[
        str, typer.Option(help="Of a run that is due while the one before goes on: refuse or queue.")
    ] = "refuse",
    engine: EngineName = "threads",
    workers: Workers = None,
    address: Address = None,
    gate: Gate = False,
    baseline: Baseline = None,
    name: Annotated[str | None, typer.Option(help="Of the deployment in Prefect; else the dataset's.")] = None,
) -> None:
    """Ingest on a schedule, on Prefect's server (PREFECT_API_URL) or on one of its own, until it is ended."""
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "INFO")  # what a service says of its runs; read with Prefect
    import_tensorflow()
    from nhwc.flows.engines import EngineOptions
    from nhwc.flows.schedule import read_schedule, serve

    asked = read_schedule(
        recipe=recipe,
        cron=cron,
        interval=interval,
        timezone=timezone,
        overlap=overlap,
        gate=gate_of(gate, baseline),
        name=name,
        engine=EngineOptions(name=engine, workers=workers, address=address),
    )
    serve(asked, say=lambda line: print(line, flush=True))
