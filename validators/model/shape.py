"""Whether a batch's shape, layout and dtype are those that a model takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nhwc.validators.check import Found, compare
from nhwc.validators.contract import INTEGER_RANGES, Axis, TensorContract, interval
from nhwc.validators.model.mismatch import mismatch
from nhwc.validators.model.walk import Arrival, channels_axis
from nhwc.validators.violation import Code, Violation


def shape_findings(entry: Any, batch: TensorContract) -> tuple[Violation, ...]:
    """Rank, samples, rows, cols and channels: what the model leaves open takes any."""
    if len(entry.shape) == batch.rank:
        axes = tuple(Axis(axis.name, size) for axis, size in zip(batch.axes, entry.shape, strict=True))
    else:
        axes = tuple(Axis(f"axis {k}", size) for k, size in enumerate(entry.shape))
    wanted = TensorContract(axes=axes, dtype=batch.dtypes)
    finding = compare(wanted, Found(sizes=batch.shape, dtype=batch.dtypes[0]), stage="model")
    opened = [
        mismatch(Code.MODEL_UNDETERMINED, name, wanted.axis(name).expected, batch.axis(name).expected)
        for name in finding.undetermined
    ]
    return (*finding.violations, *opened)


def layout_findings(arrivals: Sequence[Arrival], batch: TensorContract) -> tuple[Violation, ...]:
    """Whether the first layer that has a data_format finds the channels where it looks for them."""
    for arrival in arrivals:
        form, axis = getattr(arrival.layer, "data_format", None), channels_axis(arrival)
        wanted = {"channels_last": 3, "channels_first": 1}.get(str(form))
        if wanted is not None and axis is not None and axis != wanted:
            first = batch.axes[1].name == "channels"
            hint = f"load with nhwc.load(channels_first={not first}), or make the model for the other data_format"
            expected = f"channels on axis {wanted}: {arrival.layer.name} is {form}"
            return (mismatch(Code.MODEL_LAYOUT, "axes", expected, f"channels on axis {axis} of {batch}", hint),)
    return ()


def dtype_findings(wanted: str, batch: TensorContract) -> tuple[Violation, ...]:
    """Keras casts a batch to the dtype of the model's input: found is what would change values on the way."""
    findings = []
    low, high = batch.value_range or (0, 0)
    holds = INTEGER_RANGES.get(wanted, (-65504, 65504) if wanted == "float16" else (-np.inf, np.inf))
    for dtype in batch.dtypes:
        why = ""
        if wanted in ("string", "bool") and dtype != wanted:
            why = f"{dtype}, which is another kind of value"
        elif _is_whole(wanted) and not _is_whole(dtype):
            why = f"{dtype}, of which only whole numbers would be left"
        elif not (holds[0] <= low and high <= holds[1]):
            why = f"{dtype} in {interval(low, high)}, more than it holds"
        if why:
            hint = 'give the model an input of dtype "float32"'
            findings.append(mismatch(Code.WRONG_DTYPE, "dtype", wanted, why, hint))
    return tuple(findings)


def _is_whole(dtype: str) -> bool:
    return dtype.startswith(("int", "uint"))
