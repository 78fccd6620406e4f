import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, get_args

import psycopg
import pytest
from fastapi import Request
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from integration.conftest import SECRET
from integration.sites import DAY, HOUR, NOON, Site
from pydantic import TypeAdapter

from eventlink.config import settings
from eventlink.db.dataset import load_dataset
from eventlink.db.interactions import FORGET_LOCK
from eventlink.db.tables import INTERACTION_TYPES
from eventlink.recsys.dataset import Act
from eventlink.services import interactions
from eventlink.services.experiments import Arm, code_of
from eventlink.services.request_ids import ShownList, Source, issue
from eventlink.web import requests
from eventlink.web.api.interactions import LARGEST_BODY, LARGEST_META, Recorded, SentInteraction

PATH = "/api/analytics/interactions"
MINUTE = timedelta(minutes=1)
CLICK = {"type": "click", "event_id": 100}


async def at_noon(request: Request) -> requests.Asking:
    return replace(await requests._asking(request), now=NOON)


class Sender:
    """Sends interactions; answers must match the documented model."""

    def __init__(self, client: TestClient, sign_in: Callable[[int], dict[str, str]]) -> None:
        self.client, self.sign_in = client, sign_in
        client.app.dependency_overrides[requests._asking] = at_noon  # type: ignore[attr-defined]

    def send(self, user_id: int | None, *interactions: Any) -> Recorded:
        response = self.client.post(
            PATH,
            headers={} if user_id is None else self.sign_in(user_id),
            content=json.dumps({"interactions": interactions}),
        )
        assert response.status_code == 200, response.text
        answer = TypeAdapter(Recorded).validate_json(response.content)
        assert answer.accepted + answer.duplicates + len(answer.refused) == len(interactions)
        return answer

    def code(self, user_id: int | None, interaction: Any) -> str | None:
        """Return why an interaction is refused; None if it is kept."""
        answer = self.send(user_id, interaction)
        assert answer.accepted == 1 - len(answer.refused)
        return answer.refused[0].code if answer.refused else None


@pytest.fixture
def sender(client: TestClient, sign_in: Callable[[int], dict[str, str]]) -> Sender:
    return Sender(client, sign_in)


@pytest.fixture
def town(site: Site) -> Site:
    site.users(1, 2)
    site.users(10, role="organizer")
    site.event(100, owner_id=10)
    site.event(101, owner_id=10)
    return site


def stored(town: Site, columns: str = "user_id, interaction_type, event_id") -> list[Any]:
    return town.run(f"SELECT {columns} FROM event_interactions ORDER BY id")


def due(town: Site) -> list[Any]:
    return town.run("SELECT user_id FROM recommendation_refreshes WHERE due_at IS NOT NULL")


# What is kept -------------------------------------------------------------------------------


def test_every_column_is_kept_as_it_was_sent(town: Site, sender: Sender) -> None:
    sent = {
        "type": "dwell",
        "event_id": 100,
        "occurred_at": (NOON - HOUR).isoformat(),
        "position": 3,
        "request_id": "list-7",
        "dwell_seconds": 12.5,
        "client_id": "c1",
        "meta": {"from": "mail", "nested": [1, None]},
    }
    assert sender.code(1, sent) is None
    columns = "user_id, interaction_type, event_id, occurred_at, position, request_id, dwell_seconds, client_id, meta, source, model_version"
    assert stored(town, columns) == [
        (1, "dwell", 100, NOON - HOUR, 3, "list-7", 12.5, "c1", sent["meta"], None, None)
    ]


def test_a_time_too_short_to_store_is_none(town: Site, sender: Sender) -> None:
    assert sender.code(1, AN_EVENT | {"type": "dwell", "dwell_seconds": 1e-320}) is None
    assert stored(town, "dwell_seconds") == [(0,)]


def test_an_act_without_instant_is_of_now_and_needs_no_user(town: Site, sender: Sender) -> None:
    assert sender.code(None, CLICK) is None
    assert stored(town, "user_id, occurred_at") == [(None, NOON)]


@pytest.mark.parametrize("act", [act.name.lower() for act in Act])
def test_every_type_is_kept(act: str, town: Site, sender: Sender) -> None:
    town.registration(1, 100)
    town.registration(1, 101, unregistered_at=NOON)
    town.add("favorite_events", {"user_id": 1, "event_id": 100})
    event_id = 101 if act == "unregister" else 100
    assert sender.code(1, {"type": act, "event_id": event_id, "dwell_seconds": 3}) is None
    assert stored(town) == [(1, act, event_id)]


def test_searches_become_intents(town: Site, sender: Sender) -> None:
    town.add("tags", {"id": 1, "name": "Jazz"}, {"id": 2, "name": "chess"})
    town.run("UPDATE events SET category = 'music' WHERE id = 100")
    sender.send(
        1,
        {"type": "search", "meta": {"query": "jazz"}},
        {"type": "filter", "meta": {"tags": ["chess", "jazz"], "category": "Music"}},
        {"type": "search", "meta": {}},
        {"type": "search"},
    )
    intents = load_dataset()[0].intents
    assert sorted(zip(intents.tag.tolist(), intents.category.tolist(), strict=True)) == [
        (-1, 0),
        (0, -1),
        (0, -1),
        (1, -1),
    ]


def test_an_organizer_may_look_at_an_own_draft(town: Site, sender: Sender) -> None:
    town.run("UPDATE events SET status = 'draft' WHERE id = 100")
    assert sender.code(10, CLICK) is None
    assert sender.code(1, CLICK) == "unknown_event"


# What is refused ----------------------------------------------------------------------------

AN_EVENT = {"event_id": 100}
BAD_FORM = {
    "not an object": (3, "not_an_object"),
    "null": (None, "not_an_object"),
    "a list": ([CLICK], "not_an_object"),
    "no type": (AN_EVENT, "invalid_type"),
    "a strange type": (AN_EVENT | {"type": "buy"}, "invalid_type"),
    "an extra field": (CLICK | {"user_id": 2}, "unknown_field"),
    "an event that is text": (CLICK | {"event_id": "100"}, "invalid_event_id"),
    "an event that is true": (CLICK | {"event_id": True}, "invalid_event_id"),
    "a huge event": (CLICK | {"event_id": 2**63}, "invalid_event_id"),
    "a negative event": (CLICK | {"event_id": -1}, "invalid_event_id"),
    "no event": ({"type": "click"}, "missing_event"),
    "a negative position": (CLICK | {"position": -1}, "invalid_position"),
    "a far position": (CLICK | {"position": 1001}, "invalid_position"),
    "half a position": (CLICK | {"position": 1.5}, "invalid_position"),
    "no dwell time": (AN_EVENT | {"type": "dwell"}, "missing_dwell"),
    "a negative dwell time": (CLICK | {"dwell_seconds": -1}, "invalid_dwell_seconds"),
    "a day's dwell time": (CLICK | {"dwell_seconds": 86_400}, "invalid_dwell_seconds"),
    "a client id with a space": (CLICK | {"client_id": "a b"}, "invalid_client_id"),
    "an empty client id": (CLICK | {"client_id": ""}, "invalid_client_id"),
    "a long client id": (CLICK | {"client_id": "a" * 129}, "invalid_client_id"),
    "a client id with NUL": (CLICK | {"client_id": "a\0"}, "invalid_client_id"),
    "a long request id": (CLICK | {"request_id": "a" * 129}, "invalid_request_id"),
    "an instant without offset": (
        CLICK | {"occurred_at": "2026-03-02T12:00:00"},
        "invalid_occurred_at",
    ),
    "an instant that is a number": (CLICK | {"occurred_at": 1772452800}, "invalid_occurred_at"),
    "the future": (CLICK | {"occurred_at": "2026-03-02T12:02:01Z"}, "in_future"),
    "long ago": (CLICK | {"occurred_at": "2026-02-23T11:59:59Z"}, "too_old"),
    "meta that is no object": (CLICK | {"meta": [1]}, "invalid_meta"),
    "large meta": (CLICK | {"meta": {"a": "x" * LARGEST_META}}, "invalid_meta"),
    "meta with NUL": (CLICK | {"meta": {"a": ["\0"]}}, "invalid_meta"),
    "a query that is a number": ({"type": "search", "meta": {"query": 3}}, "invalid_meta"),
    "tags that are a word": ({"type": "filter", "meta": {"tags": "jazz"}}, "invalid_meta"),
    "an unknown event": (CLICK | {"event_id": 999}, "unknown_event"),
    "a search at an unknown event": ({"type": "search", "event_id": 999}, "unknown_event"),
    "a claimed registration": (AN_EVENT | {"type": "register"}, "not_registered"),
    "a claimed favourite": (AN_EVENT | {"type": "favorite"}, "not_favorite"),
    "a claimed end of a registration": (AN_EVENT | {"type": "unregister"}, "not_unregistered"),
}


@pytest.mark.parametrize("name", BAD_FORM)
def test_a_bad_one_is_refused_by_itself(name: str, town: Site, sender: Sender) -> None:
    bad, code = BAD_FORM[name]
    answer = sender.send(1, CLICK, bad, CLICK | {"event_id": 101})
    assert (answer.accepted, answer.duplicates) == (2, 0)
    assert [(one.index, one.code) for one in answer.refused] == [(1, code)]
    assert answer.refused[0].text
    assert stored(town) == [(1, "click", 100), (1, "click", 101)]


@pytest.mark.parametrize(
    "change",
    [
        "status = 'draft'",
        "status = 'cancelled'",
        "deleted_at = '2026-03-01'",
        "publish_at = '2026-03-03'",
    ],
)
def test_an_event_that_is_not_public_is_unknown(change: str, town: Site, sender: Sender) -> None:
    town.run(f"UPDATE events SET {change} WHERE id = 100")
    assert sender.code(1, CLICK) == sender.code(None, CLICK) == "unknown_event"


def test_the_tables_and_not_the_client_say_who_is_registered(town: Site, sender: Sender) -> None:
    register, unregister = (AN_EVENT | {"type": kind} for kind in ("register", "unregister"))
    town.registration(1, 100)
    assert sender.code(1, register) is None
    assert sender.code(1, unregister) == "not_unregistered"
    assert sender.code(2, register) == sender.code(None, register) == "not_registered"
    town.run("UPDATE registrations SET unregistered_at = %s", NOON)
    assert sender.code(1, register) == "not_registered"
    assert sender.code(1, unregister) is None
    town.registration(1, 100)
    assert sender.code(1, unregister) == "not_unregistered"
    town.add("favorite_events", {"user_id": 1, "event_id": 100})
    assert sender.code(1, AN_EVENT | {"type": "favorite"}) is None
    assert sender.code(2, AN_EVENT | {"type": "favorite"}) == "not_favorite"


def test_a_clock_that_is_a_little_ahead_is_set_right(town: Site, sender: Sender) -> None:
    assert sender.code(1, CLICK | {"occurred_at": (NOON + 2 * MINUTE).isoformat()}) is None
    assert sender.code(1, CLICK | {"occurred_at": (NOON - 7 * DAY).isoformat()}) is None
    assert stored(town, "occurred_at") == [(NOON,), (NOON - 7 * DAY,)]


# Replays ------------------------------------------------------------------------------------


def test_a_replay_is_harmless(town: Site, sender: Sender) -> None:
    acts = [CLICK | {"client_id": f"c{number}"} for number in range(3)]
    assert sender.send(1, *acts).accepted == 3
    again = sender.send(1, *acts, CLICK | {"client_id": "c3"})
    assert (again.accepted, again.duplicates) == (1, 3)
    assert len(stored(town)) == 4


def test_a_burst_within_a_batch_is_one(town: Site, sender: Sender) -> None:
    named = CLICK | {"client_id": "c"}
    answer = sender.send(1, named, named | {"event_id": 101}, CLICK, CLICK, CLICK | {"position": 1})
    assert (answer.accepted, answer.duplicates) == (3, 2)
    assert set(stored(town, "event_id, client_id, position")) == {
        (100, "c", None),
        (100, None, 1),
        (100, None, None),
    }
    assert len(stored(town)) == 3


def test_a_client_id_of_another_user_is_refused(town: Site, sender: Sender) -> None:
    named = CLICK | {"client_id": "c"}
    assert sender.code(1, named) is None
    assert sender.code(2, named) == sender.code(None, named) == "client_id_taken"
    assert stored(town) == [(1, "click", 100)]


def test_what_was_sent_before_logging_in_may_be_sent_again_after(
    town: Site, sender: Sender
) -> None:
    named = CLICK | {"client_id": "c"}
    assert sender.code(None, named) is None
    assert sender.send(1, named).duplicates == 1
    assert stored(town) == [(None, "click", 100)]


def test_the_same_batch_sent_many_times_at_once_is_kept_once(town: Site, sender: Sender) -> None:
    acts = [CLICK | {"client_id": f"c{number}"} for number in range(50)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(
                lambda turn: sender.send(1, *(acts if turn % 2 else reversed(acts))), range(16)
            )
        )
    assert sum(answer.accepted for answer in answers) == 50
    assert len(stored(town)) == 50


# The shown list -----------------------------------------------------------------------------


def request_id(user_id: int, source: Source, model_id: int = 0, at: datetime = NOON) -> str:
    return issue(ShownList(source, model_id, user_id, at, at), SECRET, b"once")


def test_source_and_model_are_read_from_a_request_id_of_ours(town: Site, sender: Sender) -> None:
    town.run(
        "INSERT INTO recommender_models (id, model_version, feature_names, weights, meta)"
        " OVERRIDING SYSTEM VALUE VALUES (7, 'v7', '[]', '{}', '{}')"
    )
    ids = [
        request_id(1, Source.CACHE, 7),
        request_id(1, Source.CACHE, 8),
        request_id(1, Source.HEURISTIC),
        "of-another-system",
        request_id(1, Source.CACHE, 7, NOON - 8 * DAY),
        request_id(1, Source.CACHE, 7)[:-1] + "!",
    ]
    sender.send(1, *(CLICK | {"request_id": one} for one in ids))
    assert stored(town, "request_id, source, model_version") == [
        (ids[0], "cache", "v7"),
        (ids[1], "cache", None),
        (ids[2], "heuristic", None),
        (ids[3], None, None),
        (ids[4], None, None),
        (ids[5], None, None),
    ]


@pytest.mark.parametrize("share", ["0", "0.1"])
def test_the_arm_is_read_from_a_list_of_the_experiment_that_is_set(
    town: Site, sender: Sender, monkeypatch: pytest.MonkeyPatch, share: str
) -> None:
    monkeypatch.setenv("RECOMMENDATIONS_EXPERIMENT", "spring")
    monkeypatch.setenv("RECOMMENDATIONS_CONTROL_SHARE", share)
    settings.cache_clear()
    control = ShownList(Source.HEURISTIC, 0, 1, NOON, NOON, Arm.CONTROL, code_of("spring"))
    lists = [
        control,
        replace(control, source=Source.CACHE, arm=Arm.TREATMENT),
        replace(control, experiment=code_of("winter")),
        replace(control, arm=None, experiment=0),
    ]
    ids = [issue(shown, SECRET, b"once") for shown in lists]
    forged = issue(control, "another secret", b"once")
    sender.send(1, *(CLICK | {"request_id": one} for one in (*ids, forged)))
    sender.send(None, CLICK | {"request_id": ids[0]})
    assert stored(town, "source, experiment, arm") == [
        ("heuristic", "spring", "control"),
        ("cache", "spring", "treatment"),
        ("heuristic", None, None),
        ("heuristic", None, None),
        (None, None, None),
        ("heuristic", "spring", "control"),
    ]


def test_a_list_of_another_user_cannot_be_claimed(town: Site, sender: Sender) -> None:
    click = CLICK | {"request_id": request_id(2, Source.CACHE)}
    assert sender.code(1, click) == "foreign_request_id"
    assert stored(town) == []


# Without a token, by the list's own request_id --------------------------------------------------


def seen_on(user_id: int, at: datetime = NOON, **act: Any) -> dict[str, Any]:
    """Return a click, or another act, on a list that a user was shown."""
    return CLICK | {"request_id": request_id(user_id, Source.CACHE, at=at)} | act


def test_a_page_without_a_token_tells_what_became_of_its_list(town: Site, sender: Sender) -> None:
    acts = [
        seen_on(1, type="impression", position=0),
        seen_on(1, type="click"),
        seen_on(1, type="view"),
        seen_on(1, type="dwell", dwell_seconds=60),
        seen_on(2),
        CLICK,
    ]
    assert sender.send(None, *acts).accepted == len(acts)
    users = [(1, "cache")] * 4 + [(2, "cache"), (None, None)]
    assert stored(town, "user_id, source") == users
    assert due(town) == []  # a ranking is not made anew on the word of whoever has the id


@pytest.mark.parametrize("act", ["share", "search", "filter", "favorite", "register", "unregister"])
def test_a_request_id_decides_nothing(town: Site, sender: Sender, act: str) -> None:
    town.registration(1, 100)
    town.add("favorite_events", {"user_id": 1, "event_id": 100})
    assert sender.code(None, seen_on(1, type=act)) == "needs_token"
    assert stored(town) == []


@pytest.mark.usefixtures("town")
def test_a_request_id_speaks_for_its_user_for_a_day(sender: Sender) -> None:
    assert sender.code(None, seen_on(1, NOON - DAY)) is None
    late = seen_on(1, NOON - DAY - timedelta(seconds=1))
    assert sender.code(None, late) == "stale_request_id"
    assert sender.code(1, late) is None


def test_an_act_is_not_dated_before_its_list(town: Site, sender: Sender) -> None:
    shown_at = NOON - HOUR
    for at in (NOON - 3 * HOUR, NOON - MINUTE):
        sender.send(None, seen_on(1, shown_at, occurred_at=at.isoformat()))
    assert stored(town, "occurred_at") == [(shown_at,), (NOON - MINUTE,)]


@pytest.mark.parametrize("secret", ["another deployment's secret, of 32 characters", ""])
def test_what_we_did_not_sign_speaks_for_nobody(town: Site, sender: Sender, secret: str) -> None:
    shown = ShownList(Source.CACHE, 0, 1, NOON, NOON)
    ours = request_id(1, Source.CACHE)
    forged = [issue(shown, secret, b"once"), ours[:-1] + ("A" if ours[-1] != "A" else "B")]
    for one in forged:
        assert sender.code(None, CLICK | {"request_id": one}) is None
    assert stored(town, "user_id, source") == [(None, None)] * 2


def test_a_replay_without_a_token_counts_once(town: Site, sender: Sender) -> None:
    act = seen_on(1, client_id="c-1")
    assert [sender.send(who, act).duplicates for who in (None, None, 1, None)] == [0, 1, 1, 1]
    assert sender.code(None, seen_on(2, client_id="c-1")) == "client_id_taken"
    assert sender.code(None, CLICK | {"client_id": "c-1"}) == "client_id_taken"
    assert stored(town, "user_id") == [(1,)]


def test_nobody_speaks_for_an_account_that_is_deactivated_or_erased(
    town: Site, sender: Sender
) -> None:
    town.users(4, is_active=False)
    answer = sender.send(None, seen_on(4), seen_on(999), seen_on(1))
    assert [one.code for one in answer.refused] == ["stale_request_id"] * 2
    assert stored(town, "user_id") == [(1,)]


def test_an_organizer_s_request_id_shows_no_draft(town: Site, sender: Sender) -> None:
    town.users(12, role="organizer")
    town.event(200, status="draft", owner_id=12)
    town.event(201, status="draft")
    for act in (seen_on(12, event_id=200), seen_on(12, event_id=201), CLICK | {"event_id": 201}):
        assert sender.code(None, act) == "unknown_event"


@pytest.mark.usefixtures("town")
def test_who_floods_with_a_request_id_does_not_silence_its_user(sender: Sender) -> None:
    flood = [seen_on(1, client_id=f"f{number}") for number in range(100)]
    content = json.dumps({"interactions": flood})
    statuses = [sender.client.post(PATH, content=content).status_code for _ in range(11)]
    assert statuses[-1] == 429
    assert sender.code(1, seen_on(1)) is None
    assert sender.code(None, seen_on(2)) is None


# Batches ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 422),
        (b"nonsense", 422),
        (b"[]", 422),
        (b"{}", 422),
        (b'{"interactions": {}}', 422),
        (b'{"interactions": [], "more": 1}', 422),
        (b'{"interactions": [NaN]}', 422),
        (b'{"interactions": ["\\ud800"]}', 422),
        (b'{"interactions": [' + b"[" * 999 + b"]" * 999 + b"]}", 422),
        (json.dumps({"interactions": [CLICK] * 101}).encode(), 422),
        (b" " * LARGEST_BODY + b"{}", 413),
        (b'{"interactions": []}', 200),
        (json.dumps({"interactions": [CLICK] * 100}).encode(), 200),
        (b'{"interactions": [{"type": "search", "meta": {"a": 1e999}}]}', 200),
    ],
)
@pytest.mark.usefixtures("town", "sender")
def test_a_body_that_is_no_batch_is_refused(body: bytes, status: int, client: TestClient) -> None:
    answer = client.post(PATH, content=body)
    assert (answer.status_code, "detail" in answer.json()) == (status, status != 200)


@hypothesis_settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(
        st.one_of(
            st.fixed_dictionaries(
                {"type": st.sampled_from(["click", "dwell", "search", "register", "x"])},
                optional={
                    name: st.one_of(
                        st.none(),
                        st.integers(),
                        st.floats(allow_nan=False, allow_infinity=False),
                        st.text(max_size=9),
                        st.sampled_from([100, "2026-03-02T12:00:00Z", "2026-03-02T24:61:00Z"]),
                        st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=5)),
                    )
                    for name in SentInteraction.model_fields
                    if name != "type"
                },
            ),
            st.none() | st.booleans() | st.text(max_size=3),
        ),
        max_size=5,
    )
)
@pytest.mark.usefixtures("town")
def test_whatever_comes_is_kept_or_refused(sender: Sender, acts: list[Any]) -> None:
    sender.send(1, *acts)
    sender.send(None, *acts)


def test_only_valid_tokens_are_taken(town: Site, sender: Sender) -> None:
    town.users(4, is_active=False)
    town.run("UPDATE users SET token_version = 1 WHERE id = 2")
    content = json.dumps({"interactions": [CLICK]})
    for user_id in (2, 4, 999):
        for body in (content, '{"interactions": []}'):
            answer = sender.client.post(PATH, headers=sender.sign_in(user_id), content=body)
            assert answer.status_code == 401
    assert stored(town) == []
    assert due(town) == []


def test_an_event_erased_at_the_same_moment_takes_no_other_with_it(
    town: Site, sender: Sender
) -> None:
    with psycopg.connect(town.address) as conn, ThreadPoolExecutor() as pool:
        conn.execute("DELETE FROM events WHERE id = 100")
        sending = pool.submit(sender.send, 1, CLICK, CLICK | {"event_id": 101})
        with psycopg.connect(town.address, autocommit=True) as other:
            waiting = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            while not other.execute(waiting).fetchall():
                pass
        conn.commit()
        answer = sending.result()
    assert (answer.accepted, [one.code for one in answer.refused]) == (1, ["unknown_event"])


# Refreshes ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("act", "marks"),
    [
        (CLICK, True),
        (AN_EVENT | {"type": "view"}, True),
        (AN_EVENT | {"type": "share"}, True),
        ({"type": "search", "meta": {"query": "x"}}, True),
        ({"type": "filter", "meta": {"tags": ["x"]}}, True),
        (AN_EVENT | {"type": "dwell", "dwell_seconds": 20}, True),
        (AN_EVENT | {"type": "dwell", "dwell_seconds": 19.9}, False),
        (AN_EVENT | {"type": "impression"}, False),
        (AN_EVENT | {"type": "impression", "dwell_seconds": 60}, False),
        (AN_EVENT | {"type": "register"}, False),
        (CLICK | {"event_id": 999}, False),
    ],
)
def test_what_says_something_marks_the_user(
    act: dict[str, Any], marks: bool, town: Site, sender: Sender
) -> None:
    sender.send(1, act)
    assert due(town) == ([(1,)] if marks else [])
    jobs = town.run("SELECT task_name FROM procrastinate_jobs")
    assert jobs == ([("refresh_user_recommendations_ml",)] if marks else [])


def test_true_registrations_and_favourites_mark_the_user(town: Site, sender: Sender) -> None:
    town.registration(1, 100)
    town.add("favorite_events", {"user_id": 2, "event_id": 100})
    sender.send(1, AN_EVENT | {"type": "register"})
    sender.send(2, AN_EVENT | {"type": "favorite"})
    assert due(town) == [(1,), (2,)]


def test_nobody_is_marked_by_a_replay_or_by_strangers(town: Site, sender: Sender) -> None:
    sender.send(None, CLICK | {"client_id": "c"})
    sender.send(1, CLICK | {"client_id": "c"})
    assert due(town) == []


@pytest.mark.parametrize(
    "switch", ["TASK_QUEUE_ENABLED", "RECOMMENDATIONS_REALTIME_REFRESH_ENABLED"]
)
def test_refreshes_can_be_turned_off(
    switch: str, town: Site, sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(switch, "false")
    settings.cache_clear()
    assert sender.code(1, CLICK) is None
    assert due(town) == []


def test_a_mark_raises_the_sequence_each_time(town: Site, sender: Sender) -> None:
    for _ in range(3):
        sender.send(1, CLICK)
    assert town.run("SELECT sequence FROM recommendation_refreshes") == [(3,)]


@pytest.fixture
def broken_marks(town: Site) -> Iterator[None]:
    town.run("ALTER TABLE recommendation_refreshes RENAME TO away")
    yield
    town.run("ALTER TABLE away RENAME TO recommendation_refreshes")


@pytest.mark.usefixtures("broken_marks")
def test_what_cannot_be_marked_is_not_kept(town: Site, sender: Sender) -> None:
    with pytest.raises(psycopg.errors.UndefinedTable):
        sender.send(1, CLICK)
    assert stored(town) == []


# What is forgotten --------------------------------------------------------------------------


def acts_of_days(town: Site, *days: float) -> None:
    """Store an act so many days before noon, which its position tells."""
    row = {"interaction_type": "view", "event_id": 100}
    acts = [row | {"occurred_at": NOON - ago * DAY, "position": int(ago)} for ago in days]
    town.add("event_interactions", *acts)


def kept(town: Site) -> list[int]:
    return [position for (position,) in stored(town, "position")]


def keep_days(monkeypatch: pytest.MonkeyPatch, days: int) -> None:
    monkeypatch.setenv("INTERACTIONS_KEPT_DAYS", str(days))
    settings.cache_clear()


def test_interactions_are_kept_for_ever_unless_told_otherwise(town: Site) -> None:
    acts_of_days(town, 3000, 1)
    interactions.forget(NOON)
    assert kept(town) == [3000, 1]


@pytest.mark.parametrize("batch", [1, 2, 3, 100])
def test_those_older_than_the_settings_keep_them_are_deleted_batch_by_batch(
    town: Site, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    monkeypatch.setattr(interactions, "BATCH", batch)
    keep_days(monkeypatch, 100)
    acts_of_days(town, 99, 101, 0, 300, 200, 1, 150)
    interactions.forget(NOON)
    assert kept(town) == [99, 0, 1]
    interactions.forget(NOON + 100 * DAY)
    assert kept(town) == [0]


def test_forgetting_waits_for_nobody_and_ends_when_told_to(
    town: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_days(monkeypatch, 100)
    acts_of_days(town, 101, 102)
    interactions.forget(NOON, lambda: True)
    assert kept(town) == [101, 102]
    with psycopg.connect(town.address) as conn:
        conn.execute("SELECT FROM event_interactions WHERE position = 101 FOR UPDATE")
        interactions.forget(NOON)
        assert kept(town) == [101]
    interactions.forget(NOON)
    assert kept(town) == []


def test_one_worker_at_a_time_forgets(town: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    keep_days(monkeypatch, 100)
    acts_of_days(town, 101)
    with psycopg.connect(town.address) as conn:
        conn.execute("SELECT pg_advisory_xact_lock(%s)", [FORGET_LOCK])
        interactions.forget(NOON)
        assert kept(town) == [101]
    interactions.forget(NOON)
    assert kept(town) == []


# Many at once -------------------------------------------------------------------------------


def test_many_users_at_once_lose_nothing(town: Site, sender: Sender) -> None:
    town.users(*range(1000, 1008))
    turns = threading.Barrier(8)

    def send(user_id: int) -> int:
        turns.wait()
        return sum(
            sender.send(
                user_id, *(CLICK | {"client_id": f"{user_id}.{turn}.{n}"} for n in range(10))
            ).accepted
            for turn in range(5)
        )

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(send, range(1000, 1008))) == [50] * 8
    assert len(stored(town)) == 400
    assert len(due(town)) == 8


def test_the_types_that_may_be_sent_are_those_that_can_be_stored() -> None:
    assert get_args(SentInteraction.model_fields["type"].annotation) == INTERACTION_TYPES
