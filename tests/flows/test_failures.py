"""Whatever fails under a run: one clear line, the right status, and the same command then ends in the same tree.

The faults are real ones: a library before the C library makes reads, listings and writes fail (`faulty.c`), a disk is
a small tmpfs, processes are killed. What a killed or interrupted run leaves is in test_engines.py and test_corpus.py,
damage after publishing in test_mend.py.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import nhwc
from nhwc.flows.ingest import run_ingest
from nhwc.flows.recipe import Recipe, read_recipe
from nhwc.flows.seen import SEEN

SMALL_SHARDS = "from nhwc.flows import cli, shards\nshards.samples_a_shard = lambda contract: 3\ncli.main()"
CLASSES, SAMPLES = ("cat", "dog"), 10


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that makes the file system fail."""
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("no C compiler (or no Linux): the library that makes the file system fail cannot be built")
    library = tmp_path_factory.mktemp("faulty") / "faulty.so"
    source = Path(__file__).with_name("faulty.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return library


@pytest.fixture
def place(tmp_path: Path, write_image: Any) -> Path:
    """Where a recipe lies beside its twenty photographs."""
    for label in CLASSES:
        for number in range(SAMPLES):
            write_image(f"{label}/{number}.jpg", rows=40, cols=50, format="JPEG")
    plain = {
        "dataset": "pets",
        "source": {"path": "photos"},
        "image": {"rows": 4, "cols": 5},
        "publish": {"to": "datasets"},
    }
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(plain))
    return tmp_path


def begin(place: Path, **environment: str) -> "subprocess.Popen[str]":
    """An ingest, running."""
    return subprocess.Popen(
        [sys.executable, "-c", SMALL_SHARDS, "ingest", "recipe.yaml", "--direct"],
        cwd=place,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ingest(place: Path, **environment: str) -> tuple[int, str]:
    """Its status, and all that it said."""
    process = begin(place, **environment)
    out, err = process.communicate()
    assert "Traceback" not in err
    return process.returncode, out + err


@pytest.fixture
def undisturbed(place: Path, tree: Any, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The tree of a run that nothing happened to, made elsewhere."""
    monkeypatch.setattr("nhwc.flows.shards.samples_a_shard", lambda contract: 3)
    version = run_ingest(_relative(place)).version
    assert version is not None
    expected: dict[str, str] = tree(version.dataset)
    version.dataset.rename(place / "undisturbed")
    return expected


def _relative(place: Path) -> Recipe:
    return read_recipe(place / "recipe.yaml")


def same(expected: dict[str, str], found: dict[str, str]) -> bool:
    """Whether two trees are the same, but for the note on the source, in which its path stands."""
    return expected | {SEEN: ""} == found | {SEEN: ""}


@pytest.mark.parametrize("after", [0, 2_000, 9_000, 25_000])
def test_a_full_disk(place: Path, undisturbed: dict[str, str], tree: Any, faulty: Path, after: int) -> None:
    """Wherever it strikes: nothing is published, and what was made is used once there is room."""
    status, said = ingest(place, LD_PRELOAD=str(faulty), FULL="/datasets/", FULL_AFTER=str(after))
    assert (3, True) == (status, "No space left on device: mend it, then run the same again" in said)
    assert not (place / "datasets" / "pets" / "latest").exists()
    assert 0 == ingest(place)[0]
    assert same(undisturbed, tree(place / "datasets" / "pets"))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 200 kB."""
    disk = tmp_path / "datasets"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=200k", "none", disk], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"a tmpfs cannot be mounted here: {mounted.stderr.decode().strip()}")
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_a_small_disk(place: Path, small_disk: Path) -> None:
    """A real one: full in mid-run; with more room the same command ends in the same tree."""
    recipe = yaml.safe_load((place / "recipe.yaml").read_text())
    (place / "recipe.yaml").write_text(yaml.safe_dump(recipe | {"image": {"rows": 200, "cols": 200}}))
    status, said = ingest(place)
    assert (3, True) == (status, "No space left on device" in said)
    subprocess.run(["mount", "-o", "remount,size=50m", small_disk], check=True)
    assert 0 == ingest(place)[0]
    assert nhwc.verify(small_disk / "pets").passed


def test_a_file_that_cannot_be_read(place: Path, undisturbed: dict[str, str], tree: Any, faulty: Path) -> None:
    """It is quarantined and over this recipe's budget; once it can be read, the tree is as if nothing had been."""
    status, said = ingest(place, LD_PRELOAD=str(faulty), UNREADABLE="photos/cat/3.jpg")
    assert (1, True) == (status, "unreadable_file" in said and "cat/3.jpg" in said)
    assert 0 == ingest(place)[0]
    assert same(undisturbed, tree(place / "datasets" / "pets"))


@pytest.mark.parametrize("folder", ["photos/cat", "photos"])
def test_a_folder_that_cannot_be_listed(
    place: Path, undisturbed: dict[str, str], tree: Any, faulty: Path, folder: str
) -> None:
    """What lies in it cannot be known, so nothing is published, whatever the budget allows."""
    recipe = yaml.safe_load((place / "recipe.yaml").read_text())
    generous = recipe | {"checks": {"bad_fraction": 1, "bad_fraction_per_class": 1}}
    (place / "recipe.yaml").write_text(yaml.safe_dump(generous))
    status, said = ingest(place, LD_PRELOAD=str(faulty), UNLISTABLE=folder)
    assert (3, True) == (status, f"{folder}: Input/output error: mend it, then run the same again" in said)
    (place / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    assert 0 == ingest(place)[0]
    assert same(undisturbed, tree(place / "datasets" / "pets"))


def test_a_class_that_was_there_and_is_closed(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder without permission is passed over, but not one of which the latest version has samples."""
    if os.geteuid() == 0:
        pytest.skip("root may list any folder")
    ingest(place)
    (place / "photos" / "cat").chmod(0)
    status, said = ingest(place)
    (place / "photos" / "cat").chmod(0o755)
    assert (3, True) == (status, "version 1.0.0 has 10 samples of it" in said)


def test_two_runs_at_once(place: Path, undisturbed: dict[str, str], tree: Any) -> None:
    """One of them does it all; the other is told, or finds nothing left to do."""
    both = [begin(place) for _ in range(2)]
    said = [process.communicate()[1] for process in both]
    statuses = sorted(process.returncode for process in both)
    assert statuses in ([0, 0], [0, 3])
    assert (3 in statuses) == any("another run is writing this dataset: wait for it" in err for err in said)
    assert same(undisturbed, tree(place / "datasets" / "pets"))


Change = Callable[[Path], object]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda path: path.unlink(), "unreadable_file"),
        (lambda path: path.write_bytes(path.with_name("4.jpg").read_bytes()), "changed_while_reading"),
        (lambda path: path.write_bytes(b""), "changed_while_reading"),
    ],
)
def test_a_file_that_changes_under_the_run(
    place: Path, undisturbed: dict[str, str], tree: Any, monkeypatch: pytest.MonkeyPatch, change: Change, code: str
) -> None:
    """Deleted or written anew between its hash and its decoding: refused for this run, and found when it is back."""
    monkeypatch.setattr("nhwc.flows.shards.samples_a_shard", lambda contract: 3)
    path, recipe = place / "photos" / "cat" / "3.jpg", _relative(place)
    content, hashed = path.read_bytes(), list[int]()

    def after_hashing(name: str, more: int, total: int) -> None:
        hashed.append(more if name == "hash" else 0)
        if name == "hash" and sum(hashed) == total:
            change(path)

    ingested = run_ingest(recipe, progress=after_hashing)
    assert ("refused", [code]) == (ingested.outcome, ingested.manifest["code"].drop_nulls().to_list())
    path.write_bytes(content)
    run_ingest(recipe)
    assert same(undisturbed, tree(recipe.dataset_path))


def test_a_clock_that_is_set_back(place: Path, undisturbed: dict[str, str], tree: Any, faulty: Path) -> None:
    """By a day, before the first run or after it: what was added is seen, and versions go on counting."""
    behind = {"LD_PRELOAD": str(faulty), "BEHIND": "86400"}
    assert 0 == ingest(place, **behind)[0]
    assert same(undisturbed, tree(place / "datasets" / "pets"))
    assert "unchanged" in ingest(place)[1]
    shutil.copy(place / "photos" / "cat" / "3.jpg", place / "photos" / "dog" / "another.jpg")
    yesterday = time.time() - 86_400
    os.utime(place / "photos" / "dog" / "another.jpg", (yesterday, yesterday))
    assert "published: version 1.1.0; 21 discovered" in ingest(place, **behind)[1]


def test_a_lock_that_a_killed_run_held(place: Path, undisturbed: dict[str, str], tree: Any) -> None:
    """It goes with the process: the next run need not wait, nor anything be deleted."""
    with begin(place) as process:
        dataset = place / "datasets" / "pets"
        while process.poll() is None and not dataset.exists():
            time.sleep(0.005)
        process.kill()
    assert 0 == ingest(place)[0]
    assert same(undisturbed, tree(dataset))


def test_source_files_are_never_touched(place: Path, tree: Any, faulty: Path) -> None:
    """Neither bytes nor times, whatever happens."""
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in (place / "photos").rglob("*.jpg")}
    ingest(place, LD_PRELOAD=str(faulty), FULL="/datasets/", FULL_AFTER="2000")
    ingest(place)
    assert before == {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in (place / "photos").rglob("*.jpg")}


def test_a_place_that_cannot_be_written(place: Path) -> None:
    """A file where the dataset's folder should be, told in one line."""
    (place / "datasets").write_text("a file")
    status, said = ingest(place)
    assert (2, True) == (status, "is a file, expected a folder or none yet" in said)
