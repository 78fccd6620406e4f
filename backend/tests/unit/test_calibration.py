"""Scores become probabilities, for all users and candidates, and no order changes."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit, logit
from unit.towns import NOON

from eventlink.recsys.calibration import (
    CALIBRATION_DAYS,
    Sample,
    draw,
    reliability,
    to_probabilities,
)
from eventlink.recsys.dataset import DAY, Dataset
from eventlink.recsys.features import Features, forecast
from eventlink.recsys.models import Calibrated, Calibration, PriorModel
from eventlink.recsys.models.calibrated import newcomers
from eventlink.recsys.models.logistic import calibrate, set_level
from eventlink.recsys.outcomes import outcomes
from eventlink.recsys.snapshot import Pairs, Snapshot

AT = NOON - DAY


def week_before(data: Dataset) -> list[Sample]:
    """Draw from each of the last days that are over, seen as of its own first instant."""
    samples = []
    for days in range(CALIBRATION_DAYS, 0, -1):
        s = Snapshot(data, AT - days * DAY)
        samples.append(Sample.of(draw(data, s, np.random.default_rng(days)), Features(s)))
    return samples


def test_a_sample_stands_for_all_pairs(loyal_town: Dataset) -> None:
    s = Snapshot(loyal_town, AT)
    found = draw(loyal_town, s, np.random.default_rng(0))
    all_pairs = loyal_town.n_users * s.n_columns - s.going.nnz
    assert found.weight.sum() == pytest.approx(all_pairs, rel=0.1)
    truth = outcomes(loyal_town, s, AT + DAY)
    assert (found.weight * found.y).sum() == pytest.approx(len(truth.user))
    assert len(np.unique(found.user * s.n_columns + found.column)) == len(found.user)


def test_where_few_users_are_drawn_they_stand_for_the_rest(
    loyal_town: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eventlink.recsys.calibration.USERS_A_STRATUM", 40)
    s = Snapshot(loyal_town, AT)
    truth = len(outcomes(loyal_town, s, AT + DAY).user)
    found = [draw(loyal_town, s, np.random.default_rng(seed)) for seed in range(20)]
    assert np.mean([(f.weight * f.y).sum() for f in found]) == pytest.approx(truth, rel=0.15)


def test_users_who_get_no_ranking_are_not_drawn(loyal_town: Dataset) -> None:
    rankable = np.arange(loyal_town.n_users) % 2 == 0
    data = replace(loyal_town, users=replace(loyal_town.users, rankable=rankable))
    assert rankable[draw(data, Snapshot(data, AT), np.random.default_rng(0)).user].all()


def test_users_who_had_not_signed_up_are_not_drawn(loyal_town: Dataset) -> None:
    number = np.arange(loyal_town.n_users)
    users = replace(loyal_town.users, joined=np.where(number % 2 == 0, AT, -np.inf))
    log = loyal_town.registrations
    data = replace(loyal_town, users=users, registrations=log.rows(log.user % 4 > 0))
    drawn = np.unique(draw(data, Snapshot(data, AT), np.random.default_rng(0)).user)
    assert drawn.tolist() == number[number % 4 > 0].tolist()


def test_calibration_foresees_tomorrow_s_registrations(loyal_town: Dataset) -> None:
    model = PriorModel()
    s = Snapshot(loyal_town, AT)
    drawn = draw(loyal_town, s, np.random.default_rng(0))
    tomorrow = Sample.of(drawn, Features(s, forecast.fit_as_of(loyal_town, AT)))
    before = reliability(model.margin(tomorrow.x), tomorrow.y, tomorrow.weight)
    mapped = to_probabilities(model, week_before(loyal_town))
    after = reliability(mapped.margin(tomorrow.x), tomorrow.y, tomorrow.weight)
    assert before is not None
    assert after is not None
    assert not 0.5 < before.total_expected / before.total_happened < 2
    assert after.total_expected == pytest.approx(after.total_happened, rel=0.3)
    assert after.slope == pytest.approx(1.0, abs=0.3)
    assert after.error_share < before.error_share


def test_calibration_keeps_every_user_s_order(loyal_town: Dataset) -> None:
    model = PriorModel()
    mapped = to_probabilities(model, week_before(loyal_town))
    s = Snapshot(loyal_town, AT)
    for user in range(5):
        x = Features(s).matrix(Pairs.every(np.array([user], np.int32), s.n_columns))
        before, after = model.margin(x), mapped.margin(x)
        assert (np.diff(after[np.argsort(before)]) > -1e-4).all()
        assert np.abs(after - before).max() > 0.1


def test_calibration_never_sees_the_future(loyal_town: Dataset) -> None:
    one = to_probabilities(PriorModel(), week_before(loyal_town))
    other = to_probabilities(PriorModel(), week_before(loyal_town.before(AT)))
    assert one.to_json() == other.to_json()


def test_where_nothing_happened_a_model_stays_as_it_is(loyal_town: Dataset) -> None:
    few = replace(loyal_town, registrations=loyal_town.registrations.rows(slice(0, 20)))
    model = PriorModel()
    assert to_probabilities(model, week_before(few)) is model


def test_where_little_happened_only_the_rate_is_learned(loyal_town: Dataset) -> None:
    log = loyal_town.registrations
    week = np.flatnonzero((log.at >= AT - 7 * DAY) & (log.at < AT))
    few = replace(loyal_town, registrations=log.rows(week[:: len(week) // 12]))
    samples = week_before(few)
    mapped = to_probabilities(PriorModel(), samples)
    assert isinstance(mapped, Calibrated)
    assert mapped.calibration == Calibration(intercept=mapped.calibration.intercept)
    expected = [(day.weight * mapped.score(day.x)).sum() for day in samples]
    assert 6 < sum(expected) < 24


def test_newcomers_are_told_by_features_of_all_known_events(loyal_town: Dataset) -> None:
    log = loyal_town.registrations
    town = replace(loyal_town, registrations=log.rows(log.user % 2 == 0))
    known = np.flatnonzero(town.events.created < AT).astype(np.int32)
    s = Snapshot(town, AT, known)
    assert (town.events.start[known] < AT).any()
    everybody = np.arange(town.n_users, dtype=np.int32)
    found = newcomers(Features(s).matrix(Pairs.every(everybody, s.n_columns)))
    expected = np.repeat(s.history == 0, s.n_columns)
    assert 0 < expected.mean() < 1
    np.testing.assert_array_equal(found, expected)


def outcomes_of(
    truth: Calibration, rng: np.random.Generator, n: int = 400_000
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Margins, whether users are new, and what happens to them."""
    margin, new = rng.normal(-4, 2, n).astype(np.float32), rng.random(n) < 0.5
    return margin, new, rng.random(n) < expit(truth.line(margin) + truth.newcomer * new)


def test_a_knee_and_a_step_for_newcomers_are_found(rng: np.random.Generator) -> None:
    truth = Calibration(slope=1.2, bend=-0.8, knee=-2.0, newcomer=1.5, intercept=-0.5)
    margin, new, y = outcomes_of(truth, rng)
    found = Calibration.fit(margin, new, y, np.ones(len(y)))
    assert found.newcomer == pytest.approx(1.5, abs=0.1)
    assert found.slope > 1
    assert found.bend < -0.4
    some = np.linspace(-6, 1, 8, dtype=np.float32)
    assert np.abs(found.line(some) - truth.line(some)).max() < 0.5


def test_no_order_is_turned_round_where_the_surest_pairs_never_happen(
    rng: np.random.Generator,
) -> None:
    margin, new, y = outcomes_of(Calibration(), rng)
    y &= margin < -1
    found = Calibration.fit(margin, new, y, np.ones(len(y)))
    some = np.linspace(-12, 6, 100, dtype=np.float32)
    assert found.bend < 0
    assert (np.diff(found.line(some)) > 0).all()
    expected = expit(found.line(margin) + found.newcomer * new).sum()
    assert expected == pytest.approx(y.sum(), rel=1e-3)


@pytest.mark.parametrize("everybody", [False, True])
def test_where_nobody_is_new_or_everybody_nothing_is_said_of_newcomers(
    rng: np.random.Generator, everybody: bool
) -> None:
    margin, _, y = outcomes_of(Calibration(), rng, 20_000)
    found = Calibration.fit(margin, np.full(len(y), everybody), y, np.ones(len(y)))
    step = found.newcomer if everybody else 0.0
    expected = expit(found.line(margin) + step).sum()
    assert expected == pytest.approx(y.sum(), rel=0.02)
    assert abs(found.newcomer) < 3


def test_rare_choices_and_margins_far_apart_are_calibrated(rng: np.random.Generator) -> None:
    margin = np.where(rng.random(26_000) < 0.3, 15, 0) + rng.normal(0, 12, 26_000)
    y = rng.random(len(margin)) < expit(0.5 * margin - 16)
    slope, intercept = calibrate(margin.astype(np.float32), y, np.ones(len(y)))
    assert slope == pytest.approx(0.5, rel=0.1)
    assert expit(slope * margin + intercept).sum() == pytest.approx(y.sum(), rel=0.02)


def test_equal_margins_are_set_to_the_rate(rng: np.random.Generator) -> None:
    y = rng.random(1000) < 0.01
    for margin in rng.normal(0, 30, 200).astype(np.float32):
        _, intercept = set_level(np.full(1000, margin), y, np.ones(1000))
        assert expit(margin + intercept) == pytest.approx(y.mean(), rel=1e-3)


def drawn(rng: np.random.Generator, n: int = 200_000) -> tuple[np.ndarray, np.ndarray]:
    p = expit(rng.normal(-4, 1.5, n))
    return logit(p), rng.random(n) < p


def test_true_probabilities_are_found_reliable(rng: np.random.Generator) -> None:
    margin, y = drawn(rng)
    found = reliability(margin, y, np.full(len(y), 3.0))
    assert found is not None
    assert found.slope == pytest.approx(1, abs=0.03)
    assert found.error_share < 0.05
    assert found.total_expected == pytest.approx(found.total_happened, rel=0.05)
    assert (np.abs(found.expected - found.happened) < 3 * found.error).all()
    assert (np.diff(found.expected) > 0).all()


def test_bold_probabilities_are_found_out(rng: np.random.Generator) -> None:
    margin, y = drawn(rng)
    bold = reliability(2 * margin + 4, y, np.ones(len(y)))
    assert bold is not None
    assert bold.slope == pytest.approx(0.5, abs=0.03)
    assert bold.error_share > 0.2


def test_without_a_registration_there_is_nothing_to_compare_with() -> None:
    assert reliability(np.zeros(5), np.zeros(5, bool), np.ones(5)) is None
