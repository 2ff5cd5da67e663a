"""Discovery accounts for every entry of a folder, by name, and decides by content."""

import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from nhwc.pipelines.sources.folder import Folder
from nhwc.pipelines.sources.protocol import Entry

PNG = b"\x89PNG\r\n\x1a\n" + bytes(56)
LONG = "n" * 240 + ".jpg"


def codes(root: Path) -> dict[str, str]:
    """What became of each entry: `candidate`, or its code."""
    entries = Folder(root=root).discover().entries
    assert len(entries) == len({entry.name for entry in entries})
    return {entry.path: str(entry.violation.code) if entry.violation else entry.status for entry in entries}


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("cat/a.png", PNG, "candidate"),
        ("cat/no_suffix", PNG, "candidate"),
        ("cat/photo.txt", PNG, "candidate"),
        ("cat/photo.jpg.bak", PNG, "candidate"),
        ("cat/UPPER.JPG", b"", "candidate"),
        ("cat/empty.jpg", b"", "candidate"),
        ("cat/text.jpeg", b"hello", "candidate"),
        ("고양이/사진 (1).jpg", PNG, "candidate"),
        (f"cat/{LONG}", PNG, "candidate"),
        ("cat/new\nline.jpg", PNG, "candidate"),
        ("cat/*.jpg", PNG, "candidate"),
        ("cat/ .jpg", PNG, "candidate"),
        ("/".join(["d"] * 40) + "/deep.jpg", PNG, "candidate"),
        ("labels.csv", b"path,label\n", "other_file"),
        ("LICENSE", b"free", "other_file"),
        ("cat/README.txt", b"", "other_file"),
        ("cat/Thumbs.db", b"\xd0\xcf", "litter"),
        ("cat/desktop.ini", b"[x]", "litter"),
        ("__MACOSX/a.png", PNG, "litter"),
        ("@eaDir/thumb.jpg", PNG, "litter"),
        ("cat/.DS_Store", b"Bud1", "hidden"),
        ("cat/._a.png", PNG, "hidden"),
        (".ipynb_checkpoints/a.png", PNG, "hidden"),
        ("cat/.gitkeep", b"", "hidden"),
    ],
)
def test_a_file_is_judged_by_content_and_name(tmp_path: Path, name: str, content: bytes, expected: str) -> None:
    """Its suffix alone neither lets a file in nor keeps it out."""
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    assert {name: expected} == codes(tmp_path)


def _fifo(root: Path) -> None:
    os.mkfifo(root / "entry")


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (_fifo, "special_file"),
        (lambda root: (root / "entry").symlink_to("real.png"), "link"),
        (lambda root: (root / "entry").symlink_to("."), "link"),
        (lambda root: (root / "entry").symlink_to("gone.png"), "link_broken"),
        (lambda root: (root / "entry").symlink_to("entry"), "link_broken"),
        (lambda root: (root / "entry").symlink_to("/etc/hostname"), "link_outside"),
        (lambda root: (root / "entry").symlink_to("../.."), "link_outside"),
        (lambda root: (root / "entry").mkdir(), "empty_folder"),
    ],
)
def test_what_is_no_file_is_skipped_by_name(tmp_path: Path, make: Callable[[Path], None], expected: str) -> None:
    """Links are never followed, special files never opened, empty folders never lost."""
    (tmp_path / "real.png").write_bytes(PNG)
    make(tmp_path)
    assert {"real.png": "candidate", "entry": expected} == codes(tmp_path)


def test_a_name_that_is_not_utf8_is_shown_with_escapes(tmp_path: Path) -> None:
    """Its sample can be read, and its path is text that every writer takes."""
    (tmp_path / os.fsdecode(b"latin1_\xe9.png")).write_bytes(PNG)
    (entry,) = Folder(root=tmp_path).discover().entries
    assert r"latin1_\xe9.png" == entry.path
    with Folder(root=tmp_path).open(entry) as file:
        assert PNG == file.read()


def test_ids_differ_by_name_and_stay(tmp_path: Path) -> None:
    """An id is a function of the name's bytes alone."""
    assert "6d4c28e8ebb1e9b7" != Entry(name="a").sample_id
    assert Entry(name="a").sample_id == Entry(name="a", label="x").sample_id
    assert Entry(name="Hat/a").sample_id != Entry(name="hat/a").sample_id


def test_listing_order_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Entries come sorted by name, however the system lists them."""
    for name in ("b/2.png", "a/1.png", "c.png", "a/0.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(PNG)
    before = Folder(root=tmp_path).discover()
    real = os.scandir

    class Reversed:
        def __init__(self, path: str) -> None:
            self.listing = real(path)

        def __enter__(self) -> list[os.DirEntry[str]]:
            return list(self.listing)[::-1]

        def __exit__(self, *_: object) -> None:
            self.listing.close()

    monkeypatch.setattr(os, "scandir", Reversed)
    assert before == Folder(root=tmp_path).discover()
    assert ["a/0.png", "a/1.png", "b/2.png", "c.png"] == [entry.name for entry in before.entries]


def test_every_case_of_the_file_system_corpus_is_accounted_for(corpus: Path, tmp_path: Path) -> None:
    """Links, loops, FIFOs and hostile names: each entry once, with the fate that its kind has."""
    with tarfile.open(corpus / "breaking" / "fs_cases.tar") as tar:
        tar.extractall(tmp_path, filter="fully_trusted")
    found = codes(tmp_path / "fs_a")
    cases = pl.read_csv(corpus / "breaking" / "fs_cases.csv")
    assert cases.height == len(found)
    fates = {"file": "candidate", "FIFO": "special_file", "empty directory": "empty_folder"}
    links = {
        "cat/link_in_class.jpg": "link",
        "cat/link_other_class.jpg": "link",
        "cat/parent": "link",
        "bird": "link",
        "dog/outside.jpg": "link_outside",
        "dog/abs.jpg": "link_outside",
    }
    for path, kind in cases.select("path", "kind").iter_rows():
        if kind.startswith("symlink"):
            assert links.get(path, "link_broken") == found[path], path
        else:
            assert fates.get(kind, "candidate") == found[path], path


def test_a_known_file_is_not_opened(tmp_path: Path) -> None:
    """What was a candidate when it was last read is one; a folder of that name is none."""
    (tmp_path / "text").write_text("no image")
    (tmp_path / "folder").mkdir()
    entries = Folder(root=tmp_path).discover({"text", "folder"}).entries
    assert {"text": "candidate", "folder": "skipped"} == {entry.name: entry.status for entry in entries}


def test_a_listing_has_a_stamp_of_each_file(tmp_path: Path) -> None:
    """Of files only, whatever their names; what changes a file changes its stamp and the digest."""
    name = os.fsencode(tmp_path / "cat" / "a") + b"\xff.png"
    (tmp_path / "cat").mkdir()
    Path(os.fsdecode(name)).write_bytes(PNG)
    (tmp_path / "link").symlink_to("cat")
    before = Folder(root=tmp_path).listing()
    status = Path(os.fsdecode(name)).stat()
    stamp = (b"cat/a\xff.png", status.st_ino, len(PNG), status.st_mtime_ns, status.st_ctime_ns)
    assert [stamp] == before.stamps.rows()
    Path(os.fsdecode(name)).chmod(0o600)
    after = Folder(root=tmp_path).listing()
    assert before.stamps.rows() != after.stamps.rows()
    assert before.digest != after.digest
    assert before.changed_ns <= after.changed_ns
