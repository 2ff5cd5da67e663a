"""What Prefect's pages show of an ingest: progress, a table, a page in Markdown, and where the version came from.

All of it is told, none of it is needed: the state that matters is nhwc's own. A server that has gone away, or whose
database is locked, costs a line on stderr and never the data.
"""

from __future__ import annotations

import re
import sys
import threading
import time
from collections.abc import Callable
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from nhwc.flows import prefect_settings  # noqa: F401  before Prefect, which reads them

# isort: split
from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.assets import Asset, AssetProperties, materialize
from prefect.cache_policies import NO_CACHE
from prefect.settings import PREFECT_API_REQUEST_TIMEOUT, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from nhwc.flows.deciding import Ingested
from nhwc.flows.recipe import Recipe
from nhwc.flows.steps import Progress
from nhwc.flows.summary import artifact_key, markdown, one_line, table
from nhwc.validators.manifest import status_counts

EVERY = 5.0
"""Seconds between two updates of the progress: each is a request that takes 23 ms, and the decoding waits for it."""

PATIENCE = {PREFECT_CLIENT_MAX_RETRIES: 0, PREFECT_API_REQUEST_TIMEOUT: 10.0}
"""Of what is merely told: Prefect's own patience is a minute for each request to a server that is gone."""


class Server:
    """Prefect's server as one run meets it: after the first thing that it could not be told, it is told no more."""

    def __init__(self) -> None:
        self.reached = True

    def tell(self, what: Callable[[], Any]) -> Any:
        """What that gives, or None where the server could not be told."""
        if not self.reached:
            return None
        try:
            with temporary_settings(PATIENCE):
                return what()
        except Exception as error:  # whatever Prefect's client raises where its server is in trouble
            self.lost(error)
            return None

    def lost(self, error: Exception) -> None:
        """Say, once a run, that Prefect does not know what came of it."""
        if self.reached:
            self.reached = False
            said = str(error).partition("\n")[0] or type(error).__name__
            sys.stderr.write(f"nhwc: Prefect could not be told ({said}); the data goes on without it\n")


server: ContextVar[Server] = ContextVar("server")
"""The server of the run that is going on here."""


def progress_artifact(recipe: Recipe, told: Progress) -> Progress:
    """Progress that `told` is told, and that a bar on the run's page shows every few seconds: percent of the decoding.

    It is called from the run's own thread and context, to which Prefect ties the bar.
    """
    known, lock = server.get(), threading.Lock()
    done, bar, last = 0, None, -EVERY

    def progress(name: str, more: int, total: int) -> None:
        nonlocal done, bar, last
        told(name, more, total)
        if name != "decode":
            return
        with lock:
            done += more
            if time.monotonic() - last < EVERY and done < total:
                return
            percent = 100.0 * done / total if total else 100.0
            if bar is None:
                key, said = f"{artifact_key(recipe.dataset)}-progress", f"{recipe.dataset}: images decoded"
                bar = known.tell(lambda: create_progress_artifact(percent, key=key, description=said))
            else:
                known.tell(lambda: update_progress_artifact(bar, progress=percent))
            last = time.monotonic()

    return progress


def show(recipe: Recipe, ingested: Ingested) -> None:
    """The page, the table, and the lineage of what was published."""
    known, key, said = server.get(), artifact_key(recipe.dataset), one_line(ingested)
    page, rows = markdown(ingested, recipe.dataset), table(ingested)
    known.tell(lambda: create_markdown_artifact(page, key=key, description=said))
    if rows:
        known.tell(lambda: create_table_artifact(rows, key=f"{key}-findings", description=said))
    if ingested.outcome == "published":
        known.tell(lambda: _lineage(recipe, ingested))


def _lineage(recipe: Recipe, ingested: Ingested) -> None:
    """The version as an asset made of the source as an asset."""
    source, place = _address(recipe.source_path), _address(ingested.place)
    if ingested.version is not None and ingested.version.remote is not None:
        place = f"{ingested.version.name}/{ingested.version.number}"
    version = Asset(
        key=asset_key(place),
        properties=AssetProperties(name=f"{recipe.dataset} {ingested.place.name}", url=place),
    )

    @materialize(
        version,
        by="nhwc",
        name="lineage",
        asset_deps=[Asset(key=asset_key(source), properties=AssetProperties(name=str(source)))],
        cache_policy=NO_CACHE,
        persist_result=False,
    )
    def lineage() -> None:
        counts = {"discovered": ingested.manifest.height, **status_counts(ingested.manifest)}
        version.add_metadata({"version": ingested.place.name, "outcome": ingested.outcome, **counts})

    lineage()


def asset_key(address: str) -> str:
    """A URI that Prefect takes as an asset's key: at most 512 letters, without those that it forbids."""
    scheme, _, rest = address.partition("://")
    return f"{scheme}://" + re.sub(r"""[\s#?&%"'<>\[\]{}|\\^`\x00]""", "_", rest)[-450:]


def _address(place: str | Path) -> str:
    return place if isinstance(place, str) else f"file://{place.resolve()}"
