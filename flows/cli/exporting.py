"""The command that hands a version on to other readers: export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nhwc.flows.cli.shared import Dataset, app, say

Form = Annotated[str, typer.Option("--to", help="tfds, tfrecord, webdataset, parquet, npz or folder.")]


@app.command()
def export(
    dataset: Dataset,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A folder that is not there yet.")],
    to: Form,
) -> None:
    """Write a version for another reader, without loss: images, labels, class names, splits."""
    from nhwc.flows.native_stderr import silenced_native_stderr
    from nhwc.flows.progress import progress_bar

    with progress_bar(f"{dataset} to {to}") as progress, silenced_native_stderr():  # TensorFlow and its kin say much
        from nhwc.flows.export import run_export

        exported = run_export(dataset, to=to, out=out, progress=progress)
    splits = ", ".join(f"{samples:,} in {split}" for split, samples in exported.splits.items())
    state = "" if exported.is_new else ", as it was there already"
    say(f"{out}: {exported.version.number} as {to}, {exported.bytes / 1e6:,.1f} MB: {splits}{state}")
    say(f"to read it back:\n{exported.reading}")
