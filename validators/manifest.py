"""The manifest: a row a discovered entry, and the rules that every manifest keeps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandera.polars as pa
import polars as pl
from pandera.errors import SchemaError

from nhwc.validators.quality import FIGURE_COLUMNS
from nhwc.validators.schema import broken_rules, rows_at_fault
from nhwc.validators.verdict import Verdict
from nhwc.validators.violation import Code, Violation

STATUSES = ("kept", "quarantined", "skipped")

COLUMNS: Mapping[str, Any] = {
    "sample_id": pl.String,
    "path": pl.String,
    "status": pl.String,
    "code": pl.String,
    "label": pl.String,
    "label_id": pl.Int32,
    "split": pl.String,
    "sha256": pl.String,
    "bytes": pl.Int64,
    "format": pl.String,
    "rows": pl.Int64,
    "cols": pl.Int64,
    "channels": pl.Int32,
    "bit_depth": pl.Int32,
    "mode": pl.String,
    "alpha": pl.Boolean,
    "orientation": pl.Int32,
    "frames": pl.Int64,
    "decoder": pl.String,
    "notes": pl.List(pl.String),
    "shard": pl.String,
    "row": pl.Int32,
    "pixel_hash": pl.String,
    "channel_mean": pl.List(pl.Float64),
    "channel_std": pl.List(pl.Float64),
    **FIGURE_COLUMNS,
    "perceptual_hash": pl.Binary,
    "cluster": pl.String,
    "stage": pl.String,
    "aspect": pl.String,
    "expected": pl.String,
    "found": pl.String,
    "hint": pl.String,
}
"""Each column of `manifest.parquet` and its type.

The figures are those of the decoded pixels, upright, before channels and size are changed.
"""

MEANINGS: Mapping[str, str] = {
    "sample_id": "16 hex digits of SHA-256 of the path's bytes",
    "path": "relative to the source, with /; bytes that are not UTF-8 as \\xNN",
    "status": "kept, quarantined or skipped",
    "code": "why it is not kept",
    "label": "the name of its class",
    "label_id": "the number of its class, from 0",
    "split": "train, validation or test",
    "sha256": "of the file's bytes, 64 hex digits",
    "bytes": "of the file",
    "format": "of the file, told by content: jpeg, png, ...",
    "rows": "of the file's image, before resizing and before EXIF orientation is applied",
    "cols": "the same",
    "channels": "of the file's image: 1 gray, 2 gray and alpha, 3 RGB, 4 RGBA",
    "bit_depth": "bits a channel of the file's image; of a palette's, bits an index",
    "mode": "its colour mode in Pillow's words: L, P, RGB, CMYK, I;16, ...; of an array, its dtype",
    "alpha": "whether it has an alpha channel or a transparent colour",
    "orientation": "EXIF's, 1 to 8",
    "frames": "frames or pages of the file",
    "decoder": "which library decoded it",
    "notes": "codes of what a kept sample is remarkable for",
    "shard": "the shard that holds it: its file in shards/, less .arrow",
    "row": "its row in that shard, from 0",
    "pixel_hash": "SHA-256 of the stored pixels",
    "channel_mean": "of the stored pixels, a number a channel",
    "channel_std": "of the same, the standard deviation",
    "perceptual_hash": "of the decoded pixels, by which copies are found; null where they show too little",
    "cluster": "the smallest sample_id of those that are the same picture",
    "stage": "of what is not kept, where that was seen",
    "aspect": "what of it was wrong: bytes, rows, channels, label, ...",
    "expected": "what had to be there",
    "found": "what was there",
    "hint": "how to mend it",
}
"""What each column holds; `QualityFigures` says it of the figures."""

_NEEDED_WHEN_KEPT = ("label", "label_id", "split", "sha256", "format", "rows", "cols", "shard", "row", "pixel_hash")
_NEEDED_OTHERWISE = ("code", "stage", "expected", "found", "hint")

_ROW_RULES: Mapping[str, pl.Expr] = {
    "a kept row has label, split, place and hashes, and no code": (pl.col("status") != "kept")
    | (pl.all_horizontal(pl.col(_NEEDED_WHEN_KEPT).is_not_null()) & pl.col("code").is_null()),
    "a row that is not kept says why, and has no place in a shard": (pl.col("status") == "kept")
    | (pl.all_horizontal(pl.col(_NEEDED_OTHERWISE).is_not_null()) & pl.col("shard").is_null()),
    "no two rows share a place in a shard": pl.col("shard").is_null() | pl.struct("shard", "row").is_unique(),
}
"""What concerns more than one column of a row, in words and as the expression that is true where it holds."""


def _row_check(text: str, holds: pl.Expr) -> pa.Check:
    return pa.Check(lambda manifest: manifest.lazyframe.select(holds), name=text, error=text)


def _hex(digits: int) -> pa.Check:
    return pa.Check.str_matches(f"^[0-9a-f]{{{digits}}}$", error=f"{digits} hex digits")


def _at_least(least: int) -> pa.Check:
    return pa.Check.ge(least, error=f"{least} or more")


SCHEMA = pa.DataFrameSchema(
    {
        **{name: pa.Column(dtype, nullable=True) for name, dtype in COLUMNS.items()},
        "sample_id": pa.Column(pl.String, _hex(16), unique=True),
        "path": pa.Column(pl.String),
        "status": pa.Column(pl.String, pa.Check.isin(STATUSES, error="|".join(STATUSES))),
        "code": pa.Column(
            pl.String, pa.Check.isin([str(code) for code in Code], error="a code of `nhwc codes`"), nullable=True
        ),
        "sha256": pa.Column(pl.String, _hex(64), nullable=True),
        "pixel_hash": pa.Column(pl.String, _hex(64), nullable=True),
        "label_id": pa.Column(pl.Int32, _at_least(0), nullable=True),
        "row": pa.Column(pl.Int32, _at_least(0), nullable=True),
        "rows": pa.Column(pl.Int64, _at_least(1), nullable=True),
        "cols": pa.Column(pl.Int64, _at_least(1), nullable=True),
        # two thirds of a manifest's bytes, and only a search for copies reads it: to judge a version needs none
        "perceptual_hash": pa.Column(pl.Binary, nullable=True, required=False),
    },
    checks=[_row_check(text, holds) for text, holds in _ROW_RULES.items()],
    strict=True,
)
"""What pandera holds a manifest to. Only eager frames are really checked (a LazyFrame's values are not)."""


def frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    """A manifest of these rows, sorted by path: columns that a row lacks are null.

    Raises KeyError where a row has what is no column of a manifest, which would be lost without a word, and TypeError
    where a value is of another type than its column.
    """
    foreign = sorted(set[str]().union(*rows) - COLUMNS.keys())
    if foreign:
        raise KeyError(f"a manifest has no column {', '.join(foreign)}")
    columns = {name: [row.get(name) for row in rows] for name in COLUMNS}
    return pl.DataFrame(columns, schema=dict(COLUMNS)).sort("path", "sample_id")


def status_counts(manifest: pl.DataFrame) -> dict[str, int]:
    """How many rows are kept, quarantined and skipped, zeros included."""
    return {status: int((manifest["status"] == status).sum()) for status in STATUSES}


def check_manifest(manifest: pl.DataFrame) -> Verdict:
    """Every rule that the manifest breaks, all at once, as violations at the stage `publish`.

    Raises TypeError for a LazyFrame, whose values pandera would not look at.
    """
    errors = broken_rules(SCHEMA, manifest)
    figures = {} if errors else {"rows": manifest.height}
    return Verdict(violations=tuple(_violation(manifest, error) for error in errors), figures=figures)


def _violation(manifest: pl.DataFrame, error: SchemaError) -> Violation:
    """One broken rule: of how many rows and which comes first, where it is rows that break it."""
    check = str(error.check if isinstance(error.check, str) else error.check.error)
    aspect, expected = error.column_name or "row", _EXPECTED.get(check, check)
    at_fault = rows_at_fault(error, manifest.with_row_index(_NUMBER))
    if at_fault is not None:
        found = f"{_counted(at_fault.height)}, the first is {_path(manifest, at_fault[_NUMBER][0])}"
        if error.column_name:
            found += f" with {at_fault[aspect][0]}"
    elif check == "column_in_dataframe":
        aspect = error.failure_cases
        expected, found = f"a column of type {COLUMNS[aspect]}", "no such column"
    elif check == "column_in_schema":
        aspect, expected, found = error.failure_cases, "only the columns of a manifest", "a column more"
    elif check.startswith("dtype("):
        expected, found = f"type {COLUMNS[aspect]}", f"type {error.failure_cases}"
    else:
        found = "not checked, since a column is missing or of another type"
    return Violation(code=Code.MANIFEST_RULE, stage="publish", aspect=aspect, expected=expected, found=found)


_NUMBER = "row_number"
"""The name of the column, beside a manifest's own, that numbers its rows."""

_EXPECTED: Mapping[str, str] = {"field_uniqueness": "no value twice", "not_nullable": "a value in every row"}
"""pandera's names of its own rules, in words."""


def _counted(rows: int) -> str:
    return "1 row" if rows == 1 else f"{rows} rows"


def _path(manifest: pl.DataFrame, index: int) -> str:
    """The row's path; its number where it has none."""
    path = manifest["path"][index] if "path" in manifest.columns else None
    return f"row {index}" if path is None else str(path)
