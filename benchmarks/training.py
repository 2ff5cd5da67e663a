"""A training step on a GPU, fed by nhwc, from memory, and by Keras' directory loader: how long the GPU waits for each.

    python benchmarks/training.py [--photos 3000] [--batch 128] [--steps 40] [--repeats 5] [--json FILE]
    python benchmarks/training.py --cpu        a tiny model on the CPU: shows that the script works, measures nothing

ResNet-50 in mixed precision, 224 x 224 x 3, weights drawn at random. The GPU's idle share is 1 - (time of steps with
one batch that stays on the device) / (time of as many steps fed); all take turns. Where nvidia-smi is installed, its
own figure stands beside: the share of time in which any kernel ran. All three feed from the host, a batch is copied
to the device while the step before runs, and values are scaled there.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import mean, median

import keras
import numpy as np
import tensorflow as tf
from lines import Line, asked_of, rounds, run
from loading import from_directory, publish
from photographs import CLASSES, write_copies

import nhwc

AHEAD = 2
Batches = Iterator[tuple[tf.Tensor, tf.Tensor]]
Step = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def training_step(*, tiny: bool) -> Step:
    """One step of a training: images [samples, rows=224, cols=224, channels=3] in [0, 255], labels [samples]."""
    keras.mixed_precision.set_global_policy("mixed_bfloat16" if tiny else "mixed_float16")
    inputs = keras.Input((224, 224, 3))
    scaled = keras.layers.Rescaling(1 / 127.5, offset=-1)(inputs)
    if tiny:
        features = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 7, strides=8)(scaled))
    else:
        features = keras.applications.ResNet50(include_top=False, weights=None, pooling="avg")(scaled)
    model = keras.Model(inputs, keras.layers.Dense(CLASSES, dtype="float32")(features))
    optimizer = keras.optimizers.SGD(0.01, momentum=0.9)
    if not tiny:
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    optimizer.build(model.trainable_variables)
    loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    @tf.function(reduce_retracing=True)
    def step(images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = loss_of(labels, model(images, training=True))
            scaled_loss = optimizer.scale_loss(loss)
        optimizer.apply(tape.gradient(scaled_loss, model.trainable_variables), model.trainable_variables)
        return loss

    return step


def on_device(dataset: tf.data.Dataset, device: str) -> Batches:
    """Its batches, some copied to the device ahead of the step that takes them."""
    return iter(dataset.repeat().apply(tf.data.experimental.prefetch_to_device(device, AHEAD)))


def feeders(home: Path, photos: int, batch: int) -> dict[str, tf.data.Dataset]:
    """The three, over the same photographs; only whole batches, so that every step is the same work."""
    folder = write_copies(home / "photos", photos)
    images = np.concatenate([np.rint(some).astype(np.uint8) for some, _ in from_directory(folder)])
    labels = np.arange(photos, dtype=np.int64) % CLASSES
    version = publish(home / "version", images)
    with tf.device("CPU"):
        memory = tf.data.Dataset.from_tensor_slices((images, labels)).shuffle(photos)
    directory = keras.utils.image_dataset_from_directory(
        folder, image_size=(224, 224), batch_size=None, shuffle=True, seed=7, verbose=False
    )
    return {
        "nhwc": nhwc.load(version, batch_size=batch, shuffle=True, drop_remainder=True),
        "tf.data in memory": memory.batch(batch, drop_remainder=True).prefetch(AHEAD),
        "keras.utils.image_dataset_from_directory": directory.batch(batch, drop_remainder=True).prefetch(AHEAD),
    }


@contextmanager
def utilisation() -> Iterator[list[float]]:
    """What nvidia-smi says meanwhile, in shares, five times a second; nothing where there is none."""
    said: list[float] = []
    if shutil.which("nvidia-smi") is None:
        yield said
        return
    command = ["nvidia-smi", "--id=0", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "-lms", "200"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        yield said
    finally:
        process.terminate()
        lines = process.communicate()[0].splitlines()
        said += [float(line) / 100 for line in lines if line.strip().isdigit()]


def timed(step: Step, batches: Batches, steps: int) -> tuple[float, list[float]]:
    """Seconds of so many steps, and the utilisation meanwhile."""
    settle()
    for _ in range(2 * AHEAD + 1):  # what lay ready does not count
        loss = step(*next(batches))
    float(loss)  # waits for the device
    with utilisation() as used:
        start = time.perf_counter()
        for _ in range(steps):
            loss = step(*next(batches))
        float(loss)
        return time.perf_counter() - start, used


def settle() -> None:
    """Wait until no pipeline fills its buffers any more, which would slow who comes next."""
    busy = True
    while busy:
        before = time.process_time()
        time.sleep(0.2)
        busy = time.process_time() - before > 0.04


def measure(asked: argparse.Namespace, say: Callable[[Line], None]) -> None:
    """Take the times, by turns."""
    device = "/CPU:0" if asked.cpu else "/GPU:0"
    small = asked.cpu or asked.quick
    photos, batch = (128, 16) if asked.cpu else (asked.photos, asked.batch)
    steps, repeats = (8, 2) if small else (asked.steps, asked.repeats)
    with tempfile.TemporaryDirectory() as folder:
        step = training_step(tiny=asked.cpu)
        fed = {name: on_device(dataset, device) for name, dataset in feeders(Path(folder), photos, batch).items()}
        images, labels = next(fed["nhwc"])
        with tf.device(device):
            kept = tf.identity(images), tf.identity(labels)
        floats = tf.cast(kept[0], tf.float32), kept[1]
        alone = {"uint8": iter(lambda: kept, None), "float32": iter(lambda: floats, None)}
        taken: dict[str, list[tuple[float, list[float]]]] = {name: [] for name in (*alone, *fed)}
        for number in range(repeats + 1):
            for name, batches in (alone | fed).items():
                once = timed(step, batches, steps)
                if number:
                    taken[name].append(once)
        del fed
    for name in [name for name in taken if name not in alone]:
        bare = taken["float32" if name.startswith("keras") else "uint8"]
        idle = [1 - without / with_ for (without, _), (with_, _) in zip(bare, taken[name], strict=True)]
        used = [mean(some) for _, some in taken[name] if some]
        rate = steps * batch / median(seconds for seconds, _ in taken[name])
        limit = steps * batch / median(seconds for seconds, _ in bare)
        told = f"; nvidia-smi: busy {median(used):.0%} of the time" if used else ""
        said = f"{rate:,.0f} images/s beside {limit:,.0f}{told}"
        what = f"idle share of the {'CPU' if asked.cpu else 'GPU'}, fed by {name}"
        beside = "one batch that stays on the device"
        say(Line(demand="GP", name=what, beside=beside, unit="share", said=said, **rounds(idle)))


def main() -> int:
    """Say that there is no GPU, or measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=3000)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--cpu", action="store_true", help="a tiny model on the CPU, to try the script")
    asked = asked_of(parser)
    if not asked.cpu and not tf.config.list_physical_devices("GPU"):
        print("TensorFlow sees no GPU here: nothing measured. --cpu tries the script with a tiny model.")
        return 0
    run(measure, asked)
    return 0


if __name__ == "__main__":
    sys.exit(main())
