"""Files come back as what went in, in constant memory, and say so when they are not whole."""

from __future__ import annotations

import csv
import io
import tracemalloc
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import orjson
import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from app.domain import AbstainReason, Leg
from app.records import epoch_s, record_body
from app.results.export import (
    Column,
    Encoder,
    ExportFormat,
    Kind,
    ParquetEncoder,
    Row,
    csv_original,
    csv_text,
    make_encoder,
)
from app.results.export_rows import (
    CALL_COLUMNS,
    FEEDBACK_COLUMNS,
    UTTERANCE_COLUMNS,
    call_row,
    feedback_row,
    utterance_row,
)
from app.results.store import CallInfo
from tests.support.records import make_record

MIB = 1024 * 1024
RECORDS = 50_000
PAGE = 200
CALL = CallInfo("call-1", "sales", (Leg.CUSTOMER,), 1_700_000_000.0, team="north", metadata={"ticket": [7]})
_NESTED = (Kind.SCORES, Kind.NUMBERS, Kind.TEXTS, Kind.OBJECT)


def encode(encoder: Encoder, rows: Sequence[Row], page: int = 3) -> bytes:
    """A whole file."""
    parts = [encoder.begin()]
    parts += [encoder.rows(rows[begin : begin + page]) for begin in range(0, len(rows), page)]
    return b"".join([*parts, encoder.end()])


def from_jsonl(raw: bytes) -> list[dict[str, Any]]:
    """The rows of a file, whose last line must say that it is whole."""
    *lines, end = [orjson.loads(line) for line in raw.splitlines()]
    assert end == {"type": "end", "records": len(lines)}
    return lines


def from_csv(raw: bytes, columns: Sequence[Column]) -> list[dict[str, Any]]:
    """The rows of a file as JSON would have them."""
    kinds = {column.name: column.kind for column in columns}
    rows = csv.DictReader(io.StringIO(raw.decode(), newline=""), strict=True)
    return [{name: csv_value(cell, kinds[name]) for name, cell in row.items()} for row in rows]


def csv_value(cell: str, kind: Kind) -> Any:
    """What a cell says."""
    if cell == "":
        return None
    if kind in _NESTED:
        return orjson.loads(cell)
    readers: dict[Kind, Any] = {
        Kind.INTEGER: int, Kind.NUMBER: float, Kind.FLAG: "true".__eq__, Kind.TEXT: csv_original
    }  # fmt: skip
    return readers.get(kind, str)(cell)


def from_parquet(raw: bytes, columns: Sequence[Column]) -> list[dict[str, Any]]:
    """The rows of a file as JSON would have them, but times, which are epoch milliseconds."""
    rows = parquet.read_table(io.BytesIO(raw)).to_pylist()
    kinds = {column.name: column.kind for column in columns}
    return [{name: parquet_value(cell, kinds[name]) for name, cell in row.items()} for row in rows]


def parquet_value(cell: Any, kind: Kind) -> Any:
    """What a cell says."""
    if cell is None:
        return None
    if kind is Kind.SCORES:
        return dict(cell)
    if kind is Kind.TIME:
        return round(cell.timestamp() * 1000)
    return orjson.loads(cell) if kind is Kind.OBJECT else cell


def with_times_as_numbers(rows: Sequence[Row], columns: Sequence[Column]) -> list[dict[str, Any]]:
    """Rows as Parquet gives them back."""
    times = {column.name for column in columns if column.kind is Kind.TIME}

    def number(value: Any) -> Any:
        return None if value is None else round(epoch_s(value) * 1000)

    return [{name: number(row[name]) if name in times else row[name] for name in row} for row in rows]


def only(rows: Sequence[Row], columns: Sequence[Column]) -> list[Row]:
    """Rows without what no column holds."""
    return [{column.name: row[column.name] for column in columns} for row in rows]


def records(count: int) -> Iterator[Row]:
    """Rows of records of all sorts."""
    for index in range(count):
        reason = (None, AbstainReason.UNCERTAIN, AbstainReason.TOO_SHORT)[index % 3]
        record = replace(
            make_record("call-1", index, reason=reason),
            seq=index + 1,
            created_at=1_700_000_000.125 + index,
            detail=None if reason is None else "=because \"of\"\r\n this, 'ü'",
            salience=(0.25, 0.75) if reason is None else None,
        )
        yield utterance_row(record, CALL)


FILES: dict[str, tuple[tuple[Column, ...], list[Row]]] = {
    "utterances": (UTTERANCE_COLUMNS, only(list(records(10)), UTTERANCE_COLUMNS)),
    "calls": (
        CALL_COLUMNS,
        [
            call_row(CALL),
            call_row(replace(CALL, ended_at=1_700_000_009.5, outcome="completed", summary={"duration_s": 9.5})),
        ],
    ),
    "feedback": (
        FEEDBACK_COLUMNS,
        only(
            [
                feedback_row(
                    {
                        "label": "=joy", "confidence": 0.5, "note": None, "labeller": "ü|1", "version": 2,
                        "labelled_at": "2026-01-02T03:04:05.678Z", "line": "sales", "team": None,
                        "language": "fr", "record": record_body(make_record()),
                    }
                )
            ],
            FEEDBACK_COLUMNS,
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", FILES)
def test_every_form_holds_the_same(what: str) -> None:
    """Read back, CSV, JSON Lines and Parquet are equal, and what went in."""
    columns, rows = FILES[what]
    assert from_jsonl(encode(make_encoder(ExportFormat.JSONL, columns), rows)) == rows
    assert from_csv(encode(make_encoder(ExportFormat.CSV, columns), rows), columns) == rows
    found = from_parquet(encode(make_encoder(ExportFormat.PARQUET, columns), rows), columns)
    assert found == with_times_as_numbers(rows, columns)


@pytest.mark.parametrize("form", ExportFormat)
def test_a_file_without_rows_has_its_columns(form: ExportFormat) -> None:
    """A header, a schema, or a last line that says 0."""
    raw = encode(make_encoder(form, CALL_COLUMNS), [])
    names = [column.name for column in CALL_COLUMNS]
    if form is ExportFormat.CSV:
        assert raw.decode() == ",".join(names) + "\r\n"
    elif form is ExportFormat.JSONL:
        assert from_jsonl(raw) == []
    else:
        assert parquet.read_table(io.BytesIO(raw)).column_names == names


def test_columns_stand_where_they_stood() -> None:
    """Their order and types are a promise; new ones come at the end. Times are of milliseconds, in UTC."""
    names = [column.name for column in UTTERANCE_COLUMNS]
    assert names[:5] == ["call_id", "seq", "utterance_id", "leg", "start_s"]
    assert names[-4:] == ["line", "team", "language", "call_started_at"]
    raw = encode(make_encoder(ExportFormat.PARQUET, UTTERANCE_COLUMNS), list(records(1)))
    schema = parquet.read_schema(io.BytesIO(raw))
    assert schema.field("scores").type == pyarrow.map_(pyarrow.string(), pyarrow.float64())
    assert schema.field("created_at").type == pyarrow.timestamp("ms", "UTC")
    assert schema.field("seq").type == pyarrow.int64()


def test_parquet_comes_in_row_groups() -> None:
    """So that it can be sent while it is made."""
    encoder = ParquetEncoder(UTTERANCE_COLUMNS, group_rows=4)
    raw = encode(encoder, list(records(10)), page=3)
    groups = parquet.ParquetFile(io.BytesIO(raw)).metadata
    assert [groups.row_group(index).num_rows for index in range(groups.num_row_groups)] == [4, 4, 2]


def test_half_a_file_is_told_from_a_whole_one() -> None:
    """Parquet without its footer cannot be opened; JSON Lines without its last line say nothing of an end."""
    rows = list(records(5))
    encoder = make_encoder(ExportFormat.PARQUET, UTTERANCE_COLUMNS)
    half = encoder.begin() + encoder.rows(rows)
    with pytest.raises(pyarrow.ArrowInvalid):
        parquet.read_table(io.BytesIO(half))
    lines = make_encoder(ExportFormat.JSONL, UTTERANCE_COLUMNS).rows(rows).splitlines()
    assert all(orjson.loads(line).get("type") != "end" for line in lines)


@pytest.mark.parametrize("start", ["=1+1", "+1", "-1", "@SUM(A1)", "'x", "\tx", "\rx", "\nx", ""])
def test_no_cell_is_a_formula(start: str) -> None:
    """What a spreadsheet would reckon with gets an apostrophe before it."""
    assert csv_text(start) == "'" + start


@given(st.text())
def test_texts_survive_a_csv_file(text: str) -> None:
    """Line breaks, quotes, commas and apostrophes come back; null and an empty text differ."""
    columns = (Column("a", Kind.TEXT), Column("b", Kind.TEXT))
    rows = [{"a": text, "b": None}, {"a": None, "b": text}]
    raw = encode(make_encoder(ExportFormat.CSV, columns), rows)
    assert from_csv(raw, columns) == rows
    cells = list(csv.reader(io.StringIO(raw.decode(), newline="")))[1]
    assert not cells[0].startswith(("=", "+", "-", "@", "\t", "\r", "\n"))


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(-(2**63), 2**63 - 1))
def test_numbers_survive_every_form(number: float, integer: int) -> None:
    """To the last bit, and negative ones are no formulas."""
    columns = (Column("x", Kind.NUMBER), Column("n", Kind.INTEGER))
    rows = [{"x": number, "n": integer}]
    assert from_jsonl(encode(make_encoder(ExportFormat.JSONL, columns), rows)) == rows
    assert from_csv(encode(make_encoder(ExportFormat.CSV, columns), rows), columns) == rows
    assert from_parquet(encode(make_encoder(ExportFormat.PARQUET, columns), rows), columns) == rows


@pytest.mark.parametrize("form", ExportFormat)
def test_a_large_file_takes_little_memory(form: ExportFormat) -> None:
    """50,000 records, 50 MB of text, pass through without being held, by Python or by Arrow."""
    names = ("utterance_id", "detail", "scores", "arousal")
    columns = [column for column in UTTERANCE_COLUMNS if column.name in names]
    rows = [dict(row) | {"detail": "x" * 1_000} for row in only(list(records(PAGE)), columns)]
    encoder = make_encoder(form, columns)
    pool = pyarrow.default_memory_pool()
    arrow_before, arrow_peak = pool.bytes_allocated(), 0
    tracemalloc.start()
    try:
        encoder.begin()
        for _ in range(RECORDS // PAGE):
            encoder.rows([dict(row) for row in rows])
            arrow_peak = max(arrow_peak, pool.bytes_allocated() - arrow_before)
        encoder.end()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 * MIB
    assert arrow_peak < 8 * MIB
