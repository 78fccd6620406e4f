"""Rows become columns once: what is read of each table, and how it is numbered.

What does not live here: connections and transactions (``db.dataset``, ``db.persons``), and any
decision about what the columns mean (``recsys``).
"""

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from eventlink.db.accounts import RANKABLE
from eventlink.db.keys import Ids, Keys
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

T = TypeVar("T", UserTags, UserOrganizers, Registrations, Favorites, Interactions, Intents)

FAR = 2**62
"""Microseconds, beyond what a timestamp can be."""


def _instant(column: str) -> str:
    """SQL for an instant as exact integer microseconds; one out of our era becomes very far."""
    return (
        f"CASE WHEN {column} >= '9999-12-31Z' THEN {FAR} WHEN {column} < '0001-01-01Z' THEN -{FAR}"
        f" ELSE (extract(epoch FROM {column}) * 1000000)::bigint END"
    )


# ``whose`` is a condition on ``user_id``.
USERS = f"""
SELECT user_id, lat, lon, lower(btrim(city)) AS city, lower(btrim(language)) AS language,
       {RANKABLE} AS rankable, {_instant("created_at")} AS joined
  FROM (SELECT id AS user_id, lat, lon, city, language, role, is_active, created_at
          FROM users) AS users
 WHERE {{whose}} ORDER BY user_id
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
OF_PERSONS = (
    USERS,
    INTERESTS,
    HIDDEN_TAGS,
    FOLLOWS,
    BLOCKS,
    REGISTRATIONS,
    FAVORITES,
    INTERACTIONS,
    INTENTS,
)
"""What ``Reader.persons`` reads."""


class Reader:
    """Reads tables into columns with the numbering of some keys.

    Args:
        read: Returns the rows of a statement of this module, of those people who are read.
    """

    keys: Keys

    def __init__(self, read: Callable[[str], pa.Table]) -> None:
        self.read = read

    def persons(self, crowd: Dataset, keys: Keys) -> tuple[Dataset, Keys]:
        """Read some people's rows.

        Args:
            crowd: Read earlier; its events, organizers and tags keep their indices.
            keys: Of the crowd.

        Returns:
            A Dataset of these people alone, numbered anew, and its keys. Rows that name an event,
            organizer or tag of which the crowd does not know are left out.
        """
        users = self.read(USERS)
        self.keys = replace(keys, users=ids_of(users["user_id"]))
        persons = replace(
            crowd,
            users=self.users(users),
            interests=self.user_tags(INTERESTS),
            hidden_tags=self.user_tags(HIDDEN_TAGS),
            follows=self.user_organizers(self.read(FOLLOWS)),
            blocks=self.user_organizers(self.read(BLOCKS)),
            registrations=self.registrations(),
            favorites=self.favorites(),
            interactions=self.interactions(),
            intents=self.intents(),
        )
        return persons, self.keys

    def users(self, rows: pa.Table) -> Users:
        """Make columns of what ``USERS`` read, in the order of their ids."""
        return Users(
            lat=_floats(rows["lat"]),
            lon=_floats(rows["lon"]),
            city=codes(rows["city"], self.keys.cities),
            language=codes(rows["language"], self.keys.languages),
            rankable=rows["rankable"].to_numpy(),
            joined=_instants(rows["joined"], -np.inf),
        )

    def events(self, rows: pa.Table) -> Events:
        """Make columns of what ``EVENTS`` read, in the order of their ids."""
        return Events(
            start=_instants(rows["start"], -np.inf),
            created=_instants(rows["created"], -np.inf),
            gone=_instants(rows["gone"], np.inf),
            published=rows["published"].to_numpy(),
            organizer=_index(rows["owner_id"], self.keys.organizers),
            category=codes(rows["category"], self.keys.categories),
            city=codes(rows["city"], self.keys.cities),
            venue=codes(rows["venue"], distinct(rows["venue"])),
            title=codes(rows["title"], distinct(rows["title"])),
            lat=_floats(rows["lat"]),
            lon=_floats(rows["lon"]),
            max_seats=_ints(rows["max_seats"]),
        )

    def event_tags(self) -> EventTags:
        """Read which event has which tag."""
        rows = self.read(EVENT_TAGS)
        return EventTags(
            event=_index(rows["event_id"], self.keys.events),
            tag=_index(rows["tag_id"], self.keys.tags),
        )

    def user_tags(self, sql: str) -> UserTags:
        """Read ``INTERESTS`` or ``HIDDEN_TAGS``, in the order of their dates."""
        rows = self.read(sql)
        table = UserTags(
            user=_index(rows["user_id"], self.keys.users),
            tag=_index(rows["tag_id"], self.keys.tags),
            at=_instants(rows["at"], -np.inf),
        )
        return _of_known(table, table.tag, np.lexsort((table.tag, table.user, table.at)))

    def user_organizers(self, rows: pa.Table) -> UserOrganizers:
        """Make columns of what ``FOLLOWS`` or ``BLOCKS`` read, in the order of their dates."""
        table = UserOrganizers(
            user=_index(rows["user_id"], self.keys.users),
            organizer=_index(rows["organizer_id"], self.keys.organizers),
            at=_instants(rows["at"], -np.inf),
        )
        order = np.lexsort((table.organizer, table.user, table.at))
        return _of_known(table, table.organizer, order)

    def registrations(self) -> Registrations:
        """Read registrations, those taken back too, in the order of their dates."""
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
        """Read favourites, in the order of their dates."""
        rows = self.read(FAVORITES)
        table = Favorites(
            user=_index(rows["user_id"], self.keys.users),
            event=_index(rows["event_id"], self.keys.events),
            at=_instants(rows["at"], -np.inf),
        )
        return _of_known(table, table.event, np.lexsort((table.event, table.user, table.at)))

    def interactions(self) -> Interactions:
        """Read what people did with events, in the order of its dates."""
        rows = self.read(INTERACTIONS)
        acts = pa.array([act.name.lower() for act in Act])
        user = _index(rows["user_id"], self.keys.users)
        table = Interactions(
            user=user,
            event=_index(rows["event_id"], self.keys.events),
            at=_instants(rows["at"], -np.inf),
            act=pc.index_in(rows["act"], acts).to_numpy().astype(np.int8),
            position=_ints(rows["position"]),
            request=_own(user, codes(rows["request_id"], distinct(rows["request_id"]))),
            dwell=rows["dwell"].fill_null(0).to_numpy(),
        )
        order = np.lexsort((table.act, table.event, table.user, table.at))
        return _of_known(table, table.event, order)

    def intents(self) -> Intents:
        """Read searches and filters that name a tag or a category, in the order of their dates."""
        rows = self.read(INTENTS)
        table = Intents(
            user=_index(rows["user_id"], self.keys.users),
            at=_instants(rows["at"], -np.inf),
            tag=codes(rows["word"], self.keys.tag_names),
            category=codes(rows["word"], pc.utf8_lower(self.keys.categories)),
        )
        order = np.lexsort((table.category, table.tag, table.user, table.at))
        return _of_known(table, np.maximum(table.tag, table.category), order)


def _own(user: Ints, request: Ints) -> Ints:
    """Number shown lists so that no two users share one: ids that are not ours may be anything."""
    has = np.flatnonzero(request >= 0)
    owner = np.empty(int(request.max(initial=-1)) + 1, np.int32)
    owner[request[has]] = user[has]
    if (owner[request[has]] == user[has]).all():
        return request
    own = np.full(len(request), -1, np.int32)
    pair = user[has].astype(np.int64) << 32 | request[has]
    own[has] = np.unique(pair, return_inverse=True)[1]
    return own


def _of_known(table: T, thing: Ints, order: npt.NDArray[np.intp]) -> T:
    """Put a table in order, without the rows whose thing is not among the keys."""
    return table.rows(order[thing[order] >= 0])


def ids_of(column: pa.ChunkedArray) -> Ids:
    """Return ids that are there, as an array."""
    return column.to_numpy()  # type: ignore[no-any-return]


def _index(column: pa.ChunkedArray, ids: Ids) -> npt.NDArray[np.int32]:
    """Places of ids in a sorted array; -1 for null and for what is not in it."""
    if not len(ids) or not len(column):
        return np.full(len(column), -1, np.int32)
    wanted = column.fill_null(0).to_numpy()
    places = np.minimum(np.searchsorted(ids, wanted), len(ids) - 1)
    present = column.is_valid().to_numpy() & (ids[places] == wanted)
    return np.where(present, places, -1).astype(np.int32)


def places(ids: Ids, among: Ids) -> npt.NDArray[np.int32]:
    """Places of ids in a sorted array that has them all."""
    return np.searchsorted(among, ids).astype(np.int32)


def distinct(*columns: pa.ChunkedArray) -> pa.Array:
    """Return the sorted distinct values, so that numbering does not hang on the rows' order."""
    chunks = [chunk for column in columns for chunk in column.chunks]
    values = pa.chunked_array(chunks, type=pa.string()).drop_null().unique()
    return values.take(pc.sort_indices(values))


def codes(column: pa.ChunkedArray, values: pa.Array) -> npt.NDArray[np.int32]:
    """Number words by their places among some; -1 for null and for what is not there."""
    if not len(column):  # or the table to look words up in is made for none
        return np.zeros(0, np.int32)
    return pc.index_in(column, values).fill_null(-1).to_numpy()  # type: ignore[no-any-return]


def _ints(column: pa.ChunkedArray) -> npt.NDArray[np.int32]:
    values = column.fill_null(-1).to_numpy().astype(np.int64)
    return np.minimum(values, np.iinfo(np.int32).max).astype(np.int32)  # type: ignore[no-any-return]


def _floats(column: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    return column.fill_null(np.nan).to_numpy()  # type: ignore[no-any-return]


def _instants(column: pa.ChunkedArray, unknown: float) -> npt.NDArray[np.float64]:
    if not len(column):
        return np.zeros(0)
    present = column.is_valid().to_numpy()
    seconds = column.fill_null(0).to_numpy() / 1e6
    return np.where(present, seconds, unknown)
