"""Structured logs on stderr: console lines for people, JSON lines for machines.

What does not live here: reports, which a command prints on stdout.
"""

import sys
from collections.abc import Callable
from typing import Any

import structlog
from pydantic_core import to_json


def _written(line: dict[str, Any], default: Callable[[Any], Any]) -> str:
    """Write a line as JSON, in a sixth of the time of the json module: each request has one."""
    return to_json(line, fallback=default).decode()


def configure_logs(log_format: str) -> None:
    """Send every log line to stderr, as ``console``, ``json``, or ``auto`` (by terminal).

    Args:
        log_format: One of ``auto``, ``console`` and ``json``.
    """
    people = log_format == "console" or (log_format == "auto" and sys.stderr.isatty())
    renderers: list[structlog.typing.Processor] = (
        [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=24)]
        if people
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(_written)]
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *renderers,
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
