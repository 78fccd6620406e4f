"""From the tables to a ``Dataset``: everything, the events anew, or some people's rows.

What does not live here: what is read of each table (``db.columns``).

Reads go through ADBC, which receives PostgreSQL's binary COPY straight into Arrow columns: no row
object is made. All statements of a read run in one REPEATABLE READ transaction, so they see one
instant.
"""

import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

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
    with _translated(), _connect() as connection, _reading(connection, "true") as reader:
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
    with _translated(), _connect() as connection, _reading(connection, "true") as reader:
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


class PersonsReader:
    """Reads some users' rows as they are now, a few users at a time and often.

    Keeps a connection as long as it lives; to be used by one thread.

    Args:
        crowd: Read earlier; its events, organizers and tags keep their indices.
        keys: Of the crowd.
    """

    def __init__(self, crowd: Dataset, keys: Keys) -> None:
        self.crowd = crowd
        self.keys = keys
        self._connection: Any = None

    def read(self, user_ids: Iterable[int]) -> tuple[Dataset, Keys]:
        """Read what some users said and did.

        Args:
            user_ids: Those that do not exist are left out.

        Returns:
            A Dataset of these users alone, numbered anew, and its keys. Rows that name an event,
            organizer or tag of which the crowd does not know are left out.

        Raises:
            DatabaseUnreachableError: The server does not answer, or breaks off.
        """
        whose = f"user_id = ANY('{{{','.join(str(int(user_id)) for user_id in user_ids)}}}')"
        with _translated():
            try:
                if self._connection is None:
                    self._connection = _connect()
                    self._closing = weakref.finalize(self, self._connection.close)
                with _reading(self._connection, whose) as reader:
                    # For a few rows COPY costs more than it saves.
                    options = {"adbc.postgresql.use_copy": "false"}
                    reader.cursor.adbc_statement.set_options(**options)
                    return self._persons(reader)
            except adbc.Error:
                self.close()
                raise

    def _persons(self, reader: Reader) -> tuple[Dataset, Keys]:
        users = reader.read(USERS)
        reader.keys = keys = replace(self.keys, users=ids_of(users["user_id"]))
        persons = replace(
            self.crowd,
            users=reader.users(users),
            interests=reader.user_tags(INTERESTS),
            hidden_tags=reader.user_tags(HIDDEN_TAGS),
            follows=reader.user_organizers(reader.read(FOLLOWS)),
            blocks=reader.user_organizers(reader.read(BLOCKS)),
            registrations=reader.registrations(),
            favorites=reader.favorites(),
            interactions=reader.interactions(),
            intents=reader.intents(),
        )
        return persons, keys

    def close(self) -> None:
        """Close the connection; the next read opens another."""
        if self._connection is not None:
            self._closing()
            self._connection = None


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except adbc.OperationalError as error:
        raise DatabaseUnreachableError(f"PostgreSQL broke off a read: {error}") from error


def _connect() -> Any:
    connection = adbc.connect(libpq_url())
    with connection.cursor() as cursor:
        cursor.execute(NO_TIMEOUTS.text)
    connection.commit()
    return connection


@contextmanager
def _reading(connection: Any, whose: str) -> Iterator[Reader]:
    """Begin a read-only transaction, and end it."""
    with connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield Reader(cursor, whose)
    connection.rollback()
