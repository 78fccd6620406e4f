"""``eventlink import`` and ``eventlink export``."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from eventlink.cli.progress import progress
from eventlink.db.session import transaction
from eventlink.errors import InvalidOptionError
from eventlink.importers.interchange import Imported, export_folder, import_folder


class FileFormat(StrEnum):
    """What an export writes."""

    CSV = "csv"
    CSV_GZ = "csv.gz"
    PARQUET = "parquet"


def import_(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder with the files.")],
    *,
    replace: Annotated[
        bool,
        typer.Option("--replace", help="Delete all that is in the database first; do not merge."),
    ] = False,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave bad rows out, and list them in a file.")
    ] = False,
    bad_rows: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="The list that --skip-bad writes; if not given, DIR/bad-rows.csv."
        ),
    ] = None,
) -> None:
    """Load users, events and what happened from files.

    They are CSV or Parquet, and all of it is loaded or nothing. A row
    whose key is in the database updates it, any other is added. See
    docs/data-format.md.
    """
    if bad_rows is not None and not skip_bad:
        raise InvalidOptionError("--bad-rows FILE goes with --skip-bad; add it")
    listed = (bad_rows or folder / "bad-rows.csv") if skip_bad else None
    with progress() as report, transaction() as conn:
        files = import_folder(conn, folder, report, replace=replace, bad_rows=listed)
    for doubt in (doubt for file in files for doubt in file.doubts):
        doubt.warn()
    for file in files:
        typer.echo(_line(file))
    if listed is not None:
        bad = sum(file.bad for file in files)
        typer.echo(f"{bad:,} bad rows left out, see {listed}" if bad else "no bad rows")


def _line(file: Imported) -> str:
    same = file.rows - file.added - file.updated - file.bad
    counts = {"added": file.added, "updated": file.updated, "the same": same, "bad": file.bad}
    words = ", ".join(f"{count:,} {word}" for word, count in counts.items() if count)
    return f"{file.file:<30}{file.rows:>12,} rows{': ' if words else ''}{words}"


def export(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where to; made if missing.")],
    *,
    file_format: Annotated[
        FileFormat, typer.Option("--format", help="What kind of files to write.")
    ] = FileFormat.CSV_GZ,
    force: Annotated[
        bool, typer.Option("--force", help="Write over the files of an earlier export.")
    ] = False,
) -> None:
    """Write users, events and what happened to files.

    `eventlink import` reads them back. E-mail addresses, passwords,
    rankings and models are not exported. See docs/data-format.md.
    """
    with progress() as report, transaction() as conn:
        files = export_folder(conn, folder, f".{file_format}", report, force=force)
    for file in files:
        typer.echo(f"{file.file:<30}{file.rows:>12,} rows")
