from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventlink.services.experiments import CODES, Arm
from eventlink.services.request_ids import (
    LENGTH,
    LIFETIME,
    NONCE_BYTES,
    ShownList,
    Source,
    issue,
    read,
)

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
SECRET = "a secret of the tests"  # noqa: S105 (signs nothing of worth)
MADE = NOON - timedelta(hours=9, microseconds=1)
SHOWN = ShownList(Source.CACHE, 17, 4711, NOON, MADE)
IN_CONTROL = ShownList(Source.HEURISTIC, 0, 4711, NOON, NOON, Arm.CONTROL, 782)
NONCE = bytes(NONCE_BYTES)


@given(
    st.sampled_from(Source),
    st.integers(0, 2**48 - 1),
    st.integers(0, 2**63 - 1),
    st.datetimes(datetime(1970, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 (Hypothesis wants it so)
    st.binary(min_size=NONCE_BYTES, max_size=NONCE_BYTES),
    st.none() | st.tuples(st.sampled_from(Arm), st.integers(1, CODES)),
)
def test_what_was_signed_is_read(
    source: Source,
    model_id: int,
    user_id: int,
    generated_at: datetime,
    nonce: bytes,
    part: tuple[Arm, int] | None,
) -> None:
    shown = ShownList(source, model_id, user_id, NOON, generated_at, *(part or ()))
    issued = issue(shown, SECRET, nonce)
    assert len(issued) == LENGTH
    assert read(issued, SECRET, NOON) == shown


@pytest.mark.parametrize(
    ("issued", "said"),
    [
        ("AAAAAAAAAAARAAAAAAAAEmdppXvAAAZMAchVq_8AAAAAFTiDqAmAnPiJFeYnx65g", SHOWN),
        (
            "AQAAAAAAAAAAAAAAAAAAEmdppXvAAAZMCVOGcAAAAAAA5buC_5g_xayHgJh4-Ub7",
            ShownList(Source.HEURISTIC, 0, 4711, NOON, NOON),
        ),
    ],
)
def test_ids_of_before_there_were_arms_are_read(issued: str, said: ShownList) -> None:
    assert read(issued, SECRET, NOON) == said
    assert issue(said, SECRET, NONCE) == issued


def test_an_older_server_takes_an_arm_for_a_model_and_goes_on() -> None:
    said = urlsafe_b64decode(issue(IN_CONTROL, SECRET, NONCE))
    assert said[0] == 1
    for arm in Arm:
        largest = replace(IN_CONTROL, model_id=2**48 - 1, arm=arm, experiment=CODES)
        model_id = int.from_bytes(urlsafe_b64decode(issue(largest, SECRET, NONCE))[1:9], "big")
        assert model_id < 2**63  # what a column of the database holds


def test_the_documents_know_where_the_ranking_s_date_stands() -> None:
    said = urlsafe_b64decode(issue(replace(IN_CONTROL, generated_at=MADE), SECRET, NONCE))
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    assert epoch + timedelta(microseconds=int.from_bytes(said[21:29], "big")) == MADE


def test_two_lists_of_one_second_have_two_ids() -> None:
    assert issue(SHOWN, SECRET, b"abcd") != issue(SHOWN, SECRET, b"abce")


def test_another_secret_signs_nothing_that_is_believed() -> None:
    assert read(issue(SHOWN, "another", NONCE), SECRET, NOON) is None


@pytest.mark.parametrize("place", range(48))
def test_a_change_of_any_bit_is_noticed(place: int) -> None:
    raw = bytearray(urlsafe_b64decode(issue(SHOWN, SECRET, NONCE)))
    assert len(raw) == 48
    raw[place] ^= 1
    assert read(urlsafe_b64encode(raw).decode(), SECRET, NOON) is None


@given(st.text(max_size=80))
def test_anything_else_is_not_ours(text: str) -> None:
    assert read(text, SECRET, NOON) is None


@pytest.mark.parametrize("text", ["", "A" * LENGTH, "=" * LENGTH, "ă" * (LENGTH // 2), "A" * 65])
def test_what_looks_nearly_like_one_is_not_ours(text: str) -> None:
    assert read(text, SECRET, NOON) is None


def test_it_is_believed_for_a_week() -> None:
    issued = issue(SHOWN, SECRET, NONCE)
    assert read(issued, SECRET, NOON + LIFETIME) == SHOWN
    assert read(issued, SECRET, NOON + LIFETIME + timedelta(seconds=1)) is None
