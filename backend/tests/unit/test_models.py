"""One test of the contract for every model, and what is special to each."""

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit

from eventlink.errors import InvalidOptionError, ModelMismatchError
from eventlink.recsys.dataset import Bools
from eventlink.recsys.elsewhere import FILE, learned
from eventlink.recsys.examples import Examples
from eventlink.recsys.features import EVENTS, NAMES, PAIRS
from eventlink.recsys.models import (
    KINDS,
    LEAST_FOR_TREES,
    LEAST_POSITIVES,
    Calibrated,
    Calibration,
    ConditionalLogit,
    HeuristicModel,
    LinearWithTrees,
    Pooled,
    PriorModel,
    fit_model,
    model_from_json,
)
from eventlink.recsys.models.calibrated import newcomers
from eventlink.recsys.models.choice import first_rows, importance
from eventlink.recsys.models.contract import Model, require_features
from eventlink.recsys.models.heuristic import RULES
from eventlink.recsys.options import TrainOptions
from eventlink.recsys.reasons import REASONS


def rng_of(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


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
        gain=y.astype(np.float32),
        position=np.zeros(n, np.float32),
        together=y.astype(np.int32),
    )


def with_outcome(seen: Examples, y: Bools) -> Examples:
    return replace(
        seen,
        y=y,
        weight=np.where(y, 1.0, 10.0),
        gain=y.astype(np.float32),
        together=y.astype(np.int32),
    )


def lists(rng: np.random.Generator, n_lists: int = 3000, attention: float = -0.8) -> Examples:
    """Lists of ten, sorted by a feature that nobody cares for; one is clicked, by place and taste.

    Every place gets ``(1 + place) ** attention`` of attention; only the first feature is liked.
    """
    n = 10 * n_lists
    x = rng.normal(0, 1, (n, len(NAMES))).astype(np.float32)
    x[:, 1] = -np.sort(-x[:, 1].reshape(-1, 10), axis=1).ravel()
    position = np.tile(np.log1p(np.arange(10)), n_lists).astype(np.float32)
    wanted = x[:, 0] + attention * position + rng.gumbel(0, 1, n)
    clicked = np.arange(10) == wanted.reshape(-1, 10).argmax(axis=1)[:, None]
    return Examples(
        x=x,
        y=np.zeros(n, bool),
        group=(np.arange(n) // 10).astype(np.int32),
        at=np.zeros(n),
        weight=np.zeros(n),
        gain=np.where(clicked, 0.5, 0.0).astype(np.float32).ravel(),
        position=position,
        together=np.zeros(n, np.int32),
    )


Fitter = Callable[[Examples, np.random.Generator], Model]

SOME = Calibration(slope=0.7, bend=-0.3, knee=-5.2, newcomer=1.25, intercept=-1.5)


def fitter(name: str) -> Fitter:
    """Fit a rung as it is, pooled with the prior, or calibrated."""
    kind, _, how = name.partition(" ")

    def fit(seen: Examples, rng: np.random.Generator) -> Model:
        model = KINDS[kind]().fit(seen, TrainOptions(), rng)
        prior = PriorModel() if kind == "trees" else PriorModel().linear_
        ways = {"pooled": Pooled(model, prior, 0.3), "calibrated": Calibrated(model, SOME)}
        return ways.get(how, model)

    return fit


WAYS = [*KINDS, "linear pooled", "trees pooled", "linear calibrated", "trees calibrated"]


@pytest.fixture(params=WAYS)
def fit(request: pytest.FixtureRequest) -> Fitter:
    return fitter(request.param)


@pytest.fixture
def model(fit: Fitter, rng: np.random.Generator) -> Model:
    return fit(examples(rng), rng_of(0))


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


def test_the_margin_is_the_log_odds_of_the_score(model: Model, rng: np.random.Generator) -> None:
    x = rng.normal(0, 0.3, (50, len(NAMES))).astype(np.float32)
    np.testing.assert_allclose(expit(model.margin(x)), model.score(x), rtol=1e-6)


def test_a_calibration_bends_and_steps(rng: np.random.Generator) -> None:
    model = fitter("linear")(examples(rng), rng_of(0))
    x = rng.normal(0, 0.3, (50, len(NAMES))).astype(np.float32)
    margin, new = model.margin(x), newcomers(x)
    mapped = Calibrated(model, SOME)
    assert (margin > SOME.knee).any()
    assert (margin < SOME.knee).any()
    expected = 0.7 * margin - 0.3 * np.maximum(margin + 5.2, 0) + 1.25 * new - 1.5
    np.testing.assert_allclose(mapped.margin(x), expected, rtol=1e-4, atol=1e-4)
    constants = mapped.explain(x)[1]
    np.testing.assert_allclose(np.ptp(constants), 1.25, rtol=1e-5)
    np.testing.assert_array_equal(constants == constants.max(), new)


def test_the_outline_keeps_what_decides(model: Model, rng: np.random.Generator) -> None:
    x = rng.normal(0, 0.3, (200, len(NAMES))).astype(np.float32)
    contributions, outline = model.explain(x)[0], model.outline(x)
    assert outline.shape == x.shape
    assert np.corrcoef(contributions.ravel(), outline.ravel())[0, 1] > 0.8


def test_what_was_added_up_for_events_need_not_be_added_up_again(
    model: Model, rng: np.random.Generator
) -> None:
    x = rng.normal(0, 0.3, (2000, len(NAMES))).astype(np.float32)
    of_events = model.of_events(x[:, EVENTS])
    np.testing.assert_array_equal(model.margin(x, of_events), model.margin(x))
    if not model.joint:
        np.testing.assert_array_equal(model.margin(x[:, PAIRS], of_events), model.margin(x))


def test_the_outline_of_a_part_is_that_part_of_the_outline(
    model: Model, rng: np.random.Generator
) -> None:
    x = rng.normal(0, 0.3, (20, len(NAMES))).astype(np.float32)
    for part in (EVENTS, PAIRS):
        np.testing.assert_array_equal(model.outline(x[:, part], part), model.outline(x)[:, part])


def test_no_pairs_have_no_scores(model: Model) -> None:
    nothing = np.zeros((0, len(NAMES)), np.float32)
    assert model.score(nothing).shape == (0,)
    contributions, constant = model.explain(nothing)
    assert contributions.shape == nothing.shape
    assert constant.shape == (0,)


def test_a_stored_model_scores_the_same(model: Model, rng: np.random.Generator) -> None:
    x = examples(rng).x
    stored = json.loads(json.dumps(model.to_json()))
    again = model_from_json(list(model.feature_names_), stored)
    assert type(again) is type(model)
    np.testing.assert_array_equal(again.score(x), model.score(x))


def test_the_same_seed_gives_the_same_model(fit: Fitter, model: Model) -> None:
    again = fit(examples(rng_of(20)), rng_of(0))
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
        gain=np.concatenate([old.gain, new.gain]),
        position=np.concatenate([old.position, new.position]),
        together=np.concatenate([old.together, new.together]),
    )
    model = ConditionalLogit().fit(both, TrainOptions(half_life_days=7), rng)
    assert model.weights_[0] < 0 < model.weights_[1]


def test_choices_made_together_weigh_less(rng: np.random.Generator) -> None:
    """A crowd goes by one feature, each of the others, who are as many, by another."""
    crowd, others = examples(rng, 8000), examples(rng, 8000)
    others.x[:, [0, 2]] = others.x[:, [2, 0]]
    both = Examples(
        x=np.concatenate([crowd.x, others.x]),
        y=np.concatenate([crowd.y, others.y]),
        group=np.concatenate([crowd.group, others.group + 1000]),
        at=np.zeros(16_000),
        weight=np.concatenate([crowd.weight, others.weight]),
        gain=np.concatenate([crowd.gain, others.gain]),
        position=np.zeros(16_000, np.float32),
        together=np.concatenate([16 * crowd.together, others.together]),
    )
    weight = importance(both, 7.0)
    assert weight.mean() == pytest.approx(1, abs=1e-3)
    chosen = np.maximum.reduceat(both.gain, first_rows(both)) > 0
    np.testing.assert_allclose(weight[320:][chosen[320:]].max(), 2 * weight[:320].max(), rtol=1e-5)
    model = ConditionalLogit().fit(both, TrainOptions(), rng)
    assert model.weights_[2] > 1.3 * model.weights_[0] > 0


def test_what_a_place_in_a_list_gets_is_not_taken_for_taste(rng: np.random.Generator) -> None:
    shown = lists(rng, 12_000)
    model = ConditionalLogit().fit(shown, TrainOptions(l2=0.0), np.random.default_rng(0))
    assert model.position_ == pytest.approx(-0.8, abs=0.1)
    assert abs(model.weights_[1]) < 0.08 * model.weights_[0]
    blind = replace(shown, position=np.zeros(len(shown), np.float32))
    naive = ConditionalLogit().fit(blind, TrainOptions(l2=0.0), np.random.default_rng(0))
    assert naive.weights_[1] > 0.3 * naive.weights_[0]


@pytest.mark.parametrize("kind", ["linear", "trees"])
def test_clicks_alone_are_enough_to_learn_from(kind: str, rng: np.random.Generator) -> None:
    model = fit_model(lists(rng), TrainOptions(model=kind), np.random.default_rng(0))
    x = np.zeros((2, len(NAMES)), np.float32)
    x[1, 0] = 1.0
    low, high = model.score(x)
    assert 0 < low < high < 0.1


def test_a_higher_gain_weighs_more(rng: np.random.Generator) -> None:
    """Clicks go with one feature, registrations with another."""
    clicked, taken = examples(rng, 8000), examples(rng, 8000)
    taken.x[:, [0, 2]] = taken.x[:, [2, 0]]
    both = Examples(
        x=np.concatenate([clicked.x, taken.x]),
        y=np.concatenate([np.zeros(8000, bool), taken.y]),
        group=np.concatenate([clicked.group, taken.group + 1000]),
        at=np.zeros(16_000),
        weight=np.concatenate([np.zeros(8000), taken.weight]),
        gain=np.concatenate([0.5 * clicked.gain, taken.gain]),
        position=np.zeros(16_000, np.float32),
        together=np.concatenate([clicked.together, taken.together]),
    )
    model = ConditionalLogit().fit(both, TrainOptions(), rng)
    assert model.weights_[2] > 1.3 * model.weights_[0] > 0


def corner(rng: np.random.Generator, n: int = 12_000) -> Examples:
    """A registration takes two things at once, which no line can say."""
    plain = examples(rng, n)
    both = (plain.x[:, 0] > 0.5) & (plain.x[:, 1] > 0.5)
    y = rng.random(n) < np.where(both, 0.5, 0.02)
    return with_outcome(plain, y)


def surprise(model: Model, seen: Examples) -> float:
    """The mean negative log-probability of what was chosen, within its group."""
    odds = np.exp(model.margin(seen.x).astype(np.float64))
    of_group = np.bincount(seen.group, odds)
    return float(-np.log(odds / of_group[seen.group])[seen.y].mean())


def test_trees_find_what_no_line_can_say(rng: np.random.Generator) -> None:
    seen, fresh = corner(rng), corner(np.random.default_rng(99))
    linear, trees = (
        kind().fit(seen, TrainOptions(), np.random.default_rng(0))
        for kind in (ConditionalLogit, LinearWithTrees)
    )
    assert surprise(trees, fresh) < 0.98 * surprise(linear, fresh)


def test_trees_on_what_a_line_can_say_do_little_harm(rng: np.random.Generator) -> None:
    seen, fresh = examples(rng, 20_000), examples(np.random.default_rng(99), 20_000)
    linear, trees = (
        kind().fit(seen, TrainOptions(), np.random.default_rng(0))
        for kind in (ConditionalLogit, LinearWithTrees)
    )
    assert surprise(trees, fresh) < 1.03 * surprise(linear, fresh)


def test_trees_fit_where_every_positive_is_ranked_behind(rng: np.random.Generator) -> None:
    """One long group, whose only positive the linear model cannot tell from the rest."""
    n = 400
    x = np.zeros((n, len(NAMES)), np.float32)
    x[:, 0] = np.arange(n) % 2
    last = np.arange(n) == n - 1
    one = Examples(
        x=x,
        y=last,
        group=np.zeros(n, np.int32),
        at=np.zeros(n),
        weight=np.ones(n),
        gain=last.astype(np.float32),
        position=np.zeros(n, np.float32),
        together=last.astype(np.int32),
    )
    assert np.isfinite(LinearWithTrees().fit(one, TrainOptions(), rng).score(x)).all()


@pytest.mark.parametrize(
    ("n_positives", "expected"),
    [
        (0, "prior"),
        (LEAST_POSITIVES - 1, "prior"),
        (LEAST_POSITIVES, "linear"),
        (LEAST_FOR_TREES - 1, "linear"),
        (LEAST_FOR_TREES, "trees"),
    ],
)
def test_more_positives_get_a_higher_rung(n_positives: int, expected: str) -> None:
    found = fit_model(with_positives(n_positives), TrainOptions(epochs=1), rng_of(0))
    assert found.kind == expected


def with_positives(number: int) -> Examples:
    y = np.zeros(12_000, bool)
    y[: 12 * number : 12] = True
    return with_outcome(examples(rng_of(3), len(y)), y)


@pytest.mark.parametrize("kind", KINDS)
def test_a_rung_may_be_asked_for(kind: str) -> None:
    few = examples(np.random.default_rng(3), 500)
    assert fit_model(few, TrainOptions(model=kind), np.random.default_rng(0)).kind == kind


@pytest.mark.parametrize("y", [True, False])
def test_without_contrast_there_is_only_the_prior(y: bool) -> None:
    seen = with_outcome(examples(np.random.default_rng(3), 500), np.full(500, y))
    found = fit_model(seen, TrainOptions(model="trees"), np.random.default_rng(0))
    assert isinstance(found, PriorModel)


def test_the_heuristic_learns_nothing_so_it_needs_no_contrast() -> None:
    seen = replace(examples(np.random.default_rng(3), 500), gain=np.zeros(500, np.float32))
    found = fit_model(seen, TrainOptions(model="heuristic"), np.random.default_rng(0))
    assert isinstance(found, HeuristicModel)


def test_the_heuristic_puts_known_organizers_first_then_interests_then_what_sells() -> None:
    names = ("organizer.known", "tags.interests", "event.registrations_24h")
    x = np.zeros((4, len(NAMES)), np.float32)
    x[0, NAMES.index(names[0])] = 1
    x[1, NAMES.index(names[1])] = 1
    x[2, NAMES.index(names[2])] = np.log1p(5)
    x[1:3, NAMES.index("place.same_city")] = 1
    margin = HeuristicModel().margin(x)
    assert list(np.argsort(-margin)) == [0, 1, 2, 3]


def test_an_unknown_rung_is_refused() -> None:
    with pytest.raises(
        InvalidOptionError, match="auto, heuristic, prior, linear, trees, not 'oracle'"
    ):
        TrainOptions(model="oracle")


def test_the_prior_and_the_reasons_name_features_that_exist() -> None:
    assert learned(FILE)["feature_names"] == list(NAMES)
    assert set(RULES) <= set(NAMES)
    assert {reason.when for reason in REASONS} - {None} <= set(NAMES)


def test_the_prior_likes_what_people_like_everywhere() -> None:
    x = np.zeros((4, len(NAMES)), np.float32)
    liked = ("organizer.known", "tags.interests", "place.same_city")
    for row, name in enumerate(liked, start=1):
        x[row, NAMES.index(name)] = 1
    nothing, *margins = PriorModel().margin(x).tolist()
    assert min(margins) > nothing


@pytest.mark.parametrize("name", ["organizer.refused", "event.own_refusals"])
def test_the_prior_takes_no_for_an_answer(name: str) -> None:
    x = np.zeros((2, len(NAMES)), np.float32)
    x[1, NAMES.index(name)] = np.log1p(1)
    untouched, refused = PriorModel().margin(x)
    assert refused < untouched


def test_a_prior_of_weights_set_by_hand_is_of_an_older_version() -> None:
    with pytest.raises(ModelMismatchError, match="train again"):
        model_from_json(list(NAMES), {"kind": "prior", "weights": [0.0], "intercept": -7.0})


def test_other_draws_grow_other_trees(rng: np.random.Generator) -> None:
    seen = examples(rng)
    one, other = (LinearWithTrees().fit(seen, TrainOptions(), rng_of(seed)) for seed in (0, 1))
    assert one.to_json()["trees"] != other.to_json()["trees"]
