"""The command that hands a version on to other readers: export."""

from __future__ import annotations

from typing import Annotated

import typer

from nhwc.flows.cli.shared import Dataset, app, place, say

Form = Annotated[str, typer.Option("--to", help="tfds, tfrecord, webdataset, parquet, npz or folder.")]


@app.command()
def export(
    dataset: Dataset,
    out: Annotated[str, typer.Argument(metavar="OUT", parser=place, help="A folder that is not there yet.")],
    to: Form,
    file_format: Annotated[
        str | None, typer.Option(help="Of tfds: tfrecord, for as_dataset, or array_record, for as_data_source.")
    ] = None,
) -> None:
    """Write a version for another reader, without loss: images, labels, class names, splits."""
    from nhwc.flows.native_stderr import silenced_native_stderr
    from nhwc.flows.progress import progress_bar

    with progress_bar(f"{dataset} to {to}") as progress, silenced_native_stderr():  # TensorFlow and its kin say much
        from nhwc.flows.export import Asked, run_export

        exported = run_export(dataset, Asked(to=to, out=out, file_format=file_format), progress=progress)
    splits = ", ".join(f"{samples:,} in {split}" for split, samples in exported.splits.items())
    state = "" if exported.is_new else ", as it was there already"
    say(f"{out}: {exported.version.number} as {to}, {exported.bytes / 1e6:,.1f} MB: {splits}{state}")
    say(f"to read it back:\n{exported.reading}")
