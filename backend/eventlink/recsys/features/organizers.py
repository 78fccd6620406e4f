"""What an event's organizer says of it, and its place among the organizer's events.

The same for every user. What does not live here: a user's own past with the organizer
(``affinity``).
"""

import numpy as np

from eventlink.recsys.dataset import DAY, HOUR, Bools, Floats, Ints
from eventlink.recsys.features.about import About, named
from eventlink.recsys.features.demand import Demand
from eventlink.recsys.features.timing import LONGEST
from eventlink.recsys.matrices import count
from eventlink.recsys.shrinkage import drawn, smoothed_shares, strength
from eventlink.recsys.snapshot import Snapshot

WINDOWS = (6, 24, 72, 168)
"""Hours."""
SHARE_WINDOWS = (24, 72)

ABOUT = (
    About(
        "organizer",
        ("organizer.registrations", *named("organizer.registrations_{}h", WINDOWS)),
        "log of registrations for any of the organizer's events, ever and in the last hours",
        "Organizers live longer than events: their demand is known on an event's first day",
    ),
    About(
        "organizer",
        named("event.share_of_organizer_{}h", SHARE_WINDOWS),
        "the event's smoothed share of the organizer's recent registrations",
        "Which of an organizer's events people take",
    ),
    About(
        "organizer",
        ("organizer.followers", "organizer.events", "organizer.live"),
        "log of its followers, of its events ever, and of those that are live",
        "Size; an organizer with many live events splits its demand among them",
    ),
    About(
        "organizer",
        ("organizer.mean_registrations", "event.against_organizer_mean"),
        "log of its smoothed mean registrations an event, and the event's own against it",
        "An event far below its organizer's mean is still to fill",
    ),
    About(
        "organizer",
        ("organizer.since_post", "event.newest_of_organizer"),
        "log hours since the organizer's newest event was announced; whether this is it",
        "An announcement brings the organizer's people to the site",
    ),
    About(
        "organizer",
        ("organizer.first_day", "organizer.first_day_fresh"),
        "log of smoothed mean registrations in its events' first 24 h; the same, fading with age",
        "Tells the burst that a fresh event is about to get",
    ),
    About(
        "organizer",
        ("event.next_of_organizer", "event.order_of_organizer", "event.pace_rank_of_organizer"),
        "whether it is the organizer's next to start; log rank by start, by registrations in 72 h",
        "The next one of a series takes most of its registrations",
    ),
)


def columns(s: Snapshot, demand: Demand) -> dict[str, Floats]:
    """Compute the organizer features of every column.

    Args:
        s: The instant.
        demand: Of the same instant.

    Returns:
        Name to values, each of shape (n_columns,).
    """
    return (
        _volume(s, demand)
        | _size(s)
        | _mean(s, demand)
        | _announcements(s)
        | _first_day(s, demand)
        | _among_siblings(s, demand)
    )


def _volume(s: Snapshot, demand: Demand) -> dict[str, Floats]:
    organizers = s.organizers
    found = {"organizer.registrations": np.log1p(organizers.pick(demand.of_groups(organizers)))}
    for hours in WINDOWS:
        whole = organizers.pick(demand.of_groups(organizers, hours))
        found[f"organizer.registrations_{hours}h"] = np.log1p(whole)
        if hours in SHARE_WINDOWS:
            own = demand.of_columns(hours)
            found[f"event.share_of_organizer_{hours}h"] = smoothed_shares(own, whole)
    return found


def _size(s: Snapshot) -> dict[str, Floats]:
    organizers, n = s.organizers, s.data.n_organizers
    followers = count(s.data.follows.organizer, n)
    own = s.data.events.organizer[s.columns]
    live = organizers.of_event[s.live]
    return {
        "organizer.followers": np.log1p(np.append(followers, 0)[own]),
        "organizer.events": np.log1p(organizers.pick(_per_group(organizers.of_event, s))),
        "organizer.live": np.log1p(organizers.pick(_per_group(live, s))),
    }


def _per_group(group: Ints, s: Snapshot, weight: Floats | None = None) -> Floats:
    return count(group, s.organizers.size + 1, weight)[: s.organizers.size]


def _mean(s: Snapshot, demand: Demand) -> dict[str, Floats]:
    taken = count(demand.log.event, s.data.n_events)
    usual = np.log1p(_of_usual_event(s, taken, s.data.events.created < np.inf))
    return {
        "organizer.mean_registrations": usual,
        "event.against_organizer_mean": np.log1p(demand.of_columns()) - usual,
    }


def _of_usual_event(s: Snapshot, taken: Floats, which: Bools) -> Floats:
    """Average over each column's organizer's events, drawn towards the mean of all organizers'.

    Args:
        s: The instant.
        taken: Registrations of every event of the Dataset.
        which: The events that count.

    Returns:
        Shape (n_columns,); 0 without an organizer.
    """
    which = which & (s.organizers.of_event < s.organizers.size)
    group, taken = s.organizers.of_event[which], taken[which]
    total, number = _per_group(group, s, taken), _per_group(group, s)
    site = taken.mean() if len(taken) else 0.0
    weight = strength(total, number, site, taken.var() if len(taken) else 0.0)
    return s.organizers.pick(drawn(total, number, site, weight))


def _announcements(s: Snapshot) -> dict[str, Floats]:
    created = s.data.events.created
    known = np.isfinite(created)
    newest = np.full(s.organizers.size + 1, -np.inf)
    np.maximum.at(newest, s.organizers.of_event[known], created[known])
    newest[-1] = -np.inf  # no organizer
    of_column = newest[s.organizers.of_column]
    since = np.minimum(s.as_of - of_column, LONGEST)
    return {
        "organizer.since_post": np.log1p(since / HOUR),
        "event.newest_of_organizer": (created[s.columns] >= of_column).astype(float),
    }


def _first_day(s: Snapshot, demand: Demand) -> dict[str, Floats]:
    """Registrations in the first 24 h of the organizer's events that are past that age."""
    created, log = s.data.events.created, demand.log
    grown = np.isfinite(created) & (created + DAY <= s.as_of)
    early = grown[log.event] & (log.at < created[log.event] + DAY)
    taken = count(log.event[early], s.data.n_events)
    expected = np.log1p(_of_usual_event(s, taken, grown))
    age = np.maximum(s.as_of - created[s.columns], 0)
    return {
        "organizer.first_day": expected,
        "organizer.first_day_fresh": expected * np.exp(-age / (2 * DAY)),
    }


def _among_siblings(s: Snapshot, demand: Demand) -> dict[str, Floats]:
    by_start = order_by_start(s)
    by_pace = rank_within(_owners(s), -demand.of_columns(72))
    return {
        "event.next_of_organizer": (by_start == 0).astype(float),
        "event.order_of_organizer": np.log1p(by_start),
        "event.pace_rank_of_organizer": np.log1p(by_pace),
    }


def order_by_start(s: Snapshot) -> Floats:
    """Number each column, from 0, among its organizer's columns as they start."""
    return rank_within(_owners(s), s.data.events.start[s.columns])


def _owners(s: Snapshot) -> Ints:
    """Give each column its organizer's number; those without one stand each alone."""
    group, alone = s.organizers.of_column, s.organizers.size
    return np.where(group < alone, group, alone + np.arange(s.n_columns, dtype=np.int32))


def rank_within(group: Ints, value: Floats) -> Floats:
    """Rank values from 0, ascending, within each group; ties in the order given."""
    order = np.lexsort((value, group))
    in_order = group[order]
    starts = np.flatnonzero(np.diff(in_order, prepend=-1))
    sizes = np.diff(starts, append=len(group))
    rank = np.empty(len(group))
    rank[order] = np.arange(len(group)) - np.repeat(starts, sizes)
    return rank
