"""The model gate: mismatches of model, batch and labels are found, and sound pairs pass, without a training step."""

import json
import sys
import warnings
import zipfile
from dataclasses import replace
from functools import cache

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from keras.src.backend.common import global_state

from nhwc.validators.contract import Axis, TensorContract
from nhwc.validators.errors import RecipeError
from nhwc.validators.model import check_model
from nhwc.validators.violation import Code

CLASSES = [f"class {k}" for k in range(10)]
RANGES = {"none": (0, 255), "unit": (0, 1), "signed": (-1, 1), "standard": (-2.1, 2.6)}


def batch(scale="unit", *, rows=32, cols=32, channels=3, samples=None, dtype=None, first=False):
    """A batch as `nhwc.load` contracts it."""
    axes = [Axis("rows", rows), Axis("cols", cols), Axis("channels", channels)]
    axes = [axes[2], *axes[:2]] if first else axes
    dtype = dtype or ("uint8" if scale == "none" else "float32")
    image = TensorContract(axes=tuple(axes), dtype=dtype, value_range=RANGES.get(scale))
    return image.batched(samples)


def head(units=10, activation="softmax"):
    """What stands behind the first convolution."""
    return [layers.GlobalAveragePooling2D(), layers.Dense(units, activation=activation)]


def plain(*before, shape=(32, 32, 3), units=10, activation="softmax", conv=None, **entry):
    """A Sequential: `before`, a convolution, and the head."""
    conv = conv or layers.Conv2D(4, 3)
    return keras.Sequential([keras.Input(shape, **entry), *before, conv, *head(units, activation)])


def functional(before, shape=(32, 32, 3)):
    """A functional model whose pixels go through `before` first."""
    entry = keras.Input(shape)
    values = layers.Conv2D(4, 3)(before(entry))
    for layer in head():
        values = layer(values)
    return keras.Model(entry, values)


def adapted(low, high):
    """A Normalization adapted to images of that range."""
    layer = layers.Normalization()
    layer.adapt(np.random.default_rng(1).beta(2, 2.4, (64, 8, 8, 3)) * (high - low) + low)
    return layer


def compiled(model, loss):
    """The model, compiled with that loss."""
    model.compile(loss=loss)
    return model


@cache  # these take seconds to build, and a check changes no model
def application(name, **options):
    """A model of keras.applications with random weights."""
    options = {"input_shape": (32, 32, 3), "classes": 10, "weights": None} | options
    return getattr(keras.applications, name)(**options)


@cache
def behind(module, name):
    """A model of keras.applications behind its own preprocess_input."""
    base = application(name, include_top=False, pooling="avg")
    entry = keras.Input((32, 32, 3))
    values = base(getattr(keras.applications, module).preprocess_input(entry))
    return keras.Model(entry, layers.Dense(10, activation="softmax")(values))


@cache
def trained(name):
    """A model of keras.applications whose weights are not the initial ones."""
    model = application.__wrapped__(name)
    for layer in model.layers:
        if getattr(layer, "bias", None) is not None:
            layer.bias.assign_add(np.full(layer.bias.shape, 0.1))
        if hasattr(layer, "moving_mean"):
            layer.moving_mean.assign_add(np.full(layer.moving_mean.shape, 0.1))
    return model


class Subclassed(keras.Model):
    """A model whose body is its own."""

    def __init__(self, before, units=10):
        super().__init__()
        self.before, self.conv = before, layers.Conv2D(4, 3)
        self.pool, self.top = head(units)

    def call(self, images):
        return self.top(self.pool(self.conv(self.before(images))))


class Foreign(keras.Model):
    """A model whose body Keras cannot follow."""

    def __init__(self):
        super().__init__()
        self.flat, self.top = layers.Flatten(), layers.Dense(10)

    def call(self, images):
        return self.top(self.flat(tf.image.per_image_standardization(images)))


def called(model, shape=(2, 32, 32, 3)):
    """The model, built by a call."""
    model(np.zeros(shape, np.float32))
    return model


@keras.saving.register_keras_serializable("tests")
class Stem(layers.Layer):
    """A layer of another house with weights."""

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1],), initializer="ones")

    def call(self, images):
        return images * self.kernel / 255


def without_flip(values):
    return values - np.array([103.939, 116.779, 123.68], np.float32)


SPARSE = "sparse_categorical_crossentropy"
LOGITS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

SOUND = {
    "unit into no scaling": (plain, batch("unit")),
    "signed into no scaling": (plain, batch("signed")),
    "standard into no scaling": (plain, batch("standard")),
    "bytes into Rescaling": (lambda: plain(layers.Rescaling(1 / 255)), batch("none")),
    "floats of bytes into Rescaling": (lambda: plain(layers.Rescaling(1 / 255)), batch("none", dtype="float32")),
    "bytes into signed Rescaling": (lambda: plain(layers.Rescaling(1 / 127.5, offset=-1)), batch("none")),
    "unit into signed Rescaling": (lambda: plain(layers.Rescaling(2, offset=-1)), batch("unit")),
    "signed into unit Rescaling": (lambda: plain(layers.Rescaling(0.5, offset=0.5)), batch("signed")),
    "bytes into adapted Normalization": (lambda: plain(adapted(0, 255)), batch("none")),
    "unit into adapted Normalization": (lambda: plain(adapted(0, 1)), batch("unit")),
    "signed into adapted Normalization": (lambda: plain(adapted(-1, 1)), batch("signed")),
    "bytes into BatchNormalization": (lambda: plain(layers.BatchNormalization()), batch("none")),
    "arithmetic": (lambda: functional(lambda x: x / 127.5 - 1), batch("none")),
    "a Lambda": (lambda: plain(layers.Lambda(lambda x: x / 255, output_shape=(32, 32, 3))), batch("none")),
    "augmentation first": (
        lambda: plain(layers.RandomFlip(), layers.RandomBrightness(0.2), layers.Rescaling(1 / 255)),
        batch("none"),
    ),
    "a nested Sequential": (
        lambda: plain(keras.Sequential([layers.RandomFlip(), layers.Rescaling(1 / 255)])),
        batch("none"),
    ),
    "any size": (lambda: plain(shape=(None, None, 3)), batch("unit", rows=48, cols=40)),
    "sizes left open": (lambda: plain(shape=(None, None, 3)), batch("unit", rows=None, cols=None)),
    "resized inside": (
        lambda: plain(layers.Resizing(16, 16), layers.Rescaling(1 / 255), shape=(None, None, 3)),
        batch("none", rows=57, cols=40),
    ),
    "gray": (lambda: plain(shape=(32, 32, 1)), batch("unit", channels=1)),
    "gray made colour": (
        lambda: functional(lambda x: keras.ops.concatenate([x, x, x], axis=-1) / 255, (32, 32, 1)),
        batch("none", channels=1),
    ),
    "channels first": (
        lambda: plain(shape=(3, 32, 32), conv=layers.Conv2D(4, 3, data_format="channels_first")),
        batch("unit", first=True),
    ),
    "permuted to channels last": (lambda: plain(layers.Permute((2, 3, 1)), shape=(3, 32, 32)), batch(first=True)),
    "dense on flat pixels": (
        lambda: keras.Sequential([keras.Input((32, 32, 3)), layers.Flatten(), layers.Dense(10)]),
        batch("unit"),
    ),
    "not built": (lambda: keras.Sequential([layers.Rescaling(1 / 255), layers.Conv2D(4, 3), *head()]), batch("none")),
    "not built, adapted": (lambda: keras.Sequential([adapted(0, 255), layers.Conv2D(4, 3), *head()]), batch("none")),
    "subclassed": (lambda: called(Subclassed(layers.Rescaling(1 / 255))), batch("none")),
    "half precision": (lambda: plain(dtype="float16"), batch("unit")),
    "fixed samples": (lambda: plain(batch_size=8), batch("unit", samples=8)),
    "sparse loss": (lambda: compiled(plain(), SPARSE), batch()),
    "sparse loss of logits": (lambda: compiled(plain(activation=None), LOGITS), batch()),
    "more units than classes": (lambda: compiled(plain(units=1000), SPARSE), batch()),
    "activation as a layer": (
        lambda: compiled(keras.Sequential([plain(activation=None), layers.Softmax()]), SPARSE),
        batch(),
    ),
    "EfficientNetB0": (lambda: application("EfficientNetB0"), batch("none")),
    "MobileNetV3Small": (lambda: application("MobileNetV3Small"), batch("none")),
    "ConvNeXtTiny": (lambda: application("ConvNeXtTiny"), batch("none")),
    "EfficientNetV2B0": (lambda: application("EfficientNetV2B0"), batch("none")),
    "MobileNetV2": (lambda: application("MobileNetV2"), batch("signed")),
    "trained MobileNetV2": (lambda: trained("MobileNetV2"), batch("signed")),
    "ResNet50 from scratch": (lambda: application("ResNet50"), batch("unit")),
    "ResNet50 behind its preprocessing": (lambda: behind("resnet50", "ResNet50"), batch("none")),
    "ResNet50V2 behind its preprocessing": (lambda: behind("resnet_v2", "ResNet50V2"), batch("none")),
    "VGG16 behind its preprocessing": (lambda: behind("vgg16", "VGG16"), batch("none")),
    "DenseNet121 behind its preprocessing": (lambda: behind("densenet", "DenseNet121"), batch("none")),
}


@pytest.mark.parametrize("case", SOUND)
def test_a_sound_pair_passes(case):
    """Nothing is found, and nothing is left undetermined."""
    model, taken = SOUND[case]
    assert () == check_model(model(), batch=taken, classes=CLASSES)


MISMATCHES = {
    "scaled twice": (lambda: plain(layers.Rescaling(1 / 255)), batch("unit"), Code.MODEL_RANGE, "scaled twice"),
    "scaled twice, signed": (
        lambda: plain(layers.Rescaling(1 / 127.5, offset=-1)), batch("signed"), Code.MODEL_RANGE, "scaled twice",
    ),
    "scaled twice, standard": (
        lambda: plain(layers.Rescaling(1 / 255)), batch("standard"), Code.MODEL_RANGE, "scaled twice",
    ),
    "scaled twice inside": (
        lambda: plain(layers.Rescaling(1 / 255), layers.Rescaling(1 / 255)), batch("none"), Code.MODEL_RANGE,
        "scaled twice",
    ),
    "scaled twice by arithmetic": (
        lambda: functional(lambda x: x / 255), batch("unit"), Code.MODEL_RANGE, "scaled twice",
    ),
    "scaled twice in a subclass": (
        lambda: called(Subclassed(layers.Rescaling(1 / 255))), batch("unit"), Code.MODEL_RANGE, "scaled twice",
    ),
    "scaled twice, not built": (
        lambda: keras.Sequential([layers.Rescaling(1 / 255), layers.Conv2D(4, 3), *head()]), batch("unit"),
        Code.MODEL_RANGE, "scaled twice",
    ),
    "EfficientNet scales itself": (
        lambda: application("EfficientNetB0"), batch("unit"), Code.MODEL_RANGE, "scaled twice",
    ),
    "MobileNetV3 scales itself": (
        lambda: application("MobileNetV3Small"), batch("signed"), Code.MODEL_RANGE, "scaled twice",
    ),
    "ConvNeXt scales itself": (lambda: application("ConvNeXtTiny"), batch("unit"), Code.MODEL_RANGE, "scaled twice"),
    "EfficientNetV2 scales itself": (
        lambda: application("EfficientNetV2B0"), batch("unit"), Code.MODEL_RANGE, "scaled twice",
    ),
    "caffe preprocessing of unit": (
        lambda: behind("resnet50", "ResNet50"), batch("unit"), Code.MODEL_RANGE, r"\[0, 1\], of which .* makes \[-124",
    ),
    "never scaled": (plain, batch("none"), Code.MODEL_UNSCALED, r"\[0, 255\] at .* most likely wrong"),
    "never scaled, dense": (
        lambda: keras.Sequential([keras.Input((32, 32, 3)), layers.Flatten(), layers.Dense(10)]), batch("none"),
        Code.MODEL_UNSCALED, "most likely wrong",
    ),
    "never scaled before normalization": (
        lambda: application("ResNet50"), batch("none"), Code.MODEL_UNSCALED, "perhaps wrong",
    ),
    "only centred": (lambda: functional(lambda x: x - 127.5), batch("none"), Code.MODEL_UNSCALED, "hardly scaled"),
    "Normalization not adapted": (lambda: plain(layers.Normalization()), batch("none"), Code.MODEL_UNSCALED, "likely"),
    "bytes into signed from unit": (
        lambda: plain(layers.Rescaling(2, offset=-1)), batch("none"), Code.MODEL_RANGE, "hardly scaled",
    ),
    "signed into signed from unit": (
        lambda: plain(layers.Rescaling(2, offset=-1)), batch("signed"), Code.MODEL_RANGE, r"makes \[-3, 1\]",
    ),
    "unit into unit from signed": (
        lambda: plain(layers.Rescaling(0.5, offset=0.5)), batch("unit"), Code.MODEL_RANGE, r"makes \[0.5, 1\]",
    ),
    "unit into Normalization of bytes": (lambda: plain(adapted(0, 255)), batch("unit"), Code.MODEL_RANGE, "twice"),
    "bytes into Normalization of unit": (lambda: plain(adapted(0, 1)), batch("none"), Code.MODEL_RANGE, "hardly"),
    "signed into Normalization of unit": (
        lambda: plain(adapted(0, 1)), batch("signed"), Code.MODEL_RANGE, "not the range it was made for",
    ),
    "brightness of bytes": (
        lambda: plain(layers.RandomBrightness(0.2)), batch("unit"), Code.MODEL_RANGE, r"\[0, 1\] at random_brightness",
    ),
    "means of blue first on red first": (
        lambda: functional(without_flip), batch("none"), Code.MODEL_CHANNEL_ORDER, r"\[0, 1, 2\] at conv2d",
    ),
    "trained MobileNetV2 on unit": (
        lambda: trained("MobileNetV2"), batch("unit"), Code.MODEL_UNSCALED, r"\[0, 1\] at Conv1",
    ),
    "trained VGG16 on bytes": (
        lambda: trained("VGG16"), batch("none"), Code.MODEL_UNSCALED, r"\[0, 255\] at block1_conv1",
    ),
    "channels": (lambda: plain(shape=(32, 32, 1)), batch("unit"), Code.WRONG_CHANNELS, "3"),
    "rows": (lambda: plain(shape=(28, 32, 3)), batch("unit"), Code.WRONG_SIZE, "32"),
    "cols": (lambda: plain(shape=(32, 28, 3)), batch("unit"), Code.WRONG_SIZE, "32"),
    "samples": (lambda: plain(batch_size=8), batch("unit", samples=16), Code.WRONG_SIZE, "16"),
    "rank": (
        lambda: keras.Sequential([keras.Input((3072,)), layers.Dense(10)]), batch("unit"), Code.WRONG_RANK, "4",
    ),
    "channels of a subclass": (
        lambda: called(Subclassed(layers.Rescaling(1 / 255)), (2, 32, 32, 1)), batch("none"), Code.MODEL_INPUT,
        "incompatible with the layer",
    ),
    "channels last into channels first": (
        lambda: plain(shape=(3, 32, 32), conv=layers.Conv2D(4, 3, data_format="channels_first")), batch("unit"),
        Code.MODEL_LAYOUT, "channels on axis 3",
    ),
    "channels first into channels last": (
        plain, batch("unit", first=True), Code.MODEL_LAYOUT, "channels on axis 1",
    ),
    "whole numbers wanted": (
        lambda: plain(layers.Rescaling(1 / 255), dtype="uint8"), batch("none", dtype="float32"), Code.WRONG_DTYPE,
        "float32, of which",
    ),
    "too large for half precision": (
        lambda: plain(layers.Rescaling(1 / 65535), dtype="float16"),
        replace(batch("none", dtype="uint16"), value_range=(0, 65535)), Code.WRONG_DTYPE, "more than it holds",
    ),
    "two inputs": (
        lambda: keras.Model(
            pair := [keras.Input((32, 32, 3)), keras.Input((4,))],
            layers.Dense(10)(layers.Concatenate()([layers.Flatten()(pair[0]), pair[1]])),
        ),
        batch("unit"), Code.MODEL_INPUT, "2 inputs",
    ),
    "too few units": (lambda: plain(units=9), batch("unit"), Code.MODEL_LABELS, "9 units"),
    "too few units for the loss": (
        lambda: compiled(plain(units=9), SPARSE), batch("unit"), Code.MODEL_LABELS, f"9 units with {SPARSE}",
    ),
    "one-hot loss of ids": (
        lambda: compiled(plain(), "categorical_crossentropy"), batch("unit"), Code.MODEL_LABELS, "takes one-hot",
    ),
    "one unit for ten classes": (
        lambda: plain(units=1, activation="sigmoid"), batch("unit"), Code.MODEL_LABELS, "1 unit for 10 classes",
    ),
    "binary loss of ten classes": (
        lambda: compiled(plain(activation="sigmoid"), "binary_crossentropy"), batch("unit"), Code.MODEL_LABELS,
        "10 units with binary_crossentropy for 10 classes",
    ),
    "softmax over one unit": (
        lambda: keras.Sequential([plain(units=1, activation=None), layers.Activation("softmax")]), batch("unit"),
        Code.MODEL_LABELS, "1 for every image",
    ),
    "probabilities taken for logits": (
        lambda: compiled(plain(), LOGITS), batch("unit"), Code.MODEL_LABELS, "applied twice",
    ),
    "logits taken for probabilities": (
        lambda: compiled(plain(activation=None), SPARSE), batch("unit"), Code.MODEL_LABELS, "linear and sparse",
    ),
    "squared error of ids": (lambda: compiled(plain(), "mse"), batch("unit"), Code.MODEL_LABELS, "mean_squared_error"),
    "a map instead of classes": (
        lambda: keras.Sequential([keras.Input((32, 32, 3)), layers.Conv2D(10, 1)]), batch("unit"), Code.MODEL_LABELS,
        r"\(\?, 32, 32, 10\)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", MISMATCHES)
def test_a_mismatch_is_found(case):
    """Exactly one violation, of its code, at stage model, that says what was found and how to mend it."""
    model, taken, code, found = MISMATCHES[case]
    violations = check_model(model(), batch=taken, classes=CLASSES)
    assert [code] == [violation.code for violation in violations]
    (violation,) = violations
    assert violation.stage == "model"
    assert violation.expected
    assert violation.hint
    with pytest.raises(ValueError, match=found):
        raise ValueError(violation.found)


HEADS = {
    "one-hot": (plain, "categorical_crossentropy", CLASSES, "one_hot"),
    "one-hot of two": (lambda: plain(units=2), "categorical_crossentropy", CLASSES[:2], "one_hot"),
    "many labels": (lambda: plain(activation="sigmoid"), "binary_crossentropy", CLASSES, "one_hot"),
    "binary": (lambda: plain(units=1, activation="sigmoid"), "binary_crossentropy", CLASSES[:2], "ids"),
    "binary, not compiled": (lambda: plain(units=1, activation="sigmoid"), None, CLASSES[:2], "ids"),
    "two units": (lambda: plain(units=2), SPARSE, CLASSES[:2], "ids"),
    "squared error": (plain, "mse", CLASSES, "one_hot"),
    "a loss object": (plain, keras.losses.SparseCategoricalCrossentropy(), CLASSES, "ids"),
    "a loss function": (plain, keras.losses.sparse_categorical_crossentropy, CLASSES, "ids"),
    "one loss in a list": (plain, [SPARSE], CLASSES, "ids"),
}


@pytest.mark.parametrize("case", HEADS)
def test_a_sound_head_passes(case):
    """Units, loss and labels that belong together."""
    model, loss, classes, labels = HEADS[case]
    model = compiled(model(), loss) if loss else model()
    assert () == check_model(model, batch=batch(), classes=classes, labels=labels)


WRONG_HEADS = {
    "one-hot into sparse": (plain, SPARSE, CLASSES, "one_hot", "takes ids"),
    "one-hot of other classes": (lambda: plain(units=11), "categorical_crossentropy", CLASSES, "one_hot", "11 units"),
    "two units of binary": (
        lambda: plain(units=2, activation="sigmoid"), "binary_crossentropy", CLASSES[:2], "ids", "2 units with binary",
    ),
    "one unit of sparse": (
        lambda: plain(units=1, activation="sigmoid"), SPARSE, CLASSES[:2], "ids", "1 unit with sparse",
    ),
    "binary of three": (
        lambda: plain(units=1, activation="sigmoid"), "binary_crossentropy", CLASSES[:3], "ids", "for 3 classes",
    ),
    "binary logits": (
        lambda: plain(units=1, activation=None), "binary_crossentropy", CLASSES[:2], "ids", "linear and binary",
    ),
    "sigmoid twice": (
        lambda: plain(units=1, activation="sigmoid"), keras.losses.BinaryCrossentropy(from_logits=True), CLASSES[:2],
        "ids", "sigmoid and from_logits=True",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG_HEADS)
def test_a_wrong_head_is_found(case):
    """Units, loss and labels that do not belong together: one violation that says so."""
    model, loss, classes, labels, found = WRONG_HEADS[case]
    violations = check_model(compiled(model(), loss), batch=batch(), classes=classes, labels=labels)
    assert [Code.MODEL_LABELS] == [violation.code for violation in violations]
    assert found in violations[0].found


UNSEEN = {
    "a body that Keras cannot follow": (lambda: called(Foreign()), batch(), "structure", "cannot be followed"),
    "a subclass that is not built": (lambda: Subclassed(layers.Rescaling(1 / 255)), batch(), "structure", "not built"),
    "weights of another house": (lambda: plain(Stem()), batch("none"), "range", "of another house"),
    "a layer that does not run": (
        lambda: functional(layers.Lambda(lambda x: tf.ensure_shape(x, (1, 32, 32, 3)), output_shape=(32, 32, 3))),
        batch(), "range", "could not be run",
    ),
    "a batch without a range": (plain, batch("open"), "range", "which has none"),
    "a batch that leaves rows open": (plain, batch(rows=None), "rows", "any"),
    "a batch that leaves samples open": (lambda: plain(batch_size=8), batch(), "samples", "any"),
    "a loss of one's own": (lambda: compiled(plain(), lambda y, p: p), batch(), "labels", "not Keras' own"),
    "numbers as labels": (
        lambda: compiled(plain(units=1, activation=None), "mse"), batch(), "labels", "class ids for numbers",
    ),
    "two outputs": (
        lambda: keras.Model(entry := keras.Input((32, 32, 3)), [layers.Dense(10)(layers.Flatten()(entry))] * 2),
        batch(), "labels", "2 outputs",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", UNSEEN)
def test_what_cannot_be_seen_is_undetermined(case):
    """It is never passed: one finding of its own says what could not be seen."""
    model, taken, aspect, found = UNSEEN[case]
    violations = check_model(model(), batch=taken, classes=CLASSES)
    assert [(Code.MODEL_UNDETERMINED, aspect)] == [(violation.code, violation.aspect) for violation in violations]
    assert found in violations[0].found


def test_every_mismatch_is_told_at_once():
    """Range, dtype and labels, together."""
    model = compiled(plain(layers.Rescaling(1 / 255), units=9), "categorical_crossentropy")
    violations = check_model(model, batch=batch("unit"), classes=CLASSES)
    assert [("range",), ("units",), ("loss",)] == [(violation.aspect,) for violation in violations]
    assert 'load with nhwc.load(scale="none"), or drop rescaling' in violations[0].hint
    assert "[0, 255], which becomes [0, 1]" == violations[0].expected


def test_the_model_stays_as_it_is():
    """Neither weights nor graph of a model change, and one that is not built is not built by the check."""
    model, unbuilt = trained("MobileNetV2"), keras.Sequential([layers.Conv2D(4, 3), *head()])
    before = [weight.numpy() for weight in model.weights]
    check_model(model, batch=batch("signed"), classes=CLASSES)
    check_model(unbuilt, batch=batch(), classes=CLASSES)
    assert all(np.array_equal(old, new.numpy()) for old, new in zip(before, model.weights, strict=True))
    assert not unbuilt.built


def saved(model, path):
    """The path, with the model in it; Keras warns of H5 files, and warns itself through NumPy."""
    with warnings.catch_warnings(action="ignore"):
        model.save(path)
    return path


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_file_is_checked_as_its_model(tmp_path, suffix):
    """Layers, adapted statistics, weights and loss come back from the file."""
    model = compiled(plain(adapted(0, 255)), "categorical_crossentropy")
    path = saved(model, tmp_path / f"model{suffix}")
    codes = [violation.code for violation in check_model(path, batch=batch("unit"), classes=CLASSES)]
    assert [Code.MODEL_RANGE, Code.MODEL_LABELS] == codes
    assert [Code.MODEL_LABELS] == [one.code for one in check_model(str(path), batch=batch("none"), classes=CLASSES)]


@keras.saving.register_keras_serializable("tests")
class Valued(layers.Layer):
    """A layer of another house that makes a variable from a value."""

    def __init__(self, **options):
        super().__init__(**options | {"name": "valued"})
        self.scale = keras.Variable(np.full(3, 1 / 255, np.float32), trainable=False)

    def call(self, images):
        return images * self.scale


FILED = {
    "trained": (lambda: trained("MobileNetV2"), batch("unit")),
    "from scratch": (lambda: application("MobileNetV2"), batch("unit")),
    "adapted, in another model": (lambda: plain(keras.Sequential([keras.Input((32, 32, 3)), adapted(0, 1)])), batch()),
    "compiled, in another model": (
        lambda: keras.Sequential([keras.Input((32, 32, 3)), compiled(plain(layers.Rescaling(1 / 255)), SPARSE)]),
        batch("unit"),
    ),
    "a variable made from a value": (lambda: plain(Valued()), batch("none")),
    "a loss in a list": (lambda: compiled(plain(activation=None), [LOGITS]), batch()),
    "a loss by name": (lambda: compiled(plain(units=9), SPARSE), batch()),
    "half precision": (lambda: plain(layers.Normalization(dtype="float16")), batch("none")),
}


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("case", FILED)
def test_a_file_says_what_its_model_says(tmp_path, case, suffix):
    """The same findings, though its weights are given no initial values; a check leaves none for later either."""
    make, taken = FILED[case]
    model = make()
    path = saved(model, tmp_path / f"model{suffix}")
    assert check_model(model, batch=taken, classes=CLASSES) == check_model(path, batch=taken, classes=CLASSES)
    assert not global_state.get_global_attribute("uninitialized_variables")


def test_a_loss_that_a_file_does_not_give_back_is_undetermined(tmp_path):
    """Keras cannot read "mse" back from an H5 file: the model is checked without it, and that is said."""
    path = saved(compiled(plain(), "mse"), tmp_path / "model.h5")
    (violation,) = check_model(path, batch=batch(), classes=CLASSES)
    assert (Code.MODEL_UNDETERMINED, "loss") == (violation.code, violation.aspect)


def archive(path, config):
    """A .keras file of nothing but this configuration."""
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("config.json", json.dumps(config))
    return path


def make_model_with(layer):
    """A file's maker: a model that begins with that layer."""
    return lambda folder: saved(plain(layer), folder / "model.keras")


def make_bytes(name, content):
    """A file's maker: those bytes under that name."""

    def make(folder):
        (folder / name).write_bytes(content)
        return folder / name

    return make


def make_folder(folder):
    """What a SavedModel is: a folder."""
    (folder / "saved_model.pb").write_bytes(b"")
    return folder


def make_foreign_h5(folder):
    """An H5 file whose layer holds code."""
    with h5py.File(folder / "model.h5", "w") as file:
        file.attrs["model_config"] = json.dumps({"class_name": "Sequential", "config": [{"class_name": "Lambda"}]})
    return folder / "model.h5"


EVIL = {"module": "os", "class_name": "system", "config": "touch /tmp/never", "registered_name": "system"}
FUNCTION = {"class_name": "function", "module": "subprocess", "config": "run", "registered_name": "function"}

REFUSED = {
    "a Lambda": (make_model_with(layers.Lambda(lambda x: x / 255)), "found Lambda, __lambda__, which is code"),
    "a foreign class": (lambda folder: archive(folder / "m.keras", {"config": {"layers": [EVIL]}}), "found system, "),
    "a foreign function": (lambda folder: archive(folder / "m.keras", {"activation": FUNCTION}), "found function, "),
    "an H5 Lambda": (make_foreign_h5, "found Lambda, which is code"),
    "no model": (lambda folder: archive(folder / "m.keras", {"class_name": "Dense"}), "cannot be loaded"),
    "no archive": (make_bytes("m.keras", b"\x80\x04pickle"), "cannot be read"),
    "a cut H5": (make_bytes("m.h5", b"\x89HDF\r\n\x1a\n"), "cannot be read"),
    "a pickle": (make_bytes("m.pkl", b"\x80\x04N."), "its name ends in .pkl"),
    "a SavedModel": (make_folder, "found a folder"),
    "nothing": (lambda folder: folder / "m.keras", "found no such file"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_file_that_is_not_to_be_loaded_is_one_recipe_error(tmp_path, case):
    """It names the file, what was found and what was expected; nothing of the file is run."""
    make, message = REFUSED[case]
    path = make(tmp_path)
    with pytest.raises(RecipeError, match=message) as caught:
        check_model(path, batch=batch(), classes=CLASSES)
    assert str(path) == caught.value.where
    assert 1 == len(caught.value.problems)
    assert ", expected " in caught.value.problems[0]


def test_registered_classes_are_loaded(tmp_path):
    """A class of one's own that this process has registered with Keras is as good as Keras' own."""
    path = saved(plain(Stem()), tmp_path / "model.keras")
    violations = check_model(path, batch=batch("none"), classes=CLASSES)
    assert [Code.MODEL_UNDETERMINED] == [violation.code for violation in violations]


@pytest.mark.parametrize(
    ("model", "taken", "message"),
    [
        (len, batch(), "found builtin_function_or_method, expected a keras.Model"),
        (
            keras.Sequential(),
            TensorContract(axes=(Axis("rows", 2),), dtype="uint8"),
            "expected axes samples, rows, cols, channels",
        ),
    ],
)
def test_a_wrong_call_is_a_recipe_error(model, taken, message):
    """What is no Keras model, and what is no batch of images."""
    with pytest.raises(RecipeError, match=message):
        check_model(model, batch=taken, classes=CLASSES)


def test_a_backend_that_is_not_installed(monkeypatch):
    """Keras cannot be imported then: one line says why, and what would do."""
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    monkeypatch.setitem(sys.modules, "keras", None)
    with pytest.raises(
        RecipeError, match=r"^KERAS_BACKEND:\n  found jax, which cannot be used \(.+\), expected"
    ) as caught:
        check_model("model.keras", batch=batch(), classes=CLASSES)
    assert 2 == caught.value.exit_status
