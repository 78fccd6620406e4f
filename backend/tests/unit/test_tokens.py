from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest

from eventlink.errors import NotAuthenticatedError, WeakSecretError
from eventlink.services.tokens import (
    LIFETIMES,
    Claims,
    Kind,
    issue,
    lifetime_seconds,
    read,
    require_strong_secret,
)

SECRET = "a secret of the tests, long enough to sign with"  # noqa: S105 (signs nothing of worth)
OTHER = "another secret of the tests, which is also long enough"
NOW = datetime.now(UTC)


def forged(**changes: Any) -> str:
    """Make a token as ours are, but for some changes; None leaves a claim out."""
    said = {"sub": "1", "ver": 0, "typ": "access", "iat": NOW, "exp": NOW + timedelta(hours=1)}
    key = changes.pop("key", SECRET)
    algorithm = changes.pop("algorithm", "HS256")
    kept = {name: value for name, value in (said | changes).items() if value is not None}
    return jwt.encode(kept, key, algorithm=algorithm)


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("secret", [SECRET, "short", ""])
def test_a_token_says_what_was_put_in(kind: Kind, secret: str) -> None:
    token = issue(Claims(17, 3), kind, secret, NOW)
    assert read(token, kind, secret) == Claims(17, 3)


def test_a_token_is_an_ordinary_jwt_signed_with_the_secret() -> None:
    assert read(forged(), Kind.ACCESS, SECRET) == Claims(1, 0)
    said = jwt.decode(issue(Claims(1, 0), Kind.ACCESS, SECRET, NOW), SECRET, algorithms=["HS256"])
    assert said["exp"] - said["iat"] == lifetime_seconds(Kind.ACCESS)


@pytest.mark.parametrize("kind", Kind)
def test_one_kind_is_not_taken_for_the_other(kind: Kind) -> None:
    (other,) = set(Kind) - {kind}
    with pytest.raises(NotAuthenticatedError, match=f"not one for {kind}"):
        read(issue(Claims(1, 0), other, SECRET, NOW), kind, SECRET)


@pytest.mark.parametrize("kind", Kind)
def test_a_token_expires(kind: Kind) -> None:
    token = issue(Claims(1, 0), kind, SECRET, NOW - LIFETIMES[kind] - timedelta(seconds=1))
    with pytest.raises(NotAuthenticatedError, match="expired"):
        read(token, kind, SECRET)


@pytest.mark.parametrize(
    "changes",
    [
        {"algorithm": "none", "key": None},
        {"algorithm": "HS512", "key": SECRET.encode().ljust(64, b"\0")},
        {"key": OTHER},
        {"exp": None},
        {"typ": None},
        {"typ": "ACCESS"},
        {"typ": ["access"]},
        {"ver": None},
        {"ver": "new"},
        {"sub": "one"},
        {"sub": None},
        {"ver": [0]},
        {"ver": 2**64},
        {"ver": -1},
        {"sub": str(2**64)},
        {"sub": "0"},
    ],
    ids=str,
)
def test_a_token_that_is_not_ours_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(NotAuthenticatedError):
        read(forged(**changes), Kind.ACCESS, SECRET)


@pytest.mark.parametrize("part", range(3))
def test_a_tampered_token_is_refused(part: int) -> None:
    parts = issue(Claims(1, 0), Kind.ACCESS, SECRET, NOW).split(".")
    other = issue(Claims(2, 0), Kind.ACCESS, OTHER, NOW).split(".")
    parts[part] = "eyJhbGciOiJub25lIn0" if part == 0 else other[part]
    with pytest.raises(NotAuthenticatedError):
        read(".".join(parts), Kind.ACCESS, SECRET)


@pytest.mark.parametrize("token", ["", ".", "..", "a.b.c", "é", "\0"])
def test_what_is_no_token_is_refused(token: str) -> None:
    with pytest.raises(NotAuthenticatedError):
        read(token, Kind.ACCESS, SECRET)


def test_a_secret_is_strong_if_it_is_long_and_varied() -> None:
    require_strong_secret("0123456789abcdef" * 2, "production")
    for weak in ("", "0123456789abcdef", "ab" * 32):
        with pytest.raises(WeakSecretError):
            require_strong_secret(weak, "production")
        require_strong_secret(weak, "development")
