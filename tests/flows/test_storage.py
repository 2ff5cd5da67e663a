"""Sources and datasets on stores: a real S3 API on loopback, a store in memory, and one that fails when told to."""

import errno
import hashlib
import json
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import polars as pl
import pytest
import yaml
from typer.testing import CliRunner

import nhwc
from nhwc.flows import remote_lock
from nhwc.flows.cli import app
from nhwc.flows.ingest import run_ingest
from nhwc.flows.inspect import inspect
from nhwc.flows.recipe import Recipe
from nhwc.flows.remote_lock import LOCK, locked_remote
from nhwc.flows.upload import UPLOADED
from nhwc.pipelines.mirror import mirror_of
from nhwc.pipelines.remote import Remote
from nhwc.pipelines.sources.remote_folder import source_at
from nhwc.pipelines.version import Version
from nhwc.validators.errors import DataError, MachineError, RecipeError

pytestmark = pytest.mark.usefixtures("quick_tries", "cache")

Make = Callable[..., Recipe]
FAULTY = "faulty://bucket/datasets"


def files_of(url: str) -> Any:
    return fsspec.filesystem(url.partition("://")[0], use_listings_cache=False)


def put(folder: Path, url: str) -> None:
    """Every file of a folder, each in one atomic step."""
    for path in sorted(one for one in folder.rglob("*") if one.is_file()):
        files_of(url).pipe_file(f"{url}/{path.relative_to(folder)}", path.read_bytes())


def stored(url: str) -> dict[str, bytes]:
    """Every object below a URL, but for what differs from run to run."""
    remote = Remote.at(url)
    return {name: remote.read(name) for name in remote.files()}


@pytest.fixture
def recipe(photos: Path, recipe_for: Make, faulty: Any) -> Recipe:
    """Photographs on this machine, published to the store that fails when it is told to."""
    return recipe_for(publish={"to": FAULTY})


LENIENT = {"bad_fraction": 0.5, "bad_fraction_per_class": 0.5}


def test_the_same_files_from_anywhere_are_the_same(photos: Path, recipe_for: Make, bucket: str, tmp_path: Path) -> None:
    """From a store and to it as on this machine: manifest, quarantine, splits, shards; only names of places differ."""
    (photos / "cat" / "broken.png").write_bytes((photos / "cat" / "0.png").read_bytes()[:60])
    (photos / "dog" / "text.jpg").write_text("no image")
    (photos / "dog" / "empty.png").touch()
    (photos / "dog" / ".hidden.png").touch()
    (photos / "README").write_text("notes")
    put(photos, f"{bucket}/photos")
    asked = {"splits": {"train": 0.5, "test": 0.5}, "checks": LENIENT}
    here = run_ingest(recipe_for(**asked))
    there = run_ingest(recipe_for(**asked, source={"path": f"{bucket}/photos"}, publish={"to": f"{bucket}/datasets"}))
    assert {"kept": 20, "quarantined": 3, "skipped": 2} == dict(there.manifest["status"].value_counts().iter_rows())
    assert here.manifest.equals(there.manifest)
    place = here.version.dataset
    local = {str(one.relative_to(place)): one.read_bytes() for one in place.rglob("*") if one.is_file()}
    remote = stored(f"{bucket}/datasets/pets")
    assert {name for name in local if not name.startswith(".")} == set(remote)
    named = {"latest", "1.0.0/recipe.yaml", "1.0.0/checksums", "1.0.0/report.html"}
    assert {name for name in remote if local[name] != remote[name]} <= named
    assert f"{bucket}/photos" == yaml.safe_load(remote["1.0.0/recipe.yaml"])["source"]["path"]


def test_an_unchanged_source_is_not_read_again(photos: Path, recipe_for: Make, faulty: Any) -> None:
    """A listing tells; of one changed object that one alone is read."""
    url = "faulty://bucket/photos"
    put(photos, url)
    time.sleep(2.1)  # what is younger may change once more within the time that a store without ETags can tell apart
    recipe = recipe_for(source={"path": url})
    first = run_ingest(recipe)
    faulty.calls.clear()
    again = run_ingest(recipe)
    assert ("unchanged", 0) == (again.outcome, again.made)
    assert [("find", "/bucket/photos")] == faulty.calls  # the dataset lies on this machine
    files_of(url).pipe_file(f"{url}/cat/new.png", (photos / "cat" / "0.png").read_bytes())
    faulty.calls.clear()
    grown = run_ingest(recipe)
    assert (first.version.number, "1.1.0", 1) == ("1.0.0", grown.version.number, grown.made)
    assert {"/bucket/photos/cat/new.png"} == {path for method, path in faulty.calls if method == "cat_file"}


def test_everything_that_reads_reads_by_url(photos: Path, recipe_for: Make, bucket: str, cache: Path) -> None:
    """load, gate, verify, inspect, diff, report and bench take a URL, of a dataset and of one version as a path."""
    ingested = run_ingest(recipe_for(publish={"to": f"{bucket}/datasets"}))
    local = run_ingest(recipe_for())
    shutil.rmtree(cache)
    url = f"{bucket}/datasets/pets"
    expected = [batch.numpy() for batch, _ in nhwc.load(local.version.dataset, batch_size=8, shuffle=True)]
    found = [batch.numpy() for batch, _ in nhwc.load(url, batch_size=8, shuffle=True)]
    assert all(np.array_equal(one, other) for one, other in zip(expected, found, strict=True))
    baseline = local.version.dataset
    assert nhwc.gate(baseline, baseline=baseline) == nhwc.gate(f"{url}/1.0.0", baseline=url)
    assert nhwc.verify(url).passed
    assert f"{url} 1.0.0: uint8[rows=4, cols=5, channels=3]" in inspect(url)[0]
    assert (url, "1.0.0") == (ingested.version.name, ingested.version.number)
    run = CliRunner()
    for command in (
        ["inspect", url],
        ["diff", f"{url}/1.0.0", url],
        ["verify", f"{url}/"],
        ["gate", url, "--baseline", f"{url}/1.0.0"],
    ):
        assert 0 == run.invoke(app, command).exit_code, command
    report = run.invoke(app, ["report", url, "--to", str(cache / "report.html")])
    assert 0 == report.exit_code
    assert "data:image/webp" in (cache / "report.html").read_text()
    bench = json.loads(run.invoke(app, ["bench", url, "--seconds", "0.1", "--json"]).stdout)
    assert url == bench["dataset"]


def test_images_on_a_store_are_looked_at(photos: Path, bucket: str) -> None:
    """A folder of them, and one by itself."""
    put(photos, f"{bucket}/photos")
    assert inspect(f"{bucket}/photos")[0].startswith(f"{bucket}/photos: 20 images, 0 other entries\n")
    one = f"{bucket}/photos/cat/0.png"
    assert (f"{one}: rank 3, rows=6, cols=9, channels=3, uint8, png RGB", True) == inspect(one)
    with pytest.raises(RecipeError, match="expected an image, a folder or a published dataset"):
        inspect(f"{bucket}/photos/none.png")


def test_each_shard_comes_once_and_only_when_needed(recipe: Recipe, faulty: Any, cache: Path) -> None:
    """The gate needs none, nor does a data source that is pickled; what reads brings each once, and it stays."""
    run_ingest(recipe)
    shutil.rmtree(cache)
    faulty.calls.clear()
    nhwc.gate(f"{FAULTY}/pets")
    assert [] == [path for _, path in faulty.calls if path.endswith(".arrow")]
    for _ in range(2):
        assert 20 == sum(len(labels) for _, labels in nhwc.load(f"{FAULTY}/pets", batch_size=3, shuffle=True))
    assert 1 == [method for method, path in faulty.calls if path.endswith(".arrow")].count("get_file")
    shutil.rmtree(cache)
    faulty.calls.clear()
    source = pickle.loads(pickle.dumps(nhwc.data_source(f"{FAULTY}/pets")))
    assert [] == [path for _, path in faulty.calls if path.endswith(".arrow")]
    assert 20 == len([label for _, label in source])
    assert 1 == [method for method, path in faulty.calls if path.endswith(".arrow")].count("get_file")


@pytest.mark.parametrize("part", ["shards/", "1.0.0/manifest.parquet"])
def test_what_came_damaged_is_refused(recipe: Recipe, faulty: Any, cache: Path, part: str) -> None:
    """A shard or file that is not what `checksums` says reaches no training; verify tells it as a finding."""
    run_ingest(recipe)
    shutil.rmtree(cache)
    (name,) = (one for one in Remote.at(f"{FAULTY}/pets").files() if one.startswith(part))
    files_of(FAULTY).pipe_file(f"{FAULTY}/pets/{name}", b"damaged")
    url = re.escape(f"{FAULTY}/pets/{name}")
    with pytest.raises(Exception, match=rf"checksum: {url} found sha256 \w+, twice, expected sha256 \w+"):
        list(nhwc.load(f"{FAULTY}/pets"))
    assert ["checksum"] == [one.code for one in nhwc.verify(f"{FAULTY}/pets").violations][:1]


def test_checksums_that_latest_does_not_vouch_for_are_refused(recipe: Recipe) -> None:
    """Where `latest` says which `checksums` it means, another one is not read on."""
    run_ingest(recipe)
    files_of(FAULTY).pipe_file(f"{FAULTY}/pets/latest", b"1.0.0\n" + b"0" * 64 + b"\n")
    with pytest.raises(DataError, match=rf"{FAULTY}/pets/1\.0\.0/checksums found sha256 \w+, expected sha256 0000"):
        nhwc.load(f"{FAULTY}/pets")


@pytest.mark.parametrize(
    "name",
    ["x/../../../evil.txt", "{outside}/evil.txt", "../../evil.txt", "../shards/../../evil.txt", "a//evil.txt", "."],
)
def test_checksums_that_lead_elsewhere_are_refused(recipe: Recipe, cache: Path, tmp_path: Path, name: str) -> None:
    """What a store says is fetched lies in the mirror, whoever wrote it."""
    run_ingest(recipe)
    shutil.rmtree(cache)
    content = b"what somebody would have written"
    name, folder = name.format(outside=tmp_path), f"{FAULTY}/pets/1.0.0"
    line = f"{hashlib.sha256(content).hexdigest()}  {name}\n".encode()
    files_of(FAULTY).pipe_file(f"{folder}/checksums", files_of(FAULTY).cat_file(f"{folder}/checksums") + line)
    files_of(FAULTY).pipe_file(f"{folder}/{name}", content)
    files_of(FAULTY).pipe_file(f"{FAULTY}/pets/latest", b"1.0.0\n")
    with pytest.raises(DataError, match=r"1\.0\.0/checksums found .*, which leads elsewhere, expected the file"):
        nhwc.load(f"{FAULTY}/pets")
    assert not list(tmp_path.rglob("evil.txt"))


def test_a_shard_that_no_checksums_list_is_not_fetched(recipe: Recipe, cache: Path) -> None:
    """A manifest cannot name another object."""
    version = run_ingest(recipe).version
    shutil.rmtree(cache)
    opened = Version.open(f"{FAULTY}/pets")
    files_of(FAULTY).pipe_file(f"{FAULTY}/pets/shards/other.arrow", b"1")
    with pytest.raises(FileNotFoundError, match="no shard that the version's checksums list"):
        opened.bring_shard("other")
    assert opened.bring_shard(version.kept["shard"][0]).is_file()


def test_verify_sees_what_the_store_lost(recipe: Recipe) -> None:
    """What lies in the cache does not hide that the store no longer has it, and the next ingest brings it back."""
    version = run_ingest(recipe).version
    (shard,) = version.kept["shard"].unique()
    files_of(FAULTY).rm_file(f"{FAULTY}/pets/shards/{shard}.arrow")
    (found,) = nhwc.verify(f"{FAULTY}/pets").violations
    assert ("missing_part", "none") == (found.code, found.found)
    assert "unchanged" == run_ingest(recipe).outcome
    assert nhwc.verify(f"{FAULTY}/pets").passed


def test_with_its_mirror_lost_nothing_is_made_again(
    recipe: Recipe, photos: Path, cache: Path, write_image: Any
) -> None:
    """A new machine goes on from what is published: only what is new is decoded, shards of old samples stay."""
    first = run_ingest(recipe)
    before = stored(f"{FAULTY}/pets")
    shutil.rmtree(cache)
    assert ("unchanged", 0) == (run_ingest(recipe).outcome, run_ingest(recipe).made)
    assert not list(cache.rglob("*.arrow"))
    write_image("dog/new.png")
    shutil.rmtree(cache)
    grown = run_ingest(recipe)
    assert ("1.1.0", 1) == (grown.version.number, grown.made)
    after = stored(f"{FAULTY}/pets")
    assert before == {name: after[name] for name in before} | {"latest": before["latest"]}
    assert first.manifest["shard"].unique()[0] in grown.manifest["shard"]
    assert nhwc.verify(f"{FAULTY}/pets").passed


UPLOADS = [
    ("put_file", "shards/"),
    ("put_file", "/manifest.parquet"),
    ("put_file", "/checksums"),
    ("pipe_file", "/latest"),
]


@contextmanager
def polled(url: str) -> Iterator[list[str]]:
    """A reader that looks all the while, and the numbers of whole versions that it saw."""
    seen: list[str] = []
    done, problems = threading.Event(), list[Exception]()

    def read() -> None:
        while not done.is_set():
            try:
                version = Version.open(url)
                assert version.kept.height == sum(map(len, version.kept.partition_by("label")))
                assert all(map(version.has_shard, version.kept["shard"].unique()))
                seen.append(version.number)
            except RecipeError:
                seen.append("none")
            except Exception as error:
                problems.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield seen
    finally:
        done.set()
        reader.join()
    assert [] == problems


@pytest.mark.parametrize(("method", "part"), UPLOADS)
def test_an_upload_that_fails_is_completed_by_the_same_command(
    recipe: Recipe, write_image: Any, faulty: Any, method: str, part: str
) -> None:
    """Whatever is lost under way: `latest` does not move, readers see whole versions, the next run ends the same."""
    run_ingest(recipe)
    write_image("dog/new.png")
    control = dict(faulty.store)
    with polled(f"{FAULTY}/pets") as seen:
        faulty.fail(method, part, ConnectionResetError(errno.ECONNRESET, "connection lost"), times=4)
        with pytest.raises(MachineError, match=rf"{FAULTY}/pets/.*connection lost: mend it, then run the same again"):
            run_ingest(recipe)
        assert "1.0.0" == Version.open(f"{FAULTY}/pets").number
        again = run_ingest(recipe)
    assert ("1.1.0", 0) == (again.version.number, again.made)
    assert {"1.0.0", "1.1.0"} >= set(seen)
    after = stored(f"{FAULTY}/pets")
    faulty.store.clear()
    faulty.store.update(control)
    shutil.rmtree(mirror_of(f"{FAULTY}/pets"))
    assert "1.1.0" == run_ingest(recipe).version.number  # by another machine, without a fault
    assert after == stored(f"{FAULTY}/pets")


def test_a_shard_that_arrived_is_not_sent_again(recipe: Recipe, faulty: Any) -> None:
    """A killed upload goes on where it was; an object that others overwrote meanwhile is sent again."""
    faulty.fail("put_file", "/manifest.parquet", ConnectionResetError("lost"), times=4)
    with pytest.raises(MachineError, match="lost"):
        run_ingest(recipe)
    faulty.calls.clear()
    faulty.fail("put_file", "/manifest.parquet", ConnectionResetError("lost"), times=4)
    with pytest.raises(MachineError, match="lost"):
        run_ingest(recipe)
    assert [] == [path for method, path in faulty.calls if method == "put_file" and path.endswith(".arrow")]
    (shard,) = (name for name in faulty.store if name.endswith(".arrow"))
    files_of(FAULTY).pipe_file(f"faulty:/{shard}", bytes(faulty.store[shard].size))
    run_ingest(recipe)
    assert nhwc.verify(f"{FAULTY}/pets").passed
    shutil.rmtree(mirror_of(f"{FAULTY}/pets"))
    assert nhwc.verify(f"{FAULTY}/pets").passed


def test_what_arrives_short_is_not_published(recipe: Recipe, faulty: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that says nothing and keeps half: seen before `latest` moves."""
    put_file = faulty.put_file

    def half(self: Any, lpath: str, rpath: str, **options: Any) -> None:
        put_file(self, lpath, rpath, **options)
        if rpath.endswith(".arrow"):
            self.pipe_file(rpath, Path(lpath).read_bytes()[:100])

    with monkeypatch.context() as patched:
        patched.setattr(faulty, "put_file", half)
        with pytest.raises(MachineError, match=r"\.arrow: 100 of [\d,]+ bytes arrived"):
            run_ingest(recipe)
    assert not files_of(FAULTY).exists(f"{FAULTY}/pets/latest")
    run_ingest(recipe)
    assert nhwc.verify(f"{FAULTY}/pets").passed


def as_another_machine(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    monkeypatch.setenv("NHWC_CACHE", str(cache.with_name("other")))


def test_two_machines_take_turns(
    recipe: Recipe, write_image: Any, bucket: str, recipe_for: Make, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second is told who writes; afterwards it goes on from what the first published."""
    asked = recipe_for(publish={"to": f"{bucket}/datasets"})
    mirror = mirror_of(f"{bucket}/datasets/pets")
    mirror.mkdir(parents=True)
    with locked_remote(asked.remote, mirror):
        as_another_machine(monkeypatch, cache)
        with pytest.raises(
            MachineError, match=rf"writing this dataset \(process {os.getpid()} on .*, last seen \d s ago"
        ):
            run_ingest(asked)
    assert "1.0.0" == run_ingest(asked).version.number
    monkeypatch.setenv("NHWC_CACHE", str(cache))
    write_image("cat/more.png")
    assert "1.1.0" == run_ingest(asked).version.number
    as_another_machine(monkeypatch, cache)
    write_image("cat/still_more.png")
    grown = run_ingest(asked)
    assert ("1.2.0", 1) == (grown.version.number, grown.made)
    assert not files_of(bucket).exists(f"{bucket}/datasets/pets/{LOCK}")


def test_who_lost_the_lock_publishes_nothing(recipe: Recipe, faulty: Any) -> None:
    """A run that was away so long that another took over ends before `latest` moves."""
    taken = json.dumps({"owner": "another", "renewed": time.time()}).encode()
    faulty.fail("put_file", "/checksums", lambda: files_of(FAULTY).pipe_file(f"{FAULTY}/pets/{LOCK}", taken))
    with pytest.raises(MachineError, match="another run took over this dataset meanwhile: run this again"):
        run_ingest(recipe)
    assert "latest" not in stored(f"{FAULTY}/pets")
    assert taken == files_of(FAULTY).cat_file(f"{FAULTY}/pets/{LOCK}")


def test_a_held_lock_is_renewed(recipe: Recipe, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its owner writes the time again and again, and so it does not go stale while it is held."""
    monkeypatch.setattr(remote_lock, "RENEW_SECONDS", 0.01)
    cache.mkdir()
    remote = Remote.at(f"{FAULTY}/pets")
    with locked_remote(remote, cache):
        first = json.loads(remote.read(LOCK))["renewed"]
        deadline = time.monotonic() + 20
        while json.loads(remote.read(LOCK))["renewed"] == first:
            assert time.monotonic() < deadline


KILLED = """
import os, sys
from nhwc.flows import deciding, ingest
from nhwc.flows.recipe import read_recipe
deciding.upload_latest = lambda *given: os.kill(os.getpid(), 9)
ingest.run_ingest(read_recipe(sys.argv[1]))
"""


def test_a_killed_run_leaves_nothing_for_ever(
    photos: Path, recipe_for: Make, s3: str, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before `latest` moved: the same command completes it at once, another machine once the lock is stale."""
    url = f"{s3}/{tmp_path.name}"
    asked = recipe_for(publish={"to": url})
    (tmp_path / "recipe.yaml").write_text(asked.to_yaml())
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "recipe.yaml")], check=False, capture_output=True
    )
    assert -signal.SIGKILL == done.returncode, done.stderr.decode()
    left = stored(f"{url}/pets")
    assert ({LOCK, "1.0.0/checksums"} <= set(left), "latest" in left) == (True, False)
    as_another_machine(monkeypatch, cache)
    with pytest.raises(MachineError, match="If it was killed, its lock counts for 300 s after it was last renewed"):
        run_ingest(asked)
    with monkeypatch.context() as patched:
        patched.setattr(remote_lock, "STALE_SECONDS", 0)
        assert "1.0.0" == run_ingest(asked).version.number
    files_of(url).rm_file(f"{url}/pets/latest")  # as it was, but for the time in the lock
    files_of(url).pipe_file(f"{url}/pets/{LOCK}", left[LOCK])
    monkeypatch.setenv("NHWC_CACHE", str(cache))
    again = run_ingest(asked)
    assert ("1.0.0", 0) == (again.version.number, again.made)
    latest = f"1.0.0\n{hashlib.sha256(left['1.0.0/checksums']).hexdigest()}\n".encode()
    assert left | {"latest": latest} == stored(f"{url}/pets") | {LOCK: left[LOCK]}


def test_an_object_changed_or_gone_meanwhile_is_a_violation(photos: Path, recipe_for: Make, faulty: Any) -> None:
    """As of files: other at decoding than at hashing, or not found. The run goes on, and the next one mends it."""
    url = "faulty://bucket/photos"
    put(photos, url)
    changed, gone = f"{url}/cat/1.png", f"{url}/dog/1.png"
    files, before = files_of(url), (photos / "dog/1.png").read_bytes()

    def meddle() -> None:  # when the last is hashed, which is after these two
        files.pipe_file(changed, (photos / "cat/2.png").read_bytes())
        files.rm_file(gone)

    faulty.fail("cat_file", "/dog/9.png", meddle)
    recipe = recipe_for(source={"path": url}, checks=LENIENT)
    codes = dict(run_ingest(recipe).manifest.filter(status="quarantined").select("path", "code").iter_rows())
    assert {"cat/1.png": "changed_while_reading", "dog/1.png": "unreadable_file"} == codes
    files.pipe_file(gone, before)
    assert 20 == run_ingest(recipe).version.kept.height


@pytest.mark.parametrize(("times", "kept"), [(3, 20), (99, 19)])
def test_an_object_that_cannot_be_read_does_not_stop_a_run(
    photos: Path, recipe_for: Make, faulty: Any, times: int, kept: int
) -> None:
    """A fault that passes is not seen; one that stays is that image's violation alone."""
    url = "faulty://bucket/photos"
    put(photos, url)
    faulty.fail("cat_file", "/dog/3.png", TimeoutError(errno.ETIMEDOUT, "timed out"), times=times)
    manifest = run_ingest(recipe_for(source={"path": url}, checks=LENIENT)).manifest
    assert kept == manifest.filter(status="kept").height
    refused = manifest.filter(pl.col("status") != "kept").select("path", "code", "found").rows()
    assert [("dog/3.png", "unreadable_file", "timed out")][: 20 - kept] == refused


def test_a_listing_that_fails_ends_the_run_with_one_line(photos: Path, recipe_for: Make, faulty: Any) -> None:
    """What lies there is not known then: nothing is published."""
    put(photos, "faulty://bucket/photos")
    faulty.fail("find", "/photos", OSError(errno.EBUSY, "slow down"), times=9)
    with pytest.raises(MachineError, match=r"^faulty://bucket/photos: slow down: mend it, then run the same again$"):
        run_ingest(recipe_for(source={"path": "faulty://bucket/photos"}))


def test_a_store_that_is_away_is_a_machine_error(recipe: Recipe, faulty: Any, cache: Path) -> None:
    """Reading by URL too: one line, status 3."""
    run_ingest(recipe)
    shutil.rmtree(cache)
    faulty.fail("cat_file", "/latest", ConnectionRefusedError("refused"), times=9)
    with pytest.raises(MachineError, match=rf"^{FAULTY}/pets/latest: refused: mend it, then run the same again$"):
        nhwc.load(f"{FAULTY}/pets")


def test_a_source_on_a_store_is_read_by_other_processes(photos: Path, s3: str) -> None:
    """It is pickled as its URL, and connects anew in a spawned process, after this one has connected."""
    put(photos, f"{s3}/spawned")
    source = source_at(f"{s3}/spawned")
    here = source.discover()
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        assert here == pool.submit(source.discover).result(timeout=120)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"source": {"path": "s4://b/x"}}, r"source\.path: found 's4://b/x', whose scheme is unknown, expected s3://"),
        ({"publish": {"to": "file:///x"}}, r"publish\.to: found 'file:///x', expected a path without file://"),
        ({"publish": {"to": "s3://k:s@b/x"}}, r"publish\.to: found credentials in a s3:// URL"),
        (
            {"labels": {"from": "file", "file": "s3://b/l.csv"}},
            r"labels\.file: found 's3://b/l.csv', expected the path of a CSV or Parquet file on this machine: fetch it",
        ),
        ({"checks": {"file": "s3://b/r.py"}}, r"checks\.file: found 's3://b/r.py', .*: it is Python that is run"),
        (
            {"source": {"path": "s3://b/photos"}, "publish": {"to": "s3://b/photos/out/"}},
            r"publish\.to: found 's3://b/photos/out/', but .* in one another: nothing is ever written into the source",
        ),
        (
            {"source": {"path": "s3://b/out/pets/x"}, "publish": {"to": "s3://b/out"}},
            r"publish\.to: .* lie in one another",
        ),
    ],
)
@pytest.mark.usefixtures("photos")
def test_a_wrong_place_is_told_without_the_network(recipe_for: Make, parts: dict[str, Any], message: str) -> None:
    """One line, before anything is asked of any store."""
    with pytest.raises(RecipeError, match=message):
        recipe_for(**parts)


def test_the_mirror_is_never_in_the_source(photos: Path, recipe_for: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache among the images would be written into the source."""
    monkeypatch.setenv("NHWC_CACHE", str(photos / "cache"))
    with pytest.raises(RecipeError, match="lie in one another: set NHWC_CACHE to another folder"):
        recipe_for(publish={"to": "s3://b/x"})


@pytest.mark.usefixtures("photos")
def test_a_place_that_is_not_nhwcs_is_left_alone(recipe_for: Make, s3: str, tmp_path: Path) -> None:
    """A bucket that is not there, and a folder of other things, are one message, and nothing is written."""
    with pytest.raises(RecipeError, match="found s3://none/pets, but The specified bucket does not exist: make the"):
        run_ingest(recipe_for(publish={"to": "s3://none"}))
    url = f"{s3}/{tmp_path.name}"
    files_of(url).pipe_file(f"{url}/pets/thesis.txt", b"precious")
    with pytest.raises(RecipeError, match=r"which holds thesis\.txt, expected a published dataset or nothing"):
        run_ingest(recipe_for(publish={"to": url}))
    assert {"thesis.txt"} == set(stored(f"{url}/pets"))
    with pytest.raises(RecipeError, match=rf"found nothing at {url}/none/latest, expected a published dataset"):
        nhwc.load(f"{url}/none")


def test_a_refused_run_uploads_nothing(recipe_for: Make, photos: Path, faulty: Any) -> None:
    """Over its budget: what was refused lies in the mirror, to be looked into, and the store has nothing new."""
    for number in range(5):
        (photos / "cat" / f"broken{number}.png").write_bytes(b"no image")
    ingested = run_ingest(recipe_for(publish={"to": FAULTY}))
    assert "refused" == ingested.outcome
    assert ingested.place.is_file()
    assert {} == stored(f"{FAULTY}/pets")


def test_data_errors_name_the_url(recipe: Recipe) -> None:
    """A shard that the store lost is missed before the first batch."""
    version = run_ingest(recipe).version
    shutil.rmtree(version.dataset)
    (shard,) = version.on_store or [next(iter(Remote.at(f"{FAULTY}/pets").files("shards"))).rpartition("/")[2]]
    files_of(FAULTY).rm_file(f"{FAULTY}/pets/shards/{shard}")
    with pytest.raises(DataError, match="missing_part"):
        nhwc.load(f"{FAULTY}/pets")


def test_what_was_uploaded_is_only_a_note(recipe: Recipe, write_image: Any) -> None:
    """Without it shards are sent again, and the same is published."""
    version = run_ingest(recipe).version
    (version.dataset / UPLOADED).unlink()
    write_image("cat/more.png")
    assert "1.1.0" == run_ingest(recipe).version.number
