"""The one place where a transform meets its contract."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nhwc.validators.array import check_array
from nhwc.validators.contract import TensorContract
from nhwc.validators.errors import SampleRefused
from nhwc.validators.violation import Violation

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A transform with the promise that its result keeps.

    Args:
        name: one of discover, probe, decode, convert, resize, store, load, cast, batch.
        transform: a pure function; safe to call from several threads. It raises SampleRefused for what it cannot take.
        contract: what comes out.
    """

    name: str
    transform: Callable[[Any], Array]
    contract: TensorContract


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One sample after its stages: the array, or the violations that stopped it. Never both."""

    array: Array | None = None
    violations: tuple[Violation, ...] = ()


def run_stages(stages: Iterable[Stage], value: Any, *, sample_id: str) -> Outcome:
    """Pass one value through the stages in order, each result held against its contract, exactly.

    The first stage whose transform refuses, or whose result breaks its contract, ends the sample.
    """
    for stage in stages:
        try:
            value = stage.transform(value)
        except SampleRefused as refusal:
            return Outcome(violations=(replace(refusal.violation, sample_id=sample_id),))
        finding = check_array(stage.contract, value, stage=stage.name, sample_id=sample_id)
        if finding.violations:
            return Outcome(violations=finding.violations)
    return Outcome(array=value)
