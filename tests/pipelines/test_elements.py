"""A tf.data.Dataset measured: every image once, by place or id, with what an ingest would say of it."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from nhwc.pipelines.elements import Elements, measure_elements
from nhwc.validators.errors import RecipeError

PIXELS = np.random.default_rng(3).integers(0, 256, (10, 40, 48, 3), dtype=np.uint8)
LABELS = np.arange(10) % 3


def slices(*parts: Any) -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices(parts if len(parts) > 1 else parts[0])


def test_a_label_that_is_no_number_is_one_violation() -> None:
    """NaN and infinity among floats."""
    labels = np.array([0, 1, np.nan, np.inf, -np.inf, 0.5, 1, 0, 1, 0], np.float32)
    elements = seen(slices(PIXELS, labels))
    assert [2, 3, 4, 5] == [int(one.sample_id) for one in elements.violations if one.sample_id]
    assert {"unknown_class"} == {str(one.code) for one in elements.violations}


def seen(dataset: tf.data.Dataset, **options: Any) -> Elements:
    return measure_elements(dataset, **options)


@pytest.mark.parametrize("batch", [None, 1, 4, 10])
@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (LABELS, ("0", "1", "2")),
        (tf.one_hot(LABELS, 3), ("0", "1", "2")),
        (LABELS[:, None], ("0", "1", "2")),
        (tf.constant(["cat", "dog", "emu"] * 3 + ["cat"]), ("cat", "dog", "emu")),
    ],
)
def test_every_sample_is_seen_once_with_its_label(batch: int | None, labels: Any, names: tuple[str, ...]) -> None:
    """Batched or not, labels as numbers, one-hot or text."""
    dataset = slices(PIXELS, labels)
    elements = seen(dataset.batch(batch) if batch else dataset)
    assert names == elements.classes
    assert [f"sample {place}" for place in range(10)] == elements.manifest["path"].to_list()
    assert [names[place % 3] for place in range(10)] == elements.manifest["label"].to_list()
    assert LABELS.tolist() == elements.manifest["label_id"].to_list()
    assert "uint8[rows=40, cols=48, channels=3] in [0, 255]" == str(elements.contract)
    assert () == elements.violations
    assert PIXELS[4].mean(axis=(0, 1)).tolist() == pytest.approx(elements.manifest["channel_mean"][4])


@pytest.mark.parametrize(
    ("values", "value_range"),
    [
        (PIXELS / np.float32(255), "[0, 1]"),
        (PIXELS / np.float32(127.5) - 1, "[-1, 1]"),
        (PIXELS.astype(np.float32), "[0, 255]"),
    ],
)
def test_the_scale_of_floats_is_told_by_the_first(values: Any, value_range: str) -> None:
    """Then the figures are those of the same pixels in 8 bits, but for rounding."""
    ours, theirs = seen(slices(values, LABELS)), seen(slices(PIXELS, LABELS))
    assert str(ours.contract).endswith(f"channels=3] in {value_range}")
    for figure in ("brightness", "entropy", "sharpness"):
        assert theirs.manifest[figure].to_list() == pytest.approx(ours.manifest[figure].to_list(), abs=0.02)


def test_images_without_labels_are_of_one_class() -> None:
    """So that all else can be judged."""
    assert ("all",) == seen(slices(PIXELS)).classes


def test_ids_name_the_samples() -> None:
    """As `nhwc.load(with_ids=True)` gives them."""
    ids = tf.constant([f"photo {place}" for place in range(10)])
    assert "photo 7" == seen(slices(PIXELS, LABELS, ids).batch(3)).manifest["path"][7]


def test_copies_share_a_cluster() -> None:
    """Mirrored too."""
    smooth = tf.image.resize(np.random.default_rng(1).integers(0, 255, (3, 9, 9, 3)), (64, 64)).numpy().astype(np.uint8)
    clusters = seen(slices(np.concatenate([smooth, smooth[:1, :, ::-1]]))).manifest["cluster"]
    assert clusters[0] == clusters[3]
    assert 3 == clusters.n_unique()


def test_a_sample_that_breaks_the_contract_is_named() -> None:
    """Of elements whose spec leaves it open."""
    broken = np.array([[[np.nan] * 3] * 4] * 5, np.float32)

    def images() -> Any:
        yield np.zeros((5, 4, 3), np.float32)
        yield broken
        yield np.zeros((5, 4, 2), np.float32)

    spec = tf.TensorSpec((None, None, None), tf.float32)
    elements = seen(tf.data.Dataset.from_generator(images, output_signature=spec))
    told = [(one.sample_id, str(one.code), one.expected, one.found) for one in elements.violations]
    assert [
        ("0000000000000001", "out_of_range", "finite values", "NaN or infinity"),
        ("0000000000000002", "wrong_channels", "1|3|4", "2"),
    ] == told
    assert ["kept", "quarantined", "quarantined"] == elements.manifest["status"].to_list()


@pytest.mark.parametrize(
    ("images", "found"),
    [(PIXELS[0, ..., 0], "wrong_rank"), (PIXELS[..., :2], "wrong_channels"), (PIXELS[None, None], "wrong_rank")],
)
def test_what_no_image_can_keep_is_told_once(images: Any, found: str) -> None:
    """From the spec, before anything is read."""
    (violation,) = seen(slices(images)).violations
    assert (found, None) == (str(violation.code), violation.sample_id)


@pytest.mark.parametrize(("label", "found"), [(7, "7"), (-1, "-1"), (0.5, "0.5")])
def test_a_label_that_is_no_class_is_named(label: float, found: str) -> None:
    """Where the classes are given."""
    labels = np.array([0, 1, label])
    elements = seen(slices(PIXELS[:3], labels), classes=["cat", "dog"])
    (violation,) = elements.violations
    assert ("unknown_class", "a whole number below 2") == (str(violation.code), violation.expected)
    assert found == violation.found.removesuffix(".0")


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (slices(PIXELS).repeat(), r"found no end \(repeat\(\)\), expected one: say how many to look at with samples="),
        (slices(tf.constant(["a"])), "found elements TensorSpec.*expected images"),
        (slices({"image": PIXELS}), "found elements .*expected images"),
    ],
)
def test_what_is_no_dataset_of_images_is_told(dataset: Any, message: str) -> None:
    """Before anything is read."""
    with pytest.raises(RecipeError, match=message):
        seen(dataset)


def test_samples_ends_a_dataset_without_end() -> None:
    """So many are looked at."""
    assert 23 == seen(slices(PIXELS, LABELS).batch(4).repeat(), samples=23).manifest.height
