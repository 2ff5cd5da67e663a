"""One folder of photographs as archives, webdatasets and tables: seconds of each ingest, and whether all are equal.

    python benchmarks/archives.py FOLDER [--rows 224] [--cols 224] [--rounds 1]

FOLDER has split folders with class folders below them. Every form is made by others' writers (zipfile, tarfile,
webdataset, polars) in a temporary folder. Prints the folder's seconds before and after the others', by the clock and
by the cores, which say more where other work keeps them busy; and then how long one thread and two take to open and
read every file of the folder, and every member of the zip that stores them.
"""

from __future__ import annotations

import argparse
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl
import webdataset

from nhwc.flows.ingest import run_ingest
from nhwc.flows.recipe import parse_recipe
from nhwc.pipelines.sources.archive import Archive
from nhwc.pipelines.sources.folder import Folder
from nhwc.validators.splits import SPLIT_NAMES

IN_FOLDERS = {"labels": {"from": "folder"}, "splits": {"from": "folder"}}


def forms(photos: Path, to: Path) -> Iterator[tuple[str, dict, dict]]:
    """(name, source, other parts of the recipe) of each form, written when it is asked for."""
    files = sorted(file for file in photos.rglob("*") if file.is_file() and len(file.relative_to(photos).parts) == 3)
    for name, method in (("zip stored", zipfile.ZIP_STORED), ("zip deflated", zipfile.ZIP_DEFLATED)):
        path = to / f"{name.replace(' ', '_')}.zip"
        with zipfile.ZipFile(path, "w", method) as packed:
            for file in files:
                packed.write(file, file.relative_to(photos))
        yield name, {"kind": "archive", "path": str(path)}, IN_FOLDERS
    for name, mode in (("tar", "w"), ("tar.gz", "w:gz")):
        path = to / f"photos.{name}"
        with tarfile.open(path, mode) as packed:
            for file in files:
                packed.add(file, file.relative_to(photos))
        yield name, {"kind": "archive", "path": str(path)}, IN_FOLDERS
    yield "webdataset", {"kind": "webdataset", "path": str(shards(files, to / "wds"))}, {}
    rows = [(str(file.relative_to(photos)), *file.relative_to(photos).parts[1::-1]) for file in files]
    table = pl.DataFrame(rows, schema=["file_name", "label", "split"], orient="row")
    for suffix, write in ((".csv", table.write_csv), (".jsonl", table.write_ndjson), (".parquet", table.write_parquet)):
        path = to / f"metadata{suffix}"
        write(path)
        yield f"files {suffix}", {"kind": "files", "path": str(path), "root": str(photos)}, {}


def shards(files: list[Path], to: Path) -> Path:
    """Tars of two hundred photographs, a split's apart from another's, labels as text."""
    to.mkdir()
    for split in sorted({file.parts[-3] for file in files}):
        name = SPLIT_NAMES[split.lower()]
        with webdataset.ShardWriter(str(to / f"{name}-%04d.tar"), maxcount=200, verbose=0) as writer:
            for number, file in enumerate(one for one in files if one.parts[-3] == split):
                writer.write({"__key__": f"{number:06}", "jpg": file.read_bytes(), "cls": file.parts[-2]})
    return to


def ingested(name: str, source: dict, parts: dict, asked: argparse.Namespace, to: Path) -> tuple[str, str, int]:
    """Seconds of the clock and of the cores as text, fingerprint of the content, and samples kept."""
    with tempfile.TemporaryDirectory(dir=to) as place:
        recipe = parse_recipe(
            {"dataset": "photos", "source": source, "image": {"rows": asked.rows, "cols": asked.cols}}
            | {"publish": {"to": place}} | parts
        )  # fmt: skip
        began, worked = time.perf_counter(), time.process_time()
        version = run_ingest(recipe).version
        seconds = f"{time.perf_counter() - began:6.2f} s, {time.process_time() - worked:6.2f} s of cores"
        if version is None:
            raise SystemExit(f"{name}: nothing was published")
        return seconds, version.content, version.kept.height


def opening(photos: Path, archive: Path) -> None:
    """Print the seconds of opening and reading every sample, by one thread and by two."""
    for name, source in (("folder", Folder(root=photos)), ("zip", Archive(path=archive, most_bytes=1 << 30))):
        entries = [entry for entry in source.discover().entries if entry.status == "candidate"]

        def read(entry, source=source):
            with source.open(entry) as file:
                return len(file.read())

        for threads in (1, 2):
            with ThreadPoolExecutor(threads) as pool:
                began = time.perf_counter()
                size = sum(pool.map(read, entries, chunksize=16))
                seconds = time.perf_counter() - began
            rate = f"{len(entries) / seconds:,.0f} files/s"
            print(f"open and read, {name}, {threads} threads: {seconds:.3f} s, {size:,} bytes, {rate}")


def main() -> None:
    """As above."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=224)
    parser.add_argument("--cols", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=1)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as to:
        place = Path(to)
        folder = "folder", {"kind": "folder", "path": str(asked.folder)}, IN_FOLDERS
        ingested(*folder, asked, place)  # compiles and warms what all use
        for _ in range(asked.rounds):
            _, expected, _ = ingested(*folder, asked, place)
            made = Path(tempfile.mkdtemp(dir=place))
            for form in (folder, *forms(asked.folder, made), folder):
                seconds, content, kept = ingested(*form, asked, place)
                print(f"{form[0]:14} {seconds}, {kept} kept,  {'equal' if content == expected else 'DIFFERS'}")
        opening(asked.folder, made / "zip_stored.zip")


if __name__ == "__main__":
    main()
