"""Request ids: names of shown lists, signed, so that none needs to be stored to be known again.

What does not live here: what is made of interactions that carry one (``services.interactions``).

A request id says who made the list, for whom and when, which ranking it was, and of which arm of an
experiment. It is readable to everybody and hides nothing; its signature (HMAC-SHA-256, RFC 2104,
cut to 120 bits) keeps a user from claiming somebody else's list, another source or arm.
"""

import hmac
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cache

from eventlink.services.experiments import Arm

LENGTH = 64
"""Characters of a request id."""
NONCE_BYTES = 4
LIFETIME = timedelta(days=7)
"""How long after a list was shown what it led to is still believed to belong to it."""

# docs/api.md reads the user and the ranking's date out of it in SQL.
_LAYOUT = struct.Struct(f">BQQIQ{NONCE_BYTES}s")
# A model's number leaves bits free, in which the experiment's code and the arm stand. In older ids
# these are 0; and an older server, beside or after this one, takes them for a model that is gone.
_MODEL_BITS = 48
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SIGNATURE_BYTES = 15
_ALPHABET = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


class Source(StrEnum):
    """Who made a list."""

    CACHE = "cache"
    HEURISTIC = "heuristic"


_SOURCES = tuple(Source)
_ARMS = tuple(Arm)


@dataclass(frozen=True)
class ShownList:
    """What a request id says."""

    source: Source
    model_id: int
    """``recommender_models.id``; 0 where no stored model made the list."""
    user_id: int
    shown_at: datetime
    """Whole seconds."""
    generated_at: datetime
    """When the ranking was made; with the user it names what was drawn for it."""
    arm: Arm | None = None
    """None: it was no part of an experiment."""
    experiment: int = 0
    """The ``code_of`` the experiment; 0 without an arm."""


def issue(shown: ShownList, secret: str, nonce: bytes) -> str:
    """Sign a request id.

    Args:
        shown: What it says.
        secret: ``SECRET_KEY``.
        nonce: ``NONCE_BYTES`` random bytes, which tell lists of the same second apart.
    """
    part = 0 if shown.arm is None else shown.experiment * len(_ARMS) + _ARMS.index(shown.arm)
    said = _LAYOUT.pack(
        _SOURCES.index(shown.source),
        part << _MODEL_BITS | shown.model_id,
        shown.user_id,
        int(shown.shown_at.timestamp()),
        (shown.generated_at - _EPOCH) // timedelta(microseconds=1),
        nonce,
    )
    return urlsafe_b64encode(said + _signature(said, secret)).decode()


def read(request_id: str, secret: str, now: datetime) -> ShownList | None:
    """Return what a request id says; None for one that is not ours, or too old.

    Args:
        request_id: As it came.
        secret: ``SECRET_KEY``.
        now: The instant.
    """
    raw = request_id.encode()
    if len(raw) != LENGTH or not _ALPHABET.issuperset(raw):
        return None
    decoded = urlsafe_b64decode(raw)
    said, signature = decoded[: _LAYOUT.size], decoded[_LAYOUT.size :]
    if not hmac.compare_digest(signature, _signature(said, secret)):
        return None
    source, model, user_id, seconds, microseconds, _ = _LAYOUT.unpack(said)
    shown_at = datetime.fromtimestamp(seconds, UTC)
    if now - shown_at > LIFETIME:
        return None
    generated_at = _EPOCH + timedelta(microseconds=microseconds)
    experiment, place = divmod(model >> _MODEL_BITS, len(_ARMS))
    return ShownList(
        source=_SOURCES[source],
        model_id=model & (1 << _MODEL_BITS) - 1,
        user_id=user_id,
        shown_at=shown_at,
        generated_at=generated_at,
        arm=_ARMS[place] if experiment else None,
        experiment=experiment,
    )


def _signature(said: bytes, secret: str) -> bytes:
    return hmac.digest(_key(secret), said, "sha256")[:_SIGNATURE_BYTES]


@cache
def _key(secret: str) -> bytes:
    """Derive a key of its own, so that no token is ever taken for a request id, nor the reverse."""
    return hmac.digest(secret.encode(), b"event link request id", "sha256")
