"""Called: datasets whose elements are what a function of Python gives, begun and called as cheaply as TensorFlow can.

`tf.data.Dataset.map` of a `numpy_function` takes 3 ms whenever an iterator is made, in which TensorFlow optimises a
graph of one node, and wakes two threads for each element. The operation behind it does without both, if it is told to
(`python benchmarks/roads.py`).
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

_NUMBER = tf.TensorSpec([], tf.int64)

_AS_IT_IS = {"experimental_ints_on_device": True}
"""Attributes of a function of one device: TensorFlow does not look for others to place parts of it on, nor optimise."""


def called_for_each(
    numbers: tf.data.Dataset, call: Callable[[np.int64], tuple[Any, ...]], spec: Sequence[tf.TensorSpec]
) -> tf.data.Dataset:
    """What the function gives of each number, in their order, called in the thread that asks for the element.

    Args:
        numbers: int64[].
        call: gives arrays of these shapes and dtypes. What it raises ends the iteration with a TensorFlow error that
            holds its text.
        spec: of what it gives.
    """
    called = _called(call)
    function = _function(lambda number: _given(called, number, spec))
    variant = tf.raw_ops.MapDataset(
        input_dataset=tf.data.experimental.to_variant(numbers),
        f=function,
        output_types=[one.dtype for one in spec],
        output_shapes=[one.shape for one in spec],
        other_arguments=[],
        use_inter_op_parallelism=False,
        preserve_cardinality=True,
    )
    return _dataset(variant, tuple(spec), needs=(numbers, function, call))


def numbers_of(starts: tf.data.Dataset, call: Callable[[np.int64], tuple[np.int64, np.int64]]) -> tf.data.Dataset:
    """The numbers int64[] from one to another, without that, which the function gives of each start, int64[].

    It is called once more where an iterator is restored from a checkpoint, whatever is left of the numbers.
    """
    called = _called(call)

    def step(start: tf.Tensor) -> tf.Tensor:
        first, end = _given(called, start, [_NUMBER, _NUMBER])
        return tf.data.experimental.to_variant(tf.data.Dataset.range(first, end))

    function = _function(step)
    variant = tf.raw_ops.FlatMapDataset(
        input_dataset=tf.data.experimental.to_variant(starts),
        f=function,
        output_types=[tf.int64],
        output_shapes=[[]],
        other_arguments=[],
    )
    return _dataset(variant, _NUMBER, needs=(starts, function, call))


def _called(call: Callable[[np.int64], Any]) -> Callable[[np.int64], Any]:
    """The same function, held by its dataset alone: what TensorFlow calls it keeps until the process ends."""
    if not tf.executing_eagerly():
        return call  # a graph is being built, which outlives the dataset
    held = weakref.ref(call)

    def through(number: np.int64) -> Any:
        alive = held()
        if alive is None:
            raise RuntimeError("found a dataset that is gone, expected it to live as long as what is made of it")
        return alive(number)

    return through


def _given(call: Callable[[np.int64], Any], number: tf.Tensor, spec: Sequence[tf.TensorSpec]) -> list[tf.Tensor]:
    """In the graph: what Python gives, of these shapes."""
    given = tf.numpy_function(call, [number], [one.dtype for one in spec], stateful=False)
    return [tf.ensure_shape(tensor, one.shape) for tensor, one in zip(given, spec, strict=True)]


def _function(step: Callable[[tf.Tensor], Any]) -> Any:
    """Of a number int64[], as TensorFlow's operations take it."""
    wrapped = tf.function(step, input_signature=[_NUMBER], autograph=False, experimental_attributes=_AS_IT_IS)
    function = wrapped.get_concrete_function()
    function.add_to_graph()
    return function


def _dataset(variant: tf.Tensor, spec: Any, *, needs: tuple[object, ...]) -> tf.data.Dataset:
    """The dataset of an operation, which holds what it needs: the operation itself knows that by name only."""
    dataset = tf.data.experimental.from_variant(variant, spec)
    dataset.needs = needs
    return dataset
