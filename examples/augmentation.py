"""Augmentation on the device, by layers in the model, and in the pipeline, held against the contract there.

python examples/augmentation.py DATASET

First the check is seen to fail: without the line that keeps pixels in their range, a batch that leaves it ends the
iteration, and the error names its samples. With that line the model is trained.
"""

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import tensorflow as tf

import nhwc
from nhwc.validators.guard import guard


def augmented(train: tf.data.Dataset, contract: nhwc.TensorContract, *, clip: bool = True) -> tf.data.Dataset:
    """Each image brighter or darker by up to a third; what comes out keeps the contract, or the iteration ends.

    Args:
        train: of (images float32[samples, rows, cols, channels] in [0, 1], labels, ids).
        contract: of one image.
        clip: keep pixels in the contract's range.
    """

    def brighten(batch: tuple[tf.Tensor, ...], step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        images, labels, ids = batch
        # stateless: an iterator that is restored from a checkpoint goes on with the same numbers
        factors = tf.random.stateless_uniform([tf.size(labels), 1, 1, 1], [7, step], 2 / 3, 4 / 3)
        images = images * factors
        if clip:
            images = tf.clip_by_value(images, 0, 1)
        return guard(contract.batched(None), images, stage="augment", ids=ids), labels

    return tf.data.Dataset.zip(train, tf.data.Dataset.counter()).map(brighten, num_parallel_calls=2)


def classifier(sizes: tuple[int, ...], classes: int) -> keras.Model:
    """Flips and turns are layers: they run on the device, in training only, and are saved with the model."""
    model = keras.Sequential(
        [
            keras.Input(sizes),  # (rows, cols, channels)
            keras.layers.RandomFlip("horizontal", seed=7),
            keras.layers.RandomRotation(0.05, fill_mode="reflect", seed=7),  # up to 18 degrees
            keras.layers.Conv2D(16, 3, activation="relu"),
            keras.layers.GlobalMaxPooling2D(),
            keras.layers.Dense(classes, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def main(path: str) -> None:
    """Gate the version, then what the augmentation makes of it, and train."""
    version = nhwc.Version.open(path)
    contract = nhwc.data_source(path, scale="unit").contract
    model = classifier(contract.sizes, len(version.classes))
    nhwc.gate(path, model=model, scale="unit").require()
    plain = nhwc.load(path, split="train", batch_size=4, shuffle=True, seed=7, scale="unit", with_ids=True)
    try:
        list(augmented(plain, contract, clip=False))
    except tf.errors.OpError as error:
        print("without clipping:", *[line for line in str(error).splitlines() if "augment sample" in line][:1])
    train = augmented(plain, contract)
    verdict = nhwc.gate(train, classes=version.classes, samples=200, model=model)  # the batches of the training itself
    verdict.require()
    print(f"augmented: {verdict.figures['kept']} images looked at, {len(verdict.warnings)} warnings")
    history = model.fit(train, epochs=2, shuffle=False, verbose=0)
    print(
        f"trained on {train.cardinality()} batches an epoch of {contract}; last loss {history.history['loss'][-1]:.3f}"
    )


if __name__ == "__main__":
    main(sys.argv[1])
