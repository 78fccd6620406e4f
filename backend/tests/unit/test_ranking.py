"""Rankings equal a slow, plain reference, and never show what they must not."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.towns import NOON, town

from eventlink.recsys import candidates
from eventlink.recsys.dataset import DAY, Dataset, Ints, UserOrganizers, UserTags
from eventlink.recsys.evaluation import folds_before
from eventlink.recsys.features import NAMES, Features
from eventlink.recsys.features.forecast import learn
from eventlink.recsys.models import KINDS, HeuristicModel, Model, PriorModel, fit_model
from eventlink.recsys.options import TrainOptions
from eventlink.recsys.ranking import Ranker, Rankings
from eventlink.recsys.replay import replay
from eventlink.recsys.snapshot import Pairs, Snapshot


def rank(data: Dataset, model: Model, users: np.ndarray, top_n: int = 10) -> Rankings:
    s = Snapshot(data, NOON)
    ranker = Ranker(s, Features(s), model, users, np.random.default_rng(0))
    return ranker.rank(users, top_n)


def reference(
    data: Dataset, model: Model, user: int, top_n: int, among: Ints | None = None
) -> list[tuple[int, float]]:
    """One user, one event at a time; (event, score), best first, ties by event."""
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
            or (among is not None and column not in among)
        ):
            continue
        pair = Pairs(
            np.array([user], np.int32), np.zeros(1, np.int32), np.array([column], np.int32)
        )
        scored.append((int(event), float(model.score(features.matrix(pair))[0])))
    return sorted(scored, key=lambda pair: (-pair[1], pair[0]))[:top_n]


def listed(data: Dataset, found: Rankings) -> list[list[tuple[int, float]]]:
    """Rankings as the reference tells them."""
    events = np.append(Snapshot(data, NOON).columns, -1)[found.columns]
    lists = []
    for row, scores in zip(events, found.scores, strict=True):
        shown = row >= 0
        assert not shown[np.argmin(shown) :].any() or shown.all()  # gaps only at the end
        lists.append(list(zip(row[shown].tolist(), scores[shown].tolist(), strict=True)))
    return lists


def exclusions(data: Dataset, rng: np.random.Generator) -> Dataset:
    """Add hidden tags, blocked organizers, full events and registrations taken back."""
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


@pytest.fixture(scope="module")
def constrained() -> Dataset:
    rng = np.random.default_rng(7)
    return exclusions(town(rng, n_users=60, n_events=60, n_registrations=700, loyalty=0.5), rng)


def trained(data: Dataset, kind: str = "linear") -> Model:
    options = TrainOptions(replay_days=10, negatives=20, model=kind)
    instants, forecasts = folds_before(NOON, 10), learn(data, NOON - 10 * DAY, NOON)
    examples = replay(data, instants, forecasts, options, np.random.default_rng(0)).examples
    return fit_model(examples, options, np.random.default_rng(0))


@pytest.mark.parametrize("kind", KINDS)
def test_a_ranking_equals_the_plain_reference(constrained: Dataset, kind: str) -> None:
    model = trained(constrained, kind)
    users = np.arange(0, 60, 5, dtype=np.int32)
    found = listed(constrained, rank(constrained, model, users))
    assert found == [reference(constrained, model, int(user), 10) for user in users]


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n_live=st.integers(1, 10),
    n_weights=st.integers(0, 6),
    top_n=st.integers(1, 12),
    size=st.integers(1, 12),
)
def test_any_ranking_equals_the_plain_reference_to_the_last_tie(
    seed: int, n_live: int, n_weights: int, top_n: int, size: int
) -> None:
    rng = np.random.default_rng(seed)
    data = exclusions(town(rng, n_users=4, n_registrations=60), rng)
    live = Snapshot(data, NOON).columns
    published = np.isin(np.arange(data.n_events), rng.choice(live, min(n_live, len(live))))
    data = replace(data, events=replace(data.events, published=published))
    model = HeuristicModel()
    # A few of the features with whole weights: most scores are equal to others.
    model.weights_ = np.zeros(len(NAMES), np.float32)
    model.weights_[rng.choice(len(NAMES), n_weights)] = rng.integers(-2, 3, n_weights)
    s, users = Snapshot(data, NOON), np.arange(4, dtype=np.int32)
    ranker = Ranker(s, Features(s), model, users, np.random.default_rng(0))
    ranker.candidates = candidates.Candidates(
        s, ranker.features, model, users, np.random.default_rng(0), size
    )
    found = ranker.rank(users, top_n)
    among = ranker.candidates.of(s, users, s.excluded(users) | ~s.eligible)
    assert np.isfinite(found.scores).all()
    assert listed(data, found) == [
        reference(data, model, user, top_n, chosen) for user, chosen in enumerate(among)
    ]


def test_ties_go_to_the_smaller_event(constrained: Dataset) -> None:
    model = HeuristicModel()
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


def test_long_lists_are_chosen_from_more_candidates(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(candidates, "CANDIDATES", 10)
    s, users = Snapshot(town(rng, n_events=400), NOON), np.arange(8, dtype=np.int32)
    made = (s, Features(s), PriorModel(), users)
    usual = Ranker(*made, np.random.default_rng(0), top_n=5)
    longer = Ranker(*made, np.random.default_rng(0), top_n=20)
    assert s.n_columns > 40
    assert (usual.candidates.size, longer.candidates.size) == (10, 40)
    assert (longer.rank(users, 20).columns >= 0).all()


def test_blocks_of_users_do_not_change_a_ranking(constrained: Dataset) -> None:
    users = np.arange(60, dtype=np.int32)
    together = rank(constrained, PriorModel(), users)
    alone = [rank(constrained, PriorModel(), users[i : i + 1]) for i in range(60)]
    np.testing.assert_array_equal(together.columns, np.concatenate([r.columns for r in alone]))
    np.testing.assert_array_equal(together.scores, np.concatenate([r.scores for r in alone]))


def test_all_are_ranked_as_alone_whatever_the_order(constrained: Dataset) -> None:
    s = Snapshot(constrained, NOON)
    users = np.arange(60, dtype=np.int32)
    ranker = Ranker(s, Features(s), PriorModel(), users, np.random.default_rng(0))
    parts = list(ranker.rank_all(users, 10))
    ranked = np.concatenate([part.users for part in parts])
    columns = np.concatenate([part.columns for part in parts])
    assert sorted(ranked.tolist()) == users.tolist()
    expected = rank(constrained, PriorModel(), users).columns
    np.testing.assert_array_equal(columns[np.argsort(ranked)], expected)


def test_nobody_has_no_rankings(constrained: Dataset) -> None:
    s = Snapshot(constrained, NOON)
    users = np.arange(60, dtype=np.int32)
    ranker = Ranker(s, Features(s), PriorModel(), users, np.random.default_rng(0))
    assert list(ranker.rank_all(users[:0], 10)) == []
