"""Exports: each read back by the reader it is for, equal; killed and gone on with; refused where they must be."""

import csv
import errno
import gc
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import datasets
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image

import nhwc
from nhwc.flows import export as exporting
from nhwc.flows.export import FORMS, export
from nhwc.flows.export.names import folder_names
from nhwc.flows.export.place import Workplace
from nhwc.flows.recipe import parse_recipe
from nhwc.pipelines.version import Version

Tree = Callable[[Path], dict[str, str]]
Run = Callable[..., tuple[int, str, str]]
Samples = dict[str, tuple[np.ndarray[Any, Any], int, str]]
"""By id: image (rows, cols, channels), label, class name."""

KINDS: dict[str, dict[str, Any]] = {
    "gray": {"channels": 1},
    "rgb": {"channels": 3},
    "rgba": {"channels": 4},
    "uint16": {"channels": 1, "dtype": "uint16", "bit_depth": "keep"},
    "float32": {"channels": 3, "dtype": "float32"},
    "encoded": {"channels": 3, "storage": "encoded"},
}
ODD_CLASSES = ("../../up", "a/b", ".hidden", "Hat", "hat", "Größe 2", "100%", "~", "x" * 150, "end.", "naïve\n")
SPLITS = ("train", "test")


def published(folder: Path, image: dict[str, Any], labels: dict[str, Any]) -> Version:
    recipe = {
        "dataset": "Pets-2",
        "source": {"path": "photos"},
        "image": {"rows": 4, "cols": 5} | image,
        "labels": labels,
        "splits": {"train": 0.6, "test": 0.4},
        "publish": {"to": "datasets"},
    }
    return nhwc.ingest(parse_recipe(recipe, base=folder), direct=True)


def write_photos(folder: Path, names: list[str], *, bits: int = 8) -> None:
    for number, name in enumerate(names):
        pixels = np.random.default_rng(number).integers(0, 2**bits, (6, 9, 4 if bits == 8 else 1))
        path = folder / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8) if bits == 8 else pixels[..., 0].astype(np.uint16)).save(path)


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Version]:
    """The same photographs as versions of several kinds; made when first asked for."""
    known: dict[str, Version] = {}

    def of(kind: str) -> Version:
        if kind not in known:
            folder = tmp_path_factory.mktemp(kind)
            if kind == "odd":
                write_photos(folder, [f"{number}.png" for number in range(22)])
                lines = [f"{number}.png," + json.dumps(ODD_CLASSES[number // 2]) for number in range(22)]
                (folder / "labels.csv").write_text("\n".join(["path,label", *lines]))
                known[kind] = published(folder, {}, {"from": "file", "file": "labels.csv"})
            else:
                names = [f"{label}/{number}.png" for label in ("cat", "not sure") for number in range(7)]
                write_photos(folder, names, bits=16 if kind == "uint16" else 8)
                known[kind] = published(folder, KINDS[kind], {"from": "folder"})
        return known[kind]

    return of


@pytest.fixture
def version(versions: Callable[[str], Version], tmp_path: Path) -> Version:
    """A version of RGB images of this test's own."""
    shared = versions("rgb")
    shutil.copytree(shared.dataset, tmp_path / "datasets" / shared.dataset.name)
    return Version.open(tmp_path / "datasets" / shared.dataset.name)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three samples a part: nine in train are three parts."""
    monkeypatch.setattr(exporting, "PART_SAMPLES", 3)


def image_of(value: Any) -> np.ndarray[Any, Any]:
    image = np.asarray(value)
    return image if image.ndim == 3 else image[..., None]


@contextmanager
def collected() -> Iterator[None]:
    """What is left to the garbage collector meanwhile, as webdataset leaves its files, is taken without a word."""
    gc.freeze()  # so that it has little to look at
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield
        gc.collect()
    gc.unfreeze()


def read_tfds(out: Path, split: str) -> Samples:
    builder = tfds.builder_from_directory(out)
    names = builder.info.features["label"].names
    read = builder.as_data_source if list(out.glob("*.array_record-*")) else builder.as_dataset
    assert len(read(split=f"{split}[:50%]")) == round(builder.info.splits[split].num_examples / 2)
    found = tfds.as_numpy(read(split=split))
    return {one["sample_id"].decode(): (image_of(one["image"]), one["label"], names[one["label"]]) for one in found}


def read_tfrecord(out: Path, split: str) -> Samples:
    found = {}
    for record in tf.data.TFRecordDataset(sorted(map(str, out.glob(f"{split}-*")))).as_numpy_iterator():
        one = {
            name: (feature.bytes_list.value or feature.int64_list.value)[0]
            for name, feature in tf.train.Example.FromString(record).features.feature.items()
        }
        shape = [one[f"image/{name}"] for name in ("height", "width", "channels")]
        if "image/raw" in one:
            image = np.frombuffer(one["image/raw"], one["image/dtype"].decode()).reshape(shape)
        else:
            image = tf.io.decode_png(one["image/encoded"]).numpy()
        assert list(image.shape) == shape
        found[one["image/key"].decode()] = image, one["image/class/label"], one["image/class/text"].decode()
    return found


def read_webdataset(out: Path, split: str) -> Samples:
    import webdataset  # noqa: PLC0415  slow

    names = json.loads((out / "classes.json").read_text())
    mode = {1: "pill", 3: "pilrgb", 4: "pilrgba"}[
        json.loads((out / "export.json").read_text())["image"]["axes"][2]["size"]
    ]
    files = sorted(map(str, out.glob(f"{split}-*.tar")))
    with collected():
        found = list(webdataset.WebDataset(files, shardshuffle=False).decode(mode))
    return {
        one["__key__"]: (image_of(one.get("png", one.get("npy"))), one["cls"], names[one["cls"]])
        for one in found
        if one["json"]["label"] == names[one["cls"]] and one["json"]["split"] == split
    }


def read_parquet(out: Path, split: str) -> Samples:
    found = datasets.load_dataset(str(out), cache_dir=str(out.parent / "cache"), split=split)
    names, image = found.features["label"].names, found.features["image"]
    if isinstance(image, datasets.Image):
        return {one["sample_id"]: (image_of(one["image"]), one["label"], names[one["label"]]) for one in found}
    return {
        str(one["sample_id"]): (one["image"].astype(image.dtype), one["label"], names[one["label"]])
        for one in found.with_format("numpy")
    }


def read_npz(out: Path, split: str) -> Samples:
    with np.load(out / "arrays.npz", allow_pickle=False) as arrays:
        parts = arrays[f"ids_{split}"], arrays[f"images_{split}"], arrays[f"labels_{split}"]
        names = arrays["classes"]
    return {str(key): (image, label, str(names[label])) for key, image, label in zip(*parts, strict=True)}


def read_folder(out: Path, split: str) -> Samples:
    folders = {one["name"]: one["folder"] for one in json.loads((out / "classes.json").read_text())}
    found = {}
    for table in sorted(out.glob(f"samples-{split}-*.csv")):
        for one in csv.DictReader(table.read_text().splitlines(keepends=True)):
            file = out / one["file"]
            assert file.parent == out / split / folders[one["label"]]
            image = np.load(file, allow_pickle=False) if file.suffix == ".npy" else image_of(Image.open(file))
            found[one["sample_id"]] = image, int(one["label_id"]), one["label"]
    return found


def read_croissant(out: Path, split: str) -> Samples:
    import mlcroissant  # noqa: PLC0415  slow

    described = mlcroissant.Dataset(jsonld=str(out / "croissant.json"))  # what `mlcroissant validate` does
    names = {one["classes/label"]: one["classes/name"] for one in described.records("classes")}
    assert {one["splits/name"] for one in described.records("splits")} == set(SPLITS)
    dtype = described.metadata.record_sets[0].fields[0].data_types
    found = {}
    for one in described.records("samples"):
        if one["samples/split"].decode() == split:
            image = one["samples/image"]
            array = image_of(image) if isinstance(image, Image.Image) else np.array(image, np.float64)
            assert dtype
            found[one["samples/sample_id"].decode()] = array, one["samples/label"], names[one["samples/label"]].decode()
    return found


READERS: dict[str, Callable[[Path, str], Samples]] = {
    "tfds": read_tfds,
    "tfrecord": read_tfrecord,
    "webdataset": read_webdataset,
    "parquet": read_parquet,
    "npz": read_npz,
    "folder": read_folder,
}


def assert_equal(version: Version, read: Callable[[Path, str], Samples], out: Path) -> None:
    """That all samples of all splits come back as they are in the version: pixels, dtypes, labels, names."""
    for split in SPLITS:
        found = read(out, split)
        rows = version.kept.filter(split=split)
        assert set(rows["sample_id"]) == set(found)
        for row in rows.iter_rows(named=True):
            image, label, name = found[row["sample_id"]]
            assert version.contract.sizes == image.shape
            assert row["pixel_hash"] == hashlib.sha256(image.astype(version.contract.dtypes[0]).tobytes()).hexdigest()
            assert (row["label_id"], row["label"]) == (label, name)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("to", FORMS)
def test_every_sample_comes_back(versions: Callable[[str], Version], tmp_path: Path, to: str, kind: str) -> None:
    """By the reader that the form is for, whatever images are; a split without samples is not there."""
    version = versions(kind)
    exported = export(version.dataset, to=to, out=tmp_path / "out")
    assert (True, {"train": 8, "test": 6}) == (exported.is_new, exported.splits)
    assert_equal(version, READERS[to], tmp_path / "out")
    assert not [path for path in (tmp_path / "out").rglob("*validation*")]
