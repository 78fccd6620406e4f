"""Personalization metrics: what is credited to which impression, and to whom it counts."""

import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import psycopg
import pytest
from integration.sites import DAY, HOUR, NOON, Site
from sqlalchemy import text

from eventlink.config import settings
from eventlink.db.session import transaction
from eventlink.errors import TooManyRequestsError
from eventlink.services import personalization
from eventlink.services.experiments import Arm
from eventlink.services.personalization import (
    REGISTRATION_WINDOW,
    Figures,
    Lift,
    Lifts,
    PersonalizationMetrics,
    Reports,
    lift,
    personalization_metrics,
    rate,
)

MINUTE = timedelta(minutes=1)


@pytest.fixture
def site(site: Site) -> Site:
    site.users(*range(1, 21))
    for event_id in range(1, 11):
        site.event(event_id)
    return site


def measure(days: int = 30, now: datetime = NOON) -> PersonalizationMetrics:
    with transaction() as conn:
        return personalization_metrics(conn, days, now)


def act(kind: str, user: int | None = 1, event: int = 1, **columns: Any) -> dict[str, Any]:
    usual = {"request_id": "a", "occurred_at": NOON - DAY}
    return {"interaction_type": kind, "user_id": user, "event_id": event, **usual, **columns}


def log(site: Site, kind: str, user: int | None = 1, event: int = 1, **columns: Any) -> None:
    site.add("event_interactions", act(kind, user, event, **columns))


def counts(figures: Figures) -> tuple[int, int, int, int]:
    return figures.users, figures.impressions, figures.clicks, figures.registrations


def test_nothing_shown_gives_zeros_and_no_rates(site: Site) -> None:
    del site
    found = measure(days=2)
    assert counts(found.total) == (0, 0, 0, 0)
    assert found.total.ctr == rate(0, 0, 0, 0, 0, 0)
    assert [day.day.isoformat() for day in found.by_day] == ["2026-03-01", "2026-03-02"]
    assert found.by_source == found.by_model_version == []


def test_an_impression_repeated_under_its_request_id_counts_once(site: Site) -> None:
    log(site, "impression")
    log(site, "impression", occurred_at=NOON - DAY + MINUTE)
    log(site, "impression", event=2)
    log(site, "impression", request_id="b")
    assert counts(measure().total) == (1, 3, 0, 0)


def test_a_click_counts_once_and_only_for_its_own_impression(site: Site) -> None:
    log(site, "impression")
    log(site, "impression", event=2)
    log(site, "impression", request_id="b")
    log(site, "click", occurred_at=NOON - DAY + MINUTE)
    log(site, "click", occurred_at=NOON - DAY + 2 * MINUTE)
    log(site, "click", event=3)
    log(site, "click", request_id="c")
    log(site, "click", request_id=None)
    log(site, "view", event=2)
    assert counts(measure().total) == (1, 3, 1, 0)


def test_a_click_under_somebody_else_s_request_id_does_not_count(site: Site) -> None:
    log(site, "impression", user=1)
    log(site, "click", user=2)
    log(site, "click", user=None)
    assert counts(measure().total) == (1, 1, 0, 0)


def test_impressions_without_request_id_are_counted_apart(site: Site) -> None:
    log(site, "impression")
    log(site, "impression", event=2, request_id=None)
    log(site, "impression", event=2, request_id=None, occurred_at=NOON - 40 * DAY)
    found = measure()
    assert counts(found.total) == (1, 1, 0, 0)
    assert found.unattributed_impressions == 1


def test_a_registration_is_what_the_table_says_and_not_the_browser(site: Site) -> None:
    log(site, "impression")
    log(site, "register")
    assert counts(measure().total) == (1, 1, 0, 0)
    site.registration(1, 1, registered_at=NOON - HOUR)
    assert counts(measure().total) == (1, 1, 0, 1)


def test_a_registration_is_credited_to_the_latest_impression_before_it(site: Site) -> None:
    log(site, "impression", request_id="a", source="cache", occurred_at=NOON - 3 * DAY)
    log(site, "impression", request_id="b", source="heuristic", occurred_at=NOON - 2 * DAY)
    log(site, "impression", request_id="c", source="cache", occurred_at=NOON - HOUR)
    site.registration(1, 1, registered_at=NOON - DAY)
    found = {one.source: counts(one) for one in measure().by_source}
    assert found == {"cache": (1, 2, 0, 0), "heuristic": (1, 1, 0, 1)}


@pytest.mark.parametrize(
    ("after", "credited"),
    [(-MINUTE, 0), (MINUTE, 1), (REGISTRATION_WINDOW, 1), (REGISTRATION_WINDOW + MINUTE, 0)],
)
def test_a_registration_is_credited_within_the_window_only(
    site: Site, after: timedelta, credited: int
) -> None:
    log(site, "impression", occurred_at=NOON - 10 * DAY)
    site.registration(1, 1, registered_at=NOON - 10 * DAY + after)
    found = measure()
    assert found.total.registrations == credited
    assert found.attribution.registration_window_days == REGISTRATION_WINDOW / DAY


def test_a_registration_taken_back_was_still_led_to_and_again_counts_once(site: Site) -> None:
    log(site, "impression")
    site.registration(1, 1, registered_at=NOON - 2 * HOUR, unregistered_at=NOON - HOUR)
    assert measure().total.registrations == 1
    site.registration(1, 1, registered_at=NOON - HOUR / 2)
    assert measure().total.registrations == 1


def test_others_registrations_for_the_event_are_not_credited(site: Site) -> None:
    log(site, "impression")
    site.registration(2, 1, registered_at=NOON - HOUR)
    site.registration(1, 2, registered_at=NOON - HOUR)
    assert measure().total.registrations == 0


def test_each_anonymous_list_is_a_unit_of_its_own(site: Site) -> None:
    for name in ("a", "b"):
        for event in (1, 2, 3):
            log(site, "impression", None, event, request_id=name)
    log(site, "click", None, 2, request_id="b")
    assert counts(measure().total) == (2, 6, 1, 0)


def test_days_are_utc_and_the_last_one_is_today(site: Site) -> None:
    midnight = NOON.replace(hour=0)
    for number, at in enumerate((midnight - MINUTE, midnight, midnight + HOUR, NOON + MINUTE)):
        log(site, "impression", event=1 + number, occurred_at=at)
    log(site, "impression", event=9, occurred_at=midnight - 2 * DAY)
    found = measure(days=2, now=NOON.astimezone(UTC))
    assert [counts(day)[1] for day in found.by_day] == [1, 2]
    assert found.total.impressions == 3
    assert (found.since, found.until) == (midnight - DAY, NOON)


def test_models_and_sources_are_told_apart_and_unknown_ones_are_null(site: Site) -> None:
    log(site, "impression", event=1, source="cache", model_version="m1")
    log(site, "impression", event=2, request_id="b", source="cache", model_version="m2")
    log(site, "impression", event=3, request_id="c", source="heuristic")
    log(site, "impression", event=4, request_id="d")
    log(site, "click", event=2, request_id="b", source="cache", model_version="m2")
    found = measure()
    assert {one.model_version: counts(one)[1:] for one in found.by_model_version} == {
        "m1": (1, 0, 0),
        "m2": (1, 1, 0),
        None: (2, 0, 0),
    }
    assert {one.source: counts(one)[1:] for one in found.by_source} == {
        "cache": (2, 1, 0),
        "heuristic": (1, 0, 0),
        None: (1, 0, 0),
    }


def test_arms_of_the_experiment_that_is_set_are_compared_and_no_others(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECOMMENDATIONS_EXPERIMENT", "spring")
    settings.cache_clear()
    for user in range(1, 13):
        part = {"experiment": "spring", "arm": "control" if user <= 4 else "treatment"}
        for event in range(1, 11):
            log(site, "impression", user, event, request_id=f"u{user}", **part)
            if event <= (1 if user <= 4 else 2 + user % 2):
                log(site, "click", user, event, request_id=f"u{user}", **part)
    site.registration(5, 1, registered_at=NOON - HOUR)
    log(site, "impression", 13, 1, request_id="x", experiment="winter", arm="control")
    log(site, "impression", 14, 1, request_id="y")
    found = measure()
    assert {one.arm: counts(one) for one in found.by_arm} == {
        "control": (4, 40, 4, 0),
        "treatment": (8, 80, 20, 1),
        None: (2, 2, 0, 0),
    }
    treatment, control = (next(one for one in found.by_arm if one.arm == arm) for arm in Arm)
    assert found.lift.experiment == "spring"
    assert found.lift.ctr == lift(treatment.ctr, control.ctr)
    assert found.lift.registration_conversion == lift(
        treatment.registration_conversion, control.registration_conversion
    )
    assert found.lift.ctr.absolute is not None
    assert found.lift.ctr.absolute.value == pytest.approx(0.15)
    assert found.lift.ctr.relative is not None
    assert found.lift.ctr.relative.value == pytest.approx(1.5)
    assert found.lift.registration_conversion.absolute is not None
    assert found.lift.registration_conversion.relative is None
    assert found.total.impressions == 122


def ask(reports: Reports, days: int = 30) -> PersonalizationMetrics:
    with transaction() as conn:
        return reports.latest(conn, days, NOON)


def test_a_report_that_took_long_is_given_again_for_a_while(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(personalization, "LONG", 0.0)
    monkeypatch.setattr(personalization, "KEPT", 1e9)
    reports = Reports()
    log(site, "impression")
    first = ask(reports)
    log(site, "impression", event=2)
    assert ask(reports) is first
    assert ask(reports, days=7).total.impressions == 2
    with monkeypatch.context() as spring:
        spring.setenv("RECOMMENDATIONS_EXPERIMENT", "spring")
        settings.cache_clear()
        assert ask(reports).total.impressions == 2
    settings.cache_clear()
    assert ask(reports) is first
    monkeypatch.setattr(personalization, "KEPT_AT_MOST", 0.0)
    reports = Reports()
    assert ask(reports) is not ask(reports)


def test_a_report_that_is_made_at_once_is_made_anew(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(personalization, "LONG", 1e9)
        reports = Reports()
        log(site, "impression")
        assert ask(reports).total.impressions == 1
        log(site, "impression", event=2)
        assert ask(reports).total.impressions == 2


def test_one_report_is_made_at_a_time_and_nobody_waits_for_it(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    log(site, "impression")
    reports = Reports()
    with monkeypatch.context() as patch:
        patch.setattr(personalization, "LONG", 0.0)
        patch.setattr(personalization, "KEPT", 1e9)
        kept = ask(reports, days=90)
    # The lock goes first if anything fails: the pool waits for its thread.
    with ThreadPoolExecutor(1) as pool, psycopg.connect(site.address) as conn:
        conn.execute("LOCK TABLE event_interactions IN ACCESS EXCLUSIVE MODE")
        first = pool.submit(ask, reports)
        while not reports._making.locked():
            assert not first.done(), first.exception()
            time.sleep(0.01)
        began = time.monotonic()
        with pytest.raises(TooManyRequestsError, match="ask again in a few seconds") as refused:
            ask(reports, days=7)
        assert time.monotonic() - began < 5
        assert refused.value.retry_after == personalization.AGAIN_AFTER
        assert ask(reports, days=90) is kept
        conn.rollback()
        assert first.result().total.impressions == 1
    assert ask(reports, days=7).total.impressions == 1


@pytest.mark.usefixtures("site")
def test_no_limit_for_requests_ends_the_counting() -> None:
    with transaction() as conn:
        conn.execute(text("SET LOCAL statement_timeout = '20s'"))
        Reports().latest(conn, 30, NOON)
        assert conn.execute(text("SHOW statement_timeout")).scalar_one() == "0"


def test_without_an_experiment_there_is_no_lift(site: Site) -> None:
    log(site, "impression")
    found = measure()
    assert [(one.arm, counts(one)) for one in found.by_arm] == [(None, (1, 1, 0, 0))]
    assert found.lift == Lifts("1", Lift(None, None), Lift(None, None))


def test_the_user_is_the_unit_not_the_impression(site: Site) -> None:
    # A fifth of the impressions is clicked: by everybody alike, or all of it by four users.
    acts = []
    for user in range(1, 21):
        for event in range(1, 11):
            acts.append(act("impression", user, event, request_id=f"u{user}"))
            if event <= 2:
                acts.append(act("click", user, event, request_id=f"u{user}"))
            other = {"request_id": f"v{user}"}
            acts.append(act("impression", user, event, source="heuristic", **other))
            if user <= 4:
                acts.append(act("click", user, event, **other))
    site.add("event_interactions", *acts)
    alike, apart = measure().by_source[::-1]
    assert (alike.source, apart.source) == (None, "heuristic")
    assert alike.ctr.rate == apart.ctr.rate == pytest.approx(0.2)
    assert alike.ctr.low is not None
    assert alike.ctr.high is not None
    assert apart.ctr.low is not None
    assert apart.ctr.high is not None
    assert apart.ctr.high - apart.ctr.low > 2 * (alike.ctr.high - alike.ctr.low)


def test_the_figures_are_those_of_counting_by_hand(site: Site) -> None:
    rng = np.random.default_rng(11)
    shown: dict[tuple[str, int, int], datetime] = {}
    clicked: set[tuple[str, int, int]] = set()
    rows = []
    for _ in range(600):
        user, event = int(rng.integers(1, 21)), int(rng.integers(1, 11))
        request_id = f"{user}-{rng.integers(4)}"
        key = (request_id, event, user)
        at = NOON - float(rng.uniform(0, 20)) * DAY
        kind = str(rng.choice(["impression", "click"], p=[0.7, 0.3]))
        rows.append((user, event, kind, request_id, at))
        if kind == "click":
            clicked.add(key)
        else:
            shown[key] = min(at, shown.get(key, at))
    site.add(
        "event_interactions",
        *(
            dict(
                zip(
                    ("user_id", "event_id", "interaction_type", "request_id", "occurred_at"),
                    row,
                    strict=True,
                )
            )
            for row in rows
        ),
    )
    led_to = set()
    pairs = sorted({(user, event) for _, event, user in shown})
    for user, event in pairs[::2]:
        at = NOON - float(rng.uniform(0, 15)) * DAY
        site.registration(user, event, registered_at=at)
        before = {
            key: first
            for key, first in shown.items()
            if key[1:] == (event, user) and at - REGISTRATION_WINDOW <= first <= at
        }
        if before:
            led_to.add(max(before, key=lambda key: before[key]))
    sums: dict[int, list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])
    for key in shown:
        for place, holds in enumerate((True, key in clicked, key in led_to)):
            sums[key[2]][place] += holds
    n, c, r = np.array(list(sums.values())).T
    found = measure(days=30).total
    assert counts(found) == (len(sums), n.sum(), c.sum(), r.sum())
    assert found.ctr == rate(len(n), n.sum(), c.sum(), n @ n, n @ c, c @ c)
    assert found.registration_conversion == rate(len(n), n.sum(), r.sum(), n @ n, n @ r, r @ r)
    by_day = measure(days=30).by_day
    assert sum(day.impressions for day in by_day) == found.impressions
    assert sum(day.registrations for day in by_day) == found.registrations
