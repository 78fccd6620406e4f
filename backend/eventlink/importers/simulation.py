"""A simulated city into the database or into files of the interchange format.

What does not live here: the city (``services.simulate``) and the format's own rules (``format``,
``interchange``).
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
from sqlalchemy import Connection

from eventlink.db.interchange.load import lock
from eventlink.db.recommendations import keep_recomputes_out
from eventlink.db.session import require_migrations
from eventlink.errors import BadFileError
from eventlink.importers.format import FORMAT
from eventlink.importers.interchange import Imported, import_folder
from eventlink.importers.sources import table_files
from eventlink.recsys.progress import Report
from eventlink.recsys.simulation import SimulationOptions
from eventlink.services.simulate import require_empty, simulate


def simulate_into_database(
    conn: Connection,
    options: SimulationOptions,
    rng: np.random.Generator,
    report: Report,
    *,
    replace: bool = False,
) -> list[Imported]:
    """Simulate a city and load it as an import would.

    Args:
        conn: A connection in a transaction, which the caller ends.
        options: The city's size and time.
        rng: The source of chance.
        report: Is told the progress.
        replace: Delete all that is there first.

    Returns:
        What became of each table.

    Raises:
        MigrationsMissingError: The tables are not those of this version.
        NotEmptyError: There are rows and they are not to be replaced.
        RecomputeRunningError: All is to be replaced, and a recompute is running.
    """
    require_migrations(conn)
    if replace:
        keep_recomputes_out(conn)  # before minutes are spent on a city
    else:
        require_empty(conn)
    with TemporaryDirectory(prefix="eventlink-") as folder:
        for name, table in simulate(options, rng, report).items():
            pq.write_table(table, Path(folder) / f"{name}.parquet")
        if not replace:
            lock(conn)
            require_empty(conn)  # others had minutes to come first
        return import_folder(conn, Path(folder), _as_one(report), replace=replace)


def _as_one(report: Report) -> Report:
    """Report an import as one phase: whoever makes a city need not know its tables."""
    ended: set[str] = set()

    def told(phase: str, done: float) -> None:
        if done >= 1:
            ended.add(phase)
        report("storing the city", min(len(ended) / (2 * len(FORMAT)), 1.0))  # read and written

    return told


def simulate_into_folder(
    folder: Path,
    options: SimulationOptions,
    rng: np.random.Generator,
    report: Report,
    *,
    replace: bool = False,
) -> dict[str, int]:
    """Simulate a city and write it as ``TABLE.csv.gz`` files; no database is asked.

    Args:
        folder: Where to; made if it does not exist.
        options: The city's size and time.
        rng: The source of chance.
        report: Is told the progress.
        replace: Remove the files of the format that are there first.

    Returns:
        The number of rows by file name.

    Raises:
        BadFileError: The folder has files of the format, or cannot be written.
    """
    earlier = [path for table in FORMAT for path in table_files(folder, table)]
    if earlier and not replace:
        names = ", ".join(path.name for path in earlier)
        raise BadFileError(f"{folder} has {names} already; name another folder, or add --replace")
    written = {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tables = simulate(options, rng, report)
        for path in earlier:
            path.unlink()
        for name, table in tables.items():
            report(f"write {name}", 0.0)
            _write_csv(table, folder / f"{name}.csv.gz")
            written[f"{name}.csv.gz"] = len(table)
            report(f"write {name}", 1.0)
    except OSError as error:
        raise BadFileError(
            f"{folder} cannot be written: {error.strerror or error}; name another folder"
        ) from error
    return written


def _write_csv(table: pa.Table, path: Path) -> None:
    for i, field in enumerate(table.schema):
        if pa.types.is_timestamp(field.type):
            # Every instant of a simulation is a whole second.
            seconds = table[field.name].cast(pa.timestamp("s"))
            spelled = pc.strftime(seconds, format="%Y-%m-%dT%H:%M:%SZ")
            table = table.set_column(i, field.name, spelled)
    with pa.CompressedOutputStream(str(path), "gzip") as stream:
        pyarrow.csv.write_csv(table, stream)
