"""The guardrail's bound: however often it looks, it hardly ever errs, and it finds real harm."""

from datetime import UTC, datetime

import numpy as np
import pytest

from eventlink.db.personalization import Sums
from eventlink.services.guardrail import FEWEST_USERS, GROWTH, RISK, Watch, is_time, look

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
BEGUN = Watch("1", 0.5, NOON)
STEPS = 50


def sums(n: np.ndarray, c: np.ndarray, r: np.ndarray) -> Sums:
    n, c, r = (each[n > 0].astype(float) for each in (n, c, r))
    return Sums(len(n), n.sum(), c.sum(), r.sum(), n @ n, n @ c, c @ c, n @ r, r @ r)


def trips(
    rng: np.random.Generator,
    users: int,
    share: float,
    spread: float,
    helps: float = 1.0,
    every: bool = False,
) -> bool:
    """Simulate users who come again and again; tell whether the guardrail ever finds harm.

    Args:
        rng: Of all draws.
        users: How many, of both arms.
        share: How many of them are in control.
        spread: How much they differ in how often they come: sigma of a log-normal.
        helps: What the treatment multiplies everybody's chances by.
        every: Look at every step, not only when it is time to.
    """
    activity = 0.6 * rng.lognormal(0, spread, users)
    control = rng.random(users) < share
    clicks, registers = (rng.beta(4 * p, 4 * (1 - p), users) / 2 for p in (0.2, 0.04))
    chance = np.where(control, 1, helps)
    n, c, r = np.zeros((3, users))
    watch = BEGUN
    for _ in range(STEPS):
        shown = rng.poisson(activity)
        n += shown
        c += rng.binomial(shown, clicks * chance)
        r += rng.binomial(shown, registers * chance)
        arms = [sums(n[arm], c[arm], r[arm]) for arm in (~control, control)]
        if every or is_time(watch.shown, *arms):
            watch, harmed = look(watch, *arms, NOON)
            if harmed:
                return True
    return False


@pytest.mark.parametrize(
    ("users", "share", "spread"), [(400, 0.5, 1.0), (1500, 0.5, 1.5), (1500, 0.1, 1.0)]
)
@pytest.mark.parametrize("every", [False, True])
def test_without_a_difference_fewer_than_one_in_twenty_ever_trips(
    users: int, share: float, spread: float, every: bool
) -> None:
    rng = np.random.default_rng(3)
    found = sum(trips(rng, users, share, spread, every=every) for _ in range(120))
    assert found / 120 < 0.05


def test_a_treatment_that_helps_never_trips_and_one_that_harms_does() -> None:
    rng = np.random.default_rng(4)
    assert not any(trips(rng, 1500, 0.3, 1.0, helps=1.3) for _ in range(30))
    assert sum(trips(rng, 1500, 0.3, 1.0, helps=0.5) for _ in range(30)) >= 27


def test_the_looks_risks_add_up_to_less_than_the_whole() -> None:
    arm = sums(np.full(100, 10), np.arange(100) % 3, np.arange(100) % 2)
    watch, risks = BEGUN, []
    for number in range(1, 51):
        watch, harmed = look(watch, arm, arm, NOON)
        assert not harmed
        assert watch.looks == number
        assert watch.confidence is not None
        risks.append(1 - watch.confidence)
    assert risks == sorted(risks, reverse=True)
    assert 0.9 * RISK < sum(risks) < RISK


def test_it_is_time_when_enough_more_was_shown_to_enough_people() -> None:
    arm = sums(np.full(FEWEST_USERS, 10), np.ones(FEWEST_USERS), np.zeros(FEWEST_USERS))
    shown = int(2 * arm.n)
    assert is_time(0, arm, arm)
    assert is_time(int(shown / GROWTH), arm, arm)
    assert not is_time(int(shown / GROWTH) + 1, arm, arm)
    few = sums(np.full(FEWEST_USERS - 1, 10), np.ones(FEWEST_USERS - 1), np.zeros(FEWEST_USERS - 1))
    one_sees_most = np.ones(FEWEST_USERS)
    one_sees_most[0] = 1000
    uneven = sums(one_sees_most, np.zeros(FEWEST_USERS), np.zeros(FEWEST_USERS))
    nobody = sums(np.zeros(1), np.zeros(1), np.zeros(1))
    for other in (few, uneven, nobody):
        assert not is_time(0, arm, other)
        assert not is_time(0, other, arm)
