import errno
import hashlib
import pickle
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.exceptions import FSTimeoutError
from fsspec.registry import _registry as loaded

from nhwc.pipelines.remote import TRIES, Remote, is_url, url_problem
from nhwc.validators.errors import DataError

pytestmark = pytest.mark.usefixtures("quick_tries")

FOLDER = Remote.at("faulty://bucket/folder/")
READ = ("cat_file", "/bucket/folder/a")


class BotocoreError(Exception):
    """An error as botocore makes it of an answer."""

    def __init__(self, status: int) -> None:
        super().__init__(f"status {status}")
        self.response = {"ResponseMetadata": {"HTTPStatusCode": status}}


class HttpError(Exception):
    """An error as gcsfs makes it of an answer."""

    def __init__(self, status: int) -> None:
        super().__init__(f"status {status}")
        self.code = status


class EndpointConnectionError(type("ConnectionError", (Exception,), {})):  # type: ignore[misc]
    """As botocore's, which is no OSError."""


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.fixture
def store(faulty: Any) -> Any:
    """A store with one object, a."""
    fsspec.filesystem("faulty", use_listings_cache=False).pipe_file("/bucket/folder/a", b"content")
    faulty.calls.clear()
    return faulty


@pytest.mark.parametrize(
    "error",
    [
        ConnectionResetError("reset"),
        TimeoutError(),
        FSTimeoutError(),
        OSError(errno.EBUSY, "slow down"),
        caused(OSError(errno.EIO, "bad gateway"), BotocoreError(502)),
        caused(OSError(errno.EIO, "too many"), BotocoreError(429)),
        HttpError(503),
        EndpointConnectionError("no connection"),
    ],
    ids=repr,
)
def test_what_is_the_networks_is_tried_again(store: Any, error: Exception) -> None:
    """A fault that passes is not seen."""
    store.fail("cat_file", "/a", error, times=TRIES - 1)
    assert b"content" == FOLDER.read("a")
    assert [READ] * TRIES == store.calls


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (FileNotFoundError("/bucket/folder/a"), FileNotFoundError),
        (PermissionError("Forbidden"), PermissionError),
        (caused(OSError(errno.EINVAL, "bad"), BotocoreError(400)), OSError),
        (HttpError(401), OSError),
        (ValueError("no such option"), OSError),
    ],
    ids=repr,
)
def test_what_is_not_the_networks_is_asked_once(store: Any, error: Exception, raised: type[OSError]) -> None:
    """No try is wasted on what comes out the same, and the error names the URL, whatever the library raised."""
    store.fail("cat_file", "/a", error, times=9)
    with pytest.raises(raised) as told:
        FOLDER.read("a")
    assert "faulty://bucket/folder/a" == told.value.filename
    assert [READ] == store.calls


def test_after_the_last_try_one_line_says_what_and_where(store: Any) -> None:
    """The network does not come back: an OSError that names the URL."""
    store.fail("cat_file", "/a", ConnectionResetError("connection reset"), times=9)
    with pytest.raises(OSError, match=re.escape("connection reset: 'faulty://bucket/folder/a'")):
        FOLDER.read("a")
    assert [READ] * TRIES == store.calls


def test_names_are_relative_and_come_sorted(store: Any) -> None:
    """Of the folder alone, not of one whose name begins alike; what is not there is no file."""
    files = fsspec.filesystem("faulty", use_listings_cache=False)
    files.pipe_file("/bucket/folder/b/c", b"1")
    files.pipe_file("/bucket/folder2/d", b"1")
    assert ["a", "b/c"] == list(FOLDER.files())
    assert ["b/c"] == list(FOLDER.files("b"))
    assert {"a", "b"} == FOLDER.top()
    assert {} == Remote.at("faulty://bucket/none").files()


def test_a_beginning_is_read_and_an_empty_object_too(s3: str) -> None:
    """Of an empty object S3 refuses any range."""
    folder = Remote.at(f"{s3}/beginnings")
    for name, content in {"full": b"0123456789", "empty": b""}.items():
        folder.tried(name, lambda files, path, content=content: files.pipe_file(path, content))
    assert [b"012", b""] == folder.heads(["full", "empty"], size=3)
    assert (b"012", b"") == (folder.read("full", most=3), folder.read("empty", most=3))
    (missing,) = folder.heads(["none"], size=3)
    assert isinstance(missing, FileNotFoundError)


def test_a_download_is_checked_and_fetched_again(store: Any, tmp_path: Path) -> None:
    """Bytes that came damaged are fetched once more."""
    files = fsspec.filesystem("faulty", use_listings_cache=False)
    files.pipe_file("/bucket/folder/a", b"c0ntent")

    def mended() -> None:
        if len([one for one in store.calls if one[0] == "get_file"]) == 2:
            files.pipe_file("/bucket/folder/a", b"content")

    store.fail("get_file", "/a", mended, times=2)
    FOLDER.fetch("a", tmp_path / "new" / "a", sha256=hashlib.sha256(b"content").hexdigest())
    assert b"content" == (tmp_path / "new" / "a").read_bytes()
    assert ["a"] == [path.name for path in (tmp_path / "new").iterdir()]


def test_a_damaged_object_is_refused(store: Any, tmp_path: Path) -> None:
    """Damaged twice, it is the object that is: nothing lies where it should have gone."""
    with pytest.raises(DataError, match=r"faulty://bucket/folder/a found sha256 ed70\w+, twice, expected sha256 0000"):
        FOLDER.fetch("a", tmp_path / "a", sha256="0" * 64)
    assert not (tmp_path / "a").exists()


def test_many_who_ask_download_once(store: Any, tmp_path: Path) -> None:
    """Threads that need one file at a time wait for one download."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: FOLDER.fetch("a", tmp_path / "a"), range(16)))
    assert b"content" == (tmp_path / "a").read_bytes()
    assert 1 == [method for method, _ in store.calls].count("get_file")


def test_a_remote_is_its_url(store: Any) -> None:
    """No connection is pickled, even after one was used."""
    FOLDER.read("a")
    assert FOLDER == pickle.loads(pickle.dumps(FOLDER))
    assert len(pickle.dumps(FOLDER)) < 200


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("s3://bucket/photos", None),
        ("gs://bucket/photos", None),  # gcsfs is there
        ("memory://photos", None),
        ("s4://bucket", "found 's4://bucket', whose scheme is unknown, expected s3://, gs://, memory:// or a path"),
        ("file:///photos", "found 'file:///photos', expected a path without file://"),
        ("s3://", "found 's3://', which names no bucket, expected s3://bucket/folder"),
        (
            "s3://key:secret@bucket/x",
            "found credentials in a s3:// URL, which is recorded: give them by the environment (AWS_*)",
        ),
    ],
)
def test_what_is_wrong_with_a_url(url: str, problem: str | None) -> None:
    """Told without the network, and without the secret."""
    assert problem == url_problem(url)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says what to install."""
    for scheme in ("gs", "gcs"):
        monkeypatch.delitem(loaded, scheme, raising=False)
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    expected = "found 'gs://bucket/x', for which a package is missing: pip install 'nhwc[gs]'"
    assert expected == url_problem("gs://bucket/x")


@pytest.mark.parametrize(
    ("place", "expected"),
    [("s3://b/x", True), ("photos", False), ("a:b", False), ("c:/x", False), (Path("s3://b"), False), (None, False)],
)
def test_what_is_a_url(place: object, expected: bool) -> None:
    """A scheme and two slashes, as text."""
    assert expected == is_url(place)
