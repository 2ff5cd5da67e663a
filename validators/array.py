"""The checker on the host: exact, for one array in memory."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from nhwc.validators.check import Finding, Found, compare
from nhwc.validators.contract import TensorContract

_NO_VALUE = (np.inf, -np.inf)  # smallest and largest of nothing: none lies outside


def check_array(
    contract: TensorContract, array: np.ndarray[Any, Any], *, stage: str, sample_id: str | None = None
) -> Finding:
    """Every breach of the contract by an array of any rank. Nothing is left undetermined.

    The values are looked at only where the dtype does not settle their range by itself. Swapped bytes are another
    dtype (`>u2`): whoever reads such an array's memory as uint16 reads other values.
    """
    dtype = _named(array.dtype)
    low, high = _NO_VALUE if contract.range_settled_by(dtype) else _ends(array)
    found = Found(sizes=array.shape, dtype=dtype, low=low, high=high)
    return compare(contract, found, stage=stage, sample_id=sample_id)


@lru_cache(maxsize=64)
def _named(dtype: np.dtype[Any]) -> str:
    """Remembered, since NumPy composes a name anew each time, which takes longer than to hold it against a contract."""
    return dtype.name if dtype.isnative else dtype.str


def _ends(array: np.ndarray[Any, Any]) -> tuple[float, float]:
    """Smallest and largest value; NaN where any is not a number. Strings and objects have none: their dtype tells."""
    is_plain = array.dtype.kind in "biuf"
    if array.size == 0 or not (is_plain or np.can_cast(array.dtype, np.float32)):
        return _NO_VALUE
    values = array if is_plain else array.astype(np.float32)  # bfloat16 has no min of its own
    return float(values.min()), float(values.max())
