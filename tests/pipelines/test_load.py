import gc
import re
import subprocess
import sys
import weakref
from functools import partial
from itertools import chain, islice

import keras
import numpy as np
import pytest
import tensorflow as tf

from nhwc.pipelines import load as load_module
from nhwc.pipelines.cast import ChannelStatistics, make_cast
from nhwc.pipelines.load import load
from nhwc.validators.contract import image_contract
from nhwc.validators.errors import DataError, RecipeError


def ids_of(batches) -> list[list[str]]:
    """The ids in each batch."""
    return [[sample_id.decode() for sample_id in batch[2].numpy()] for batch in batches]


def epoch(dataset: tf.data.Dataset) -> list[str]:
    """The ids of one iteration, in order."""
    return [sample_id for batch in ids_of(dataset) for sample_id in batch]


@pytest.fixture(params=[1, 150, 2**22], ids=["one", "two", "all"])
def blocks(request, monkeypatch) -> None:
    """Batches of four of the smallest images, made one at a time, two, or all of an epoch at once."""
    monkeypatch.setattr(load_module, "BLOCK_BYTES", request.param)


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize(
    ("dtype", "channels"), [("uint8", 3), ("uint8", 1), ("uint8", 4), ("uint16", 3), ("float32", 3)]
)
@pytest.mark.parametrize("shards", [1, 4])
def test_each_sample_once_with_its_label_and_pixels(write_version, shuffle, dtype, channels, shards):
    """An epoch is every sample of the split once, with the label and the very bytes that were stored."""
    version = write_version(23, dtype=dtype, channels=channels, shards=shards)
    for _ in range(2):
        seen = []
        for images, labels, ids in load(version.folder, batch_size=4, shuffle=shuffle, seed=1, with_ids=True):
            for image, label, sample_id in zip(images.numpy(), labels.numpy(), ids.numpy(), strict=True):
                assert version.images[sample_id.decode()].tobytes() == image.tobytes()
                assert version.labels[sample_id.decode()] == label
                seen.append(sample_id.decode())
        assert sorted(version.ids["train"]) == sorted(seen)
        assert shuffle == (seen != version.ids["train"])


def test_splits_are_joined_in_the_manifests_order(write_version):
    """One split, several joined by +, or all: in order of path, whichever is named first."""
    version = write_version(11, splits=("train", "test", "validation"))
    both = [sample_id for sample_id in version.images if sample_id in version.ids["train"] + version.ids["test"]]
    assert version.ids["test"] == epoch(load(version.folder, split="test", with_ids=True))
    assert both == epoch(load(version.folder, split="test+train", with_ids=True))
    assert list(version.images) == epoch(load(version.folder, split="all", with_ids=True))
    assert list(version.images) == epoch(load(version.folder / "1.0.0", split="all", with_ids=True))


def test_each_epoch_has_another_order(write_version):
    """Iterating again is the next epoch, in a plain loop and in repeat() alike; the same seed gives the same epochs."""
    folder = write_version(30, splits=("train",)).folder
    options = {"batch_size": 8, "shuffle": True, "seed": 7, "with_ids": True}
    dataset = load(folder, **options)
    epochs = [epoch(dataset) for _ in range(4)]
    assert len({tuple(order) for order in epochs}) == 4
    assert {tuple(sorted(epochs[0]))} == {tuple(sorted(order)) for order in epochs}
    assert list(chain.from_iterable(epochs)) == epoch(load(folder, **options).repeat(4))
    assert epochs != [epoch(load(folder, **{**options, "seed": 8})) for _ in range(4)]
    assert epochs[1] != epoch(load(folder, **{**options, "seed": 8}))


def test_the_manifests_order_without_shuffle(write_version):
    """Not shuffled, every epoch comes in the same order."""
    version = write_version(9)
    dataset = load(version.folder, batch_size=4, with_ids=True)
    assert [version.ids["train"]] * 3 == [epoch(dataset) for _ in range(3)]


@pytest.mark.parametrize("parallel", [1, 3, 8])
@pytest.mark.usefixtures("blocks")
def test_the_order_is_the_same_for_any_parallelism(write_version, monkeypatch, parallel):
    """How many batches are made at a time changes nothing of what comes."""
    folder = write_version(40, splits=("train",)).folder
    options = {"batch_size": 3, "shuffle": True, "with_ids": True}
    expected = ids_of(load(folder, **options))
    monkeypatch.setattr(load_module, "COPYING_THREADS", parallel)
    assert expected == ids_of(load(folder, **options))


@pytest.mark.usefixtures("blocks")
def test_looking_is_not_iterating(write_version):
    """Neither element_spec nor cardinality, nor an iterator that nothing is taken from, uses up an epoch."""
    folder = write_version(20).folder
    options = {"batch_size": 4, "shuffle": True, "with_ids": True}
    expected = epoch(load(folder, **options))
    dataset = load(folder, **options)
    assert int(dataset.cardinality()) == 4
    assert dataset.element_spec is not None
    unused = iter(dataset)
    assert expected == epoch(dataset)
    del unused


@pytest.mark.parametrize("start", [0, 1, 4, 5, 12, 1_000_003])
@pytest.mark.usefixtures("blocks")
def test_start_batch_goes_on_there(write_version, start):
    """The first iteration is the rest of that epoch, and the epochs after it follow."""
    folder = write_version(20, splits=("train",)).folder
    options = {"batch_size": 4, "shuffle": True, "seed": 3, "with_ids": True}
    steps = 5
    whole = load(folder, **options, start_batch=start // steps * steps).repeat(3)
    expected = ids_of(whole)[start % steps :]
    resumed = load(folder, **options, start_batch=start)
    assert expected == ids_of(resumed) + ids_of(resumed) + ids_of(resumed)
    unknown = tf.data.experimental.UNKNOWN_CARDINALITY
    assert (steps if start % steps == 0 else unknown) == int(load(folder, **options, start_batch=start).cardinality())


def test_start_batch_reaches_a_later_epoch_without_reading_the_earlier(write_version):
    """Epoch 2 by start_batch is the third iteration of a dataset started at 0."""
    folder = write_version(20, splits=("train",)).folder
    options = {"batch_size": 4, "shuffle": True, "seed": 3, "with_ids": True}
    dataset = load(folder, **options)
    epochs = [epoch(dataset) for _ in range(3)]
    assert epochs[2] == epoch(load(folder, **options, start_batch=10))


CONTINUE = """
import sys, tensorflow as tf
from nhwc.pipelines.load import load
folder, checkpoint, repeat, count = sys.argv[1], sys.argv[2], sys.argv[3] == "True", int(sys.argv[4])
dataset = load(folder, batch_size=4, shuffle=True, seed=3, with_ids=True)
iterator = iter(dataset.repeat() if repeat else dataset)
tf.train.Checkpoint(iterator=iterator).read(checkpoint).assert_consumed()
for number, batch in enumerate(iterator, 1):
    print(*(sample_id.decode() for sample_id in batch[2].numpy()))
    if number == count:
        break
if not repeat:
    for batch in dataset:
        print(*(sample_id.decode() for sample_id in batch[2].numpy()))
"""


@pytest.mark.parametrize(("seen", "repeat"), [(2, False), (12, True)])
def test_a_checkpoint_goes_on_in_another_process(write_version, tmp_path, seen, repeat):
    """Written in the middle of epoch 0 or of epoch 2, it goes on exactly, and so do the epochs after it."""
    folder = write_version(20, splits=("train",)).folder
    dataset = load(folder, batch_size=4, shuffle=True, seed=3, with_ids=True)
    expected = ids_of(load(folder, batch_size=4, shuffle=True, seed=3, with_ids=True).repeat(5))
    iterator = iter(dataset.repeat() if repeat else dataset)
    assert expected[:seen] == ids_of(islice(iterator, seen))
    checkpoint = tf.train.Checkpoint(iterator=iterator).write(str(tmp_path / "checkpoint"))
    count = 10 if repeat else 3
    arguments = [str(folder), checkpoint, str(repeat), str(count)]
    run = subprocess.run([sys.executable, "-c", CONTINUE, *arguments], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert expected[seen : seen + (10 if repeat else 8)] == [line.split() for line in run.stdout.splitlines()]


@pytest.mark.parametrize("asked", [True, False], ids=["to the end", "for what is left"])
@pytest.mark.parametrize("seen", range(6))
@pytest.mark.usefixtures("blocks")
def test_a_checkpoint_of_any_step_goes_on_exactly(write_version, tmp_path, seen, asked):
    """In epoch 2 of a loop over the dataset, at each step, also when nothing of the epoch is left."""
    folder = write_version(20, splits=("train",)).folder
    options = {"batch_size": 4, "shuffle": True, "seed": 3, "with_ids": True}
    expected = ids_of(load(folder, **options).repeat(4))
    dataset = load(folder, **options)
    epoch(dataset), epoch(dataset)
    iterator = iter(dataset)
    list(islice(iterator, seen))
    checkpoint = tf.train.Checkpoint(iterator=iterator).write(str(tmp_path / "checkpoint"))
    fresh = load(folder, **options)
    restored = iter(fresh)
    tf.train.Checkpoint(iterator=restored).read(checkpoint).assert_consumed()
    resumed = ids_of(restored if asked else islice(restored, 5 - seen))
    if seen:  # before the first batch there is no epoch in the checkpoint yet
        assert expected[10 + seen : 15] == resumed
        assert expected[15:20] == ids_of(fresh)


@pytest.mark.parametrize("drop", [False, True])
@pytest.mark.parametrize(
    ("samples", "batch_size", "count"), [(20, 4, 2), (21, 2, 2), (23, 3, 3), (17, 5, 3), (12, 1, 4)]
)
@pytest.mark.usefixtures("blocks")
def test_shards_share_out_each_epoch(write_version, samples, batch_size, count, drop):
    """The shards' batches of each step are disjoint, their union is the epoch, and all have as many steps."""
    version = write_version(samples, splits=("train",))
    options = {"batch_size": batch_size, "shuffle": True, "drop_remainder": drop, "with_ids": True}
    shards = [load(version.folder, **options, shard=(index, count)) for index in range(count)]
    off = tf.data.experimental.AutoShardPolicy.OFF
    assert {off} == {shard.options().experimental_distribute.auto_shard_policy for shard in shards}
    for _ in range(2):
        batches = [ids_of(shard) for shard in shards]
        assert len({len(steps) for steps in batches}) == 1
        together = [sample_id for steps in batches for ids in steps for sample_id in ids]
        assert len(together) == len(set(together))
        assert (samples // (batch_size * count) * batch_size * count if drop else samples) == len(together)


@pytest.mark.parametrize(
    ("options", "samples", "expected"),
    [
        ({"batch_size": 4}, 10, ((None, 2, 3, 3), "uint8")),
        ({"batch_size": 5}, 10, ((5, 2, 3, 3), "uint8")),
        ({"batch_size": 4, "drop_remainder": True}, 10, ((4, 2, 3, 3), "uint8")),
        ({"batch_size": 5, "shard": (1, 2)}, 10, ((5, 2, 3, 3), "uint8")),
        ({"batch_size": 4, "shard": (1, 2)}, 10, ((None, 2, 3, 3), "uint8")),
        ({"batch_size": 5, "channels_first": True}, 10, ((5, 3, 2, 3), "uint8")),
        ({"batch_size": 5, "scale": "unit"}, 10, ((5, 2, 3, 3), "float32")),
        ({"batch_size": 5, "scale": "signed", "dtype": "bfloat16"}, 10, ((5, 2, 3, 3), "bfloat16")),
        ({"batch_size": 5, "dtype": tf.float16}, 10, ((5, 2, 3, 3), "float16")),
        ({"batch_size": 5, "dtype": "uint8"}, 10, ((5, 2, 3, 3), "uint8")),
    ],
)
@pytest.mark.usefixtures("blocks")
def test_the_spec_is_determined(write_version, options, samples, expected):
    """Everything but the batch axis of a last partial batch; and what comes is what the spec says."""
    dataset = load(write_version(samples, splits=("train",)).folder, **options, with_ids=True)
    images, labels, ids = dataset.element_spec
    assert expected == (tuple(images.shape), images.dtype.name)
    assert ((expected[0][0],), "int64") == (tuple(labels.shape), labels.dtype.name)
    assert ((expected[0][0],), "string") == (tuple(ids.shape), ids.dtype.name)
    for batch in dataset:
        for spec, tensor in zip((images, labels, ids), batch, strict=True):
            assert spec.is_compatible_with(tensor)


@pytest.mark.parametrize(
    ("scale", "expected"),
    [
        ("none", lambda x, mean, std: x),
        ("unit", lambda x, mean, std: x / 255),
        ("signed", lambda x, mean, std: x / 127.5 - 1),
        ("standard", lambda x, mean, std: (x - mean) / std),
    ],
)
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("channels_first", [False, True])
def test_scales(write_version, scale, expected, dtype, channels_first):
    """Every pixel is made of the stored one; `standard` uses the statistics of the split train, whatever is loaded."""
    version = write_version(12, dtype=dtype)
    of_train = np.stack([version.images[sample_id] for sample_id in version.ids["train"]]).astype(np.float64)
    mean, std = of_train.mean((0, 1, 2)), of_train.std((0, 1, 2))
    options = {"scale": scale, "dtype": "float32", "channels_first": channels_first}
    ((images, _, ids),) = load(version.folder, split="test", **options, with_ids=True)
    stored = np.stack([version.images[sample_id.decode()] for sample_id in ids.numpy()]).astype(np.float64)
    wanted = expected(stored, mean, std)
    np.testing.assert_allclose(wanted.transpose(0, 3, 1, 2) if channels_first else wanted, images, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("scale", ["none", "unit", "standard"])
@pytest.mark.parametrize(("rows", "cols"), [(2, 3), (80, 80)])
@pytest.mark.parametrize("shards", [1, 20])
def test_any_size_from_any_number_of_shards(write_version, scale, rows, cols, shards):
    """Large images are cast one by one, small ones together, sorted by shard first where those are many: all alike."""
    version = write_version(40, rows=rows, cols=cols, shards=shards, splits=("train",))
    of_train = np.stack(list(version.images.values())).astype(np.float64)
    statistics = ChannelStatistics(mean=tuple(of_train.mean((0, 1, 2))), std=tuple(of_train.std((0, 1, 2))))
    stored = image_contract(rows=rows, cols=cols, channels=3, dtype="uint8", value_range=(0, 255))
    cast = make_cast(stored, scale=scale, statistics=statistics)
    for images, _, ids in load(version.folder, batch_size=16, shuffle=True, scale=scale, with_ids=True):
        stored_images = np.stack([version.images[sample_id.decode()] for sample_id in ids.numpy()])
        np.testing.assert_array_equal(cast(tf.constant(stored_images)), images)


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("scale", ["none", "unit"])
def test_batches_that_are_kept_stay_as_they_are(write_version, scale):
    """The memory of a batch is used again, but never while a tensor made of it lives."""
    version = write_version(40, rows=16, cols=4, splits=("train",))
    dataset = load(version.folder, batch_size=3, shuffle=True, scale=scale, with_ids=True)
    kept = [batch for _ in range(4) for number, batch in enumerate(dataset) if number % 3]
    for images, _, ids in kept:
        expected = np.stack([version.images[sample_id.decode()] for sample_id in ids.numpy()])
        np.testing.assert_array_equal(expected if scale == "none" else (expected / 255).astype(np.float32), images)


@pytest.mark.parametrize("rows", [8, 64])
@pytest.mark.parametrize("part", [slice(None), slice(0, 3), slice(1, None)])
def test_what_is_computed_in_place_of_a_batch_stays_out_of_the_shard(write_version, rows, part):
    """TensorFlow writes a result over the part of a batch that nothing needs any more: the shard never sees it."""
    written = write_version(32, rows=rows, cols=8, channels=3, shards=2, splits=("train",))
    before = [path.read_bytes() for path in written.shards]
    batches = load(written.folder, batch_size=8)
    changed = batches.map(lambda images, labels: tf.bitwise.invert(images[part]))
    expected = np.stack([~written.images[one] for one in written.ids["train"]]).reshape(4, 8, rows, 8, 3)[:, part]
    for _ in range(3):  # epochs: each reads the same pages again
        np.testing.assert_array_equal(expected, np.stack([batch.numpy() for batch in changed]))
    assert before == [path.read_bytes() for path in written.shards]


def test_standard_without_a_train_split(write_version):
    """The statistics of all samples stand in."""
    version = write_version(12, splits=("test",))
    ((images, _),) = load(version.folder, split="test", scale="standard")
    np.testing.assert_allclose(0, images.numpy().mean((0, 1, 2)), atol=1e-5)
    np.testing.assert_allclose(1, images.numpy().std((0, 1, 2)), atol=1e-5)


def test_wrong_arguments_come_all_at_once(write_version):
    """Each with what was found and what is allowed; nothing is read."""
    with pytest.raises(RecipeError, match=r"nhwc\.load") as caught:
        load(
            write_version().folder,
            split="trian",
            batch_size=0,
            shuffle=1,
            seed=1.5,
            dtype="int7",
            scale="minmax",
            channels_first="yes",
            drop_remainder=None,
            shard=(2, 2),
            start_batch=-1,
            with_ids="no",
        )
    expected = (
        "batch_size: found 0, expected a whole number, at least 1",
        "seed: found 1.5, expected a whole number, at least 0",
        "start_batch: found -1, expected a whole number, at least 0",
        "shuffle: found 1, expected True or False",
        "channels_first: found 'yes', expected True or False",
        "drop_remainder: found None, expected True or False",
        "with_ids: found 'no', expected True or False",
        "shard: found (2, 2), expected (index, count) with 0 <= index < count",
        "scale: found 'minmax', expected one of none, unit, signed, standard",
        "split: found 'trian', expected some of: test, train (joined by +), or all",
        "dtype: found 'int7', expected one of float32, float16, bfloat16 with scale 'minmax'",
    )
    assert expected == caught.value.problems


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"split": ""}, "split: found '', expected some of: test, train"),
        ({"split": "train+val"}, "split: found 'val', expected some of: test, train"),
        ({"split": 3}, "split: found 3, expected a split's name"),
        ({"batch_size": True}, "batch_size: found True"),
        ({"shard": 2}, "shard: found 2, expected"),
        ({"shard": (0.0, 1)}, r"shard: found \(0.0, 1\), expected"),
        ({"dtype": "uint8", "scale": "unit"}, "dtype: found 'uint8', expected one of float32, float16, bfloat16 with"),
        ({"dtype": "float64"}, "dtype: found 'float64', expected one of uint8, float32, float16, bfloat16"),
        ({"dtype": "uint16"}, "dtype: found 'uint16', expected one of uint8, float32"),
        ({"drop_remainder": True, "batch_size": 99}, "drop_remainder: found 16 samples, expected at least 99"),
        ({"shard": (0, 17)}, "shard: found 16 samples, expected at least one for each of 17 shards"),
        ({"shard": (0, 3), "batch_size": 1}, "set drop_remainder=True"),
    ],
)
def test_a_wrong_argument_says_what_is_allowed(write_version, options, expected):
    """One line, with the argument's name, what was found and what would do."""
    with pytest.raises(RecipeError, match=expected):
        load(write_version(23).folder, **options)


def test_nothing_published_is_said_with_the_rest(write_version, tmp_path):
    """A folder without a version is one more problem beside the wrong arguments."""
    with pytest.raises(RecipeError, match="nowhere: found no such folder, expected a published dataset") as caught:
        load(tmp_path / "nowhere", batch_size=0)
    assert len(caught.value.problems) == 2
    assert "batch_size" in caught.value.problems[1]


def test_a_version_with_nothing_kept(write_version):
    """There is nothing to load, whatever is asked."""
    folder = write_version(0).folder
    for split in ("train", "all"):
        with pytest.raises(RecipeError, match="none, since no sample was kept"):
            load(folder, split=split)


@pytest.mark.usefixtures("blocks")
def test_a_stored_value_out_of_range_names_its_sample(write_version):
    """NaN and values over the contract in a float32 shard end the iteration with the samples' ids."""

    def spoil(images: np.ndarray) -> None:
        images[4, 0, 0, 0] = np.nan
        images[6, 1, 2, 2] = 256

    version = write_version(8, dtype="float32", splits=("train",), spoil=spoil)
    bad = [list(version.images)[place] for place in (4, 6)]
    with pytest.raises(
        tf.errors.UnknownError, match=f"load sample {bad[0]}: out_of_range: range found values that"
    ) as caught:
        list(load(version.folder, scale="unit"))
    assert f"load sample {bad[1]}: out_of_range: range found [" in str(caught.value)
    assert set(bad) == set(re.findall(r"load sample (\w+):", str(caught.value)))


@pytest.mark.usefixtures("blocks")
def test_a_batch_is_refused_for_its_own_samples_only(write_version):
    """Those before it come, though all were made at once; the error names none but its own."""

    def spoil(images: np.ndarray) -> None:
        images[[5, 7], 0, 0, 0] = np.nan

    version = write_version(8, dtype="float32", splits=("train",), spoil=spoil)
    iterator = iter(load(version.folder, batch_size=2, with_ids=True))
    ids = list(version.images)
    assert [ids[:2], ids[2:4]] == ids_of(islice(iterator, 2))
    with pytest.raises(tf.errors.UnknownError, match=f"load sample {ids[5]}: out_of_range") as caught:
        next(iterator)
    assert ids[7] not in str(caught.value)


def test_missing_shards_are_said_before_anything_is_read(write_version):
    """All of them, by name; a shard that no asked sample lies in is not needed."""
    version = write_version(9, shards=3)
    version.shards[0].unlink()
    version.shards[2].unlink()
    with pytest.raises(DataError, match="missing_part") as caught:
        load(version.folder)
    for path, missing in zip(version.shards, (True, False, True), strict=True):
        assert missing == (str(path) in str(caught.value))


def test_a_shard_that_vanishes_is_named(write_version):
    """Shards are opened when first needed; one that is gone by then is in the error."""
    version = write_version(9, shards=3)
    dataset = load(version.folder, batch_size=3)
    version.shards[1].unlink()
    with pytest.raises(tf.errors.UnknownError, match=f"missing_part: shard found no such file.*{version.shards[1]}"):
        list(dataset)


@pytest.mark.parametrize("keep", [0, 100, -200])
def test_a_cut_shard_is_named(write_version, keep):
    """Whatever is left of the file."""
    version = write_version(9, shards=3)
    content = version.shards[1].read_bytes()
    version.shards[1].write_bytes(content[:keep])
    with pytest.raises(tf.errors.UnknownError, match=f"checksum: shard found no readable shard.*{version.shards[1]}"):
        list(load(version.folder))


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ({"samples": 3}, "other samples than the manifest places in it"),
        ({"samples": 9, "rows": 3}, r"images uint8\[3, 3, 3\], not uint8\[rows=2, cols=3, channels=3\]"),
        ({"samples": 9, "dtype": "uint16"}, r"images uint16\[2, 3, 3\], not uint8"),
    ],
)
def test_another_shard_in_its_place_is_named(write_version, other, expected):
    """A shard that holds other samples, sizes or dtype than was published is never read as if it were right."""
    version = write_version(9, shards=3)
    foreign = write_version(**other, shards=3, name="foreign")
    version.shards[1].write_bytes(foreign.shards[2].read_bytes())
    with pytest.raises(tf.errors.UnknownError, match=expected) as caught:
        list(load(version.folder))
    assert str(version.shards[1]) in str(caught.value)


@pytest.mark.usefixtures("blocks")
def test_an_iterator_is_enough(write_version):
    """It goes on where nothing else is left of its dataset, and so does what is made of that."""
    version = write_version(40, splits=("train",))
    iterator = iter(load(version.folder, batch_size=4, with_ids=True).map(lambda *batch: batch).prefetch(1).repeat(2))
    gc.collect()
    assert version.ids["train"] * 2 == epoch(iterator)


@pytest.mark.usefixtures("blocks")
def test_nothing_is_left_of_a_dataset_that_is_gone(write_version):
    """However often a version is loaded: not the memory of its batches."""
    folder = write_version(40, splits=("train",)).folder
    gone = load(folder, batch_size=4, shuffle=True)
    next(iter(gone))
    makes_batches = weakref.ref(gone._input_dataset._input_dataset.needs[-1])
    assert makes_batches() is not None
    del gone
    gc.collect()
    assert makes_batches() is None


def test_what_is_made_of_a_dataset_that_is_gone_says_what_to_keep(write_version):
    """Of one that TensorFlow's methods do not hold."""
    dataset = load(write_version(8, splits=("train",)).folder, batch_size=4, shuffle=True)
    made = tf.data.experimental.from_variant(tf.data.experimental.to_variant(dataset), dataset.element_spec)
    assert 2 == len(list(made))
    del dataset
    gc.collect()
    with pytest.raises(tf.errors.UnknownError, match=r"keep what nhwc\.load returned"):
        next(iter(made))


@pytest.mark.parametrize("size", [1, 3, 64])
def test_many_iterators_at_once_are_each_an_epoch(write_version, size):
    """In the order in which they are begun, however many, each whole."""
    version = write_version(60, splits=("train",))
    options = {"batch_size": size, "shuffle": True, "with_ids": True}
    dataset = load(version.folder, **options)
    epochs = [[] for _ in range(5)]
    for together in tf.data.Dataset.zip(*[dataset] * 5):
        for seen, batch in zip(epochs, together, strict=True):
            seen.extend(ids_of([batch])[0])
    fresh = load(version.folder, **options)
    assert sorted(epoch(fresh) for _ in range(5)) == sorted(epochs)


@pytest.mark.parametrize("part", [lambda images: -images[1:], lambda images: 255 - images[1:]])
@pytest.mark.usefixtures("blocks")
def test_what_is_computed_in_place_of_a_batch_is_not_given_again(write_version, tmp_path, part):
    """From a checkpoint that is restored where the batches were made, they come as they are stored."""
    folder = write_version(24, splits=("train",)).folder
    dataset = load(folder, batch_size=4, shuffle=True, scale="unit").map(lambda images, labels: (part(images), labels))
    iterator = iter(dataset)
    next(iterator)
    checkpoint = tf.train.Checkpoint(iterator=iterator)
    written = checkpoint.write(str(tmp_path / "checkpoint"))
    first = [images.numpy() for images, _ in iterator]
    checkpoint.read(written)
    again = [images.numpy() for images, _ in iterator]
    assert 5 == len(again)
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)


INTERRUPTED = """
import os, signal, sys, threading, time
import nhwc.pipelines.load as load_module
from nhwc.pipelines.gather import Gather

quick, load_module.BLOCK_BYTES = Gather.__call__, 1

def slow(self, indices):
    time.sleep(0.2)
    return quick(self, indices)

Gather.__call__ = slow
def stop(number, frame):
    raise TimeoutError("too long")
if sys.argv[2] == "SIGALRM":
    signal.signal(signal.SIGALRM, stop)
number = getattr(signal, sys.argv[2])
batches = iter(load_module.load(sys.argv[1], batch_size=4, shuffle=True).repeat())
next(batches)
threading.Timer(0.5, lambda: os.kill(os.getpid(), number)).start()
start = time.monotonic()
try:
    while time.monotonic() < start + 20:
        next(batches)
except (KeyboardInterrupt, TimeoutError) as error:
    print(type(error).__name__, len(next(batches)[1]))
"""


@pytest.mark.parametrize(("number", "expected"), [("SIGINT", "KeyboardInterrupt"), ("SIGALRM", "TimeoutError")])
def test_a_signal_is_no_error_of_tensorflows(write_version, number, expected):
    """What its handler raises comes where batches are asked for, soon, and they can be asked for after it."""
    folder = write_version(40, splits=("train",)).folder
    run = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, str(folder), number], capture_output=True, text=True, check=False
    )
    assert f"{expected} 4\n" == run.stdout, run.stderr


@pytest.mark.usefixtures("blocks")
def test_any_graph_takes_the_batches(write_version):
    """A function's, and one of TensorFlow 1."""
    version = write_version(16, splits=("train",))
    total = int(sum(image.sum(dtype=np.int64) for image in version.images.values()))

    @tf.function
    def summed() -> tf.Tensor:
        found = tf.constant(0, tf.int64)
        for images, _ in load(version.folder, batch_size=4, shuffle=True):
            found += tf.reduce_sum(tf.cast(images, tf.int64))
        return found

    assert [total, total] == [summed().numpy(), summed().numpy()]
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        dataset = load(version.folder, batch_size=16, shuffle=True)
        images, _ = tf.compat.v1.data.make_one_shot_iterator(dataset).get_next()
        assert total == session.run(images).sum(dtype=np.int64)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_conv2d_takes_the_batches_as_they_are(write_version, channels):
    """Keras fits and evaluates for each number of channels, and sees as many steps as there are."""
    version = write_version(24, rows=6, cols=5, channels=channels)
    model = keras.Sequential([keras.layers.Conv2D(2, 3), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3)])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    train = load(version.folder, batch_size=4, shuffle=True, scale="unit")
    test = load(version.folder, split="test", scale="unit")
    history = model.fit(train, validation_data=test, epochs=2, shuffle=False, verbose=0)
    assert (6, 5, channels) == model.input_shape[1:]
    assert history.params["steps"] == 4
    assert np.isfinite(history.history["val_loss"]).all()


def test_keras_goes_on_in_mid_epoch_as_the_pages_say(write_version):
    """What is left of an epoch, and then whole ones: each sample once an epoch."""
    folder = write_version(80, splits=("train",)).folder
    given = partial(load, folder, batch_size=16, shuffle=True, with_ids=True)
    epochs = [[tuple(ids.numpy().tolist()) for _, _, ids in given(start_batch=5 * epoch)] for epoch in range(7)]
    seen = []

    def noted(labels, ids):
        seen.append(tuple(ids.tolist()))
        return labels

    def watched(dataset):
        return dataset.map(
            lambda images, labels, ids: (
                tf.cast(images, tf.float32),
                tf.ensure_shape(tf.numpy_function(noted, [labels, ids], tf.int64), [None]),
            )
        )

    model = keras.Sequential([keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3, activation="softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    left, whole = (watched(given(start_batch=start)) for start in (4 * 5 + 2, 5 * 5))
    model.fit(left, initial_epoch=4, epochs=5, steps_per_epoch=3, shuffle=False, verbose=0)
    model.fit(whole, initial_epoch=5, epochs=7, shuffle=False, verbose=0)
    assert [*epochs[4][2:], *epochs[5], *epochs[6]] == seen
