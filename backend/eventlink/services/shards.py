"""Shards: everybody's rankings in pieces, each of which any machine can make alone, and make again.

What does not live here: where they are made (``services.cluster``), and how they are stored so that
making one twice does no harm (``db.recommendations``).
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from eventlink.db.dataset import load_persons
from eventlink.db.explorations import Explored, explored
from eventlink.db.keys import Ids, Keys
from eventlink.db.recommendations import Lists, fill_shard
from eventlink.db.session import connection, libpq_url, use_database
from eventlink.recsys.dataset import Floats, Ints
from eventlink.recsys.packing import Packed, pack, unpack
from eventlink.recsys.persons import Persons
from eventlink.recsys.ranking import USERS_A_BLOCK, Ranker

MOST_USERS = 16_384
"""A shard's users are read at once with all their rows, so this bounds the memory."""
SHARDS_A_CPU = 16
"""Enough that little is lost with a machine, and that all end at about the same time."""


@dataclass(frozen=True)
class Work:
    """What all shards of a generation share."""

    generation: int
    ranker: Packed
    keys: Keys
    """Of all but users."""
    top_n: int
    database: str
    """The address; the machine may have another one in its environment, or none."""


@dataclass(frozen=True)
class Shard:
    """Some users, to be ranked in this order."""

    number: int
    users: Ids
    luck: Floats | None
    """What exploration draws with, shape (len(users), slots); None without exploration."""


def work_of(generation: int, ranker: Ranker, users: Ints, keys: Keys, top_n: int) -> Work:
    """Collect what shards need of a recompute.

    Args:
        generation: Begun.
        ranker: With its rules.
        users: Who will be ranked.
        keys: Of the ranker's Dataset.
        top_n: Length of the lists.
    """
    others = replace(keys, users=keys.users[:0])
    return Work(generation, pack(ranker, users), others, top_n, libpq_url())


def cut(ranker: Ranker, users: Ints, keys: Keys, cpus: int) -> list[Shard]:
    """Cut everybody into shards of whole blocks, the very blocks that one machine would rank.

    Args:
        ranker: Of everybody, with its rules.
        users: Who is to be ranked.
        keys: Of the ranker's Dataset.
        cpus: How many shards are made at a time.
    """
    users = ranker.neighbours(users)
    explorer = ranker.reranker.explorer if ranker.reranker else None
    n_blocks = -(-len(users) // USERS_A_BLOCK)
    n_shards = max(min(SHARDS_A_CPU * cpus, n_blocks), -(-len(users) // MOST_USERS))
    ends = USERS_A_BLOCK * (n_blocks * np.arange(1, n_shards) // n_shards)
    shards = []
    for number, some in enumerate(np.split(users, ends)):
        luck = None if explorer is None else explorer.luck[np.searchsorted(explorer.users, some)]
        shards.append(Shard(number, keys.users[some], luck))
    return shards


def make(work: Work, shard: Shard) -> list[Explored]:
    """Read a shard's users, rank and store them; what was stored before is not stored again.

    Args:
        work: What all shards share. The process keeps it unpacked for the next shard.
        shard: Which users.

    Returns:
        What was drawn, also where it was stored before; empty without exploration.

    Raises:
        DatabaseUnreachableError: The database cannot be reached from here, or breaks off.
        PublishRefusedError: A score is not a number.
    """
    use_database(work.database)
    drawn = []

    def lists() -> Iterator[Lists]:
        for part in _lists(work, shard):
            if shard.luck is not None:
                drawn.append(explored(part))
            yield part

    with connection() as conn:
        written = fill_shard(conn, work.generation, shard.number, lists())
    if shard.luck is not None and not written:
        for _ in lists():  # the draws were lost on their way; the same ones are drawn again
            pass
    return drawn


def _lists(work: Work, shard: Shard) -> Iterator[Lists]:
    ranker = _unpacked(work)
    as_of = ranker.snapshot.as_of
    rows, keys = load_persons(ranker.snapshot.data, work.keys, shard.users.tolist())
    persons = Persons(rows.acts_before(as_of), as_of)
    there = np.isin(shard.users, keys.users)  # others were erased meanwhile
    users = np.searchsorted(keys.users, shard.users[there]).astype(np.int32)
    explorer = ranker.reranker.explorer if ranker.reranker else None
    if explorer is not None and shard.luck is not None:
        order = np.argsort(users)
        explorer.users, explorer.luck = users[order], shard.luck[there][order]
    room = ranker.room(len(users))
    for begin in range(0, len(users), USERS_A_BLOCK):
        block = users[begin : begin + USERS_A_BLOCK]
        rankings = ranker.rank(block, work.top_n, persons, room)
        yield Lists(rankings, ranker.snapshot.columns, keys)


_LAST: dict[tuple[str, int], Ranker] = {}


def _unpacked(work: Work) -> Ranker:
    """Return the ranker; that of the last generation is kept."""
    name = (work.database, work.generation)
    if name not in _LAST:
        _LAST.clear()
        _LAST[name] = unpack(work.ranker)
    return _LAST[name]
