import io
import os
from pathlib import Path
from typing import Any

import fsspec
import pytest
from PIL import Image

from nhwc.pipelines.remote import Remote
from nhwc.pipelines.sources.folder import Folder
from nhwc.pipelines.sources.protocol import Entry
from nhwc.pipelines.sources.remote_folder import RemoteFolder, source_at
from nhwc.validators.errors import RecipeError

pytestmark = pytest.mark.usefixtures("quick_tries")

URL = "faulty://bucket/photos"


def image_bytes() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (3, 2)).save(file, "PNG")
    return file.getvalue()


CONTENT = {
    "cat/1.png": image_bytes(),
    "cat/deep/2.PNG": image_bytes(),
    "cat/.hidden.png": image_bytes(),
    "cat/Thumbs.db": b"litter",
    "cat/without_suffix": image_bytes(),
    "cat/empty.png": b"",
    "cat/empty": b"",
    "dog/text.jpg": b"no image",
    "README": b"# photos",
    "__MACOSX/cat/1.png": b"litter",
}


@pytest.fixture
def store(faulty: Any) -> Any:
    """A store that has all of them, and an empty folder as consoles make one."""
    files = fsspec.filesystem("faulty", use_listings_cache=False)
    for name, content in CONTENT.items():
        files.pipe_file(f"/bucket/photos/{name}", content)
    faulty.calls.clear()
    return faulty


def test_a_store_is_discovered_as_a_folder_is(store: Any, tmp_path: Path) -> None:
    """Entry by entry the same, hidden, litter, no images and empty files included, and the same folders."""
    for name, content in CONTENT.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    assert Folder(root=tmp_path).discover() == source_at(URL).discover()


def test_an_empty_folder_is_told(s3: str, tmp_path: Path) -> None:
    """An object whose name ends with / stands for a folder; where others lie in it too it says nothing."""
    files = fsspec.filesystem("s3", use_listings_cache=False)
    place = f"{s3}/with_folders".removeprefix("s3://")
    for name in ("cat/", "cat/empty/", "cat/1.png"):
        files.call_s3("put_object", Bucket="bucket", Key=f"{place}/{name}".partition("/")[2], Body=b"")
    (tmp_path / "cat" / "empty").mkdir(parents=True)
    (tmp_path / "cat" / "1.png").touch()
    assert Folder(root=tmp_path).discover() == source_at(f"{s3}/with_folders").discover()


def test_only_what_its_name_does_not_tell_is_read(store: Any) -> None:
    """To discover takes a listing, and the beginnings of files that are not named like images and are not known."""
    source = source_at(URL)
    source.discover()
    read = [path for method, path in store.calls if method != "find"]
    assert ["/bucket/photos/README", "/bucket/photos/cat/without_suffix"] == sorted(read)
    store.calls.clear()
    source.discover(known={"cat/without_suffix"})
    assert [("cat_file", "/bucket/photos/README")] == [call for call in store.calls if call[0] != "find"]


def test_a_beginning_that_cannot_be_read_is_a_violation(store: Any) -> None:
    """As of a file in a folder: quarantined, and the others go on."""
    store.fail("cat_file", "README", PermissionError("Forbidden"), times=9)
    entries = {entry.name: entry for entry in source_at(URL).discover().entries}
    assert "unreadable_file" == entries["README"].violation.code
    assert "candidate" == entries["cat/without_suffix"].status


def test_a_listing_changes_with_the_content(store: Any) -> None:
    """Nothing changed: the same; another object, or other bytes: another."""
    files, source = fsspec.filesystem("faulty", use_listings_cache=False), source_at(URL)
    before = source.listing()
    assert before.digest == source.listing().digest
    assert before.stamps.equals(source.listing().stamps)
    files.pipe_file("/bucket/photos/cat/1.png", image_bytes())
    other = source.listing()
    assert before.digest != other.digest
    assert len(CONTENT) - 1 == before.stamps.join(other.stamps, on=before.stamps.columns).height


def test_with_etags_a_listing_does_not_ask_for_the_time(s3: str) -> None:
    """The same bytes written again are the same; whose clock is right plays no part."""
    files, source = fsspec.filesystem("s3", use_listings_cache=False), source_at(f"{s3}/marked")
    files.pipe_file(f"{s3}/marked/a.png", b"1")
    before = source.listing()
    files.pipe_file(f"{s3}/marked/a.png", b"1")
    assert (before.digest, 0) == (source.listing().digest, source.listing().changed_ns)
    files.pipe_file(f"{s3}/marked/a.png", b"2")
    assert before.digest != source.listing().digest


def test_of_a_large_object_only_the_beginning_is_read(store: Any) -> None:
    """One byte more than is allowed, and its true size: enough to refuse it as a large file is refused."""
    source = RemoteFolder(remote=Remote.at(URL), most_bytes=4)
    with source.open(Entry(name="README")) as file:
        assert len(CONTENT["README"]) == file.seek(0, os.SEEK_END)
        file.seek(0)
        assert CONTENT["README"][:5] == file.read()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("faulty://bucket/none", "found faulty://bucket/none, but no object below it, expected a folder of images"),
        ("s3://none/photos", "found s3://none/photos, but The specified bucket does not exist, expected a folder of"),
    ],
)
@pytest.mark.usefixtures("s3", "store")
def test_nothing_there_is_one_message(url: str, message: str) -> None:
    """A folder or bucket that is not there is a wrong recipe."""
    with pytest.raises(RecipeError, match=rf"source\.path:\n  {message}"):
        source_at(url).listing()
