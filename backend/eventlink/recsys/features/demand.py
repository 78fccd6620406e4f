"""How an event gathers registrations; the same for every user.

What does not live here: its organizer's other events (``organizers``), and how demand meets a
user's own past (``products``).
"""

from functools import cached_property

import numpy as np

from eventlink.recsys.dataset import DAY, HOUR, Bools, Floats
from eventlink.recsys.features.about import About, named
from eventlink.recsys.features.timing import LONGEST
from eventlink.recsys.matrices import count
from eventlink.recsys.shrinkage import smoothed_shares
from eventlink.recsys.snapshot import Groups, Snapshot

WINDOWS = (1, 3, 6, 12, 24, 48, 72, 168, 336)
"""Hours."""
HALF_LIVES = (8, 24, 72)
"""Hours."""
NEWCOMER_WINDOWS = (6, 24, 72)

ABOUT = (
    About(
        "demand",
        ("event.registrations", *named("event.registrations_{}h", WINDOWS)),
        "log of the event's registrations, ever and in the last hours",
        "What many people just chose is what the next one chooses; each window forgets at its pace",
    ),
    About(
        "demand",
        named("event.decayed_{}h", HALF_LIVES),
        "log of its registrations, each halved with every half-life since",
        "A window's edge makes steps; a decay does not",
    ),
    About(
        "demand",
        ("event.quiet",),
        "log hours since its last registration",
        "An event that nobody takes any more is over",
    ),
    About(
        "demand",
        ("event.rate",),
        "log of its registrations a day of its age",
        "Compares events of different ages",
    ),
    About(
        "demand",
        ("event.acceleration_72h", "event.acceleration_168h"),
        "log of the last day's registrations against the mean day of three, of seven",
        "Whether demand rises or falls",
    ),
    About(
        "demand",
        (*named("event.newcomers_{}h", NEWCOMER_WINDOWS), "event.newcomer_share"),
        "log of first registrations of their users, and their smoothed share of all",
        "A user without history chooses what others without history chose",
    ),
    About(
        "demand",
        ("event.refusals", "event.favorites"),
        "log of how many said no or took a registration back; how many marked the event",
        "Answers of any kind show how many people see it; a mark is demand to come",
    ),
    About(
        "demand",
        ("event.engagement", "event.skips"),
        "log of decayed clicks, views, shares and long dwells; of times passed over in a list",
        "Interest before it becomes a registration, and its absence",
    ),
)


class Demand:
    """The registrations of an instant by age, event and kind.

    Args:
        s: The instant.
    """

    def __init__(self, s: Snapshot) -> None:
        self.s = s
        self.log = s.data.registrations
        self.column = s.column_of[self.log.event]

    @cached_property
    def newcomers(self) -> Bools:
        """For each registration, whether it is its user's first."""
        order = np.arange(len(self.log))
        first = np.full(self.s.data.n_users, -1)
        first[self.log.user[::-1]] = order[::-1]  # of several writes the last one stays
        newcomers: Bools = first[self.log.user] == order
        return newcomers

    def since(self, hours: float) -> slice:
        """Return the rows of the last hours."""
        start = np.searchsorted(self.log.at, self.s.as_of - hours * HOUR, side="left")
        return slice(int(start), len(self.log))

    def of_columns(self, hours: float = np.inf) -> Floats:
        """Count registrations by column."""
        return count(self.column[self.since(hours)], self.s.n_columns)

    def of_newcomers(self, hours: float = np.inf) -> Floats:
        """Count first registrations of their users by column."""
        rows = self.since(hours)
        return count(self.column[rows][self.newcomers[rows]], self.s.n_columns)

    def of_groups(self, groups: Groups, hours: float = np.inf) -> Floats:
        """Count registrations by group, shape (size,); of all its events, past ones too."""
        group = groups.of_event[self.log.event[self.since(hours)]]
        return count(group, groups.size + 1)[: groups.size]


def columns(s: Snapshot, demand: Demand) -> dict[str, Floats]:
    """Compute the demand features of every column.

    Args:
        s: The instant.
        demand: Of the same instant.

    Returns:
        Name to values, each of shape (n_columns,).
    """
    return _volume(s, demand) | _newcomers(demand) | _other_acts(s)


def _volume(s: Snapshot, demand: Demand) -> dict[str, Floats]:
    total = demand.of_columns()
    counts = {hours: demand.of_columns(hours) for hours in WINDOWS}
    found = {"event.registrations": np.log1p(total)}
    for hours, number in counts.items():
        found[f"event.registrations_{hours}h"] = np.log1p(number)
    for hours in HALF_LIVES:
        weight = s.decay(demand.log.at, hours * HOUR)
        found[f"event.decayed_{hours}h"] = np.log1p(count(demand.column, s.n_columns, weight))
    age = np.clip(s.as_of - s.data.events.created[s.columns], 0, LONGEST)
    last = np.full(s.n_columns + 1, -np.inf)
    last[demand.column] = demand.log.at  # sorted, so the last one stays; -1 is the extra place
    found["event.quiet"] = np.log1p(np.minimum(s.as_of - last[:-1], age) / HOUR)
    found["event.rate"] = np.log1p(total / np.maximum(age / DAY, 0.25))
    for hours in (72, 168):
        usual = counts[hours] / (hours / 24)
        found[f"event.acceleration_{hours}h"] = np.log1p(counts[24]) - np.log1p(usual)
    return found


def _newcomers(demand: Demand) -> dict[str, Floats]:
    found = {
        f"event.newcomers_{hours}h": np.log1p(demand.of_newcomers(hours))
        for hours in NEWCOMER_WINDOWS
    }
    new, everybody = demand.of_newcomers(), demand.of_columns()
    found["event.newcomer_share"] = smoothed_shares(new, everybody)
    return found


def _other_acts(s: Snapshot) -> dict[str, Floats]:
    def total(acts: str) -> Floats:
        matrix = getattr(s, acts)
        return np.log1p(count(s.column_of[matrix.indices], s.n_columns, matrix.data))

    return {
        f"event.{acts}": total(acts) for acts in ("refusals", "favorites", "engagement", "skips")
    }
