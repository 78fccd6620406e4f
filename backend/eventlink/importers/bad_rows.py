"""Bad rows, quoted: where they stand, what is wrong, and the file that lists them.

What does not live here: finding out that they are bad (``cells``, ``db.interchange``).
"""

import csv
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from eventlink.errors import BadFileError
from eventlink.importers.cells import Problem
from eventlink.importers.sources import Row, Source

LONGEST_QUOTE = 80
"""Characters of a value that a message shows."""


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be taken."""

    file: str
    counted_in: str
    """What ``line`` counts: ``line`` or ``row``."""
    line: int
    columns: str
    """Comma-separated; empty where the whole row is wrong."""
    problem: str
    raw: str

    def __str__(self) -> str:
        place = f"{self.file}, {self.counted_in} {self.line}"
        if self.columns:
            noun = "columns" if "," in self.columns else "column"
            place += f", {noun} {self.columns}"
        return f"{place}: {self.problem}"


def locate(source: Source, problems: Mapping[int, Problem]) -> Iterator[BadRow]:
    """Read a file once more for what the fast reading does not know: lines and raw values.

    Args:
        source: The file.
        problems: Its bad rows by number, from 0 and not counting the misshapen ones.

    Yields:
        Those and the misshapen ones, in the file's order.
    """
    number = 0
    for row in source.rows():
        if row.misshapen:
            yield BadRow(source.path.name, source.counted_in, row.line, "", row.misshapen, row.raw)
            continue
        if number in problems:
            yield _bad_row(source, row, problems[number])
        number += 1


def _bad_row(source: Source, row: Row, problem: Problem) -> BadRow:
    value = ", ".join(row.cells.get(column, "") for column in problem.columns)
    if len(value) > LONGEST_QUOTE:
        value = value[:LONGEST_QUOTE] + "…"
    # JSON's spelling keeps it on one line.
    quoted = f"{json.dumps(value, ensure_ascii=False)} " if value else ""
    return BadRow(
        source.path.name,
        source.counted_in,
        row.line,
        ", ".join(problem.columns),
        quoted + problem.wrong,
        row.raw,
    )


def require_writable(path: Path) -> None:
    """Check that a file can be made, before the work that it is to report of.

    Args:
        path: The file.

    Raises:
        BadFileError: It cannot be.
    """
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise BadFileError(
            f"the bad rows cannot be written to {path}; name another file with --bad-rows"
        )


def write_bad_rows(path: Path, rows: Iterable[BadRow]) -> None:
    """Write the list of bad rows, over an earlier one.

    Args:
        path: A CSV file with the columns file, line, column, problem and row (the raw text).
        rows: What to write.

    Raises:
        BadFileError: The file cannot be written.
    """
    try:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["file", "line", "column", "problem", "row"])
            for row in rows:
                writer.writerow([row.file, row.line, row.columns, row.problem, row.raw])
    except OSError as error:
        raise BadFileError(
            f"the bad rows cannot be written to {path}: {error.strerror}; nothing was imported"
        ) from error
