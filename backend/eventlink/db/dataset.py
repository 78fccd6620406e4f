"""From the tables to a ``Dataset``: rows become columns once, ids become indices here.

What does not live here: any decision about what the columns mean (``recsys``).

Reads go through ADBC, which receives PostgreSQL's binary COPY straight into Arrow columns: no row
object is made. All statements run in one REPEATABLE READ transaction, so they see one instant.
"""

from dataclasses import dataclass
from typing import Any

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
    Registrations,
    UserOrganizers,
    Users,
    UserTags,
)

Ids = npt.NDArray[np.int64]

FAR = 2**62
"""Microseconds, beyond what a timestamp can be."""


@dataclass(frozen=True)
class Keys:
    """What an index of the Dataset stands for in the database; sorted by id."""

    users: Ids
    events: Ids
    organizers: Ids
    tags: Ids

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


USERS = """
SELECT id, lat, lon, lower(btrim(city)) AS city, role = 'student' AND is_active AS rankable
  FROM users ORDER BY id
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
INTERESTS = f"SELECT user_id, tag_id, {_instant('created_at')} AS at FROM user_interest_tags"
HIDDEN_TAGS = f"SELECT user_id, tag_id, {_instant('created_at')} AS at FROM user_hidden_tags"
FOLLOWS = (
    f"SELECT user_id, organizer_id, {_instant('created_at')} AS at FROM user_followed_organizers"
)
BLOCKS = (
    f"SELECT user_id, organizer_id, {_instant('created_at')} AS at FROM user_blocked_organizers"
)
REGISTRATIONS = f"""
SELECT user_id, event_id, attended, {_instant("registered_at")} AS at,
       {_instant("unregistered_at")} AS until
  FROM registrations
"""
FAVORITES = f"SELECT user_id, event_id, {_instant('created_at')} AS at FROM favorite_events"
INTERACTIONS = f"""
SELECT user_id, event_id, interaction_type AS act, position, request_id, dwell_seconds AS dwell,
       {_instant("occurred_at")} AS at
  FROM event_interactions WHERE user_id IS NOT NULL AND event_id IS NOT NULL
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
"""


def load_dataset() -> tuple[Dataset, Keys]:
    """Read the whole database into a Dataset.

    Returns:
        The Dataset, and the ids its indices stand for.

    Raises:
        DatabaseUnreachableError: The server does not answer, or breaks off.
    """
    try:
        with adbc.connect(libpq_url()) as conn, conn.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            reader = _Reader(cursor)
            reader.read(NO_TIMEOUTS.text)
            return reader.dataset()
    except adbc.OperationalError as error:
        raise DatabaseUnreachableError(f"PostgreSQL broke off a read: {error}") from error


class _Reader:
    """Builds the Dataset; holds the numbering that its tables share."""

    def __init__(self, cursor: Any) -> None:
        self.cursor = cursor

    def read(self, sql: str) -> pa.Table:
        self.cursor.execute(sql)
        return self.cursor.fetch_arrow_table()

    def dataset(self) -> tuple[Dataset, Keys]:
        users, events, tags = self.read(USERS), self.read(EVENTS), self.read(TAGS)
        follows, blocks = self.read(FOLLOWS), self.read(BLOCKS)
        self.user_ids, self.event_ids = _ids(users["id"]), _ids(events["id"])
        self.tag_ids = _ids(tags["id"])
        self.organizer_ids = np.unique(
            np.concatenate(
                [
                    _ids(events["owner_id"].drop_null()),
                    _ids(follows["organizer_id"]),
                    _ids(blocks["organizer_id"]),
                ]
            )
        )
        cities = _distinct(users["city"], events["city"])
        categories, venues = _distinct(events["category"]), _distinct(events["venue"])
        titles = _distinct(events["title"])
        dataset = Dataset(
            users=Users(
                lat=_floats(users["lat"]),
                lon=_floats(users["lon"]),
                city=_codes(users["city"], cities),
                rankable=users["rankable"].to_numpy(),
            ),
            events=Events(
                start=_instants(events["start"], -np.inf),
                created=_instants(events["created"], -np.inf),
                gone=_instants(events["gone"], np.inf),
                published=events["published"].to_numpy(),
                organizer=_index(events["owner_id"], self.organizer_ids),
                category=_codes(events["category"], categories),
                city=_codes(events["city"], cities),
                venue=_codes(events["venue"], venues),
                title=_codes(events["title"], titles),
                lat=_floats(events["lat"]),
                lon=_floats(events["lon"]),
                max_seats=_ints(events["max_seats"]),
            ),
            event_tags=self.event_tags(),
            interests=self.user_tags(INTERESTS),
            hidden_tags=self.user_tags(HIDDEN_TAGS),
            follows=self.user_organizers(follows),
            blocks=self.user_organizers(blocks),
            registrations=self.registrations(),
            favorites=self.favorites(),
            interactions=self.interactions(),
            intents=self.intents(tags["name"], categories),
            n_organizers=len(self.organizer_ids),
            n_tags=len(tags),
            n_categories=len(categories),
            n_venues=len(venues),
        )
        return dataset, Keys(self.user_ids, self.event_ids, self.organizer_ids, self.tag_ids)

    def event_tags(self) -> EventTags:
        rows = self.read(EVENT_TAGS)
        return EventTags(
            event=_index(rows["event_id"], self.event_ids), tag=_index(rows["tag_id"], self.tag_ids)
        )

    def user_tags(self, sql: str) -> UserTags:
        rows = self.read(sql)
        table = UserTags(
            user=_index(rows["user_id"], self.user_ids),
            tag=_index(rows["tag_id"], self.tag_ids),
            at=_instants(rows["at"], -np.inf),
        )
        return table.rows(np.lexsort((table.tag, table.user, table.at)))

    def user_organizers(self, rows: pa.Table) -> UserOrganizers:
        table = UserOrganizers(
            user=_index(rows["user_id"], self.user_ids),
            organizer=_index(rows["organizer_id"], self.organizer_ids),
            at=_instants(rows["at"], -np.inf),
        )
        return table.rows(np.lexsort((table.organizer, table.user, table.at)))

    def registrations(self) -> Registrations:
        rows = self.read(REGISTRATIONS)
        table = Registrations(
            user=_index(rows["user_id"], self.user_ids),
            event=_index(rows["event_id"], self.event_ids),
            at=_instants(rows["at"], -np.inf),
            until=_instants(rows["until"], np.inf),
            attended=rows["attended"].cast(pa.int8()).fill_null(-1).to_numpy(),
        )
        return table.rows(np.lexsort((table.event, table.user, table.at)))

    def favorites(self) -> Favorites:
        rows = self.read(FAVORITES)
        table = Favorites(
            user=_index(rows["user_id"], self.user_ids),
            event=_index(rows["event_id"], self.event_ids),
            at=_instants(rows["at"], -np.inf),
        )
        return table.rows(np.lexsort((table.event, table.user, table.at)))

    def interactions(self) -> Interactions:
        rows = self.read(INTERACTIONS)
        acts = pa.array([act.name.lower() for act in Act])
        table = Interactions(
            user=_index(rows["user_id"], self.user_ids),
            event=_index(rows["event_id"], self.event_ids),
            at=_instants(rows["at"], -np.inf),
            act=pc.index_in(rows["act"], acts).to_numpy().astype(np.int8),
            position=_ints(rows["position"]),
            request=_codes(rows["request_id"], _distinct(rows["request_id"])),
            dwell=rows["dwell"].fill_null(0).to_numpy(),
        )
        return table.rows(np.lexsort((table.act, table.event, table.user, table.at)))

    def intents(self, tag_names: pa.ChunkedArray, categories: pa.Array) -> Intents:
        rows = self.read(INTENTS)
        table = Intents(
            user=_index(rows["user_id"], self.user_ids),
            at=_instants(rows["at"], -np.inf),
            tag=_codes(rows["word"], tag_names.combine_chunks()),
            category=_codes(rows["word"], pc.utf8_lower(categories)),
        )
        meant = table.rows((table.tag >= 0) | (table.category >= 0))
        return meant.rows(np.lexsort((meant.category, meant.tag, meant.user, meant.at)))


def _ids(column: pa.ChunkedArray) -> Ids:
    return column.to_numpy()  # type: ignore[no-any-return]


def _index(column: pa.ChunkedArray, ids: Ids) -> npt.NDArray[np.int32]:
    """Places of ids in a sorted array that holds all of them; -1 for null."""
    present = column.is_valid().to_numpy()
    places = np.searchsorted(ids, column.fill_null(0).to_numpy())
    return np.where(present, places, -1).astype(np.int32)


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
