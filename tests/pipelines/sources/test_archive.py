"""An archive is read as the folder that it holds, and nothing in it is trusted."""

import contextlib
import gzip
import io
import os
import random
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from nhwc.flows.deciding import Ingested
from nhwc.pipelines.sources import tar_members, unpacked
from nhwc.pipelines.sources.archive import Archive
from nhwc.pipelines.sources.folder import Folder
from nhwc.validators.errors import DataError, MachineError, RecipeError

PNG = b"\x89PNG\r\n\x1a\n" + bytes(56)
IN_FOLDERS = {"splits": {"from": "folder"}}
Ingest = Callable[..., Ingested]
Run = Callable[..., tuple[int, str, str]]


def archive(path: Path, **how: Any) -> Archive:
    return Archive(path=path, **{"most_bytes": 1 << 30} | how)


def fates(source: Archive) -> dict[str, str]:
    """What became of each entry: `candidate`, or its code."""
    entries = source.discover().entries
    assert len(entries) == len({entry.name for entry in entries})
    return {entry.name: str(entry.violation.code) if entry.violation else entry.status for entry in entries}


def found(source: Archive) -> dict[str, str]:
    """What was found of each entry that is refused."""
    return {one.name: one.violation.found for one in source.discover().entries if one.violation}


def write_zip(path: Path, members: Iterable[tuple[Any, bytes]], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as packed:
        for name, content in members:
            packed.writestr(name, content)
    return path


def write_tar(path: Path, members: Iterable[tuple[str | tarfile.TarInfo, bytes]], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as packed:  # type: ignore[call-overload]
        for name, content in members:
            info = tarfile.TarInfo(name) if isinstance(name, str) else name
            info.size = info.size or len(content)
            packed.addfile(info, io.BytesIO(content))
    return path


def info(name: str, **facts: Any) -> tarfile.TarInfo:
    one = tarfile.TarInfo(name)
    for key, value in facts.items():
        setattr(one, key, value)
    return one


def zip_of(photos: Path, to: Path, method: int) -> None:
    with zipfile.ZipFile(to, "w", method) as packed:
        for file in sorted(photos.rglob("*")):
            packed.write(file, file.relative_to(photos))


def tar_of(photos: Path, to: Path, mode: str, **how: Any) -> None:
    with tarfile.open(to, mode, **how) as packed:  # type: ignore[call-overload]
        packed.add(photos, how.get("arcname", "."))


FORMS: dict[str, Callable[[Path, Path], None]] = {
    "stored.zip": lambda photos, to: zip_of(photos, to, zipfile.ZIP_STORED),
    "deflated.zip": lambda photos, to: zip_of(photos, to, zipfile.ZIP_DEFLATED),
    "gnu.tar": lambda photos, to: tar_of(photos, to, "w", format=tarfile.GNU_FORMAT),
    "pax.tar": lambda photos, to: tar_of(photos, to, "w", format=tarfile.PAX_FORMAT),
    "photos.tar.gz": lambda photos, to: tar_of(photos, to, "w:gz"),
    "photos.tar.bz2": lambda photos, to: tar_of(photos, to, "w:bz2"),
    "no_suffix": lambda photos, to: tar_of(photos, to, "w:xz"),
}


@pytest.mark.parametrize("form", FORMS)
def test_an_archive_comes_to_what_its_folder_comes_to(
    photos: Path, tmp_path: Path, ingest_source: Ingest, folder_content: str, form: str
) -> None:
    """Whatever it is packed by, told by its bytes; and a second run has nothing to do."""
    FORMS[form](photos, tmp_path / form)
    source = {"kind": "archive", "path": form}
    ingested = ingest_source(source, **IN_FOLDERS)
    assert ingested.version is not None
    assert folder_content == ingested.version.content
    assert {"train/cat/0.png"} < set(ingested.manifest["path"])
    assert "unchanged" == ingest_source(source, **IN_FOLDERS).outcome


def test_other_processes_open_it_for_themselves(
    photos: Path, tmp_path: Path, ingest_source: Ingest, folder_content: str
) -> None:
    """It is sent to them by its path, and what it unpacked is not."""
    FORMS["photos.tar.gz"](photos, tmp_path / "photos.tar.gz")
    ingested = ingest_source({"kind": "archive", "path": "photos.tar.gz"}, engine="processes", **IN_FOLDERS)
    assert ingested.version is not None
    assert folder_content == ingested.version.content


@pytest.mark.parametrize("path", ["photos.zip", "photos.tar"])
def test_a_folder_of_the_archive_may_be_the_source(
    photos: Path, tmp_path: Path, ingest_source: Ingest, folder_content: str, path: str
) -> None:
    """Names, labels and splits are then relative to it, and what lies beside it is not looked at."""
    members = [(f"set/{file.relative_to(photos)}", file.read_bytes()) for file in photos.rglob("*.png")]
    (write_zip if path.endswith("zip") else write_tar)(tmp_path / path, [*members, ("other/a.png", PNG)])
    ingested = ingest_source({"kind": "archive", "path": path, "folder": "./set/"}, **IN_FOLDERS)
    assert ingested.version is not None
    assert folder_content == ingested.version.content
    assert 12 == ingested.manifest.height
    with pytest.raises(RecipeError, match=r"found no folder 'sat' in .*, expected one of its own: it begins with 'oth"):
        ingest_source({"kind": "archive", "path": path, "folder": "sat"}, to="sat")


def link(name: str, leads: str, hard: bool = False) -> tuple[tarfile.TarInfo, bytes]:
    return info(name, type=tarfile.LNKTYPE if hard else tarfile.SYMTYPE, linkname=leads), b""


STRANGE = {
    "candidate": ["cat/a.png", "back\\slash.png", "cat/b", "c:d.png"],
    "unsafe_name": ["../up.png", "cat/../../up.png", "/root.png", "C:/drive.png", "C:\\drive.png", "..\\up.png"],
    "hidden": [".git/a.png", "cat/._a.png"],
    "litter": ["__MACOSX/a.png", "cat/Thumbs.db"],
}
"""Names, by what becomes of files that have them."""


@pytest.mark.parametrize("write", [write_zip, write_tar])
def test_names_are_told_as_a_folder_tells_them(tmp_path: Path, write: Callable[..., Path]) -> None:
    """And those that lead out of the archive on any system are not let in."""
    path = write(tmp_path / "a", [(name, PNG) for names in STRANGE.values() for name in names])
    assert {name: fate for fate, names in STRANGE.items() for name in names} == fates(archive(path))
    found_of = found(archive(path))
    assert ("a path with ..", "an absolute path") == (found_of["../up.png"], found_of["C:\\drive.png"])
    assert ["a"] == [file.name for file in tmp_path.rglob("*")]


def test_what_is_no_file_in_a_tar_is_skipped_or_refused(tmp_path: Path) -> None:
    """Links are never followed; a name that stands twice, and what does not lie in one piece, is no sample."""
    sparse = info("cat/sparse.png", pax_headers={"GNU.sparse.map": "0,64", "GNU.sparse.size": "64"})
    members = [
        ("cat/a.png", PNG), ("cat/twice.png", PNG), ("./cat/twice.png", PNG), (sparse, PNG),
        ("cat/inner.zip", b"PK\3\4" + bytes(60)), (os.fsdecode(b"cat/\xe9.png"), PNG),
        link("cat/in.png", "a.png"), link("cat/up.png", "../cat/a.png"), link("to_folder", "cat"),
        link("cat/chain.png", "in.png"), link("cat/gone.png", "b.png"), link("cat/self.png", "self.png"),
        link("cat/out.png", "../../a.png"), link("cat/root.png", "/etc/hostname"),
        link("hard.png", "cat/a.png", hard=True), link("hard_out.png", "../a.png", hard=True),
        (info("cat/fifo.png", type=tarfile.FIFOTYPE), b""),
        (info("cat/device.png", type=tarfile.CHRTYPE), b""), (info("empty", type=tarfile.DIRTYPE), b""),
    ]  # fmt: skip
    path = write_tar(tmp_path / "a.tar", members)
    expected = {
        "candidate": ["cat/a.png", os.fsdecode(b"cat/\xe9.png")],
        "name_twice": ["cat/twice.png"],
        "unsupported_packing": ["cat/sparse.png"],
        "other_file": ["cat/inner.zip"],
        "link": ["cat/in.png", "cat/up.png", "to_folder", "cat/chain.png", "hard.png"],
        "link_broken": ["cat/gone.png", "cat/self.png"],
        "link_outside": ["cat/out.png", "cat/root.png", "hard_out.png"],
        "special_file": ["cat/fifo.png", "cat/device.png"],
        "empty_folder": ["empty"],
    }
    assert {name: fate for fate, names in expected.items() for name in names} == fates(archive(path))
    assert {"2 members", "a sparse member", "nothing"} < set(found(archive(path)).values())
    within = fates(archive(path, folder="cat"))
    assert ("link", "link_outside") == (within["up.png"], within["out.png"])


def directory_at(content: bytes, name: bytes) -> int:
    """Where the directory of a zip tells of a member."""
    return content.rindex(b"PK\1\2", 0, content.rindex(name))


def spoilt_zip(path: Path, name: str, at: int, form: str, value: int) -> Path:
    """The zip with another number in what its directory says of a member."""
    content = bytearray(path.read_bytes())
    struct.pack_into(form, content, directory_at(bytes(content), name.encode()) + at, value)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("at", "form", "value", "code", "told"),
    [
        (8, "<H", 1, "unsupported_packing", "an encrypted member"),
        (10, "<H", zipfile.ZIP_LZMA, "unsupported_packing", "LZMA"),
        (10, "<H", 77, "unsupported_packing", "method 77"),
        (20, "<I", 1 << 30, "damaged_source", "to 1,073,74"),
        (42, "<I", 0, "packed_too_well", "bytes that are another member's too"),
        (24, "<I", (1 << 26) + 201 * 64, "packed_too_well", "67,121,728"),
        (24, "<I", 1 << 31, "too_many_bytes", "2,147,483,648 bytes"),
    ],
)
def test_a_member_that_a_zip_says_strange_things_of(
    tmp_path: Path, at: int, form: str, value: int, code: str, told: str
) -> None:
    """It is one violation, and the others are read."""
    path = write_zip(tmp_path / "a.zip", [("a.png", PNG), ("b", PNG), ("c.png", PNG)])
    source = archive(spoilt_zip(path, "b", at, form, value), most_bytes=1 << 29)
    assert {"candidate", code} == set(fates(source).values())
    (refusal,) = found(source).values()
    assert told in refusal


@pytest.mark.parametrize(
    ("method", "at", "form", "value", "told"),
    [
        (zipfile.ZIP_STORED, 16, "<I", 1, r"bytes with CRC [0-9a-f]{8}, where its zip says 00000001"),
        (zipfile.ZIP_DEFLATED, 16, "<I", 1, r"bytes with CRC [0-9a-f]{8}, where its zip says 00000001"),
        (zipfile.ZIP_DEFLATED, 24, "<I", 63, "more bytes unpacked, where its zip says 63"),
        (zipfile.ZIP_DEFLATED, 24, "<I", 65, "64 bytes unpacked, where its zip says 65"),
    ],
)
def test_what_does_not_unpack_to_what_is_said_is_damaged(
    tmp_path: Path, method: int, at: int, form: str, value: int, told: str
) -> None:
    """A size that lies is not believed, and a checksum is."""
    path = write_zip(tmp_path / "a.zip", [("a.png", PNG)], method)
    source = archive(spoilt_zip(path, "a.png", at, form, value))
    (entry,) = source.discover().entries
    with pytest.raises(OSError, match=told):
        source.open(entry)


def test_a_member_without_a_header_of_its_own_is_damaged(tmp_path: Path) -> None:
    """Where its name does not claim an image, discovery sees it; else whoever opens it."""
    path = write_zip(tmp_path / "a.zip", [("a.png", PNG), ("b", PNG)])
    content = bytearray(path.read_bytes())
    content[content.rindex(b"PK\3\4")] = 0
    path.write_bytes(content)
    assert {"a.png": "candidate", "b": "damaged_source"} == fates(archive(path))
    assert found(archive(path))["b"].startswith("no header of a member at byte ")


def test_names_in_zips(tmp_path: Path) -> None:
    """Slashes of Windows, UTF-8 that does not say so, code page 437, NUL, links and pipes."""
    dos, unix, odd = (
        zipfile.ZipInfo("cat/windows.png"),
        zipfile.ZipInfo("cat/link.png"),
        zipfile.ZipInfo("cat/nul_.png"),
    )
    dos.create_system = 0
    unix.external_attr, pipe = 0o120777 << 16, zipfile.ZipInfo("cat/pipe.png")
    pipe.external_attr = 0o010666 << 16
    members = [(dos, PNG), (unix, b"windows.png"), (pipe, b""), (odd, PNG), ("cat/aa.png", PNG), ("cat/b_.png", PNG)]
    path = write_zip(tmp_path / "a.zip", [*members, ("cat/twice.png", PNG), ("cat/twic_.png", PNG)])
    content = path.read_bytes().replace(b"cat/windows.png", b"cat\\windows.png").replace(b"nul_.png", b"nul\0.png")
    content = content.replace(b"cat/aa.png", b"cat/\xc3\xa9.png").replace(b"cat/b_.png", b"cat/b\x81.png")
    path.write_bytes(content.replace(b"twic_", b"twice"))
    expected = {
        "cat/windows.png": "candidate", "cat/link.png": "link", "cat/pipe.png": "special_file",
        "cat/é.png": "candidate", "cat/bü.png": "candidate",
        "cat/nul\0.png": "unsafe_name", "cat/twice.png": "name_twice",
    }  # fmt: skip
    assert expected == fates(archive(path))


def test_a_blank_picture_is_no_bomb(tmp_path: Path, ingest_source: Ingest) -> None:
    """It packs a thousandfold and is read."""
    blank = io.BytesIO()
    Image.fromarray(np.full((600, 600, 3), 255, np.uint8)).save(blank, "BMP")
    path = write_zip(tmp_path / "a.zip", [("cat/a.bmp", blank.getvalue())])
    assert blank.tell() > 800 * path.stat().st_size
    assert ["kept"] == ingest_source({"kind": "archive", "path": "a.zip"}).manifest["status"].to_list()


@pytest.mark.parametrize(
    ("cut", "read", "told"),
    [
        (10240, 10, "its end at byte 10,240, without an end mark"),
        (9800, 9, "its end at byte 9,800, within cat/9.png"),
        (9500, 9, "no header at byte 9,216"),
        (9216, 9, "its end at byte 9,216, without an end mark"),
    ],
)
def test_a_cut_tar_is_read_up_to_the_cut(tmp_path: Path, cut: int, read: int, told: str) -> None:
    """What follows is one violation."""
    path = write_tar(tmp_path / "a.tar", [(f"cat/{number}.png", PNG * 8) for number in range(10)])
    path.write_bytes(path.read_bytes()[:cut])
    expected = {f"cat/{number}.png": "candidate" for number in range(read)}
    assert expected | {"./a.tar": "damaged_source"} == fates(archive(path))
    assert {"./a.tar": told} == found(archive(path))


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda whole: whole[:-9000], "Compressed file ended before the end-of-stream marker was reached"),
        (lambda whole: whole[:-8] + bytes(8), "CRC check failed"),
        (lambda whole: whole + b"more", "Not a gzipped file"),
    ],
)
def test_a_damaged_gzip_is_read_up_to_the_damage(tmp_path: Path, spoil: Callable[[bytes], bytes], told: str) -> None:
    """What follows is one violation, and so is a checksum that is another."""
    path = write_tar(tmp_path / "a.tar", [(f"cat/{number}.png", PNG * 8) for number in range(10)])
    path.write_bytes(spoil(gzip.compress(path.read_bytes(), 0)))
    assert 11 == len(fates(archive(path)))
    ((name, found_of),) = found(archive(path)).items()
    assert ("./a.tar", True) == (name, found_of.startswith(told))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b"",
            "format found no bytes in .*, expected zip, tar, tar.gz, tar.bz2 or tar.xz. To mend: fetch it again",
        ),
        (b"7z\xbc\xaf\x27\x1c" + bytes(600), "found 7z in .*pack it again as one of these, or unpack it"),
        (b"<html>" + bytes(600), "found bad checksum in .*, expected a tar with members"),
        (b"\x1f\x8b" + b"x" * 600, "found Unknown compression method in .*, expected a tar with members"),
        (b"PK\3\4" + bytes(600), "directory found File is not a zip file in .*, expected a whole zip"),
    ],
)
def test_what_is_no_archive_is_one_message(tmp_path: Path, content: bytes, message: str) -> None:
    """It is told by its bytes."""
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(DataError, match=message):
        archive(tmp_path / "a.zip").discover()


def test_an_empty_zip_has_nothing(tmp_path: Path, nhwc_command: Run) -> None:
    """As an empty folder has, said in one line."""
    zipfile.ZipFile(tmp_path / "a.zip", "w").close()
    assert archive(tmp_path / "a.zip").discover().entries == ()
    status, said, told = nhwc_command("inspect", str(tmp_path / "a.zip"))
    assert "Traceback" not in said + told
    assert status in (0, 1), told


def test_a_packed_tar_is_unpacked_within_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No bomb and no small disk is filled."""
    path = write_tar(tmp_path / "a.tgz", [("cat/a.png", PNG + bytes(1 << 22))], "w:gz")
    monkeypatch.setattr(tar_members, "most_unpacked", lambda packed: 1 << 21)
    with pytest.raises(
        DataError, match=r"packed_too_well: .*found more in .*, expected at most 2,097,152 bytes out of"
    ):
        archive(path).discover()
    monkeypatch.undo()
    monkeypatch.setattr(unpacked, "_SPARE_BYTES", 1 << 60)
    with pytest.raises(
        MachineError, match=r"no room to unpack it in .*: set TMPDIR to a folder with more, or unpack it"
    ):
        archive(path).discover()
    monkeypatch.undo()
    assert {"cat/a.png": "candidate"} == fates(archive(path))


def test_a_header_that_points_backwards_is_the_last(tmp_path: Path) -> None:
    """Of a negative size tarfile makes a loop."""
    path = write_tar(tmp_path / "a.tar", [("a.png", PNG), ("b.png", PNG)])
    content = bytearray(path.read_bytes())
    content[1024 + 124 : 1024 + 136] = b"\xff" * 10 + b"\xf8\x00"
    content[1024 + 148 : 1024 + 156] = b" " * 8
    content[1024 + 148 : 1024 + 156] = b"%06o\0 " % sum(content[1024:1536])
    path.write_bytes(content)
    assert {"a.png": "candidate", "./a.tar": "damaged_source"} == {
        name: fate for name, fate in fates(archive(path)).items() if name != "b.png"
    }


def test_members_are_read_by_several_threads(photos: Path, tmp_path: Path) -> None:
    """Each gets its own."""
    for form in ("deflated.zip", "gnu.tar", "photos.tar.gz"):
        FORMS[form](photos, tmp_path / form)
        source = archive(tmp_path / form)
        entries = [entry for entry in source.discover().entries if entry.status == "candidate"] * 20
        with ThreadPoolExecutor(4) as pool:
            read = list(pool.map(lambda entry, source=source: source.open(entry).read(), entries))
        assert [(photos / entry.name).read_bytes() for entry in entries] == read


def test_nothing_that_is_written_into_an_archive_goes_unhandled(tmp_path: Path) -> None:
    """Bytes changed, cut and moved at random: each is read, one violation, or one message."""
    path, draw = tmp_path / "a", random.Random(7)
    members = [(f"cat/{'n' * 120}{number}.png", PNG) for number in range(4)]
    wholes = [write_zip(path, members).read_bytes(), write_tar(path, members).read_bytes()]
    for number in range(200):
        content = bytearray(wholes[number % 2])
        for _ in range(draw.choice((1, 2, 8))):
            place, size = draw.randrange(len(content)), draw.randrange(1, 600)
            change = draw.choice([[draw.randrange(256)], [], [*content[place : place + size]] * 2])
            content[place : place + draw.choice((1, size))] = bytes(change)
        path.write_bytes(content)
        source = archive(path)
        try:
            entries = source.discover().entries
        except DataError:
            continue
        assert len(entries) == len({entry.name for entry in entries})
        for entry in entries:
            if entry.status == "candidate":
                with contextlib.suppress(OSError):
                    source.open(entry).read()


def test_the_command_tells_of_a_damaged_archive(photos: Path, tmp_path: Path, nhwc_command: Run) -> None:
    """With status 1 where none can be read, 0 where enough can, 2 where there is none; nothing is written beside."""
    FORMS["stored.zip"](photos, tmp_path / "a.zip")
    content = bytearray((tmp_path / "a.zip").read_bytes())
    content[content.index(b"IDAT") + 10] ^= 1
    recipe = {
        "dataset": "pets", "source": {"kind": "archive", "path": "a.zip"}, "image": {"rows": 4, "cols": 5},
        "publish": {"to": "out"}, "checks": {"bad_fraction": 0.1, "bad_fraction_per_class": 0.5},
    }  # fmt: skip
    (tmp_path / "pets.yaml").write_text(yaml.safe_dump(recipe))
    (tmp_path / "a.zip").write_bytes(content[:-30])
    status, _, err = nhwc_command("ingest", "pets.yaml", "--direct")
    assert 1 == status
    assert "File is not a zip file in a.zip, expected a whole zip" in " ".join(err.split())
    (tmp_path / "a.zip").write_bytes(content)
    status, out, _ = nhwc_command("ingest", "pets.yaml", "--direct")
    assert 0 == status, out
    assert "12 discovered = 11 kept, 1 quarantined" in out
    assert "damaged_source" in out
    (tmp_path / "a.zip").unlink()
    status, _, err = nhwc_command("ingest", "pets.yaml", "--direct")
    assert 2 == status
    assert "source.path: found 'a.zip', where there is nothing, expected a file or a folder" in " ".join(err.split())
    assert {"photos", "pets.yaml", "out"} == {file.name for file in tmp_path.iterdir()}


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"path": "photos"}, r"source\.path: found 'photos', which is no file, expected a zip or a tar"),
        ({"path": "s3://bucket/a.zip"}, r"source\.path: found 's3://bucket/a.zip', expected a path on this machine"),
        (
            {"path": "photos", "folder": "../x"},
            r"source\.folder: found '../x', a path with \.\., expected a path inside",
        ),
        ({"path": "photos", "folders": "x"}, r"source\.folders: unknown key, did you mean folder\?"),
    ],
)
def test_a_wrong_recipe_is_told(photos: Path, ingest_source: Ingest, source: dict[str, str], message: str) -> None:
    """Before anything is read."""
    with pytest.raises(RecipeError, match=message):
        ingest_source({"kind": "archive"} | source)


def test_every_case_of_the_file_system_corpus_fares_as_in_a_folder(corpus: Path, tmp_path: Path) -> None:
    """But the second name of one file, which is a link in a tar."""
    path = corpus / "breaking" / "fs_cases.tar"
    with tarfile.open(path) as tar:
        tar.extractall(tmp_path, filter="fully_trusted")
    source, folder = archive(path, folder="fs_a"), Folder(root=tmp_path / "fs_a")
    theirs = {entry.name: entry for entry in folder.discover().entries}
    for entry in source.discover().entries:
        other = theirs.pop(entry.name)
        if entry.name == "dog/hard2.jpg":
            assert "link" == str(entry.violation and entry.violation.code)
            continue
        assert (entry.status, entry.violation and entry.violation.code) == (
            other.status, other.violation and other.violation.code,
        )  # fmt: skip
        if entry.status == "candidate":
            assert (tmp_path / "fs_a" / entry.name).read_bytes() == source.open(entry).read()
    assert {} == theirs
