"""The same images in every form that nhwc reads, written by others' libraries: does each come to the same content?

    NHWC_CORPUS=... python benchmarks/forms.py [--photographs 200]

Fashion-MNIST's 10,000 test images, and photographs of clothing at 224 x 224, four fifths train and the rest test. Each
form is ingested, and its `Version.content` (kept pixels, labels and splits; no names) held against the first's. Then
the version is exported in every form, and each export ingested again. Everything is ingested once before it is timed.
Ends with 1 where any content differs.
"""

from __future__ import annotations

import argparse
import gzip
import io
import os
import shutil
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["HF_HUB_OFFLINE"] = "1"

import datasets
import h5py
import numpy as np
import polars as pl
import tensorflow as tf
import tensorflow_datasets as tfds
import webdataset
from array_record.python.array_record_module import ArrayRecordWriter
from PIL import Image

import nhwc
from nhwc.flows.ingest import run_ingest
from nhwc.flows.recipe import parse_recipe
from nhwc.pipelines.sources.idx import Idx
from nhwc.pipelines.version import Version

FASHION = ["T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Boot"]
TRAIN = 0.8


@dataclass(frozen=True, kw_only=True)
class Images:
    """Encoded images, their labels as numbers, and how a recipe asks for them."""

    name: str
    suffix: str
    files: list[bytes]
    labels: list[int]
    classes: list[str]
    image: dict[str, Any]

    @property
    def splits(self) -> dict[str, range]:
        cut = int(TRAIN * len(self.files))
        return {"train": range(cut), "test": range(cut, len(self.files))}


def fashion(corpus: Path) -> Images:
    (stack,) = Idx(path=corpus / "datasets" / "fashion_mnist_idx").read().stacks
    return Images(
        name="fashion",
        suffix="png",
        files=[png(image) for image in stack.images],
        labels=[int(label) for label in stack.labels or ()],
        classes=FASHION,
        image={"rows": 28, "cols": 28, "channels": 1},
    )


def photographs(corpus: Path, count: int) -> Images:
    found = sorted((corpus / "datasets" / "clothing").rglob("*.jpg"))
    chosen = found[:: max(1, len(found) // count)][:count]
    classes = sorted({file.parent.name for file in chosen})
    return Images(
        name="clothing",
        suffix="jpg",
        files=[file.read_bytes() for file in chosen],
        labels=[classes.index(file.parent.name) for file in chosen],
        classes=classes,
        image={"rows": 224, "cols": 224},
    )


def png(image: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(image).save(out, "PNG")
    return out.getvalue()


@dataclass(frozen=True, kw_only=True)
class Form:
    """A form that was written: by whom, its `source:`, and other parts of its recipe."""

    name: str
    by: str
    source: dict[str, Any]
    parts: dict[str, Any]


IN_FOLDERS = {"labels": {"from": "folder"}, "splits": {"from": "folder"}}


def of_files(images: Images, place: Path) -> Iterator[Form]:
    """Folders, archives and tables of the files."""
    folder = place / "folder"
    for split, numbers in images.splits.items():
        for number in numbers:
            file = folder / split / images.classes[images.labels[number]] / f"{number:06}.{images.suffix}"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(images.files[number])
    yield Form(name="folder", by="pathlib", source={"path": str(folder)}, parts=IN_FOLDERS)
    files = sorted(file for file in folder.rglob(f"*.{images.suffix}"))
    rows = [(str(file.relative_to(folder)), file.parent.name, file.parts[-3]) for file in files]
    table = place / "metadata.csv"
    pl.DataFrame(rows, schema=["file_name", "label", "split"], orient="row").write_csv(table)
    yield Form(name="files", by="polars", source={"kind": "files", "path": str(table), "root": str(folder)}, parts={})
    with zipfile.ZipFile(place / "it.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        for file in files:
            packed.write(file, file.relative_to(folder))
    yield Form(
        name="archive, zip", by="zipfile", source={"kind": "archive", "path": str(place / "it.zip")}, parts=IN_FOLDERS
    )
    with tarfile.open(place / "it.tar.gz", "w:gz") as packed:
        for file in files:
            packed.add(file, file.relative_to(folder))
    yield Form(
        name="archive, tar.gz",
        by="tarfile",
        source={"kind": "archive", "path": str(place / "it.tar.gz")},
        parts=IN_FOLDERS,
    )


def of_samples(images: Images, place: Path) -> Iterator[Form]:
    """Tars and tables of samples."""
    (place / "wds").mkdir()
    for split, numbers in images.splits.items():
        pattern = str(place / "wds" / f"{split}-%05d.tar")
        with webdataset.ShardWriter(pattern, maxcount=2000, verbose=0) as writer:
            for number in numbers:
                label = images.classes[images.labels[number]]
                writer.write({"__key__": f"{number:06}", images.suffix: images.files[number], "cls": label})
    yield Form(name="webdataset", by="webdataset", source={"kind": "webdataset", "path": str(place / "wds")}, parts={})
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=images.classes)})
    (place / "parquet").mkdir()
    held = {}
    for split, numbers in images.splits.items():
        columns = {
            "image": [{"bytes": images.files[number], "path": None} for number in numbers],
            "label": [images.labels[number] for number in numbers],
        }
        held[split] = datasets.Dataset.from_dict(columns, features=features)
        held[split].to_parquet(str(place / "parquet" / f"{split}-00000-of-00001.parquet"))
    yield Form(name="parquet", by="datasets", source={"kind": "parquet", "path": str(place / "parquet")}, parts={})
    datasets.DatasetDict(held).save_to_disk(str(place / "arrow"))
    yield Form(name="parquet, arrow", by="datasets", source={"kind": "parquet", "path": str(place / "arrow")}, parts={})


def of_records(images: Images, place: Path) -> Iterator[Form]:
    """TFRecord and TFDS."""
    (place / "examples").mkdir()
    for split, numbers in images.splits.items():
        with tf.io.TFRecordWriter(str(place / "examples" / f"{split}.tfrecord-00000-of-00001")) as writer:
            for number in numbers:
                label = images.labels[number]
                values = {
                    "image/encoded": tf.train.BytesList(value=[images.files[number]]),
                    "image/class/label": tf.train.Int64List(value=[label]),
                    "image/class/text": tf.train.BytesList(value=[images.classes[label].encode()]),
                }
                feature = {
                    name: tf.train.Feature(**{"int64_list" if "label" in name else "bytes_list": value})
                    for name, value in values.items()
                }
                writer.write(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())
    source = {"kind": "tfrecord", "path": str(place / "examples"), "class_name": "image/class/text"}
    yield Form(name="tfrecord", by="tf.io", source=source, parts={})
    for suffix in ("tfrecord", "array_record"):
        folder = place / f"tfds_{suffix}"
        write_tfds(images, folder, suffix)
        yield Form(name=f"tfds, {suffix}", by="tfds", source={"kind": "tfds", "path": str(folder)}, parts={})


def write_tfds(images: Images, folder: Path, suffix: str) -> None:
    folder.mkdir()
    features = tfds.features.FeaturesDict(
        {"image": tfds.features.Image(), "label": tfds.features.ClassLabel(names=images.classes)}
    )
    infos = []
    for split, numbers in images.splits.items():
        template = tfds.core.ShardedFileTemplate(
            data_dir=folder, dataset_name=images.name, split=split, filetype_suffix=suffix
        )
        path = str(template.sharded_filepath(shard_index=0, num_shards=1))
        writer = tf.io.TFRecordWriter(path) if suffix == "tfrecord" else ArrayRecordWriter(path, "group_size:1")
        for number in numbers:
            sample = {"image": images.files[number], "label": images.labels[number]}
            writer.write(features.serialize_example(sample))
        writer.close()
        infos.append(
            tfds.core.SplitInfo(name=split, shard_lengths=[len(numbers)], num_bytes=0, filename_template=template)
        )
    tfds.folder_dataset.write_metadata(
        data_dir=folder, features=features, split_infos=infos, version="1.0.0", check_data=False,
        supervised_keys=("image", "label"),
    )  # fmt: skip


def of_arrays(images: Images, place: Path, version: Version) -> Iterator[Form]:
    """NumPy's and HDF5's arrays of the pixels that the first form came to, and IDX where they are gray."""
    named = {"labels": {"classes": list(version.classes)}}
    arrays = {}
    for split in images.splits:
        source = nhwc.data_source(version.dataset, split=split)
        arrays[split] = source[list(range(len(source)))]
    keyed = {f"{key}_{split}": both[at] for split, both in arrays.items() for at, key in enumerate("xy")}
    np.savez_compressed(place / "it.npz", **keyed)
    yield Form(name="arrays, npz", by="numpy", source={"kind": "arrays", "path": str(place / "it.npz")}, parts=named)
    with h5py.File(place / "it.h5", "w") as file:
        for name, array in keyed.items():
            file.create_dataset(name, data=array, compression="gzip" if name.startswith("x") else None)
        file["class_names"] = version.classes
    yield Form(name="hdf5", by="h5py", source={"kind": "hdf5", "path": str(place / "it.h5")}, parts={})
    if images.image.get("channels") == 1:
        (place / "idx").mkdir()
        for split, stem in (("train", "train"), ("test", "t10k")):
            pixels, labels = arrays[split]
            write_idx(place / "idx" / f"{stem}-images-idx3-ubyte.gz", pixels[..., 0])
            write_idx(place / "idx" / f"{stem}-labels-idx1-ubyte.gz", labels.astype(np.uint8))
        yield Form(name="idx", by="gzip", source={"kind": "idx", "path": str(place / "idx")}, parts=named)


def write_idx(file: Path, array: np.ndarray) -> None:
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    file.write_bytes(gzip.compress(header + array.tobytes(), 1))


EXPORTS: dict[str, Callable[[Path], tuple[dict[str, Any], dict[str, Any]]]] = {
    "tfds": lambda out: ({"kind": "tfds", "path": str(out)}, {}),
    "tfrecord": lambda out: ({"kind": "tfrecord", "path": str(out), "class_name": "image/class/text"}, {}),
    "webdataset": lambda out: ({"kind": "webdataset", "path": str(out)}, {}),
    "parquet": lambda out: ({"kind": "parquet", "path": str(out / "data")}, {}),
    "npz": lambda out: ({"kind": "arrays", "path": str(out / "arrays.npz")}, {}),
    "folder": lambda out: ({"path": str(out)}, IN_FOLDERS),
}
"""What each export is read back as."""


def of_exports(images: Images, place: Path, version: Version) -> Iterator[Form]:
    for to, read_back in EXPORTS.items():
        out = place / f"export_{to}"
        nhwc.export(version.dataset, to=to, out=out)
        source, parts = read_back(out)
        if to == "webdataset":
            parts = {"labels": {"classes": list(version.classes)}}
        yield Form(name=f"export to {to}", by="nhwc", source=source, parts=parts)


def ingested(images: Images, form: Form, place: Path) -> tuple[float, Version]:
    """Seconds of the second ingest, and its version."""
    for run in ("warm", "timed"):
        to = place / "out" / f"{form.name} {run}"
        plain = {"dataset": images.name, "source": form.source, "image": images.image, "publish": {"to": str(to)}}
        recipe = parse_recipe(plain | form.parts)
        began = time.perf_counter()
        version = run_ingest(recipe).version
        seconds = time.perf_counter() - began
        if version is None:
            raise SystemExit(f"{form.name}: nothing was published")
    return seconds, version


def compared(images: Images, place: Path) -> Iterator[tuple[Form, float, Version]]:
    """Each form as soon as it is ingested; what the first came to is what arrays and exports are made of."""
    first = None
    for form in of_files(images, place):
        seconds, version = ingested(images, form, place)
        first = first or version
        yield form, seconds, version
    assert first is not None
    makers = (
        of_samples(images, place),
        of_records(images, place),
        of_arrays(images, place, first),
        of_exports(images, place, first),
    )
    for maker in makers:
        for form in maker:
            yield form, *ingested(images, form, place)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photographs", type=int, default=200)
    asked = parser.parse_args()
    corpus = Path(os.environ["NHWC_CORPUS"])
    datasets.disable_progress_bars()
    print("| images | form | written by | ingest, s | content |\n| --- | --- | --- | --- | --- |")
    differ = 0
    for images in (fashion(corpus), photographs(corpus, asked.photographs)):
        place = Path(tempfile.mkdtemp())
        try:
            expected = None
            for form, seconds, version in compared(images, place):
                expected = expected or version.content
                said = "equal" if version.content == expected else "DIFFERS"
                differ += said != "equal"
                counted = f"{version.kept.height:,} {images.name}"
                print(f"| {counted} | {form.name} | {form.by} | {seconds:.1f} | {said} |", flush=True)
        finally:
            shutil.rmtree(place)
    sys.exit(1 if differ else 0)


if __name__ == "__main__":
    main()
