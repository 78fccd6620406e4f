"""Time the phases of a recompute on simulated cities of several sizes.

    python backend/benchmarks/recompute.py [USERS×EVENTS]...

Each size gets a database of its own on the embedded PostgreSQL, and a process of its own, so that
its peak memory is its own. Times are wall-clock seconds of one run.
"""

import json
import os
import platform
import resource
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import psycopg
from alembic import command
from psycopg import sql

from eventlink.config import PROJECT_ROOT, revision, settings
from eventlink.db.embedded import embedded_url
from eventlink.db.session import alembic_config, transaction
from eventlink.importers.simulation import simulate_into_database
from eventlink.recsys.options import TrainOptions
from eventlink.recsys.progress import silent
from eventlink.recsys.simulation import SimulationOptions
from eventlink.services.recompute import Request, recompute

SIZES = ("2000×200", "10000×1000", "100000×5000")
DAYS = 60
PHASES = {
    "read": "reading the database",
    "forecast": "forecasting demand",
    "features": "replaying days",
    "fit": "fitting",
    "rank": "ranking users",
    "publish": "publishing",
}


class Stopwatch:
    """A progress report that keeps when each phase began and ended."""

    def __init__(self) -> None:
        self.begun: dict[str, float] = {}
        self.ended: dict[str, float] = {}

    def __call__(self, phase: str, done: float) -> None:
        """Note that a phase goes on."""
        self.begun.setdefault(phase, time.perf_counter())
        self.ended[phase] = time.perf_counter()
        del done


def main() -> None:
    """Run each size in a process of its own and print a table."""
    sizes = sys.argv[1:] or SIZES
    os.environ.pop("DATABASE_URL", None)
    os.environ.setdefault("EVENTLINK_DATA_DIR", str(PROJECT_ROOT / ".eventlink" / "bench"))
    server = embedded_url(Path(os.environ["EVENTLINK_DATA_DIR"]))
    machine = platform.processor() or platform.machine()
    print(f"{machine}, {os.cpu_count()} cores, revision {revision()[:12]}")
    columns = ("simulate", *PHASES, "total", "peak MB")
    print(f"{'users × events':>16} {'live':>6} " + " ".join(f"{name:>9}" for name in columns))
    for size in sizes:
        name = f"bench_{size.replace('×', '_')}"
        with psycopg.connect(server, autocommit=True) as conn:
            identifier = sql.Identifier(name)
            conn.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(identifier))
            conn.execute(sql.SQL("CREATE DATABASE {}").format(identifier))
        url = server.replace("/postgres?", f"/{name}?")
        done = subprocess.run(  # noqa: S603 (this very file)
            [sys.executable, __file__, "--one", size],
            env={**os.environ, "DATABASE_URL": url},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        row = json.loads(done.stdout.splitlines()[-1])
        cells = " ".join(f"{row[name]:9.1f}" for name in columns)
        print(f"{size:>16} {row['live']:6d} {cells}", flush=True)


def one(size: str) -> None:
    """Simulate a city of a size, recompute once, print the figures as JSON."""
    users, live = (int(part) for part in size.split("×"))
    command.upgrade(alembic_config(), "head")
    now = datetime.now(UTC)
    # A simulated event is live about as long before its start as the days span / 4.
    options = SimulationOptions(
        until=now.timestamp(), users=users, events=live * 4, days=DAYS, impressions=False
    )
    begin = time.perf_counter()
    with transaction() as conn:
        simulate_into_database(conn, options, np.random.default_rng(0), silent, replace=True)
    simulated = time.perf_counter() - begin
    watch = Stopwatch()
    begin = time.perf_counter()
    request = Request(now=now, as_of=now, options=TrainOptions(), folds=0)
    result = recompute(request, watch)
    row = {
        name: watch.ended.get(phase, 0.0) - watch.begun.get(phase, 0.0)
        for name, phase in PHASES.items()
    }
    peak = max(
        resource.getrusage(who).ru_maxrss
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    row |= {"simulate": simulated, "total": time.perf_counter() - begin, "peak MB": peak / 1024}
    print(json.dumps({**row, "live": result.events}))


if __name__ == "__main__":
    settings.cache_clear()
    if sys.argv[1:2] == ["--one"]:
        one(sys.argv[2])
    else:
        main()
