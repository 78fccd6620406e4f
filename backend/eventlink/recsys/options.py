"""Options of the mathematics, shared by command line, job and a model's ``meta``.

What does not live here: settings of a machine or a site (``eventlink.config``).
"""

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from eventlink.errors import InvalidOptionError

MODELS = ("auto", "heuristic", "prior", "linear", "trees")
"""What ``TrainOptions.model`` may be."""

FOLDS = 7
"""Days that are evaluated."""
MOST_DAYS = 366
"""That are replayed or evaluated: each takes its seconds."""

MOST_TRAININGS = 32
"""That are averaged: every one trains every model on every day."""


class Activate(StrEnum):
    """When a new model becomes the active one; only the last rule compares (``recsys.gate``)."""

    ALWAYS = "always"
    NEVER = "never"
    IF_BETTER = "if-better"


@dataclass(frozen=True)
class RerankingOptions:
    """Which rules move events of a list; ``docs/reranking.md`` tells what each costs.

    Raises:
        InvalidOptionError: A value lies outside its range.
    """

    head: int = 10
    """The first places of a list, to which the rules of organizers, series and exploration hold."""
    per_organizer: int = 0
    """The most events of one organizer in the head; 0 for any number."""
    collapse_series: bool = False
    """Whether a series shows once in the head, by its best event."""
    demote_overlaps: bool = False
    """Whether events at the time of one the user is registered for move down."""
    seat_strength: float = 0.25
    """How strongly scarce seats damp: the exponent of seats over expected demand; 0 for not."""
    explore_slots: int = 0
    """How many places of the head go to events that little is known of."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        _require(1 <= self.head <= 100, "head", "between 1 and 100", self.head)
        _require(self.per_organizer >= 0, "per_organizer", "0 or above", self.per_organizer)
        strength, slots = self.seat_strength, self.explore_slots
        _require(0 <= strength <= 10, "seat_strength", "between 0 and 10", strength)
        _require(0 <= slots < self.head, "explore_slots", "0 or above and below --head", slots)

    @property
    def moves(self) -> bool:
        """Whether any rule is on that holds whether or not seats are scarce."""
        counts = self.per_organizer + self.explore_slots
        return bool(counts or self.collapse_series or self.demote_overlaps)


@dataclass(frozen=True)
class TrainOptions(RerankingOptions):
    """How to train, by which rules to re-rank, and how much to publish.

    Raises:
        InvalidOptionError: A value lies outside its range.
    """

    epochs: int = 6
    """Passes over the training examples."""
    lr: float = 0.35
    """AdaGrad's step size."""
    l2: float = 0.01
    """Weight of the squared norm of the standardised weights."""
    top_n: int = 50
    """Events stored a user."""
    seed: int = 0
    replay_days: int = 28
    """Days whose registrations are the training examples."""
    half_life_days: float = 7.0
    """How fast an example loses weight with its age."""
    negatives: int = 100
    """Events drawn for each user and day beside the ones registered for."""
    model: str = "auto"
    """The rung of the ladder: ``auto`` is the highest that the examples carry (``fit_model``)."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        super().__post_init__()
        for name, most in (
            ("epochs", 1000),
            ("top_n", 1000),
            ("replay_days", MOST_DAYS),
            ("negatives", 10_000),
        ):
            value = getattr(self, name)
            _require(1 <= value <= most, name, f"between 1 and {most}", value)
        _require(self.half_life_days > 0, "half_life_days", "above 0", self.half_life_days)
        # Beyond these, and far below, numbers overflow.
        _require(0 < self.lr <= 100, "lr", "above 0 and at most 100", self.lr)
        _require(0 <= self.l2 <= 1000, "l2", "between 0 and 1000", self.l2)
        _require(self.seed >= 0, "seed", "0 or above", self.seed)
        _require(self.model in MODELS, "model", f"one of {', '.join(MODELS)}", repr(self.model))

    def to_json(self) -> dict[str, Any]:
        """Return the options as JSON, for a model's ``meta``."""
        return asdict(self)


def require_folds(folds: int, least: int = 0) -> None:
    """Check a number of days to evaluate on.

    Raises:
        InvalidOptionError: It is out of range.
    """
    _require(least <= folds <= MOST_DAYS, "folds", f"between {least} and {MOST_DAYS}", folds)


def require_trainings(trainings: int) -> None:
    """Check a number of trainings to average.

    Raises:
        InvalidOptionError: It is out of range.
    """
    _require(
        1 <= trainings <= MOST_TRAININGS, "trainings", f"between 1 and {MOST_TRAININGS}", trainings
    )


def _require(holds: bool, name: str, range_: str, value: object) -> None:
    if not holds:
        raise InvalidOptionError(f"--{name.replace('_', '-')} must be {range_}, not {value}")
