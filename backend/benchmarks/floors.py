"""What the same work costs at least: the bare operations, without anything of this project's.

What does not live here: the work itself (``recompute``).
"""

import time
from collections.abc import Callable

import numpy as np
import psycopg
from implicit.cpu.topk import topk

from eventlink.db.binary_copy import HEADER, TRAILER, encode_lists

DIMENSIONS = 64
LENGTH = 50
MOST_USERS = 100_000
"""More are not multiplied: the rest would take as long in proportion."""
USERS_A_BLOCK = 512
TABLES = (
    "users",
    "events",
    "event_tags",
    "user_interest_tags",
    "user_followed_organizers",
    "registrations",
    "event_interactions",
)


def measure(url: str, users: int, events: int) -> dict[str, float]:
    """Time the floors of one size.

    Args:
        url: Of the size's database.
        users: Number of users.
        events: Number of live events.

    Returns:
        Name to seconds: ``select`` reads all rows by binary COPY, ``numpy`` multiplies users by
        events in 64 dimensions and partitions out the best 50, ``implicit`` does that with its
        own code, ``copy`` writes as many lists of 50 as are published.
    """
    return {
        "select": _seconds(lambda: _select(url)),
        **_products(users, events),
        "copy": _seconds(lambda: _copy(url, users)),
    }


def _seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def _select(url: str) -> None:
    with psycopg.connect(url) as conn:
        for table in TABLES:
            with conn.cursor().copy(f"COPY {table} TO STDOUT (FORMAT binary)") as rows:
                for _ in rows:
                    pass


def _products(users: int, events: int) -> dict[str, float]:
    rng = np.random.default_rng(0)
    some = min(users, MOST_USERS)
    left = rng.standard_normal((some, DIMENSIONS), np.float32)
    right = rng.standard_normal((events, DIMENSIONS), np.float32)

    def plain() -> None:
        for begin in range(0, some, USERS_A_BLOCK):
            scores = left[begin : begin + USERS_A_BLOCK] @ right.T
            np.argpartition(scores, -LENGTH, axis=1)

    peers = {"numpy": plain, "implicit": lambda: topk(right, left, LENGTH, num_threads=0)}
    return {name: _seconds(work) * users / some for name, work in peers.items()}


def _copy(url: str, users: int) -> None:
    n = 1000
    ids = np.tile(np.arange(LENGTH, dtype=np.int64), (n, 1))
    rows = encode_lists(
        1,
        np.arange(n, dtype=np.int64),
        np.full(n, LENGTH),
        ids,
        np.zeros(ids.shape, np.float32),
        np.ones(ids.shape, np.int32),
        ids,
    )
    with psycopg.connect(url) as conn:
        conn.execute("CREATE TABLE floor_lists (LIKE recommendation_lists)")
        with conn.cursor().copy("COPY floor_lists FROM STDIN (FORMAT binary, FREEZE)") as copy:
            copy.write(HEADER)
            for _ in range(max(users // n, 1)):
                copy.write(rows)
            copy.write(TRAILER)
        conn.rollback()
