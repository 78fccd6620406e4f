"""Load the two asynchronous routes over HTTP, beside a bare one that selects a row by its key.

    python backend/benchmarks/serve.py [PROCESSES]

The bare route stands in the same application on the same pool, so that the ratio says what the
work costs and not what the machine does. Rounds take turns; what is printed are medians of them.
Client, server and PostgreSQL share the machine.
"""

import asyncio
import json
import os
import secrets
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import psycopg
import uvloop
from alembic import command
from city import load, tables
from fastapi import FastAPI, Request, Response
from psycopg import sql

from eventlink.config import PROJECT_ROOT, settings
from eventlink.db.embedded import embedded_url
from eventlink.db.session import alembic_config
from eventlink.main import create_app
from eventlink.recsys.reasons import CODES
from eventlink.services.tokens import Claims, Kind, issue

USERS, EVENTS, LENGTH = 100_000, 10_000, 50
READERS = 1_000
"""Users who ask; each has a token."""
CONNECTIONS = 16
ROUNDS, SECONDS, WARM_UP = 5, 3.0, 2.0
BATCH = 20
SECRET = "a secret of the benchmark, long enough to sign with"  # noqa: S105 (signs nothing of worth)


def app() -> FastAPI:
    """Build the application with the bare route in it."""
    made = create_app()

    @made.get("/bare/{user_id}")
    async def bare(user_id: int, request: Request) -> Response:
        async with request.app.state.pool.connection() as conn:
            cursor = await conn.execute("SELECT city FROM users WHERE id = %s", (user_id,))
            row = await cursor.fetchone()
        return Response(str(row and row[0]).encode(), media_type="application/json")

    # Not to be found last, which would cost it as much as its query.
    made.router.routes.insert(0, made.router.routes.pop())
    return made


@dataclass(frozen=True)
class Reader:
    """A user who asks."""

    user_id: int
    token: str
    organizer: str
    """The token of somebody else, who holds events."""
    events: list[dict[str, int]]


@dataclass(frozen=True)
class Round:
    """What a route did in a round."""

    a_second: float
    seconds: list[float]
    """Of each request, ascending."""

    def percentile(self, share: float) -> float:
        """Return a percentile of the time of a request, in milliseconds."""
        return 1000 * self.seconds[min(int(share * len(self.seconds)), len(self.seconds) - 1)]


# Everybody is served a stretch of one shuffled row of all live events.
LISTS = f"""
INSERT INTO recommender_models (model_version, feature_names, weights, meta)
VALUES ('benchmark', '[]', '{{}}', '{{}}');
INSERT INTO recommendation_generations (generation, model_version, generated_at, reason_names)
OVERRIDING SYSTEM VALUE VALUES (1, 'benchmark', now(), '{{{",".join(CODES)}}}');
CREATE TABLE recommendation_lists_g1 PARTITION OF recommendation_lists FOR VALUES IN (1);
INSERT INTO recommendation_lists
SELECT 1, users.id, live.ids[first : first + {LENGTH - 1}],
       array_fill(0.5::real, ARRAY[{LENGTH}]),
       ARRAY(SELECT 1 + (first + place) % {len(CODES)} FROM generate_series(1, {LENGTH}) AS place),
       array_fill(0::bigint, ARRAY[{LENGTH}])
  FROM (SELECT array_agg(id ORDER BY md5(id::text)) AS ids FROM events WHERE start_time > now())
       AS live,
       users CROSS JOIN LATERAL (
           SELECT 1 + (users.id * 7919 % (cardinality(live.ids) - {LENGTH}))::int AS first) AS own
 WHERE role = 'student';
INSERT INTO recommendation_serving (generation) VALUES (1);
"""


def prepare(url: str) -> None:
    """Make a city with a stored list for everybody but organizers."""
    command.upgrade(alembic_config(), "head")
    load(url, tables(USERS, EVENTS, time.time(), np.random.default_rng(0)))
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(LISTS)
        conn.execute("VACUUM ANALYZE")


@contextmanager
def serving(processes: int) -> Iterator[int]:
    """Run the application with uvicorn on a free port, and yield the port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = Path(__file__).parent
    options = ["--factory", "--no-access-log", "--log-level", "warning", "--port", str(port)]
    options += ["--workers", str(processes)]
    server = subprocess.Popen(  # noqa: S603 (constant words)
        [sys.executable, "-m", "uvicorn", "serve:app", "--app-dir", folder, *options],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield port
    finally:
        server.terminate()
        server.wait()


Ask = Callable[[Reader], bytes]


def bare(reader: Reader) -> bytes:
    """Write a request for a row."""
    return _request("GET", f"/bare/{reader.user_id}", reader)


def recommendations(reader: Reader) -> bytes:
    """Write a request for a list from the cache."""
    return _request("GET", "/api/recommendations", reader)


def heuristic(reader: Reader) -> bytes:
    """Write a request of an organizer, for whom no list is stored."""
    return _request("GET", "/api/recommendations", reader, token=reader.organizer)


def interactions(reader: Reader) -> bytes:
    """Write a batch: a list was seen, and one event of it clicked."""
    acts = [{"type": "impression", **event} for event in reader.events]
    acts[-1] = {**acts[-1], "type": "click"}
    named = [{**act, "client_id": secrets.token_hex(8)} for act in acts]
    body = json.dumps({"interactions": named}).encode()
    return _request("POST", "/api/analytics/interactions", reader, body)


ROUTES: tuple[Ask, ...] = (bare, recommendations, interactions, heuristic)


def _request(
    method: str, path: str, reader: Reader, body: bytes = b"", token: str | None = None
) -> bytes:
    # One address would be refused for sending so much.
    address = f"10.{reader.user_id >> 16 & 255}.{reader.user_id >> 8 & 255}.{reader.user_id & 255}"
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
        f"Authorization: Bearer {token or reader.token}\r\nX-Forwarded-For: {address}\r\n\r\n"
    )
    return head.encode() + body


async def ask(port: int, route: Ask, readers: list[Reader], seconds: float) -> Round:
    """Load a route over several connections, each with one request after the other."""
    deadline = time.perf_counter() + seconds
    taken: list[float] = []

    async def one(number: int) -> None:
        source, sink = await asyncio.open_connection("127.0.0.1", port)
        rng = np.random.default_rng([number, time.time_ns()])
        while time.perf_counter() < deadline:
            request = route(readers[rng.integers(len(readers))])
            begin = time.perf_counter()
            sink.write(request)
            await _answer(source)
            taken.append(time.perf_counter() - begin)
        sink.close()
        await sink.wait_closed()

    begin = time.perf_counter()
    await asyncio.gather(*(one(number) for number in range(CONNECTIONS)))
    return Round(len(taken) / (time.perf_counter() - begin), sorted(taken))


async def _answer(source: asyncio.StreamReader) -> bytes:
    head = await source.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
    body = await source.readexactly(length)
    if not head.startswith(b"HTTP/1.1 200 "):
        raise RuntimeError(f"{head.decode()}{body.decode()}")
    return body


async def measure(port: int) -> dict[Ask, list[Round]]:
    """Warm all routes up, then load them in turn."""
    now = datetime.now(UTC)
    live = np.random.default_rng(0).permutation(3 * EVENTS)[:BATCH] + 1
    places = [{"event_id": int(event), "position": place} for place, event in enumerate(live)]

    def token(user_id: int) -> str:
        return issue(Claims(user_id, 0), Kind.ACCESS, SECRET, now)

    readers = [
        Reader(user, token(user), token(USERS + user), places) for user in range(1, READERS + 1)
    ]
    for route in ROUTES:
        await ask(port, route, readers, WARM_UP)
    rounds: dict[Ask, list[Round]] = {route: [] for route in ROUTES}
    for _ in range(ROUNDS):
        for route in ROUTES:
            rounds[route].append(await ask(port, route, readers, SECONDS))
    return rounds


def report(rounds: dict[Ask, list[Round]]) -> None:
    """Print medians over the rounds."""
    print(f"{'route':>16} {'a second':>9} {'of bare':>8} {'p50 ms':>7} {'p95 ms':>7} {'p99 ms':>7}")
    for route, own in rounds.items():
        rates = [one.a_second for one in own]
        ratio = [one.a_second / base.a_second for one, base in zip(own, rounds[bare], strict=True)]
        times = [
            statistics.median(one.percentile(share) for one in own) for share in (0.5, 0.95, 0.99)
        ]
        cells = " ".join(f"{value:7.1f}" for value in times)
        print(
            f"{route.__name__:>16} {statistics.median(rates):9.0f}"
            f" {statistics.median(ratio):8.2f} {cells}"
        )
    stored = BATCH * statistics.median(one.a_second for one in rounds[interactions])
    print(f"interactions stored a second, in batches of {BATCH}: {stored:.0f}")


def main() -> None:
    """Prepare a database, serve, load, report."""
    processes = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    os.environ.pop("DATABASE_URL", None)
    os.environ.setdefault("EVENTLINK_DATA_DIR", str(PROJECT_ROOT / ".eventlink" / "bench"))
    server = embedded_url(Path(os.environ["EVENTLINK_DATA_DIR"]))
    name = sql.Identifier("bench_serve")
    with psycopg.connect(server, autocommit=True) as conn:
        conn.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))
        conn.execute(sql.SQL("CREATE DATABASE {}").format(name))
    url = server.replace("/postgres?", "/bench_serve?")
    os.environ |= {"DATABASE_URL": url, "ENVIRONMENT": "development", "SECRET_KEY": SECRET}
    settings.cache_clear()
    prepare(url)
    with serving(processes) as port:
        rounds = uvloop.run(measure(port))
    print(f"{os.cpu_count()} cores, {CONNECTIONS} connections, {processes} processes")
    report(rounds)


if __name__ == "__main__":
    main()
