"""Instants as people type them."""

from datetime import UTC, datetime

from eventlink.errors import InvalidInstantError


def parse_instant(text: str) -> datetime:
    """Read an ISO 8601 instant; UTC if it has no offset.

    Args:
        text: For example ``2026-04-22T00:00:00Z`` or ``2026-04-22``.

    Raises:
        InvalidInstantError: It is something else.
    """
    try:
        instant = datetime.fromisoformat(text)
        return (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidInstantError(
            f"{text!r} is not an instant; write for example 2026-04-22T00:00:00Z"
        ) from error
