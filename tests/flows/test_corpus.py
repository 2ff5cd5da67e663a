"""Real datasets and a corpus of breaking images, each as one ingest. Needs NHWC_CORPUS."""

import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import polars as pl
import psutil
import pytest
import yaml

import nhwc
from nhwc.flows.ingest import run_ingest
from nhwc.flows.recipe import Recipe, parse_recipe
from nhwc.pipelines.image import image_stages, prepare
from nhwc.pipelines.store import open_shard
from nhwc.pipelines.version import Version

MOST_ALONE, MOST_RESIDENT = 700_000_000, 2_500_000_000
"""Bytes that an ingest of the breaking files may take: itself, of which its libraries are 200 MB, and with the children
that it decodes in, two of which come to need TensorFlow."""
ANY = {"bad_fraction": 1, "bad_fraction_per_class": 1}


def recipe_of(source: Path, into: Path, **parts: Any) -> dict[str, Any]:
    """A recipe as plain values."""
    plain = {
        "dataset": "corpus",
        "source": {"path": str(source)},
        "image": {"rows": 64, "cols": 48},
        "publish": {"to": str(into)},
    }
    return plain | parts


def assert_stored_as_alone(version: Version, recipe: Recipe) -> None:
    """Every kept sample's stored pixels are what the stages give for its file alone."""
    stages = image_stages(recipe.image)
    views = {name: open_shard(version.shard_path(name)).images for name in version.kept["shard"].unique()}
    for path, sample_id, shard, row in version.kept.select("path", "sample_id", "shard", "row").iter_rows():
        file = recipe.source_path / path
        alone = prepare(file.read_bytes(), suffix=file.suffix, recipe=recipe.image, stages=stages, sample_id=sample_id)
        np.testing.assert_array_equal(alone.array, views[shard][row], err_msg=path)


def assert_loads_each_sample_once(version: Version) -> None:
    """A shuffled epoch yields every kept sample once, with the label of its folder."""
    by_id = {row["sample_id"]: row for row in version.kept.iter_rows(named=True)}
    seen: list[str] = []
    for _, labels, ids in nhwc.load(version.folder, split="all", batch_size=64, shuffle=True, with_ids=True):
        for label, sample_id in zip(labels.numpy(), ids.numpy(), strict=True):
            row = by_id[sample_id.decode()]
            assert row["label"] == version.classes[label] == Path(row["path"]).parent.name
            seen.append(sample_id.decode())
    assert sorted(by_id) == sorted(seen)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("clothing", {"splits": {"from": "folder"}}),
        ("sign_digits", {"splits": {"train": 0.8, "test": 0.2}}),
        ("flowers", {"image": {"rows": 50, "cols": 60, "resize": {"method": "area", "fit": "crop"}}}),
        ("clipart", {"image": {"rows": 32, "cols": 32, "channels": 4}}),
        ("cells_tiff", {"image": {"rows": 64, "cols": 64, "channels": 1, "dtype": "uint16", "bit_depth": "keep"}}),
    ],
)
def test_real_datasets_ingest_whole(corpus: Path, tmp_path: Path, name: str, parts: dict[str, Any]) -> None:
    """Counts equal images.csv, pixels equal the file's alone, and loading gives each sample once."""
    source = corpus / "datasets" / name
    recipe = parse_recipe(recipe_of(source, tmp_path, **parts))
    ingested = run_ingest(recipe)
    images = pl.read_csv(source / "images.csv")
    assert ingested.version is not None
    assert sorted(images["path"]) == ingested.version.kept["path"].to_list()
    assert dict(images.select("path", "sha256").iter_rows()) == dict(
        ingested.version.kept.select("path", "sha256").iter_rows()
    )
    assert_stored_as_alone(ingested.version, recipe)
    assert_loads_each_sample_once(ingested.version)


def test_the_splits_of_clothing_are_its_folders(corpus: Path, tmp_path: Path) -> None:
    """train 240, validation 341, test 372, each of ten classes."""
    plain = recipe_of(
        corpus / "datasets" / "clothing", tmp_path, splits={"from": "folder"}, image={"rows": 8, "cols": 8}
    )
    version = nhwc.ingest(parse_recipe(plain), direct=True)
    assert {"train": 240, "validation": 341, "test": 372} == dict(version.kept["split"].value_counts().iter_rows())
    assert 10 == len(version.classes)


FITTING = {
    "empty_file": {"empty_file"},
    "truncated": {"truncated", "undecodable"},
    "not_an_image": {"not_an_image"},
    "wrong_extension": {"wrong_extension"},
    "litter": {"litter", "hidden", "other_file"},
    "hidden_file": {"hidden"},
    "cmyk": {"cmyk"},
    "alpha_channel": {"alpha"},
    "sixteen_bit": {"sixteen_bit"},
    "exif_orientation": {"exif_orientation"},
    "oversize": {"oversize"},
    "no_class": {"no_class"},
    "nested": {"nested"},
    "grayscale": {"gray"},
    "palette": {"palette"},
}
"""The codes that fit each fault of messy_a that a single file shows."""


def test_every_fault_of_the_messy_folder_is_found(corpus: Path, tmp_path: Path) -> None:
    """What must be rejected is quarantined, what must be ignored is skipped, what is sound is kept, and what must be
    reported is reported, each by a fitting code."""
    source = corpus / "datasets" / "messy_a"
    plain = recipe_of(source / "data", tmp_path, splits={"from": "folder"}, checks=ANY)
    ingested = run_ingest(parse_recipe(plain))
    rows = {row["path"]: row for row in ingested.manifest.iter_rows(named=True)}
    truth = pl.read_csv(source / "truth.csv", infer_schema=False)
    assert sorted(truth["path"]) == sorted(rows)
    status_of = {"reject": {"quarantined"}, "ignore": {"skipped"}, "accept": {"kept"}}
    for path, fault, expect in truth.select("path", "fault", "expect").iter_rows():
        row = rows[path]
        assert row["status"] in status_of.get(expect, {"kept", "quarantined", "skipped"}), (path, row["code"])
        if fault in FITTING:
            codes = {row["code"], *(row["notes"] or ())}
            assert FITTING[fault] & codes, (path, fault, codes)
        if fault == "none":
            assert [] == row["notes"], path
    findings = {(str(finding.code), finding.found) for finding in ingested.findings}
    assert {("empty_class", "none in empty_class"), ("case_twins", "Hat, hat")} == findings


def has_begun(child: psutil.Process) -> bool:
    """Whether it runs a program of its own. Until then its memory is its parent's (vfork), which counts once:
    TensorFlow, as it is imported, starts `uname`."""
    parent = child.parent()
    return parent is not None and parent.cmdline() != child.cmdline()


def run_watched(command: list[str], *, seconds: float) -> tuple[int, str, int, int]:
    """Exit status, output, and the most resident memory of the process alone and of all, children too, in bytes."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        watched, alone, most, until = psutil.Process(process.pid), 0, 0, time.monotonic() + seconds
        while process.poll() is None:
            assert time.monotonic() < until, "it hangs"
            try:
                family = [watched, *filter(has_begun, watched.children(recursive=True))]
                sizes = [one.memory_info().rss for one in family]
                alone, most = max(alone, sizes[0]), max(most, sum(sizes))
            except psutil.NoSuchProcess:
                pass
            time.sleep(0.01)
        assert process.stdout is not None
        return process.returncode, process.stdout.read(), alone, most


def nhwc_ingest(tmp_path: Path, plain: dict[str, Any]) -> list[str]:
    """The command that ingests a recipe, written to a file."""
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(plain))
    return [sys.executable, "-m", "nhwc", "ingest", str(path), "--direct"]


@pytest.mark.parametrize("channels", [3, 4])
def test_the_breaking_corpus_is_one_ingest(corpus: Path, tmp_path: Path, channels: int) -> None:
    """No crash, no hang, bounded memory, every file accounted for, nothing on the terminal but the summary."""
    source = corpus / "breaking"
    image = {"rows": 64, "cols": 48, "channels": channels}
    plain = recipe_of(source, tmp_path / "out", image=image, checks=ANY)
    status, output, alone, most = run_watched(nhwc_ingest(tmp_path, plain), seconds=300)
    assert 0 == status, output
    assert output.startswith("corpus: published: version 1.0.0"), output
    assert (alone < MOST_ALONE, most < MOST_RESIDENT) == (True, True), (alone, most)
    version = Version.open(tmp_path / "out" / "corpus")
    files = {os.fsencode(path.relative_to(source)) for path in source.rglob("*") if path.is_file()}
    assert {name.decode("utf-8", "backslashreplace") for name in files} == set(version.manifest["path"])
    assert_stored_as_alone(version, parse_recipe(plain))


def test_the_file_system_corpus_is_one_ingest(corpus: Path, tmp_path: Path) -> None:
    """Links, loops, FIFOs and hostile names neither hang nor crash a run; only whole files are kept."""
    with tarfile.open(corpus / "breaking" / "fs_cases.tar") as tar:
        tar.extractall(tmp_path, filter="fully_trusted")
    source = tmp_path / "fs_a"
    ingested = run_ingest(parse_recipe(recipe_of(source, tmp_path / "out", checks=ANY)))
    cases = pl.read_csv(corpus / "breaking" / "fs_cases.csv")
    assert sorted(cases["path"]) == sorted(ingested.manifest["path"])
    whole = cases.filter(pl.col("kind").is_in(["file", "hard link to hard1.jpg"]) & (pl.col("path") != "dog/empty.jpg"))
    kept = ingested.manifest.filter(pl.col("status") == "kept")
    assert sorted(whole["path"]) == sorted(kept["path"])


def wait_for(condition: Callable[[], bool], process: "subprocess.Popen[bytes]") -> None:
    """Until the condition holds or the process has ended."""
    while not condition() and process.poll() is None:
        time.sleep(0.005)


@pytest.mark.parametrize("delay", [0.0, 0.9])
def test_a_killed_run_ends_in_the_same_tree(corpus: Path, tmp_path: Path, tree: Any, delay: float) -> None:
    """kill -9 so long after the first shard is begun, then the same command: the tree of an undisturbed run. Readers
    never see a part of a version."""
    image = {"rows": 224, "cols": 224}
    plain = recipe_of(corpus / "datasets" / "clothing", Path("out"), splits={"from": "folder"}, image=image)
    trees = []
    for folder in (tmp_path / "calm", tmp_path / "killed"):
        folder.mkdir()
        command = nhwc_ingest(folder, plain)
        dataset = folder / "out" / "corpus"
        if folder.name == "killed":
            with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
                wait_for((dataset / ".staging").exists, process)
                time.sleep(delay)
                process.send_signal(signal.SIGKILL)
            if (dataset / "latest").exists():
                assert nhwc.verify(dataset).passed
        subprocess.run(command, check=True, capture_output=True)
        trees.append(tree(dataset))
    assert trees[0] == trees[1]


@pytest.mark.parametrize(
    ("name", "channels", "least"), [("sign_digits", 3, 0.7), ("sign_digits", 1, 0.7), ("clipart", 4, 0.3)]
)
def test_batches_train_a_conv2d(corpus: Path, tmp_path: Path, name: str, channels: int, least: float) -> None:
    """Colour, gray and four channels go into Conv2D as they are, and a held-out split is learnt."""
    plain = recipe_of(
        corpus / "datasets" / name,
        tmp_path,
        image={"rows": 48, "cols": 48, "channels": channels},
        splits={"train": 0.8, "test": 0.2, "seed": 7},
    )
    version = nhwc.ingest(parse_recipe(plain), direct=True)
    train = nhwc.load(version.folder, split="train", batch_size=16, shuffle=True, seed=7, scale="signed")
    test = nhwc.load(version.folder, split="test", batch_size=32, scale="signed")
    keras.utils.set_random_seed(7)
    model = keras.Sequential(
        [
            keras.Input((48, 48, channels)),
            keras.layers.Conv2D(24, 5, strides=2, activation="relu"),
            keras.layers.Conv2D(48, 3, strides=2, activation="relu"),
            keras.layers.Conv2D(64, 3, strides=2, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dense(len(version.classes), activation="softmax"),
        ]
    )
    model.compile(keras.optimizers.Adam(2e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(train, epochs=8, shuffle=False, verbose=0)
    _, accuracy = model.evaluate(test, verbose=0)
    assert accuracy > least
