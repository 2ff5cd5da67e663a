"""Real images from files of records: written by TensorFlow's and TFDS's own writers, ingested, and compared.

    NHWC_CORPUS=... python benchmarks/record_sources.py

Fashion-MNIST's 10,000 test images from IDX, and 200 photographs of clothing from folders, against the same images in
TFRecords of plain Examples and in datasets of TFDS, TFRecord and ArrayRecord. For each: records discovered a second,
seconds of the whole ingest, and whether it comes to the same `Version.content`. Everything is ingested once before,
so that nothing is compiled or read from the disk for the first time.
"""

from __future__ import annotations

import io
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import tensorflow as tf
import tensorflow_datasets as tfds
from array_record.python.array_record_module import ArrayRecordWriter
from PIL import Image

from nhwc.flows.ingest import run_ingest
from nhwc.flows.making import source_of
from nhwc.flows.recipe import Recipe, parse_recipe
from nhwc.pipelines.sources.idx import Idx

PHOTOGRAPHS = 200
CLASSES = ["T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Boot"]


@dataclass(frozen=True, kw_only=True)
class Images:
    """Encoded images with their labels, all of one split; and where they come from, as a recipe's source."""

    name: str
    split: str
    files: tuple[bytes, ...]
    labels: tuple[str, ...]
    classes: list[str]
    image: dict[str, Any]
    source: dict[str, Any]


def fashion(corpus: Path) -> Images:
    folder = corpus / "datasets" / "fashion_mnist_idx"
    (stack,) = Idx(path=folder).read().stacks
    labels = tuple(CLASSES[int(label)] for label in stack.labels or ())
    return Images(
        name="fashion",
        split="test",
        files=tuple(map(png, stack.images)),
        labels=labels,
        classes=CLASSES,
        image={"rows": 28, "cols": 28, "channels": 1},
        source={"kind": "idx", "path": str(folder)},
    )


def photographs(corpus: Path, place: Path) -> Images:
    found = sorted(file for file in (corpus / "datasets" / "clothing").rglob("*.jpg"))
    chosen = found[:: len(found) // PHOTOGRAPHS][:PHOTOGRAPHS]
    for file in chosen:
        (place / file.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(file, place / file.parent.name)
    return Images(
        name="clothing",
        split="train",
        files=tuple(file.read_bytes() for file in chosen),
        labels=tuple(file.parent.name for file in chosen),
        classes=sorted({file.parent.name for file in chosen}),
        image={"rows": 224, "cols": 224},
        source={"path": str(place)},
    )


def png(image: Any) -> bytes:
    out = io.BytesIO()
    Image.fromarray(image).save(out, "PNG")
    return out.getvalue()


def write_examples(images: Images, folder: Path) -> dict[str, Any]:
    folder.mkdir(parents=True)
    with tf.io.TFRecordWriter(str(folder / f"{images.split}.tfrecord-00000-of-00001")) as writer:
        for file, label in zip(images.files, images.labels, strict=True):
            held = {
                "image/encoded": tf.train.Feature(bytes_list=tf.train.BytesList(value=[file])),
                "image/class/label": tf.train.Feature(
                    int64_list=tf.train.Int64List(value=[images.classes.index(label)])
                ),
                "image/class/text": tf.train.Feature(bytes_list=tf.train.BytesList(value=[label.encode()])),
            }
            writer.write(tf.train.Example(features=tf.train.Features(feature=held)).SerializeToString())
    return {"kind": "tfrecord", "path": str(folder), "class_name": "image/class/text"}


def write_tfds(images: Images, folder: Path, format: str) -> dict[str, Any]:
    folder.mkdir(parents=True)
    features = tfds.features.FeaturesDict(
        {"image": tfds.features.Image(), "label": tfds.features.ClassLabel(names=images.classes)}
    )
    records = [
        features.serialize_example({"image": file, "label": label})
        for file, label in zip(images.files, images.labels, strict=True)
    ]
    template = tfds.core.ShardedFileTemplate(
        data_dir=folder, dataset_name=images.name, split=images.split, filetype_suffix=format
    )
    write_records(str(template.sharded_filepath(shard_index=0, num_shards=1)), records, format)
    split = tfds.core.SplitInfo(
        name=images.split, shard_lengths=[len(records)], num_bytes=0, filename_template=template
    )
    tfds.folder_dataset.write_metadata(
        data_dir=folder, features=features, split_infos=[split], version="1.0.0", check_data=False,
        supervised_keys=("image", "label"),
    )  # fmt: skip
    return {"kind": "tfds", "path": str(folder)}


def write_records(file: str, records: Iterable[bytes], format: str) -> None:
    writer = tf.io.TFRecordWriter(file) if format == "tfrecord" else ArrayRecordWriter(file, "group_size:1")
    for record in records:
        writer.write(record)
    writer.close()


def sources(images: Images, place: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    yield images.source.get("kind", "folder"), images.source
    yield "tfrecord", write_examples(images, place / "examples")
    yield "tfds, tfrecord", write_tfds(images, place / "tfrecord", "tfrecord")
    yield "tfds, array_record", write_tfds(images, place / "array_record", "array_record")


def recipe_for(images: Images, source: dict[str, Any], base: Path) -> Recipe:
    plain = {"dataset": images.name, "source": source, "image": images.image, "publish": {"to": "out"}}
    if source.get("kind") == "idx":
        plain["labels"] = {"classes": images.classes}
    return parse_recipe(plain, base=base)


def measured(images: Images, source: dict[str, Any], place: Path) -> tuple[float, float, str]:
    """Records discovered a second, seconds of an ingest, and the content of its version."""
    for run in ("warm", "timed"):
        recipe = recipe_for(images, source, place / run)
        start = time.perf_counter()
        entries = source_of(recipe).discover().entries
        found = time.perf_counter()
        version = run_ingest(recipe).version
        ended = time.perf_counter()
    assert version is not None
    return len(entries) / (found - start), ended - found, version.content


def main() -> None:
    corpus = Path(os.environ["NHWC_CORPUS"])
    print("| images | source | discovered/s | ingest, s | content |\n| --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for images in (fashion(corpus), photographs(corpus, place / "photos")):
            first = None
            for number, (name, source) in enumerate(sources(images, place / images.name)):
                each, seconds, content = measured(images, source, place / f"{images.name}-{number}")
                first = first or content
                said = "the first" if number == 0 else "equal" if content == first else "DIFFERENT"
                print(f"| {len(images.files):,} {images.name} | {name} | {each:,.0f} | {seconds:.1f} | {said} |")


if __name__ == "__main__":
    main()
