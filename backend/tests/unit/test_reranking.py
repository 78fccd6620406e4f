"""Rules move events as a greedy choice from the top would, and lose none."""

from dataclasses import replace

import numpy as np
import pytest
from unit.towns import NOON, town

from eventlink.recsys.dataset import HOUR, Dataset
from eventlink.recsys.evaluation import evaluate, folds_before
from eventlink.recsys.exploration import Explorer
from eventlink.recsys.features import Features
from eventlink.recsys.models import PriorModel
from eventlink.recsys.options import RerankingOptions, TrainOptions
from eventlink.recsys.ranking import Ranker, by_score
from eventlink.recsys.reasons import EXPLORED
from eventlink.recsys.reranking import LENGTH_OF_EVENT, MARGIN, OVERLAP, Reranker, number_of_equals
from eventlink.recsys.snapshot import Snapshot

USERS = np.arange(50, dtype=np.int32)


@pytest.fixture(scope="module")
def data() -> Dataset:
    """A town of series: three titles an organizer, starts on full hours, a few without organizer."""
    rng = np.random.default_rng(5)
    made = town(rng, n_users=60, n_events=250, n_registrations=600, n_days=20)
    events = made.events
    return replace(
        made,
        events=replace(
            events,
            start=np.round(events.start / HOUR) * HOUR,
            title=rng.integers(0, 3, len(events)).astype(np.int32),
            organizer=np.where(rng.random(len(events)) < 0.05, -1, events.organizer).astype(
                np.int32
            ),
        ),
    )


@pytest.fixture(scope="module")
def features(data: Dataset) -> Features:
    return Features(Snapshot(data, NOON))


@pytest.fixture(scope="module")
def scores(features: Features) -> np.ndarray:
    shape = (len(USERS), features.s.n_columns)
    return np.random.default_rng(6).random(shape).astype(np.float32)


@pytest.fixture(scope="module")
def banned(features: Features) -> np.ndarray:
    return features.s.excluded(USERS)


def greedy(
    features: Features, order: np.ndarray, user: int, options: RerankingOptions
) -> list[int]:
    """One user's list, one place at a time."""
    s, series = features.s, features.s.series
    went = (s.registered[[user]] @ series.members).toarray()[0]
    waiting, head = list(order), []
    while waiting and len(head) < options.head:
        for column in waiting:
            organizer, number = s.organizer[column], series.of_column[column]
            mates = [c for c in head if s.organizer[c] == organizer]
            twin = any(series.of_column[c] == number for c in head)
            regular = number < series.size and went[number] > 0
            if options.collapse_series and organizer >= 0 and twin and not regular:
                continue
            if options.per_organizer and organizer >= 0 and len(mates) >= options.per_organizer:
                continue
            break
        else:
            break
        head.append(column)
        waiting.remove(column)
    return head + waiting


@pytest.mark.parametrize(
    "options",
    [
        RerankingOptions(),
        RerankingOptions(per_organizer=1),
        RerankingOptions(per_organizer=2),
        RerankingOptions(per_organizer=2, head=25),
        RerankingOptions(collapse_series=True),
        RerankingOptions(collapse_series=True, per_organizer=2),
        RerankingOptions(collapse_series=True, per_organizer=3, head=5),
    ],
)
def test_the_head_is_a_greedy_choice_and_the_rest_keeps_its_order(
    features: Features, scores: np.ndarray, banned: np.ndarray, options: RerankingOptions
) -> None:
    length = 40
    plain = by_score(scores, banned, length + MARGIN)
    found = Reranker(features, options).by_score(USERS, scores, banned, length)
    assert features.s.n_columns > length + MARGIN
    for user, row, order in zip(USERS, found, plain, strict=True):
        assert row.tolist() == greedy(features, order[order >= 0], user, options)[:length]


def test_the_rules_are_not_idle_in_this_town(
    features: Features, scores: np.ndarray, banned: np.ndarray
) -> None:
    plain = by_score(scores, banned, 10)
    for options in (RerankingOptions(per_organizer=2), RerankingOptions(collapse_series=True)):
        found = Reranker(features, options).by_score(USERS, scores, banned, 10)
        assert (found != plain).any(axis=1).mean() > 0.3
    series = features.s.series
    went = (features.s.registered[USERS] @ series.members).toarray()
    assert (went > 0).any()


def test_with_every_rule_off_a_ranking_is_the_same_to_the_last_bit(data: Dataset) -> None:
    s = Snapshot(data, NOON)
    ranker = Ranker(s, Features(s), PriorModel(), USERS, np.random.default_rng(0))
    plain = ranker.rank(USERS, 30)
    ranker.reranker = Reranker(ranker.features, RerankingOptions())
    found = ranker.rank(USERS, 30)
    for name in ("columns", "scores", "reasons", "arguments"):
        np.testing.assert_array_equal(getattr(found, name), getattr(plain, name))
    assert found.propensities is None
    assert Reranker.of(ranker.features, TrainOptions(), USERS, np.random.default_rng(0)) is None


def test_what_overlaps_with_an_own_event_moves_down(
    data: Dataset, features: Features, scores: np.ndarray, banned: np.ndarray
) -> None:
    s = features.s
    start = s.data.events.start[s.columns]
    busy = np.zeros(scores.shape, bool)
    log = s.data.registrations
    for user in USERS:
        for event in log.event[(log.user == user) & s.standing]:
            if s.column_of[event] >= 0:
                busy[user] |= np.abs(start - data.events.start[event]) < LENGTH_OF_EVENT
    assert 0.01 < busy.mean() < 0.5
    scaled = np.where(busy, scores * np.float32(OVERLAP), scores)
    found = Reranker(features, RerankingOptions(demote_overlaps=True)).by_score(
        USERS, scores, banned, 20
    )
    np.testing.assert_array_equal(found, by_score(scaled, banned, 20))


def test_damping_scales_scores_and_shows_nothing_that_is_banned(
    features: Features, scores: np.ndarray, banned: np.ndarray
) -> None:
    damping = np.random.default_rng(8).uniform(0.01, 1, features.s.n_columns).astype(np.float32)
    reranker = Reranker(features, RerankingOptions())
    reranker.damping = damping
    found = reranker.by_score(USERS, scores, banned, features.s.n_columns)
    np.testing.assert_array_equal(found, by_score(scores * damping, banned, features.s.n_columns))
    assert not np.take_along_axis(banned, np.maximum(found, 0), axis=1)[found >= 0].any()


@pytest.mark.parametrize(("slots", "expected"), [(1, [9]), (2, [4, 9]), (3, [2, 5, 9])])
def test_explored_events_stand_at_their_places_and_the_others_keep_their_order(
    features: Features, scores: np.ndarray, banned: np.ndarray, slots: int, expected: list[int]
) -> None:
    explorer = Explorer(features.s, USERS, slots, np.random.default_rng(3))
    reranker = Reranker(features, RerankingOptions(explore_slots=slots), explorer)
    every = np.tile(np.arange(features.s.n_columns, dtype=np.int32), (len(USERS), 1))
    allowed = np.where(banned, np.float32(-1), scores)
    order = reranker.order(USERS, features.s.registered[USERS], every, allowed, 30)
    plain = by_score(scores, banned, 30)
    assert order.propensities is not None
    drawn = order.propensities < 1
    assert set(np.flatnonzero(drawn.any(axis=0))) == set(expected)
    assert drawn[:, expected].mean() > 0.9
    assert explorer.cold[order.places[drawn]].all()
    for row, was, own in zip(order.places, plain, drawn, strict=True):
        kept = row[~own]
        assert kept.tolist() == [c for c in was if c not in set(row[own])][: len(kept)]
        assert not set(row[own]) & set(was[: 10 - slots])


def test_an_explored_event_says_so(data: Dataset) -> None:
    s = Snapshot(data, NOON)
    ranker = Ranker(s, Features(s), PriorModel(), USERS, np.random.default_rng(0))
    options = RerankingOptions(explore_slots=2)
    ranker.reranker = Reranker.of(ranker.features, options, USERS, np.random.default_rng(0))
    found = ranker.rank(USERS, 30)
    assert found.propensities is not None
    drawn = found.propensities < 1
    assert drawn.any()
    np.testing.assert_array_equal(found.reasons == EXPLORED, drawn)
    assert (found.arguments[drawn] == -1).all()


def test_an_evaluation_judges_lists_as_they_would_be_shown(loyal_town: Dataset) -> None:
    gini = {}
    for per_organizer in (0, 1):
        options = TrainOptions(replay_days=5, negatives=10, per_organizer=per_organizer)
        outcomes = evaluate(
            loyal_town,
            folds_before(NOON, 2),
            {"model": lambda *_: PriorModel()},
            options,
            np.random.default_rng(0),
        )
        gini[per_organizer] = outcomes["model"].organizer_gini
    assert gini[1] < gini[0] - 0.05


def test_equals_are_numbered_within_their_row() -> None:
    values = np.array([[3, 1, 3, 3, 1], [2, 2, 2, 5, 2]])
    counted = np.array([[1, 1, 0, 1, 1], [1, 1, 1, 1, 1]], bool)
    found = number_of_equals(values, counted)
    assert found.tolist() == [[0, 0, 1, 1, 1], [0, 1, 2, 0, 3]]
