import pickle
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf

import nhwc
from nhwc.pipelines.data_source import data_source
from nhwc.validators.errors import DataError, RecipeError


def loaded(folder, **options) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """All that `nhwc.load` gives, in its order."""
    batches = list(nhwc.load(folder, batch_size=7, with_ids=True, **options))
    images, labels, ids = (np.concatenate([part.numpy() for part in parts]) for parts in zip(*batches, strict=True))
    return images, labels, [one.decode() for one in ids]


def test_whole_numbers_may_be_numpys(write_version):
    """Of any width, as they come out of a calculation."""
    folder = write_version(30).folder
    plain = nhwc.load(folder, batch_size=4, shuffle=True, seed=9, start_batch=2, shard=(1, 2))
    asked = {"batch_size": np.int64(4), "seed": np.uint8(9), "start_batch": np.int32(2)}
    numpys = nhwc.load(folder, shuffle=True, shard=(np.int64(1), np.int64(2)), **asked)
    for (images, labels), (others, their_labels) in zip(plain, numpys, strict=True):
        np.testing.assert_array_equal(images, others)
        np.testing.assert_array_equal(labels, their_labels)
    with pytest.raises(RecipeError, match="batch_size: found 0, expected a whole number, at least 1"):
        nhwc.load(folder, batch_size=np.int64(0))


def test_indices_may_be_of_any_whole_number(write_version):
    """Of fewer bits than the number of samples has, and unsigned."""
    source = data_source(write_version(300).folder, split="all")
    expected = source[[1, 200]][0]
    for dtype in ("uint8", "int16", "uint16", "int64", "uint64"):
        np.testing.assert_array_equal(expected, source[np.array([1, 200], dtype)][0])
    np.testing.assert_array_equal(source[[-1, 2]][0], source[np.array([-1, 2], np.int8)][0])
    with pytest.raises(IndexError, match="found 300, expected one from -300 to 299"):
        source[np.array([300], np.uint16)]


@pytest.mark.parametrize(
    ("stored", "rows", "scale", "dtype", "channels_first"),
    [
        ("uint8", 2, "none", None, False),
        ("uint8", 80, "none", None, True),
        ("uint8", 2, "none", "float16", True),
        ("uint8", 80, "unit", None, False),
        ("uint8", 2, "signed", "bfloat16", False),
        ("uint8", 80, "standard", "float32", True),
        ("uint8", 2, "standard", "float16", False),
        ("uint16", 80, "none", None, False),
        ("uint16", 2, "unit", "bfloat16", True),
        ("float32", 2, "none", None, False),
        ("float32", 80, "unit", None, True),
        ("float32", 2, "standard", "float16", False),
    ],
)
def test_the_samples_of_load_in_its_order(write_version, stored, rows, scale, dtype, channels_first):
    """To the last bit, one by one, by a list and as PyTorch fetches them; labels and ids too."""
    folder = write_version(23, dtype=stored, rows=rows, cols=rows).folder
    options = {"scale": scale, "dtype": dtype, "channels_first": channels_first}
    images, labels, ids = loaded(folder, **options)
    source = data_source(folder, **options, with_ids=True)
    assert len(images) == len(source)
    every = list(range(len(source)))
    together = source[every]
    for expected, found in zip((images, labels, ids), together, strict=True):
        np.testing.assert_array_equal(expected, found)
    assert (images.dtype, np.int64) == (together[0].dtype, together[1].dtype)
    for place in every:
        for image, label, name in (source[place], source[place - len(source)], *source.__getitems__([place])):
            assert (images[place].tobytes(), labels[place], ids[place]) == (image.tobytes(), label, name)
            assert (images.shape[1:], int, str) == (image.shape, type(label), type(name))
    mixed = [5, 0, -1, 5]
    for sample, place in zip(source.__getitems__(np.array(mixed)), mixed, strict=True):
        np.testing.assert_array_equal(images[place], sample[0])


def test_the_contract_of_an_image(write_version):
    """It says what every image is."""
    folder = write_version(rows=2, cols=3).folder
    assert "uint8[rows=2, cols=3, channels=3] in [0, 255]" == str(data_source(folder).contract)
    contract = data_source(folder, scale="unit", channels_first=True).contract
    assert "float32[channels=3, rows=2, cols=3] in [0, 1]" == str(contract)


@pytest.mark.parametrize(
    ("index", "error", "expected"),
    [
        (16, IndexError, "index: found 16, expected one from -16 to 15"),
        (-17, IndexError, "index: found -17, expected one"),
        ([0, 99, 1], IndexError, "index: found 99, expected one"),
        (1.0, TypeError, "index: found 1.0, expected a whole number"),
        (True, TypeError, "index: found True, expected a whole number"),
        ("0", TypeError, "index: found '0', expected a whole number"),
        (slice(2), TypeError, r"index: found slice\(None, 2, None\), expected a whole number or some"),
        ([[0]], TypeError, r"index: found \[\[0\]\], expected"),
        ([], TypeError, "index: found a list of 0, expected"),
    ],
)
def test_what_is_no_index(write_version, index, error, expected):
    """What was found, and what there is."""
    source = data_source(write_version(23).folder)
    with pytest.raises(error, match=expected):
        source[index]


def test_a_loop_over_it_ends(write_version):
    """By IndexError, as every sequence's."""
    version = write_version(9)
    assert version.ids["train"] == [name for _, _, name in data_source(version.folder, with_ids=True)]


def test_every_array_is_the_callers_own(write_version):
    """What is written into one is in no other, nor in the shard."""
    version = write_version(12, rows=8, cols=8, splits=("train",))
    before = [path.read_bytes() for path in version.shards]
    source = data_source(version.folder)
    expected = source[np.arange(12)][0].copy()
    for image in (source[3][0], source[[3, 4]][0], source.__getitems__([3])[0][0]):
        image[...] = 7
    np.testing.assert_array_equal(expected, source[np.arange(12)][0])
    assert before == [path.read_bytes() for path in version.shards]


def test_batches_that_are_kept_stay_as_they_are(write_version):
    """Memory is used again, but never while an array of it lives, be it one sample of a batch."""
    version = write_version(60, rows=16, cols=16, splits=("train",))
    source, images = data_source(version.folder), np.stack(list(version.images.values()))
    kept: list = []
    for first in range(60):
        places = np.arange(first, first + 1 + first % 7) % 60
        kept.append((source[places][0], images[places]))
        kept.append((source.__getitems__(places)[-1][0], images[places[-1]]))
        if first % 3 == 0:
            kept.pop(0)
    for found, expected in kept:
        np.testing.assert_array_equal(expected, found)


def test_wrong_arguments_come_all_at_once(write_version, tmp_path):
    """As from `load`, under its own name."""
    with pytest.raises(RecipeError, match=r"^nhwc\.data_source:") as caught:
        data_source(write_version().folder, split="trian", dtype="int7", scale="minmax", channels_first=1)
    assert ["channels_first", "scale", "split", "dtype"] == [line.split(":")[0] for line in caught.value.problems]
    with pytest.raises(RecipeError, match=r"^nhwc\.data_source:\n  \S*nowhere: found no such folder"):
        data_source(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        (np.float32, "float32"),
        (np.dtype("float16"), "float16"),
        (tf.float32, "float32"),
        (tf.bfloat16, "bfloat16"),
        (ml_dtypes.bfloat16, "bfloat16"),
        ("bfloat16", "bfloat16"),
    ],
)
def test_a_dtype_of_any_library(write_version, dtype, expected):
    """NumPy's, TensorFlow's, or its name."""
    folder = write_version(3).folder
    assert expected == data_source(folder, dtype=dtype)[0][0].dtype.name
    assert expected == nhwc.load(folder, dtype=dtype).element_spec[0].dtype.name


WITHOUT_TENSORFLOW = """
import pickle, sys
import nhwc
if __name__ == "__main__":
    source = nhwc.data_source(sys.argv[1], scale="standard", dtype="bfloat16", with_ids=True)
    again = pickle.loads(pickle.dumps(source))
    assert repr(source) == repr(again)
    print(*again[list(range(len(again)))][2])
    assert not {"tensorflow", "keras", "prefect"} & set(sys.modules)
"""


def test_it_needs_no_tensorflow(write_version):
    """Neither planning, nor pickling, nor reading imports it."""
    version = write_version(9)
    command = [sys.executable, "-W", "error", "-c", WITHOUT_TENSORFLOW, str(version.folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert 0 == done.returncode, done.stderr
    assert version.ids["train"] == done.stdout.split()


def test_pickled_it_stays_with_its_version(write_version, monkeypatch):
    """A later `latest`, or another working directory, changes nothing; and no image is in the pickle."""
    version = write_version(200, rows=32, cols=32, splits=("train",))
    monkeypatch.chdir(version.folder.parent)
    source = data_source(version.folder.name, with_ids=True)
    pickled = pickle.dumps(source)
    assert 2000 > len(pickled)
    monkeypatch.chdir("/")
    (version.folder / "latest").write_text("2.0.0\n")
    again = pickle.loads(pickled)
    assert repr(source) == repr(again)
    assert list(version.images) == again[np.arange(200)][2].tolist()


def test_safe_for_many_threads(write_version):
    """All threads open shards at once, and each gets what it asked for."""
    version = write_version(400, shards=40, splits=("train",))
    source = data_source(version.folder, with_ids=True)
    with ThreadPoolExecutor(16) as pool:
        for image, label, name in pool.map(source.__getitem__, range(399, -1, -1)):
            assert (version.images[name].tobytes(), version.labels[name]) == (image.tobytes(), label)


def test_a_stored_value_out_of_range_names_its_sample(write_version):
    """Each that was asked for, and none else."""

    def spoil(images: np.ndarray) -> None:
        images[4, 0, 0, 0] = np.nan
        images[6, 1, 2, 2] = 256

    version = write_version(8, dtype="float32", splits=("train",), spoil=spoil)
    source, ids = data_source(version.folder, scale="unit"), list(version.images)
    assert (4, 2, 3, 3) == source[[0, 1, 2, 3]][0].shape
    with pytest.raises(DataError, match=f"load sample {ids[4]}: out_of_range: range found values that") as caught:
        source[[3, 4, 5, 6]]
    assert [ids[4], ids[6]] == [one.sample_id for one in caught.value.verdict.violations]
    with pytest.raises(DataError, match=f"load sample {ids[6]}: out_of_range"):
        source[6]


def cut(version, write_version) -> None:
    version.shards[1].write_bytes(version.shards[1].read_bytes()[:100])


def vanish(version, write_version) -> None:
    version.shards[1].unlink()


def another(version, write_version) -> None:
    foreign = write_version(3, shards=3, name="foreign")
    version.shards[1].write_bytes(foreign.shards[2].read_bytes())


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (cut, "checksum: shard found no readable shard"),
        (vanish, "missing_part: shard found no such file"),
        (another, "checksum: shard found other samples than the manifest places in it"),
    ],
)
def test_a_damaged_shard_is_named(write_version, damage: Callable, expected):
    """When it is first needed; the others are read."""
    version = write_version(9, shards=3, splits=("train",))
    source = data_source(version.folder)
    damage(version, write_version)
    assert (6, 2, 3, 3) == source[[0, 1, 2, 6, 7, 8]][0].shape
    for _ in range(2):
        with pytest.raises(DataError, match=expected) as caught:
            source[4]
        assert str(version.shards[1]) in str(caught.value)


def test_missing_shards_are_said_before_anything_is_read(write_version):
    """All of them, by name."""
    version = write_version(9, shards=3)
    version.shards[0].unlink()
    version.shards[2].unlink()
    with pytest.raises(DataError, match="missing_part") as caught:
        data_source(version.folder)
    assert [True, False, True] == [str(path) in str(caught.value) for path in version.shards]


PYTORCH = """
import sys
import numpy as np, torch
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, Subset
import nhwc

def ids_of(loader):
    return [name for _, _, names in loader for name in names]

if __name__ == "__main__":
    folder, images = sys.argv[1], {}
    source = nhwc.data_source(folder, dtype=torch.float32, scale="unit", channels_first=True, with_ids=True)
    expected = [source[place][2] for place in range(len(source))]
    for options in ({}, {"num_workers": 1, "multiprocessing_context": "spawn"}):
        loader = DataLoader(source, batch_size=4, **options)
        assert expected == ids_of(loader), options
        images, labels, _ = next(iter(loader))
        assert (torch.float32, torch.int64) == (images.dtype, labels.dtype)
        assert np.array_equal(images.numpy(), source[[0, 1, 2, 3]][0])
    sampler = BatchSampler(RandomSampler(source), 4, drop_last=False)
    assert sorted(expected) == sorted(ids_of(DataLoader(source, sampler=sampler, batch_size=None)))
    assert expected[5:7] == ids_of(DataLoader(Subset(source, [5, 6]), batch_size=4))
    next(iter(DataLoader(nhwc.data_source(folder), batch_size=4)))[0].add_(1)
    sys.argv[2:] and open(sys.argv[2], "w").close()
    try:
        ids_of(DataLoader(nhwc.data_source(folder, split="all", with_ids=True), batch_size=4, num_workers=1))
    except nhwc.DataError as error:
        print(error)
    assert "tensorflow" not in sys.modules
"""


def test_pytorch_reads_it(write_version, tmp_path):
    """In this process, by a spawned worker, by the batch and as a subset, without a warning; a shard that is damaged is
    said by the forked worker that meets it."""
    pytest.importorskip("torch", reason="PyTorch is not installed: it is tried where it is")
    version = write_version(23, rows=6, cols=5, splits=("train", "test"))
    script = tmp_path / "script.py"
    script.write_text(PYTORCH)
    command = [sys.executable, "-W", "error", str(script), str(version.folder), str(version.shards[2])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (0, "") == (done.returncode, done.stderr)
    assert f"the shard published as {version.shards[2]}" in done.stdout
