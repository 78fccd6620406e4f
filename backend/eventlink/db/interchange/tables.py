"""How each table of the interchange format stands in the database: one entry a file.

What does not live here: the statements made of the entries (``db.interchange``).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Check:
    """Something that must hold; ``bad`` selects the ``number`` of the incoming rows that break it.

    ``columns`` are those to name in a message that goes on with ``wrong``.
    """

    columns: tuple[str, ...]
    wrong: str
    bad: str


@dataclass(frozen=True)
class Table:
    """A file's rows as a query, and where they go.

    In expressions ``s`` is the incoming row, ``t`` the row of ``target``, ``v`` a row of ``view``.
    """

    target: str
    view: str
    """Reads the file's columns out of the database."""
    key: tuple[str, ...]
    """The file's columns that say which row it is."""
    order: str
    named: Mapping[str, str]
    """The same of the target's columns, with the expressions that give them."""
    rest: Mapping[str, str] = field(default_factory=dict)
    """The target's other columns, with the expressions that give them."""
    refers: Mapping[str, str] = field(default_factory=dict)
    """Columns that hold an id, with the table it must be in."""
    defaults: Mapping[str, str] = field(default_factory=dict)
    """What no value means, where it does not mean "not known"."""
    checks: tuple[Check, ...] = ()
    doubts: tuple[Check, ...] = ()
    """What is odd and taken all the same, with a warning."""
    prepare: tuple[str, ...] = ()
    """Statements to run on the incoming rows first."""
    update_order: tuple[str, ...] = ("true",)
    """Conditions; rows that fulfil an earlier one are updated earlier."""
    generates_key: bool = False

    @property
    def has_tag(self) -> bool:
        """Whether a column names a tag; the tag may have to be made."""
        return "tags.id" in self.named.values()


def _of_user(target: str, column: str, refers: str) -> Table:
    """Return an entry for pairs of a user and something, since an instant."""
    owner = column == "owner_id"
    stored = "organizer_id" if owner else column
    return Table(
        target=target,
        view=f"SELECT user_id, {stored} AS {column}, created_at FROM {target}",
        key=("user_id", column),
        order=f"user_id, {column}",
        named={"user_id": "s.user_id", stored: f"s.{column}"},
        rest={"created_at": "s.created_at"},
        refers={"user_id": "users", column: refers},
    )


def _tags_of_user(target: str) -> Table:
    return Table(
        target=target,
        view=(
            "SELECT listed.user_id, tags.name AS tag, listed.created_at"
            f" FROM {target} AS listed JOIN tags ON tags.id = listed.tag_id"
        ),
        key=("user_id", "tag"),
        order='user_id, tag COLLATE "C"',
        named={"user_id": "s.user_id", "tag_id": "tags.id"},
        rest={"created_at": "s.created_at"},
        refers={"user_id": "users"},
    )


USERS = Table(
    target="users",
    view=("SELECT id, role, city, lat, lon, language, is_active, full_name, created_at FROM users"),
    key=("id",),
    order="id",
    named={"id": "s.id"},
    rest={
        "role": "coalesce(s.role, 'student')",
        "city": "s.city",
        "lat": "s.lat",
        "lon": "s.lon",
        "language": "s.language",
        "is_active": "coalesce(s.is_active, true)",
        "full_name": "s.full_name",
        "created_at": "s.created_at",
    },
    defaults={"role": "'student'", "is_active": "true"},
)

EVENTS = Table(
    target="events",
    view="""
SELECT id, title, category, city, venue AS venue_id, lat, lon, owner_id, start_time, created_at,
       max_seats, description, end_time, status, publish_at, deleted_at
  FROM events
""",
    key=("id",),
    order="id",
    named={"id": "s.id"},
    rest={
        "title": "s.title",
        "description": "s.description",
        "category": "s.category",
        "city": "s.city",
        "venue": "s.venue_id",
        "lat": "s.lat",
        "lon": "s.lon",
        "owner_id": "s.owner_id",
        "start_time": "s.start_time",
        "end_time": "s.end_time",
        "max_seats": "s.max_seats",
        "status": "coalesce(s.status, 'published')",
        "publish_at": "s.publish_at",
        "created_at": "s.created_at",
        "deleted_at": "s.deleted_at",
    },
    refers={"owner_id": "users"},
    defaults={"status": "'published'"},
    checks=(
        Check(
            ("start_time",),
            "is after the event's end_time",
            "SELECT s.number FROM incoming_events AS s WHERE s.end_time < s.start_time",
        ),
    ),
)

EVENT_TAGS = Table(
    target="event_tags",
    view=(
        "SELECT had.event_id, tags.name AS tag"
        " FROM event_tags AS had JOIN tags ON tags.id = had.tag_id"
    ),
    key=("event_id", "tag"),
    order='event_id, tag COLLATE "C"',
    named={"event_id": "s.event_id", "tag_id": "tags.id"},
    refers={"event_id": "events"},
)

REGISTRATIONS = Table(
    target="registrations",
    view="SELECT user_id, event_id, registered_at, attended, unregistered_at FROM registrations",
    key=("user_id", "event_id", "registered_at"),
    order="registered_at, user_id, event_id, unregistered_at, attended",
    named={
        "user_id": "s.user_id",
        "event_id": "s.event_id",
        "registered_at": "s.registered_at",
    },
    rest={"attended": "s.attended", "unregistered_at": "s.unregistered_at"},
    refers={"user_id": "users", "event_id": "events"},
    checks=(
        Check(
            ("unregistered_at",),
            "is before registered_at",
            "SELECT s.number FROM incoming_registrations AS s"
            " WHERE s.unregistered_at < s.registered_at",
        ),
        Check(
            ("user_id", "event_id"),
            "has a current registration on an earlier row already",
            """
SELECT s.number
  FROM incoming_registrations AS s
  JOIN (SELECT user_id, event_id, min(number) AS first FROM incoming_registrations
         WHERE unregistered_at IS NULL GROUP BY user_id, event_id HAVING count(*) > 1) AS twice
 USING (user_id, event_id)
 WHERE s.unregistered_at IS NULL AND s.number > twice.first
""",
        ),
        Check(
            ("user_id", "event_id"),
            "has a current registration in the database already, of another registered_at",
            """
SELECT s.number
  FROM incoming_registrations AS s
  JOIN registrations AS t USING (user_id, event_id)
 WHERE s.unregistered_at IS NULL AND t.unregistered_at IS NULL
   AND t.registered_at <> s.registered_at
   AND NOT EXISTS (SELECT FROM incoming_registrations AS o
                    WHERE (o.user_id, o.event_id, o.registered_at)
                        = (t.user_id, t.event_id, t.registered_at))
""",
        ),
    ),
    # A day for what time zones shift. It stays, for the registration itself may be right, and
    # nobody's attendance is looked at before the event starts.
    doubts=(
        Check(
            ("attended",),
            "cannot be known: the event starts, or the registration is dated, more than a day"
            " from now",
            """
SELECT s.number
  FROM incoming_registrations AS s
  JOIN events ON events.id = s.event_id
 WHERE s.attended
   AND greatest(events.start_time, s.registered_at) > now() + interval '1 day'
""",
        ),
    ),
    # First those taken back: there must at no time be two current ones of a user and event.
    update_order=("s.unregistered_at IS NOT NULL", "true"),
)

_ACT = "user_id, event_id, occurred_at, interaction_type, position, request_id"
_SAID = "dwell_seconds, meta, source, model_version, experiment, arm"

# Grouping and not joining: to a group, two nulls are alike.
_SAME_ACTS = f"""
WITH acts AS (
    SELECT number, NULL::bigint AS id, {_ACT}, {_SAID}
      FROM incoming_interactions
     WHERE client_id IS NULL AND occurred_at IN (SELECT occurred_at FROM event_interactions)
     UNION ALL
    SELECT NULL, id, {_ACT}, {_SAID}
      FROM event_interactions
     WHERE client_id IS NULL AND occurred_at IN (SELECT occurred_at FROM incoming_interactions)
), counted AS (
    SELECT *, row_number() OVER (PARTITION BY id IS NULL, {_ACT}
                                 ORDER BY {_SAID}, number, id) AS n
      FROM acts
), pairs AS (
    SELECT max(number) AS number, max(id) AS id
      FROM counted GROUP BY {_ACT}, n HAVING count(*) = 2
)
UPDATE incoming_interactions AS s SET same = pairs.id FROM pairs WHERE s.number = pairs.number
"""

INTERACTIONS = Table(
    target="event_interactions",
    view="""
SELECT user_id, event_id, occurred_at, interaction_type, position, request_id, dwell_seconds,
       meta, client_id, source, model_version, experiment, arm, id AS same
  FROM event_interactions
""",
    key=("same",),
    # By every column: rows that are alike in all may come in either order.
    order=(
        'occurred_at, user_id, event_id, interaction_type COLLATE "C", position,'
        ' request_id COLLATE "C", dwell_seconds, meta, client_id COLLATE "C",'
        ' source COLLATE "C", model_version COLLATE "C", experiment COLLATE "C", arm COLLATE "C"'
    ),
    named={"id": "s.same"},
    rest={
        "user_id": "s.user_id",
        "event_id": "s.event_id",
        "occurred_at": "s.occurred_at",
        "interaction_type": "s.interaction_type",
        "position": "s.position",
        "request_id": "s.request_id",
        "dwell_seconds": "s.dwell_seconds",
        "meta": "s.meta",
        "client_id": "s.client_id",
        "source": "s.source",
        "model_version": "s.model_version",
        "experiment": "s.experiment",
        "arm": "s.arm",
    },
    refers={"user_id": "users", "event_id": "events"},
    checks=(
        Check(
            ("event_id",),
            "must not be empty, except for a search or filter",
            "SELECT s.number FROM incoming_interactions AS s WHERE s.event_id IS NULL"
            " AND s.interaction_type NOT IN ('search', 'filter')",
        ),
        Check(
            ("client_id",),
            "is on an earlier row already",
            "SELECT s.number FROM incoming_interactions AS s JOIN (SELECT client_id, min(number)"
            " AS first FROM incoming_interactions GROUP BY client_id HAVING count(*) > 1) AS twice"
            " USING (client_id) WHERE s.number > twice.first",
        ),
    ),
    # An act is known again by its client_id, else by being the n-th one alike.
    prepare=(
        """
UPDATE incoming_interactions AS s SET same = t.id
  FROM event_interactions AS t WHERE t.client_id = s.client_id
""",
        _SAME_ACTS,
    ),
    generates_key=True,
)

TABLES: dict[str, Table] = {
    "users": USERS,
    "user_interest_tags": _tags_of_user("user_interest_tags"),
    "events": EVENTS,
    "event_tags": EVENT_TAGS,
    "registrations": REGISTRATIONS,
    "favorites": _of_user("favorite_events", "event_id", "events"),
    "interactions": INTERACTIONS,
    "follows": _of_user("user_followed_organizers", "owner_id", "users"),
    "hidden_tags": _tags_of_user("user_hidden_tags"),
    "blocked_organizers": _of_user("user_blocked_organizers", "owner_id", "users"),
}
"""By the file's name without ending; a table comes after those it refers to."""
