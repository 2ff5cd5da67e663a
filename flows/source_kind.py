"""What kind of source lies at a path, told by content: what `nhwc init` writes into a recipe, and `inspect` says."""

from __future__ import annotations

import gzip
import re
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from pydantic import ValidationError

from nhwc.flows.source_recipes import KINDS
from nhwc.flows.source_recipes.kind import Kind
from nhwc.pipelines.probe import claimed_format
from nhwc.pipelines.sources.idx import IMAGES
from nhwc.pipelines.sources.zip_members import WRONG_DIRECTORY
from nhwc.validators.errors import RecipeError

_LABELS = (".cls", ".json", ".txt")
_TABLES = (".csv", ".tsv", ".jsonl", ".ndjson")
_SEEN_MEMBERS = 1000
"""Members of an archive that are looked at."""


def source_kind(place: Path) -> Kind:
    """The source that lies there, as a recipe would say it; a folder of images where a folder tells nothing else.

    Raises RecipeError where a file tells nothing, or more would have to be said than its path.
    """
    if not (place.is_dir() or place.is_file()):
        raise RecipeError(str(place), ("found something that is neither, expected a file or a folder",))
    kind = kind_at(place)
    if kind is None:
        raise RecipeError(str(place), (f"found a file that no source is read from, expected {', '.join(KINDS)}",))
    try:
        return KINDS[kind].model_validate({"kind": kind, "path": str(place.resolve())})
    except ValidationError as error:
        missing = ", ".join(f"source.{one['loc'][-1]}" for one in error.errors())
        found = f"found a source of kind {kind}, which needs {missing} too: write the recipe yourself"
        raise RecipeError(str(place), (found,)) from error


def kind_at(place: Path) -> str | None:
    """The kind of source that a folder or a file is; None where a file is none."""
    return _kind_of_folder(place) if place.is_dir() else _kind_of_file(place)


def _kind_of_folder(folder: Path) -> str:
    names = {item.name for item in folder.iterdir() if not item.name.startswith(".")}
    if {"dataset_info.json", "features.json"} <= names:
        return "tfds"
    if {"Annotations", "JPEGImages"} <= names:
        return "voc"
    if any(IMAGES.fullmatch(name) for name in names):
        return "idx"
    if names & {"data_batch_1.bin", "test_batch.bin", "train.bin"}:
        return "cifar"
    if _has_images(folder):  # beside them, a table may hold their labels and a tar may be anything
        return "folder"
    names |= set(_below(folder))
    return next((kind for kind, mark in _FILES.items() if any(mark.search(name) for name in names)), "folder")


_FILES = {
    "parquet": re.compile(r"\.(parquet|arrow)$", re.IGNORECASE),
    "webdataset": re.compile(r"\.tar$", re.IGNORECASE),
    "tfrecord": re.compile(r"\.tfrecords?($|[-._])", re.IGNORECASE),
}
"""Sources that are folders of files, by the files' names."""


def _has_images(folder: Path) -> bool:
    """Whether any name in it, at any depth, is a picture's."""
    return any(claimed_format(name.suffix) not in (None, "npy") for name in folder.rglob("*"))


def _below(folder: Path) -> Iterator[str]:
    """The names of what lies in its folders: of splits (`train/`), or of classes."""
    above = (item for item in folder.iterdir() if item.is_dir() and not item.name.startswith("."))
    return (item.name for one in above for item in one.iterdir() if not item.name.startswith("."))


def _kind_of_file(file: Path) -> str | None:
    """The kind of source that a file is; None where it is none."""
    with file.open("rb") as opened:
        head = opened.read(512)
    if file.suffix.lower() in _TABLES:
        return "files"
    if head.startswith(b"PK"):
        return _kind_of_names(_zip_names(file))
    for kind, magic in _MAGIC:
        if head.startswith(magic):
            return kind
    if head.startswith(b"\x1f\x8b") and _unpacked(file).startswith(b"\0\0"):
        return "idx"
    if _is_tar(file):
        return _kind_of_names(_tar_names(file))
    if ".tfrecord" in file.name.lower():
        return "tfrecord"
    return "coco" if file.suffix.lower() == ".json" else None


_MAGIC = (
    ("parquet", (b"PAR1", b"ARROW1", b"\xff\xff\xff\xff")),
    ("hdf5", b"\x89HDF\r\n"),
    ("arrays", b"\x93NUMPY"),
    ("idx", (b"\0\0\x08\3", b"\0\0\x08\4")),
)


def _unpacked(file: Path) -> bytes:
    try:
        with gzip.open(file) as opened:
            return opened.read(4)
    except (OSError, EOFError, zlib.error):
        return b""


def _zip_names(file: Path) -> list[str]:
    try:
        with zipfile.ZipFile(file) as archive:
            return archive.namelist()[:_SEEN_MEMBERS]
    except WRONG_DIRECTORY:
        return []


def _is_tar(file: Path) -> bool:
    try:
        return tarfile.is_tarfile(file)
    except (OSError, EOFError, zlib.error):  # what is packed is cut
        return False


def _tar_names(file: Path) -> list[str]:
    names: list[str] = []
    try:
        with tarfile.open(file) as archive:
            for member in archive:
                names.append(member.name)
                if len(names) == _SEEN_MEMBERS:
                    break
    except (tarfile.TarError, OSError, EOFError, zlib.error):
        pass  # what was seen of it tells enough, and reading it will say what is damaged
    return names


def _kind_of_names(names: list[str]) -> str:
    """Arrays, samples of several members, or class folders."""
    paths = [PurePosixPath(name) for name in names]
    if paths and all(path.suffix == ".npy" and len(path.parts) == 1 for path in paths):
        return "arrays"
    keys = {path.with_suffix("") for path in paths if path.suffix.lower() in _LABELS}
    images = [path.with_suffix("") for path in paths if claimed_format(path.suffix) is not None]
    return "webdataset" if images and keys.issuperset(images[: _SEEN_MEMBERS // 2]) else "archive"
