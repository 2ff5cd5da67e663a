"""The same work as a Prefect flow: the same tree, few tasks, an artifact, and no traceback for bad data."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client

import nhwc
from nhwc.flows.prefect_run import ingest_flow, ingest_with_prefect
from nhwc.flows.recipe import Recipe
from nhwc.flows.summary import artifact_key

Make = Callable[..., Recipe]


def asked(question: Callable[[Any], Any]) -> Any:
    """What the server answers."""

    async def ask() -> Any:
        async with get_client() as client:
            return await question(client)

    return asyncio.run(ask())


def test_the_flow_makes_the_same_tree_as_a_direct_run(server: None, photos: Path, recipe_for: Make, tree: Any) -> None:
    """Prefect adds state, tasks and an artifact, and changes no byte; tasks are chunks, never files."""
    recipe = recipe_for()
    direct = nhwc.ingest(recipe, direct=True)
    expected = tree(direct.dataset)
    direct.dataset.rename(direct.dataset.with_name("direct"))
    ingested = ingest_with_prefect(recipe)
    assert expected == tree(recipe.dataset_path)
    tasks = asked(lambda client: client.read_task_runs())
    assert ["decode 1 of 1", "discover", "hash", "publish"] == sorted(task.name.rpartition("-")[0] for task in tasks)
    (artifact,) = asked(lambda client: client.read_latest_artifacts())
    assert artifact_key("pets") == artifact.key
    assert "20 discovered = 20 kept" in artifact.data
    assert "published" == ingested.outcome


def test_a_refused_run_is_a_failed_flow_run_with_its_reason(
    server: None, photos: Path, recipe_for: Make, capfd: pytest.CaptureFixture[str]
) -> None:
    """The state's message says why, the error holds every violation, and nothing prints a traceback."""
    (photos / "cat" / "bad.png").touch()
    with pytest.raises(nhwc.DataError, match="over_budget: all found 1 of 21"):
        nhwc.ingest(recipe_for())
    state = ingest_flow(recipe_for(), return_state=True)
    assert state.is_failed()
    assert "refused: nothing published; 21 discovered = 20 kept, 1 quarantined, 0 skipped" == state.message
    assert "Traceback" not in capfd.readouterr().err


def test_a_wrong_recipe_fails_the_flow_with_its_problems(server: None, tmp_path: Path) -> None:
    """A deployment that runs a wrong recipe shows what is wrong with it."""
    path = tmp_path / "wrong.yaml"
    path.write_text("dataset: a\n")
    state = ingest_flow(str(path), return_state=True)
    assert state.is_failed()
    assert "source: missing" in state.message
