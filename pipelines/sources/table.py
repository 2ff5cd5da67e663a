"""A table that lists paths beside labels and splits: CSV, tabs, JSON lines or Parquet, told by its suffix."""

from __future__ import annotations

import codecs
import csv
import io
import json
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import polars as pl
import polars.selectors as cs

from nhwc.validators.errors import MachineError, RecipeError

LINES_OF_JSON = (".jsonl", ".ndjson")


@dataclass(frozen=True, kw_only=True)
class Listed:
    """What a table says of one path: every label and every split it gives it."""

    labels: frozenset[str]
    splits: frozenset[str]


def columns_of(file: Path, *, key: str) -> list[str]:
    """The names of its columns. Raises as `read_listed` does where the table cannot be read."""
    return _scan(file, key).collect_schema().names()


def read_listed(file: Path, columns: Mapping[str, str], *, key: str) -> dict[str, Listed]:
    """What the table says, by path.

    Args:
        file: the table.
        columns: the name of the column of `path`, of `label` and, if the table gives it, of `split`.
        key: of the recipe, that names the file: errors begin with it.

    What is empty or null says nothing, nor does a label or split of blanks; rows that say nothing at all are passed
    over. Raises RecipeError where the file is no such table, lacks a column, has a row without a path, or labels that
    are neither whole numbers nor text; MachineError where it is there and cannot be read.
    """
    labels: dict[str, set[str]] = defaultdict(set)
    splits: dict[str, set[str]] = defaultdict(set)
    for row in _read_text(file, columns, key).iter_rows(named=True):
        path = PurePosixPath(row["path"]).as_posix()
        labels[path].update(filter(None, [row["label"]]))
        splits[path].update(filter(None, [row.get("split")]))
    return {path: Listed(labels=frozenset(labels[path]), splits=frozenset(splits[path])) for path in labels}


def _scan(file: Path, key: str) -> pl.LazyFrame:
    suffix = file.suffix.lower()
    try:
        with file.open("rb") as opened:  # polars' own errors have no number that tells whose they are
            has_mark = opened.read(len(codecs.BOM_UTF8)) == codecs.BOM_UTF8
            if suffix in LINES_OF_JSON:
                lines = io.BytesIO(opened.read()) if has_mark else file  # polars takes a mark for JSON
        if suffix == ".parquet":
            table = pl.scan_parquet(file)
        elif suffix in LINES_OF_JSON:
            table = pl.scan_ndjson(lines, infer_schema_length=None)
        else:
            table = pl.scan_csv(file, infer_schema=False, separator=_separator(file))
        table.collect_schema()
    except (OSError, pl.exceptions.PolarsError) as error:
        raise _unreadable(file, key, error) from error
    return table


def _separator(file: Path) -> str:
    return "\t" if file.suffix.lower() == ".tsv" else ","


def _read_text(file: Path, columns: Mapping[str, str], key: str) -> pl.DataFrame:
    """These columns as text, null where a cell says nothing, a path in every row."""
    table, suffix = _scan(file, key), file.suffix.lower()
    _see_columns(table.collect_schema(), file, columns, key)
    wanted = table.select(pl.col(name).alias(role) for role, name in columns.items())
    try:
        text = wanted.with_columns(cs.float().fill_nan(None)).with_columns(pl.all().cast(pl.String)).collect()
    except (OSError, pl.exceptions.PolarsError) as error:
        raise _unreadable(file, key, error) from error
    if suffix in LINES_OF_JSON and text["label"].str.contains(_MADE_TEXT).any():
        _see_labels(file, key, columns["label"])
    says_nothing = pl.when(cs.exclude("path").str.strip_chars() != "").then(cs.exclude("path"))
    rows = text.with_columns(says_nothing, pl.col("path").replace("", None))
    rows = rows.with_row_index("line", offset=1 if suffix in (".parquet", *LINES_OF_JSON) else 2)  # after a header
    rows = rows.filter(~pl.all_horizontal(pl.col(list(columns)).is_null()))
    lost = rows.filter(pl.col("path").is_null())["line"].to_list()
    if lost:
        line = "row" if suffix == ".parquet" else "line"
        where = f"{line} {lost[0]}" + (f" and {len(lost) - 1} more" if lost[1:] else "")
        raise RecipeError(key, (f"found no path in {where} of {file}, expected one beside each label",))
    return rows


def _see_columns(schema: pl.Schema, file: Path, columns: Mapping[str, str], key: str) -> None:
    """Raises RecipeError where a column is missing, stands there twice, or holds what it cannot."""
    present = schema.names()
    if missing := [name for name in columns.values() if name not in present]:
        found = f"found columns {', '.join(present)} in {file}, expected {', '.join(columns.values())}"
        raise RecipeError(key, (f"{found}: add {', '.join(missing)}",))
    for name in columns.values():
        if f"{name}_duplicated_0" in present:  # as polars calls a second one
            raise RecipeError(key, (f"found column {name} twice in {file}, expected it once",))
        if (kind := schema[name]).is_nested():
            raise RecipeError(key, (f"found {kind} in column {name} of {file}, expected text or numbers",))
    if not (label := schema[columns["label"]]).is_integer() and label not in _LABELS:
        raise _no_labels(file, key, columns["label"], str(label))


_LABELS = (pl.String, pl.Binary, pl.Boolean, pl.Null, pl.Categorical, pl.Enum)
"""What may be labels, beside whole numbers: no dates, and no floats, which pandas makes of numbers with a gap."""

_MADE_TEXT = r"^([\[{]|-?\d+[.eE])"
"""How what polars makes of a list, an object or a float begins where other lines have text."""


def _see_labels(file: Path, key: str, column: str) -> None:
    """Raises RecipeError where a line of JSON has a label that is neither a whole number nor text."""
    with file.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, 1):
            try:
                label = json.loads(line).get(column) if line.strip() else None
            except (ValueError, RecursionError) as error:  # of what polars reads nevertheless
                raise _unreadable(file, key, error) from error
            if isinstance(label, list | dict | float):
                raise _no_labels(file, key, column, f"{label!s:.80} (line {number})")


def _no_labels(file: Path, key: str, column: str, found: str) -> RecipeError:
    expected = "expected whole numbers or text: save it as one of them, and nothing where there is no label"
    return RecipeError(key, (f"found {found} in column {column} of {file}, {expected}",))


def _unreadable(file: Path, key: str, error: Exception) -> RecipeError:
    """To be raised. Raises MachineError itself where the file is there and cannot be read."""
    MachineError.see(error, file)
    said = _wrong_line(file) or str(error).partition("\n")[0]
    return RecipeError(key, (f"found {file}, which cannot be read as CSV, JSON lines or Parquet: {said}",))


def _wrong_line(file: Path) -> str | None:
    """What is wrong with the first line that is: polars tells no number of it. None where no line is."""
    suffix = file.suffix.lower()
    with suppress(OSError, csv.Error), file.open(newline="", encoding="utf-8-sig", errors="replace") as lines:
        if suffix in LINES_OF_JSON:
            for number, line in enumerate(lines, 1):
                try:
                    json.loads(line if line.strip() else "{}")
                except (ValueError, RecursionError) as error:
                    return f"line {number}: {error}"
        elif suffix != ".parquet":
            rows = csv.reader(lines, delimiter=_separator(file))
            cells = len(next(rows, []))
            for row in rows:
                if len(row) > cells:
                    return f"line {rows.line_num}: {len(row)} cells, where the first line has {cells}"
    return None
