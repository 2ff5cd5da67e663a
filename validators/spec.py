"""The checker before anything is read: a `tf.TensorSpec` against a contract, for free."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nhwc.validators.check import Finding, Found, compare
from nhwc.validators.contract import TensorContract

if TYPE_CHECKING:
    import tensorflow as tf


def check_spec(contract: TensorContract, spec: tf.TensorSpec, *, stage: str) -> Finding:
    """What the spec of a `tf.data` element already breaks, and what it leaves undetermined.

    The range of values is always undetermined, unless the dtype cannot leave it.
    """
    sizes = None if spec.shape.rank is None else tuple(spec.shape.as_list())
    return compare(contract, Found(sizes=sizes, dtype=spec.dtype.name), stage=stage)
