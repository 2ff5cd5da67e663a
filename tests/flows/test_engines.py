"""Engines: whichever makes the shards, the same tree comes out, and a worker that dies is survived."""

import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import distributed
import psutil
import pytest

import nhwc
from nhwc.flows.engines import EngineOptions
from nhwc.flows.ingest import run_ingest
from nhwc.flows.recipe import Recipe
from nhwc.flows.seen import SEEN
from nhwc.validators.errors import MachineError, RecipeError

Make = Callable[..., Recipe]
WORKER = "nhwc.flows.worker"


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three samples a shard, so that there are seven chunks."""
    monkeypatch.setattr("nhwc.flows.shards.samples_a_shard", lambda contract: 3)


@pytest.fixture
def jpegs(tmp_path: Path, write_image: Any) -> Path:
    """Twenty photographs in two classes, one of them broken."""
    for label in ("cat", "dog"):
        for number in range(10):
            write_image(f"{label}/{number}.jpg", rows=40, cols=50, format="JPEG")
    broken = tmp_path / "photos" / "dog" / "7.jpg"
    broken.write_bytes(broken.read_bytes()[:200])
    return tmp_path / "photos"


@pytest.fixture
def recipe(jpegs: Path, recipe_for: Make) -> Recipe:
    """For them; one bad image of twenty is let through."""
    return recipe_for(checks={"bad_fraction": 0.2, "bad_fraction_per_class": 0.2})


@pytest.fixture
def by_threads(recipe: Recipe, tree: Any) -> dict[str, str]:
    """The tree of an undisturbed run by threads, which is taken away again."""
    version = nhwc.ingest(recipe, direct=True)
    expected: dict[str, str] = tree(version.dataset)
    assert 7 == version.kept["shard"].n_unique()
    version.dataset.rename(version.dataset.with_name("by_threads"))
    return expected


@pytest.mark.parametrize(
    ("engine", "workers"), [("processes", 1), ("processes", 2), ("processes", 4), ("dask", 2), ("ray", 2)]
)
def test_one_tree_whichever_engine(
    recipe: Recipe, by_threads: dict[str, str], tree: Any, engine: str, workers: int
) -> None:
    """However many work, to the bit, refused files included."""
    told: list[int] = []
    ingested = run_ingest(
        recipe,
        engine=EngineOptions(name=engine, workers=workers),
        progress=lambda name, more, total: told.append(more) if name == "decode" else None,
    )
    assert (20, 19) == (sum(told), ingested.made)
    assert by_threads == tree(recipe.dataset_path)
    assert [] == workers_of(psutil.Process())


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # of the cluster's, when it is closed
def test_a_cluster_that_runs_already(recipe: Recipe, by_threads: dict[str, str], tree: Any) -> None:
    """An address is all that it takes; the cluster goes on afterwards."""
    with distributed.LocalCluster(n_workers=1, threads_per_worker=2, dashboard_address=None) as cluster:
        nhwc.ingest(recipe, direct=True, engine="dask", address=cluster.scheduler_address)
        assert "running" == cluster.status.name
    assert by_threads == tree(recipe.dataset_path)


def workers_of(process: psutil.Process, program: str = WORKER) -> list[psutil.Process]:
    """Its worker processes."""
    found = []
    for child in process.children(recursive=True):
        try:
            if any(program in part for part in child.cmdline()):
                found.append(child)
        except psutil.NoSuchProcess:
            pass
    return found


@contextmanager
def killed_workers(*, at_most: int, after: float, program: str = WORKER) -> Iterator[list[int]]:
    """Meanwhile kill so many workers, each so many seconds after it was seen first."""
    done, killed = threading.Event(), list[int]()

    def kill() -> None:
        while not done.is_set() and len(killed) < at_most:
            for worker in workers_of(psutil.Process(), program):
                time.sleep(after)
                try:
                    worker.kill()
                except psutil.NoSuchProcess:
                    continue
                killed.append(worker.pid)
                break
            time.sleep(0.01)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield killed
    finally:
        done.set()
        thread.join()


@pytest.mark.parametrize("latest", [0.0, 1.2])
def test_a_killed_worker_is_survived(recipe: Recipe, by_threads: dict[str, str], tree: Any, latest: float) -> None:
    """Its chunk is made by another: killed as it starts, and as late as one lives on this machine."""
    for after in (latest, latest / 2, latest / 4, 0.0):
        with killed_workers(at_most=2, after=after) as killed:
            nhwc.ingest(recipe, direct=True, engine="processes", workers=2)
        assert by_threads == tree(recipe.dataset_path)
        if killed:
            return
        shutil.rmtree(recipe.dataset_path)
    pytest.fail("no worker could be killed")


def test_a_dask_worker_killed_as_it_starts_is_survived(recipe: Recipe, by_threads: dict[str, str], tree: Any) -> None:
    """The cluster is started anew."""
    with killed_workers(at_most=1, after=0.3, program="multiprocessing.spawn") as killed:
        nhwc.ingest(recipe, direct=True, engine="dask", workers=2)
    assert killed
    assert by_threads == tree(recipe.dataset_path)


def test_workers_that_always_die_end_the_run(recipe: Recipe, by_threads: dict[str, str], tree: Any) -> None:
    """After three for one chunk, with its files named; the same command then ends in the same tree."""
    said = r"found 3 worker processes dead, the last with status -9, over the files from cat/0.jpg to cat/2.jpg"
    with pytest.raises(MachineError, match=said), killed_workers(at_most=1000, after=0.0):
        nhwc.ingest(recipe, direct=True, engine="processes", workers=1)
    assert not (recipe.dataset_path / "latest").exists()
    nhwc.ingest(recipe, direct=True, engine="processes", workers=1)
    assert by_threads == tree(recipe.dataset_path)


LARGE = "from nhwc.flows import cli, shards\nshards.samples_a_shard = lambda contract: 3\ncli.main()"


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_no_worker_outlives_its_run(
    recipe: Recipe, by_threads: dict[str, str], tree: Any, tmp_path: Path, number: int, status: int
) -> None:
    """Interrupted or killed while workers are at work; the same command then ends in the same tree."""
    (tmp_path / "recipe.yaml").write_text(recipe.to_yaml())
    command = [sys.executable, "-c", LARGE, "ingest", "recipe.yaml", "--direct", "--engine", "processes"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while not (workers := workers_of(psutil.Process(process.pid))) and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(number)
        _, said = process.communicate()
    assert (status, True) == (process.returncode, bool(workers))
    assert ("interrupted" in said, "Traceback" in said) == (status > 0, False)
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert [] == alive
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    assert by_threads | {SEEN: ""} == tree(recipe.dataset_path) | {SEEN: ""}  # which names the recipe's paths


def test_a_script_without_a_guard_is_not_run_again(recipe: Recipe, tmp_path: Path) -> None:
    """Workers are programs of their own: what the script prints, it prints once."""
    (tmp_path / "recipe.yaml").write_text(recipe.to_yaml())
    script = tmp_path / "script.py"
    script.write_text(
        "import nhwc\nprint('once')\nprint(nhwc.ingest('recipe.yaml', direct=True, engine='processes').number)\n"
    )
    done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "once\n1.0.0\n" == done.stdout


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"engine": "spark"}, r"engine: found 'spark', expected one of threads, processes, dask, ray"),
        ({"engine": "processes", "workers": 0}, r"workers: found 0, expected a whole number, at least 1"),
        ({"workers": 2}, r"workers: found beside threads"),
        ({"engine": "processes", "address": "tcp://x:1"}, r"address: found beside processes"),
        ({"engine": "dask", "address": "tcp://x:1", "workers": 2}, r"workers: found beside an address"),
    ],
)
def test_wrong_options_are_told(recipe: Recipe, options: dict[str, Any], problem: str) -> None:
    """Before anything is read or written."""
    with pytest.raises(RecipeError, match=problem):
        nhwc.ingest(recipe, direct=True, **options)
    assert not recipe.dataset_path.exists()


def test_a_deployment_names_its_engine_in_plain_values() -> None:
    """As its parameters are stored; a name that is none is told."""
    assert EngineOptions(name="processes", workers=2) == EngineOptions.of({"name": "processes", "workers": 2})
    with pytest.raises(RecipeError, match="engine:\n  worker: unknown, expected some of name, workers, address"):
        EngineOptions.of({"worker": 2})


def test_a_scheduler_that_does_not_answer_is_told(recipe: Recipe) -> None:
    """In one line, with its address."""
    with pytest.raises(MachineError, match=r"dask: no scheduler answers at tcp://127\.0\.0\.1:9"):
        nhwc.ingest(recipe, direct=True, engine="dask", address="tcp://127.0.0.1:9")


def test_a_ray_cluster_that_lets_nobody_in_is_told(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what its clusters ask for by default."""

    def refuses(**options: Any) -> None:
        raise ConnectionError(f"Failed to connect to Ray cluster at {options['address']}")

    monkeypatch.setattr("ray.init", refuses)
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    with pytest.raises(MachineError, match=r"no cluster answers at h:1: Failed .* at h:1; if it asks for a token, .*"):
        nhwc.ingest(recipe, direct=True, engine="ray", address="h:1")
