"""One contract, three checkers: spec, guard and array find the same breach, or the spec says that it cannot know."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from nhwc.validators.array import check_array
from nhwc.validators.check import Finding
from nhwc.validators.contract import Axis, TensorContract
from nhwc.validators.errors import DataError
from nhwc.validators.guard import facts, guard, judge
from nhwc.validators.spec import check_spec
from nhwc.validators.violation import Code

RANGES = {
    "uint8": [(0, 255), (0, 200), (3, 9)],
    "int8": [(-128, 127), (0, 100)],
    "uint16": [(0, 65535), (0, 255)],
    "int32": [(0, 255), (-5, 70_000)],
    "float16": [(0, 1), (-1, 1)],
    "float32": [(0, 1), (-1, 1), (0, 255), (-0.5, 0.5)],
    "float64": [(0, 1)],
}
AXES = ("samples", "rows", "cols", "channels")
CODES = {
    "rank": Code.WRONG_RANK,
    "samples": Code.WRONG_SIZE,
    "rows": Code.WRONG_SIZE,
    "cols": Code.WRONG_SIZE,
    "channels": Code.WRONG_CHANNELS,
    "dtype": Code.WRONG_DTYPE,
    "range": Code.OUT_OF_RANGE,
}
moderate = settings(max_examples=100)  # TensorFlow's first call takes long
by_graph = settings(moderate, max_examples=40)


@dataclass(frozen=True, kw_only=True)
class Case:
    """A contract, an array, and the one aspect in which the array breaks it (None: it keeps it)."""

    contract: TensorContract
    array: np.ndarray[Any, Any]
    aspect: str | None = None
    position: int = 0  # of the sample whose value is out of range

    @property
    def ids(self):
        """An id a sample, as bytes, for the array's first axis; one for an image."""
        count = self.array.shape[0] if self.contract.is_batch and self.array.ndim else 1
        return np.array([f"id{n}".encode() for n in range(count)], object)

    @property
    def told(self):
        """Code and aspect of the one violation that must be found, or none."""
        return [(CODES[self.aspect], self.aspect)] if self.aspect else []


@st.composite
def contracts(draw):
    """An image's or a batch's contract: sizes fixed, free or a choice; one dtype or two."""
    names = AXES if draw(st.booleans()) else AXES[1:]
    sizes = st.none() | st.integers(1, 4) | st.tuples(st.integers(1, 2), st.integers(3, 4))
    dtype = draw(st.sampled_from(sorted(RANGES)))
    return TensorContract(
        axes=tuple(Axis(name, draw(sizes)) for name in names),
        dtype=draw(st.sampled_from([dtype, (dtype, "int16")])),
        value_range=draw(st.none() | st.sampled_from(RANGES[dtype])),
    )


@st.composite
def keepers(draw):
    """A contract and an array that keeps it: values anywhere in the range, both ends among them."""
    contract = draw(contracts())
    shape = [
        draw(st.sampled_from(axis.size) if isinstance(axis.size, tuple) else st.integers(1, 4))
        if not isinstance(axis.size, int)
        else axis.size
        for axis in contract.axes
    ]
    dtype = np.dtype(contract.dtypes[0])
    low, high = contract.value_range or (0, 100)
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    values = random.integers(0, 9, shape) / 8 * (high - low) + low  # eighths: both ends, exact in each float dtype
    return Case(contract=contract, array=values.astype(dtype))


def breakable(contract):
    """The aspects in which an array can break the contract alone."""
    sizes = [axis.name for axis in contract.axes if axis.size is not None]
    can_leave = not contract.range_settled_by(contract.dtypes[0])
    return ["rank", "dtype", *sizes, *(["range"] if can_leave else [])]


def strays(dtype, low, high):
    """Values of the dtype outside [low, high]: the nearest, the farthest, and those that are no number."""
    if dtype.kind == "f":
        inf = np.array(np.inf, dtype)
        above, below = np.nextafter(np.array(high, dtype), inf), np.nextafter(np.array(low, dtype), -inf)
        below = min(below, -np.finfo(dtype).tiny)  # smaller ones are zero to TensorFlow, which flushes them
        return [float(value) for value in (np.nan, inf, -inf, above, below)]
    ends = np.iinfo(dtype)
    candidates = (int(np.floor(low)) - 1, int(np.ceil(high)) + 1, int(ends.min), int(ends.max))
    return [n for n in candidates if ends.min <= n <= ends.max and not low <= n <= high]


def other_sizes(array, contract, aspect):
    """Arrays whose one axis has a size that the contract does not allow, none among them."""
    axis = contract.axes.index(contract.axis(aspect))
    sizes = [size for size in range(6) if not contract.axes[axis].allows(size)]
    return st.sampled_from(sizes).map(lambda size: array.take(np.zeros(size, int), axis=axis))


def other_ranks(array):
    """Arrays with an axis more, an axis less, or none at all."""
    more = st.integers(0, array.ndim).map(lambda axis: np.expand_dims(array, axis))
    less = st.integers(0, array.ndim - 1).map(lambda axis: array.take(0, axis=axis))
    return more | less | st.just(array.reshape(-1)[0].reshape(()))


def other_dtypes(array):
    """The same values in another dtype that holds them exactly."""
    names = [name for name in ("int32", "float32", "float64") if name != array.dtype.name]
    return st.sampled_from([name for name in names if (array.astype(name) == array).all()]).map(array.astype)


def with_value(array, flat, value):
    """The array with one of its values replaced."""
    changed = array.copy()
    changed.flat[flat] = value
    return changed


@st.composite
def breakers(draw, aspects=tuple(CODES)):
    """A contract and an array that breaks it in exactly one of these aspects."""
    case = draw(keepers().filter(lambda case: set(aspects) & set(breakable(case.contract))))
    contract, array = case.contract, case.array
    aspect = draw(st.sampled_from([aspect for aspect in breakable(contract) if aspect in aspects]))
    if aspect == "rank":
        return replace(case, array=draw(other_ranks(array)), aspect=aspect)
    if aspect == "dtype":
        return replace(case, array=draw(other_dtypes(array)), aspect=aspect)
    if aspect == "range":
        flat = draw(st.integers(0, array.size - 1))
        stray = draw(st.sampled_from(strays(array.dtype, *contract.value_range)))
        position = int(np.unravel_index(flat, array.shape)[0]) if case.contract.is_batch else 0
        return replace(case, array=with_value(array, flat, stray), aspect=aspect, position=position)
    return replace(case, array=draw(other_sizes(array, contract, aspect)), aspect=aspect)


def told(violations):
    """Code and aspect of each violation."""
    return [(violation.code, violation.aspect) for violation in violations]


def judged(case):
    """What the guard's two halves find, called one after the other outside a graph."""
    found = (each.numpy() for each in facts(case.contract, tf.constant(case.array)))
    return judge(case.contract, case.array.dtype.name, *found, case.ids, stage="batch")


def guarded(case, *, hide=True):
    """The one element that comes out of a tf.data map which hides its shape from the guard, or does not."""

    def hide_and_guard(array, ids):
        tensor = tf.compat.v1.placeholder_with_default(array, shape=None) if hide else array
        return guard(case.contract, tensor, stage="batch", ids=ids)

    elements = tf.data.Dataset.from_tensors((tf.constant(case.array), tf.constant(case.ids)))
    return next(iter(elements.map(hide_and_guard))).numpy()


@moderate
@given(keepers() | breakers())
def test_the_array_checker_finds_exactly_the_one_breach(case):
    """Code and aspect, one only, or none; nothing is left undetermined."""
    finding = check_array(case.contract, case.array, stage="batch", sample_id="id0")
    assert case.told == told(finding.violations)
    assert () == finding.undetermined
    assert all("id0" == violation.sample_id for violation in finding.violations)


@moderate
@given(keepers() | breakers(aspects=[aspect for aspect in CODES if aspect != "dtype"]))
def test_the_guards_judgement_is_the_array_checkers(case):
    """The same violation, word for word: of the whole for the shape, of the sample that has it for the range."""
    violations = judged(case)
    assert case.told == told(violations)
    if case.aspect == "range":
        sample_id = case.ids[case.position].decode()
        image = replace(case.contract, axes=case.contract.axes[1:]) if case.contract.is_batch else case.contract
        array = case.array[case.position] if case.contract.is_batch else case.array
        assert check_array(image, array, stage="batch", sample_id=sample_id).violations == violations
    else:
        sample_id = None if case.contract.is_batch else "id0"
        assert check_array(case.contract, case.array, stage="batch", sample_id=sample_id).violations == violations


@by_graph
@given(keepers(), st.booleans())
def test_the_guard_lets_a_keeper_through_unchanged(case, hide):
    """Inside a tf.data map the values, shape and dtype come out as they went in."""
    np.testing.assert_array_equal(case.array, guarded(case, hide=hide), strict=True)


@by_graph
@given(breakers(aspects=[aspect for aspect in CODES if aspect != "dtype"]), st.booleans())
def test_the_guard_fails_with_exactly_the_one_breach(case, hide):
    """Inside a tf.data map the error holds the text of the one violation, and of no other: of the range, which no spec
    knows, also where the shape is not hidden.
    """
    [violation] = judged(case)
    with pytest.raises(tf.errors.OpError, match=f"batch.*{violation.code}: {violation.aspect} found") as caught:
        guarded(case, hide=hide or case.aspect != "range")
    lines = [line for line in caught.value.message.splitlines() if "To mend: " in line]
    assert {str(violation)} == {line.partition("DataError: ")[2] for line in lines}


@by_graph
@given(breakers(aspects=["dtype"]))
def test_the_guard_refuses_another_dtype_while_the_graph_is_built(case):
    """A dtype is always known: DataError, with the array checker's violation."""
    with pytest.raises(DataError, match="wrong_dtype: dtype found") as caught:
        guarded(case)
    expected = check_array(case.contract, case.array, stage="batch").violations
    assert expected == caught.value.verdict.violations


@moderate
@given(keepers() | breakers(), st.data())
def test_the_spec_checker_finds_the_breach_or_says_that_it_cannot_know(case, data):
    """What the spec shows is judged as the array is; what it hides is undetermined, and neither passed nor broken."""
    hidden = data.draw(st.lists(st.booleans(), min_size=case.array.ndim, max_size=case.array.ndim))
    sizes = [None if hide else size for hide, size in zip(hidden, case.array.shape, strict=True)]
    shape = data.draw(st.sampled_from([sizes, None]))
    finding = check_spec(case.contract, tf.TensorSpec(shape, case.array.dtype), stage="batch")

    asked = [axis.name for axis in case.contract.axes if axis.size is not None]
    if shape is None:
        unknown = ["rank", *asked]
    elif case.aspect == "rank":
        unknown = []  # of a wrong rank the axes cannot be told apart: the rank is the breach
    else:
        unknown = [axis.name for axis, hide in zip(case.contract.axes, hidden, strict=True) if hide]
        unknown = [name for name in unknown if name in asked]
    if not case.contract.range_settled_by(case.array.dtype.name):
        unknown.append("range")
    assert unknown == list(finding.undetermined)
    assert ([] if case.aspect in unknown else case.told) == told(finding.violations)


@moderate
@given(keepers())
def test_a_spec_that_hides_nothing_and_settles_the_range_leaves_nothing_open(case):
    """A full spec leaves at most the range; where the dtype settles that too, all is known before anything is read."""
    finding = check_spec(case.contract, tf.TensorSpec(case.array.shape, case.array.dtype), stage="batch")
    open_range = () if case.contract.range_settled_by(case.array.dtype.name) else ("range",)
    assert Finding(undetermined=open_range) == finding


@moderate
@given(keepers(), keepers())
def test_array_and_guard_agree_on_any_array(one, other):
    """Held against a foreign contract of its dtype, an array breaks the same aspects for both, all at once."""
    case = replace(one, contract=replace(one.contract, dtype=other.array.dtype.name), array=other.array)
    by_array = told(check_array(case.contract, case.array, stage="batch").violations)
    assert by_array == list(dict.fromkeys(told(judged(case))))  # the guard tells the range of each sample


@pytest.mark.parametrize(
    ("array", "aspects"),
    [
        (np.array(["a", "b"]), ["rank", "dtype"]),
        (np.array([[[None]]]), ["dtype"]),
        (np.zeros((1, 1, 1), "complex64"), ["dtype"]),
        (np.zeros((1, 1, 1), "datetime64[s]"), ["dtype"]),
        (np.full((1, 1, 1), 2, tf.bfloat16.as_numpy_dtype), ["dtype", "range"]),
        (np.zeros((1, 1, 1), ">f4"), ["dtype"]),
    ],
)
def test_arrays_that_are_no_tensors_are_judged_too(array, aspects):
    """Strings, objects and swapped bytes are another dtype, and never an error of the checker."""
    contract = TensorContract(axes=tuple(map(Axis, AXES[1:])), dtype="float32", value_range=(0, 1))
    finding = check_array(contract, array, stage="decode")
    assert aspects == [violation.aspect for violation in finding.violations]


def test_bfloat16_is_looked_at_by_array_and_guard():
    """numpy has no minimum of its own for it."""
    contract = TensorContract(axes=(Axis("rows"),), dtype="bfloat16", value_range=(0, 1))
    array = np.array([0, 2], tf.bfloat16.as_numpy_dtype)
    [expected] = check_array(contract, array, stage="cast", sample_id="id0").violations
    assert "cast sample id0: out_of_range: range found [0, 2], expected [0, 1]. To mend: scale it." == str(expected)
    found = (each.numpy() for each in facts(contract, tf.constant(array)))
    assert (expected,) == judge(contract, "bfloat16", *found, np.array([b"id0"], object), stage="cast")
