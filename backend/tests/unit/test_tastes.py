"""Who only named interests is known by what others with these interests chose."""

from dataclasses import replace

import numpy as np
import pytest
from unit.towns import NOON, town

from eventlink.recsys.dataset import Dataset, Ints, UserTags, empty_dataset
from eventlink.recsys.features import NAMES, Features
from eventlink.recsys.features import tastes as module
from eventlink.recsys.matrices import Dense
from eventlink.recsys.persons import Persons
from eventlink.recsys.snapshot import Pairs, Snapshot

ORGANIZERS = 12
LIKED_BY_OTHERS = 5
"""The tag of those who go to even organizers' events; odd ones' guests like the tag below it."""


@pytest.fixture
def divided() -> Dataset:
    """A town where tags of users are not those of events, but half of it goes to its own half."""
    made = town(np.random.default_rng(3), loyalty=1.0)
    users = np.arange(made.n_users - 2, dtype=np.int32)  # the last but one likes one, the last none
    liked = np.where(users % ORGANIZERS % 2 == 0, LIKED_BY_OTHERS, LIKED_BY_OTHERS - 1)
    user, tag = np.append(users, made.n_users - 2), np.append(liked, LIKED_BY_OTHERS)
    kept = made.registrations.user < made.n_users - 2
    return replace(
        made,
        interests=UserTags(
            user.astype(np.int32), tag.astype(np.int32), np.full(len(user), -np.inf)
        ),
        registrations=made.registrations.rows(kept),
    )


def lifts(data: Dataset, user: int) -> tuple[Dense, Ints]:
    """The feature of a user with every column, and the columns' organizers."""
    s = Snapshot(data, NOON)
    x = Features(s).matrix(Pairs.every(np.array([user], np.int32), s.n_columns))
    return x[:, NAMES.index("tags.organizer_lift")], s.organizer


def test_a_stranger_is_led_to_where_people_of_the_same_taste_go(divided: Dataset) -> None:
    lift, organizer = lifts(divided, divided.n_users - 2)
    even = organizer % 2 == 0
    assert lift[even].min() > 0.2
    assert lift[~even].max() < -0.2


def test_who_names_no_interests_is_told_nothing(divided: Dataset) -> None:
    lift, _ = lifts(divided, divided.n_users - 1)
    assert not lift.any()


def test_a_tag_that_nobody_else_likes_says_nothing_of_one_organizer_above_another(
    divided: Dataset,
) -> None:
    interests = divided.interests
    alone = np.where(interests.user == divided.n_users - 2, np.int32(0), interests.tag)
    lift, organizer = lifts(
        replace(divided, interests=replace(interests, tag=alone)), divided.n_users - 2
    )
    even = organizer % 2 == 0
    assert abs(lift[even].mean() - lift[~even].mean()) < 0.1


def test_a_sample_of_people_tells_the_same(
    divided: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    every, organizer = lifts(divided, divided.n_users - 2)
    monkeypatch.setattr(module, "MOST_PEOPLE", 100)
    some, _ = lifts(divided, divided.n_users - 2)
    assert not np.array_equal(some, every)
    even = organizer % 2 == 0
    assert some[even].mean() > 0.2
    assert some[~even].mean() < -0.2


def test_only_the_tags_that_most_people_like_count(
    divided: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_TAGS", 1)
    stranger, _ = lifts(divided, divided.n_users - 2)
    likes_the_other, _ = lifts(divided, 1)
    assert sorted([bool(stranger.any()), bool(likes_the_other.any())]) == [False, True]


def test_a_stranger_is_led_to_what_people_of_the_same_language_choose(divided: Dataset) -> None:
    reads = (np.arange(divided.n_users) % ORGANIZERS % 2).astype(np.int32)
    reads[-2:] = (0, -1)
    people = replace(divided, users=replace(divided.users, language=reads))
    s = Snapshot(people, NOON)
    users = np.array([divided.n_users - 2, divided.n_users - 1], np.int32)
    x = Features(s).matrix(Pairs.every(users, s.n_columns))
    even, taken = s.organizer % 2 == 0, np.diff(s.going.tocsc().indptr) > 3
    for name in ("language.organizer_lift", "language.event_lift"):
        reader, unknown = x[:, NAMES.index(name)].reshape(2, -1)
        assert reader[even & taken].min() > 0.2
        assert reader[~even & taken].max() < -0.2
        assert not unknown.any()


def test_a_language_that_nobody_of_the_crowd_reads_says_nothing(divided: Dataset) -> None:
    reads = (np.arange(divided.n_users) % 2).astype(np.int32)
    s = Snapshot(replace(divided, users=replace(divided.users, language=reads)), NOON)
    alone = divided.users.rows(np.array([0]))
    nobody = replace(
        empty_dataset(),
        users=replace(alone, language=np.array([2], np.int32)),
        events=divided.events,
        event_tags=divided.event_tags,
        n_organizers=divided.n_organizers,
        n_tags=divided.n_tags,
    )
    pairs = Pairs.every(np.zeros(1, np.int32), s.n_columns)
    x = Features(s).matrix(pairs, persons=Persons(nobody, NOON))
    assert not x[:, NAMES.index("language.event_lift")].any()
