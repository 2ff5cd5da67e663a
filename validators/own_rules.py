"""A user's own rules: pandera schemas and models for polars, held against the manifest's rows of what was kept."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import pandera.polars as pa
import polars as pl
from pandera.errors import SchemaError, SchemaErrorReason

from nhwc.validators.schema import broken_rules, refuse_lazy, rows_at_fault
from nhwc.validators.violation import Code, Violation

NAMED = 100
"""So many rows are named by one check of a column; of what is more, the number."""

_LONGEST = 120
"""A value of more characters than this is cut."""


def judge_own_rules(rows: pl.DataFrame, rules: Mapping[str, Any]) -> tuple[Violation, ...]:
    """Everything that breaks a rule, at the stage `own rules`: by rule, and within it as pandera finds it.

    Args:
        rows: a row a kept sample, columns of `manifest.COLUMNS`, of which sample_id is needed. It is never changed: a
            rule that coerces, fills or filters does so for itself alone.
        rules: by name, pandera.polars' DataFrameSchema instances and DataFrameModel subclasses. Columns that they do
            not mention are ignored, even by a strict one, since a manifest has more of them with each release. Rows
            that `drop_invalid_rows` would drop are told.

    A row that breaks a check is named (of each check of each column, the first `NAMED`), with the column as the aspect,
    or `row` where the check is of the whole row. What no row is at fault for is told once: a column that is missing or
    of another type, a check that gives one value for all rows, a check or a rule that raises. A check made with
    `raise_warning` gives OWN_WARNING, which warns; all else gives OWN_RULE.

    Raises TypeError for a LazyFrame, whose values pandera would not look at, or a rule that is none of polars'.
    """
    refuse_lazy(rows)
    return tuple(violation for name, rule in rules.items() for violation in _broken(rows, name, _schema(name, rule)))


def _schema(name: str, rule: Any) -> Any:
    """The rule as a schema that ignores columns which it does not mention."""
    is_model = isinstance(rule, type) and issubclass(rule, pa.DataFrameModel)
    theirs = rule.to_schema() if is_model else rule
    if not isinstance(theirs, pa.DataFrameSchema):
        raise TypeError(f"{name}: expected a DataFrameSchema or DataFrameModel of pandera.polars. Received: {rule!r}")
    schema = copy.copy(theirs)
    schema.strict = "filter" if theirs.strict == "filter" else False
    return schema


def _broken(rows: pl.DataFrame, name: str, schema: Any) -> Iterator[Violation]:
    try:
        errors = broken_rules(schema, rows)
    except Exception as raised:  # whatever a user's rule may raise
        found = _first_line(f"{type(raised).__name__}: {raised}")
        yield _violation(name, aspect="rule", expected="a rule that can be held against the manifest", found=found)
        return
    for error in errors:
        at_fault = rows_at_fault(error, rows)
        if at_fault is None:
            yield _of_the_whole(name, error)
        else:
            yield from _of_rows(name, error, at_fault)


def _of_rows(name: str, error: SchemaError, at_fault: pl.DataFrame) -> Iterator[Violation]:
    columns = [column for column in _columns(error) if column in at_fault.columns]
    aspect = columns[0] if len(columns) == 1 and not _is_of_row(error) else "row"
    told, expected = at_fault.head(NAMED), _expected(error)
    for row in told.select("sample_id", found=pl.struct(columns) if columns else None).iter_rows(named=True):
        found = ", ".join(_shown(row["found"][column], column, aspect) for column in columns) or "a row that breaks it"
        yield _violation(
            name, aspect=aspect, expected=expected, found=found, check=error.check, sample_id=row["sample_id"]
        )
    if at_fault.height > NAMED:
        more = at_fault.height - NAMED
        found = "and 1 more row" if more == 1 else f"and {more} more rows"
        yield _violation(name, aspect=aspect, expected=expected, found=found, check=error.check)


def _is_of_row(error: SchemaError) -> bool:
    return error.column_name is None and error.reason_code is not SchemaErrorReason.DATATYPE_COERCION


def _columns(error: SchemaError) -> list[str]:
    """The columns that the error is about: of a check of whole rows, those that its rule mentions."""
    if error.column_name is not None:
        return [error.column_name]
    if error.reason_code is SchemaErrorReason.DATATYPE_COERCION:
        return list(error.failure_cases.columns)
    if error.reason_code is SchemaErrorReason.DUPLICATES:
        return [name for names in error.schema.unique for name in ([names] if isinstance(names, str) else names)]
    return list(error.schema.columns)


def _of_the_whole(name: str, error: SchemaError) -> Violation:
    """What no row is at fault for."""
    facts = error if error.failure_cases is None else error.failure_cases
    aspect, expected, found = error.column_name or "row", _expected(error), _first_line(str(facts))
    match error.reason_code:
        case SchemaErrorReason.COLUMN_NOT_IN_DATAFRAME:
            aspect, expected, found = found, "such a column", "none"
        case SchemaErrorReason.WRONG_DATATYPE:
            found = f"type {found}"
        case SchemaErrorReason.INVALID_COLUMN_NAME:
            aspect, expected, found = "columns", f"a column named like {error.schema.name}", "none"
        case SchemaErrorReason.COLUMN_NOT_ORDERED:
            aspect, expected, found = found, "columns in the order of the rule", "another order"
        case SchemaErrorReason.CHECK_ERROR:
            found = f"a check that raises {found}"
        case SchemaErrorReason.DATAFRAME_CHECK:
            found = "all rows together break it"
    return _violation(name, aspect=aspect, expected=expected, found=found, check=error.check)


_EXPECTED: Mapping[str, str] = {
    "not_nullable": "a value in every row",
    "field_uniqueness": "no value twice",
    "multiple_fields_uniqueness": "no two rows alike in these columns",
}
"""pandera's names of its own rules, in words."""


def _expected(error: SchemaError) -> str:
    """The check in words: its error text, else its name, else which of the rule's checks it is."""
    check = error.check
    if isinstance(check, str):
        if error.reason_code is SchemaErrorReason.WRONG_DATATYPE:
            return f"type {error.schema.dtype}"
        if error.reason_code is SchemaErrorReason.DATATYPE_COERCION:
            return "a value that can be cast to the rule's type"
        return _EXPECTED.get(check, check)
    if check.error is not None:
        return _first_line(str(check.error))
    if check.name == "<lambda>":
        return f"check {error.check_index + 1} of {error.column_name or 'the row'} to hold"
    return _first_line(str(check.name))


def _shown(value: Any, column: str, aspect: str) -> str:
    """A value in one line; with its column's name, where there are more columns than the aspect."""
    text = value.hex() if isinstance(value, bytes) else "null" if value is None else _first_line(str(value))
    return text if aspect == column else f"{column} {text}"


def _first_line(text: str) -> str:
    line = (text.splitlines() or [""])[0]
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}..."


def _violation(
    rule: str, *, aspect: str, expected: str, found: str, check: Any = None, sample_id: str | None = None
) -> Violation:
    only_warns = getattr(check, "raise_warning", False)
    return Violation(
        code=Code.OWN_WARNING if only_warns else Code.OWN_RULE,
        stage="own rules",
        aspect=aspect,
        sample_id=sample_id,
        expected=expected,
        found=found,
        hint=f"mend what breaks it, or the rule {rule}",
    )
