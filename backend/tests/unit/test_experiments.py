"""Arms: drawn once and for all, as many as asked for, and anew by another name."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest

from eventlink.config import settings
from eventlink.services.experiments import CODES, Arm, arm_of, assign, code_of

USERS = range(1, 20_001)


def control(experiment: str, share: float) -> set[int]:
    return {user for user in USERS if assign(experiment, user, share) is Arm.CONTROL}


@pytest.fixture(autouse=True)
def _fresh_settings() -> Iterator[None]:
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5])
def test_the_control_arm_is_as_large_as_asked_for(share: float) -> None:
    error = np.sqrt(share * (1 - share) / len(USERS))
    assert len(control("1", share)) / len(USERS) == pytest.approx(share, abs=3 * error)


def test_nobody_and_everybody_are_shares_too() -> None:
    assert control("1", 0) == set()
    assert control("1", 1) == set(USERS)


def test_an_arm_never_changes_not_even_with_a_new_version() -> None:
    drawn = {user for user in range(1, 41) if assign("1", user, 0.2) is Arm.CONTROL}
    assert drawn == {6, 7, 8, 10, 14, 16, 26, 31, 33, 37}
    assert assign("1", -(2**62), 0.5) is Arm.CONTROL
    assert code_of("1") == 782


def test_who_is_in_control_stays_so_as_the_share_grows() -> None:
    arms = [control("1", share) for share in (0.01, 0.05, 0.2, 0.5)]
    for smaller, larger in pairwise(arms):
        assert smaller < larger


def test_neighbours_are_drawn_alike_and_apart() -> None:
    drawn = np.isin(USERS, list(control("1", 0.5)))
    for distance in (1, 2, 16):
        together = np.corrcoef(drawn[distance:], drawn[:-distance])[0, 1]
        assert abs(together) < 3 / np.sqrt(len(USERS))


@pytest.mark.parametrize("other", ["2", "1 ", "11", "autumn"])
def test_another_name_draws_independently(other: str) -> None:
    first, second = control("1", 0.3), control(other, 0.3)
    both = len(first & second) / len(USERS)
    assert both == pytest.approx(0.09, abs=3 * np.sqrt(0.09 * 0.91 / len(USERS)))


def test_a_code_fits_the_request_id() -> None:
    codes = {code_of(str(number)) for number in range(2000)}
    assert min(codes) >= 1
    assert max(codes) <= CODES
    assert len(codes) > 1800


def test_an_experiment_runs_where_some_are_in_control_and_others_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert arm_of(1, is_rankable=True) is None
    monkeypatch.setenv("RECOMMENDATIONS_CONTROL_SHARE", "0.5")
    settings.cache_clear()
    assert {arm_of(user, is_rankable=True) for user in range(1, 20)} == set(Arm)
    assert {arm_of(user, is_rankable=False) for user in range(1, 20)} == {None}
    monkeypatch.setenv("RECOMMENDATIONS_USE_ML_CACHE", "false")
    settings.cache_clear()
    assert {arm_of(user, is_rankable=True) for user in range(1, 20)} == {None}
