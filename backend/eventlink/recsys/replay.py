"""Replay: the last days, each seen as of its own first instant, to learn from and to calibrate by.

What does not live here: which pairs of a day are looked at (``recsys.examples``,
``recsys.calibration``).
"""

from dataclasses import dataclass

import numpy as np

from eventlink.recsys.calibration import Sample, draw
from eventlink.recsys.dataset import DAY, Dataset, Floats
from eventlink.recsys.examples import Examples, choices_of_day, concatenate, examples_of_day
from eventlink.recsys.features import Features, Forecasts
from eventlink.recsys.options import TrainOptions
from eventlink.recsys.parallel import in_processes
from eventlink.recsys.progress import Report, silent
from eventlink.recsys.snapshot import Snapshot

MOST_USER_DAYS = 8000
"""More (user, day) pairs are sampled down to this, evenly over the days, to bound memory."""


@dataclass(frozen=True)
class Replay:
    """What some days taught."""

    examples: Examples
    """All days', in their order."""
    samples: tuple[Sample, ...]
    """One a day, of the last of them."""

    def samples_between(self, begin: float, end: float) -> list[Sample]:
        """Return the samples of the days whose first instants lie in [begin, end), seconds."""
        return [sample for sample in self.samples if begin <= sample.at < end]


def replay(
    data: Dataset,
    instants: Floats,
    forecasts: Forecasts,
    options: TrainOptions,
    rng: np.random.Generator,
    report: Report = silent,
    sampled_from: float = np.inf,
) -> Replay:
    """Look at some days.

    Args:
        data: Everything; a day's features see only what is dated before its first instant, and
            what came of it only the day after.
        instants: The days' first instants, seconds, ascending.
        forecasts: Of all these instants.
        options: How many negatives to draw.
        rng: Source of the draws.
        report: Told of the progress.
        sampled_from: Days from this instant on are sampled to calibrate by.
    """
    share = MOST_USER_DAYS / max(_count_user_days(data, instants), MOST_USER_DAYS)
    work = list(zip(instants.tolist(), rng.spawn(len(instants)), strict=True))

    def one(day: tuple[float, np.random.Generator]) -> tuple[Examples, Sample | None]:
        at, day_rng = day
        s = Snapshot(data, at)
        choices = choices_of_day(data, s, options.negatives, share, day_rng)
        drawn = draw(data, s, day_rng) if at >= sampled_from else None
        users = choices.users if drawn is None else np.union1d(choices.users, drawn.user)
        features = Features(s, forecasts.at(at), users)
        sample = None if drawn is None else Sample.of(drawn, features)
        return examples_of_day(choices, features), sample

    days: list[Examples] = []
    samples: list[Sample] = []
    for number, (day, sample) in enumerate(in_processes(one, work), start=1):
        days.append(day)
        if sample is not None:
            samples.append(sample)
        report("replaying days", number / len(work))
    return Replay(concatenate(days), tuple(samples))


def _count_user_days(data: Dataset, instants: Floats) -> int:
    """Count the (user, day) pairs with a registration."""
    log = data.registrations
    day = np.searchsorted(instants, log.at, side="right") - 1
    inside = (day >= 0) & (log.at < instants[-1] + DAY)
    return len(np.unique(day[inside] * data.n_users + log.user[inside]))
