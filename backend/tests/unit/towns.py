"""Small towns for the tests of ``recsys``: random ones, and one with a taste that can be learned."""

from dataclasses import replace

import numpy as np

from eventlink.recsys.dataset import (
    DAY,
    Dataset,
    Events,
    EventTags,
    Registrations,
    UserOrganizers,
    Users,
    UserTags,
    empty_dataset,
)

NOON = 1_700_000_000.0 // DAY * DAY
"""An arbitrary midnight, UTC."""


def town(
    rng: np.random.Generator,
    n_users: int = 300,
    n_events: int = 120,
    n_registrations: int = 3000,
    n_days: int = 50,
    loyalty: float = 0.0,
) -> Dataset:
    """Events of organizers with one tag each; registrations at random, or with organizers one likes.

    Args:
        rng: Source of everything.
        n_users: Number of users.
        n_events: Spread over the days; live for two weeks each.
        n_registrations: Each to an event that is live at its instant.
        n_days: The data end at ``NOON``.
        loyalty: Share of registrations with the one organizer that the user likes.
    """
    n_organizers, n_tags = 12, 6
    created = np.sort(NOON + rng.uniform(-n_days * DAY, 0, n_events))
    organizer = rng.integers(0, n_organizers, n_events).astype(np.int32)
    none = np.full(n_events, -1, np.int32)
    events = Events(
        start=created + 14 * DAY,
        created=created,
        gone=np.full(n_events, np.inf),
        published=np.ones(n_events, dtype=bool),
        organizer=organizer,
        category=none,
        city=none,
        venue=none,
        title=none,
        lat=46.0 + rng.normal(0, 0.05, n_events),
        lon=23.0 + rng.normal(0, 0.05, n_events),
        max_seats=none,
    )
    user = rng.integers(0, n_users, n_registrations).astype(np.int32)
    at = np.sort(NOON + rng.uniform(-(n_days - 3) * DAY, 0, n_registrations))
    likes = (np.arange(n_users) % n_organizers).astype(np.int32)
    event = np.empty(n_registrations, np.int32)
    for i in range(n_registrations):
        live = np.flatnonzero((created < at[i]) & (events.start > at[i]))
        liked = live[organizer[live] == likes[user[i]]]
        event[i] = rng.choice(liked if len(liked) and rng.random() < loyalty else live)
    _, first = np.unique(user.astype(np.int64) * n_events + event, return_index=True)
    first.sort()
    return replace(
        empty_dataset(),
        users=Users(
            lat=46.0 + rng.normal(0, 0.05, n_users),
            lon=23.0 + rng.normal(0, 0.05, n_users),
            city=np.full(n_users, -1, np.int32),
            language=np.full(n_users, -1, np.int32),
            rankable=np.ones(n_users, dtype=bool),
            joined=np.full(n_users, -np.inf),
        ),
        events=events,
        event_tags=EventTags(np.arange(n_events, dtype=np.int32), organizer % n_tags),
        interests=UserTags(
            np.arange(n_users, dtype=np.int32),
            rng.integers(0, n_tags, n_users).astype(np.int32),
            np.full(n_users, -np.inf),
        ),
        follows=UserOrganizers(
            np.arange(0, n_users, 3, dtype=np.int32),
            rng.integers(0, n_organizers, len(range(0, n_users, 3))).astype(np.int32),
            np.full(len(range(0, n_users, 3)), -np.inf),
        ),
        registrations=Registrations(
            user=user[first],
            event=event[first],
            at=at[first],
            until=np.full(len(first), np.inf),
            attended=np.full(len(first), -1, np.int8),
        ),
        n_organizers=n_organizers,
        n_tags=n_tags,
    )


def without_signal(data: Dataset, rng: np.random.Generator) -> Dataset:
    """Turn every registration to a random live event: what could be learned is gone."""
    log, events = data.registrations, data.events
    event = np.array(
        [rng.choice(np.flatnonzero((events.created < at) & (events.start > at))) for at in log.at],
        np.int32,
    )
    return replace(data, registrations=replace(log, event=event))
