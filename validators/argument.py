"""Arguments of the public functions: what is wrong with one, in words.

Who is called wrong says everything at once, as `named(dataset=wrong_place(dataset), seed=wrong_number(seed, least=0))`.
"""

from __future__ import annotations

import os
import reprlib

import numpy as np

PLACE, PATH = "a path or URL, as text or pathlib.Path", "a path, as text or pathlib.Path"

_PLAIN = (bool, int, float, str, bytes, type(None))


def named(**wrong: str | None) -> list[str]:
    """A line `name: found ..., expected ...` for each argument with which something is wrong."""
    return [f"{name}: {problem}" for name, problem in wrong.items() if problem is not None]


def wrong_place(found: object, *, expected: str = PLACE, optional: bool = False) -> str | None:
    """That it is no path, as `found ..., expected ...`; None where it is one, or may be and is None."""
    if optional and found is None:
        return None
    if not isinstance(found, str | os.PathLike):
        return f"found {shown(found)}, expected {expected}"
    return f"found {os.fspath(found)!r}, expected {expected}, without NUL" if "\0" in os.fspath(found) else None


def wrong_number(found: object, *, least: int, optional: bool = False) -> str | None:
    """The same of a whole number of at most 63 bits, Python's or NumPy's."""
    if optional and found is None:
        return None
    if isinstance(found, int | np.integer) and not isinstance(found, bool) and least <= found < 2**63:
        return None
    return f"found {shown(found)}, expected a whole number, at least {least}"


def wrong_flag(found: object) -> str | None:
    """The same of True or False."""
    return None if isinstance(found, bool) else f"found {shown(found)}, expected True or False"


def shown(found: object) -> str:
    """A plain value as Python writes it, cut where it is long, and anything else by its type."""
    return reprlib.repr(found) if isinstance(found, _PLAIN) else f"an object of type {type(found).__name__}"
