"""Files of (user, event) pairs to score, and of their scores.

What does not live here: the scoring (``services.score``).
"""

import gzip
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from eventlink.db.keys import Ids
from eventlink.errors import BadFileError, BadRowError
from eventlink.importers.bad_rows import locate
from eventlink.importers.cells import Problem, check_batch
from eventlink.importers.format import ENDINGS, Column, Kind, Table
from eventlink.importers.sources import CsvSource, ParquetSource, reading
from eventlink.recsys.progress import Report

PAIRS = Table(
    "pairs",
    (
        Column("user_id", Kind.INTEGER, required=True, filled=True),
        Column("event_id", Kind.INTEGER, required=True, filled=True),
    ),
)


def read_pairs(path: Path, report: Report) -> tuple[Ids, Ids]:
    """Read a CSV, a gzipped CSV or a Parquet file with the columns user_id and event_id.

    Args:
        path: The file. Other columns are ignored.
        report: Told of the progress.

    Returns:
        User and event of each row, in the file's order.

    Raises:
        BadRowError: A cell is not a whole number.
        BadFileError: The file cannot be read, lacks a column or has no row.
    """
    if not path.name.endswith(ENDINGS):
        raise BadFileError(f"{path} must end in {', '.join(ENDINGS)}, to tell what it holds")
    with reading(path):
        kind = ParquetSource if path.suffix == ".parquet" else CsvSource
        source = kind(path, PAIRS)
    parts: list[pa.RecordBatch] = []
    rows = 0
    for cells in source.batches(lambda done: report("reading pairs", done)):
        batch, problems = check_batch(cells, PAIRS.columns)
        if problems or source.misshapen:
            _refuse(source, {rows + place: each for place, each in problems.items()})
        parts.append(batch)
        rows += len(batch)
    if source.misshapen:
        _refuse(source, {})
    if not rows:
        raise BadFileError(f"{path} has no pairs; give each a line with user_id and event_id")
    table = pa.Table.from_batches(parts)
    return table["user_id"].to_numpy(), table["event_id"].to_numpy()


def _refuse(source: CsvSource | ParquetSource, problems: dict[int, Problem]) -> None:
    raise BadRowError(f"{next(locate(source, problems))}; nothing was scored")


def write_scores(path: Path | None, batches: Iterator[pa.RecordBatch]) -> None:
    """Write scores as CSV, gzipped CSV or Parquet.

    Args:
        path: Where to, its ending tells the form; CSV on stdout if None.
        batches: What to write; at least one, all of one schema.

    Raises:
        BadFileError: The file cannot be written.
    """
    if path is None:
        _write_csv(sys.stdout.buffer, batches)
        return
    part = path.with_name(f"{path.name}.part")
    with _writing(path), part.open("wb") as file:
        if path.suffix == ".parquet":
            _write_parquet(file, batches)
        elif path.suffix == ".gz":
            with gzip.GzipFile("", "wb", 6, file, mtime=0) as packed:
                _write_csv(packed, batches)
        else:
            _write_csv(file, batches)
        part.replace(path)


def require_writable_scores(path: Path) -> None:
    """Check that scores can be written to a file, before the work that they take.

    Raises:
        BadFileError: They cannot.
    """
    if not path.name.endswith(ENDINGS):
        raise BadFileError(f"{path} must end in {', '.join(ENDINGS)}, to tell what to write")
    if path.is_dir() or not path.parent.is_dir():
        raise BadFileError(f"{path} cannot be written; name a file in a folder that exists")


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BadFileError(f"{path} cannot be written: {error.strerror or error}") from error


def _write_csv(file: BinaryIO | gzip.GzipFile, batches: Iterator[pa.RecordBatch]) -> None:
    options = pyarrow.csv.WriteOptions(include_header=False, quoting_style="needed")
    for number, batch in enumerate(batches):
        if number == 0:
            file.write((",".join(batch.schema.names) + "\n").encode())
        pyarrow.csv.write_csv(batch, file, options)
    file.flush()


def _write_parquet(file: BinaryIO, batches: Iterator[pa.RecordBatch]) -> None:
    first = next(batches)
    with pq.ParquetWriter(file, first.schema) as writer:
        writer.write_batch(first)
        for batch in batches:
            writer.write_batch(batch)
