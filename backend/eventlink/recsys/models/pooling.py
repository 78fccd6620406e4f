"""Pooling: a site's own model and the prior in one, each as far as it is to be trusted.

What does not live here: how either of them is fitted.
"""

from typing import Any, Self

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from eventlink.recsys.dataset import Floats, Ints
from eventlink.recsys.examples import Examples
from eventlink.recsys.features import EVENTS
from eventlink.recsys.matrices import Dense
from eventlink.recsys.models.choice import first_rows, shares, softmax
from eventlink.recsys.models.contract import ALL, Model, OfEvents, Rung
from eventlink.recsys.models.linear import ConditionalLogit
from eventlink.recsys.models.prior import PriorModel
from eventlink.recsys.models.trees import LinearWithTrees
from eventlink.recsys.options import TrainOptions

WORTH = 1500
"""How many of a site's own registrations the prior counts for. At that many both weigh alike."""
ENOUGH = 4 * WORTH
"""From so many on a site learns all that the prior could tell it."""
LEAST_SHARE = 0.05
"""A smaller one would hardly move anything, and take as much time."""
PARTS: dict[str, type[Rung]] = {
    ConditionalLogit.kind: ConditionalLogit,
    LinearWithTrees.kind: LinearWithTrees,
    PriorModel.kind: PriorModel,
}
"""What can be pooled."""
TINY = 1e-30
"""Of no probability is the logarithm taken."""


class Pooled:
    """The weighted mean of two models' log-odds, a logarithmic opinion pool.

    The mean of log-odds is externally Bayesian and, unlike the mean of probabilities, keeps a pair
    as sure as both think it is (Genest and Zidek, Statistical Science 1986).

    Args:
        own: What the site has learned; the pool goes by its kind.
        prior: What was learned elsewhere.
        share: Of the prior, from 0 to 1.
    """

    def __init__(self, own: Model, prior: Model, share: float) -> None:
        self.own, self.prior, self.share = own, prior, share
        self.kind = own.kind
        self.joint = own.joint or prior.joint
        self.feature_names_ = prior.feature_names_

    def of_events(self, x: Dense) -> OfEvents:
        """Add up what features say that are the same for every user: the own sums first."""
        return self.own.of_events(x) + self.prior.of_events(x)

    def margin(self, x: Dense, of_events: OfEvents | None = None) -> Dense:
        """Return the log-odds of the score, shape (n,)."""
        own, *prior = of_events or self.of_events(x[:, EVENTS])
        return self._mean(self.own.margin(x, (own,)), self.prior.margin(x, tuple(prior)))

    def score(self, x: Dense) -> Dense:
        """Return the probability of a registration within a day, shape (n,)."""
        probability: Dense = expit(self.margin(x))
        return probability

    def explain(self, x: Dense) -> tuple[Dense, Dense]:
        """Split log-odds into contributions of shape (n, k) and constants of shape (n,)."""
        (own, of_own), (prior, of_prior) = self.own.explain(x), self.prior.explain(x)
        return self._mean(own, prior), self._mean(of_own, of_prior)

    def outline(self, x: Dense, part: slice = ALL) -> Dense:
        """Return the main contributions of both, shape (n, k)."""
        return self._mean(self.own.outline(x, part), self.prior.outline(x, part))

    def _mean(self, own: Dense, prior: Dense) -> Dense:
        return np.float32(1 - self.share) * own + np.float32(self.share) * prior

    def to_json(self) -> dict[str, Any]:
        """Return both models: what is stored stays as it is when another prior comes."""
        return {
            "kind": self.kind,
            "own": self.own.to_json(),
            "prior": self.prior.to_json(),
            "share": self.share,
        }

    @classmethod
    def from_json(cls, feature_names: tuple[str, ...], weights: dict[str, Any]) -> Self:
        """Make the model of its stored form."""
        parts = [weights["own"], weights["prior"]]
        own, prior = (PARTS[part["kind"]].from_json(feature_names, part) for part in parts)
        return cls(own, prior, float(weights["share"]))


def share_of_prior(
    own: type[Rung],
    prior: Model,
    examples: Examples,
    options: TrainOptions,
    rng: np.random.Generator,
) -> float:
    """Find how much of the log-odds should be the prior's.

    The less, the more the site has to learn from; and never more than it is worth there. With
    ``ENOUGH`` the last fifth goes at once, since by then either model ranks as well alone.

    Args:
        own: What the site's own model is.
        prior: What was learned elsewhere.
        examples: With a positive and a negative.
        options: As for the site's own model.
        rng: Source of the order of the examples.

    Returns:
        Below 1; 0 where there is nothing to be heard.
    """
    registrations = float(examples.gain.sum())  # a click is worth a part of one
    if registrations >= ENOUGH:
        return 0.0
    most = WORTH / (WORTH + registrations)
    share = min(most, _stacked(own, prior, examples, options, rng))
    return share if share >= LEAST_SHARE else 0.0


def _stacked(
    own: type[Rung],
    prior: Model,
    examples: Examples,
    options: TrainOptions,
    rng: np.random.Generator,
) -> float:
    """Let the site tell what share the prior is worth: stacking (Wolpert, 1992; Breiman, 1996).

    A model of the site's own is fitted to the older half of the choices. On the later half, which
    neither of the two has seen, a conditional logit of both models' log-odds tells how much each of
    them says there. The final model has learned from twice as much, so its errors have half the
    variance: that much more it is worth.

    Returns:
        1 where all choices are of one day: nothing is known against the prior.
    """
    days = examples.at[first_rows(examples)]
    later = days[days > days[0]]
    if not len(later):
        return 1.0
    middle = max(float(np.median(days)), float(later[0]))
    before, after = examples.between(-np.inf, middle), examples.between(middle, np.inf)
    if not before.n_positives or not after.n_positives:
        return 1.0
    of_own, of_prior = _worth(own().fit(before, options, rng), prior, after)
    of_own *= examples.n_positives / before.n_positives
    return of_prior / (of_own + of_prior) if of_own + of_prior else 0.0


def _worth(own: Model, prior: Model, seen: Examples) -> tuple[float, float]:
    """Weigh two models' log-odds by a conditional logit of what was chosen; neither below 0.

    What decides a ranking is who beats the choice among all candidates, not among the few that were
    drawn: each drawn one counts for as many as it stands for (the correction of a sampled softmax,
    Bengio and Senécal, 2008). In a shown list the place is weighed too. A prior that is worth
    nothing alone is worth nothing.
    """
    parts = np.stack([own.margin(seen.x), prior.margin(seen.x), seen.position], axis=1)
    stands_for = np.log(np.maximum(seen.weight, 1)).astype(np.float32)
    first = first_rows(seen)
    length: Ints = np.diff(np.append(first, len(seen))).astype(np.int32)
    share = shares(seen.gain, length)

    def loss(weights: Floats) -> tuple[float, Floats]:
        p = softmax(parts @ weights.astype(np.float32) + stands_for, length)
        surprise = -(share * np.log(np.maximum(p, TINY))).sum() / len(first)
        gradient: Floats = ((p - share) @ parts / len(first)).astype(np.float64)
        return float(surprise), gradient

    def best(own: float | None) -> Floats:
        bounds = [(0, own), (0, None), (None, None)]
        start = [0.5 if own is None else own, 0.5, 0.0]
        weights: Floats = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x
        return weights

    both = best(None)
    # A prior that is wrong can still take back some of what an own model says too boldly.
    return float(both[0]), float(both[1]) if best(0.0)[1] > 0 else 0.0
