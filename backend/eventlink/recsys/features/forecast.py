"""Forecast of each event's registrations in the next day, learned from days already over.

What does not live here: the features it reads (``demand``, ``organizers``, ``timing``), and who
will register (``recsys.models``).
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np

from eventlink.recsys import elsewhere
from eventlink.recsys.dataset import DAY, Dataset, Floats
from eventlink.recsys.features import demand, organizers, timing
from eventlink.recsys.features.about import About
from eventlink.recsys.features.demand import Demand
from eventlink.recsys.matrices import Dense, count
from eventlink.recsys.outcomes import outcomes
from eventlink.recsys.parallel import in_processes
from eventlink.recsys.snapshot import Snapshot

TRAINING_DAYS = 21
HALF_LIFE_DAYS = 7.0
REFIT_DAYS = 7
"""How long a replay goes on with one forecast."""
LEAST_REGISTRATIONS = 100
"""With fewer, or fewer first ones, in the training days the forecast is the prior's."""
MOST_ROWS = 60_000
"""(event, day) pairs to learn from; more are sampled down to this, evenly, to bound the time."""
ROUNDS = 120
PARAMETERS = {
    "objective": "poisson",
    "learning_rate": 0.1,
    "num_leaves": 15,
    "min_data_in_leaf": 100,
    "lambda_l2": 20.0,
    "feature_fraction": 0.5,
    "max_bin": 63,
    "seed": 1,
    "deterministic": True,
    "force_col_wise": True,
    "num_threads": 1,
    "verbosity": -1,
}
LEAST_LOG = -9.0
"""Below this an expected number is nothing, and its logarithm only noise."""

ABOUT = (
    About(
        "forecast",
        ("forecast.everybody", "forecast.newcomers"),
        "log of E's expected registrations in the next day: of all users, of first-time users",
        "Trees see how age, windows and the organizer's habits play together; a line does not",
    ),
)
NAMES = ABOUT[0].names


def columns(s: Snapshot, d: Demand) -> dict[str, Dense]:
    """Compute what a forecast reads: the features that are the same for every user.

    Args:
        s: The instant.
        d: Of the same instant.

    Returns:
        Name to values, each of shape (n_columns,).
    """
    found = demand.columns(s, d) | organizers.columns(s, d) | timing.columns(s)
    return {name: values.astype(np.float32) for name, values in found.items()}


@dataclass(frozen=True)
class Forecast:
    """What a day brings to each event: two Poisson regressions by boosted trees.

    Without boosters it is yesterday's number, drawn half way to the mean event's.
    """

    boosters: tuple[lgb.Booster, ...] = ()
    """For all users and for first-time users."""

    def columns(self, s: Snapshot, d: Demand, known: dict[str, Dense]) -> dict[str, Dense]:
        """Forecast the day that begins at an instant.

        Args:
            s: The instant.
            d: Of the same instant.
            known: What ``columns`` returns of it.

        Returns:
            Name to log expected registrations, each of shape (n_columns,).
        """
        if not (self.boosters and s.n_columns):
            yesterday = (d.of_columns(24), d.of_newcomers(24))
            expected = [(number + number.sum() / max(len(number), 1)) / 2 for number in yesterday]
            logs = [np.log(np.maximum(number, np.exp(LEAST_LOG))) for number in expected]
        else:
            x = _inputs(s, known)
            logs = [b.predict(x, raw_score=True, num_threads=1) for b in self.boosters]
        return {
            name: np.maximum(log, LEAST_LOG).astype(np.float32)
            for name, log in zip(NAMES, logs, strict=True)
        }

    def to_json(self) -> list[str]:
        """Return the boosters in LightGBM's text format."""
        return [booster.model_to_string() for booster in self.boosters]

    @classmethod
    def from_json(cls, stored: list[str]) -> "Forecast":
        """Restore what ``to_json`` returned."""
        return cls(tuple(lgb.Booster(model_str=text) for text in stored))


YESTERDAY = Forecast()


def prior() -> Forecast:
    """Return the forecast that was learned on other platforms."""
    return _prior(elsewhere.FILE)


@cache
def _prior(file: Path) -> Forecast:
    return Forecast.from_json(elsewhere.learned(file)["forecast"])


@dataclass(frozen=True)
class Day:
    """The events of one day: what was known of them at its first instant, what came of it."""

    x: Dense
    """Shape (n_columns, number of inputs)."""
    y: tuple[Floats, Floats]
    """Registrations within the day: of all users, of first-time users."""
    yesterday: tuple[Floats, Floats]
    """Those of the day before."""

    @classmethod
    def of(cls, data: Dataset, at: float) -> "Day":
        """Look at the day that begins at an instant."""
        s = Snapshot(data, at)
        d, came = Demand(s), outcomes(data, s, at + DAY)
        column, new = came.column, ~s.registrants[came.user]
        return cls(
            _inputs(s, columns(s, d)),
            (count(column, s.n_columns), count(column[new], s.n_columns)),
            (d.of_columns(24), d.of_newcomers(24)),
        )


def fit(
    days: list[Day],
    half_life_days: float = HALF_LIFE_DAYS,
    parameters: dict[str, Any] = PARAMETERS,
) -> Forecast:
    """Learn a forecast.

    Args:
        days: Days that are over, the latest last.
        half_life_days: How fast a day loses weight with its age.
        parameters: LightGBM's.

    Returns:
        The prior if there is too little to learn from.
    """
    x = np.concatenate([day.x for day in days])
    ages = np.repeat(np.arange(len(days))[::-1], [len(day.x) for day in days])
    weight = np.exp2(-ages / half_life_days)
    numbers = [np.concatenate([day.y[which] for day in days]) for which in range(2)]
    if min(y.sum() for y in numbers) < LEAST_REGISTRATIONS:
        return prior()
    some = slice(None, None, -(-len(x) // MOST_ROWS))
    rows = lgb.Dataset(x[some], weight=weight[some], params=parameters, free_raw_data=False)
    return Forecast(tuple(lgb.train(parameters, rows.set_label(y[some]), ROUNDS) for y in numbers))


def fit_as_of(data: Dataset, as_of: float) -> Forecast:
    """Learn a forecast from the days over at an instant."""
    return learn(data, as_of, as_of).at(as_of)


@dataclass(frozen=True)
class Forecasts:
    """Forecasts learned every ``REFIT_DAYS``, as a replay would have had them."""

    learned_at: Floats
    """Instants, ascending, seconds."""
    learned: tuple[Forecast, ...]

    def at(self, instant: float) -> Forecast:
        """Return the last forecast that was learned by an instant.

        Raises:
            ValueError: None was: any other would have seen what came later.
        """
        number = int(np.searchsorted(self.learned_at, instant, side="right")) - 1
        if number < 0:
            raise ValueError(f"no forecast was learned by {instant:.0f}")
        return self.learned[number]


def learn(data: Dataset, first: float, last: float) -> Forecasts:
    """Learn the forecasts for all instants of a time, on all cores.

    Args:
        data: Everything; a forecast sees only days that were over at its instant.
        first: Seconds since 1970-01-01 UTC.
        last: Likewise. Here and whole weeks before a forecast is learned.
    """
    back = np.arange(np.ceil((last - first) / (REFIT_DAYS * DAY)), -1, -1, dtype=np.float64)
    fits = last - back * REFIT_DAYS * DAY
    before = np.arange(TRAINING_DAYS, 0, -1) * DAY
    needed = np.unique(fits[:, None] - before).tolist()
    days = dict(zip(needed, in_processes(lambda at: Day.of(data, at), needed), strict=True))
    texts = in_processes(
        lambda at: fit([days[day] for day in at - before]).to_json(), fits.tolist()
    )
    return Forecasts(fits, tuple(map(Forecast.from_json, texts)))


def deviance(y: Floats, expected: Floats) -> float:
    """Mean Poisson deviance of counts from what was expected, both of shape (n,)."""
    ratio = np.log(np.maximum(y, 1) / expected)  # a count is 0, where it falls out, or at least 1
    return float(2 * np.mean(y * ratio - (y - expected)))


def _inputs(s: Snapshot, known: dict[str, Dense]) -> Dense:
    """Stack the features of columns, and how busy the site is."""
    at = s.data.registrations.at
    recent = [len(at) - np.searchsorted(at, s.as_of - days * DAY) for days in (1, 7)]
    site = np.tile(np.log1p(np.array(recent, np.float32)), (s.n_columns, 1))
    return np.column_stack([*known.values(), site])
