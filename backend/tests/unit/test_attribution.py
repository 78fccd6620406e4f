"""Reasons are said only where they are true."""

import numpy as np
from unit.towns import NOON

from eventlink.recsys.attribution import Explainer
from eventlink.recsys.dataset import Dataset
from eventlink.recsys.features import EVENTS, NAMES, PAIRS
from eventlink.recsys.reasons import CODES
from eventlink.recsys.snapshot import Snapshot


def features_with(**values: float) -> np.ndarray:
    x = np.zeros((1, len(NAMES)), np.float32)
    for name, value in values.items():
        x[0, NAMES.index(name.replace("__", "."))] = value
    return x


def code(town: Dataset, x: np.ndarray, contributions: np.ndarray) -> str:
    """The reason that is given for a pair."""
    explainer = Explainer(Snapshot(town, NOON))
    of_events = explainer.of_events(x[:, EVENTS], contributions[:, EVENTS])
    return CODES[explainer.codes(x[:, PAIRS], contributions[:, PAIRS], of_events)[0]]


def test_the_largest_contribution_speaks(loyal_town: Dataset) -> None:
    x = features_with(organizer__follows=1, tags__interests=0.5)
    for liked, expected in ((3.0, "interest_tag"), (0.1, "followed_organizer")):
        contributions = features_with(organizer__follows=1.0, tags__interests=liked)
        assert code(loyal_town, x, contributions) == expected


def test_what_is_so_for_everybody_is_said_where_it_counts_twice_as_much(
    loyal_town: Dataset,
) -> None:
    x = features_with(tags__interests=0.5)
    for popular, expected in ((1.9, "interest_tag"), (2.1, "popular")):
        contributions = features_with(tags__interests=1.0, event__registrations=popular)
        assert code(loyal_town, x, contributions) == expected


def test_a_reason_that_does_not_hold_is_not_said(loyal_town: Dataset) -> None:
    contributions = features_with(organizer__follows=5.0, tags__interests=0.1)
    x = features_with(tags__interests=0.5)  # follows nobody
    assert code(loyal_town, x, contributions) == "interest_tag"


def test_what_does_not_hold_of_the_event_is_not_said(loyal_town: Dataset) -> None:
    contributions = features_with(time__younger_48h=5.0, time__closeness=0.1)
    old, young = features_with(time__within_3d=1), features_with(time__younger_48h=1)
    assert code(loyal_town, old, contributions) == "soon"
    assert code(loyal_town, young, contributions) == "new"


def test_without_any_positive_contribution_it_is_popular(loyal_town: Dataset) -> None:
    x = features_with(organizer__follows=1)
    assert code(loyal_town, x, -x) == "popular"


def test_the_tag_named_is_one_that_both_have(loyal_town: Dataset) -> None:
    s = Snapshot(loyal_town, NOON)
    explainer = Explainer(s)
    user = loyal_town.interests.user[:40]
    tag_of_user = loyal_town.interests.tag[:40]
    tag_of_event = np.full(loyal_town.n_events, -1)
    tag_of_event[loyal_town.event_tags.event] = loyal_town.event_tags.tag
    column = np.array(
        [np.flatnonzero(tag_of_event[s.columns] == tag)[0] for tag in tag_of_user], np.int32
    )
    codes = np.full(40, CODES.index("interest_tag"), np.int32)
    x = np.zeros((40, len(NAMES[PAIRS])), np.float32)
    np.testing.assert_array_equal(explainer.arguments(codes, s, user, column, x), tag_of_user)
