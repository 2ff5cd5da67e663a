"""How fast photographs are ingested, with every check on, beside loaders that only decode and resize.

    python benchmarks/ingesting.py --peers VENV/bin/python ... [--repeats 5] [--only small large audit]

Every line is a process of its own that starts once, warms up, and is then asked for one pass at a time, by turns, so
that nothing else runs meanwhile and whatever the machine does besides falls on all of them alike. Starting up is not
counted. NHWC_CORPUS names the corpus; each peer runs in the first interpreter that has it, as after
`pip install -r benchmarks/requirements.txt`.
"""

# ruff: noqa: PLC0415  each line imports what it measures, in its own process
from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

ROWS = COLS = 224
CORES = len(os.sched_getaffinity(0))
Pass = Callable[[], int]
"""One pass over the photographs; how many there were."""


def ours(folder: Path, antialias: bool, *, reduce: bool = False, gate: bool = False) -> Pass:
    """Everything up to what is published: sha256, probe, checks, figures, hashes, duplicates, synced shards."""
    from nhwc.flows.gate import GateOptions, judge_subject
    from nhwc.flows.ingest import draft_of
    from nhwc.flows.recipe import Recipe
    from nhwc.flows.subject import draft_subject

    def run() -> int:
        with tempfile.TemporaryDirectory() as place:
            image = {"rows": ROWS, "cols": COLS, "channels": 3, "resize": {"antialias": antialias, "reduce": reduce}}
            recipe = {"dataset": "d", "source": {"kind": "folder", "path": str(folder)}, "publish": {"to": place}}
            draft = draft_of(Recipe.model_validate(recipe | {"image": image}))
            if gate:
                judge_subject(draft_subject(draft, name="d"), GateOptions())
            return int((draft.manifest["status"] == "kept").sum())

    return run


def in_threads(folder: Path, work: Callable[[Path], object]) -> Pass:
    files = photographs(folder)
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


def keras(folder: Path, antialias: bool) -> Pass:
    import keras

    images = keras.utils.image_dataset_from_directory(folder, image_size=(ROWS, COLS), shuffle=False, verbose=False)
    return lambda: sum(len(labels) for _, labels in images)


def tf_data(folder: Path, antialias: bool) -> Pass:
    import tensorflow as tf

    def load(path):
        image = tf.io.decode_jpeg(tf.io.read_file(path), channels=3)
        return tf.image.resize(image, (ROWS, COLS), antialias=antialias)

    paths = tf.data.Dataset.from_tensor_slices([str(path) for path in photographs(folder)])
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

    paths = [str(path) for path in photographs(folder)]
    images = grain.MapDataset.source(paths).map(load)
    threads = grain.ReadOptions(num_threads=CORES, prefetch_buffer_size=64)
    return lambda: sum(len(batch) for batch in images.to_iter_dataset(threads).batch(32))


def dali(folder: Path, antialias: bool) -> Pass:
    from nvidia.dali import fn, pipeline_def, types

    files = [str(path) for path in photographs(folder)]

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


SERVED: dict[str, tuple[str, Callable[[Path, bool], Pass]]] = {
    "nhwc": ("nhwc", ours),
    "nhwc, antialiased": ("nhwc", lambda folder, antialias: ours(folder, True)),
    "nhwc, reduce": ("nhwc", lambda folder, antialias: ours(folder, True, reduce=True)),
    "nhwc, gate": ("nhwc", lambda folder, antialias: ours(folder, True, gate=True)),
    "libjpeg-turbo alone": ("simplejpeg", bare),
    "Grain + OpenCV": ("grain", grain),
    "tf.data": ("tensorflow", tf_data),
    "tf.data, antialiased": ("tensorflow", lambda folder, antialias: tf_data(folder, True)),
    "Keras": ("keras", keras),
    "torchvision": ("torchvision", torchvision),
    "DALI, CPU": ("nvidia.dali", dali),
    "cleanvision": ("cleanvision", cleanvision),
}
"""Each line's name, what it imports, and what makes its pass."""

_LARGE = [
    "nhwc, antialiased",
    "nhwc, reduce",
    *("libjpeg-turbo alone", "Grain + OpenCV"),
    "tf.data",
    "tf.data, antialiased",
]
_LOADERS = ["libjpeg-turbo alone", "Grain + OpenCV", "tf.data", "Keras", "torchvision", "DALI, CPU"]


def photographs(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.jpg"))


def make_large(source: Path, folder: Path, count: int = 32) -> Path:
    """Photographs of 12 megapixels: enlarged, with noise, so that there are high frequencies, at quality 90."""
    import numpy as np
    from PIL import Image

    (folder / "large").mkdir(parents=True)
    noise = np.random.default_rng(7).normal(0, 4, (3000, 4000, 3)).astype(np.float32)
    for number, path in enumerate(photographs(source)[:count]):
        image = np.asarray(Image.open(path).convert("RGB").resize((4000, 3000), Image.Resampling.BICUBIC))
        noisy = np.clip(image + noise, 0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(folder / "large" / f"{number}.jpg", quality=90)
    return folder


def serve(name: str, folder: Path, antialias: bool) -> None:
    """In a line's own process: one pass for each line of stdin, its rate on stdout."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is not for us
    run = SERVED[name][1](folder, antialias)
    run()
    for _ in iter(lambda: print("ready", file=answers, flush=True) or sys.stdin.readline(), ""):
        start, used = time.perf_counter(), cpu_seconds()
        count = run()
        print(count / (time.perf_counter() - start), (cpu_seconds() - used) / count, file=answers, flush=True)


def cpu_seconds() -> float:
    """Of this process and its workers: unlike the time that passes, hardly more on a machine that others use too."""
    workers = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    stats = [Path(f"/proc/{worker}/stat").read_text().rsplit(") ", 1)[1].split() for worker in workers]
    ticks = sum(int(stat[11]) + int(stat[12]) for stat in stats)
    return sum(os.times()[:4]) + ticks / os.sysconf("SC_CLK_TCK")  # the first four: its own, and workers that ended


class Line:
    """A line's process, asked for one pass at a time."""

    def __init__(self, python: str, name: str, folder: Path, antialias: bool) -> None:
        command = [python, __file__, "--serve", name, "--folder", str(folder), *["--antialias"] * antialias]
        quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "", "PYTHONWARNINGS": "ignore"}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(command, text=True, env=os.environ | quiet, **pipes)
        self.rates: list[float] = []
        self.cpu: list[float] = []

    def ready(self) -> bool:
        return self.process.stdout.readline() == "ready\n"

    def once(self) -> None:
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        rate, cpu = map(float, self.process.stdout.readline().split())
        self.rates.append(rate)
        self.cpu.append(cpu)
        assert self.ready()


def interpreter(pythons: list[str], module: str) -> str | None:
    def has(python: str) -> bool:
        return subprocess.run([python, "-c", f"import {module}"], capture_output=True, check=False).returncode == 0

    return next(filter(has, pythons), None)


def compare(title: str, names: list[str], folder: Path, options: argparse.Namespace, antialias: bool) -> None:
    lines = {}
    for name in names:
        python = interpreter([sys.executable, *options.peers], SERVED[name][0])
        line = python and Line(python, name, folder, antialias)
        if line and line.ready():
            lines[name] = line
        else:
            print(f"{name}: left out, {'it failed' if python else f'{SERVED[name][0]} is not installed'}")
    for _ in range(options.repeats):
        for line in lines.values():
            line.once()
    rates = {name: median(line.rates) for name, line in lines.items()}
    alone = rates.get("libjpeg-turbo alone")
    fastest = max(rate for name, rate in rates.items() if name != "libjpeg-turbo alone" and "nhwc" not in name)
    print(
        f"\n{title}\n| line | images/s, median (lowest-highest) | to the fastest peer | of the decoder | CPU ms each |"
    )
    print("| --- | ---: | ---: | ---: | ---: |")
    for name, line in lines.items():
        line.process.communicate()
        share = f"{rates[name] / alone:.0%}" if alone else ""
        span = f"{rates[name]:.0f} ({min(line.rates):.0f}-{max(line.rates):.0f})"
        cpu = median(line.cpu) * 1000
        print(f"| {name} | {span} | {rates[name] / fastest:.2f} | {share} | {cpu:.2f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", nargs="*", default=[], metavar="PYTHON", help="interpreters that have the peers")
    parser.add_argument("--only", nargs="*", default=["small", "large", "audit"], choices=["small", "large", "audit"])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--antialias", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, options.folder, options.antialias)
        return
    photos = Path(os.environ["NHWC_CORPUS"]) / "datasets" / "clothing"

    with tempfile.TemporaryDirectory() as place:
        if "small" in options.only:
            for antialias in (False, True):
                title = f"953 photographs of about 500 x 400, {'' if antialias else 'not '}antialiased"
                names = [name for name in ("nhwc", *_LOADERS) if name != "Keras" or not antialias]  # it cannot
                compare(title, names, photos, options, antialias)
        if "large" in options.only:
            large = make_large(photos, Path(place) / "photographs")
            compare("32 photographs of 12 megapixels", _LARGE, large, options, False)
        if "audit" in options.only:
            compare("Audit: quality and duplicates", ["nhwc, gate", "cleanvision"], photos, options, True)


if __name__ == "__main__":
    main()
