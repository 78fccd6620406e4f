"""Scores become probabilities, for all users and candidates, and no order changes."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit, logit
from unit.towns import NOON

from eventlink.recsys.calibration import (
    CALIBRATION_DAYS,
    Sample,
    calibrate_models,
    draw,
    reliability,
)
from eventlink.recsys.dataset import DAY, Dataset
from eventlink.recsys.features import Features, forecast
from eventlink.recsys.models import PriorModel
from eventlink.recsys.models.choice import calibrate, set_level
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


def test_calibration_foresees_tomorrow_s_registrations(loyal_town: Dataset) -> None:
    model = PriorModel()
    s = Snapshot(loyal_town, AT)
    drawn = draw(loyal_town, s, np.random.default_rng(0))
    tomorrow = Sample.of(drawn, Features(s, forecast.fit_as_of(loyal_town, AT)))
    before = reliability(model.margin(tomorrow.x), tomorrow.y, tomorrow.weight)
    calibrate_models([model], week_before(loyal_town))
    after = reliability(model.margin(tomorrow.x), tomorrow.y, tomorrow.weight)
    assert before is not None
    assert after is not None
    assert not 0.5 < before.total_expected / before.total_happened < 2
    assert after.total_expected == pytest.approx(after.total_happened, rel=0.3)
    assert after.slope == pytest.approx(1.0, abs=0.3)
    assert after.error_share < before.error_share


def test_calibration_keeps_every_order(loyal_town: Dataset) -> None:
    model = PriorModel()
    s = Snapshot(loyal_town, AT)
    x = Features(s).matrix(Pairs.every(np.arange(5, dtype=np.int32), s.n_columns))
    before = model.margin(x)
    calibrate_models([model], week_before(loyal_town))
    after = model.margin(x)
    order = np.argsort(before)
    assert (np.diff(after[order]) > -1e-4).all()
    assert np.ptp(after - before) > 0.1


def test_calibration_never_sees_the_future(loyal_town: Dataset) -> None:
    one, other = PriorModel(), PriorModel()
    calibrate_models([one], week_before(loyal_town))
    calibrate_models([other], week_before(loyal_town.before(AT)))
    assert one.to_json() == other.to_json()


def test_where_nothing_happened_a_model_stays_as_it_is(loyal_town: Dataset) -> None:
    few = replace(loyal_town, registrations=loyal_town.registrations.rows(slice(0, 20)))
    model = PriorModel()
    calibrate_models([model], week_before(few))
    assert model.to_json() == PriorModel().to_json()


def test_where_little_happened_only_the_rate_is_learned(loyal_town: Dataset) -> None:
    log = loyal_town.registrations
    week = np.flatnonzero((log.at >= AT - 7 * DAY) & (log.at < AT))
    few = replace(loyal_town, registrations=log.rows(week[:: len(week) // 12]))
    model, samples = PriorModel(), week_before(few)
    calibrate_models([model], samples)
    assert model.slope_ == PriorModel().slope_
    expected = [(day.weight * model.score(day.x)).sum() for day in samples]
    assert 6 < sum(expected) < 24


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
