"""The interchange format: its tables, their columns, and what a cell of each may be.

What does not live here: reading (``sources``), checking (``cells``), and how the tables stand in
the database (``db.interchange.tables``).
"""

from dataclasses import dataclass
from enum import Enum

import pyarrow as pa

from eventlink.db.tables import EVENT_STATUSES, INTERACTION_TYPES, USER_ROLES
from eventlink.services.experiments import Arm
from eventlink.services.request_ids import Source

ENDINGS = (".csv", ".csv.gz", ".parquet")

LONGEST_NAME = 2600
"""Bytes; what PostgreSQL can index is a little more."""


class Kind(Enum):
    """What a column holds: its Arrow type, and what a wrong value is not.

    An empty text is a TEXT, and different from none; for every other kind it is none.
    """

    INTEGER = (pa.int64(), "a whole number")
    REAL = (pa.float64(), "a finite number")
    SINGLE = (pa.float32(), "a finite number of single precision")
    BOOLEAN = (pa.bool_(), "true or false")
    INSTANT = (pa.timestamp("us", "UTC"), "an instant such as 2016-05-18T02:30:00Z")
    TEXT = (pa.string(), "text")
    NAME = (pa.string(), f"at most {LONGEST_NAME} bytes long")
    JSON = (pa.string(), "JSON that PostgreSQL can hold")

    @property
    def arrow(self) -> pa.DataType:
        """The Arrow type."""
        return self.value[0]

    @property
    def words(self) -> str:
        """What a value must be, to go on from "is not"."""
        return self.value[1]


@dataclass(frozen=True)
class Column:
    """A column of a file."""

    name: str
    kind: Kind
    required: bool = False
    """A file must have the column."""
    filled: bool = False
    """No cell may be empty."""
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """A file: the columns that an export always writes, and those that it writes if they say much.

    An export always writes a core table, another one only if it has rows.
    """

    name: str
    columns: tuple[Column, ...]
    optional: tuple[Column, ...] = ()
    core: bool = True

    @property
    def all_columns(self) -> tuple[Column, ...]:
        """Every column, in order."""
        return self.columns + self.optional


def _id() -> Column:
    """Return an id, after which there is room for those of later rows."""
    return Column("id", Kind.INTEGER, required=True, filled=True, low=-(2**62), high=2**62)


def _key(name: str, kind: Kind = Kind.INTEGER, choices: tuple[str, ...] = ()) -> Column:
    return Column(name, kind, required=True, filled=True, choices=choices)


def _text(name: str) -> Column:
    return Column(name, Kind.TEXT)


def _instant(name: str) -> Column:
    return Column(name, Kind.INSTANT)


_PLACE = (
    Column("lat", Kind.REAL, low=-90, high=90),
    Column("lon", Kind.REAL, low=-180, high=180),
)

FORMAT = (
    Table(
        "users",
        (
            _id(),
            Column("role", Kind.NAME, choices=USER_ROLES),
            _text("city"),
            *_PLACE,
        ),
        (
            _text("language"),
            Column("is_active", Kind.BOOLEAN),
            _text("full_name"),
            _instant("created_at"),
        ),
    ),
    Table(
        "user_interest_tags",
        (_key("user_id"), _key("tag", Kind.NAME)),
        (_instant("created_at"),),
    ),
    Table(
        "events",
        (
            _id(),
            _text("title"),
            _text("category"),
            _text("city"),
            _text("venue_id"),
            *_PLACE,
            Column("owner_id", Kind.INTEGER),
            _key("start_time", Kind.INSTANT),
            _instant("created_at"),
            Column("max_seats", Kind.INTEGER, low=0),
        ),
        (
            _text("description"),
            _instant("end_time"),
            Column("status", Kind.NAME, choices=EVENT_STATUSES),
            _instant("publish_at"),
            _instant("deleted_at"),
        ),
    ),
    Table("event_tags", (_key("event_id"), _key("tag", Kind.NAME))),
    Table(
        "registrations",
        (
            _key("user_id"),
            _key("event_id"),
            _key("registered_at", Kind.INSTANT),
            Column("attended", Kind.BOOLEAN),
        ),
        (_instant("unregistered_at"),),
    ),
    Table("favorites", (_key("user_id"), _key("event_id"), _instant("created_at"))),
    Table(
        "interactions",
        (
            # Nobody, where the visitor was not logged in; no event, where it was a search.
            Column("user_id", Kind.INTEGER, required=True),
            Column("event_id", Kind.INTEGER, required=True),
            _key("occurred_at", Kind.INSTANT),
            _key("interaction_type", Kind.NAME, INTERACTION_TYPES),
        ),
        (
            Column("position", Kind.INTEGER, low=0, high=32767),
            Column("request_id", Kind.NAME),
            Column("dwell_seconds", Kind.SINGLE, low=0),
            Column("meta", Kind.JSON),
            Column("client_id", Kind.NAME),
            Column("source", Kind.NAME, choices=tuple(Source)),
            _text("model_version"),
            Column("experiment", Kind.NAME),
            Column("arm", Kind.NAME, choices=tuple(Arm)),
        ),
    ),
    Table("follows", (_key("user_id"), _key("owner_id")), (_instant("created_at"),)),
    Table(
        "hidden_tags",
        (_key("user_id"), _key("tag", Kind.NAME)),
        (_instant("created_at"),),
        core=False,
    ),
    Table(
        "blocked_organizers",
        (_key("user_id"), _key("owner_id")),
        (_instant("created_at"),),
        core=False,
    ),
)
"""Every file; a table comes after those it refers to."""
