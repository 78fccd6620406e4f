"""Time refreshes of single users and of batches, and how soon a new event reaches everybody.

    python backend/benchmarks/refresh.py [USERS×EVENTS]

The city gets a database of its own on the embedded PostgreSQL. Beside each figure stands its
floor on the same machine in the same run: one select and one upsert of rankings of the same length.
"""

import os
import platform
import resource
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import psycopg
from alembic import command
from city import load, tables
from psycopg import sql

from eventlink.config import PROJECT_ROOT, revision, settings
from eventlink.db.embedded import embedded_url
from eventlink.db.refreshes import mark_for_refresh
from eventlink.db.session import alembic_config, transaction
from eventlink.recsys.options import TrainOptions
from eventlink.services.recompute import Request, recompute
from eventlink.services.refresh import BATCH, Refresher

SIZE = "20000×10000"
SINGLES = 200
MOST_MARKED = 12_800

UPSERT = """
INSERT INTO recommendation_overlay
       (user_id, model_version, generated_at, event_ids, scores, reasons)
SELECT user_id, 'floor', '-infinity', event_ids, scores, array_fill('popular'::text, ARRAY[50])
  FROM recommendation_lists
 WHERE user_id = ANY(%s) AND generation = (SELECT generation FROM recommendation_serving)
    ON CONFLICT (user_id) DO UPDATE
   SET event_ids = excluded.event_ids, scores = excluded.scores, reasons = excluded.reasons
"""
MARK = """
INSERT INTO recommendation_refreshes AS held (user_id, sequence, due_at)
SELECT unnest(%s::bigint[]), 1, now()
    ON CONFLICT (user_id) DO UPDATE SET sequence = held.sequence + 1, due_at = now()
"""


def main() -> None:
    """Make the city, publish once, and print one figure a line."""
    size = (sys.argv[1:] or [SIZE])[0]
    users, live = (int(part) for part in size.split("×"))
    url = _database(f"bench_refresh_{users}_{live}")
    os.environ["DATABASE_URL"] = url
    settings.cache_clear()
    command.upgrade(alembic_config(), "head")
    rng, now = np.random.default_rng(0), datetime.now(UTC)
    load(url, tables(users, live, now.timestamp(), rng))
    recompute(Request(now=now, as_of=now, options=TrainOptions(), folds=0))
    machine = platform.processor() or platform.machine()
    print(f"{machine}, {os.cpu_count()} cores, revision {revision()[:12]}, {size}")

    refresher = Refresher()
    print(f"load everything: {_timed(lambda: _drain(refresher)):.1f} s")
    with psycopg.connect(url, autocommit=True) as conn:
        rows = conn.execute("SELECT id FROM users WHERE role = 'student' ORDER BY id").fetchall()
        ids = rng.permutation([user_id for (user_id,) in rows])
        singles = [_one(refresher, int(user_id)) for user_id in ids[:SINGLES]]
        floors = [_timed(lambda i=i: _floor(conn, [int(i)])) for i in ids[:SINGLES]]
        _print_percentiles("one user", singles)
        _print_percentiles("  floor", floors)
        some = ids[:MOST_MARKED].tolist()
        conn.execute(MARK, (some,))
        print(f"batches of {BATCH}: {len(some) / _timed(lambda: _drain(refresher)):.0f} users/s")
        parts = [some[i : i + BATCH] for i in range(0, len(some), BATCH)]
        floor = _timed(lambda: [_floor(conn, part) for part in parts])
        print(f"  floor: {len(some) / floor:.0f} users/s")
        _new_event(conn, refresher, int(ids[0]))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"peak memory: {peak / 1024:.0f} MB")


def _database(name: str) -> str:
    os.environ.pop("DATABASE_URL", None)
    os.environ.setdefault("EVENTLINK_DATA_DIR", str(PROJECT_ROOT / ".eventlink" / "bench"))
    server = embedded_url(Path(os.environ["EVENTLINK_DATA_DIR"]))
    with psycopg.connect(server, autocommit=True) as conn:
        identifier = sql.Identifier(name)
        conn.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(identifier))
        conn.execute(sql.SQL("CREATE DATABASE {}").format(identifier))
    return server.replace("/postgres?", f"/{name}?")


def _timed(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def _drain(refresher: Refresher) -> int:
    count = 0
    while done := refresher.refresh_due(datetime.now(UTC)):
        count += done
    return count


def _one(refresher: Refresher, user_id: int) -> float:
    with transaction() as conn:
        mark_for_refresh(conn, user_id, 0)
    return _timed(lambda: refresher.refresh_due(datetime.now(UTC)))


def _floor(conn: psycopg.Connection[tuple[object, ...]], user_ids: list[int]) -> None:
    conn.execute("SELECT * FROM users WHERE id = ANY(%s)", (user_ids,)).fetchall()
    conn.execute(UPSERT, (user_ids,))


def _new_event(
    conn: psycopg.Connection[tuple[object, ...]], refresher: Refresher, user_id: int
) -> None:
    """Publish a copy of a popular event; time a user who is marked again and again meanwhile."""
    conn.execute(
        "INSERT INTO events (id, title, category, city, venue, lat, lon, owner_id, start_time,"
        " status) SELECT (SELECT max(id) + 1 FROM events), title, category, city, venue, lat, lon,"
        " owner_id, start_time, status FROM events"
        "  WHERE id = (SELECT event_ids[1] FROM recommendation_lists LIMIT 1)"
    )
    begin = time.perf_counter()
    latest = [_one(refresher, user_id)]
    while any(thread.name == "load" for thread in threading.enumerate()):
        latest.append(_one(refresher, user_id))
    loaded = time.perf_counter() - begin
    renewed = _drain(refresher)
    done = time.perf_counter() - begin
    _print_percentiles("one user while events are loaded anew", latest)
    print(f"a new event: known after {loaded:.1f} s, {renewed} rankings renewed by {done:.1f} s")


def _print_percentiles(name: str, seconds: list[float]) -> None:
    median, p95 = np.percentile(seconds, [50, 95]) * 1e3
    print(f"{name}: median {median:.1f} ms, p95 {p95:.1f} ms")


if __name__ == "__main__":
    main()
