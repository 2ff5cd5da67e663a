"""The checker in the graph, for what a spec leaves undetermined: a few numbers a batch, judged on the host.

The graph computes sizes and, per sample, smallest and largest value. The comparison and its text are made by
`check.compare` on the host, so a breach reads the same as anywhere else and names the sample.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from nhwc.validators.check import Found, compare
from nhwc.validators.contract import TensorContract
from nhwc.validators.errors import DataError
from nhwc.validators.spec import check_spec
from nhwc.validators.verdict import Verdict
from nhwc.validators.violation import Violation

Array = np.ndarray[Any, Any]


def guard(contract: TensorContract, tensor: tf.Tensor, *, stage: str, ids: tf.Tensor | None = None) -> tf.Tensor:
    """The same tensor, its static shape set; running it fails where it breaks the contract.

    Args:
        contract: with an axis `samples` in front for a batch.
        tensor: of any rank, known or not.
        stage: named in the error.
        ids: string[samples], or of one element without samples: the samples' ids, for the error. Without it
            positions are named.

    What the spec already breaks raises DataError at once, while the graph is built; what it leaves
    undetermined fails when run, as a TensorFlow error that holds the text of every Violation (as DataError where
    there is no graph).
    """
    finding = check_spec(contract, tf.TensorSpec(tensor.shape, tensor.dtype), stage=stage)
    if finding.violations:
        raise DataError(Verdict(violations=finding.violations))
    static = tensor.shape
    if finding.undetermined:
        names = tf.constant([], tf.string) if ids is None else tf.reshape(ids, [-1])
        judged = _Judge(contract, tensor.dtype.name, stage)
        begin = tf.numpy_function(judged, [*facts(contract, tensor), names], tf.int64, stateful=False)
        # Where the slice begins comes out of the judgement, so nothing can run without it: a control dependency, or a
        # reshape to sizes that come out of it, is optimised away. A slice of the whole copies nothing.
        begin = tf.ensure_shape(begin, [contract.rank])
        tensor = tf.slice(tensor, begin, tf.fill([contract.rank], tf.constant(-1, tf.int64)))
    return tf.ensure_shape(tensor, static.merge_with(contract.shape))


def facts(contract: TensorContract, tensor: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Computed in the graph: sizes int64[rank], smallest and largest value float64[samples].

    Without an axis `samples` the two are of length 1. The smallest is NaN where any value is not a number.
    TensorFlow takes denormal numbers for zero, and so does this.
    Where the dtype settles the range by itself, no value is looked at and the two are empty.
    """
    sizes = tf.shape(tensor, out_type=tf.int64)
    if contract.range_settled_by(tensor.dtype.name):
        return sizes, tf.constant([], tf.float64), tf.constant([], tf.float64)
    rank = tf.rank(tensor)
    axes = tf.range(tf.minimum(1, rank) if contract.is_batch else 0, rank)
    low, high = tf.reduce_min(tensor, axes), tf.reduce_max(tensor, axes)
    low, high = tf.cast(tf.reshape(low, [-1]), tf.float64), tf.cast(tf.reshape(high, [-1]), tf.float64)
    if tensor.dtype.is_floating:
        # min and max need not carry a NaN along
        nan = tf.reshape(tf.reduce_any(tf.math.is_nan(tensor), axes), [-1])
        low = tf.where(nan, tf.constant(np.nan, tf.float64), low)
    return sizes, low, high


def judge(  # noqa: PLR0913  a graph hands each fact over as an array of its own
    contract: TensorContract,
    dtype: str,
    sizes: Array,
    lows: Array,
    highs: Array,
    ids: Array,
    *,
    stage: str,
) -> tuple[Violation, ...]:
    """Every breach that the facts show: the shape's once, the range's for each sample.

    Args:
        contract: as for `guard`.
        dtype: the tensor's.
        sizes, lows, highs: as `facts` computes them.
        ids: bytes[samples], or empty.
        stage: named in the violations.
    """
    shape = tuple(int(size) for size in sizes)
    by_sample = contract.is_batch and len(shape) == contract.rank
    whole_id = None if contract.is_batch or len(ids) == 0 else _text(ids[0])
    whole = Found(sizes=shape, dtype=dtype, low=float("inf"), high=float("-inf"))
    violations = list(compare(contract, whole, stage=stage, sample_id=whole_id).violations)
    if contract.value_range is None or len(lows) == 0:
        return tuple(violations)
    if not by_sample:  # of a wrong rank the first axis may be any: its values are judged as one
        lows, highs = lows.min(keepdims=True), highs.max(keepdims=True)
    outside = ~((lows >= contract.value_range[0]) & (highs <= contract.value_range[1]))
    for position in np.flatnonzero(outside):
        found = Found(sizes=shape, dtype=dtype, low=float(lows[position]), high=float(highs[position]))
        sample_id = whole_id
        if by_sample:
            sample_id = _text(ids[position]) if len(ids) == len(lows) else f"at position {position}"
        ranged = compare(contract, found, stage=stage, sample_id=sample_id).violations
        violations += [violation for violation in ranged if violation.aspect == "range"]
    return tuple(violations)


def _text(sample_id: bytes) -> str:
    return sample_id.decode(errors="backslashreplace")


class _Judge:
    """`judge` with its contract, as the function that the graph calls: int64[rank] of zeros, or DataError."""

    def __init__(self, contract: TensorContract, dtype: str, stage: str) -> None:
        self.contract, self.dtype, self.stage = contract, dtype, stage

    def __call__(self, sizes: Array, lows: Array, highs: Array, ids: Array) -> Array:
        violations = judge(self.contract, self.dtype, sizes, lows, highs, ids, stage=self.stage)
        if violations:
            raise DataError(Verdict(violations=violations))
        return np.zeros_like(sizes)
