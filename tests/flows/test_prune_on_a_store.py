"""`nhwc versions` and `nhwc prune` of a dataset on a store: as in a folder, and readers find whole versions."""

import itertools
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pytest

import nhwc
from nhwc.flows.ingest import run_ingest
from nhwc.flows.prune import prune
from nhwc.flows.recipe import Recipe
from nhwc.flows.remote_lock import LOCK
from nhwc.pipelines.listing import listed_versions
from nhwc.pipelines.mirror import mirror_of
from nhwc.pipelines.remote import Remote
from nhwc.pipelines.version import Version

pytestmark = pytest.mark.usefixtures("quick_tries", "cache")


@pytest.fixture
def publish(photos: Path, recipe_for: Callable[..., Recipe], write_image: Any) -> Callable[[str], Recipe]:
    """Publishes four versions: each of the first three has a shard that the next ones lack."""

    def make(to: str) -> Recipe:
        for number, rows in enumerate((4, 5, 6)):
            run_ingest(recipe_for(image={"rows": rows, "cols": 5}, publish={"to": to}))
            write_image(f"dog/more{number}.png")
        recipe = recipe_for(image={"rows": 6, "cols": 5}, publish={"to": to})
        assert "3.1.0" == run_ingest(recipe).place.name
        return recipe

    return make


@pytest.fixture
def url(publish: Callable[[str], Recipe], faulty: Any) -> str:
    """The same on a store that fails when it is told to."""
    publish("faulty://bucket/datasets")
    return "faulty://bucket/datasets/pets"


def objects(url: str) -> dict[str, bytes]:
    remote = Remote.at(url)
    return {name: remote.read(name) for name in remote.files()}


def filesystem(url: str) -> Any:
    return fsspec.filesystem(url.partition("://")[0], use_listings_cache=False)


def whole(url: str) -> list[str]:
    """The versions that a reader finds there, with an empty cache, each of which must be whole."""
    shutil.rmtree(mirror_of(url))
    numbers = [one.version.number for one in listed_versions(url)]
    assert all(nhwc.verify(f"{url}/{number}").passed for number in numbers), numbers
    assert numbers[-1] == Version.open(url).number
    return numbers


def test_old_versions_go_with_the_shards_that_only_they_name(
    publish: Callable[[str], Recipe], bucket: str, cache: Path, nhwc_command: Any
) -> None:
    """Without --yes nothing goes; with it what stays is whole, and an ingest finds it unchanged."""
    recipe = publish(f"{bucket}/datasets")
    url = f"{bucket}/datasets/pets"
    before = objects(url)
    status, out, err = nhwc_command("prune", url, "--keep", 2)
    assert (0, "", before) == (status, err, objects(url))
    assert ["version 1.0.0", "version 2.0.0"] == out.splitlines()[:2]
    assert 2 == out.count("no version that stays names it")
    assert out.endswith("nothing was dropped. To drop it: the same with --yes\n")
    status, out, err = nhwc_command("prune", f"{url}/", "--keep", 2, "--yes")
    assert (0, "", True) == (status, err, ": dropped, " in out)
    folders, left = {name.partition("/")[0] for name in objects(url)}, mirror_of(url)
    assert {"3.0.0", "3.1.0", "shards", "latest"} == folders
    assert not (left / "1.0.0").exists()
    assert {path.name for path in (left / "shards").glob("*.arrow")} == {
        name.rpartition("/")[2] for name in objects(url) if name.startswith("shards/")
    }
    assert ("unchanged", 0) == ((again := run_ingest(recipe)).outcome, again.made)
    assert f"{url}/: nothing to drop\n" == nhwc_command("prune", f"{url}/", "--keep", 2, "--yes")[1]
    assert ["3.0.0", "3.1.0"] == whole(url)
    with pytest.raises(nhwc.RecipeError, match=r"found nothing at .*1.0.0/checksums"):
        nhwc.load(f"{url}/1.0.0")


def test_versions_are_listed_as_in_a_folder(publish: Callable[[str], Recipe], bucket: str, nhwc_command: Any) -> None:
    """Counts, bytes and which is the latest; where a manifest is damaged only its counts are not told."""
    recipe = publish(f"{bucket}/datasets")
    url = f"{bucket}/datasets/pets"
    shutil.copytree(mirror_of(url), recipe.base / "copy")

    def said(place: object) -> list[tuple[Any, ...]]:
        return [
            (one.version.number, one.is_latest, one.counts, one.shards, one.bytes, one.own_bytes)
            for one in listed_versions(str(place))
        ]

    assert said(recipe.base / "copy") == said(url)
    times = [one.published for one in listed_versions(url) if one.published is not None]
    assert times == sorted(times)
    assert 4 == len(times)
    shutil.rmtree(mirror_of(url))
    assert said(recipe.base / "copy") == said(url)
    shutil.rmtree(mirror_of(url))
    filesystem(url).pipe_file(f"{url}/2.0.0/manifest.parquet", b"text")
    status, out, err = nhwc_command("versions", url)
    lines = [line.split("\t") for line in out.splitlines()]
    assert (0, "") == (status, err)
    assert ["version", "1.0.0", "2.0.0", "3.0.0", "3.1.0 latest"] == [line[0] for line in lines]
    assert ["damaged", "damaged"] == lines[2][2:4]
    assert ["23", "0"] == lines[4][2:4]
    assert lines[4][1].endswith(" UTC")


def test_cut_off_anywhere_no_reader_finds_a_version_without_its_shards(url: str, faulty: Any) -> None:
    """After each removal every version that a reader finds is whole; the next prune ends where one ends that is not."""
    kept = dict(faulty.store)
    for limit in itertools.count():
        faulty.store.clear()
        faulty.store.update(kept)
        faulty.faults.clear()
        removals = itertools.count()

        def cut_off(removals: Any = removals, limit: int = limit) -> None:
            if next(removals) >= limit:
                raise PermissionError(13, "forbidden")

        for part in ("/1.0.0/", "/2.0.0/", "/3.0.0/", "/shards/"):
            faulty.fail("rm_file", part, cut_off, times=99)
        try:
            prune(url, keep=1, yes=True)
            break
        except nhwc.MachineError:
            assert "3.1.0" in whole(url)
        faulty.faults.clear()
        prune(url, keep=1, yes=True)
        assert {"3.1.0", "shards", "latest"} == {name.partition("/")[0] for name in objects(url)}, limit
        assert ["3.1.0"] == whole(url)
    assert limit > 12


def test_what_an_upload_left_goes_and_what_is_not_nhwcs_stays(url: str) -> None:
    """A version without its checksums is none; a shard that none names is of no use; other files are not touched."""
    store = filesystem(url)
    for name in ("9.0.0/manifest.parquet", "shards/0.arrow", "notes/why.txt", "shards/README"):
        store.pipe_file(f"{url}/{name}", b"123")
    found = prune(url, keep=9, yes=True)
    assert ((), ("9.0.0",), ("shards/0.arrow",), 6) == (found.versions, found.leftovers, found.shards, found.bytes)
    assert {"notes/why.txt", "shards/README"} <= objects(url).keys()
    assert ["1.0.0", "2.0.0", "3.0.0", "3.1.0"] == whole(url)


@pytest.mark.parametrize("name", ["manifest.parquet", "checksums"])
@pytest.mark.parametrize("number", ["3.0.0", "3.1.0"])
@pytest.mark.parametrize("has_mirror", [True, False])
def test_where_a_version_that_stays_is_damaged_nothing_goes(
    url: str, nhwc_command: Any, name: str, number: str, has_mirror: bool
) -> None:
    """Which shards it needs cannot be told then, unless this machine has it whole."""
    filesystem(url).pipe_file(f"{url}/{number}/{name}", b"text")
    if not has_mirror:
        shutil.rmtree(mirror_of(url))
    before = objects(url)
    status, _, err = nhwc_command("prune", url, "--keep", 2, "--yes")
    if has_mirror and name == "manifest.parquet":
        assert (0, "") == (status, err)
        assert {"3.0.0", "3.1.0"} <= {key.partition("/")[0] for key in objects(url)}
    else:
        assert (1, True) == (status, f"{number}/" in err), err
        assert "Traceback" not in err
        assert before == objects(url)


def test_a_dataset_that_is_being_written_is_left_alone(url: str, nhwc_command: Any) -> None:
    """From another machine."""
    held = json.dumps({"owner": "another", "host": "there", "pid": 7, "renewed": time.time()}).encode()
    filesystem(url).pipe_file(f"{url}/{LOCK}", held)
    status, _, err = nhwc_command("prune", url, "--yes")
    assert (3, True) == (status, "another run is writing this dataset (process 7 on there" in err)


def test_a_wrong_place_is_told(url: str, nhwc_command: Any, faulty: Any) -> None:
    """One version, nothing, a store that is away."""
    status, _, err = nhwc_command("prune", f"{url}/1.0.0")
    assert (2, True) == (status, f"found one version, expected its dataset: nhwc prune {url}" in err)
    for command in ("versions", "prune"):
        status, _, err = nhwc_command(command, "faulty://bucket/none")
        assert (2, True) == (status, "found nothing at faulty://bucket/none/latest" in err)
        faulty.fail("find", "", OSError(110, "timed out"), times=99)
        status, _, err = nhwc_command(command, url)
        assert (3, True) == (status, "timed out" in err), err
        faulty.faults.clear()
