import re
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nhwc.pipelines.load import load
from nhwc.pipelines.records import load_records
from nhwc.validators.errors import DataError, RecipeError


def by_id(dataset: tf.data.Dataset) -> dict[str, tuple[bytes, int]]:
    """Pixels and label of each sample; none may come twice."""
    samples = [sample for images, *others in dataset for sample in zip(images.numpy(), *others, strict=True)]
    found = {one.numpy().decode(): (image.tobytes(), int(label)) for image, label, one in samples}
    assert len(samples) == len(found)
    return found


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("split", ["train", "all"])
@pytest.mark.parametrize(
    ("dtype", "scale"), [("uint8", "none"), ("uint16", "none"), ("uint8", "unit"), ("uint8", "standard")]
)
def test_the_samples_of_load(write_version, shuffle, split, dtype, scale):
    """Each sample of the split once, with the label and, to the bit, the values that `load` gives."""
    folder = write_version(70, dtype=dtype).folder
    options = {"split": split, "batch_size": 4, "scale": scale, "with_ids": True}
    assert by_id(load(folder, **options)) == by_id(load_records(folder, **options, shuffle=shuffle, seed=3))


@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    samples=st.integers(1, 80),
    shards=st.integers(1, 5),
    splits=st.lists(st.sampled_from(["train", "test"]), min_size=1, max_size=7).filter(
        lambda splits: splits[0] == "train"
    ),
    batch_size=st.integers(1, 9),
)
def test_any_splits_in_any_shards(write_version, tmp_path_factory, samples, shards, splits, batch_size):
    """However the samples of a split lie among others'."""
    name = tmp_path_factory.mktemp("any").name
    folder = write_version(samples, shards=min(shards, samples), splits=splits, name=name).folder
    options = {"batch_size": batch_size, "with_ids": True}
    assert by_id(load(folder, **options)) == by_id(load_records(folder, **options))


def test_nothing_of_it_calls_python(write_version):
    """No operation of the whole graph belongs to this process, so that any other can run it."""
    folder = write_version(30).folder

    def operations(dataset: tf.data.Dataset) -> set[str]:
        graph = tf.compat.v1.GraphDef.FromString(dataset._as_serialized_graph().numpy())
        nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
        return {node.op for node in nodes if "PyFunc" in node.op}

    assert operations(load(folder)) != set()
    assert operations(load_records(folder, shuffle=True, scale="standard", with_ids=True)) == set()


def test_shuffled_anew_each_iteration(write_version):
    """The order is another in each iteration, and the same for the same seed."""
    folder = write_version(60, splits=("train",)).folder

    def orders(seed: int) -> list[list[bytes]]:
        dataset = load_records(folder, shuffle=True, seed=seed, with_ids=True)
        return [[one for *_, ids in dataset for one in ids.numpy()] for _ in range(2)]

    first, second = orders(1)
    assert first != second
    assert [first, second] == orders(1)
    assert [first, second] != orders(2)


@pytest.mark.parametrize(("drop", "expected"), [(False, [4, 4, 2]), (True, [4, 4])])
def test_the_batch_is_in_the_spec(write_version, drop, expected):
    """All of it, but for the batch axis where the last may be smaller."""
    dataset = load_records(write_version(10, splits=("train",)).folder, batch_size=4, drop_remainder=drop)
    images, labels = dataset.element_spec
    assert ([4 if drop else None, 2, 3, 3], tf.uint8) == (images.shape.as_list(), images.dtype)
    assert ([4 if drop else None], tf.int64) == (labels.shape.as_list(), labels.dtype)
    assert expected == [len(images) for images, _ in dataset]


def test_what_python_has_to_make_is_refused(write_version):
    """Files, which are decoded, and floats, which are looked at; with what to use instead."""
    floats = write_version(6, dtype="float32", name="floats").folder
    with pytest.raises(
        RecipeError,
        match=re.escape(
            "found float32[rows=2, cols=3, channels=3] in [0, 255], expected a dtype of whole numbers: use nhwc.load"
        ),
    ):
        load_records(floats)
    files = write_version(6, name="files").folder
    _encoded(files)
    with pytest.raises(RecipeError, match=re.escape("found storage: encoded, expected pixels: use nhwc.load")):
        load_records(files)


def _encoded(folder: Path) -> None:
    path = folder / "1.0.0" / "contract.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"storage": "encoded"}))
    (folder / "1.0.0" / "recipe.yaml").write_text(
        yaml.safe_dump({"image": {"rows": 2, "cols": 3, "storage": "encoded"}})
    )


def test_wrong_arguments_come_all_at_once(write_version, tmp_path):
    """Under the name of the function that was called; with a version that is missing too."""
    folder = write_version(6).folder
    with pytest.raises(RecipeError, match=r"(?s)nhwc.load_records.*batch_size: found 0.*split: found 'dev'"):
        load_records(folder, batch_size=0, split="dev")
    with pytest.raises(RecipeError, match=r"(?s)nhwc.load_records.*/none: found no such folder.*batch_size: found 0"):
        load_records(tmp_path / "none", batch_size=0)


def test_damaged_shards_are_said_before_anything_is_read(write_version):
    """The graph cannot look at what it reads, so each shard is looked at when the dataset is made."""
    version = write_version(12)
    version.shards[0].write_bytes(version.shards[1].read_bytes())
    with pytest.raises(DataError, match="other samples than the manifest places in it"):
        load_records(version.folder)
    version.shards[0].write_bytes(b"")
    with pytest.raises(DataError, match="no readable shard"):
        load_records(version.folder)
    version.shards[0].unlink()
    with pytest.raises(DataError, match="no such file"):
        load_records(version.folder)


def test_no_image_of_another_split_is_emitted(write_version):
    """Also where the split's samples lie together, and what is around them is not read at all."""
    folder = write_version(64, splits=("train",) * 32 + ("test",) * 32).folder
    images = np.concatenate([images.numpy() for images, _ in load_records(folder, split="test", batch_size=5)])
    assert 32 == len(images)
