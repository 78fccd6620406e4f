"""From the tables to a ``Dataset``: rows become columns once, ids become indices here.

What does not live here: any decision about what the columns mean (``recsys``).

Reads go through ADBC, which receives PostgreSQL's binary COPY straight into Arrow columns: no row
object is made. All statements of a read run in one REPEATABLE READ transaction, so they see one
instant.
"""

import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import adbc_driver_postgresql.dbapi as adbc
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from eventlink.db.session import NO_TIMEOUTS, libpq_url
from eventlink.errors import DatabaseUnreachableError
from eventlink.recsys.dataset import (
    Act,
    Dataset,
    Events,
    EventTags,
    Favorites,
    Intents,
    Interactions,
    Ints,
    Registrations,
    UserOrganizers,
    Users,
    UserTags,
)
from eventlink.recsys.renewal import Moves, renumbered

Ids = npt.NDArray[np.int64]

T = TypeVar("T", UserTags, UserOrganizers, Registrations, Favorites, Interactions, Intents)

FAR = 2**62
"""Microseconds, beyond what a timestamp can be."""


@dataclass(frozen=True)
class Keys:
    """What an index of the Dataset stands for in the database; ids and words are sorted."""

    users: Ids
    events: Ids
    organizers: Ids
    tags: Ids
    tag_names: pa.Array
    """In lower case, for each tag."""
    cities: pa.Array
    categories: pa.Array
    languages: pa.Array

    def user_index(self, user_id: int) -> int | None:
        """Return the index of a user, or None if there is no such user."""
        place = int(np.searchsorted(self.users, user_id))
        found = place < len(self.users) and self.users[place] == user_id
        return place if found else None


def _instant(column: str) -> str:
    """SQL for an instant as exact integer microseconds; an infinite one becomes very far."""
    return (
        f"CASE {column} WHEN 'infinity' THEN {FAR} WHEN '-infinity' THEN -{FAR}"
        f" ELSE (extract(epoch FROM {column}) * 1000000)::bigint END"
    )


# ``whose`` is a condition on ``user_id``.
USERS = """
SELECT user_id, lat, lon, lower(btrim(city)) AS city, lower(btrim(language)) AS language,
       role = 'student' AND is_active AS rankable
  FROM (SELECT id AS user_id, * FROM users) AS users WHERE {whose} ORDER BY user_id
"""
EVENTS = f"""
SELECT id, lat, lon, owner_id, max_seats, lower(btrim(city)) AS city, category, venue,
       regexp_replace(lower(title), '[0-9]+', '', 'g') AS title,
       status = 'published' AS published,
       {_instant("start_time")} AS start, {_instant("greatest(created_at, publish_at)")} AS created,
       {_instant("deleted_at")} AS gone
  FROM events ORDER BY id
"""
TAGS = "SELECT id, lower(name) AS name FROM tags ORDER BY id"
EVENT_TAGS = "SELECT event_id, tag_id FROM event_tags ORDER BY event_id, tag_id"
INTERESTS = f"""
SELECT user_id, tag_id, {_instant("created_at")} AS at FROM user_interest_tags WHERE {{whose}}
"""
HIDDEN_TAGS = f"""
SELECT user_id, tag_id, {_instant("created_at")} AS at FROM user_hidden_tags WHERE {{whose}}
"""
FOLLOWS = f"""
SELECT user_id, organizer_id, {_instant("created_at")} AS at
  FROM user_followed_organizers WHERE {{whose}}
"""
BLOCKS = f"""
SELECT user_id, organizer_id, {_instant("created_at")} AS at
  FROM user_blocked_organizers WHERE {{whose}}
"""
REGISTRATIONS = f"""
SELECT user_id, event_id, attended, {_instant("registered_at")} AS at,
       {_instant("unregistered_at")} AS until
  FROM registrations WHERE {{whose}}
"""
FAVORITES = f"""
SELECT user_id, event_id, {_instant("created_at")} AS at FROM favorite_events WHERE {{whose}}
"""
INTERACTIONS = f"""
SELECT user_id, event_id, interaction_type AS act, position, request_id, dwell_seconds AS dwell,
       {_instant("occurred_at")} AS at
  FROM event_interactions WHERE user_id IS NOT NULL AND event_id IS NOT NULL AND {{whose}}
"""
# A search names tags and categories in its meta, or its query is the name of one.
INTENTS = f"""
SELECT user_id, {_instant("occurred_at")} AS at, lower(word.name) AS word
  FROM event_interactions,
       LATERAL (SELECT meta ->> 'query' AS name UNION SELECT meta ->> 'category'
                UNION SELECT jsonb_array_elements_text(CASE jsonb_typeof(meta -> 'tags')
                                                       WHEN 'array' THEN meta -> 'tags'
                                                       ELSE '[]' END)) AS word
 WHERE interaction_type IN ('search', 'filter') AND user_id IS NOT NULL AND word.name IS NOT NULL
   AND {{whose}}
"""


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
            users=_ids(users["user_id"]),
            events=_ids(events["id"]),
            organizers=np.unique(np.concatenate([_ids(ids) for ids in named])),
            tags=_ids(tags["id"]),
            tag_names=tags["name"].combine_chunks(),
            cities=_distinct(users["city"], events["city"]),
            categories=_distinct(events["category"]),
            languages=_distinct(users["language"]),
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
            events=_ids(events["id"]),
            organizers=np.union1d(keys.organizers, _ids(events["owner_id"].drop_null())),
            tags=_ids(tags["id"]),
            tag_names=tags["name"].combine_chunks(),
            cities=_distinct(pa.chunked_array([keys.cities]), events["city"]),
            categories=_distinct(pa.chunked_array([keys.categories]), events["category"]),
        )
        if not (np.isin(keys.events, later.events).all() and np.isin(keys.tags, later.tags).all()):
            return None
        reader.keys = later
        columns, event_tags = reader.events(events), reader.event_tags()
    to = Moves(
        events=_places(keys.events, later.events),
        organizers=_places(keys.organizers, later.organizers),
        tags=_places(keys.tags, later.tags),
        cities=_codes(keys.cities, later.cities),
        categories=_codes(keys.categories, later.categories),
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

    def _persons(self, reader: "_Reader") -> tuple[Dataset, Keys]:
        users = reader.read(USERS)
        reader.keys = keys = replace(self.keys, users=_ids(users["user_id"]))
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
def _reading(connection: Any, whose: str) -> Iterator["_Reader"]:
    """Begin a read-only transaction, and end it."""
    with connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield _Reader(cursor, whose)
    connection.rollback()


class _Reader:
    """Reads tables into columns with the numbering of some keys.

    Args:
        cursor: Inside a transaction.
        whose: Condition on ``user_id``: whose rows are read.
    """

    keys: Keys

    def __init__(self, cursor: Any, whose: str) -> None:
        self.cursor = cursor
        self.whose = whose

    def read(self, sql: str) -> pa.Table:
        self.cursor.execute(sql.replace("{whose}", self.whose))
        return self.cursor.fetch_arrow_table()

    def users(self, rows: pa.Table) -> Users:
        return Users(
            lat=_floats(rows["lat"]),
            lon=_floats(rows["lon"]),
            city=_codes(rows["city"], self.keys.cities),
            language=_codes(rows["language"], self.keys.languages),
            rankable=rows["rankable"].to_numpy(),
        )

    def events(self, rows: pa.Table) -> Events:
        return Events(
            start=_instants(rows["start"], -np.inf),
            created=_instants(rows["created"], -np.inf),
            gone=_instants(rows["gone"], np.inf),
            published=rows["published"].to_numpy(),
            organizer=_index(rows["owner_id"], self.keys.organizers),
            category=_codes(rows["category"], self.keys.categories),
            city=_codes(rows["city"], self.keys.cities),
            venue=_codes(rows["venue"], _distinct(rows["venue"])),
            title=_codes(rows["title"], _distinct(rows["title"])),
            lat=_floats(rows["lat"]),
            lon=_floats(rows["lon"]),
            max_seats=_ints(rows["max_seats"]),
        )

    def event_tags(self) -> EventTags:
        rows = self.read(EVENT_TAGS)
        return EventTags(
            event=_index(rows["event_id"], self.keys.events),
            tag=_index(rows["tag_id"], self.keys.tags),
        )

    def user_tags(self, sql: str) -> UserTags:
        rows = self.read(sql)
        table = UserTags(
            user=_index(rows["user_id"], self.keys.users),
            tag=_index(rows["tag_id"], self.keys.tags),
            at=_instants(rows["at"], -np.inf),
        )
        return _of_known(table, table.tag, np.lexsort((table.tag, table.user, table.at)))

    def user_organizers(self, rows: pa.Table) -> UserOrganizers:
        table = UserOrganizers(
            user=_index(rows["user_id"], self.keys.users),
            organizer=_index(rows["organizer_id"], self.keys.organizers),
            at=_instants(rows["at"], -np.inf),
        )
        order = np.lexsort((table.organizer, table.user, table.at))
        return _of_known(table, table.organizer, order)

    def registrations(self) -> Registrations:
        rows = self.read(REGISTRATIONS)
        table = Registrations(
            user=_index(rows["user_id"], self.keys.users),
            event=_index(rows["event_id"], self.keys.events),
            at=_instants(rows["at"], -np.inf),
            until=_instants(rows["until"], np.inf),
            attended=rows["attended"].cast(pa.int8()).fill_null(-1).to_numpy(),
        )
        return _of_known(table, table.event, np.lexsort((table.event, table.user, table.at)))

    def favorites(self) -> Favorites:
        rows = self.read(FAVORITES)
        table = Favorites(
            user=_index(rows["user_id"], self.keys.users),
            event=_index(rows["event_id"], self.keys.events),
            at=_instants(rows["at"], -np.inf),
        )
        return _of_known(table, table.event, np.lexsort((table.event, table.user, table.at)))

    def interactions(self) -> Interactions:
        rows = self.read(INTERACTIONS)
        acts = pa.array([act.name.lower() for act in Act])
        table = Interactions(
            user=_index(rows["user_id"], self.keys.users),
            event=_index(rows["event_id"], self.keys.events),
            at=_instants(rows["at"], -np.inf),
            act=pc.index_in(rows["act"], acts).to_numpy().astype(np.int8),
            position=_ints(rows["position"]),
            request=_codes(rows["request_id"], _distinct(rows["request_id"])),
            dwell=rows["dwell"].fill_null(0).to_numpy(),
        )
        order = np.lexsort((table.act, table.event, table.user, table.at))
        return _of_known(table, table.event, order)

    def intents(self) -> Intents:
        rows = self.read(INTENTS)
        table = Intents(
            user=_index(rows["user_id"], self.keys.users),
            at=_instants(rows["at"], -np.inf),
            tag=_codes(rows["word"], self.keys.tag_names),
            category=_codes(rows["word"], pc.utf8_lower(self.keys.categories)),
        )
        order = np.lexsort((table.category, table.tag, table.user, table.at))
        return _of_known(table, np.maximum(table.tag, table.category), order)


def _of_known(table: T, thing: Ints, order: npt.NDArray[np.intp]) -> T:
    """Put a table in order, without the rows whose thing is not among the keys."""
    return table.rows(order[thing[order] >= 0])


def _ids(column: pa.ChunkedArray) -> Ids:
    return column.to_numpy()  # type: ignore[no-any-return]


def _index(column: pa.ChunkedArray, ids: Ids) -> npt.NDArray[np.int32]:
    """Places of ids in a sorted array; -1 for null and for what is not in it."""
    if not len(ids):
        return np.full(len(column), -1, np.int32)
    wanted = column.fill_null(0).to_numpy()
    places = np.minimum(np.searchsorted(ids, wanted), len(ids) - 1)
    present = column.is_valid().to_numpy() & (ids[places] == wanted)
    return np.where(present, places, -1).astype(np.int32)


def _places(ids: Ids, among: Ids) -> npt.NDArray[np.int32]:
    """Places of ids in a sorted array that has them all."""
    return np.searchsorted(among, ids).astype(np.int32)


def _distinct(*columns: pa.ChunkedArray) -> pa.Array:
    """Return the sorted distinct values, so that numbering does not hang on the rows' order."""
    chunks = [chunk for column in columns for chunk in column.chunks]
    values = pa.chunked_array(chunks, type=pa.string()).drop_null().unique()
    return values.take(pc.sort_indices(values))


def _codes(column: pa.ChunkedArray, values: pa.Array) -> npt.NDArray[np.int32]:
    return pc.index_in(column, values).fill_null(-1).to_numpy()  # type: ignore[no-any-return]


def _ints(column: pa.ChunkedArray) -> npt.NDArray[np.int32]:
    values = column.fill_null(-1).to_numpy().astype(np.int64)
    return np.minimum(values, np.iinfo(np.int32).max).astype(np.int32)  # type: ignore[no-any-return]


def _floats(column: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    return column.fill_null(np.nan).to_numpy()  # type: ignore[no-any-return]


def _instants(column: pa.ChunkedArray, unknown: float) -> npt.NDArray[np.float64]:
    present = column.is_valid().to_numpy()
    seconds = column.fill_null(0).to_numpy() / 1e6
    return np.where(present, seconds, unknown)
