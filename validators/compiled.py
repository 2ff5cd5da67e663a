"""Loops over pixels, compiled: where NumPy needs a pass over memory for each step, these need one for all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """The same function as machine code, which lets other threads run meanwhile.

    It is compiled when first called with arguments of a kind, and kept on disk beside its source, or else in the user's
    cache folder; where neither can be written each process compiles it anew. Floats are computed in the order written,
    so results are the same on every machine.
    """
    try:
        return numba.njit(function, nogil=True, cache=True)  # type: ignore[no-any-return]
    except RuntimeError:  # no folder to keep it in
        return numba.njit(function, nogil=True)  # type: ignore[no-any-return]
