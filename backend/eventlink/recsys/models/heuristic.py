"""The heuristic: a rule of thumb under the models' contract, to explain and to compare with.

What does not live here: the heuristic that answers where no ranking is stored, which is a query.
"""

from collections.abc import Mapping
from typing import ClassVar

from eventlink.recsys.models.prior import PriorModel

RULES = {
    "organizer.known": 10.0,
    "tags.interests": 3.0,
    "place.same_city": 1.0,
    "event.registrations_24h": 1.0,
}
"""Log-odds per unit of a feature. Organizers that the user follows or has been with come first, as
nothing below outweighs them; then the cosine of tags, the city, the log of the last day's
registrations."""


class HeuristicModel(PriorModel):
    """Organizers one knows, then interests, city and what sells today. It learns nothing."""

    kind: ClassVar[str] = "heuristic"
    constants: ClassVar[Mapping[str, float]] = RULES
