"""Structured logs on stderr: console lines for people, JSON lines for machines.

What does not live here: reports, which a command prints on stdout.
"""

import sys

import structlog


def configure_logs(log_format: str) -> None:
    """Send every log line to stderr, as ``console``, ``json``, or ``auto`` (by terminal).

    Args:
        log_format: One of ``auto``, ``console`` and ``json``.
    """
    people = log_format == "console" or (log_format == "auto" and sys.stderr.isatty())
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=24)
        if people
        else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
