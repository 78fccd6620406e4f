"""Files of every legal form give their cells, rows know their line, and broken files are named."""

import csv
import gzip
import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from eventlink.errors import BadFileError
from eventlink.importers.format import FORMAT
from eventlink.importers.sources import CsvSource, Source, find_sources

TAGS = next(table for table in FORMAT if table.name == "user_interest_tags")


def source_of(folder: Path, content: bytes, name: str = "user_interest_tags.csv") -> Source:
    (folder / name).write_bytes(content)
    return find_sources(folder)["user_interest_tags"]


def cells_of(source: Source) -> list[tuple[object, ...]]:
    names = [column.name for column in source.columns]
    rows: list[tuple[object, ...]] = []
    for batch in source.batches(lambda _: None):
        texts = [[_decoded(value) for value in batch.column(name).to_pylist()] for name in names]
        rows += zip(*texts, strict=True)
    return rows


def _decoded(value: object) -> object:
    return value.decode() if isinstance(value, bytes) else value


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        (b"user_id,tag\n1,Jazz\n", [("1", "Jazz")]),
        (b"\xef\xbb\xbfuser_id,tag\r\n1,Jazz\r\n", [("1", "Jazz")]),
        (b"user_id,tag\n1,Jazz", [("1", "Jazz")]),
        (b"tag,user_id\nJazz,1\n", [("1", "Jazz")]),
        (b'"user_id","tag"\n"1","Jazz"\n', [("1", "Jazz")]),
        (b"\nuser_id,tag\n\n1,Jazz\n\n\n2,Folk\n", [("1", "Jazz"), ("2", "Folk")]),
        (b'user_id,tag\n1,"a ""b"",\r\nc"\n', [("1", 'a "b",\r\nc')]),
        (b'user_id,tag\n1,5" nails\n', [("1", '5" nails')]),
        (b'user_id,tag\n1,\n2,""\n', [("1", None), ("2", "")]),
        (b"user_id,tag\r1,Jazz\r2,Folk\r", [("1", "Jazz"), ("2", "Folk")]),
        (b"user_id,tag\n", []),
        (b"user_id,tag", []),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_any_legal_csv_is_read(
    tmp_path: Path, content: bytes, rows: list[object], packed: bool
) -> None:
    if packed:
        source = source_of(tmp_path, gzip.compress(content), "user_interest_tags.csv.gz")
    else:
        source = source_of(tmp_path, content)
    assert cells_of(source) == rows
    assert [tuple(row.cells.values()) for row in source.rows()] == [
        tuple(cell or "" for cell in row)  # type: ignore[attr-defined]
        for row in rows
    ]


CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\0"))


@given(st.lists(st.tuples(CELLS, CELLS)))
@settings(deadline=None)
def test_any_cells_come_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]
) -> None:
    path = tmp_path_factory.mktemp("csv") / "user_interest_tags.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([("user_id", "tag"), *rows])
    source = CsvSource(path, TAGS)
    assert [(a or "", b or "") for a, b in cells_of(source)] == rows
    assert [(row.cells["user_id"], row.cells["tag"]) for row in source.rows()] == rows
    # A row's line and raw text are where it really stands.
    physical = io.StringIO(path.read_bytes().decode(), newline="").readlines()
    for row, cells in zip(source.rows(), rows, strict=True):
        assert "".join(physical[row.line - 1 :]).startswith(row.raw)
        assert next(csv.reader(io.StringIO(row.raw, newline=""))) == list(cells)
    assert source.misshapen == 0


@given(st.lists(st.text(alphabet='12,"\n\r x', max_size=8), max_size=30))
@settings(deadline=None)
def test_the_fast_and_the_slow_reading_agree_on_any_text(
    tmp_path_factory: pytest.TempPathFactory, parts: list[str]
) -> None:
    path = tmp_path_factory.mktemp("csv") / "user_interest_tags.csv"
    path.write_text("user_id,tag\n" + "\n".join(parts), newline="")
    source = CsvSource(path, TAGS)
    try:
        slow = list(source.rows())
    except BadFileError:
        return  # an open quote; the test below is about it
    fast = cells_of(source)
    shapely = [row for row in slow if not row.misshapen]
    assert source.misshapen == len(slow) - len(shapely)
    assert [(a or "", b or "") for a, b in fast] == [tuple(row.cells.values()) for row in shapely]


def test_rows_know_the_line_they_begin_on(tmp_path: Path) -> None:
    source = source_of(tmp_path, b'user_id,tag\n\n1,"two\nlines"\n2,"x\r\n\r\ny"\n3,z\n')
    assert [(row.line, row.raw) for row in source.rows()] == [
        (3, '1,"two\nlines"'),
        (5, '2,"x\r\n\r\ny"'),
        (8, "3,z"),
    ]


def test_rows_with_too_few_or_many_cells_are_counted_and_found_again(tmp_path: Path) -> None:
    source = source_of(tmp_path, b"user_id,tag\n1\n2,b\n3,c,d\n4,e\n")
    assert cells_of(source) == [("2", "b"), ("4", "e")]
    assert source.misshapen == 2
    assert [(row.line, row.misshapen) for row in source.rows() if row.misshapen] == [
        (2, "1 cells where the header has 2"),
        (4, "3 cells where the header has 2"),
    ]


def test_a_block_boundary_between_rows_and_in_a_cell_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eventlink.importers.sources.BLOCK_BYTES", 64)
    rows = [(str(i), f"line\n{i}" if i % 3 else "x" * (i % 20)) for i in range(500)]
    text = "".join(f'{a},"{b}"\n' for a, b in rows)
    assert cells_of(source_of(tmp_path, f"user_id,tag\n{text}".encode())) == rows


def test_progress_ends_at_the_whole(tmp_path: Path) -> None:
    told: list[float] = []
    source = source_of(tmp_path, b"user_id,tag\n1,a\n")
    list(source.batches(told.append))
    assert told == sorted(told)
    assert told[-1] == 1.0


def test_unknown_columns_are_ignored_with_one_warning(tmp_path: Path) -> None:
    with structlog.testing.capture_logs() as logs:
        source = source_of(tmp_path, b"color,user_id,tag,size\nred,1,Jazz,5\n")
    assert cells_of(source) == [("1", "Jazz")]
    assert [(log["log_level"], log["columns"]) for log in logs] == [("warning", ["color", "size"])]


BROKEN = [
    (b"", "user_interest_tags.csv has no column user_id; the first line must name the columns"),
    (b"user_id;tag\n1;x\n", "user_interest_tags.csv, line 1: columns must be separated by commas, not by semicolons or tabs"),
    (b"user_id\ttag\n1\tx\n", "user_interest_tags.csv, line 1: columns must be separated by commas, not by semicolons or tabs"),
    ("\ufeffuser_id,tag\n1,x\n".encode("utf-16-le"), "user_interest_tags.csv is not UTF-8; save it as UTF-8"),
    ("\ufeffuser_id\ttag\n1\tx\n".encode("utf-16-be"), "user_interest_tags.csv is not UTF-8; save it as UTF-8"),
    (b"user_id\n1\n", "user_interest_tags.csv has no column tag; the first line must name the columns"),
    (b"user_id,tag,tag\n1,a,b\n", "user_interest_tags.csv has the column tag twice; keep one"),
    (b'user_id,tag\n1,a\n2,"b\n3,c\n', "user_interest_tags.csv, line 3: a quote is not closed before the end of the file; close it"),
    (b'user_id,tag\n1,a\n2,"b', "user_interest_tags.csv, line 3: a quote is not closed before the end of the file; close it"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "message"), BROKEN)
def test_a_broken_csv_is_refused_in_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(BadFileError) as refused:
        cells_of(source_of(tmp_path, content))
    assert str(refused.value) == message


def test_an_open_quote_in_a_long_file_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eventlink.importers.sources.BLOCK_BYTES", 64)
    source = source_of(tmp_path, b'user_id,tag\n1,"a\n' + b"2,b\n" * 100)
    with pytest.raises(BadFileError, match="line 2: a quote is not closed"):
        cells_of(source)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("user_interest_tags.csv.gz", b"user_id,tag\n1,a\n"),
        (
            "user_interest_tags.csv.gz",
            gzip.compress(b"user_id,tag\n" + b"1,a\n" * 9999, mtime=0)[:-9],
        ),
        ("user_interest_tags.parquet", b"PAR1 no"),
        ("user_interest_tags.parquet", b""),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, name: str, content: bytes) -> None:
    with pytest.raises(BadFileError, match=rf"{name} cannot be read: "):
        cells_of(source_of(tmp_path, content, name))


def test_a_folder_must_have_a_file_and_one_for_a_table(tmp_path: Path) -> None:
    with pytest.raises(BadFileError, match="is not a folder"):
        find_sources(tmp_path / "missing")
    (tmp_path / "about.json").write_text("{}")
    with pytest.raises(BadFileError, match="has none of the files to import"):
        find_sources(tmp_path)
    for ending in ("csv", "csv.gz"):
        (tmp_path / f"follows.{ending}").write_bytes(b"user_id,owner_id\n")
    with pytest.raises(BadFileError, match=r"follows.csv and follows.csv.gz in .* two files"):
        find_sources(tmp_path)


def test_parquet_is_read_and_quoted_by_row(tmp_path: Path) -> None:
    table = pa.table({"user_id": [1, None], "tag": pa.array(["a", 'b,"']).dictionary_encode()})
    pq.write_table(table, tmp_path / "user_interest_tags.parquet")
    source = find_sources(tmp_path)["user_interest_tags"]
    assert cells_of(source) == [(1, "a"), (None, 'b,"')]
    assert [(row.line, row.raw) for row in source.rows()] == [(1, "1,a"), (2, ',"b,"""')]


def test_a_parquet_column_of_lists_is_refused(tmp_path: Path) -> None:
    table = pa.table({"user_id": [[1]], "tag": ["a"]})
    pq.write_table(table, tmp_path / "user_interest_tags.parquet")
    with pytest.raises(
        BadFileError, match=r"the column user_id has the type list.* a whole number"
    ):
        find_sources(tmp_path)
