"""What a caller decides about a simulated city, and the fixed weights of its people's taste.

What does not live here: how a city follows from them (the other modules of ``simulation``).
"""

import math
from dataclasses import dataclass, field

from eventlink.errors import InvalidOptionError
from eventlink.recsys.dataset import DAY

LIST_LENGTH = 20
"""The longest shown list: positions 0 to 19."""


@dataclass(frozen=True)
class UtilityWeights:
    """The weights of the terms of the true utility (see ``utility.utility``), in logits."""

    topic: float = 5.0
    """Times the inner product of the user's interests and the event's topics, both of sum 1."""
    habit: float = 0.5
    """Times the user's liking of the event's slot of the week, standard normal."""
    distance: float = 1.0
    """Times -log(1 + km / 2)."""
    language: float = 1.2
    """Times -1 where an English speaker would sit in a Romanian event, -0.25 the other way."""
    loyalty: float = 1.2
    """Times log(1 + earlier registrations with the organizer, at most five)."""
    follow: float = 0.8
    """Added where the user follows the organizer."""
    friends: float = 0.5
    """Times log(1 + friends who are going)."""
    momentum: float = 0.15
    """Times log(1 + decayed count of recent registrations)."""
    marked: float = 1.0
    """Added where the user marked the event as a favourite."""
    fresh: float = 0.7
    """Times exp(-days since the event became public / 2)."""
    soon: float = 0.6
    """Times exp(-days to the start / 2)."""


@dataclass(frozen=True)
class SimulationOptions:
    """The size of a city, how long it is watched, and how much of it can be predicted.

    Raises:
        InvalidOptionError: A value is outside its range.
    """

    until: float
    """The instant at which watching ends; seconds since 1970-01-01 UTC, a whole number."""
    users: int = 2000
    events: int = 600
    days: int = 60
    signal: float = 1.0
    """The share of the choices that follow utility. At 0 who registers for what is pure chance."""
    impressions: bool = True
    """Whether to keep the rows that say what was shown. Behaviour is the same without them."""
    examination_decay: float = 0.8
    """The exponent eta: the place ``i`` of a list is looked at with chance (1 + i) ** -eta."""
    weights: UtilityWeights = field(default_factory=UtilityWeights)

    @property
    def begin(self) -> float:
        """When watching begins: a midnight (UTC), ``days`` or up to a day more before the end."""
        return math.floor(self.until / DAY - self.days) * DAY

    def __post_init__(self) -> None:
        """Check the ranges."""
        eta = self.examination_decay
        for name, least, most in (
            ("users", 2, 10_000_000),
            ("events", 1, 1_000_000),
            ("days", 1, 3660),
        ):
            value = getattr(self, name)
            _require(least <= value <= most, f"--{name}", f"between {least} and {most}", value)
        _require(0 <= self.signal <= 1, "--signal", "from 0 to 1", self.signal)
        _require(eta >= 0, "the examination decay", "0 or above", eta)


def _require(holds: bool, name: str, range_: str, value: float) -> None:
    if not holds:
        raise InvalidOptionError(f"{name} must be {range_}, not {value}")
