"""A table that lists paths beside labels and splits: CSV, tabs, JSON lines or Parquet, told by its suffix."""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import polars as pl
import polars.selectors as cs

from nhwc.validators.errors import RecipeError

LINES_OF_JSON = (".jsonl", ".ndjson")


@dataclass(frozen=True, kw_only=True)
class Listed:
    """What a table says of one path: every label and every split it gives it."""

    labels: frozenset[str]
    splits: frozenset[str]


def columns_of(file: Path, *, key: str) -> list[str]:
    """The names of its columns. Raises RecipeError, of this key of the recipe, where the table cannot be read."""
    return _scan(file, key).collect_schema().names()


def read_listed(file: Path, columns: Mapping[str, str], *, key: str) -> dict[str, Listed]:
    """What the table says, by path.

    Args:
        file: the table.
        columns: the name of the column of `path`, of `label` and, if the table gives it, of `split`.
        key: of the recipe, that names the file: errors begin with it.

    What is empty, null or NaN says nothing; rows that say nothing at all are passed over. Raises RecipeError where the
    file cannot be read, lacks a column, or has a row without a path.
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
        if suffix == ".parquet":
            table = pl.scan_parquet(file)
        elif suffix in LINES_OF_JSON:
            table = pl.scan_ndjson(file, infer_schema_length=None)
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
    table = _scan(file, key)
    present = table.collect_schema().names()
    if missing := [name for name in columns.values() if name not in present]:
        found = f"found columns {', '.join(present)} in {file}, expected {', '.join(columns.values())}"
        raise RecipeError(key, (f"{found}: add {', '.join(missing)}",))
    for name in columns.values():
        if f"{name}_duplicated_0" in present:  # as polars calls a second one
            raise RecipeError(key, (f"found column {name} twice in {file}, expected it once",))
        if (kind := table.collect_schema()[name]).is_nested():
            raise RecipeError(key, (f"found {kind} in column {name} of {file}, expected text or numbers",))
    wanted = table.select(pl.col(name).alias(role) for role, name in columns.items())
    try:
        text = wanted.with_columns(cs.float().fill_nan(None)).with_columns(pl.all().cast(pl.String)).collect()
    except (OSError, pl.exceptions.PolarsError) as error:
        raise _unreadable(file, key, error) from error
    is_lines = file.suffix.lower() != ".parquet"
    has_header = is_lines and file.suffix.lower() not in LINES_OF_JSON
    rows = text.with_columns(pl.all().replace("", None)).with_row_index("line", offset=2 if has_header else 1)
    rows = rows.filter(~pl.all_horizontal(pl.col(list(columns)).is_null()))
    lost = rows.filter(pl.col("path").is_null())["line"].to_list()
    if lost:
        where = f"{'line' if is_lines else 'row'} {lost[0]}" + (f" and {len(lost) - 1} more" if lost[1:] else "")
        raise RecipeError(key, (f"found no path in {where} of {file}, expected one beside each label",))
    return rows


def _unreadable(file: Path, key: str, error: Exception) -> RecipeError:
    said = _wrong_line(file) or str(error).partition("\n")[0]
    return RecipeError(key, (f"found {file}, which cannot be read as CSV, JSON lines or Parquet: {said}",))


def _wrong_line(file: Path) -> str | None:
    """What is wrong with the first line that is: polars tells no number of it. None where no line is."""
    suffix = file.suffix.lower()
    with suppress(OSError, csv.Error), file.open(newline="", encoding="utf-8", errors="replace") as lines:
        if suffix in LINES_OF_JSON:
            for number, line in enumerate(lines, 1):
                try:
                    json.loads(line if line.strip() else "{}")
                except ValueError as error:
                    return f"line {number}: {error}"
        elif suffix != ".parquet":
            rows = csv.reader(lines, delimiter=_separator(file))
            cells = len(next(rows, []))
            for row in rows:
                if len(row) > cells:
                    return f"line {rows.line_num}: {len(row)} cells, where the first line has {cells}"
    return None
