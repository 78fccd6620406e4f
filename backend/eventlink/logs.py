"""Structured logs on stderr: console lines for people, JSON lines for machines.

What does not live here: reports, which a command prints on stdout.
"""

import sys
from collections.abc import MutableMapping
from datetime import UTC, datetime
from typing import Any

import structlog
from pydantic_core import to_json


def _written(logger: Any, method: str, line: MutableMapping[str, Any]) -> bytes:
    """Finish a line and write it as JSON, in one step: each request has one."""
    if "exc_info" in line:
        line = structlog.processors.format_exc_info(logger, method, line)
    structlog.processors.add_log_level(logger, method, line)
    line["timestamp"] = datetime.now(UTC)
    return to_json(line, fallback=repr, inf_nan_mode="strings")


def configure_logs(log_format: str, log_level: str, *, service: bool) -> None:
    """Send log lines to stderr, as ``console``, ``json``, or ``auto``: whoever may read it.

    Args:
        log_format: One of ``auto``, ``console`` and ``json``.
        log_level: The least that is logged: ``debug``, ``info``, ``warn`` or ``warning``,
            ``error``, ``critical``.
        service: Whether it runs on and on, so that away from a terminal a machine reads its log.
            What a person starts and waits for is read by a person, also through a pipe.
    """
    people = log_format == "console" or (
        log_format == "auto" and not (service and not sys.stderr.isatty())
    )
    renderers: list[structlog.typing.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(),
            pad_event_to=24,
            # The other kind shows variables, and one may be a password.
            exception_formatter=structlog.dev.plain_traceback,
        ),
    ]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            *(renderers if people else [_written]),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr)
        if people
        else structlog.BytesLoggerFactory(sys.stderr.buffer),
        wrapper_class=structlog.make_filtering_bound_logger(log_level),
        cache_logger_on_first_use=False,
    )
