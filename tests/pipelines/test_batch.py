import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from nhwc.pipelines.batch import (
    BatchOptions,
    Dealing,
    Epochs,
    batch_contract,
    contracts,
    epoch_order,
    put_channels_first,
)
from nhwc.validators.contract import image_contract

STORED = image_contract(rows=4, cols=5, channels=3, dtype="uint8", value_range=(0, 255))


def dealt(samples: int, batch_size: int, count: int, drop: bool) -> list[list[list[int]]]:
    """Positions by shard, then step."""
    result = []
    for index in range(count):
        dealing = Dealing(samples=samples, batch_size=batch_size, shard=(index, count), drop_remainder=drop)
        result.append([list(dealing.positions(step)) for step in range(dealing.steps)])
    return result


@pytest.mark.parametrize(
    ("samples", "batch_size", "count", "drop", "expected"),
    [
        (5, 2, 1, False, [[[0, 1], [2, 3], [4]]]),
        (5, 2, 1, True, [[[0, 1], [2, 3]]]),
        (6, 2, 1, False, [[[0, 1], [2, 3], [4, 5]]]),
        (1, 32, 1, False, [[[0]]]),
        (8, 2, 2, False, [[[0, 1], [4, 5]], [[2, 3], [6, 7]]]),
        (7, 2, 2, False, [[[0, 1], [4]], [[2, 3], [5, 6]]]),  # the last step's three, as evenly as can be
        (
            5,
            2,
            2,
            False,
            [[[0], [3]], [[1, 2], [4]]],
        ),  # one alone would leave a shard without: the step before gives one
        (5, 2, 2, True, [[[0, 1]], [[2, 3]]]),
        (9, 4, 2, False, [[[0, 1, 2], [7]], [[3, 4, 5, 6], [8]]]),
        (4, 1, 2, False, [[[0], [2]], [[1], [3]]]),
    ],
)
def test_dealing_by_hand(samples, batch_size, count, drop, expected):
    """Each step's samples are consecutive, dealt in order among the shards."""
    assert expected == dealt(samples, batch_size, count, drop)


@settings(max_examples=60)
@given(samples=st.integers(1, 60), batch_size=st.integers(1, 6), count=st.integers(1, 5), drop=st.booleans())
def test_shards_partition_the_epoch(samples, batch_size, count, drop):
    """Same steps everywhere, no step empty or over batch_size, evenly dealt, the union exact."""
    dealing = Dealing(samples=samples, batch_size=batch_size, shard=(0, count), drop_remainder=drop)
    assume(not dealing.problems())
    shards = dealt(samples, batch_size, count, drop)
    assert {dealing.steps} == {len(steps) for steps in shards}
    sizes = [len(positions) for positions in shards[0]]
    assert sizes == dealing.sizes().tolist()
    assert sizes[dealing.steps // 2 :] == dealing.sizes(dealing.steps // 2).tolist()
    for step in zip(*shards, strict=True):
        sizes = [len(positions) for positions in step]
        assert 1 <= min(sizes) <= max(sizes) <= batch_size
        assert max(sizes) - min(sizes) <= 1
    together = sorted(position for steps in shards for positions in steps for position in positions)
    assert list(range(dealing.steps * batch_size * count if drop else samples)) == together
    if drop or samples % (batch_size * count) == 0:
        assert {batch_size} == {len(positions) for steps in shards for positions in steps}
        assert batch_size == dealing.static_size
    else:
        assert dealing.static_size is None


@pytest.mark.parametrize(
    ("samples", "batch_size", "count", "drop", "expected"),
    [
        (3, 4, 1, True, "drop_remainder: found 3 samples, expected at least 4 (batch_size 4)"),
        (7, 4, 2, True, "drop_remainder: found 7 samples, expected at least 8 (batch_size 4 times 2 shards)"),
        (2, 4, 3, False, "shard: found 2 samples, expected at least one for each of 3 shards"),
        (
            7,
            1,
            3,
            False,
            "batch_size: found 1, with which 7 samples leave some of 3 shards without one in the last step: "
            "set drop_remainder=True, or a batch_size of at least 2",
        ),
    ],
)
def test_what_cannot_be_dealt_is_said(samples, batch_size, count, drop, expected):
    """A dealing that would leave a shard without a sample in some step says so, and what to do."""
    dealing = Dealing(samples=samples, batch_size=batch_size, shard=(0, count), drop_remainder=drop)
    assert [expected] == dealing.problems()


@settings(max_examples=50)
@given(samples=st.integers(1, 200), seed=st.integers(0, 2**63 - 1), epoch=st.integers(0, 2**40))
def test_an_order_is_a_permutation_and_pure(samples, seed, epoch):
    """Each position once, and the same whenever asked again."""
    order = epoch_order(samples, seed, epoch)
    assert list(range(samples)) == sorted(order.tolist())
    assert order.tolist() == epoch_order(samples, seed, epoch).tolist()


def test_orders_differ_between_epochs_and_seeds():
    """No two of many (seed, epoch) share an order: 256 and 2**32 apart, and (7, 1) beside (8, 0), included."""
    pairs = [(7, epoch) for epoch in range(600)] + [(seed, 0) for seed in range(8, 600)]
    pairs += [(7 + 2**32, 0), (7, 2**32), (0, 7)]
    assert len(pairs) == len({tuple(epoch_order(100, *pair)) for pair in pairs})


def test_every_sample_comes_everywhere_alike():
    """Over many epochs each sample stands in each place about equally often (chi-square, five sigma)."""
    samples, epochs = 20, 2000
    counts = np.zeros((samples, samples))
    for epoch in range(epochs):
        counts[np.arange(samples), epoch_order(samples, 3, epoch)] += 1
    freedom = (samples - 1) ** 2
    chi_square = ((counts - epochs / samples) ** 2 / (epochs / samples)).sum()
    assert abs(chi_square - freedom) < 5 * np.sqrt(2 * freedom)


def test_an_order_never_changes():
    """The numbers that a seed gives are part of what is promised: a training resumes after an upgrade."""
    assert [epoch_order(8, 7, epoch).tolist() for epoch in (0, 1)] == EXPECTED_ORDERS


EXPECTED_ORDERS = [[6, 0, 5, 2, 4, 3, 1, 7], [7, 4, 1, 6, 2, 5, 0, 3]]


def test_epochs_are_handed_out_in_order():
    """The first start is start_batch, each later one an epoch's first; a restored epoch moves what comes next."""
    epochs = Epochs(10, 5, BatchOptions(start_batch=7))
    assert [epochs.hand_out() for _ in range(3)] == [7, 10, 15]
    epochs.go_on(42)
    assert epochs.hand_out() == 45
    epochs.go_on(3)
    assert epochs.hand_out() == 50, "an earlier epoch that is still read moves nothing back"


@pytest.mark.parametrize("shuffle", [False, True])
def test_each_epoch_has_its_order(shuffle):
    """By its number, whatever was asked before: of its own seed, or the manifest's."""
    epochs = Epochs(10, 5, BatchOptions(shuffle=shuffle, seed=7))
    for epoch in (0, 3, 1, 0, 3):
        expected = epoch_order(10, 7, epoch) if shuffle else np.arange(10)
        np.testing.assert_array_equal(expected, epochs.order(epoch))


def test_batch_contract_names_its_axes():
    """Samples in front; channels where they are asked for."""
    assert str(batch_contract(STORED, samples=8)) == "uint8[samples=8, rows=4, cols=5, channels=3] in [0, 255]"
    first = batch_contract(STORED, samples=None, channels_first=True)
    assert str(first) == "uint8[samples=any, channels=3, rows=4, cols=5] in [0, 255]"


def test_contracts_need_no_version():
    """The three stages' contracts come from the stored one and the options alone."""
    options = BatchOptions(scale="signed", dtype="float16", channels_first=True)
    expected = {
        "load": "uint8[rows=4, cols=5, channels=3] in [0, 255]",
        "cast": "float16[rows=4, cols=5, channels=3] in [-1, 1]",
        "batch": "float16[samples=32, channels=3, rows=4, cols=5] in [-1, 1]",
    }
    assert expected == {name: str(contract) for name, contract in contracts(STORED, options, samples=32).items()}


def test_channels_first_moves_every_value():
    """Value (sample, row, col, channel) lands at (sample, channel, row, col), in the array that was made for it."""
    images = np.arange(2 * 4 * 5 * 3, dtype=np.uint8).reshape(2, 4, 5, 3)
    expected = images.transpose(0, 3, 1, 2)
    moved = put_channels_first(images, np.empty)
    np.testing.assert_array_equal(expected, moved)
    assert moved.flags.c_contiguous
