"""The main job on real images that scikit-learn ships: digits as image files, with broken ones put among them."""

from __future__ import annotations

import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from nhwc.flows.deciding import Ingested
from nhwc.flows.gate import GateOptions, judge_subject, open_subject
from nhwc.flows.ingest import run_ingest
from nhwc.flows.publish import REPORT
from nhwc.flows.recipe import Recipe, read_recipe
from nhwc.flows.summary import text
from nhwc.flows.verdict_text import as_text
from nhwc.pipelines.batch import batch_contract
from nhwc.pipelines.cast import cast_contract
from nhwc.pipelines.image import load_image
from nhwc.pipelines.load import load
from nhwc.validators.errors import DataError, MachineError, RecipeError

Say = Callable[[str], object]
EPOCHS = 5
BATCH = 32

RECIPE = """\
dataset: digits
source: {kind: folder, path: images/}
image: {rows: 8, cols: 8, channels: 1}
splits: {train: 0.8, test: 0.2, seed: 7}
checks: {thresholds: {low_information: 1.5}}  # 8 x 8 pixels hold less than a photograph
publish: {to: datasets/}
"""


def run_demo(folder: Path, *, direct: bool, say: Say) -> None:
    """Write, ingest, gate, load and train; `say` is told each step with its real output.

    Raises RecipeError where the folder holds something else, MachineError where scikit-learn is not installed, and
    DataError where the ingest is refused, as it may be by an edited recipe.
    """
    photographs = write_images(folder)
    recipe_file = folder / "digits.yaml"
    if not recipe_file.exists():  # its user may have edited it
        recipe_file.write_text(RECIPE)
    say(f"1. wrote 1,797 real digits of 8 x 8 pixels as PNG files to {folder / 'images'}, and 5 broken files\n")
    recipe = read_recipe(recipe_file)
    say(f"2. nhwc ingest {recipe_file}")
    ingested = _ingest(recipe, direct=direct)
    say(text(ingested, recipe.dataset) + "\n")
    if ingested.version is None:  # refused: its user may have edited the recipe
        raise DataError(ingested.verdict)
    say(f"3. nhwc gate {recipe.dataset_path}")
    subject = open_subject(recipe.dataset_path, GateOptions())
    say(as_text(judge_subject(subject, GateOptions()), subject) + "\n")
    image = ingested.version.contract
    say(f"4. nhwc.load({str(recipe.dataset_path)!r}, split='train', batch_size={BATCH}, shuffle=True, scale='unit')")
    train = load(recipe.dataset_path, split="train", batch_size=BATCH, shuffle=True, seed=7, scale="unit")
    say(f"   contract of a batch: {batch_contract(cast_contract(image, scale='unit'), samples=BATCH)}")
    for images, labels in train.take(3):
        pixels = images.numpy()
        span = f"[{pixels.min():g}, {pixels.max():g}]"
        say(f"   {pixels.dtype.name}{pixels.shape} in {span}, labels {labels.numpy()[:8]}...")
    say("\n5. a small Conv2D takes the batches as they are")
    _train(train, load(recipe.dataset_path, split="test", batch_size=BATCH, scale="unit"), say)
    shapes = {path.name: load_image(path, target_size=(100, 100)).shape for path in photographs}
    said = ", ".join(f"{name} is {shape}" for name, shape in shapes.items())
    say(f"\n6. nhwc.load_image(photograph, target_size=(100, 100)): {said}")
    say(f"\nnext: open {ingested.place / REPORT} in a browser, or edit {recipe_file} and ingest again")


def write_images(folder: Path) -> list[Path]:
    """Digits as class folders of PNG files with five broken ones, and two photographs; the photographs' paths."""
    try:
        from sklearn import datasets  # noqa: PLC0415  an extra, which only the demo needs
    except ImportError as error:
        raise MachineError(
            "scikit-learn is missing, which ships the demo's images: pip install 'nhwc[demo]'"
        ) from error
    marker = folder / "made-by-nhwc-demo"
    if folder.exists() and not marker.exists():
        raise RecipeError(
            "demo", (f"found {folder}, which the demo did not make, expected a new folder: name one with --to",)
        )
    folder.mkdir(exist_ok=True)
    marker.touch()
    for made in ("images", "photographs", "datasets"):
        shutil.rmtree(folder / made, ignore_errors=True)
    images = folder / "images"
    digits = datasets.load_digits()
    for number, (pixels, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        path = images / str(label) / f"{number:04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.rint(pixels * 255 / 16).astype(np.uint8)).save(path)
    _write_broken(images)
    return _write_photographs(datasets, folder / "photographs")


def _write_broken(images: Path) -> None:
    whole = (images / "0" / "0000.png").read_bytes()
    (images / "0" / "half.png").write_bytes(whole[: len(whole) // 2])
    (images / "3" / "empty.png").touch()
    (images / "5" / "page.png").write_text("<!doctype html><title>404 not found</title>")
    (images / "7" / "bomb.png").write_bytes(_declaring(whole, rows=60_000, cols=60_000))
    (images / "stray.png").write_bytes(whole)


def _declaring(png: bytes, *, rows: int, cols: int) -> bytes:
    """The same PNG with a header that claims another size, its checksum right."""
    header = b"IHDR" + struct.pack(">II", cols, rows) + png[24:29]
    return png[:12] + header + struct.pack(">I", zlib.crc32(header)) + png[33:]


def _write_photographs(datasets: Any, folder: Path) -> list[Path]:
    folder.mkdir()
    shipped = datasets.load_sample_images()
    paths = [folder / Path(name).name for name in shipped.filenames]
    for path, pixels in zip(paths, shipped.images, strict=True):
        Image.fromarray(pixels).save(path)
    return paths


def _ingest(recipe: Recipe, *, direct: bool) -> Ingested:
    if direct:
        return run_ingest(recipe)
    from nhwc.flows.prefect_run import ingest_with_prefect  # noqa: PLC0415  starting Prefect takes seconds

    return ingest_with_prefect(recipe)


def _train(train: Any, test: Any, say: Say) -> None:
    """Train a small convolutional network and say its accuracy on the test split after each epoch."""
    import keras  # noqa: PLC0415  wanted last, after the images are there

    keras.utils.set_random_seed(7)
    model = keras.Sequential(
        [
            keras.Input(train.element_spec[0].shape[1:]),
            keras.layers.Conv2D(32, 3, activation="relu"),
            keras.layers.Conv2D(64, 3, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    for epoch in range(1, EPOCHS + 1):
        model.fit(train, shuffle=False, verbose=0)  # nhwc has shuffled
        _, accuracy = model.evaluate(test, verbose=0)
        say(f"   epoch {epoch}: {accuracy:.1%} of the test split right")
