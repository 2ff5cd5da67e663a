"""The command that measures: bench."""

from __future__ import annotations

from typing import Annotated

import typer

from nhwc.flows.cli.shared import Dataset, Scale, app, import_tensorflow, print_table


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
    import_tensorflow()
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
    print_table(measuring.TITLES, measuring.as_rows(measured.found))
    print(measuring.as_text(measured))
