"""Commands that keep a dataset in order over time: versions, diff, prune."""

from __future__ import annotations

from typing import Annotated

import typer

from nhwc.flows.cli.shared import app, place, print_table
from nhwc.flows.printable import printable

Dataset = Annotated[str, typer.Argument(metavar="DATASET", parser=place, help="A published dataset's folder or URL.")]


@app.command()
def versions(dataset: Dataset) -> None:
    """List the versions of a dataset: when each was published, what it counts, what it takes."""
    from nhwc.pipelines.listing import listed_versions

    rows = []
    for one in listed_versions(dataset):
        counts = one.counts or {}
        kept, quarantined = (f"{counts[name]:,}" if counts else "damaged" for name in ("kept", "quarantined"))
        published = f"{one.published:%Y-%m-%d %H:%M} UTC" if one.published else "unknown"
        number = f"{one.version.number} latest" if one.is_latest else one.version.number
        rows.append((number, published, kept, quarantined, _megabytes(one.bytes), _megabytes(one.own_bytes)))
    print_table(("version", "published", "kept", "quarantined", "shards", "its own"), rows)


@app.command()
def diff(
    old: Annotated[
        str, typer.Argument(metavar="A", parser=place, help="A published dataset, or one version of it: folder or URL.")
    ],
    new: Annotated[str, typer.Argument(metavar="B", parser=place, help="What it is compared with.")],
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object, with every name.")] = False,
) -> None:
    """Say what changed from A to B: samples, pixels, labels, splits, codes, recipe. Ends with 0 either way."""
    from nhwc.flows import diff as versions_diff

    difference = versions_diff.diff(old, new)
    print(versions_diff.as_json(difference) if json else versions_diff.as_text(difference))


@app.command()
def prune(
    dataset: Dataset,
    keep: Annotated[int, typer.Option(min=1, help="So many versions stay, the latest among them.")] = 3,
    older_than: Annotated[
        float | None, typer.Option(min=0, metavar="DAYS", help="Drop only versions published longer ago.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Drop it. Without this, nothing is.")] = False,
) -> None:
    """Drop old versions, shards that no version names, and what killed runs left. Without --yes, say what."""
    from nhwc.flows.prune import prune as drop

    found = drop(dataset, keep=keep, older_than=older_than, yes=yes)
    for number in found.versions:
        print(f"version {number}")
    for name in found.shards:
        print(f"shard {printable(name.removeprefix('shards/'))}: no version that stays names it")
    for name in found.leftovers:
        print(f"{printable(name)}: left by a run that was killed or refused")
    if not (found.versions or found.shards or found.leftovers):
        print(f"{dataset}: nothing to drop")
    elif yes:
        print(f"{dataset}: dropped, {_megabytes(found.bytes)} in all")
    else:
        print(f"{dataset}: {_megabytes(found.bytes)} in all; nothing was dropped. To drop it: the same with --yes")


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"
