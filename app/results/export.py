"""Rows as files that grow while they are sent: CSV, JSON Lines and Parquet, each in constant memory.

Columns, their order and their types are fixed; new ones come at the end. A row is a mapping of column names to plain
JSON values, times in RFC 3339.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

import orjson

from app.records import epoch_s

Row = Mapping[str, Any]
PARQUET_GROUP_ROWS = 2_000
_NEEDS_QUOTE = ("=", "+", "-", "@", "'", "\t", "\r", "\n")


class Kind(StrEnum):
    """What a column holds. CSV writes `scores`, `numbers` and `object` as JSON, Parquet only `object`."""

    TEXT = "text"
    INTEGER = "integer"
    NUMBER = "number"
    FLAG = "flag"
    TIME = "time"
    SCORES = "scores"
    NUMBERS = "numbers"
    TEXTS = "texts"
    OBJECT = "object"


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a file; every column may be empty (null)."""

    name: str
    kind: Kind


class ExportFormat(StrEnum):
    """The forms of a file."""

    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"

    @property
    def media_type(self) -> str:
        """Of the whole file."""
        return {
            ExportFormat.CSV: "text/csv; charset=utf-8; header=present",
            ExportFormat.JSONL: "application/jsonl",
            ExportFormat.PARQUET: "application/vnd.apache.parquet",
        }[self]


class Encoder(Protocol):
    """Makes a file of rows, piece by piece; pieces may be empty."""

    def begin(self) -> bytes:
        """What stands before the rows."""
        ...

    def rows(self, rows: Sequence[Row]) -> bytes:
        """What more rows add."""
        ...

    def end(self) -> bytes:
        """What stands after them. A file without it is not whole."""
        ...


def make_encoder(form: ExportFormat, columns: Sequence[Column]) -> Encoder:
    """The encoder of a form."""
    if form is ExportFormat.CSV:
        return CsvEncoder(columns)
    return JsonlEncoder(columns) if form is ExportFormat.JSONL else ParquetEncoder(columns)


class JsonlEncoder:
    """One JSON object a line, and a last one that says how many there were: `{"type":"end","records":n}`."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self._names = [column.name for column in columns]
        self._written = 0

    def begin(self) -> bytes:
        """Nothing."""
        return b""

    def rows(self, rows: Sequence[Row]) -> bytes:
        """A line for each."""
        self._written += len(rows)
        lines = ({name: row[name] for name in self._names} for row in rows)
        return b"".join(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE) for line in lines)

    def end(self) -> bytes:
        """The line that says that nothing is missing."""
        return orjson.dumps({"type": "end", "records": self._written}, option=orjson.OPT_APPEND_NEWLINE)


class CsvEncoder:
    """RFC 4180 with a header, in UTF-8, safe to open in a spreadsheet (`csv_text`)."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self._columns = tuple(columns)
        self._buffer = io.StringIO(newline="")
        self._writer = csv.writer(self._buffer)

    def begin(self) -> bytes:
        """The header."""
        self._writer.writerow([column.name for column in self._columns])
        return self._taken()

    def rows(self, rows: Sequence[Row]) -> bytes:
        """A record for each."""
        for row in rows:
            self._writer.writerow([_csv_cell(row[column.name], column.kind) for column in self._columns])
        return self._taken()

    def end(self) -> bytes:
        """Nothing."""
        return b""

    def _taken(self) -> bytes:
        text = self._buffer.getvalue()
        self._buffer.seek(0)
        self._buffer.truncate()
        return text.encode()


def csv_text(text: str) -> str:
    """A text that no spreadsheet takes for a formula, and that is not taken for null.

    One that is empty, or begins with `=`, `+`, `-`, `@`, `'`, a tab or a line break, gets a `'` before it;
    `csv_original` takes it away again.
    """
    return f"'{text}" if not text or text.startswith(_NEEDS_QUOTE) else text


def csv_original(cell: str) -> str | None:
    """The text that `csv_text` made a cell of; None for an empty cell."""
    return cell.removeprefix("'") if cell else None


def _csv_cell(value: Any, kind: Kind) -> str:
    if value is None:
        return ""
    match kind:
        case Kind.TEXT:
            return csv_text(value)
        case Kind.FLAG:
            return "true" if value else "false"
        case Kind.SCORES | Kind.NUMBERS | Kind.TEXTS | Kind.OBJECT:
            return orjson.dumps(value).decode()
        case _:
            return str(value)


class ParquetEncoder:
    """Parquet 2 with Zstandard, in row groups of `PARQUET_GROUP_ROWS`, to a reader that cannot go back."""

    def __init__(self, columns: Sequence[Column], group_rows: int = PARQUET_GROUP_ROWS) -> None:
        # Imported here: Arrow takes a while to load and much memory, and few services export.
        import pyarrow
        from pyarrow import parquet

        self._arrow = pyarrow
        self._columns = tuple(columns)
        self._group_rows = group_rows
        self._sink = _Sink()
        self._schema = pyarrow.schema([(column.name, self._type(column.kind)) for column in columns])
        self._writer = parquet.ParquetWriter(self._sink, self._schema, compression="zstd")
        self._waiting: list[Row] = []

    def begin(self) -> bytes:
        """The magic number."""
        return self._sink.taken()

    def rows(self, rows: Sequence[Row]) -> bytes:
        """Nothing, until a row group is full."""
        self._waiting += rows
        while len(self._waiting) >= self._group_rows:
            self._write(self._waiting[: self._group_rows])
            del self._waiting[: self._group_rows]
        return self._sink.taken()

    def end(self) -> bytes:
        """The last row group and the footer."""
        if self._waiting:
            self._write(self._waiting)
        self._writer.close()
        return self._sink.taken()

    def _write(self, rows: Sequence[Row]) -> None:
        columns = [
            self._arrow.array([_parquet_value(row[c.name], c.kind) for row in rows], self._type(c.kind))
            for c in self._columns
        ]
        self._writer.write_table(self._arrow.Table.from_arrays(columns, schema=self._schema))

    def _type(self, kind: Kind) -> Any:
        arrow = self._arrow
        return {
            Kind.TEXT: arrow.string(),
            Kind.INTEGER: arrow.int64(),
            Kind.NUMBER: arrow.float64(),
            Kind.FLAG: arrow.bool_(),
            Kind.TIME: arrow.timestamp("ms", "UTC"),
            Kind.SCORES: arrow.map_(arrow.string(), arrow.float64()),
            Kind.NUMBERS: arrow.list_(arrow.float64()),
            Kind.TEXTS: arrow.list_(arrow.string()),
            Kind.OBJECT: arrow.string(),
        }[kind]


def _parquet_value(value: Any, kind: Kind) -> Any:
    if value is None:
        return None
    match kind:
        case Kind.TIME:
            return round(epoch_s(value) * 1_000)
        case Kind.SCORES:
            return list(value.items())
        case Kind.OBJECT:
            return orjson.dumps(value).decode()
        case _:
            return value


class _Sink(io.RawIOBase):
    """Where a writer writes, and whence what it wrote is taken."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, piece: Any) -> int:
        taken = bytes(piece)
        self._pieces.append(taken)
        return len(taken)

    def taken(self) -> bytes:
        """What was written since the last time."""
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)
