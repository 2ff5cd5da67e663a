"""What a tensor must be, said in values, in words and in plain YAML."""

import json
import re
from dataclasses import FrozenInstanceError

import pytest
import tensorflow as tf
import yaml
from hypothesis import given
from hypothesis import strategies as st

from nhwc.validators.contract import Axis, TensorContract, image_contract, interval

IMAGE = image_contract(rows=224, cols=224, channels=3, dtype="uint8", value_range=(0, 255))

sizes = st.none() | st.integers(1, 5000) | st.lists(st.integers(1, 5000), min_size=1, max_size=3).map(tuple)
dtype_names = st.sampled_from(["uint8", "uint16", "int32", "float16", "bfloat16", "float32"])
dtypes = dtype_names | st.lists(dtype_names, min_size=1, max_size=3, unique=True).map(tuple)
ranges = st.none() | st.tuples(st.integers(-(2**40), 2**40) | st.floats(allow_nan=False)).flatmap(
    lambda low: st.tuples(st.just(low[0]), st.floats(min_value=float(low[0]), allow_nan=False))
)
axes = st.lists(st.sampled_from(["samples", "rows", "cols", "channels"]), unique=True, max_size=4).flatmap(
    lambda names: st.tuples(*(st.builds(Axis, st.just(name), sizes) for name in names))
)
contracts = st.builds(TensorContract, axes=axes, dtype=dtypes, value_range=ranges)


@pytest.mark.parametrize(
    ("contract", "text"),
    [
        (IMAGE, "uint8[rows=224, cols=224, channels=3] in [0, 255]"),
        (IMAGE.batched(None), "uint8[samples=any, rows=224, cols=224, channels=3] in [0, 255]"),
        (IMAGE.batched(32), "uint8[samples=32, rows=224, cols=224, channels=3] in [0, 255]"),
        (
            image_contract(rows=None, cols=None, channels=(1, 3), dtype=("uint8", "uint16"), value_range=None),
            "uint8|uint16[rows=any, cols=any, channels=1|3]",
        ),
        (
            image_contract(rows=28, cols=20, channels=1, dtype="float32", value_range=(-0.5, 1)),
            "float32[rows=28, cols=20, channels=1] in [-0.5, 1]",
        ),
        (TensorContract(axes=(), dtype="int32"), "int32[]"),
    ],
)
def test_a_contract_reads_as_dtype_axes_and_range(contract, text):
    """The words name every axis in order, `any` for a free size, choices by |."""
    assert text == str(contract)


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (0, 255, "[0, 255]"),
        (0.0, 255.0, "[0, 255]"),
        (0, 255.00001525878906, "[0, 255.00001525878906]"),
        (-(2**31), 2**31 - 1, "[-2147483648, 2147483647]"),
        (float("-inf"), float("inf"), "[-inf, inf]"),
    ],
)
def test_an_interval_never_rounds_a_breach_away(low, high, text):
    """A value a hair outside must not read like the limit itself."""
    assert text == interval(low, high)


@pytest.mark.parametrize(
    ("size", "allowed", "refused", "expected"),
    [
        (None, [0, 1, 10_000], [], "any"),
        (224, [224], [0, 223, 225], "224"),
        ((1, 3), [1, 3], [0, 2, 4], "1|3"),
    ],
)
def test_an_axis_allows_its_sizes_only(size, allowed, refused, expected):
    """None allows any size, a number itself, a tuple each of its numbers."""
    axis = Axis("channels", size)
    assert expected == axis.expected
    assert f"channels={expected}" == str(axis)
    assert all(axis.allows(each) for each in allowed)
    assert not any(axis.allows(each) for each in refused)


@given(contracts)
def test_a_contract_comes_back_equal_from_plain_values(contract):
    """to_dict and from_dict are inverse, through YAML and JSON too, whether or not the writer sorts keys."""
    plain = contract.to_dict()
    assert contract == TensorContract.from_dict(plain)
    assert contract == TensorContract.from_dict(yaml.safe_load(yaml.safe_dump(plain, sort_keys=True)))
    assert contract == TensorContract.from_dict(json.loads(json.dumps(plain, sort_keys=True)))


@given(contracts)
def test_equal_contracts_hash_equal(contract):
    """A contract is a value: usable as a key, equal and of one text when built again."""
    again = TensorContract.from_dict(contract.to_dict())
    assert hash(contract) == hash(again)
    assert str(contract) == str(again)


def test_plain_values_keep_rows_before_cols():
    """The plain form is a list of axes, in which no sorted key can change the order."""
    expected = {
        "axes": [{"name": "rows", "size": 2}, {"name": "cols", "size": [4, 8]}, {"name": "channels", "size": None}],
        "dtype": ["uint8", "uint16"],
        "value_range": [0, 255],
    }
    contract = image_contract(rows=2, cols=(4, 8), channels=None, dtype=("uint8", "uint16"), value_range=(0, 255))
    assert expected == contract.to_dict()


def test_what_lacks_a_part_is_no_contract():
    """from_dict names the part that is missing."""
    with pytest.raises(KeyError, match="value_range"):
        TensorContract.from_dict({"axes": [], "dtype": "uint8"})


@pytest.mark.parametrize(
    ("contract", "is_determined"),
    [
        (IMAGE, True),
        (IMAGE.batched(8), True),
        (IMAGE.batched(None), False),
        (IMAGE.with_axis("rows", None), False),
        (IMAGE.with_axis("channels", (1, 3)), False),
        (image_contract(rows=1, cols=1, channels=1, dtype=("uint8", "int8"), value_range=(0, 1)), False),
        (image_contract(rows=1, cols=1, channels=1, dtype="float32", value_range=None), False),
    ],
)
def test_determined_is_what_leaves_nothing_open(contract, is_determined):
    """One number for each size, one dtype and a range: anything less is not determined."""
    assert is_determined == contract.is_determined


def test_a_batch_has_samples_in_front():
    """batched() adds the axis and changes nothing else."""
    batch = IMAGE.batched(32)
    assert (32, 224, 224, 3) == batch.shape
    assert 4 == batch.rank
    assert [True, False, False] == [each.is_batch for each in (batch, IMAGE, TensorContract(axes=(), dtype="int32"))]
    assert Axis("samples", 32) == batch.axes[0]
    assert IMAGE.axes == batch.axes[1:]
    assert (IMAGE.dtype, IMAGE.value_range) == (batch.dtype, batch.value_range)


def test_shape_is_none_where_more_than_one_size_is_allowed():
    """A free size and a choice of sizes both leave the static shape open."""
    assert (None, None, 3) == IMAGE.with_axis("rows", None).with_axis("cols", (1, 2)).shape


def test_with_axis_changes_that_axis_alone():
    """The other axes, the order and the original contract stay."""
    assert "uint8[rows=224, cols=100, channels=3] in [0, 255]" == str(IMAGE.with_axis("cols", 100))
    assert 224 == IMAGE.axis("cols").size


@pytest.mark.parametrize("ask", [lambda: IMAGE.axis("samples"), lambda: IMAGE.with_axis("samples", 3)])
def test_an_axis_that_is_not_there_is_named(ask):
    """The error shows the contract and the name that was asked for."""
    with pytest.raises(KeyError, match=r"uint8\[rows=224, cols=224, channels=3\] in \[0, 255\] has no axis 'samples'"):
        ask()


@pytest.mark.parametrize(
    ("value_range", "dtype", "settled"),
    [
        (None, "float32", True),
        ((0, 255), "uint8", True),
        ((-1, 256), "uint8", True),
        ((0, 254), "uint8", False),
        ((1, 255), "uint8", False),
        ((0, 255), "uint16", False),
        ((0, 65535), "uint16", True),
        ((-128, 127), "int8", True),
        ((0, 1), "bool", True),
        ((0, 255), "float32", False),
        ((float("-inf"), float("inf")), "float32", True),
    ],
)
def test_a_dtype_settles_the_range_that_it_cannot_leave(value_range, dtype, settled):
    """Only where every value of the dtype lies inside need no value be looked at."""
    assert settled == TensorContract(axes=(), dtype=dtype, value_range=value_range).range_settled_by(dtype)


def test_a_contract_cannot_be_changed():
    """It is a value that stages share."""
    with pytest.raises(FrozenInstanceError, match="dtype"):
        IMAGE.dtype = "float32"


ROWS = Axis("rows", 4)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Axis(""), "Axis: name: found '', expected text, as 'rows'"),
        (lambda: Axis(3), "Axis: name: found 3, expected text"),
        (lambda: Axis("rows", -1), "Axis: size: found -1, expected a whole number, a tuple of some, or None: any"),
        (lambda: Axis("rows", "x"), "Axis: size: found 'x', expected a whole number"),
        (lambda: Axis("rows", 2.0), "Axis: size: found 2.0, expected a whole number"),
        (lambda: Axis("rows", True), "Axis: size: found True, expected a whole number"),
        (lambda: Axis("rows", ()), "Axis: size: found (), expected a whole number"),
        (lambda: Axis("rows", (1, -3)), "Axis: size: found (1, -3), expected a whole number"),
        (lambda: Axis(None, "x"), "Axis: name: found None, expected text, as 'rows'; size: found 'x', expected"),
        (
            lambda: TensorContract(axes=[ROWS], dtype="uint8"),
            "axes: found [Axis(name='rows', size=4)], expected a tuple",
        ),
        (lambda: TensorContract(axes=("rows",), dtype="uint8"), "axes: found ('rows',), expected a tuple of Axis"),
        (lambda: TensorContract(axes=(ROWS, ROWS), dtype="uint8"), "axes: found rows more than once, expected each"),
        (lambda: IMAGE.batched(2).batched(2), "axes: found samples more than once, expected each axis once"),
        (lambda: TensorContract(axes=(), dtype="u"), "dtype: found 'u', expected a dtype's whole name, as 'uint8'"),
        (lambda: TensorContract(axes=(), dtype="u1"), "dtype: found 'u1', expected a dtype's whole name"),
        (lambda: TensorContract(axes=(), dtype="uint7x"), "dtype: found 'uint7x', expected a dtype's whole name"),
        (lambda: TensorContract(axes=(), dtype=()), "dtype: found (), expected a dtype's whole name"),
        (lambda: TensorContract(axes=(), dtype=None), "dtype: found None, expected a dtype's whole name"),
        (lambda: TensorContract(axes=(), dtype=("uint8", "")), "dtype: found ('uint8', ''), expected a dtype's"),
        (lambda: TensorContract(axes=(), dtype="int8", value_range=(5, 1)), "value_range: found (5, 1), expected (low"),
        (lambda: TensorContract(axes=(), dtype="int8", value_range=(5,)), "value_range: found (5,), expected (lowest"),
        (lambda: TensorContract(axes=(), dtype="int8", value_range=5), "value_range: found 5, expected (lowest"),
        (lambda: TensorContract(axes=(), dtype="int8", value_range=(0, float("nan"))), "value_range: found (0, nan)"),
        (lambda: TensorContract(axes=(), dtype="int8", value_range=(0, "x")), "value_range: found (0, 'x'), expected"),
    ],
)
def test_what_no_tensor_can_be_is_no_contract(make, message):
    """Told when it is written, not when nothing passes it."""
    with pytest.raises(ValueError, match=re.escape(message)):
        make()


def test_all_that_is_wrong_with_a_contract_is_told_at_once():
    """In one line."""
    with pytest.raises(ValueError, match=r"^TensorContract: axes: .*; dtype: .*; value_range: .*$"):
        TensorContract(axes=(ROWS, ROWS), dtype="u", value_range=(5, 1))


NUMBERS = {
    one.name for one in vars(tf.dtypes).values() if isinstance(one, tf.DType) and (one.is_integer or one.is_floating)
}


@pytest.mark.parametrize("name", sorted(NUMBERS))
def test_every_dtype_of_tensorflow_has_its_name(name):
    """What an element_spec can say, a contract can."""
    assert name == TensorContract(axes=(), dtype=name).dtype
