"""Days are looked at once: what is drawn to calibrate by changes nothing of what is learned from."""

import numpy as np
import pytest
from unit.towns import NOON

from eventlink.recsys.dataset import DAY, Dataset
from eventlink.recsys.examples import Examples, choices_of_day, examples_of_day
from eventlink.recsys.features import NAMES, Features, forecast
from eventlink.recsys.options import TrainOptions
from eventlink.recsys.outcomes import outcomes
from eventlink.recsys.replay import Replay, replay
from eventlink.recsys.snapshot import Pairs, Snapshot

INSTANTS = NOON - DAY * np.array([4.0, 3.0, 2.0, 1.0])
OPTIONS = TrainOptions(negatives=20)


def replayed(data: Dataset, sampled_from: float = np.inf) -> Replay:
    forecasts = forecast.learn(data, INSTANTS[0], INSTANTS[-1])
    rng = np.random.default_rng(0)
    return replay(data, INSTANTS, forecasts, OPTIONS, rng, sampled_from=sampled_from)


def test_the_last_days_are_sampled_to_calibrate_by(loyal_town: Dataset) -> None:
    found = replayed(loyal_town, sampled_from=INSTANTS[2])
    assert [sample.at for sample in found.samples] == INSTANTS[2:].tolist()
    for sample in found.samples:
        truth = outcomes(loyal_town, Snapshot(loyal_town, sample.at), sample.at + DAY)
        assert sample.x.shape == (len(sample.y), len(NAMES))
        assert (sample.weight * sample.y).sum() == pytest.approx(len(truth.user))
    assert found.samples_between(INSTANTS[0], INSTANTS[3]) == [found.samples[0]]


def test_what_is_sampled_changes_no_example(loyal_town: Dataset) -> None:
    alone = replayed(loyal_town)
    beside = replayed(loyal_town, sampled_from=INSTANTS[0])
    assert not alone.samples
    for name in Examples.__dataclass_fields__:
        assert np.array_equal(getattr(alone.examples, name), getattr(beside.examples, name)), name


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_an_example_tells_how_many_registered_for_its_event(
    loyal_town: Dataset, share: float, rng: np.random.Generator
) -> None:
    """Also those who are not among the sampled users."""
    s = Snapshot(loyal_town, INSTANTS[0])
    truth = outcomes(loyal_town, s, s.as_of + DAY)
    choices = choices_of_day(loyal_town, s, 20, share, rng)
    seen = examples_of_day(choices, Features(s, asked=choices.users))
    expected = [(truth.column == column).sum() for column in choices.column[choices.y]]
    assert max(expected) > 1
    assert (len(expected) < len(truth.user)) == (share < 1)
    assert seen.together[seen.y].tolist() == expected
    assert not seen.together[~seen.y].any()


def test_examples_see_what_was_known_at_their_instant(loyal_town: Dataset) -> None:
    later = replayed(loyal_town)
    sooner = replay(
        loyal_town.before(INSTANTS[-1]),
        INSTANTS[:-1],
        forecast.learn(loyal_town, INSTANTS[0], INSTANTS[-1]),
        OPTIONS,
        np.random.default_rng(0),
    )
    first = later.examples.between(INSTANTS[0], INSTANTS[-1])
    assert np.array_equal(first.x, sooner.examples.x)


def test_many_pairs_have_the_features_they_have_among_few(
    loyal_town: Dataset, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    monkeypatch.setattr("eventlink.recsys.features.USERS_A_BLOCK", 7)
    s = Snapshot(loyal_town, INSTANTS[0])
    user = np.sort(rng.integers(0, loyal_town.n_users, 400)).astype(np.int32)
    column = rng.integers(0, s.n_columns, 400).astype(np.int32)
    features = Features(s)
    pairs, place = Pairs.distinct(user, column, s.n_columns)
    assert np.array_equal(features.of_many(user, column), features.matrix(pairs)[place])
    assert features.of_many(user[:0], column[:0]).shape == (0, len(NAMES))
