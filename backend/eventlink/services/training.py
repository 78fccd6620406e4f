"""Training: a new model, how it did on the last days, and whether it may serve.

What does not live here: how a model is stored and restored (``services.scorers``), ranking and
publishing (``services.publishing``).
"""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import structlog

from eventlink.db.models import StoredModel
from eventlink.errors import ModelMismatchError, NoPositivesError
from eventlink.recsys.calibration import CALIBRATION_DAYS, to_probabilities
from eventlink.recsys.dataset import DAY, Bools, Dataset, Floats
from eventlink.recsys.evaluation import Fit, Outcome, evaluate, folds_before
from eventlink.recsys.examples import Examples
from eventlink.recsys.features import forecast
from eventlink.recsys.gate import Decision, decide
from eventlink.recsys.models import Model, fit_model
from eventlink.recsys.options import Activate, TrainOptions
from eventlink.recsys.progress import Report
from eventlink.recsys.replay import replay
from eventlink.recsys.snapshot import Snapshot
from eventlink.services.scorers import Scorer, learned_here, stored_scorer

log = structlog.get_logger()

NEW, ACTIVE = "model", "active model"
"""Names of the systems that are compared, beside the baselines."""


@dataclass(frozen=True)
class Metrics:
    """How a system did by the evaluation protocol."""

    ndcg_10: float
    ndcg_10_interval: tuple[float, float]
    hitrate_10: float
    recall_10: float
    recall_50: float
    mrr: float


def stored_metrics(stored: StoredModel | None) -> dict[str, Metrics]:
    """Return how a stored model did when it was trained; empty where that is not known."""
    told = stored.meta.get("metrics") if stored else None
    try:
        return {system: Metrics(**row) for system, row in (told or {}).items()}
    except (TypeError, AttributeError):  # of another version, or written by another hand
        return {}


@dataclass(frozen=True)
class Trained:
    """A new scorer and what is known of it."""

    scorer: Scorer
    positives: int
    """Registrations, favourites and clicks it was trained on."""
    judged: int
    """(user, fold) pairs that the metrics are means of."""
    metrics: dict[str, Metrics]
    """By system; empty without an evaluation."""
    decision: Decision
    """Whether it may serve."""
    active_has_seen: bool
    """Whether the active model was trained on days it is judged on, where it is too good."""

    def meta(self) -> dict[str, Any]:
        """Return what is stored beside the weights."""
        return {
            "positives": self.positives,
            "metrics": {name: asdict(metrics) for name, metrics in self.metrics.items()},
            "gate": asdict(self.decision),
            "active_has_seen": self.active_has_seen,
        }


def train(
    data: Dataset,
    snapshot: Snapshot,
    options: TrainOptions,
    n_folds: int,
    active: StoredModel | None,
    rule: Activate,
    rng: np.random.Generator,
    report: Report,
) -> Trained:
    """Train on the days before an instant, evaluate on the last of them, decide on activation.

    Args:
        data: Everything.
        snapshot: The instant.
        options: Of the training.
        n_folds: Days to evaluate on; 0 for none.
        active: The model that serves now.
        rule: When a new model is activated.
        rng: Source of all draws.
        report: Told of the progress.

    Raises:
        NoPositivesError: There is nothing to learn from.
    """
    if not np.isfinite(snapshot.data.last_instant()):
        when = datetime.fromtimestamp(snapshot.as_of, UTC).isoformat()
        raise NoPositivesError(
            f"no registration, favourite or interaction is dated before {when}: there is nothing"
            " to learn from; to rank with the prior add --skip-training"
        )
    replay_rng, fold_rng, fit_rng, judge_rng = rng.spawn(4)

    # The folds and the final training replay the same days, so each is made once.
    instants = folds_before(snapshot.as_of, options.replay_days + n_folds)
    folds = instants[options.replay_days :]
    calibrated_from = snapshot.as_of - CALIBRATION_DAYS * DAY
    report("forecasting demand", 0.0)
    forecasts = forecast.learn(data, instants[0], snapshot.as_of)
    report("forecasting demand", 1.0)
    replayed = replay(data, instants, forecasts, options, replay_rng, report, calibrated_from)

    def fit(examples: Examples, rng: np.random.Generator) -> Model:
        return fit_model(examples, options, rng)

    systems: dict[str, Fit] = {NEW: fit}
    if rule is Activate.IF_BETTER and _can_score(active):
        systems[ACTIVE] = lambda _examples, _rng: stored_scorer(active).model
    outcomes: dict[str, Outcome] = {}
    if n_folds:
        outcomes = evaluate(data, folds, systems, options, fold_rng, report, replayed)
    examples = replayed.examples.between(instants[n_folds], snapshot.as_of)
    model = to_probabilities(fit_model(examples, options, fit_rng, report), replayed.samples)
    return Trained(
        scorer=Scorer(model, forecasts.at(snapshot.as_of)),
        positives=examples.n_positives,
        judged=len(outcomes[NEW].users) if outcomes else 0,
        metrics={name: _metrics(outcome, judge_rng) for name, outcome in outcomes.items()},
        decision=_decide(rule, active, outcomes, folds, judge_rng),
        active_has_seen=active is not None and bool(_seen_by(active, folds).any()),
    )


def _can_score(active: StoredModel | None) -> bool:
    """Whether an active model can be compared: it may be of an older version's features."""
    try:
        stored_scorer(active)
    except ModelMismatchError as error:
        log.warning("the active model cannot be compared", error=str(error))
        return False
    return active is not None


def _decide(
    rule: Activate,
    active: StoredModel | None,
    outcomes: dict[str, Outcome],
    folds: Floats,
    rng: np.random.Generator,
) -> Decision:
    if rule is not Activate.IF_BETTER:
        return Decision(rule is Activate.ALWAYS, f"--activate {rule}")
    if active is None:
        return Decision(True, "no other model serves, so there is none to compare it with")
    if not outcomes:
        return Decision(True, "there was no evaluation to judge by")
    if ACTIVE not in outcomes:
        return Decision(True, "the active model cannot score: it has other features, or is damaged")
    fair = ~_seen_by(active, folds)[outcomes[NEW].folds]
    return decide(outcomes[NEW], outcomes[ACTIVE], fair, rng)


def _seen_by(active: StoredModel, folds: Floats) -> Bools:
    """For each fold, whether the active model may have learned from it."""
    if not learned_here(active):
        return np.zeros(len(folds), np.bool_)
    trained_at = datetime.fromisoformat(active.meta["as_of"]).timestamp()
    seen: Bools = folds < trained_at
    return seen


def _metrics(outcome: Outcome, rng: np.random.Generator) -> Metrics:
    return Metrics(
        ndcg_10=outcome.mean("ndcg"),
        ndcg_10_interval=outcome.interval("ndcg", rng),
        hitrate_10=outcome.mean("hit_rate"),
        recall_10=outcome.mean("recall"),
        recall_50=outcome.mean("recall_50"),
        mrr=outcome.mean("mrr"),
    )
