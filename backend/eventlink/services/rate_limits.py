"""Rate limits of the asynchronous routes: how much a user and a network address may send.

What does not live here: the buckets (``db.rate_limits``).
"""

from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network, ip_address
from itertools import count

from eventlink.db.pool import AsyncConnection, rows
from eventlink.db.rate_limits import FORGET, TAKE, parameters
from eventlink.errors import TooManyRequestsError


@dataclass(frozen=True)
class Limit:
    """The size of a kind of bucket."""

    name: str
    capacity: float
    per_second: float


INTERACTIONS_OF_USER = Limit("interactions of user", 2_000, 2)
"""A hundred pages of twenty events at once. All that somebody has done is read whenever their
ranking is refreshed, and while it is, others wait: a million rows take seven seconds."""
INTERACTIONS_SPOKEN_FOR = Limit("interactions spoken for", 1_000, 2)
"""Of a user, without a token: fifty pages of twenty events at once. A bucket of its own, so that
whoever got hold of a request id cannot keep the user from being heard."""
INTERACTIONS_FROM = Limit("interactions from", 100_000, 2_000)
"""From an address: a university behind one, at an act every five seconds for 10,000 people."""

FORGOTTEN_EVERY = 5_000
"""Questions of a process from one deletion of old buckets to the next."""

_asked = count(1)


async def charge(conn: AsyncConnection, limit: Limit, whom: str, cost: float) -> None:
    """Take tokens out of a bucket.

    Args:
        conn: Outside a transaction.
        limit: Its kind.
        whom: Whose it is.
        cost: Tokens to take.

    Raises:
        TooManyRequestsError: They are not there.
    """
    if next(_asked) % FORGOTTEN_EVERY == 0:
        await conn.execute(FORGET)
    bucket = f"{limit.name} {whom}"
    asked = parameters(bucket, limit.capacity, limit.per_second, cost)
    if not await rows(conn, TAKE, asked):
        raise TooManyRequestsError(
            "that is more than anybody may send; send less, and later", cost / limit.per_second
        )


def network(address: str) -> str:
    """Name the network that an address stands for: an IPv6 customer has 2^64 of them.

    Args:
        address: Of a client; what is not an IP address stands for itself.
    """
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(IPv6Network((int(parsed), 64), strict=False))
