"""Every table, once. Foreign keys say what a deletion does: erasing a user erases their traces.

What does not live here: statements that read or write them (the other modules of ``db``) and how
they came to be (``backend/migrations``).

A column named ``*_at`` is an instant with time zone. Where an instant may be unknown it is
nullable, and unknown reads as "long ago".
"""

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    Double,
    ForeignKey,
    Identity,
    Index,
    MetaData,
    SmallInteger,
    Text,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, REAL, TIMESTAMP
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

Instant = TIMESTAMP(timezone=True)

USER_ROLES = ("student", "organizer", "admin")
EVENT_STATUSES = ("draft", "published", "cancelled")
INTERACTION_TYPES = (
    "impression",
    "click",
    "view",
    "dwell",
    "share",
    "search",
    "filter",
    "favorite",
    "register",
    "unregister",
)


def _one_of(column: str, values: tuple[str, ...]) -> str:
    return f"{column} IN ({', '.join(repr(value) for value in values)})"


class Base(DeclarativeBase):
    """The declarative base; constraint names are fixed so that migrations can name them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        int: BigInteger,
        str: Text,
        float: Double,
        datetime: Instant,
        dict[str, Any]: JSONB,
        list[Any]: JSONB,
    }


def _user_key(*, primary: bool = False) -> Mapped[int]:
    return mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=primary)


def _event_key(*, primary: bool = False) -> Mapped[int]:
    return mapped_column(ForeignKey("events.id", ondelete="CASCADE"), primary_key=primary)


def _tag_key() -> Mapped[int]:
    return mapped_column(ForeignKey("tags.id", ondelete="CASCADE"), primary_key=True)


class User(Base):
    """A person: somebody who goes to events, somebody who holds them, or an administrator."""

    __tablename__ = "users"
    __table_args__ = (
        CheckConstraint(_one_of("role", USER_ROLES), name="role"),
        CheckConstraint("lat BETWEEN -90 AND 90", name="lat"),
        CheckConstraint("lon BETWEEN -180 AND 180", name="lon"),
        Index("uq_users_email", func.lower(text("email")), unique=True),
    )

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    email: Mapped[str | None]
    password_hash: Mapped[str | None]
    full_name: Mapped[str | None]
    role: Mapped[str] = mapped_column(server_default="student")
    city: Mapped[str | None]
    lat: Mapped[float | None]
    lon: Mapped[float | None]
    language: Mapped[str | None]
    is_active: Mapped[bool] = mapped_column(server_default=text("true"))
    created_at: Mapped[datetime | None] = mapped_column(server_default=func.now())
    token_version: Mapped[int] = mapped_column(server_default=text("0"))
    """Tokens carry it; a new password raises it, and older tokens are refused."""


class Tag(Base):
    """A topic, named once."""

    __tablename__ = "tags"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)


class UserInterestTag(Base):
    """A topic a user said they like."""

    __tablename__ = "user_interest_tags"
    __table_args__ = (Index(None, "tag_id"),)

    user_id: Mapped[int] = _user_key(primary=True)
    tag_id: Mapped[int] = _tag_key()
    created_at: Mapped[datetime | None] = mapped_column(server_default=func.now())


class UserHiddenTag(Base):
    """A topic a user never wants to be shown."""

    __tablename__ = "user_hidden_tags"
    __table_args__ = (Index(None, "tag_id"),)

    user_id: Mapped[int] = _user_key(primary=True)
    tag_id: Mapped[int] = _tag_key()
    created_at: Mapped[datetime | None] = mapped_column(server_default=func.now())


class Event(Base):
    """A gathering. A row is kept when it is cancelled or deleted, for it remains history."""

    __tablename__ = "events"
    __table_args__ = (
        CheckConstraint(_one_of("status", EVENT_STATUSES), name="status"),
        CheckConstraint("lat BETWEEN -90 AND 90", name="lat"),
        CheckConstraint("lon BETWEEN -180 AND 180", name="lon"),
        CheckConstraint("max_seats >= 0", name="max_seats"),
        CheckConstraint("end_time >= start_time", name="end_time"),
        Index(
            "ix_events_live_start_time",
            "start_time",
            postgresql_where=text("status = 'published' AND deleted_at IS NULL"),
        ),
        Index(None, "owner_id"),
        Index(None, "updated_at"),
    )

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    title: Mapped[str | None]
    description: Mapped[str | None]
    category: Mapped[str | None]
    city: Mapped[str | None]
    venue: Mapped[str | None]
    lat: Mapped[float | None]
    lon: Mapped[float | None]
    owner_id: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    start_time: Mapped[datetime]
    end_time: Mapped[datetime | None]
    max_seats: Mapped[int | None]
    status: Mapped[str] = mapped_column(server_default="draft")
    publish_at: Mapped[datetime | None]
    created_at: Mapped[datetime | None] = mapped_column(server_default=func.now())
    deleted_at: Mapped[datetime | None]
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())
    """Kept by a trigger."""


class EventTag(Base):
    """A topic of an event."""

    __tablename__ = "event_tags"
    __table_args__ = (Index(None, "tag_id"),)

    event_id: Mapped[int] = _event_key(primary=True)
    tag_id: Mapped[int] = _tag_key()


class Registration(Base):
    """A user's seat at an event. One taken back keeps its row, with ``unregistered_at``."""

    __tablename__ = "registrations"
    __table_args__ = (
        CheckConstraint("unregistered_at >= registered_at", name="unregistered_at"),
        Index(
            "uq_registrations_current",
            "event_id",
            "user_id",
            unique=True,
            postgresql_where=text("unregistered_at IS NULL"),
        ),
        Index(None, "user_id"),
        Index(None, "event_id"),
    )

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    user_id: Mapped[int] = _user_key()
    event_id: Mapped[int] = _event_key()
    registered_at: Mapped[datetime] = mapped_column(server_default=func.now())
    attended: Mapped[bool | None]
    unregistered_at: Mapped[datetime | None]


class FavoriteEvent(Base):
    """An event a user marked to remember."""

    __tablename__ = "favorite_events"
    __table_args__ = (Index(None, "event_id"),)

    user_id: Mapped[int] = _user_key(primary=True)
    event_id: Mapped[int] = _event_key(primary=True)
    created_at: Mapped[datetime | None] = mapped_column(server_default=func.now())


class UserBlockedOrganizer(Base):
    """An organizer whose events a user never wants to be shown."""

    __tablename__ = "user_blocked_organizers"
    __table_args__ = (Index(None, "organizer_id"),)

    user_id: Mapped[int] = _user_key(primary=True)
    organizer_id: Mapped[int] = _user_key(primary=True)
    created_at: Mapped[datetime | None] = mapped_column(server_default=func.now())


class UserFollowedOrganizer(Base):
    """An organizer whose events a user wants to hear of."""

    __tablename__ = "user_followed_organizers"
    __table_args__ = (Index(None, "organizer_id"),)

    user_id: Mapped[int] = _user_key(primary=True)
    organizer_id: Mapped[int] = _user_key(primary=True)
    created_at: Mapped[datetime | None] = mapped_column(server_default=func.now())


class EventInteraction(Base):
    """One logged act of a user; anonymous without ``user_id``, a search or filter without event.

    ``request_id`` names the shown ranking that an impression or click belongs to; ``client_id`` is
    the browser's own name for the act and makes a replay harmless.
    """

    __tablename__ = "event_interactions"
    __table_args__ = (
        CheckConstraint(_one_of("interaction_type", INTERACTION_TYPES), name="interaction_type"),
        CheckConstraint("position >= 0", name="position"),
        CheckConstraint("dwell_seconds >= 0", name="dwell_seconds"),
        CheckConstraint(
            "event_id IS NOT NULL OR interaction_type IN ('search', 'filter')", name="event_id"
        ),
        Index(
            "uq_event_interactions_client_id",
            "client_id",
            unique=True,
            postgresql_where=text("client_id IS NOT NULL"),
        ),
        Index(None, "user_id", "occurred_at"),
        Index(None, "event_id"),
        Index("ix_event_interactions_occurred_at", "occurred_at", postgresql_using="brin"),
        Index(
            "ix_event_interactions_request_id",
            "request_id",
            postgresql_where=text("request_id IS NOT NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    user_id: Mapped[int | None] = _user_key()
    event_id: Mapped[int | None] = _event_key()
    interaction_type: Mapped[str]
    occurred_at: Mapped[datetime] = mapped_column(server_default=func.now())
    position: Mapped[int | None] = mapped_column(SmallInteger)
    request_id: Mapped[str | None]
    dwell_seconds: Mapped[float | None] = mapped_column(REAL)
    client_id: Mapped[str | None]
    meta: Mapped[dict[str, Any] | None]
    source: Mapped[str | None]
    """Who made the shown list, ``cache`` or ``heuristic``, read from a ``request_id`` of ours."""
    model_version: Mapped[str | None]
    experiment: Mapped[str | None]
    """The name of the experiment that the shown list was part of."""
    arm: Mapped[str | None]
    """Its arm, ``treatment`` or ``control``."""


class RecommenderModel(Base):
    """A fitted model as JSON. At most one is active."""

    __tablename__ = "recommender_models"
    __table_args__ = (
        Index(
            "uq_recommender_models_active",
            "is_active",
            unique=True,
            postgresql_where=text("is_active"),
        ),
    )

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    model_version: Mapped[str] = mapped_column(unique=True)
    feature_names: Mapped[list[Any]]
    weights: Mapped[dict[str, Any]]
    meta: Mapped[dict[str, Any]]
    is_active: Mapped[bool] = mapped_column(server_default=text("false"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class RecommendationGeneration(Base):
    """One recompute's rankings of everybody: which partition holds them and what made them.

    ``reason_names`` turns the small integers of ``recommendation_lists.reason_codes`` (counted
    from 1) into words, so that a new reason needs no migration.
    """

    __tablename__ = "recommendation_generations"

    generation: Mapped[int] = mapped_column(Identity(), primary_key=True)
    model_version: Mapped[str]
    generated_at: Mapped[datetime]
    reason_names: Mapped[list[str]] = mapped_column(ARRAY(Text))
    user_count: Mapped[int | None]
    meta: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    """The rules that made the lists, and which events' seats were scarce."""


class RecommendationServing(Base):
    """The pointer: one row that names the generation being served, and the one to go back to."""

    __tablename__ = "recommendation_serving"
    __table_args__ = (CheckConstraint("only_row", name="only_row"),)

    only_row: Mapped[bool] = mapped_column(primary_key=True, server_default=text("true"))
    generation: Mapped[int] = mapped_column(ForeignKey("recommendation_generations.generation"))
    previous_generation: Mapped[int | None] = mapped_column(
        ForeignKey("recommendation_generations.generation")
    )


class RecommendationList(Base):
    """A user's ranking in one generation, best first; partitioned by generation.

    There is no foreign key: checking one for a million rows at every publish would lock ``users``.
    A trigger on ``users`` erases instead.
    """

    __tablename__ = "recommendation_lists"
    __table_args__ = ({"postgresql_partition_by": "LIST (generation)"},)

    generation: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    user_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    event_ids: Mapped[list[int]] = mapped_column(ARRAY(BigInteger))
    scores: Mapped[list[float]] = mapped_column(ARRAY(REAL))
    reason_codes: Mapped[list[int]] = mapped_column(ARRAY(SmallInteger))
    reason_args: Mapped[list[int | None]] = mapped_column(ARRAY(BigInteger))


class RecommendationOverlay(Base):
    """A user's ranking refreshed since the serving generation was made; the later one is served."""

    __tablename__ = "recommendation_overlay"

    user_id: Mapped[int] = _user_key(primary=True)
    model_version: Mapped[str]
    generated_at: Mapped[datetime]
    event_ids: Mapped[list[int]] = mapped_column(ARRAY(BigInteger))
    scores: Mapped[list[float]] = mapped_column(ARRAY(REAL))
    reasons: Mapped[list[str]] = mapped_column(ARRAY(Text))


class RecommendationRefresh(Base):
    """A user whose ranking is to be refreshed, or was.

    Every mark raises ``sequence``; a refresh clears ``due_at`` only if the sequence is still the
    one it began with, so that what a user does meanwhile is not lost.
    """

    __tablename__ = "recommendation_refreshes"
    __table_args__ = (
        Index(
            "ix_recommendation_refreshes_due_at",
            "due_at",
            postgresql_where=text("due_at IS NOT NULL"),
        ),
    )

    user_id: Mapped[int] = mapped_column(
        ForeignKey("users.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    sequence: Mapped[int]
    due_at: Mapped[datetime | None]
    claimed_until: Mapped[datetime | None]
    refreshed_at: Mapped[datetime | None]
    attempts: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))


class RateLimit(Base):
    """A token bucket that all processes share. Not logged: a crash forgives everybody."""

    __tablename__ = "rate_limits"
    __table_args__ = ({"prefixes": ["UNLOGGED"]},)

    bucket: Mapped[str] = mapped_column(primary_key=True)
    tokens: Mapped[float]
    updated_at: Mapped[datetime]


class JobProgress(Base):
    """How far a job is, or why it failed. Rows of jobs that are gone are pruned with them.

    The jobs themselves are in Procrastinate's tables, which its own migrations make.
    """

    __tablename__ = "job_progress"

    job_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    phase: Mapped[str | None]
    done: Mapped[float | None] = mapped_column(REAL)
    error: Mapped[str | None]
    updated_at: Mapped[datetime]


class RecommendationExploration(Base):
    """An event that was drawn for a place of a user's ranking, and the chance of that draw.

    Kept beyond its ranking, so that what came of it can be weighed by 1 / propensity. Rankings of
    which nothing was drawn have no rows.
    """

    __tablename__ = "recommendation_explorations"
    __table_args__ = (
        CheckConstraint("propensity > 0 AND propensity < 1", name="propensity"),
        Index(None, "event_id"),
        Index(None, "generated_at"),
    )

    user_id: Mapped[int] = _user_key(primary=True)
    generated_at: Mapped[datetime] = mapped_column(primary_key=True)
    event_id: Mapped[int] = _event_key(primary=True)
    model_version: Mapped[str]
    rank: Mapped[int] = mapped_column(SmallInteger)
    propensity: Mapped[float] = mapped_column(REAL)
