"""``Dataset.before`` forgets everything that was not known, and nothing else."""

from dataclasses import fields, replace

import numpy as np
from unit.towns import NOON

from eventlink.recsys.dataset import DAY, Dataset, Favorites, UserTags, empty_dataset

AS_OF = NOON - 10 * DAY


def test_no_row_dated_at_or_after_the_instant_remains(loyal_town: Dataset) -> None:
    known = loyal_town.before(AS_OF)
    assert 0 < len(known.registrations) < len(loyal_town.registrations)
    assert known.registrations.at.max() < AS_OF
    assert (loyal_town.registrations.at[len(known.registrations) :] >= AS_OF).all()


def test_a_row_dated_exactly_at_the_instant_is_not_known(loyal_town: Dataset) -> None:
    at = float(loyal_town.registrations.at[100])
    assert at not in loyal_town.before(at).registrations.at
    assert at in loyal_town.before(np.nextafter(at, np.inf)).registrations.at


def test_an_event_to_come_is_emptied(loyal_town: Dataset) -> None:
    events = loyal_town.before(AS_OF).events
    unknown = loyal_town.events.created >= AS_OF
    assert unknown.any()
    assert np.isinf(events.start[unknown]).all()
    assert (events.organizer[unknown] == -1).all()
    assert not events.published[unknown].any()
    assert np.isnan(events.lat[unknown]).all()
    for field in fields(events):
        kept = getattr(events, field.name)[~unknown]
        np.testing.assert_array_equal(kept, getattr(loyal_town.events, field.name)[~unknown])


def test_tags_of_an_event_to_come_are_not_known(loyal_town: Dataset) -> None:
    known = loyal_town.before(AS_OF)
    assert (loyal_town.events.created[known.event_tags.event] < AS_OF).all()


def test_a_registration_taken_back_later_still_stands(loyal_town: Dataset) -> None:
    log = loyal_town.registrations
    back = replace(loyal_town, registrations=replace(log, until=log.at + 2 * DAY))
    known = back.before(AS_OF).registrations
    assert (known.until[known.at < AS_OF - 2 * DAY] < AS_OF).all()
    assert np.isinf(known.until[known.at >= AS_OF - 2 * DAY]).all()


def test_nobody_has_come_before_the_start(loyal_town: Dataset) -> None:
    log = loyal_town.registrations
    came = replace(log, attended=np.ones(len(log), np.int8))
    known = replace(loyal_town, registrations=came).before(AS_OF)
    begun = known.events.start[known.registrations.event] < AS_OF
    np.testing.assert_array_equal(known.registrations.attended == 1, begun)
    assert begun.any()
    assert not begun.all()


def test_a_later_deletion_is_undone(loyal_town: Dataset) -> None:
    events = replace(loyal_town.events, gone=loyal_town.events.created + DAY)
    known = replace(loyal_town, events=events).before(AS_OF).events
    assert (known.gone[known.gone < np.inf] < AS_OF).all()
    assert np.isinf(known.gone).any()


def test_undated_rows_are_always_known(loyal_town: Dataset) -> None:
    first = np.zeros(2, np.int32)
    dates = np.array([-np.inf, AS_OF + 1])
    likes = UserTags(user=first, tag=first, at=dates)
    marks = Favorites(user=first, event=first, at=dates)
    known = replace(loyal_town, interests=likes, favorites=marks).before(AS_OF)
    assert len(known.interests) == len(known.favorites) == 1


def test_the_last_instant_of_an_empty_site_is_long_ago() -> None:
    assert empty_dataset().last_instant() == -np.inf
