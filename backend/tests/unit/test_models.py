"""One test of the contract for every model, and what is special to each."""

import json

import numpy as np
import pytest
from scipy.special import expit

from eventlink.errors import ModelMismatchError
from eventlink.recsys.examples import Examples
from eventlink.recsys.features import NAMES
from eventlink.recsys.models import (
    KINDS,
    ConditionalLogit,
    PriorModel,
    fit_model,
    model_from_json,
)
from eventlink.recsys.models.contract import Model, require_features
from eventlink.recsys.models.prior import WEIGHTS
from eventlink.recsys.options import TrainOptions
from eventlink.recsys.reasons import REASONS


def examples(rng: np.random.Generator, n: int = 6000, strength: float = 1.5) -> Examples:
    """Two features decide, the others are noise; 25 pairs a group."""
    x = rng.normal(0, 1, (n, len(NAMES))).astype(np.float32)
    y = rng.random(n) < expit(strength * (x[:, 0] - x[:, 1]) - 3)
    return Examples(
        x=x,
        y=y,
        group=(np.arange(n) // 25).astype(np.int32),
        at=np.zeros(n),
        weight=np.where(y, 1.0, 10.0),
    )


@pytest.fixture(params=KINDS.values(), ids=KINDS.keys())
def model(request: pytest.FixtureRequest, rng: np.random.Generator) -> Model:
    made: Model = request.param()
    return made.fit(examples(rng), TrainOptions(), np.random.default_rng(0))


def test_scores_are_probabilities(model: Model, rng: np.random.Generator) -> None:
    scores = model.score(examples(rng).x)
    assert scores.dtype == np.float32
    assert np.isfinite(scores).all()
    assert ((scores >= 0) & (scores <= 1)).all()


def test_contributions_add_up_to_the_log_odds(model: Model, rng: np.random.Generator) -> None:
    x = rng.normal(0, 0.3, (50, len(NAMES))).astype(np.float32)
    contributions, constant = model.explain(x)
    assert contributions.shape == x.shape
    total = contributions.astype(np.float64).sum(axis=1) + constant
    np.testing.assert_allclose(expit(total), model.score(x), rtol=1e-3, atol=1e-6)


def test_a_stored_model_scores_the_same(model: Model, rng: np.random.Generator) -> None:
    x = examples(rng).x
    stored = json.loads(json.dumps(model.to_json()))
    again = model_from_json(list(model.feature_names_), stored)
    assert type(again) is type(model)
    np.testing.assert_array_equal(again.score(x), model.score(x))


def test_the_same_seed_gives_the_same_model(model: Model) -> None:
    again = type(model)().fit(
        examples(np.random.default_rng(20)), TrainOptions(), np.random.default_rng(0)
    )
    assert again.to_json() == model.to_json()


def test_a_model_names_its_features(model: Model) -> None:
    assert model.feature_names_ == NAMES
    require_features(model, NAMES)
    with pytest.raises(ModelMismatchError, match="train again"):
        require_features(model, NAMES[1:])


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ModelMismatchError, match="'oracle'"):
        model_from_json(["a"], {"kind": "oracle"})


def test_the_linear_model_finds_what_decides(rng: np.random.Generator) -> None:
    model = ConditionalLogit().fit(examples(rng, 20_000), TrainOptions(), rng)
    weights = model.weights_
    assert weights[0] > 0.5
    assert weights[1] < -0.5
    assert np.abs(weights[2:]).max() < 0.3 * weights[0]


def test_linear_scores_are_calibrated_to_the_true_rates(rng: np.random.Generator) -> None:
    seen = examples(rng, 40_000)
    model = ConditionalLogit().fit(seen, TrainOptions(), rng)
    fresh = examples(np.random.default_rng(99), 40_000)
    scores = model.score(fresh.x).astype(np.float64)
    expected = (fresh.weight * scores).sum() / fresh.weight.sum()
    happened = (fresh.weight * fresh.y).sum() / fresh.weight.sum()
    assert expected == pytest.approx(happened, rel=0.1)


def test_recent_examples_weigh_more(rng: np.random.Generator) -> None:
    old, new = examples(rng, 8000, strength=1.5), examples(rng, 8000, strength=-1.5)
    both = Examples(
        x=np.concatenate([old.x, new.x]),
        y=np.concatenate([old.y, new.y]),
        group=np.concatenate([old.group, new.group + 1000]),
        at=np.concatenate([old.at, new.at + 28 * 86400]),
        weight=np.concatenate([old.weight, new.weight]),
    )
    model = ConditionalLogit().fit(both, TrainOptions(half_life_days=7), rng)
    assert model.weights_[0] < 0 < model.weights_[1]


def test_few_positives_get_the_prior() -> None:
    few = examples(np.random.default_rng(3), 200)
    assert isinstance(fit_model(few, TrainOptions(), np.random.default_rng(0)), PriorModel)
    many = examples(np.random.default_rng(3), 8000)
    assert isinstance(fit_model(many, TrainOptions(), np.random.default_rng(0)), ConditionalLogit)


def test_the_prior_and_the_reasons_name_features_that_exist() -> None:
    assert set(WEIGHTS) <= set(NAMES)
    assert {reason.when for reason in REASONS} - {None} <= set(NAMES)
