"""How far a site's own model listens to the prior."""

from dataclasses import fields, replace
from typing import Self

import numpy as np
import pytest
from scipy.special import expit

from eventlink.recsys.examples import Examples
from eventlink.recsys.features import NAMES
from eventlink.recsys.models import (
    ConditionalLogit,
    LinearWithTrees,
    Pooled,
    PriorModel,
    fit_model,
)
from eventlink.recsys.models.pooling import ENOUGH, WORTH, share_of_prior
from eventlink.recsys.options import TrainOptions

PRIOR = PriorModel().linear_
DAYS = 10


def site(rng: np.random.Generator, weights: np.ndarray, n: int = 12_000) -> Examples:
    """Choices of some days by people who follow some weights of standardised features."""
    z = rng.normal(0, 1, (n, len(NAMES))).astype(np.float32)
    y = rng.random(n) < expit(z @ weights - 3)
    return Examples(
        x=PRIOR.mean_ + PRIOR.scale_ * z,
        y=y,
        group=(np.arange(n) // 25).astype(np.int32),
        at=86400.0 * (np.arange(n) // 25 * 25 * DAYS // n),
        weight=np.where(y, 1.0, 10.0),
        gain=y.astype(np.float32),
        position=np.zeros(n, np.float32),
        together=y.astype(np.int32),
    )


def share(seen: Examples) -> float:
    return share_of_prior(ConditionalLogit, PRIOR, seen, TrainOptions(), np.random.default_rng(0))


def test_a_pool_is_the_mean_of_log_odds(rng: np.random.Generator) -> None:
    seen = site(rng, PRIOR.weights_, 3000)
    own = LinearWithTrees().fit(seen, TrainOptions(), rng)
    pool, prior = Pooled(own, PriorModel(), 0.25), PriorModel()
    expected = 0.75 * own.margin(seen.x) + 0.25 * prior.margin(seen.x)
    np.testing.assert_allclose(pool.margin(seen.x), expected, rtol=1e-5, atol=1e-5)


def test_a_site_like_others_is_pooled_with_the_prior_and_one_unlike_them_is_not(
    rng: np.random.Generator,
) -> None:
    alike, unlike = site(rng, PRIOR.weights_), site(rng, -PRIOR.weights_)
    for kind, prior in (("linear", ConditionalLogit), ("trees", PriorModel), ("auto", PriorModel)):
        found = fit_model(alike, TrainOptions(model=kind), np.random.default_rng(0))
        assert isinstance(found, Pooled)
        assert type(found.prior) is prior
        alone = fit_model(unlike, TrainOptions(model=kind), np.random.default_rng(0))
        assert not isinstance(alone, Pooled)


def test_where_people_are_as_elsewhere_the_prior_counts_for_so_many_registrations(
    rng: np.random.Generator,
) -> None:
    seen = site(rng, PRIOR.weights_)
    assert share(seen) == pytest.approx(WORTH / (WORTH + seen.n_positives))


def test_where_people_are_unlike_elsewhere_nobody_listens_to_the_prior(
    rng: np.random.Generator,
) -> None:
    assert share(site(rng, rng.permutation(PRIOR.weights_))) < 0.1
    assert share(site(rng, -PRIOR.weights_)) == 0


def test_a_drawn_candidate_counts_for_as_many_as_it_stands_for(rng: np.random.Generator) -> None:
    class Taught(ConditionalLogit):
        """Knows already, and half wrongly, so that examples tell nothing but what it is worth."""

        def fit(self, *_: object) -> Self:
            known = PRIOR.weights_ + np.float32(2) * np.roll(PRIOR.weights_, 1)
            self.__dict__ |= PRIOR.__dict__ | {"weights_": known}
            return self

    seen = site(rng, PRIOR.weights_ + np.roll(PRIOR.weights_, 1), 3000)
    times = np.where(seen.y, 1, 30)
    rows = np.repeat(np.arange(len(seen)), times)
    repeated = Examples(**{f.name: getattr(seen, f.name)[rows] for f in fields(seen)})
    drawn, every, ignored = (
        share_of_prior(Taught, PRIOR, of, TrainOptions(), rng)
        for of in (
            replace(seen, weight=times.astype(float)),
            replace(repeated, weight=np.ones(len(rows))),
            replace(seen, weight=np.ones(len(seen))),
        )
    )
    assert drawn == pytest.approx(every, rel=1e-3)
    assert drawn != pytest.approx(ignored, rel=0.01)


def test_with_enough_of_its_own_a_site_needs_no_prior(rng: np.random.Generator) -> None:
    seen = site(rng, PRIOR.weights_, 8 * ENOUGH)
    assert seen.n_positives >= ENOUGH
    assert share(seen) == 0


@pytest.mark.parametrize("of_first_day", [1.0, 0.6])
def test_a_site_that_opened_yesterday_listens_all_the_same(
    rng: np.random.Generator, of_first_day: float
) -> None:
    seen = site(rng, PRIOR.weights_)
    at = 86400.0 * (seen.group >= of_first_day * (seen.group[-1] + 1))
    expected = WORTH / (WORTH + seen.n_positives)
    assert share(replace(seen, at=at)) == pytest.approx(expected)


def test_clicks_count_for_less_than_registrations(rng: np.random.Generator) -> None:
    seen = site(rng, PRIOR.weights_)
    lists = replace(seen, y=np.zeros(len(seen), bool), gain=np.float32(0.2) * seen.gain)
    assert share(lists) == pytest.approx(WORTH / (WORTH + 0.2 * seen.n_positives))
