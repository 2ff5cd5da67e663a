"""The same work as a Prefect flow: the same tree, few tasks, artifacts, lineage, and no traceback for bad data."""

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

import nhwc
from nhwc.flows import prefect_run
from nhwc.flows.durable import locked
from nhwc.flows.prefect_run import ingest_and_gate, ingest_flow, ingest_with_prefect
from nhwc.flows.recipe import Recipe
from nhwc.flows.summary import artifact_key
from nhwc.pipelines.version import Version

Make = Callable[..., Recipe]


def asked(question: Callable[[Any], Any]) -> Any:
    """What the server answers."""

    async def ask() -> Any:
        async with get_client() as client:
            return await question(client)

    return asyncio.run(ask())


def shown() -> dict[str, Any]:
    """What each artifact that the server holds shows last, by key."""
    return {one.key: one.data for one in asked(lambda client: client.read_latest_artifacts())}


def attempts(name: str) -> list[int]:
    """How often each task of that name ran, the last one last, once the server has been told that all have ended."""
    for _ in range(100):
        tasks = [task for task in asked(lambda client: client.read_task_runs()) if task.name.startswith(f"{name}-")]
        if tasks and all(task.state is not None and task.state.is_final() for task in tasks):
            return [task.run_count for task in sorted(tasks, key=lambda task: task.start_time)]
        time.sleep(0.1)
    raise AssertionError(f"no task {name} has ended")


def test_the_flow_makes_the_same_tree_as_a_direct_run(server: None, photos: Path, recipe_for: Make, tree: Any) -> None:
    """Prefect adds state, tasks and an artifact, and changes no byte; tasks are chunks, never files."""
    recipe = recipe_for()
    direct = nhwc.ingest(recipe, direct=True)
    expected = tree(direct.dataset)
    direct.dataset.rename(direct.dataset.with_name("direct"))
    ingested = ingest_with_prefect(recipe)
    assert expected == tree(recipe.dataset_path)
    tasks = asked(lambda client: client.read_task_runs())
    names = ["decode 1 of 1", "discover", "hash", "lineage", "publish"]
    assert names == sorted(task.name.rpartition("-")[0] for task in tasks)
    key, artifacts = artifact_key("pets"), shown()
    assert {key, f"{key}-progress"} == artifacts.keys()
    assert "20 discovered = 20 kept" in artifacts[key]
    assert 100.0 == artifacts[f"{key}-progress"]
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
    why = "; refused by over_budget (1)"
    assert f"refused: nothing published; 21 discovered = 20 kept, 1 quarantined, 0 skipped{why}" == state.message
    assert "Traceback" not in capfd.readouterr().err


def test_a_wrong_recipe_fails_the_flow_with_its_problems(server: None, tmp_path: Path) -> None:
    """A deployment that runs a wrong recipe shows what is wrong with it."""
    path = tmp_path / "wrong.yaml"
    path.write_text("dataset: a\n")
    state = ingest_flow(str(path), return_state=True)
    assert state.is_failed()
    assert "source: missing" in state.message


def test_a_home_that_cannot_be_written_is_told_at_once(tmp_path: Path, photos: Path, recipe_for: Make) -> None:
    """And what to do; Prefect itself says so in thousands of lines, after minutes."""
    (tmp_path / "file").touch()
    unset = temporary_settings({PREFECT_HOME: tmp_path / "file" / "home"}, restore_defaults={PREFECT_API_URL})
    with unset, pytest.raises(nhwc.MachineError, match=r"home: Not a directory: set PREFECT_HOME to a folder"):
        nhwc.ingest(recipe_for())


def test_the_version_is_an_asset_made_of_its_source(server: None, photos: Path, recipe_for: Make) -> None:
    """The server holds an event that ties the one to the other, with the counts."""
    version = ingest_with_prefect(recipe_for()).version
    assert version is not None
    made, _ = f"file://{version.folder.resolve()}", f"file://{photos.resolve()}"
    wanted = {"filter": {"event": {"name": ["prefect.asset.materialization.succeeded"]}, "resource": {"id": [made]}}}
    for _ in range(100):
        events = asked(lambda client: client._client.post("/events/filter", json=wanted)).json()["events"]
        if events:
            break
        time.sleep(0.1)
    assert {"version": "1.0.0", "outcome": "published", "discovered": 20, "kept": 20} == {
        name: events[0]["payload"][name] for name in ("version", "outcome", "discovered", "kept")
    }
    assert f"file://{photos.resolve()}" in {one["prefect.resource.id"] for one in events[0]["related"]}


def test_what_the_gate_refuses_is_not_published(server: None, photos: Path, recipe_for: Make) -> None:
    """The flow fails with the verdict's line, a table says why, and the last good version stays `latest`."""
    recipe = recipe_for(checks={"rules": {"tiny": "off"}})
    good = nhwc.ingest(recipe, direct=True)
    Image.new("RGB", (9, 6), (90, 90, 90)).save(photos / "cat" / "blank.png")
    state = ingest_and_gate(recipe, return_state=True)
    assert state.is_failed()
    assert "refused: nothing published; 21 discovered = 21 kept, 0 quarantined, 0 skipped; refused by blank (1)" in (
        state.message
    )
    assert good.number == Version.at(good.dataset).number
    table = json.loads(shown()[f"{artifact_key('pets')}-findings"])
    assert ("refused by", "blank", 1) == tuple(table[0][name] for name in ("status", "code", "count"))
    with pytest.raises(nhwc.DataError, match="blank"):
        nhwc.ingest(recipe, gate=True)
    assert 21 == ingest_flow(recipe).manifest.height  # who asks for no gate gets it published


def test_what_fails_for_the_moment_is_tried_again(
    server: None, photos: Path, recipe_for: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A storage that is in trouble for two attempts: the third publishes."""
    monkeypatch.setattr(prefect_run, "FIRST_WAIT", 0.1)
    recipe = recipe_for(dataset="tried")
    recipe.dataset_path.mkdir(parents=True)
    blocking = recipe.dataset_path / ".staging"
    blocking.touch()
    hashed = []

    def progress(name: str, more: int, total: int) -> None:
        hashed.extend([name] if more else [])
        if hashed.count("hash") == 3 and blocking.is_file():  # once an attempt, which then makes .staging/
            blocking.unlink()

    told = prefect_run._progress.set(progress)
    try:
        ingested = ingest_flow(recipe, retries=3)
    finally:
        prefect_run._progress.reset(told)
    assert "published" == ingested.outcome
    assert 3 == attempts("ingest")[-1]


def test_what_is_wrong_with_the_recipe_is_tried_once(
    server: None, photos: Path, recipe_for: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Waiting mends neither a recipe nor data."""
    monkeypatch.setattr(prefect_run, "FIRST_WAIT", 0.1)
    recipe = recipe_for(dataset="taken")
    recipe.dataset_path.mkdir(parents=True)
    (recipe.dataset_path / "something").touch()
    state = ingest_flow(recipe, retries=3, return_state=True)
    assert "which holds something and no `latest`" in (state.message or "")
    assert 1 == attempts("ingest")[-1]


@pytest.mark.parametrize(("overlap", "tried"), [("refuse", 1), ("queue", 3)])
def test_a_dataset_that_is_held_is_waited_for_in_a_queue_only(
    server: None, photos: Path, recipe_for: Make, monkeypatch: pytest.MonkeyPatch, overlap: Any, tried: int
) -> None:
    """Refused at once, or tried again and then failed."""
    monkeypatch.setattr(prefect_run, "FIRST_WAIT", 0.1)
    recipe = recipe_for(dataset=f"held-{overlap}")
    with locked(recipe.dataset_path):
        state = ingest_flow(recipe, overlap=overlap, retries=2, return_state=True)
    assert "another run is writing this dataset" in (state.message or "")
    assert tried == attempts("ingest")[-1]
