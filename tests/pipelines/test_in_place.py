"""Batches that are the pages of shards: the same as those that are copied, whoever writes and whatever is missing."""

import gc
import os
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from nhwc.pipelines import in_place
from nhwc.pipelines import load as load_module
from nhwc.pipelines.load import load

LARGE = {"rows": 80, "cols": 80}
"""19,200 bytes with 3 channels: large enough to be handed on as they lie."""


def copied(folder: Path, **options) -> tf.data.Dataset:
    """The same batches on the road that copies."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(load_module, "in_place", lambda plan: None)
        return load(folder, **options)


def is_in_place(folder: Path, **options) -> bool:
    """Whether `load` hands on the pages."""
    given = []
    with pytest.MonkeyPatch.context() as patch:
        really = load_module.in_place
        patch.setattr(load_module, "in_place", lambda plan: given.append(really(plan)) or given[-1])
        load(folder, **options)
    return given[0] is not None


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("shards", [1, 4, 30])
@pytest.mark.parametrize("batch_size", [3, 8, 40, 41])
@pytest.mark.parametrize("drop_remainder", [False, True])
@pytest.mark.parametrize("with_ids", [False, True])
def test_it_is_what_a_copy_would_be(write_version, dtype, shards, batch_size, drop_remainder, with_ids):
    """Values, sizes, spec and cardinality, in each of two epochs, from batches within a shard and across many."""
    version = write_version(41, dtype=dtype, shards=shards, splits=("train",), **LARGE)
    options = {"batch_size": batch_size, "drop_remainder": drop_remainder, "with_ids": with_ids}
    assert is_in_place(version.folder, **options)
    dataset, expected = load(version.folder, **options), copied(version.folder, **options)
    assert dataset.element_spec == expected.element_spec
    assert dataset.cardinality() == expected.cardinality()
    for _ in range(2):
        batches = list(zip(dataset, expected, strict=True))
        assert len(batches) == dataset.cardinality()
        for found, wanted in batches:
            for one, other in zip(found, wanted, strict=True):
                np.testing.assert_array_equal(other, one)


@pytest.mark.parametrize(
    ("written", "options", "expected"),
    [
        ({}, {}, True),
        ({}, {"split": "all"}, True),
        ({}, {"start_batch": 10}, True),
        ({}, {"start_batch": 3}, False),
        ({}, {"shuffle": True}, False),
        ({}, {"scale": "unit"}, False),
        ({}, {"dtype": "float16"}, False),
        ({}, {"channels_first": True}, False),
        ({}, {"shard": (0, 2)}, False),
        ({"rows": 8}, {}, False),
        ({"samples": 3}, {}, False),
        ({"cols": 81, "channels": 1, "rows": 300}, {}, False),
        ({"dtype": "float32"}, {}, False),
        ({"samples": 200, "splits": ("train", "test")}, {}, False),
        ({"samples": 200, "splits": ("train", "test")}, {"split": "all"}, True),
    ],
)
def test_when(write_version, written, options, expected):
    """What decides is of the version and of the call alone: a checkpoint is read by the same road everywhere."""
    version = write_version(**{"samples": 40, "splits": ("train",)} | LARGE | written)
    assert expected == is_in_place(version.folder, batch_size=4, **options)


@pytest.mark.parametrize("part", [slice(None), slice(0, 3), slice(1, None)])
def test_what_is_computed_in_place_of_a_batch_stays_out_of_it(write_version, part):
    """TensorFlow writes a result over the part of a tensor that nothing needs any more; these the dataset needs."""
    written = write_version(32, shards=3, splits=("train",), **LARGE)
    before = [path.read_bytes() for path in written.shards]
    changed = load(written.folder, batch_size=8).map(lambda images, labels: tf.bitwise.invert(images[part]))
    expected = np.stack([~written.images[one] for one in written.ids["train"]]).reshape(4, 8, 80, 80, 3)[:, part]
    for _ in range(3):
        np.testing.assert_array_equal(expected, np.stack([batch.numpy() for batch in changed]))
    assert before == [path.read_bytes() for path in written.shards]


def test_batches_outlive_the_dataset(write_version):
    """What is kept of it stays as it is, though the files are gone."""
    written = write_version(32, shards=3, splits=("train",), **LARGE)
    kept = [images for images, _ in load(written.folder, batch_size=8)]
    gc.collect()
    for shard in written.shards:
        shard.unlink()
    expected = np.stack([written.images[one] for one in written.ids["train"]])
    np.testing.assert_array_equal(expected, np.concatenate(kept))


@pytest.mark.parametrize("seen", [0, 3, 6, 9])
def test_a_checkpoint_goes_on_exactly_and_is_small(write_version, tmp_path, seen):
    """It holds where the iteration is, not the pages."""
    written = write_version(40, shards=3, splits=("train",), **LARGE)
    options = {"batch_size": 4, "with_ids": True}
    iterator = iter(load(written.folder, **options))
    for _ in range(seen):
        next(iterator)
    saved = tf.train.Checkpoint(iterator=iterator).save(str(tmp_path / "checkpoint"))
    assert sum(path.stat().st_size for path in tmp_path.glob("checkpoint-*")) < 5 * 80 * 80 * 3
    left = [ids.numpy().tolist() for _, _, ids in iterator]
    restored = iter(load(written.folder, **options))
    tf.train.Checkpoint(iterator=restored).restore(saved)
    assert left == [ids.numpy().tolist() for _, _, ids in restored]


def test_a_damaged_shard_ends_the_iteration_and_is_named(write_version):
    """As it does on the road that copies."""
    written = write_version(40, shards=3, splits=("train",), **LARGE)
    written.shards[1].write_bytes(written.shards[1].read_bytes()[:5000])
    with pytest.raises(tf.errors.UnknownError, match=f"checksum: shard found no readable.*{written.shards[1]}"):
        list(load(written.folder, batch_size=4))


def test_any_graph_takes_the_batches(write_version):
    """A function's takes the pages; one of TensorFlow 1, which takes no tensors in, copies."""
    written = write_version(16, shards=2, splits=("train",), **LARGE)
    total = int(sum(image.sum(dtype=np.int64) for image in written.images.values()))

    @tf.function
    def summed() -> tf.Tensor:
        found = tf.constant(0, tf.int64)
        for batch in load(written.folder, batch_size=8):
            found += tf.reduce_sum(tf.cast(batch[0], tf.int64))
        return found

    assert total == summed().numpy()
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        images, _ = tf.compat.v1.data.make_one_shot_iterator(load(written.folder, batch_size=16)).get_next()
        assert total == session.run(images).sum(dtype=np.int64)


def test_shards_are_read_ahead_while_a_dataset_wants_them(write_version, monkeypatch):
    """And no longer."""
    wanted = []
    monkeypatch.setattr(in_place, "_read_ahead", lambda paths, one: wanted.append(one))
    dataset = load(write_version(40, splits=("train",), **LARGE).folder, batch_size=8)
    until = time.monotonic() + 30
    while not wanted and time.monotonic() < until:
        time.sleep(0.01)
    (one,) = wanted
    gc.collect()
    assert one() is not None
    batches = iter(dataset)
    images = next(batches)[0]
    del dataset, batches
    gc.collect()
    assert one() is not None
    del images
    gc.collect()
    assert one() is None


@pytest.mark.skipif(not hasattr(os, "RWF_NOWAIT"), reason="the system cannot say what lies in memory")
def test_shards_are_read_ahead(write_version):
    """What is not in memory yet is brought there beside the consumer."""

    def in_memory(path: Path) -> bool:
        with path.open("rb") as file:
            try:
                return os.preadv(file.fileno(), [bytearray(1)], path.stat().st_size // 2, os.RWF_NOWAIT) == 1
            except BlockingIOError:
                return False

    written = write_version(400, shards=2, splits=("train",), **LARGE)
    for shard in written.shards:
        with shard.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    if any(map(in_memory, written.shards)):
        pytest.skip("this file system keeps its files in memory")
    dataset = load(written.folder, batch_size=8)
    until = time.monotonic() + 30
    while not all(map(in_memory, written.shards)) and time.monotonic() < until:
        time.sleep(0.01)
    assert all(map(in_memory, written.shards))
    del dataset
