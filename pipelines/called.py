"""Called: datasets whose elements are what a function of Python gives, begun and called as cheaply as TensorFlow can.

`tf.data.Dataset.map` of a `numpy_function` takes 3 ms whenever an iterator is made, in which TensorFlow optimises a
graph of one node, and wakes two threads for each element. The operations behind it do without both, if they are told
to (`python benchmarks/roads.py`).
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf

_NUMBER = tf.TensorSpec([], tf.int64)

_AS_IT_IS = {"experimental_ints_on_device": True}
"""Attributes of a function of one device: TensorFlow does not look for others to place parts of it on, nor optimise."""


def called_for_each(
    numbers: tf.data.Dataset,
    call: Callable[[np.int64], tuple[Any, ...]],
    spec: Sequence[tf.TensorSpec],
    *,
    threads: int = 1,
) -> tf.data.Dataset:
    """What the function gives of each number, in their order.

    Args:
        numbers: int64[].
        call: gives arrays of these shapes and dtypes. What it raises ends the iteration with a TensorFlow error that
            holds its text.
        spec: of what it gives.
        threads: so many calls at a time, ahead of what is asked for; with 1 it is called in the thread that asks. In
            the main thread a call may be interrupted (Ctrl-C), which TensorFlow takes for its failure: put a `prefetch`
            behind what takes long.
    """
    called = _called(call)
    function = _function(lambda number: given(called, number, spec))
    operation = partial(tf.raw_ops.MapDataset, use_inter_op_parallelism=False)
    if threads > 1:
        at_once = tf.constant(threads, tf.int64)
        operation = partial(tf.raw_ops.ParallelMapDatasetV2, num_parallel_calls=at_once, deterministic="true")
    variant = operation(
        input_dataset=tf.data.experimental.to_variant(numbers),
        f=function,
        output_types=[one.dtype for one in spec],
        output_shapes=[one.shape for one in spec],
        other_arguments=[],
        preserve_cardinality=True,
    )
    return _dataset(variant, tuple(spec), needs=(numbers, function, call))


def made_of_each(
    numbers: tf.data.Dataset, make: Callable[..., tf.data.Dataset], calls: Sequence[Callable[[np.int64], Any]]
) -> tf.data.Dataset:
    """The elements of the datasets that are made of each number, int64[], one dataset after another.

    Args:
        numbers: int64[].
        make: from a number and the calls, the dataset, in a graph that is run anew where an iterator is restored from a
            checkpoint.
        calls: what it has called by `given` or `called_for_each`.
    """
    called, specs = list(map(_called, calls)), []

    def step(number: tf.Tensor) -> tf.Tensor:
        dataset = make(number, *called)
        specs.append(dataset.element_spec)
        return tf.data.experimental.to_variant(dataset)

    function = _function(step)
    (spec,) = specs
    variant = tf.raw_ops.FlatMapDataset(
        input_dataset=tf.data.experimental.to_variant(numbers),
        f=function,
        output_types=[one.dtype for one in spec],
        output_shapes=[one.shape for one in spec],
        other_arguments=[],
    )
    return _dataset(variant, spec, needs=(numbers, function, *calls))


def given(call: Callable[[np.int64], Any], number: tf.Tensor, spec: Sequence[tf.TensorSpec]) -> list[tf.Tensor]:
    """In the graph: the arrays that a function of Python gives of a number, of these shapes and dtypes."""
    arrays = tf.numpy_function(call, [number], [one.dtype for one in spec], stateful=False)
    return [tf.ensure_shape(tensor, one.shape) for tensor, one in zip(arrays, spec, strict=True)]


def _called(call: Callable[[np.int64], Any]) -> Callable[[np.int64], Any]:
    """The same function, held by its dataset alone: what TensorFlow calls it keeps until the process ends."""
    if not tf.executing_eagerly():
        return call  # a graph is being built, which outlives the dataset
    held = weakref.ref(call)

    def through(number: np.int64) -> Any:
        alive = held()
        if alive is None:
            raise RuntimeError(
                "found the dataset of nhwc.load gone, expected it to live as long as what is made of it: "
                "keep what nhwc.load returned"
            )
        return alive(number)

    return through


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
