"""Rankings equal a slow, plain reference, and never show what they must not."""

from dataclasses import replace

import numpy as np
import pytest
from unit.towns import NOON, town

from eventlink.recsys import candidates
from eventlink.recsys.dataset import Dataset, UserOrganizers, UserTags
from eventlink.recsys.evaluation import folds_before
from eventlink.recsys.examples import replay
from eventlink.recsys.features import NAMES, Features
from eventlink.recsys.models import KINDS, Model, PriorModel, fit_model
from eventlink.recsys.options import TrainOptions
from eventlink.recsys.ranking import Ranker, Rankings
from eventlink.recsys.snapshot import Pairs, Snapshot


def rank(data: Dataset, model: Model, users: np.ndarray, top_n: int = 10) -> Rankings:
    s = Snapshot(data, NOON)
    ranker = Ranker(s, Features(s), model, users, np.random.default_rng(0))
    return ranker.rank(users, top_n)


def reference(data: Dataset, model: Model, user: int, top_n: int) -> list[tuple[int, float]]:
    """One user, one event at a time; (event, score), best first."""
    s = Snapshot(data, NOON)
    features = Features(s)
    log, tags = data.registrations, data.event_tags
    scored = []
    for column, event in enumerate(s.columns):
        standing = (log.user == user) & (log.event == event) & np.isinf(log.until)
        hidden = set(data.hidden_tags.tag[data.hidden_tags.user == user])
        blocked = set(data.blocks.organizer[data.blocks.user == user])
        taken = ((log.event == event) & np.isinf(log.until)).sum()
        seats = data.events.max_seats[event]
        if (
            standing.any()
            or hidden & set(tags.tag[tags.event == event])
            or data.events.organizer[event] in blocked
            or (seats >= 0 and taken >= seats)
        ):
            continue
        pair = Pairs(
            np.array([user], np.int32), np.zeros(1, np.int32), np.array([column], np.int32)
        )
        scored.append((int(event), float(model.score(features.matrix(pair))[0])))
    return sorted(scored, key=lambda pair: (-round(pair[1], 6), pair[0]))[:top_n]


@pytest.fixture(scope="module")
def constrained() -> Dataset:
    """A town with hidden tags, blocked organizers, full events and registrations taken back."""
    rng = np.random.default_rng(7)
    data = town(rng, n_users=60, n_events=60, n_registrations=700, loyalty=0.5)
    log = data.registrations
    until = np.where(rng.random(len(log)) < 0.2, log.at + 60, np.inf)
    seats = np.where(rng.random(data.n_events) < 0.3, 5, -1).astype(np.int32)
    users = np.arange(data.n_users, dtype=np.int32)
    nothing = np.full(data.n_users, -np.inf)
    return replace(
        data,
        registrations=replace(log, until=until),
        events=replace(data.events, max_seats=seats),
        hidden_tags=UserTags(users, (users % data.n_tags).astype(np.int32), nothing),
        blocks=UserOrganizers(users, (users % data.n_organizers).astype(np.int32), nothing),
    )


def trained(data: Dataset, kind: str = "linear") -> Model:
    options = TrainOptions(replay_days=10, negatives=20, model=kind)
    examples = replay(data, folds_before(NOON, 10), options, np.random.default_rng(0))
    return fit_model(examples, options, np.random.default_rng(0))


@pytest.mark.parametrize("kind", KINDS)
def test_a_ranking_equals_the_plain_reference(constrained: Dataset, kind: str) -> None:
    model = trained(constrained, kind)
    users = np.arange(0, 60, 5, dtype=np.int32)
    found = rank(constrained, model, users)
    events = np.append(Snapshot(constrained, NOON).columns, -1)[found.columns]
    for number, user in enumerate(users):
        expected = reference(constrained, model, int(user), 10)
        shown = events[number] >= 0
        scores = found.scores[number][shown].tolist()
        assert len(scores) == len(expected)
        np.testing.assert_allclose(scores, [score for _, score in expected], rtol=1e-4)
        ties = len({round(score, 6) for _, score in expected}) < len(expected)
        if not ties:
            assert events[number][shown].tolist() == [event for event, _ in expected]


def test_ties_go_to_the_smaller_event(constrained: Dataset) -> None:
    model = PriorModel()
    model.weights_ = np.zeros(len(NAMES), np.float32)
    found = rank(constrained, model, np.arange(10, dtype=np.int32))
    for row in found.columns:
        shown = row[row >= 0]
        assert (np.diff(shown) > 0).all()


def test_a_list_is_shorter_where_events_run_out(constrained: Dataset) -> None:
    found = rank(constrained, PriorModel(), np.arange(5, dtype=np.int32), top_n=500)
    assert found.columns.shape[1] <= Snapshot(constrained, NOON).n_columns
    empty = found.columns < 0
    assert empty.any()
    assert (found.scores[empty] == 0).all()
    assert (np.diff(empty.astype(int), axis=1) >= 0).all()  # gaps only at the end


def test_candidates_keep_nearly_all_of_the_full_ranking() -> None:
    data = town(
        np.random.default_rng(3), n_users=400, n_events=600, n_registrations=6000, loyalty=0.6
    )
    model = trained(data)
    users = np.arange(200, dtype=np.int32)
    full = rank(data, model, users).columns
    s = Snapshot(data, NOON)
    ranker = Ranker(s, Features(s), model, users, np.random.default_rng(0))
    ranker.candidates = candidates.Candidates(
        s, Features(s), model, users, np.random.default_rng(0), size=60
    )
    few = ranker.rank(users, 10).columns
    assert s.n_columns > 150
    kept = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(full, few, strict=True)])
    assert kept > 0.97


def test_blocks_of_users_do_not_change_a_ranking(constrained: Dataset) -> None:
    users = np.arange(60, dtype=np.int32)
    together = rank(constrained, PriorModel(), users)
    alone = [rank(constrained, PriorModel(), users[i : i + 1]) for i in range(60)]
    np.testing.assert_array_equal(together.columns, np.concatenate([r.columns for r in alone]))
