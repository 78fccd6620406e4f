"""Evaluate: the whole protocol on what the database holds, for models that could be trained.

What does not live here: publishing (``services.publishing``), tables and plots (``cli``).
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from eventlink.db.dataset import load_dataset
from eventlink.db.session import connection, require_migrations
from eventlink.errors import NoPositivesError
from eventlink.recsys.baselines import USUAL, require_baselines
from eventlink.recsys.dataset import DAY, Floats, Ints
from eventlink.recsys.evaluation import Fit, Outcome, evaluate, last_folds
from eventlink.recsys.examples import Examples
from eventlink.recsys.metrics import CONCENTRATION_SHARES, bootstrap_interval
from eventlink.recsys.models import Model, fit_model
from eventlink.recsys.options import FOLDS, TrainOptions
from eventlink.recsys.progress import Report, silent

DEFAULT = "model"
"""What the rung that ``auto`` chooses is called."""


@dataclass(frozen=True)
class Evaluation:
    """The outcomes of all systems on the same folds, models first."""

    first_fold: datetime
    last_fold: datetime
    outcomes: dict[str, Outcome] = field(repr=False)

    def to_json(self, rng: np.random.Generator) -> dict[str, Any]:
        """Return all numbers as JSON.

        Args:
            rng: Source of the bootstrap.
        """
        first = next(iter(self.outcomes.values()))
        return {
            "first_fold": self.first_fold.isoformat(),
            "last_fold": self.last_fold.isoformat(),
            "pairs": len(first.users),
            "users": len(np.unique(first.users)),
            "systems": {
                name: _told(each, first, rng) | {"days": self._by_day(each)}
                for name, each in self.outcomes.items()
            },
        }

    def _by_day(self, outcome: Outcome) -> dict[str, Any]:
        """Return each day's part; days vary more than systems do."""
        found = {}
        for number in np.unique(outcome.folds).tolist():
            day, which = self.first_fold + timedelta(days=number), outcome.folds == number
            ndcg = outcome.mean("ndcg", which)
            found[f"{day:%F}"] = {"pairs": int(which.sum()), "ndcg@10": ndcg}
        return found


def evaluate_database(
    options: TrainOptions,
    as_of: datetime,
    n_folds: int = FOLDS,
    report: Report = silent,
    models: Sequence[str] = ("auto",),
    baselines: Sequence[str] = USUAL,
    trainings: int = 1,
) -> Evaluation:
    """Judge models and baselines on the last days of the data.

    Args:
        options: Of the training.
        as_of: Nothing dated at or after it is used, not even as truth. The day that it is in is
            not judged on, for it is not over.
        n_folds: How many days.
        report: Told of the progress.
        models: Rungs of the ladder.
        baselines: Names of ``recsys.baselines.BASELINES``.
        trainings: How often every model is trained, with other draws; its numbers are the mean.

    Raises:
        InvalidOptionError: There is no such rung or baseline, or a library it needs is missing.
        NoPositivesError: There is no fold with truth and something to learn from before it.
    """
    require_baselines(baselines)
    systems = {
        DEFAULT if rung == "auto" else rung: _fit(replace(options, model=rung)) for rung in models
    }
    with connection() as conn:
        require_migrations(conn)
    report("reading the database", 0.0)
    data, _ = load_dataset()
    report("reading the database", 1.0)
    data = data.before(as_of.timestamp(), repeats=True)
    rng = np.random.default_rng(options.seed)
    outcomes: dict[str, Outcome] = {}
    if len(data.registrations):
        folds = last_folds(data, n_folds, as_of.timestamp())
        outcomes = evaluate(
            data,
            folds,
            systems,
            options,
            rng,
            report,
            baselines=baselines,
            calibrated=True,
            trainings=trainings,
        )
    if not outcomes:
        raise NoPositivesError(
            "no day can be evaluated: each needs registrations in it and on the days before;"
            " import or simulate more, or give another --as-of"
        )
    return Evaluation(_day(folds[0]), _day(folds[-1]), outcomes)


def _fit(options: TrainOptions) -> Fit:
    def fit(examples: Examples, rng: np.random.Generator) -> Model:
        return fit_model(examples, options, rng)

    return fit


def _day(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds // DAY * DAY, UTC)


def _told(outcome: Outcome, first: Outcome, rng: np.random.Generator) -> dict[str, Any]:
    difference = outcome.metrics.ndcg - first.metrics.ndcg
    return {
        **{f"{name}@10": outcome.mean(name) for name in ("ndcg", "hit_rate", "recall")},
        "ndcg@10 interval": outcome.interval("ndcg", rng),
        "ndcg@10 above the first": float(difference.mean()),
        "interval above the first": bootstrap_interval(difference, outcome.users, rng),
        "recall@50": outcome.mean("recall_50"),
        "mrr": outcome.mean("mrr"),
        "coverage": outcome.coverage,
        "event gini": outcome.event_gini,
        "organizer gini": outcome.organizer_gini,
        "concentration": dict(
            zip(CONCENTRATION_SHARES.tolist(), outcome.concentration.tolist(), strict=True)
        ),
        "slices": {
            name: _slice(users, ndcg, rng) for name, (users, ndcg) in outcome.of_slices().items()
        },
        "calibration": _calibration(outcome),
        "ndcg@10 by training": outcome.ndcg_by_training,
        "kinds": outcome.kinds,
    }


def _slice(users: Ints, ndcg: Floats, rng: np.random.Generator) -> dict[str, Any]:
    if not len(ndcg):
        return {"pairs": 0, "ndcg@10": None, "interval": None}
    interval = bootstrap_interval(ndcg, users, rng)
    return {"pairs": len(ndcg), "ndcg@10": float(ndcg.mean()), "interval": interval}


def _calibration(outcome: Outcome) -> dict[str, Any] | None:
    found = outcome.reliability
    if found is None:
        return None
    told = asdict(found)
    return {name: v.tolist() if isinstance(v, np.ndarray) else v for name, v in told.items()}
