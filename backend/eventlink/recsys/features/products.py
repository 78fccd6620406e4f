"""A newcomer's features once more: a linear model's second set of weights.

What does not live here: anything that holds for users with a history too. Products of a user's ties
with an event's demand were measured and are not there: they cost quality.
"""

from collections.abc import Mapping

import numpy as np

from eventlink.recsys.features.about import About, Sheet
from eventlink.recsys.features.place import KERNEL_WIDTHS
from eventlink.recsys.matrices import Dense
from eventlink.recsys.persons import Rows
from eventlink.recsys.snapshot import Pairs

FOR_NEWCOMERS = (
    "event.registrations",
    "event.registrations_24h",
    "event.decayed_24h",
    "event.newcomers_24h",
    "event.newcomers_72h",
    "event.newcomer_share",
    "event.acceleration_72h",
    "event.next_of_organizer",
    "organizer.registrations",
    "organizer.registrations_24h",
    "organizer.follows",
    "time.age",
    "time.ahead",
    "time.freshness",
    "tags.interests",
    "tags.organizer_lift",
    "tags.category_lift",
    "language.organizer_lift",
    "language.event_lift",
    "place.distance",
    "place.beyond_nearest",
    "place.rank",
    *(f"place.{of}_kernel_{width:g}km" for of in ("event", "organizer") for width in KERNEL_WIDTHS),
)

ABOUT = (
    About(
        "newcomers",
        tuple(f"newcomer*{name}" for name in FOR_NEWCOMERS),
        "the feature where U has no registration, 0 elsewhere",
        "Most users who register have no history: what tells of them weighs differently",
    ),
)


def fill(sheet: Sheet, p: Pairs, who: Rows, of_columns: Mapping[str, Dense]) -> None:
    """Write newcomers' copies of features that are already there.

    Args:
        sheet: Where from and to.
        p: Pairs of the persons and of columns of the crowd.
        who: Their rows, in the order of ``p.users``.
        of_columns: Features that are the same for every user: name to shape (n_columns,).
    """
    newcomer = p.of_users((who.history == 0).astype(np.float32))
    for name in FOR_NEWCOMERS:
        own = sheet[f"newcomer*{name}"]
        known = p.of_columns(of_columns[name], own) if name in of_columns else sheet[name]
        np.multiply(newcomer, known, out=own)
