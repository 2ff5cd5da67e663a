"""Finish: images as they were gathered become what was asked for, on the host and without TensorFlow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nhwc.pipelines.batch import put_channels_first
from nhwc.pipelines.cast import New, ToDtype, by_numpy
from nhwc.pipelines.plan import Plan
from nhwc.pipelines.stopwatch import timed
from nhwc.validators.array import check_array
from nhwc.validators.contract import TensorContract
from nhwc.validators.verdict import Verdict

Array = np.ndarray[Any, Any]


def finished(
    plan: Plan, images: Array, names: Callable[[], Sequence[str]], *, new: New, to_dtype: ToDtype = by_numpy
) -> Array:
    """Held against the contract where the dtype does not settle it, cast, their axes in the order asked for.

    Args:
        plan: what was asked for.
        images: what `plan.gather` gave: (samples, rows, cols, channels) of `plan.gathered_dtype`.
        names: gives the sample ids, for the error.
        new: makes the arrays for floats and for another order of axes.
        to_dtype: see `Cast.on_host`.

    Raises DataError that names each sample that breaks the contract.
    """
    if plan.looked_at:
        timed(plan.stopwatch, "check", _look)(plan.contracts["load"], images, names)
    if (left := plan.cast_left) is not None:
        images = timed(plan.stopwatch, "cast", left.on_host)(images, new, to_dtype)
    if plan.options.channels_first:
        images = timed(plan.stopwatch, "batch", put_channels_first)(images, new)
    return images


def _look(stored: TensorContract, images: Array, names: Callable[[], Sequence[str]]) -> None:
    """Raise DataError with every image that has a value out of its range."""
    low, high = stored.value_range or (-np.inf, np.inf)
    values = images.reshape(len(images), -1)
    within = (values.min(axis=1) >= low) & (values.max(axis=1) <= high)  # of NaN neither holds
    if within.all():
        return
    ids = names()
    violations = [
        violation
        for place in np.flatnonzero(~within).tolist()
        for violation in check_array(stored, images[place], stage="load", sample_id=ids[place]).violations
    ]
    Verdict(violations=tuple(violations)).require()
