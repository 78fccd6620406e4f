"""A crowd that is renewed is the one that would have been read with the events of now."""

from dataclasses import fields, replace

import numpy as np
import pytest
from scipy import sparse
from unit.towns import NOON, town

from eventlink.recsys.candidates import Candidates
from eventlink.recsys.dataset import (
    Act,
    Dataset,
    Events,
    EventTags,
    Favorites,
    Intents,
    Interactions,
    Ints,
    UserTags,
)
from eventlink.recsys.features import Features
from eventlink.recsys.models import PriorModel
from eventlink.recsys.renewal import (
    KEPT,
    KEPT_BY,
    Moves,
    moved,
    renewed,
    renumbered,
    replanted,
    unchanged,
)
from eventlink.recsys.snapshot import Pairs, Snapshot

LATER = NOON + 60
AGGREGATES = (*KEPT, *(name for names in KEPT_BY.values() for name in names))
N_EVENTS, NEW = 120, np.array([0, 50, 122])
"""How many there were, and the indices of three that were published since."""


def numbers(n: int) -> Ints:
    return np.arange(n, dtype=np.int32)


def without(*gaps: int, n: int) -> Ints:
    """Number n things so that new ones fill the gaps."""
    return np.setdiff1d(numbers(n + len(gaps)), gaps).astype(np.int32)


def busy_town() -> Dataset:
    """A town of which every table has rows."""
    rng = np.random.default_rng(1)
    data = town(rng, n_users=80, n_events=N_EVENTS, n_registrations=600)
    log = data.registrations
    log = replace(log, until=np.where(rng.random(len(log)) < 0.1, NOON - 1, np.inf))
    homeless = numbers(80) % 3 == 0
    some, place = numbers(40), numbers(len(log))
    return replace(
        data,
        users=replace(data.users, city=numbers(80) % 7, lat=np.where(homeless, np.nan, 46.0)),
        events=replace(data.events, category=numbers(N_EVENTS) % 5, city=numbers(N_EVENTS) % 7),
        registrations=log,
        hidden_tags=UserTags(some, some % 6, np.full(40, -np.inf)),
        blocks=replace(data.follows, organizer=(data.follows.organizer + 1) % 12),
        favorites=Favorites(log.user, log.event, log.at),
        interactions=Interactions(
            user=log.user,
            event=log.event,
            at=log.at,
            act=rng.choice([Act.IMPRESSION, Act.CLICK, Act.UNREGISTER], len(log)).astype(np.int8),
            position=place % 6,
            request=place // 6,
            dwell=np.zeros(len(log), np.float32),
        ),
        intents=Intents(some, np.full(40, NOON - 9.0), some % 6, some % 5),
        n_categories=5,
    )


def with_three_more(data: Dataset, created: float = NOON + 5) -> tuple[Dataset, Moves]:
    """Publish three events, of one new organizer, tag, category and city that are numbered first."""
    to = Moves(
        events=without(*NEW.tolist(), n=N_EVENTS),
        organizers=without(0, n=data.n_organizers),
        tags=without(0, n=data.n_tags),
        cities=without(0, n=7),
        categories=without(0, n=data.n_categories),
    )
    data, old = renumbered(data, to), data.events
    size = N_EVENTS + len(NEW)
    places = {"organizer": to.organizers, "category": to.categories, "city": to.cities}
    columns = {}
    for field in fields(Events):
        values = getattr(old, field.name)
        if field.name in places:
            values = moved(values, places[field.name])
        column = np.zeros(size, values.dtype)
        column[to.events] = values
        column[NEW] = 0 if field.name in places else values[-3:]
        columns[field.name] = column
    columns["created"][NEW] = created
    tags = data.event_tags
    return replace(
        data,
        events=Events(**columns),
        event_tags=EventTags(
            np.concatenate([to.events[tags.event], NEW]).astype(np.int32),
            np.concatenate([to.tags[tags.tag], [0, 0, 0]]).astype(np.int32),
        ),
        n_organizers=data.n_organizers + 1,
        n_tags=data.n_tags + 1,
        n_categories=data.n_categories + 1,
    ), to


def crowd_of(data: Dataset) -> Snapshot:
    """Make a crowd that has computed all there is to compute."""
    crowd = Snapshot(data, NOON)
    for name in AGGREGATES:
        getattr(crowd, name)
    return crowd


def values_of(features: Features) -> np.ndarray:
    s = features.s
    return features.matrix(Pairs.every(numbers(s.data.n_users), s.n_columns))


def test_all_that_is_kept_of_persons_is_what_would_be_computed() -> None:
    data = busy_town()
    before = crowd_of(data)
    later, to = with_three_more(data)
    crowd = renewed(before, later, LATER, to)
    fresh = Snapshot(crowd.data, NOON)
    for name in AGGREGATES:
        kept, computed = vars(crowd)[name], getattr(fresh, name)
        if sparse.issparse(computed):
            assert kept.shape == computed.shape, name
            assert kept.nnz == computed.nnz > 0, name
            assert abs(kept - computed).sum() == 0, name
            assert np.shares_memory(kept.data, getattr(before, name).data), name
        else:
            assert kept is getattr(before, name), name
            np.testing.assert_array_equal(kept, computed, err_msg=name)


def test_new_events_have_the_features_they_would_have_had_if_they_had_just_been_published() -> None:
    data = busy_town()
    later, to = with_three_more(data)
    before = crowd_of(data)
    crowd = renewed(before, later, LATER, to)
    assert set(NEW) <= set(crowd.columns)
    at_noon, _ = with_three_more(data, created=NOON - 1e-6)
    found = Features(before).renewed(crowd, to)
    fresh = Features(Snapshot(at_noon, NOON))
    assert "together" in vars(found.people)
    np.testing.assert_array_equal(values_of(found), values_of(fresh))


def test_what_is_published_later_is_not_known_and_what_was_deleted_is_gone() -> None:
    data = busy_town()
    before = crowd_of(data)
    later, to = with_three_more(data, created=LATER + 1)
    old = int(to.events[before.columns[0]])
    later.events.gone[old] = NOON + 1
    crowd = renewed(before, later, LATER, to)
    assert not set(NEW) & set(crowd.columns)
    assert old not in crowd.columns
    assert crowd.n_columns == before.n_columns - 1
    found = Features(before).renewed(crowd, to)
    np.testing.assert_array_equal(values_of(found), values_of(Features(crowd)))


def test_an_event_that_was_cancelled_and_is_back_has_its_people() -> None:
    data = busy_town()
    live = Snapshot(data, NOON).columns
    busiest = live[np.bincount(data.registrations.event, minlength=N_EVENTS)[live].argmax()]
    cancelled = np.isin(numbers(N_EVENTS), busiest)
    before = crowd_of(replace(data, events=replace(data.events, published=~cancelled)))
    to = Moves(*(numbers(n) for n in (N_EVENTS, data.n_organizers, data.n_tags, 7, 5)))
    crowd = renewed(before, data, LATER, to)
    found = Features(before).renewed(crowd, to)
    assert found.people.together[:, [crowd.column_of[busiest]]].sum() > 0
    np.testing.assert_array_equal(values_of(found), values_of(Features(crowd)))


def test_acts_on_an_event_that_was_not_public_count_from_its_publication_on() -> None:
    data = busy_town()
    coming = int(data.registrations.event[0])
    data.events.created[coming] = NOON + 5
    to = Moves(*(numbers(n) for n in (N_EVENTS, data.n_organizers, data.n_tags, 7, 5)))
    before = crowd_of(data)
    crowd = renewed(before, data, LATER, to)
    assert before.registered[:, [coming]].sum() == 0
    assert crowd.registered[:, [coming]].sum() > 0
    found = Features(before).renewed(crowd, to)
    np.testing.assert_array_equal(values_of(found), values_of(Features(crowd)))


@pytest.mark.parametrize(
    ("rows", "columns"),
    [([0, 1], [0, 1, 2]), ([1, 3], [0, 1, 2]), ([0, 1], [1, -1, 2]), ([0, 2], [2, 3, 5])],
)
def test_values_go_where_rows_and_columns_go(rows: list[int], columns: list[int]) -> None:
    matrix = np.array([[1, 2, 3], [4, 0, 6]], np.float32)
    expected = np.zeros((4, 6), np.float32)
    kept = np.flatnonzero(np.array(columns) >= 0)
    expected[np.ix_(rows, np.array(columns)[kept])] = matrix[:, kept]
    places = (np.array(rows, np.int32), np.array(columns, np.int32))
    found = replanted(sparse.csr_array(matrix), *places, expected.shape)
    np.testing.assert_array_equal(found.toarray(), expected)


def test_columns_whose_event_or_tags_were_edited_are_new_ones() -> None:
    data = busy_town()
    before = crowd_of(data)
    later, to = with_three_more(data)
    edited, tagged = to.events[before.columns[[2, 4]]].tolist()
    later.events.lat[edited] += 1
    tags = later.event_tags
    later = replace(later, event_tags=tags.rows(tags.event != tagged))
    crowd = renewed(before, later, LATER, to)
    earlier = unchanged(before, crowd, to)
    new = {int(column) for column in crowd.columns[earlier < 0]}
    assert new == {*NEW.tolist(), edited, tagged}
    kept = earlier >= 0
    np.testing.assert_array_equal(to.events[before.columns[earlier[kept]]], crowd.columns[kept])


@pytest.mark.parametrize("size", [10, 300])
def test_the_stand_in_says_of_new_columns_what_one_fitted_anew_says(size: int) -> None:
    data = busy_town()
    before = crowd_of(data)
    users, model, rng = numbers(data.n_users), PriorModel(), np.random.default_rng(0)
    stand_in = Candidates(before, Features(before), model, users, rng, size)
    later, to = with_three_more(data)
    crowd = renewed(before, later, LATER, to)
    features = Features(crowd)
    earlier = unchanged(before, crowd, to)
    again = stand_in.renewed(crowd, features, model, earlier, to.cities)
    if size > before.n_columns:
        assert again is None
        return
    assert again is not None
    new = np.flatnonzero(earlier < 0).astype(np.int32)
    fitted = Candidates(crowd, features, model, users, np.random.default_rng(0), size)
    places = again.newcomers.of(crowd, users)
    np.testing.assert_array_equal(places, fitted.newcomers.of(crowd, users))
    table = fitted.newcomers.table
    np.testing.assert_array_equal(again.newcomers.table[:, new], table[:, new])
    assert again.newcomers.table.flags.c_contiguous  # its rows are read one by one
    np.testing.assert_allclose(again.level[:, new], fitted.level[:, new], rtol=0.1, atol=1e-6)
    banned = np.zeros((len(users), crowd.n_columns), np.bool_)
    chosen = [one.of(crowd, users, banned) for one in (again, fitted)]
    shared = [len(np.intersect1d(a, b)) for a, b in zip(*chosen, strict=True)]
    assert np.mean(shared) > 0.9 * size
