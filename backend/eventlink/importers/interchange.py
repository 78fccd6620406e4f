"""Importing and exporting a folder of the interchange format: the two use cases.

What does not live here: the format (``format``), its files (``sources``), SQL
(``db.interchange``).
"""

import gzip
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import structlog
from sqlalchemy import Connection

from eventlink.db.interchange import dump, load
from eventlink.db.recommendations import keep_recomputes_out
from eventlink.db.session import require_migrations
from eventlink.errors import BadFileError, BadRowError
from eventlink.importers.bad_rows import locate, require_writable, write_bad_rows
from eventlink.importers.cells import Problem, check_batch
from eventlink.importers.format import FORMAT, Table
from eventlink.importers.sources import CsvSource, Source, find_sources, table_files
from eventlink.recsys.progress import Report

log = structlog.get_logger()


@dataclass(frozen=True)
class Imported:
    """What became of one file's rows; the rest of ``rows`` was in the database just so."""

    file: str
    rows: int
    added: int
    updated: int
    bad: int
    doubts: tuple["Doubt", ...] = ()
    """To be warned of when all is committed."""


@dataclass(frozen=True)
class Doubt:
    """Odd rows of a file, which were imported all the same."""

    source: Source
    doubted: load.Doubted

    def warn(self) -> None:
        """Log the first one as it stands in the file, which is read for it from its beginning.

        That may take long: not while a transaction keeps other writers out.
        """
        problem = Problem(self.doubted.columns, self.doubted.wrong)
        found = locate(self.source, {self.doubted.first: problem})
        first = next(row for row in found if row.columns)  # the others are misshapen
        log.warning("odd rows are imported all the same", rows=self.doubted.rows, first=str(first))


def import_folder(
    conn: Connection,
    folder: Path,
    report: Report,
    *,
    replace: bool = False,
    bad_rows: Path | None = None,
) -> list[Imported]:
    """Load a folder's files; all of it or, if it raises and the caller rolls back, nothing.

    Args:
        conn: A connection in a transaction, which the caller ends.
        folder: Where the files are.
        report: Is told the progress.
        replace: Delete all that is there first, and do not merge with it.
        bad_rows: Leave bad rows out and list them in this file; if None, the first one raises.

    Returns:
        What became of each file, in the format's order.

    Raises:
        BadRowError: A row cannot be taken.
        BadFileError: The folder or a file in it cannot be read.
        MigrationsMissingError: The tables are not those of this version.
        RecomputeRunningError: All is to be replaced, and a recompute is running.
    """
    require_migrations(conn)
    sources = find_sources(folder)
    if bad_rows is not None:
        require_writable(bad_rows)
    if replace:
        keep_recomputes_out(conn)
    files = [_File(conn, source, stops=bad_rows is None) for source in sources.values()]
    for file in files:
        file.stage(report)
    load.lock(conn)
    if replace:
        report("delete what is there", 0.0)
        load.erase(conn)
        report("delete what is there", 1.0)
    imported = [file.merge(report) for file in files]
    load.finish(conn)
    if bad_rows is not None and any(each.bad for each in imported):
        write_bad_rows(
            bad_rows, (row for file in files for row in locate(file.source, file.problems))
        )
    return imported


class _File:
    """The import of one file. ``problems`` are its bad rows by number."""

    def __init__(self, conn: Connection, source: Source, *, stops: bool) -> None:
        self.conn, self.source, self.stops = conn, source, stops
        self.name = source.table.name
        self.problems: dict[int, Problem] = {}
        self.rows = 0

    def stage(self, report: Report) -> None:
        """Copy the rows whose cells are right into the incoming table."""
        columns = ["number", *(column.name for column in self.source.columns)]
        load.stage(self.conn, self.name, columns, self._good_rows(report))
        self.rows += self.source.misshapen

    def _good_rows(self, report: Report) -> Iterator[pa.RecordBatch]:
        for cells in self.source.batches(lambda done: report(f"read {self.name}", done)):
            batch, problems = check_batch(cells, self.source.columns)
            self.problems |= {self.rows + place: each for place, each in problems.items()}
            self._stop_at_problem()
            numbers = np.arange(self.rows, self.rows + len(batch))
            self.rows += len(batch)
            batch = batch.add_column(0, "number", pa.array(numbers))
            if problems:
                batch = batch.take(np.delete(np.arange(len(batch)), list(problems)))
            yield batch
        self._stop_at_problem()

    def _stop_at_problem(self) -> None:
        if self.stops and (self.problems or self.source.misshapen):
            first = next(locate(self.source, self.problems))
            raise BadRowError(f"{first}; nothing was imported (--skip-bad would import the rest)")

    def merge(self, report: Report) -> Imported:
        """Write the incoming rows that agree with all others."""
        report(f"write {self.name}", 0.0)
        present = {column.name for column in self.source.columns}
        absent = [c.name for c in self.source.table.all_columns if c.name not in present]
        load.complete(self.conn, self.name, absent)
        for rejected in load.reject(self.conn, self.name):
            self.problems[rejected.number] = Problem(rejected.columns, rejected.wrong)
            self._stop_at_problem()
        doubts = tuple(
            Doubt(self.source, doubted)
            for doubted in load.doubt(self.conn, self.name)
            if present.issuperset(doubted.columns)  # else it is what the database has
        )
        merged = load.merge(self.conn, self.name)
        report(f"write {self.name}", 1.0)
        return Imported(
            file=self.source.path.name,
            rows=self.rows,
            added=merged.added,
            updated=merged.updated,
            bad=len(self.problems) + self.source.misshapen,
            doubts=doubts,
        )


@dataclass(frozen=True)
class Exported:
    """A file that an export wrote."""

    file: str
    rows: int


def export_folder(
    conn: Connection, folder: Path, ending: str, report: Report, *, force: bool = False
) -> list[Exported]:
    """Write the database as a folder of the format: equal databases give equal files.

    Args:
        conn: A connection in a transaction that has read nothing yet.
        folder: Where to; made if it does not exist.
        ending: One of ``format.ENDINGS``.
        report: Is told the progress.
        force: Write over, or remove, the files of an earlier export.

    Returns:
        What was written, in the format's order.

    Raises:
        BadFileError: The folder has files of the format, or cannot be written.
        MigrationsMissingError: The tables are not those of this version.
    """
    dump.begin_snapshot(conn)
    require_migrations(conn)
    earlier = [path for table in FORMAT for path in table_files(folder, table)]
    if earlier and not force:
        names = ", ".join(path.name for path in earlier)
        raise BadFileError(f"{folder} has {names} already; name another folder, or add --force")
    written: dict[Path, Exported] = {}
    with _writing(folder):
        # In the same folder, for only then is a move the matter of an instant.
        with TemporaryDirectory(dir=folder, prefix=".export-") as temporary:
            for table in FORMAT:
                path = Path(temporary) / f"{table.name}{ending}"
                rows = _write_table(conn, table, path, report)
                if rows is not None:
                    written[path] = Exported(path.name, rows)
            for path in written:
                path.replace(folder / path.name)
        for path in earlier:
            if path.name not in {each.file for each in written.values()}:
                path.unlink()
    return list(written.values())


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Have a folder to write to; where there was none, leave none if the block raises."""
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException as error:
        for path in made:
            with suppress(OSError):  # it could not be made, or somebody else has put a file there
                path.rmdir()
        if isinstance(error, OSError):
            reason = error.strerror or error
            raise BadFileError(
                f"{folder} cannot be written: {reason}; name another folder"
            ) from error
        raise


def _write_table(conn: Connection, table: Table, path: Path, report: Report) -> int | None:
    """Write a file, unless it may be left out; return its number of rows."""
    phase = f"write {table.name}"
    report(phase, 0.0)
    rows, used = dump.survey(conn, table.name, [column.name for column in table.optional])
    if not rows and not table.core:
        report(phase, 1.0)
        return None
    columns = [column.name for column in table.columns] + used
    lines = _told(dump.copy_out(conn, table.name, columns), rows, phase, report)
    if path.suffix == ".parquet":
        plain = path.with_suffix(".csv")
        _write_lines(plain, lines)
        _write_parquet(CsvSource(plain, table), path)
        plain.unlink()
    else:
        _write_lines(path, lines)
    report(phase, 1.0)
    return rows


def _told(lines: Iterable[bytes], rows: int, phase: str, report: Report) -> Iterator[bytes]:
    for number, line in enumerate(lines):
        if number % 10_000 == 0:
            report(phase, number / (rows + 1))
        yield line


def _write_lines(path: Path, lines: Iterable[bytes]) -> None:
    with path.open("wb") as file:
        if path.suffix == ".gz":
            # Neither name nor date goes into the file: equal rows, equal bytes.
            with gzip.GzipFile("", "wb", 6, file, mtime=0) as packed:
                packed.writelines(lines)
        else:
            file.writelines(lines)
        file.flush()
        os.fsync(file.fileno())  # on the disk before it gets its name


def _write_parquet(source: CsvSource, path: Path) -> None:
    """Rewrite a CSV of ours as Parquet, typed."""
    schema = pa.schema([(column.name, column.kind.arrow) for column in source.columns])
    with path.open("wb") as file:
        with pq.ParquetWriter(file, schema) as writer:
            for cells in source.batches(lambda _: None):
                batch, problems = check_batch(cells, source.columns)
                if problems:  # a table of ours may hold what a file may not, a very long tag
                    worst = next(locate(source, problems))
                    raise BadFileError(f"{path.name} cannot be written: {worst}")
                writer.write_batch(batch)
        file.flush()
        os.fsync(file.fileno())  # on the disk before it gets its name
