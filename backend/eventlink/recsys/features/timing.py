"""When an event was announced and when it starts; the same for every user.

What does not live here: whether the hour suits a user (``topics``).
"""

import numpy as np

from eventlink.recsys.dataset import DAY, HOUR, Floats
from eventlink.recsys.features.about import About, named
from eventlink.recsys.geography import local_hour_of_week
from eventlink.recsys.snapshot import Snapshot

AGE_STEPS = (6, 12, 24, 48, 96)
"""Hours."""
START_STEPS = (1, 2, 3, 5, 7, 8, 10, 14, 21)
"""Days. People plan for the same weekday of a coming week, hence 7 and 8."""
LONGEST = 365 * DAY
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAYTIMES = {"morning": (6, 12), "afternoon": (12, 17), "evening": (17, 22)}
"""Hours, from and to."""

ABOUT = (
    About(
        "time",
        ("time.age", "time.ahead", "time.lead"),
        "log hours since the announcement, to the start, and between the two",
        "Events are taken when they are new and when they are near",
    ),
    About(
        "time",
        ("time.freshness", "time.closeness"),
        "exp(-age / 2 days); exp(-time to start / 3 days)",
        "The same, as something that fades: the first days and the last ones count most",
    ),
    About(
        "time",
        (*named("time.younger_{}h", AGE_STEPS), *named("time.within_{}d", START_STEPS)),
        "steps of the age and of the time to the start",
        "People plan for the same weekday: interest in the days ahead is not smooth",
    ),
    About(
        "time",
        (*named("time.{}", WEEKDAYS), *named("time.{}", tuple(DAYTIMES))),
        "weekday and time of day at the venue",
        "Some hours draw more people than others",
    ),
)


def columns(s: Snapshot) -> dict[str, Floats]:
    """Compute the time features of every column.

    Args:
        s: The instant.

    Returns:
        Name to values, each of shape (n_columns,).
    """
    events = s.data.events
    start, created = events.start[s.columns], events.created[s.columns]
    age = np.clip(s.as_of - created, 0, LONGEST)
    ahead = np.clip(start - s.as_of, 0, LONGEST)
    lead = np.clip(np.minimum(start, s.as_of + LONGEST) - created, 0, LONGEST)
    found = {
        "time.age": np.log1p(age / HOUR),
        "time.ahead": np.log1p(ahead / HOUR),
        "time.lead": np.log1p(lead / HOUR),
        "time.freshness": np.exp(-age / (2 * DAY)),
        "time.closeness": np.exp(-ahead / (3 * DAY)),
    }
    for hours in AGE_STEPS:
        found[f"time.younger_{hours}h"] = (age < hours * HOUR).astype(float)
    for days in START_STEPS:
        found[f"time.within_{days}d"] = (ahead < days * DAY).astype(float)
    hour = local_hour_of_week(start, events.lon[s.columns])
    for number, name in enumerate(WEEKDAYS):
        found[f"time.{name}"] = (hour // 24 == number).astype(float)
    for name, (first, end) in DAYTIMES.items():
        found[f"time.{name}"] = ((hour % 24 >= first) & (hour % 24 < end)).astype(float)
    return found
