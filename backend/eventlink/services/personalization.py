"""Personalization metrics: how often what is shown is clicked and registered for, and how surely.

What does not live here: the counting (``db.personalization``).

One user's impressions are not independent: who clicks once clicks again. So the user is the unit.
A rate is a ratio of two sums over users, and its variance is linearised over them: the delta
method (Deng, Knoblich, Lu 2018, "Applying the Delta Method in Metric Analytics"). The interval is
Wilson's, of as many independent impressions as would have that variance, with Student's t for few
users (Dean and Pagano 2015, "Evaluating Confidence Interval Methods for Binomial Proportions in
Clustered Surveys"): it stays within 0 and 1 and holds for rare clicks, where rate ± 1.96 standard
errors does not. Where a few users see most of what is shown, they are the few: users are counted by
Kish's effective size (1965, "Survey Sampling").

The arms of an experiment have different users, so their rates are independent, and what one is
above the other has an interval made of the two: Newcombe's for the difference (1998, "Interval
Estimation for the Difference between Independent Proportions", method 10), and of the same kind
for the ratio (Donner and Zou 2012, "Closed-Form Confidence Intervals for Functions of the Normal
Mean and Standard Deviation"), which is Fieller's with each rate's own limits.
"""

import math
import threading
import time
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from scipy.special import stdtrit
from sqlalchemy import Connection

from eventlink.config import settings
from eventlink.db.personalization import NOTHING, Sums, outcomes
from eventlink.db.session import NO_TIMEOUTS_IN_THIS_TRANSACTION
from eventlink.errors import TooManyRequestsError
from eventlink.services.experiments import Arm

REGISTRATION_WINDOW = timedelta(days=7)
"""A registration is credited to the latest impression within so long before it."""
MOST_DAYS = 365
CONFIDENCE = 0.95
LEAST_SURE = 0.001
"""Share of a rate that its interval must begin above for anything to be told relative to it."""

LONG = 1.0
"""Seconds; a report that took longer to make is given again for a while, and not waited for."""
KEPT = 20
"""For how many times as long as it took; each process keeps its own, of each span of days."""
KEPT_AT_MOST = 600.0
"""Seconds; the page for administrators asks as often."""
AGAIN_AFTER = 5.0
"""Seconds until whoever asked while another report was being made may ask again."""


@dataclass(frozen=True)
class Rate:
    """A share of impressions with its 95 % interval; all None without impressions."""

    rate: float | None
    low: float | None
    """None, like ``high``, for a single user: nothing is known of how users differ."""
    high: float | None


@dataclass(frozen=True)
class Figures:
    """What impressions led to."""

    users: int
    """Whose impressions they are; each anonymous list counts as one."""
    impressions: int
    clicks: int
    """Impressions that were clicked."""
    registrations: int
    """Impressions that a registration is credited to."""
    ctr: Rate
    registration_conversion: Rate


@dataclass(frozen=True)
class DayFigures(Figures):
    """Of the impressions of a UTC day."""

    day: date


@dataclass(frozen=True)
class SourceFigures(Figures):
    """Of the lists that the cache or the heuristic made; null where that is not known."""

    source: str | None


@dataclass(frozen=True)
class ModelFigures(Figures):
    """Of the lists that a model made; null where none did, or that is not known."""

    model_version: str | None


@dataclass(frozen=True)
class ArmFigures(Figures):
    """Of the lists of an arm of the experiment that is set; null for lists that were no part."""

    arm: str | None


@dataclass(frozen=True)
class Difference:
    """How much a rate of the treatment is above that of the control, with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Lift:
    """What rankings change of a rate; null where an arm has fewer than two users."""

    absolute: Difference | None
    """Treatment minus control."""
    relative: Difference | None
    """The same as a share of the control; null also where nothing came of that."""


@dataclass(frozen=True)
class Lifts:
    """Whether rankings help: the arms of the experiment compared."""

    experiment: str
    """``RECOMMENDATIONS_EXPERIMENT``; lists of no other one count."""
    ctr: Lift
    registration_conversion: Lift


@dataclass(frozen=True)
class Attribution:
    """How clicks and registrations are credited to impressions."""

    impression: str = (
        "the first showing of an event under a request_id; repetitions of it do not count"
    )
    click: str = "credited to the impression of the same user, request_id and event"
    registration: str = (
        "credited to the user's latest impression of the event, with a request_id and within the"
        " window before it, also if it is taken back later"
    )
    registration_window_days: float = REGISTRATION_WINDOW / timedelta(days=1)


@dataclass(frozen=True)
class PersonalizationMetrics:
    """What recommendations led to, over the last days."""

    since: datetime
    until: datetime
    """The latest ``registration_window_days`` can still gain registrations."""
    attribution: Attribution
    confidence: float
    unattributed_impressions: int
    """Those without ``request_id``; not among the others."""
    total: Figures
    by_day: list[DayFigures]
    by_source: list[SourceFigures]
    by_model_version: list[ModelFigures]
    by_arm: list[ArmFigures]
    lift: Lifts


class Reports:
    """Makes one report at a time, and gives those again that took long.

    What has millions of impressions to count takes long, reads all of them and holds a connection.
    Whoever asks for several spans, or opens the page again, must not take all connections. So
    nobody waits for a long report either: a request that waits holds a connection too.
    """

    def __init__(self) -> None:
        self._making = threading.Lock()
        self._made: dict[tuple[int, str], tuple[float, PersonalizationMetrics]] = {}
        """Each with the instant until which it is given again; read without the lock."""

    def latest(self, conn: Connection, days: int, now: datetime) -> PersonalizationMetrics:
        """Report as ``personalization_metrics`` does, or give a report again.

        Args:
            conn: Inside a transaction, in which nothing limits any more how long a statement takes.
            days: How many, 1 to ``MOST_DAYS``.
            now: When the report ends, unless it is given again.

        Raises:
            TooManyRequestsError: Another one is being made and takes long.
        """
        of = days, settings().recommendations_experiment
        if (kept := self._kept(of)) is not None:
            return kept
        if not self._making.acquire(timeout=LONG):
            raise TooManyRequestsError(
                "other figures are being counted; ask again in a few seconds", AGAIN_AFTER
            )
        try:
            if (kept := self._kept(of)) is not None:
                return kept  # made meanwhile
            began = time.monotonic()
            conn.execute(NO_TIMEOUTS_IN_THIS_TRANSACTION)
            report = personalization_metrics(conn, days, now)
            ended = time.monotonic()
            still = {of: made for of, made in self._made.items() if made[0] > ended}
            if ended - began > LONG:
                still[of] = ended + min(KEPT * (ended - began), KEPT_AT_MOST), report
            self._made = still
            return report
        finally:
            self._making.release()

    def _kept(self, of: tuple[int, str]) -> PersonalizationMetrics | None:
        """Return the report that is to be given again, if there is one."""
        until, report = self._made.get(of, (0.0, None))
        return report if until > time.monotonic() else None


def personalization_metrics(conn: Connection, days: int, now: datetime) -> PersonalizationMetrics:
    """Report on the last UTC days, today's part among them.

    Args:
        conn: Inside a transaction.
        days: How many, 1 to ``MOST_DAYS``.
        now: When the report ends.
    """
    today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    since = today - timedelta(days=days - 1)
    experiment = settings().recommendations_experiment
    found = outcomes(conn, since, now, REGISTRATION_WINDOW, experiment)
    treatment, control = (found.by_arm.get(arm, NOTHING) for arm in Arm)
    each_day = [(since + timedelta(days=number)).date() for number in range(days)]
    return PersonalizationMetrics(
        since=since,
        until=now,
        attribution=Attribution(),
        confidence=CONFIDENCE,
        unattributed_impressions=found.unattributed_impressions,
        total=_figures(found.total),
        by_day=[
            DayFigures(**vars(_figures(found.by_day.get(day, NOTHING))), day=day)
            for day in each_day
        ],
        by_source=[
            SourceFigures(**vars(_figures(sums)), source=source)
            for source, sums in found.by_source.items()
        ],
        by_model_version=[
            ModelFigures(**vars(_figures(sums)), model_version=version)
            for version, sums in found.by_model_version.items()
        ],
        by_arm=[ArmFigures(**vars(_figures(sums)), arm=arm) for arm, sums in found.by_arm.items()],
        lift=compare(experiment, treatment, control),
    )


def compare(
    experiment: str, treatment: Sums, control: Sums, confidence: float = CONFIDENCE
) -> Lifts:
    """Tell how much more the treatment's impressions lead to than the control's.

    Args:
        experiment: Its name.
        treatment: Sums over the users of the one arm.
        control: The same of the other.
        confidence: How often each interval is to hold the truth.
    """
    one, other = (_figures(sums, confidence) for sums in (treatment, control))
    return Lifts(
        experiment=experiment,
        ctr=lift(one.ctr, other.ctr),
        registration_conversion=lift(one.registration_conversion, other.registration_conversion),
    )


def _figures(sums: Sums, confidence: float = CONFIDENCE) -> Figures:
    return Figures(
        users=sums.users,
        impressions=int(sums.n),
        clicks=int(sums.c),
        registrations=int(sums.r),
        ctr=rate(sums.users, sums.n, sums.c, sums.nn, sums.nc, sums.cc, confidence),
        registration_conversion=rate(
            sums.users, sums.n, sums.r, sums.nn, sums.nr, sums.rr, confidence
        ),
    )


def rate(
    users: int,
    n: float,
    y: float,
    nn: float,
    ny: float,
    yy: float,
    confidence: float = CONFIDENCE,
) -> Rate:
    """Estimate a ratio of two sums over users, with its interval.

    Args:
        users: How many.
        n: Sum of their impressions.
        y: Sum of their successes, at most one an impression.
        nn: Sum of the squares of impressions.
        ny: Sum of impressions times successes.
        yy: Sum of the squares of successes.
        confidence: How often the interval is to hold the truth.
    """
    if not n:
        return Rate(None, None, None)
    ratio = y / n
    if users < 2:
        return Rate(ratio, None, None)
    squares = max(yy - 2 * ratio * ny + ratio * ratio * nn, 0.0)
    effective = max(n * n / nn, 2.0)
    variance = effective / (effective - 1) * squares / (n * n)
    # Impressions that never or always succeed tell nothing of how users differ: at worst each user
    # is one observation.
    worth = min(ratio * (1 - ratio) / variance, n) if variance > 0 else users
    quantile = float(stdtrit(effective - 1, (1 + confidence) / 2))
    return Rate(ratio, *_wilson(ratio, worth, quantile))


def lift(treatment: Rate, control: Rate) -> Lift:
    """Estimate how much one rate is above another one, of other users.

    Args:
        treatment: The one.
        control: The other, which the relative lift is a share of.
    """
    t, c = treatment, control
    if t.rate is None or t.low is None or t.high is None:
        return Lift(None, None)
    if c.rate is None or c.low is None or c.high is None:
        return Lift(None, None)
    difference = t.rate - c.rate
    absolute = Difference(
        value=difference,
        low=difference - math.hypot(t.rate - t.low, c.high - c.rate),
        high=difference + math.hypot(t.high - t.rate, c.rate - c.low),
    )
    if not c.rate or c.low < LEAST_SURE * c.rate:
        return Lift(absolute, None)
    relative = Difference(
        value=t.rate / c.rate - 1,
        low=_ratio(t.rate, t.low, c.rate, c.high, -1) - 1,
        high=_ratio(t.rate, t.high, c.rate, c.low, 1) - 1,
    )
    return Lift(absolute, relative)


def _ratio(x: float, x_end: float, y: float, y_end: float, sign: int) -> float:
    """Return an end of the interval of x / y: the ratio r at which that of x - r y ends at 0."""
    x_half, y_half = x_end - x, y_end - y
    square = (x * y_half) ** 2 + (y * x_half) ** 2 - (x_half * y_half) ** 2
    root = math.sqrt(max(square, 0.0))
    if sign < 0:
        return x_end * (2 * x - x_end) / (x * y + root) if x else 0.0
    return (x * y + root) / (y_end * (2 * y - y_end))


def _wilson(ratio: float, n: float, quantile: float) -> tuple[float, float]:
    """Return Wilson's score interval (1927) of a share of n observations."""
    square = quantile * quantile
    middle = (ratio + square / (2 * n)) / (1 + square / n)
    half = math.sqrt(ratio * (1 - ratio) / n + square / (4 * n * n)) * quantile / (1 + square / n)
    # Where nothing or everything succeeds, rounding would leave an end beside the rate.
    low = 0.0 if ratio == 0 else max(middle - half, 0.0)
    high = 1.0 if ratio == 1 else min(middle + half, 1.0)
    return low, high
