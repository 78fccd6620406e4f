"""From the tables to a ``Dataset``: everything, the events anew, or some people's rows.

What does not live here: what is read of each table (``db.columns``).

Reads go through ADBC, which receives PostgreSQL's binary COPY straight into Arrow columns: no row
object is made. All statements of a read run in one REPEATABLE READ transaction, so they see one
instant.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import adbc_driver_postgresql.dbapi as adbc
import numpy as np
import pyarrow as pa

from eventlink.db.columns import (
    BLOCKS,
    EVENTS,
    FOLLOWS,
    HIDDEN_TAGS,
    INTERESTS,
    TAGS,
    USERS,
    Reader,
    codes,
    distinct,
    ids_of,
    places,
)
from eventlink.db.keys import Keys
from eventlink.db.refusals import said
from eventlink.db.session import NO_TIMEOUTS, libpq_url
from eventlink.errors import DatabaseUnreachableError
from eventlink.recsys.dataset import Dataset
from eventlink.recsys.renewal import Moves, renumbered


def load_dataset() -> tuple[Dataset, Keys]:
    """Read the whole database into a Dataset.

    Returns:
        The Dataset, and the ids its indices stand for.

    Raises:
        DatabaseUnreachableError: The server does not answer, or breaks off.
    """
    with _reading() as reader:
        users, events, tags = reader.read(USERS), reader.read(EVENTS), reader.read(TAGS)
        follows, blocks = reader.read(FOLLOWS), reader.read(BLOCKS)
        named = (events["owner_id"].drop_null(), follows["organizer_id"], blocks["organizer_id"])
        keys = Keys(
            users=ids_of(users["user_id"]),
            events=ids_of(events["id"]),
            organizers=np.unique(np.concatenate([ids_of(ids) for ids in named])),
            tags=ids_of(tags["id"]),
            tag_names=tags["name"].combine_chunks(),
            cities=distinct(users["city"], events["city"]),
            categories=distinct(events["category"]),
            languages=distinct(users["language"]),
        )
        reader.keys = keys
        columns = reader.events(events)
        dataset = Dataset(
            users=reader.users(users),
            events=columns,
            event_tags=reader.event_tags(),
            interests=reader.user_tags(INTERESTS),
            hidden_tags=reader.user_tags(HIDDEN_TAGS),
            follows=reader.user_organizers(follows),
            blocks=reader.user_organizers(blocks),
            registrations=reader.registrations(),
            favorites=reader.favorites(),
            interactions=reader.interactions(),
            intents=reader.intents(),
            n_organizers=len(keys.organizers),
            n_tags=len(keys.tags),
            n_categories=len(keys.categories),
            n_venues=int(columns.venue.max(initial=-1)) + 1,
        )
    return dataset, keys


def load_events(before: Dataset, keys: Keys) -> tuple[Dataset, Keys, Moves] | None:
    """Read the events as they are now, and leave everything else as it was read before.

    So a search for what has only now become a tag or a category stays one for nothing.

    Args:
        before: Read earlier.
        keys: Of that.

    Returns:
        The Dataset, its keys, and where the earlier indices have gone; None where an event or tag
        is there no more, so that acts would name what is not.

    Raises:
        DatabaseUnreachableError: The server does not answer, or breaks off.
    """
    with _reading() as reader:
        events, tags = reader.read(EVENTS), reader.read(TAGS)
        later = replace(
            keys,
            events=ids_of(events["id"]),
            organizers=np.union1d(keys.organizers, ids_of(events["owner_id"].drop_null())),
            tags=ids_of(tags["id"]),
            tag_names=tags["name"].combine_chunks(),
            cities=distinct(pa.chunked_array([keys.cities]), events["city"]),
            categories=distinct(pa.chunked_array([keys.categories]), events["category"]),
        )
        if not (np.isin(keys.events, later.events).all() and np.isin(keys.tags, later.tags).all()):
            return None
        reader.keys = later
        columns, event_tags = reader.events(events), reader.event_tags()
    to = Moves(
        events=places(keys.events, later.events),
        organizers=places(keys.organizers, later.organizers),
        tags=places(keys.tags, later.tags),
        cities=codes(keys.cities, later.cities),
        categories=codes(keys.categories, later.categories),
    )
    dataset = replace(
        renumbered(before, to),
        events=columns,
        event_tags=event_tags,
        n_organizers=len(later.organizers),
        n_tags=len(later.tags),
        n_categories=len(later.categories),
        n_venues=int(columns.venue.max(initial=-1)) + 1,
    )
    return dataset, later, to


def load_persons(crowd: Dataset, keys: Keys, user_ids: Iterable[int]) -> tuple[Dataset, Keys]:
    """Read some people's rows as they are now; for a few and often there is ``db.persons``.

    Args:
        crowd: Read earlier; its events, organizers and tags keep their indices.
        keys: Of the crowd.
        user_ids: Those that do not exist are left out.

    Returns:
        As ``Reader.persons``.

    Raises:
        DatabaseUnreachableError: The server does not answer, or breaks off.
    """
    whose = f"user_id = ANY('{{{','.join(str(int(user_id)) for user_id in user_ids)}}}')"
    with _reading(whose) as reader:
        return reader.persons(crowd, keys)


@contextmanager
def _reading(whose: str = "true") -> Iterator[Reader]:
    """Read in a transaction of its own.

    Args:
        whose: Condition on ``user_id``: whose rows are read.
    """
    try:
        with adbc.connect(libpq_url()) as connection, connection.cursor() as cursor:
            cursor.execute(NO_TIMEOUTS.text)
            connection.commit()
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")

            def read(sql: str) -> pa.Table:
                cursor.execute(sql.replace("{whose}", whose))
                return cursor.fetch_arrow_table()

            yield Reader(read)
            connection.rollback()
    except adbc.OperationalError as error:
        raise DatabaseUnreachableError(f"PostgreSQL broke off a read: {said(error)}") from error
