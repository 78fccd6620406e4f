import numpy as np
import pytest
from integration.sites import HOUR, NOON, Site, lists_of

from eventlink.db.overlay import (
    enter_events,
    last_scores,
    later_last_scores,
    store_refreshed,
)
from eventlink.db.recommendations import build_generation, serve_generation
from eventlink.db.session import connection, transaction
from eventlink.errors import PublishRefusedError

LENGTH = 3


@pytest.fixture
def served(site: Site) -> Site:
    """Users 1 and 2 with rankings of a generation, 2 with a refreshed one, 3 with none."""
    site.users(1, 2, 3)
    for event in (100, 101, 102, 103, 104):
        site.event(event)
    with connection() as conn:
        lists = lists_of({1: [101, 102, 103], 2: [101, 102, 103]}, [0.8, 0.5, 0.2])
        generation = build_generation(conn, "m", NOON, [lists])
        with conn.begin():
            serve_generation(conn, generation)
    with transaction() as conn:
        store_refreshed(conn, "m", NOON + HOUR, lists_of({2: [103]}, [0.3]))
    return site


def enter(users: list[int], event: int, score: float, version: str = "m") -> None:
    with transaction() as conn:
        enter_events(conn, version, lists_of({user: [event] for user in users}, [score]), LENGTH)


@pytest.mark.parametrize(
    ("event", "score", "events"),
    [
        (104, 0.9, [104, 101, 102]),
        (104, 0.6, [101, 104, 102]),
        (104, 0.3, [101, 102, 104]),
        (104, 0.1, [101, 102, 103]),
        (100, 0.5, [101, 100, 102]),
        (104, 0.5, [101, 102, 104]),
        (102, 0.9, [101, 102, 103]),
    ],
    ids=["first", "between", "last", "too low", "tie, smaller id", "tie, larger id", "there"],
)
def test_an_event_enters_where_its_score_puts_it(
    served: Site, event: int, score: float, events: list[int]
) -> None:
    enter([1], event, score)
    assert served.events_of(1) == events


def test_what_entered_keeps_scores_and_reasons_beside_the_events(served: Site) -> None:
    enter([1], 104, 0.6)
    rows = served.run(
        "SELECT rank, event_id, score, reason, generated_at FROM user_recommendations"
        " WHERE user_id = 1 ORDER BY rank"
    )
    expected = [(1, 101, 0.8), (2, 104, 0.6), (3, 102, 0.5)]
    assert [row[:2] for row in rows] == [row[:2] for row in expected]
    assert [row[2] for row in rows] == pytest.approx([row[2] for row in expected])
    assert {row[3:] for row in rows} == {("popular", NOON)}  # the rest is as old as it was


def test_a_refreshed_ranking_is_the_one_that_is_entered(served: Site) -> None:
    enter([1, 2], 104, 0.6)
    assert served.events_of(2) == [104, 103]


def test_who_has_no_ranking_or_one_of_another_model_is_left_alone(served: Site) -> None:
    enter([3, 10**9], 104, 0.6)
    enter([1], 104, 0.6, version="other")
    assert [served.events_of(user) for user in (1, 3)] == [[101, 102, 103], []]


def test_two_events_enter_one_after_the_other(served: Site) -> None:
    with transaction() as conn:
        enter_events(conn, "m", lists_of({1: [104, 100]}, [0.9, 0.7]), LENGTH)
    assert served.events_of(1) == [104, 101, 100]


def test_a_score_that_is_not_a_number_enters_nothing(served: Site) -> None:
    with pytest.raises(PublishRefusedError):
        enter([1], 104, np.nan)
    assert served.events_of(1) == [101, 102, 103]


def test_where_rankings_end_is_told_of_the_generation_and_of_what_is_later(served: Site) -> None:
    del served
    with connection() as conn:
        users, scores = last_scores(conn, LENGTH)
        assert dict(zip(users.tolist(), scores.tolist(), strict=True)) == pytest.approx(
            {1: 0.2, 2: 0.2}
        )
        users, scores = later_last_scores(conn, LENGTH)
        assert (users.tolist(), scores.tolist()) == ([2], [0])  # there is room


def test_without_rankings_none_ends(site: Site) -> None:
    del site
    with connection() as conn:
        for read in (last_scores, later_last_scores):
            assert [len(part) for part in read(conn, LENGTH)] == [0, 0]
