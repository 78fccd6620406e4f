"""Evaluate: the whole protocol on what the database holds, for the model that would be trained.

What does not live here: publishing (``services.recompute``).
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np

from eventlink.db.dataset import load_dataset
from eventlink.db.session import connection, require_migrations
from eventlink.errors import NoPositivesError
from eventlink.recsys.dataset import DAY
from eventlink.recsys.evaluation import FOLDS, Outcome, evaluate, last_folds
from eventlink.recsys.examples import Examples
from eventlink.recsys.models import Model, fit_model
from eventlink.recsys.options import TrainOptions
from eventlink.recsys.progress import Report, silent


@dataclass(frozen=True)
class Evaluation:
    """The outcomes of all systems on the same folds."""

    first_fold: datetime
    last_fold: datetime
    outcomes: dict[str, Outcome] = field(repr=False)


def evaluate_database(
    options: TrainOptions,
    as_of: datetime | None = None,
    n_folds: int = FOLDS,
    report: Report = silent,
) -> Evaluation:
    """Judge the model and the baselines on the last days of the data.

    Args:
        options: Of the training.
        as_of: Nothing dated at or after it is used, not even as truth; all data if None.
        n_folds: How many days.
        report: Told of the progress.

    Raises:
        NoPositivesError: There is no fold with truth and something to learn from before it.
    """
    with connection() as conn:
        require_migrations(conn)
    report("reading the database", 0.0)
    data, _ = load_dataset()
    report("reading the database", 1.0)
    if as_of is not None:
        data = data.before(as_of.timestamp())
    rng = np.random.default_rng(options.seed)

    def fit(examples: Examples, rng: np.random.Generator) -> Model:
        return fit_model(examples, options, rng)

    outcomes: dict[str, Outcome] = {}
    if len(data.registrations):
        folds = last_folds(data, n_folds)
        outcomes = evaluate(data, folds, {"model": fit}, options, rng, report)
    if not outcomes:
        raise NoPositivesError(
            "no day can be evaluated: each needs registrations in it and on the days before;"
            " import or simulate more, or give a later --as-of"
        )
    return Evaluation(_day(folds[0]), _day(folds[-1]), outcomes)


def _day(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds // DAY * DAY, UTC)
