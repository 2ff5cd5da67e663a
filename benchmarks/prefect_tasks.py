"""What an ingest leaves Prefect's server to do: an ingest as a flow, then a flow of as many tasks as one can have.

    python benchmarks/prefect_tasks.py RECIPE IMAGES

On a temporary server of its own. IMAGES is how many a simulated ingest has; nothing of it is decoded. Prints JSON, the
times in seconds.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from nhwc.flows import making, prefect_run
from nhwc.flows.engines import EngineOptions, open_engine
from nhwc.flows.hashing import HashedEntry
from nhwc.flows.recipe import Recipe, read_recipe
from nhwc.flows.shards import plan_chunks
from nhwc.flows.steps import no_progress
from nhwc.pipelines.sources.folder import Folder
from nhwc.pipelines.sources.protocol import Entry

# isort: split
from prefect import flow  # after nhwc, which sets it quiet
from prefect.client.orchestration import get_client
from prefect.testing.utilities import prefect_test_harness

NOT_DECODING = ("discover", "hash", "publish")


@flow
def empty() -> None:
    """Do nothing."""


@flow
def full(tasks: int) -> None:
    """Do nothing in so many tasks, each as an ingest's is."""
    for number in range(tasks):
        prefect_run.run_as_task(f"decode {number}", lambda: None)


def seconds(work: Callable[[], object]) -> float:
    """How long it takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


async def task_runs() -> int:
    """How many task runs the server knows."""
    count = 0
    async with get_client() as client:
        while some := await client.read_task_runs(offset=count):
            count += len(some)
    return count


def decoding_steps(recipe: Recipe, images: int) -> int:
    """How many steps an ingest of so many images has for decoding, by its own planning, none of them run."""
    entries = (Entry(name=f"one/{number:09}.jpg", label="one") for number in range(images))
    hashed = [HashedEntry(entry=entry, sha256=f"{number:064x}", size=1) for number, entry in enumerate(entries)]
    names: list[str] = []

    def count(name: str, work: Callable[[], Any]) -> Any:
        names.append(name)
        return []

    source = Folder(root=recipe.source_path)
    with open_engine(EngineOptions()) as engine:
        making._make_shards(plan_chunks(hashed, recipe.image), source, recipe, engine, count, no_progress)
    return len(names)


def main() -> None:
    """Run all and print it."""
    recipe, images = read_recipe(sys.argv[1]), int(sys.argv[2])
    told: dict[str, object] = {}
    ingest = partial(prefect_run.ingest_with_prefect, recipe)
    with prefect_test_harness(server_startup_timeout=120):
        empty()
        told["empty"] = [seconds(empty) for _ in range(5)]
        told["ingest"] = seconds(ingest)
        told["tasks"] = asyncio.run(task_runs())
        told["after_ingest"] = seconds(empty)
        told["unchanged"] = seconds(ingest)
        most = told["simulated_tasks"] = decoding_steps(recipe, images) + len(NOT_DECODING)
        full(most)
        told["after_full"] = [seconds(empty) for _ in range(3)]
    print(json.dumps(told))


if __name__ == "__main__":
    main()
