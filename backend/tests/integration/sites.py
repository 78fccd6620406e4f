"""Sites to test on, made by plain SQL, and what a test asks of a database again and again.

What does not live here: simulated cities, which ``conftest`` makes once for all tests.
"""

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import psycopg
import pyarrow as pa
from psycopg import sql

from eventlink.db.keys import Keys
from eventlink.db.recommendations import Lists
from eventlink.recsys.options import TrainOptions
from eventlink.recsys.ranking import Rankings
from eventlink.recsys.reasons import CODES
from eventlink.services.recompute import Request, Result, recompute

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)

Row = tuple[Any, ...]


@dataclass(frozen=True)
class Site:
    """A database to put rows into; each call is a transaction."""

    address: str

    def run(self, statement: str, *values: Any) -> list[Row]:
        with psycopg.connect(self.address, autocommit=True) as conn:
            cursor = conn.execute(statement, values)
            return cursor.fetchall() if cursor.description else []

    def add(self, table: str, *rows: dict[str, Any]) -> None:
        with psycopg.connect(self.address) as conn:
            for row in rows:
                statement = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
                    sql.Identifier(table),
                    sql.SQL(", ").join(map(sql.Identifier, row)),
                    sql.SQL(", ").join(sql.Placeholder() * len(row)),
                )
                conn.execute(statement, list(row.values()))

    def users(self, *ids: int, **columns: Any) -> None:
        self.add("users", *({"id": i, "created_at": NOON - 90 * DAY, **columns} for i in ids))

    def event(self, event_id: int, tags: tuple[int, ...] = (), **columns: Any) -> None:
        """Add an event that everybody may be shown, unless ``columns`` say otherwise."""
        usual = {
            "id": event_id,
            "title": f"Event {event_id}",
            "start_time": NOON + 2 * DAY,
            "created_at": NOON - 5 * DAY,
            "status": "published",
        }
        self.add("events", usual | columns)
        if tags:
            self.add("event_tags", *({"event_id": event_id, "tag_id": tag} for tag in tags))

    def registration(self, user_id: int, event_id: int, **columns: Any) -> None:
        usual = {"user_id": user_id, "event_id": event_id, "registered_at": NOON - DAY}
        self.add("registrations", usual | columns)

    def rankings(self) -> dict[int, list[Row]]:
        """Return every user's (event_id, score), best first, as the view gives them."""
        found: dict[int, list[Row]] = defaultdict(list)
        for user_id, *row in self.run(
            "SELECT user_id, event_id, score FROM user_recommendations ORDER BY user_id, rank"
        ):
            found[user_id].append(tuple(row))
        return dict(found)

    def events_of(self, user_id: int) -> list[int]:
        """Return the events that a user is recommended, best first."""
        return [event_id for event_id, _ in self.rankings().get(user_id, [])]

    def contents(self) -> dict[str, Row]:
        """Return every table, partitions too, with its number of rows and their checksum."""
        checksum = "SELECT count(*), md5(string_agg(t::text, ',' ORDER BY t::text)) FROM {} AS t"
        with psycopg.connect(self.address, autocommit=True) as conn:
            tables = conn.execute(
                "SELECT relname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace"
                " WHERE nspname = 'public' AND relkind IN ('r', 'p', 'v') ORDER BY relname"
            ).fetchall()
            return {
                name: conn.execute(sql.SQL(checksum).format(sql.Identifier(name))).fetchall()[0]
                for (name,) in tables
            }

    def generations(self) -> tuple[list[int], list[int], list[int]]:
        """Return the numbers of generations: those with a row, with a table, and attached ones."""
        rows = self.run("SELECT generation FROM recommendation_generations ORDER BY 1")
        tables = self.run(
            "SELECT ltrim(relname, 'recommendation_lists_g')::int AS number, inhparent IS NOT NULL"
            "  FROM pg_class LEFT JOIN pg_inherits ON inhrelid = pg_class.oid"
            " WHERE relkind = 'r' AND relname ~ '^recommendation_lists_g[0-9]+$' ORDER BY 1"
        )
        return (
            [number for (number,) in rows],
            [number for number, _ in tables],
            [number for number, attached in tables if attached],
        )

    def serving(self) -> tuple[int, int | None]:
        """Return the generation that serves, and the one kept."""
        return self.run("SELECT generation, previous_generation FROM recommendation_serving")[0]


def eventually(holds: Callable[[], object], seconds: float = 30) -> bool:
    """Wait until something holds, and tell whether it came to."""
    deadline = time.monotonic() + seconds
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.01)
    return bool(holds())


def a_small_site(address: str) -> Site:
    """Make three students, two organizers with an event each, and one registration.

    Student 1 follows organizer 11, student 2 likes jazz, student 3 goes to event 100.
    """
    site = Site(address)
    site.users(1, 2, 3)
    site.users(10, 11, role="organizer")
    site.add("tags", {"id": 1, "name": "jazz"}, {"id": 2, "name": "chess"})
    site.event(100, tags=(1,), owner_id=10)
    site.event(101, tags=(2,), owner_id=11)
    site.add(
        "user_followed_organizers",
        {"user_id": 1, "organizer_id": 11, "created_at": NOON - 20 * DAY},
    )
    site.add("user_interest_tags", {"user_id": 2, "tag_id": 1, "created_at": NOON - 20 * DAY})
    site.registration(3, 100)
    return site


def lists_of(ranked: dict[int, list[int]], scores: list[float] | None = None) -> Lists:
    """Make lists to publish, without a ranker.

    Args:
        ranked: A user's id to the ids of events, best first.
        scores: By place; falling from 0.9 if None.
    """
    keys = Keys(
        users=np.array(sorted(ranked), np.int64),
        events=np.array(sorted({e for events in ranked.values() for e in events}), np.int64),
        organizers=np.zeros(0, np.int64),
        tags=np.zeros(0, np.int64),
        **dict.fromkeys(
            ("tag_names", "cities", "categories", "languages"), pa.array([], pa.string())
        ),
    )
    length = max(map(len, ranked.values()))
    columns = np.full((len(ranked), length), -1, np.int32)
    for place, user in enumerate(keys.users.tolist()):
        columns[place, : len(ranked[user])] = np.searchsorted(keys.events, ranked[user])
    by_place = np.linspace(0.9, 0.1, length) if scores is None else np.array(scores)
    rankings = Rankings(
        users=np.arange(len(ranked), dtype=np.int32),
        columns=columns,
        scores=np.where(columns >= 0, by_place, 0).astype(np.float32),
        reasons=np.full(columns.shape, CODES.index("popular"), np.int32),
        arguments=np.full(columns.shape, -1, np.int32),
    )
    return Lists(rankings, np.arange(len(keys.events), dtype=np.int32), keys)


def recompute_at(as_of: datetime = NOON, now: datetime | None = None, **changes: Any) -> Result:
    """Recompute as of an instant, with few days to learn from and none to evaluate on.

    Args:
        as_of: The instant.
        now: What dates the rankings; the same instant if None.
        changes: Of the request, or of the options of the training.
    """
    options = {name: changes.pop(name) for name in list(changes) if hasattr(TrainOptions, name)}
    request = {"folds": 0, "options": TrainOptions(**{"replay_days": 7, **options})} | changes
    return recompute(Request(now=now or as_of, as_of=as_of, **request))


def rank_at(as_of: datetime = NOON, now: datetime | None = None, **changes: Any) -> Result:
    """Recompute without training, which is faster: with the active model, or the prior."""
    return recompute_at(as_of, now, skip_training=True, **changes)
