"""Parquet and Arrow files as Hugging Face's datasets writes them: a column of images and one of labels."""

from __future__ import annotations

import io
import json
import threading
from collections import OrderedDict
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from nhwc.pipelines.npy import Layout, channels_last, npy_bytes
from nhwc.pipelines.sources.container import (
    DamagedSampleError,
    OpenedAnew,
    damaged,
    files_at,
    label_text,
    listing_of,
    numbered_discovery,
    split_named,
)
from nhwc.pipelines.sources.protocol import Discovery, Entry, Listing, by_name
from nhwc.validators.errors import MachineError, RecipeError

SUFFIXES = (".parquet", ".arrow", ".feather")
_BLOCKS = 4
"""Blocks that are held: threads and their next files are seldom in more."""

_MOST_ROWS_A_BYTE = 8
"""Run lengths can promise any number of rows in a few bytes; images, one for each, they cannot."""


@dataclass(frozen=True, kw_only=True)
class Parquet(OpenedAnew):
    """Tables of images: a file, or a folder of them, split by their names.

    Args:
        path: of the file or the folder.
        image: the column of images: encoded files (struct of bytes and path, or binary), or arrays (lists, tensors).
            None: `image`, `img`, or the only column of the first kind.
        label: the column of labels, whole numbers or text; None: `label` or `labels`, or no labels.
        layout: of arrays.
    """

    path: Path
    image: str | None = None
    label: str | None = None
    layout: Layout = "channels_last"
    readers: ClassVar[int] = 1

    def discover(self, known: Container[str] = ()) -> Discovery:
        """Every row, with the label that its column gives and the split that its file's name gives."""
        _ = self._image_columns  # told before any row is looked at
        entries, names, numbers = list[Entry](), tuple[str, ...](), set[bool]()
        for place, table in enumerate(self._tables):
            column = _label_column(table, self.label)
            names = names or _class_names(table.schema, column)
            labels = [None] * table.rows if column is None else table.column(column)
            numbers |= {isinstance(label, int) for label in labels if label is not None}
            entries += self._entries(place, table, labels, names)
        if len(numbers) > 1 and not names:
            problem = f"found whole numbers in one file of {self.path} and text in another, expected one or the other"
            raise RecipeError("source.label", (problem,))
        if any(numbers) and not names:
            return numbered_discovery(by_name(entries))
        return Discovery(entries=by_name(entries), classes=names)

    def _entries(self, place: int, table: _Table, labels: Sequence[Any], names: Sequence[str]) -> Iterator[Entry]:
        name = self._name(table.file)
        split = split_named(name) or "train"
        for row, label in enumerate(labels):
            text = None if label is None else label_text(int(label) if isinstance(label, bool) else label, names)
            yield Entry(name=f"{name}/{row:08}", label=text, split=split, at=(place, row))

    def _name(self, file: Path) -> str:
        return (file.relative_to(self.path) if self.path.is_dir() else Path(file.name)).with_suffix("").as_posix()

    def open(self, entry: Entry) -> BinaryIO:
        """A cell of the column of images: a file's bytes, or a .npy's. Raises DamagedSampleError where it has none."""
        place, row = map(int, entry.at)
        return io.BytesIO(self._bytes(self._tables[place].cell(self._image_columns[place], row)))

    def _bytes(self, cell: pa.Scalar) -> bytes:
        if isinstance(cell, pa.ExtensionScalar | pa.ListScalar | pa.LargeListScalar | pa.FixedSizeListScalar):
            return npy_bytes(channels_last(_array(cell), self.layout))
        value = cell.as_py()
        content = value.get("bytes") if isinstance(value, dict) else value
        if not isinstance(content, bytes):
            raise DamagedSampleError("no bytes in its row: a path alone is not followed")
        return content

    def listing(self) -> Listing:
        """Name, inode, size and times of its files."""
        return listing_of(self._files)

    @cached_property
    def _files(self) -> list[Path]:
        files = files_at(self.path, *SUFFIXES)
        if not files:
            raise RecipeError("source.path", (f"found no file in {self.path} that ends in {', '.join(SUFFIXES)}",))
        return files

    @cached_property
    def _tables(self) -> list[_Table]:
        return [_Table(file=file) for file in self._files]

    @cached_property
    def _image_columns(self) -> list[str]:
        """Of each table. Raises RecipeError where it is not clear which."""
        return [_image_column(table, self.image) for table in self._tables]


@dataclass(kw_only=True)
class _Table:
    """One file, read block by block: a row group of Parquet, a record batch of Arrow. Safe from several threads."""

    file: Path
    _blocks: OrderedDict[tuple[str, int], pa.ChunkedArray] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @cached_property
    def _reader(self) -> pq.ParquetFile | pa.Table:
        """Of Arrow, a table of the mapped file. Raises DataError where it is damaged, MachineError if unreadable."""
        try:
            with self.file.open("rb") as file:
                is_parquet = file.read(4) == b"PAR1"
            if is_parquet:
                return pq.ParquetFile(self.file, read_dictionary=_texts(pq.read_schema(self.file)))
            source = pa.memory_map(str(self.file))
            try:
                table = pa.ipc.open_file(source).read_all()
            except pa.ArrowInvalid:
                source.seek(0)
                table = pa.ipc.open_stream(source).read_all()
            table.validate(full=True)  # an offset that leads out of the file would kill the process
            return table
        except (pa.ArrowException, OSError) as error:
            MachineError.see(error, self.file)
            found = str(error).split("\n")[0][:200]
            raise damaged(
                self.file, "bytes", expected="whole Parquet or Arrow", found=found, hint="fetch it again"
            ) from error

    @cached_property
    def schema(self) -> pa.Schema:
        """Arrow's."""
        return self._reader.schema_arrow if isinstance(self._reader, pq.ParquetFile) else self._reader.schema

    @cached_property
    def _begins(self) -> np.ndarray[Any, Any]:
        """int64[blocks + 1]: the first row of each block, and the number of rows."""
        if not isinstance(self._reader, pq.ParquetFile):
            return np.array([0, self._reader.num_rows])
        groups = self._reader.metadata
        return np.cumsum([0, *(groups.row_group(number).num_rows for number in range(groups.num_row_groups))])

    @property
    def rows(self) -> int:
        """How many there are. Raises DataError where there are more than the file can hold."""
        rows, most = int(self._begins[-1]), _MOST_ROWS_A_BYTE * self.file.stat().st_size
        if rows > most:
            raise damaged(self.file, "rows", expected=f"at most {most:,} rows for its bytes", found=f"{rows:,}")
        return rows

    def column(self, name: str) -> list[Any]:
        """All values of a small column. Raises DataError where one of its blocks is damaged."""
        if not self.rows:
            return []
        try:
            values = [self._block(name, block) for block in range(len(self._begins) - 1)]
        except DamagedSampleError as error:
            expected, hint = "a whole column", "fetch the file again"
            raise damaged(self.file, f"column {name}", expected=expected, found=str(error), hint=hint) from error
        return [value for chunk in values for value in chunk.to_pylist()]

    def cell(self, column: str, row: int) -> pa.Scalar:
        """One value. Raises DamagedSampleError where its block is damaged."""
        block = int(np.searchsorted(self._begins, row, "right")) - 1
        return self._block(column, block)[row - int(self._begins[block])]

    def _block(self, column: str, block: int) -> pa.ChunkedArray:
        if not isinstance(self._reader, pq.ParquetFile):
            return self._reader.column(column)
        with self._lock:
            if (column, block) not in self._blocks:
                try:
                    read = self._reader.read_row_group(block, columns=[column], use_threads=False)
                except (OSError, pa.ArrowException) as error:  # OSError: what Arrow says of a page that is no page
                    MachineError.see(error, self.file)
                    raise DamagedSampleError(str(error).split("\n")[0][:200]) from error
                self._blocks[column, block] = read.column(column)
                if len(self._blocks) > _BLOCKS:
                    self._blocks.popitem(last=False)
            return self._blocks[column, block]


def _texts(schema: pa.Schema) -> list[str]:
    """The columns of bytes, which are read as they are packed: an image that stands in a thousand rows stands once."""
    found = [one.name for one in schema if pa.types.is_binary(one.type)]
    return found + [f"{one.name}.bytes" for one in schema if _is_struct_of_bytes(one.type)]


def _image_column(table: _Table, named: str | None) -> str:
    """The column of images. Raises RecipeError where it is not clear which."""
    names = table.schema.names
    encoded = [one.name for one in table.schema if _is_struct_of_bytes(one.type)]
    choices = [named] if named else [name for name in ("image", "img") if name in names] or encoded
    if len(choices) == 1 and choices[0] in names:
        _see_one(table, choices[0])
        return choices[0]
    found = f"found columns {', '.join(names)} in {table.file}"
    raise RecipeError("source.image", (f"{found}, expected {named or 'one of images'}: set source.image",))


def _label_column(table: _Table, named: str | None) -> str | None:
    """The column of labels, or None. Raises RecipeError where there is none by its name, or it has something else."""
    found = _named_or_usual(table, named)
    if found is None:
        return None
    _see_one(table, found)
    kind = table.schema.field(found).type
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    if not any(is_it(kind) for is_it in _LABELS):
        expected = f"found column {found} of {kind} in {table.file}, expected whole numbers or text"
        raise RecipeError("source.label", (expected,))
    return found


_LABELS = (
    pa.types.is_integer, pa.types.is_boolean, pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view,
    pa.types.is_null,
)  # fmt: skip


def _see_one(table: _Table, column: str) -> None:
    """Raises DataError where the table has the column twice."""
    if (count := table.schema.names.count(column)) > 1:
        raise damaged(table.file, "columns", expected=f"one column {column}", found=f"{count} of this name")


def _named_or_usual(table: _Table, named: str | None) -> str | None:
    names = table.schema.names
    if named is not None and named not in names:
        raise RecipeError("source.label", (f"found columns {', '.join(names)} in {table.file}, expected {named}",))
    return named or next((name for name in ("label", "labels") if name in names), None)


def _is_struct_of_bytes(kind: pa.DataType) -> bool:
    return pa.types.is_struct(kind) and any(one.name == "bytes" for one in kind)


def _class_names(schema: pa.Schema, column: str | None) -> tuple[str, ...]:
    """The names of a ClassLabel, which datasets writes into the schema's metadata; empty where there are none."""
    try:
        said = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        return tuple(map(str, said["info"]["features"][column]["names"]))
    except (ValueError, KeyError, TypeError, RecursionError):
        return ()


def _array(cell: pa.Scalar) -> np.ndarray[Any, Any]:
    """An image of numbers: a tensor, or lists within lists. Raises DamagedSampleError where there is none."""
    if not cell.is_valid:
        raise DamagedSampleError("no image in its row")
    if isinstance(cell.type, pa.FixedShapeTensorType):
        image: np.ndarray[Any, Any] = cell.to_numpy()
        return image
    lists = cell.value if isinstance(cell, pa.ExtensionScalar) else cell
    if not isinstance(lists, pa.ListScalar | pa.LargeListScalar | pa.FixedSizeListScalar):
        raise DamagedSampleError(f"a value of {cell.type}, where an image should be")
    values = lists.values
    shape = [len(values)]
    while (
        pa.types.is_list(values.type) or pa.types.is_large_list(values.type) or pa.types.is_fixed_size_list(values.type)
    ):
        lengths = pc.list_value_length(values).unique()
        if len(lengths) != 1 or not lengths[0].is_valid:
            raise DamagedSampleError("lists of different lengths, which make no image")
        shape.append(lengths[0].as_py())
        values = values.flatten()
    if not (pa.types.is_integer(values.type) or pa.types.is_floating(values.type) or pa.types.is_boolean(values.type)):
        raise DamagedSampleError(f"lists of {values.type}, expected numbers")
    if values.null_count:
        raise DamagedSampleError("a pixel without a value")
    pixels: np.ndarray[Any, Any] = values.to_numpy(zero_copy_only=False)
    return pixels.reshape(shape)
