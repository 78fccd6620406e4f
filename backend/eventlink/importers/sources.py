"""The files of a folder, as batches of unchecked cells; and their rows one by one, to quote them.

What does not live here: what a cell may be (``cells``).
"""

import csv
import gzip
import io
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import structlog

from eventlink.errors import BadFileError
from eventlink.importers.format import ENDINGS, FORMAT, Column, Table

log = structlog.get_logger()

BLOCK_BYTES = 1 << 24
BATCH_ROWS = 1 << 18

Tell = Callable[[float], None]
"""Is told the share of a file that has been read."""


@dataclass(frozen=True)
class Row:
    """A row as it stands in its file."""

    line: int
    """The line it begins on, from 1; in Parquet the row's number, from 1."""
    raw: str
    cells: Mapping[str, str]
    """Known columns only."""
    misshapen: str = ""
    """What is wrong, where the row has not as many cells as the header."""


class Source(Protocol):
    """A file of the format, opened for reading."""

    path: Path
    table: Table
    columns: tuple[Column, ...]
    """Those of the table's columns that the file has."""
    counted_in: str
    """What its rows are counted in: ``line`` or ``row``."""
    misshapen: int
    """How many rows ``batches`` has left out, having not as many cells as the header."""

    def batches(self, tell: Tell) -> Iterator[pa.RecordBatch]:
        """Read the cells of the known columns; text, or in Parquet whatever its types are."""

    def rows(self) -> Iterator[Row]:
        """Read row by row, slowly: the same rows in the same order, and the misshapen ones."""


def find_sources(folder: Path) -> dict[str, Source]:
    """Open the files of a folder.

    Args:
        folder: Where to look for ``TABLE.csv``, ``TABLE.csv.gz`` and ``TABLE.parquet``.

    Returns:
        The files by table, in the format's order.

    Raises:
        BadFileError: There are none, or two for a table, or one cannot be read, lacks a required
            column or has a column twice.
    """
    if not folder.is_dir():
        raise BadFileError(f"{folder} is not a folder; name the one with the files to import")
    sources: dict[str, Source] = {}
    for table in FORMAT:
        found = table_files(folder, table)
        if len(found) > 1:
            names = " and ".join(path.name for path in found)
            raise BadFileError(f"{names} in {folder} are two files for one table; keep one")
        for path in found:
            with reading(path):
                kind = ParquetSource if path.suffix == ".parquet" else CsvSource
                sources[table.name] = kind(path, table)
    if not sources:
        names = ", ".join(table.name for table in FORMAT)
        raise BadFileError(
            f"{folder} has none of the files to import; they are called TABLE"
            f" with one of the endings {', '.join(ENDINGS)}, where TABLE is one of {names}"
        )
    return sources


def table_files(folder: Path, table: Table) -> list[Path]:
    """Return the files that a folder has for a table.

    Args:
        folder: Where to look.
        table: A table of the format.
    """
    paths = (folder / f"{table.name}{ending}" for ending in ENDINGS)
    return [path for path in paths if path.exists()]


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what the system and the formats' readers raise into ``BadFileError``."""
    try:
        yield
    except (OSError, EOFError, zlib.error, pa.ArrowException) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise BadFileError(f"{path} cannot be read: {reason}") from error


def _known_columns(path: Path, table: Table, header: Sequence[str]) -> tuple[Column, ...]:
    for column in table.all_columns:
        if column.required and column.name not in header:
            raise BadFileError(
                f"{path.name} has no column {column.name}; the first line must name the columns"
            )
        if header.count(column.name) > 1:
            raise BadFileError(f"{path.name} has the column {column.name} twice; keep one")
    names = [column.name for column in table.all_columns]
    unknown = sorted(set(header).difference(names))
    if unknown:
        log.warning("unknown columns are ignored", file=path.name, columns=unknown)
    return tuple(column for column in table.all_columns if column.name in header)


def _require_our_kind(path: Path, header: Sequence[str]) -> None:
    """Refuse what spreadsheets write beside our kind of CSV, before a column is looked for."""
    if any("\0" in name for name in header):  # every other byte of a name in UTF-16
        raise BadFileError(f"{path.name} is not UTF-8; save it as UTF-8")
    if len(header) == 1 and (";" in header[0] or "\t" in header[0]):
        raise BadFileError(
            f"{path.name}, line 1: columns must be separated by commas, not by semicolons or tabs"
        )


class CsvSource:
    """A ``.csv`` or ``.csv.gz``: UTF-8, comma, RFC 4180."""

    counted_in = "line"

    def __init__(self, path: Path, table: Table) -> None:
        self.path, self.table, self.misshapen = path, table, 0
        _, _, self.header = next(self._lines(), (0, "", []))
        _require_our_kind(path, self.header)
        self.columns = _known_columns(path, table, self.header)

    def batches(self, tell: Tell) -> Iterator[pa.RecordBatch]:
        """See ``Source``."""
        names = [column.name for column in self.columns]
        with reading(self.path), _Stream(self.path, tell) as stream:
            try:
                reader = pyarrow.csv.open_csv(
                    stream,
                    read_options=pyarrow.csv.ReadOptions(block_size=BLOCK_BYTES),
                    parse_options=pyarrow.csv.ParseOptions(
                        newlines_in_values=True, invalid_row_handler=self._leave_out
                    ),
                    convert_options=pyarrow.csv.ConvertOptions(
                        include_columns=names,
                        # Checked later, where a cell can be named.
                        column_types=dict.fromkeys(names, pa.binary()),
                        check_utf8=False,
                        # Like PostgreSQL: nothing is null, two quotes are an empty text.
                        null_values=[""],
                        strings_can_be_null=True,
                        quoted_strings_can_be_null=False,
                    ),
                )
                yield from reader
            except pa.ArrowInvalid as error:
                # Arrow does not take a header without rows or line's end; we do.
                if self._count_rows():
                    raise BadFileError(
                        f"{self.path.name} cannot be read as CSV: {error}"
                    ) from error
            if stream.quotes % 2:
                self._count_rows()
        tell(1.0)

    def _leave_out(self, row: pyarrow.csv.InvalidRow) -> str:
        del row  # it does not know its line; ``rows`` will find it again
        self.misshapen += 1
        return "skip"

    def _count_rows(self) -> int:
        """Read the file the slow way, which raises where a quote is not closed."""
        return sum(1 for _ in self.rows())

    def rows(self) -> Iterator[Row]:
        """See ``Source``."""
        lines = self._lines()
        next(lines, None)
        places = {column.name: self.header.index(column.name) for column in self.columns}
        for line, raw, cells in lines:
            if len(cells) == len(self.header):
                yield Row(line, raw, {name: cells[place] for name, place in places.items()})
            else:
                wrong = f"{len(cells)} cells where the header has {len(self.header)}"
                yield Row(line, raw, {}, misshapen=wrong)

    def _lines(self) -> Iterator[tuple[int, str, list[str]]]:
        """Read the header and all rows: first line, text and cells."""
        csv.field_size_limit(sys.maxsize)  # a description may be longer than the default
        with reading(self.path), _open(self.path) as text:
            taken: list[str] = []
            reader = csv.reader(_taking(text, taken))
            begin = 1
            for cells in reader:
                if cells and cells[-1].endswith(_END):
                    if taken:
                        raise BadFileError(
                            f"{self.path.name}, line {begin}: a quote is not closed"
                            " before the end of the file; close it"
                        )
                    return
                if cells:
                    yield begin, "".join(taken).rstrip("\r\n"), cells
                begin = reader.line_num + 1
                taken.clear()


_END = "\0end of file\0"
"""Follows the last line, and must come back as a row of its own: else a quote is still open."""


def _taking(lines: IO[str], taken: list[str]) -> Iterator[str]:
    """Pass lines on, keeping those of the row being read."""
    for line in lines:
        taken.append(line)
        yield line
    yield _END


def _open(path: Path) -> IO[str]:
    # A byte that is not UTF-8 stays readable in a message.
    encoding, errors = "utf-8-sig", "backslashreplace"
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding=encoding, errors=errors, newline="")
    return path.open(encoding=encoding, errors=errors, newline="")


class _Stream(io.RawIOBase):
    """A CSV's bytes on their way to Arrow: counts the quotes, and tells how far it is."""

    def __init__(self, path: Path, tell: Tell) -> None:
        self.quotes = 0
        self._file = path.open("rb")
        self._bytes = gzip.GzipFile(fileobj=self._file) if path.suffix == ".gz" else self._file
        self._size = max(path.stat().st_size, 1)
        self._tell = tell

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        block: bytes = self._bytes.read(size)
        self.quotes += block.count(b'"')
        self._tell(min(self._file.tell() / self._size, 1.0))
        return block

    def close(self) -> None:
        self._bytes.close()
        self._file.close()
        super().close()


class ParquetSource:
    """A ``.parquet`` file; its types may differ from ours as long as the values can be read."""

    counted_in = "row"
    misshapen = 0

    def __init__(self, path: Path, table: Table) -> None:
        self.path, self.table = path, table
        with pq.ParquetFile(path) as file:
            schema = file.schema_arrow
        self.columns = _known_columns(path, table, schema.names)
        for column in self.columns:
            kind = schema.field(column.name).type
            if pa.types.is_nested(kind):
                raise BadFileError(
                    f"{path.name}: the column {column.name} has the type {kind};"
                    f" it must be {column.kind.words}"
                )

    def batches(self, tell: Tell) -> Iterator[pa.RecordBatch]:
        """See ``Source``."""
        names = [column.name for column in self.columns]
        with reading(self.path), pq.ParquetFile(self.path) as file:
            done, total = 0, max(file.metadata.num_rows, 1)
            for batch in file.iter_batches(BATCH_ROWS, columns=names):
                yield batch
                done += batch.num_rows
                tell(done / total)
        tell(1.0)

    def rows(self) -> Iterator[Row]:
        """See ``Source``."""
        number = 0
        names = [column.name for column in self.columns]
        for batch in self.batches(lambda _: None):
            for values in zip(*map(_written, batch.select(names).columns), strict=True):
                number += 1
                yield Row(number, _csv_row(values), dict(zip(names, values, strict=True)))


def _written(cells: pa.Array) -> list[str]:
    """Spell the cells of any type."""
    if pa.types.is_dictionary(cells.type):
        cells = cells.dictionary_decode()
    if pa.types.is_timestamp(cells.type):
        # Without a zone, for a machine may have no list of them; the instant is UTC either way.
        cells = cells.cast(pa.timestamp(cells.type.unit))
    if pa.types.is_binary(cells.type) or pa.types.is_string(cells.type):
        texts = cells.cast(pa.binary()).to_pylist()
        return [(text or b"").decode(errors="backslashreplace") for text in texts]
    return [text or "" for text in cells.cast(pa.string()).to_pylist()]


def _csv_row(cells: Sequence[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(cells)
    return text.getvalue()
