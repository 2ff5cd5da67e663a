"""Where pandera is called: every broken rule at once, and never a frame that it did not look at.

pandera finds what is broken, and only its table of failure cases is not made: with pandera 0.35 and polars 2.1 that
raises where a row with a Binary column is at fault, where a Binary value is not UTF-8, or where a check gives one bool
beside others that give rows; it takes 4 s for 200,000 rows of 40 columns; and it names the first row where a check
gives one value for all of them.
"""

from __future__ import annotations

import copy
from typing import Any

import pandera.backends.polars.builtin_checks  # noqa: F401  else the first check would wait for it
import pandera.polars as pa
import polars as pl
from pandera.backends.polars.base import PolarsSchemaBackend
from pandera.backends.polars.components import ColumnBackend
from pandera.backends.polars.container import DataFrameSchemaBackend
from pandera.config import ValidationDepth, config_context
from pandera.constants import CHECK_OUTPUT_KEY
from pandera.errors import FailureCaseMetadata, SchemaError, SchemaErrorReason, SchemaErrors


def broken_rules(schema: pa.DataFrameSchema, frame: pl.DataFrame) -> list[SchemaError]:
    """Every rule of the schema that the frame breaks, as pandera's errors, in its order; empty where it keeps all.

    Rows that `drop_invalid_rows` would drop are told, and so is a check with `raise_warning`: its error's `check` says
    that it has it. It is checked whatever PANDERA_VALIDATION_ENABLED and PANDERA_VALIDATION_DEPTH say: with them set
    for another program, pandera would pass any frame. Neither schema nor frame is changed.

    Raises TypeError for a LazyFrame, whose values pandera would not look at, and what a schema raises that cannot be
    held against the frame at all.
    """
    refuse_lazy(frame)
    told = _with_backend(schema, _FrameBackend)
    told.columns = {key: _with_backend(column, _ColumnBackend) for key, column in schema.columns.items()}
    with config_context(validation_enabled=True, validation_depth=ValidationDepth.SCHEMA_AND_DATA):
        try:
            told.validate(frame, lazy=True)
        except SchemaErrors as errors:
            return list(errors.schema_errors)
    return []


def refuse_lazy(frame: object) -> None:
    """Raises TypeError for all that is no polars DataFrame."""
    if not isinstance(frame, pl.DataFrame):
        raise TypeError(
            "pandera needs a polars DataFrame, since the values of a LazyFrame would not be checked: "
            f"call .collect() on it. Received: {type(frame).__name__}"
        )


def rows_at_fault(error: SchemaError, frame: pl.DataFrame) -> pl.DataFrame | None:
    """The frame's rows that break the rule; None where it is no row's fault, or cannot be told whose."""
    passed = error.check_output
    if passed is None or passed.height != frame.height or not isinstance(error.failure_cases, pl.DataFrame):
        return None
    at_fault = frame.filter(~passed[CHECK_OUTPUT_KEY].fill_null(value=True))
    if error.reason_code is SchemaErrorReason.DATATYPE_COERCION:  # pandera takes what was null before for a failed cast
        return at_fault.filter(pl.any_horizontal(pl.col(error.failure_cases.columns).is_not_null()))
    return at_fault


def _with_backend(rule: Any, backend: type[PolarsSchemaBackend]) -> Any:
    copied = copy.copy(rule)
    copied.get_backend = lambda *_, **__: backend()  # an attribute of the copy: no class of pandera's is changed
    copied.drop_invalid_rows = False
    return copied


class _Backend(PolarsSchemaBackend):  # type: ignore[misc]  # pandera is untyped to strict mypy
    """Collects errors as they are, and a check that only warns as an error too."""

    def run_check(self, check_obj: pl.LazyFrame, schema: Any, check: Any, check_index: int, *args: Any) -> Any:
        told = copy.copy(check)
        told.raise_warning, told.n_failure_cases = False, 1
        return super().run_check(check_obj, schema, told, check_index, *args)._replace(check=check)

    def failure_cases_metadata(self, schema_name: str, schema_errors: list[SchemaError]) -> FailureCaseMetadata:
        return FailureCaseMetadata(failure_cases=pl.DataFrame(), message={}, error_counts={})


class _FrameBackend(_Backend, DataFrameSchemaBackend):  # type: ignore[misc]  # see above
    """Casts and fills the columns that are there: pandera's own raises where one is missing, and tells nothing else."""

    def coerce_dtype(self, check_obj: pl.LazyFrame, schema: Any = None) -> Any:
        return super().coerce_dtype(check_obj, _of_present(schema, check_obj))

    def set_default(self, check_obj: pl.LazyFrame, schema: Any) -> Any:
        return super().set_default(check_obj, _of_present(schema, check_obj))


class _ColumnBackend(_Backend, ColumnBackend):  # type: ignore[misc]  # see above
    pass


def _of_present(schema: Any, frame: pl.LazyFrame) -> Any:
    """The schema without the columns that the frame lacks."""
    present, names = copy.copy(schema), frame.collect_schema().names()
    present.columns = {key: column for key, column in schema.columns.items() if column.regex or key in names}
    return present
