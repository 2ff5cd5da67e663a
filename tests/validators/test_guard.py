"""The guard in the graph: what it lets through, what it refuses, when, and in which words."""

import numpy as np
import pytest
import tensorflow as tf

from nhwc.validators.contract import TensorContract, image_contract
from nhwc.validators.errors import DataError
from nhwc.validators.guard import facts, guard, judge

IMAGE = image_contract(rows=2, cols=3, channels=1, dtype="float32", value_range=(0, 1))
BATCH = IMAGE.batched(None)
IDS = ["0a", "0b", "0c", "0d"]


def images(samples=4):
    """float32[samples, rows=2, cols=3, channels=1] in [0, 1], no two values alike."""
    count = samples * 6
    return (np.arange(count, dtype=np.float32) / count).reshape(samples, 2, 3, 1)


def spoiled(*positions, value=2.0):
    """The images with one value of each of these samples out of range."""
    batch = images()
    batch[list(positions), 1, 2, 0] = value
    return batch


def hidden(tensor):
    """The same tensor, of unknown rank to whoever builds the graph."""
    return tf.compat.v1.placeholder_with_default(tensor, shape=None)


def from_numpy(tensor):
    """The same tensor as a numpy function gives it back: of unknown rank."""
    return tf.numpy_function(lambda array: array, [tensor], tensor.dtype, stateful=False)


def guarded(contract, array, *, hide=hidden, ids=None):
    """A dataset of the one array, guarded in its map, and its spec."""

    def check(tensor):
        return guard(contract, hide(tensor), stage="batch", ids=None if ids is None else tf.constant(ids))

    return tf.data.Dataset.from_tensors(tf.constant(array)).map(check)


@pytest.mark.parametrize("hide", [hidden, from_numpy, tf.identity])
@pytest.mark.parametrize(("contract", "array"), [(BATCH, images()), (IMAGE, images()[0]), (BATCH, images(0))])
def test_what_keeps_the_contract_comes_through_identical(contract, array, hide):
    """Values, shape and dtype are the same, whether or not the shape was known, for a batch of none too."""
    [through] = guarded(contract, array, hide=hide)
    np.testing.assert_array_equal(array, through.numpy(), strict=True)


@pytest.mark.parametrize(
    ("contract", "array", "hide", "shape"),
    [
        (BATCH, images(), hidden, (None, 2, 3, 1)),
        (BATCH, images(), tf.identity, (4, 2, 3, 1)),
        (BATCH, images(), lambda tensor: tf.ensure_shape(hidden(tensor), (4, None, None, None)), (4, 2, 3, 1)),
        (IMAGE.batched(4), images(), hidden, (4, 2, 3, 1)),
        (IMAGE, images()[0], hidden, (2, 3, 1)),
        (IMAGE.with_axis("channels", (1, 3)), images()[0], hidden, (2, 3, None)),
    ],
)
def test_the_static_shape_is_all_that_contract_and_tensor_know(contract, array, hide, shape):
    """What follows in the graph sees the contract's sizes; a static size that was there stays."""
    assert tf.TensorSpec(shape, tf.float32) == guarded(contract, array, hide=hide).element_spec


@pytest.mark.parametrize(
    ("contract", "array", "match"),
    [
        (BATCH, images()[0], r"^batch: wrong_rank: rank found 3 \(2, 3, 1\), expected 4 \(samples, rows, cols, chan"),
        (BATCH, images().transpose(0, 2, 1, 3), r"(?s)^batch: wrong_size: rows found 3, .*cols found 2, expected 3"),
        (IMAGE.batched(8), images(), "^batch: wrong_size: samples found 4, expected 8"),
        (BATCH, images().astype("float64"), "^batch: wrong_dtype: dtype found float64, expected float32"),
    ],
)
def test_what_the_spec_breaks_fails_while_the_graph_is_built(contract, array, match):
    """DataError with every breach, inside a tf.data map and outside, before anything is read."""
    with pytest.raises(DataError, match=match):
        guarded(contract, array, hide=tf.identity)
    with pytest.raises(DataError, match=match):
        guard(contract, tf.constant(array), stage="batch")


@pytest.mark.parametrize(
    ("contract", "array", "ids", "texts"),
    [
        (BATCH, images()[0], None, ["batch: wrong_rank: rank found 3 (2, 3, 1), expected 4"]),
        (BATCH, np.float32(0.5), None, ["batch: wrong_rank: rank found 0 (), expected 4"]),
        (
            BATCH,
            images().transpose(0, 2, 1, 3),
            IDS,
            ["batch: wrong_size: rows found 3, expected 2", "batch: wrong_size: cols found 2, expected 3"],
        ),
        (IMAGE, images(), None, ["batch: wrong_rank: rank found 4 (4, 2, 3, 1), expected 3 (rows, cols, channels)"]),
        (IMAGE, images()[0][:1], "0a", ["batch sample 0a: wrong_size: rows found 1, expected 2"]),
        (IMAGE, spoiled(0)[0], "0a", ["batch sample 0a: out_of_range: range found [0, 2], expected [0, 1]"]),
        (IMAGE, spoiled(0)[0], ["0a"], ["batch sample 0a: out_of_range: range found [0, 2], expected [0, 1]"]),
        (IMAGE, spoiled(0)[0], None, ["batch: out_of_range: range found [0, 2], expected [0, 1]"]),
        (BATCH, spoiled(2), IDS, ["batch sample 0c: out_of_range: range found [0.5, 2], expected [0, 1]"]),
        (BATCH, spoiled(2), None, ["batch sample at position 2: out_of_range: range found [0.5, 2]"]),
        (
            BATCH,
            spoiled(1, 3, value=-1),
            IDS,
            ["sample 0b: out_of_range: range found [-1, ", "sample 0d: out_of_range"],
        ),
        (BATCH, spoiled(1, value=np.nan), IDS, ["sample 0b: out_of_range: range found values that are not numbers"]),
        (BATCH, spoiled(1, value=np.inf), IDS, ["sample 0b: out_of_range: range found [0.25, inf], expected [0, 1]"]),
        (BATCH, spoiled(1, value=-np.inf), IDS, ["sample 0b: out_of_range: range found [-inf, "]),
        (BATCH, spoiled(1, value=np.nextafter(np.float32(1), 2)), IDS, ["found [0.25, 1.0000001192092896], expected"]),
    ],
)
@pytest.mark.parametrize("hide", [hidden, from_numpy])
def test_what_the_spec_hides_fails_when_it_is_run(contract, array, ids, texts, hide):
    """Building passes; running raises a TensorFlow error with the text of each violation and the sample's id."""
    dataset = guarded(contract, array, ids=ids, hide=hide)
    with pytest.raises(tf.errors.OpError, match=r"DataError: batch.*To mend: ") as caught:
        next(iter(dataset))
    assert [] == [text for text in texts if text not in caught.value.message]


@pytest.mark.parametrize("hide", [hidden, from_numpy, tf.identity])
@pytest.mark.parametrize(
    ("contract", "array"), [(IMAGE, spoiled(0)[0]), (BATCH, spoiled(0)), (IMAGE.batched(4), spoiled(0))]
)
@pytest.mark.parametrize(
    "follow",
    [
        lambda dataset: dataset,
        lambda dataset: dataset.map(lambda tensor: tf.cast(tensor, tf.float16)),
        lambda dataset: dataset.map(tf.shape),
        lambda dataset: dataset.batch(2).prefetch(1),
        lambda dataset: dataset.cache(),
    ],
)
def test_no_optimiser_takes_the_judgement_away(contract, array, hide, follow):
    """A breach fails also where every size is known, so that the graph could do without what the guard computes."""
    with pytest.raises(tf.errors.OpError, match="out_of_range: range found"):
        next(iter(follow(guarded(contract, array, hide=hide))))


def test_a_traced_function_judges_too():
    """Within tf.function, whose graph is optimised as well, a breach fails."""
    check = tf.function(lambda tensor: guard(IMAGE.batched(4), tensor, stage="batch") * 2.0)
    np.testing.assert_array_equal(images() * 2, check(images()).numpy())
    with pytest.raises(tf.errors.OpError, match="sample at position 3: out_of_range"):
        check(spoiled(3))


def test_only_the_samples_that_break_it_are_named():
    """The good ones of the same batch do not appear."""
    with pytest.raises(tf.errors.OpError, match="sample 0c: out_of_range") as caught:
        next(iter(guarded(BATCH, spoiled(2), ids=IDS)))
    assert [] == [each for each in ("0a", "0b", "0d") if f"sample {each}" in caught.value.message]


def test_a_bad_batch_stops_neither_those_before_nor_those_after():
    """The iterator goes on behind the batch that failed."""
    batches = tf.data.Dataset.from_tensor_slices(np.stack([images(), spoiled(0), images()]))
    iterator = iter(batches.map(lambda tensor: guard(BATCH, hidden(tensor), stage="batch")))
    np.testing.assert_array_equal(images(), next(iterator).numpy())
    with pytest.raises(tf.errors.OpError, match="sample at position 0: out_of_range"):
        next(iterator)
    np.testing.assert_array_equal(images(), next(iterator).numpy())


def test_it_runs_eagerly_too():
    """Outside a graph the same guard gives the tensor back, or raises DataError itself."""
    np.testing.assert_array_equal(images(), guard(BATCH, tf.constant(images()), stage="batch").numpy())
    with pytest.raises(DataError, match=r"^batch sample 0b: out_of_range"):
        guard(BATCH, tf.constant(spoiled(1)), stage="batch", ids=tf.constant(IDS))


@pytest.mark.parametrize(
    ("contract", "spec", "asks_the_host"),
    [
        (IMAGE.batched(4), tf.TensorSpec((4, 2, 3, 1), tf.float32), True),
        (BATCH, tf.TensorSpec((None, 2, 3, 1), tf.uint8), False),
        (BATCH, tf.TensorSpec((None, None, 3, 1), tf.uint8), True),
        (BATCH, tf.TensorSpec(None, tf.uint8), True),
    ],
)
def test_what_the_spec_settles_costs_nothing(contract, spec, asks_the_host):
    """Where shape and dtype are known and the dtype settles the range, nothing is added that looks at the tensor."""
    if spec.dtype == tf.uint8:
        contract = TensorContract(axes=contract.axes, dtype="uint8", value_range=(0, 255))
    graph = tf.function(lambda tensor: guard(contract, tensor, stage="batch")).get_concrete_function(spec).graph
    kinds = {operation.type for operation in graph.get_operations()}
    assert asks_the_host == bool(kinds & {"PyFunc", "PyFuncStateless"})
    assert (asks_the_host and spec.dtype == tf.float32) == ("Min" in kinds)


def test_facts_are_a_few_numbers_a_batch():
    """Sizes, and per sample the smallest and largest value, NaN where any value is none."""
    sizes, lows, highs = facts(BATCH, tf.constant(spoiled(1, value=np.nan)))
    assert [4, 2, 3, 1] == sizes.numpy().tolist()
    np.testing.assert_array_equal([0, np.nan, 0.5, 0.75], lows.numpy())
    assert (tf.float64, (4,)) == (highs.dtype, highs.shape)
    _, low, high = facts(IMAGE, tf.constant(spoiled(0)[0]))
    assert ([0.0], [2.0]) == (low.numpy().tolist(), high.numpy().tolist())


def test_ids_of_any_bytes_can_be_named():
    """An id that is not UTF-8 is shown with escapes, and ids that do not match the batch give way to positions."""
    found = [each.numpy() for each in facts(IMAGE.batched(1), tf.constant(spoiled(0)[:1]))]
    [violation] = judge(IMAGE.batched(1), "float32", *found, np.array([b"\xff.jpg"], object), stage="batch")
    assert r"\xff.jpg" == violation.sample_id
    [violation] = judge(IMAGE.batched(1), "float32", *found, np.array([b"a", b"b"], object), stage="batch")
    assert "at position 0" == violation.sample_id


@pytest.mark.parametrize("symbolic", [False, True])
def test_an_iterator_with_a_guard_is_saved_and_restored(tmp_path, symbolic):
    """Saved in the middle and restored into a new iterator, the same batches remain."""

    def batches():
        rows = tf.data.Dataset.from_tensor_slices(images(24)).shuffle(24, seed=7, reshuffle_each_iteration=False)
        guarded = rows.batch(4).map(lambda tensor: guard(BATCH, hidden(tensor), stage="batch"), num_parallel_calls=2)
        options = tf.data.Options()
        options.experimental_symbolic_checkpoint = symbolic
        return iter(guarded.prefetch(1).with_options(options))

    iterator = batches()
    for _ in range(2):
        next(iterator)
    path = tf.train.Checkpoint(iterator=iterator).write(str(tmp_path / "iterator"))
    expected = [batch.numpy() for batch in iterator]
    restored = batches()
    tf.train.Checkpoint(iterator=restored).read(path).assert_consumed()
    remaining = [batch.numpy() for batch in restored]
    assert 4 == len(expected)
    np.testing.assert_array_equal(expected, remaining)
