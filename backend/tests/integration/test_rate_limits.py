from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from fastapi.testclient import TestClient
from integration.sites import Site

from eventlink.db.rate_limits import FORGET, allow
from eventlink.db.session import transaction
from eventlink.services import rate_limits
from eventlink.services.rate_limits import Limit, network

PATH = "/api/analytics/interactions"
SEARCHES = {"interactions": [{"type": "search", "meta": {"number": number}} for number in range(5)]}


def ask(bucket: str = "b", capacity: float = 3, per_second: float = 0, cost: float = 1) -> bool:
    with transaction() as conn:
        return allow(conn, bucket, capacity, per_second, cost)


def age(site: Site, by: timedelta) -> None:
    site.run("UPDATE rate_limits SET updated_at = updated_at - %s", by)


@pytest.mark.usefixtures("site")
def test_a_bucket_gives_what_it_holds_and_no_more() -> None:
    assert [ask() for _ in range(5)] == [True] * 3 + [False] * 2
    assert ask("another")


@pytest.mark.usefixtures("site")
def test_who_is_refused_takes_nothing() -> None:
    assert ask(cost=2)
    assert not ask(cost=2)
    assert ask(cost=1)


@pytest.mark.usefixtures("site")
def test_more_than_a_bucket_holds_is_refused_also_to_the_first() -> None:
    assert not ask(cost=4)
    assert ask(cost=3)


def test_a_bucket_fills_up_to_its_capacity(site: Site) -> None:
    assert ask(cost=3, per_second=1)
    age(site, timedelta(seconds=2))
    assert [ask(per_second=1) for _ in range(3)] == [True, True, False]
    age(site, timedelta(hours=1))
    assert [ask(per_second=1) for _ in range(4)] == [True, True, True, False]


def test_a_clock_set_back_gives_and_takes_nothing(site: Site) -> None:
    assert ask(cost=2, per_second=1)
    age(site, timedelta(seconds=-60))
    assert [ask(per_second=1) for _ in range(2)] == [True, False]


@pytest.mark.usefixtures("site")
def test_many_at_once_get_no_more_than_there_is() -> None:
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(lambda _: ask(capacity=20), range(40))) == 20


def test_buckets_that_nobody_asks_for_are_forgotten(site: Site) -> None:
    ask("old")
    age(site, timedelta(days=1, minutes=1))
    ask("new")
    site.run(FORGET)
    assert site.run("SELECT bucket FROM rate_limits") == [("new",)]


@pytest.mark.parametrize(
    ("address", "bucket"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("testclient", "testclient"),
    ],
)
def test_a_network_stands_for_its_addresses(address: str, bucket: str) -> None:
    assert network(address) == bucket


# Interactions -------------------------------------------------------------------------------


@pytest.fixture
def _narrow(monkeypatch: pytest.MonkeyPatch, site: Site) -> None:
    site.users(1, 2)
    for name, capacity in (("INTERACTIONS_OF_USER", 10), ("INTERACTIONS_FROM", 25)):
        monkeypatch.setattr(f"eventlink.services.interactions.{name}", Limit(name, capacity, 0.001))


@pytest.mark.usefixtures("_narrow")
def test_a_user_who_sends_too_much_is_refused(
    client: TestClient, sign_in: Callable[[int], dict[str, str]], site: Site
) -> None:
    statuses = [
        client.post(PATH, headers=sign_in(user), json=SEARCHES).status_code for user in (1, 1, 1, 2)
    ]
    assert statuses == [200, 200, 429, 200]
    assert site.run("SELECT count(*) FROM event_interactions") == [(15,)]


@pytest.mark.usefixtures("_narrow")
def test_an_address_that_sends_too_much_is_refused(client: TestClient) -> None:
    answers = [client.post(PATH, json=SEARCHES) for _ in range(6)]
    assert [answer.status_code for answer in answers] == [200] * 5 + [429]
    assert answers[-1].headers["Retry-After"]


@pytest.mark.usefixtures("_narrow")
def test_old_buckets_are_deleted_now_and_then(
    client: TestClient, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rate_limits, "FORGOTTEN_EVERY", 1)
    ask("old")
    age(site, timedelta(days=2))
    client.post(PATH, json=SEARCHES)
    assert [bucket for (bucket,) in site.run("SELECT bucket FROM rate_limits")] == [
        "INTERACTIONS_FROM testclient"
    ]
