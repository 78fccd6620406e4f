"""Time the phases of a nightly recompute on cities of several sizes, each beside its floor.

    python backend/benchmarks/recompute.py [USERS×EVENTS]...

A size gets a database of its own on the embedded PostgreSQL, which is kept for the next time; every
run gets a process of its own. Times are wall-clock seconds of one run, memory is the most that all
its processes had together. Everything measured so far is written to ``RESULTS.md``.

What does not live here: the city (``city``), the floors (``floors``) and the tables (``results``).
"""

import json
import os
import platform
import resource
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import city
import floors
import numpy as np
import psycopg
import results
from alembic import command
from psycopg import sql

from eventlink.config import PROJECT_ROOT, revision
from eventlink.db.embedded import embedded_url
from eventlink.db.session import alembic_config, libpq_url
from eventlink.recsys.options import TrainOptions
from eventlink.services.recompute import Request, recompute

SIZES = ("10000×1000", "10000×5000", "100000×1000", "100000×5000")
MODELS = ("linear", "trees")
NOW = datetime(2026, 9, 21, 14, 13, 20, tzinfo=UTC)
"""Of every city, so that a database can be used again."""
PHASES = {
    "reading the database": "read",
    "forecasting demand": "forecast",
    "replaying days": "features",
    "fitting": "fit",
    "ranking users": "rank",
    "publishing": "publish",
}


class Stopwatch:
    """A progress report that gives each phase the time since the one before it ended."""

    def __init__(self) -> None:
        self.begin = time.perf_counter()
        self.ended: dict[str, float] = {}

    def __call__(self, phase: str, done: float) -> None:
        """Note that a phase goes on."""
        del done
        if phase in PHASES:
            self.ended[PHASES[phase]] = time.perf_counter()

    def seconds(self) -> dict[str, float]:
        """Return what each phase took; together they are all the time until the last one ended."""
        ends = sorted(self.ended.items(), key=lambda item: item[1])
        begins = [self.begin, *(end for _, end in ends)]
        return {name: end - begin for (name, end), begin in zip(ends, begins, strict=False)}


def main() -> None:
    """Run each size with each model, and its floors; write what was measured."""
    sizes = sys.argv[1:] or SIZES
    os.environ.pop("DATABASE_URL", None)
    os.environ.setdefault("EVENTLINK_DATA_DIR", str(PROJECT_ROOT / ".eventlink" / "bench"))
    folder = Path(os.environ["EVENTLINK_DATA_DIR"])
    server = embedded_url(folder)
    for size in sizes:
        url = _database(server, size)
        for model in MODELS:
            row = _run(["--one", size, model], url)
            results.keep(folder, {**_about(size), "model": model, **row})
        results.keep(folder, {**_about(size), "model": "floor", **_run(["--floor", size], url)})
        results.write(folder)
    print(results.RESULTS.read_text(encoding="utf-8"))


def _about(size: str) -> dict[str, str]:
    name = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            name = line.partition(":")[2].strip()
            break
    machine = f"{name}, {os.cpu_count()} cores"
    return {"size": size, "machine": machine, "revision": revision()[:12]}


def _numbers(size: str) -> tuple[int, int]:
    users, live = size.split("×")
    return int(users), int(live)


def _database(server: str, size: str) -> str:
    """Make the database of a size, unless it is there from an earlier time; return its address."""
    name = f"city_{size.replace('×', '_')}"
    with psycopg.connect(server, autocommit=True) as conn:
        there = conn.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone()
        if there is None:
            conn.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    url = server.replace("/postgres?", f"/{name}?")
    _run(["--load", size], url)
    return url


def _run(arguments: list[str], url: str) -> dict[str, float]:
    """Run this file in a process of its own; return what it prints, and its peak memory."""
    with subprocess.Popen(  # noqa: S603 (this very file)
        [sys.executable, __file__, *arguments],
        env={**os.environ, "DATABASE_URL": url},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        peak = [0.0]
        threading.Thread(target=_watch, args=(process, peak), daemon=True).start()
        printed, _ = process.communicate()
    if process.returncode:
        raise SystemExit(process.returncode)
    found: dict[str, float] = json.loads(printed.splitlines()[-1])
    return {**found, "peak MB": peak[0]}


def _watch(process: subprocess.Popen[str], peak: list[float]) -> None:
    """Note the most memory that a process and its children have; shared pages count once."""
    while process.poll() is None:
        peak[0] = max(peak[0], sum(_megabytes(pid) for pid in _family(process.pid)))
        time.sleep(1.0)


def _family(pid: int) -> list[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    except OSError:
        return []
    return [pid, *(grandchild for child in children for grandchild in _family(int(child)))]


def _megabytes(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def load(size: str) -> dict[str, float]:
    """Bring a database to this version, and fill it if it is empty."""
    command.upgrade(alembic_config(), "head")
    with psycopg.connect(libpq_url()) as conn:
        if conn.execute("SELECT id FROM users LIMIT 1").fetchone():
            return {}
    begin = time.perf_counter()
    users, live = _numbers(size)
    city.load(libpq_url(), city.tables(users, live, NOW.timestamp(), np.random.default_rng(0)))
    return {"load": time.perf_counter() - begin}


def one(model: str) -> dict[str, float]:
    """Recompute once, as every night: train, rank and publish everybody."""
    watch = Stopwatch()
    request = Request(now=NOW, as_of=NOW, options=TrainOptions(model=model), folds=0)
    result = recompute(request, watch)
    total = time.perf_counter() - watch.begin
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    busy = sum(used.ru_utime + used.ru_stime for used in usage)
    return {**watch.seconds(), "total": total, "cpu": busy, "users": result.published}


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--load", size]:
            print(json.dumps(load(size)))
        case ["--one", _, model]:
            print(json.dumps(one(model)))
        case ["--floor", size]:
            print(json.dumps(floors.measure(libpq_url(), *_numbers(size))))
        case _:
            main()
