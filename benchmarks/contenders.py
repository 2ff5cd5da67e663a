"""Who ingests photographs, and for how many a second: nhwc, its peers, and libjpeg-turbo alone.

Every contender is a process of its own that starts once, warms up, and is then asked for one pass at a time, by turns.
"""

# ruff: noqa: PLC0415  each contender imports what it is, in its own process
from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from lines import Rounds, rounds
from photographs import CORES, listed

ROWS = COLS = 224
Pass = Callable[[], int]
"""One pass over the photographs; how many there were."""

made = ExitStack()
"""What a pass has written: it is removed once the pass has been timed."""


def ours(folder: Path, antialias: bool, *, reduce: bool = False) -> Pass:
    """Everything up to what is published: sha256, probe, checks, figures, hashes, duplicates, synced shards."""
    from nhwc.flows.ingest import draft_of
    from nhwc.flows.recipe import Recipe

    def run() -> int:
        place = made.enter_context(tempfile.TemporaryDirectory())
        image = {"rows": ROWS, "cols": COLS, "channels": 3, "resize": {"antialias": antialias, "reduce": reduce}}
        recipe = {"dataset": "d", "source": {"kind": "folder", "path": str(folder)}, "publish": {"to": place}}
        draft = draft_of(Recipe.model_validate(recipe | {"image": image}))
        return int((draft.manifest["status"] == "kept").sum())

    return run


def our_audit(folder: Path, antialias: bool) -> Pass:
    """Every figure, hash, cluster and finding, as `nhwc audit` has them."""
    from nhwc.flows.audit import audited
    from nhwc.flows.gate import GateOptions, judge_subject

    def run() -> int:
        subject = audited(folder)
        judge_subject(subject, GateOptions())
        return subject.manifest.height

    return run


def in_threads(folder: Path, work: Callable[[Path], object]) -> Pass:
    files = listed(folder)
    pool = ThreadPoolExecutor(CORES)
    return lambda: sum(1 for _ in pool.map(work, files))


def bare(folder: Path, antialias: bool) -> Pass:
    """libjpeg-turbo alone, on all cores: what no ingest by full decoding can exceed."""
    import simplejpeg

    local = threading.local()

    def decode(path: Path) -> None:
        if not hasattr(local, "buffer"):  # new memory for each would cost half a decode more
            local.buffer = bytearray(1 << 26)
        simplejpeg.decode_jpeg(path.read_bytes(), strict=False, buffer=local.buffer)

    return in_threads(folder, decode)


def bare_eighth(folder: Path, antialias: bool) -> Pass:
    """The same to an eighth of rows and cols: the Huffman codes are read, and next to nothing is made of them.

    No ingest that libjpeg-turbo decodes for can exceed it, however small the target.
    """
    import simplejpeg

    def decode(path: Path) -> None:
        content = path.read_bytes()
        rows, cols, *_ = simplejpeg.decode_jpeg_header(content)
        simplejpeg.decode_jpeg(content, strict=False, min_height=-(-rows // 8), min_width=-(-cols // 8), min_factor=1)

    return in_threads(folder, decode)


def keras(folder: Path, antialias: bool) -> Pass:
    import keras

    images = keras.utils.image_dataset_from_directory(folder, image_size=(ROWS, COLS), shuffle=False, verbose=False)
    return lambda: sum(len(labels) for _, labels in images)


def tf_data(folder: Path, antialias: bool) -> Pass:
    import tensorflow as tf

    def load(path):
        image = tf.io.decode_jpeg(tf.io.read_file(path), channels=3)
        return tf.image.resize(image, (ROWS, COLS), antialias=antialias)

    paths = tf.data.Dataset.from_tensor_slices([str(path) for path in listed(folder)])
    batches = paths.map(load, num_parallel_calls=tf.data.AUTOTUNE).batch(32).prefetch(tf.data.AUTOTUNE)
    return lambda: sum(len(batch) for batch in batches)


def torchvision(folder: Path, antialias: bool) -> Pass:
    import torch
    from torchvision.datasets import ImageFolder
    from torchvision.io import ImageReadMode, decode_image, read_file
    from torchvision.transforms.v2 import functional

    images = ImageFolder(
        str(folder),
        loader=lambda path: decode_image(read_file(path), ImageReadMode.RGB),
        transform=lambda image: functional.resize(image, [ROWS, COLS], antialias=antialias),
    )
    loader = torch.utils.data.DataLoader(images, batch_size=32, num_workers=CORES, persistent_workers=True)
    return lambda: sum(len(labels) for _, labels in loader)


def grain(folder: Path, antialias: bool) -> Pass:
    import cv2
    import grain
    import numpy as np

    cv2.setNumThreads(1)
    kernel = cv2.INTER_AREA if antialias else cv2.INTER_LINEAR

    def load(path: str) -> np.ndarray:
        image = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR_RGB)
        return cv2.resize(image, (COLS, ROWS), interpolation=kernel)

    paths = [str(path) for path in listed(folder)]
    images = grain.MapDataset.source(paths).map(load)
    threads = grain.ReadOptions(num_threads=CORES, prefetch_buffer_size=64)
    return lambda: sum(len(batch) for batch in images.to_iter_dataset(threads).batch(32))


def dali(folder: Path, antialias: bool) -> Pass:
    from nvidia.dali import fn, pipeline_def, types

    files = [str(path) for path in listed(folder)]

    @pipeline_def(batch_size=32, num_threads=CORES, device_id=None, prefetch_queue_depth=2)
    def loading():
        encoded, _ = fn.readers.file(files=files, name="files", pad_last_batch=False)
        images = fn.decoders.image(encoded, device="cpu", output_type=types.RGB)
        return fn.resize(images, size=(ROWS, COLS), interp_type=types.INTERP_LINEAR, antialias=antialias)

    pipeline = loading()
    pipeline.build()
    return lambda: 32 * sum(1 for _ in range(len(files) // 32) if pipeline.run())


def cleanvision(folder: Path, antialias: bool) -> Pass:
    from cleanvision import Imagelab

    def run() -> int:
        lab = Imagelab(data_path=str(folder), verbose=False)
        lab.find_issues(n_jobs=CORES, verbose=False)
        return len(lab.issues)

    return run


PASSES: dict[str, tuple[str, Callable[[Path, bool], Pass]]] = {
    "nhwc": ("nhwc", ours),
    "nhwc, reduce": ("nhwc", lambda folder, antialias: ours(folder, True, reduce=True)),
    "nhwc audit": ("nhwc", our_audit),
    "libjpeg-turbo alone": ("simplejpeg", bare),
    "libjpeg-turbo alone, an eighth": ("simplejpeg", bare_eighth),
    "Grain + OpenCV": ("grain", grain),
    "tf.data": ("tensorflow", tf_data),
    "Keras": ("keras", keras),
    "torchvision": ("torchvision", torchvision),
    "DALI on CPU": ("nvidia.dali", dali),
    "cleanvision": ("cleanvision", cleanvision),
}
"""Each contender's name, what it imports, and what makes its pass."""

LIMIT, HUFFMAN_LIMIT = "libjpeg-turbo alone", "libjpeg-turbo alone, an eighth"
LOADERS = ("Keras", "tf.data", "torchvision", "Grain + OpenCV", "DALI on CPU")


def serve(name: str, folder: Path, antialias: bool) -> None:
    """In a contender's own process: one pass for each line of stdin, its rate on stdout."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is not for us
    run = PASSES[name][1](folder, antialias)
    run()
    made.close()
    for _ in iter(lambda: print("ready", file=answers, flush=True) or sys.stdin.readline(), ""):
        start = time.perf_counter()
        count = run()
        print(count / (time.perf_counter() - start), file=answers, flush=True)
        made.close()


class Contender:
    """A process that is asked for one pass at a time."""

    def __init__(self, python: str, name: str, folder: Path, antialias: bool) -> None:
        command = [python, __file__, name, str(folder), *["--antialias"] * antialias]
        quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "", "PYTHONWARNINGS": "ignore"}
        self.process = subprocess.Popen(
            command,
            text=True,
            env=os.environ | quiet,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self.rates: list[float] = []

    def ready(self) -> bool:
        """Whether it has started, warmed up, and finished what it was asked for."""
        return self._answer() == "ready"

    def once(self) -> None:
        """Ask for one more pass."""
        assert self.process.stdin is not None
        print(file=self.process.stdin, flush=True)
        self.rates.append(float(self._answer()))
        assert self.ready()

    def end(self) -> None:
        """Let it end."""
        self.process.communicate()

    def _answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip()


def interpreter(pythons: Sequence[str], module: str) -> str | None:
    """The first interpreter that has a module."""

    def has(python: str) -> bool:
        look = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({module!r}) is None)"
        return subprocess.run([python, "-c", look], capture_output=True, check=False).returncode == 0

    return next(filter(has, pythons), None)


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Images/s of every round, by contender; and why others were left out."""

    rounds: Mapping[str, Sequence[float]]
    left_out: Mapping[str, str]

    def __str__(self) -> str:
        said = [f"{name} {median(rounds):,.4g}/s" for name, rounds in self.rounds.items()]
        return ", ".join([*said, *(f"{name} left out ({why})" for name, why in self.left_out.items())])

    def beside(self, ours: str, theirs: str) -> Rounds:
        """The ratio of every round, as a line has it."""
        return rounds(fast / slow for fast, slow in zip(self.rounds[ours], self.rounds[theirs], strict=True))


def raced(
    names: Iterable[str], folder: Path, asked: argparse.Namespace, *, antialias: bool = False, repeats: int
) -> Rates:
    """Let all who can have their passes, by turns."""
    contenders: dict[str, Contender] = {}
    left_out: dict[str, str] = {}
    with ExitStack() as started:
        for name in names:
            python = interpreter([sys.executable, *asked.peers], PASSES[name][0])
            if python is None:
                left_out[name] = f"{PASSES[name][0]} is not installed"
                continue
            contender = Contender(python, name, folder, antialias)
            started.callback(contender.end)
            if contender.ready():
                contenders[name] = contender
            else:
                left_out[name] = "it fails here"
        for number in range(repeats):
            for contender in list(contenders.values())[:: -1 if number % 2 else 1]:
                contender.once()
    return Rates(rounds={name: contender.rates for name, contender in contenders.items()}, left_out=left_out)


if __name__ == "__main__":
    serving = argparse.ArgumentParser()
    serving.add_argument("name", choices=list(PASSES))
    serving.add_argument("folder", type=Path)
    serving.add_argument("--antialias", action="store_true")
    serve(**vars(serving.parse_args()))
