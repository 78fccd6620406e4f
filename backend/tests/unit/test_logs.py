"""Log lines: for people or for machines, by who reads them."""

import io
import json
import sys
from collections.abc import Iterator

import pytest
import structlog

from eventlink.config import Settings
from eventlink.logs import configure_logs


class Terminal(io.TextIOWrapper):
    """Stands in for stderr, which is a terminal or not."""

    def __init__(self, *, terminal: bool) -> None:
        super().__init__(io.BytesIO(), write_through=True)
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal

    def told(self) -> str:
        self.seek(0)
        return self.read()


@pytest.fixture(autouse=True)
def _usual_logs() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def is_json(line: str) -> bool:
    return line.startswith("{") and bool(json.loads(line))


@pytest.mark.parametrize(
    ("log_format", "service", "terminal", "machine"),
    [
        ("auto", True, False, True),
        ("auto", True, True, False),
        ("auto", False, False, False),
        ("auto", False, True, False),
        ("json", False, True, True),
        ("console", True, False, False),
    ],
)
def test_a_machine_reads_what_a_service_logs_away_from_a_terminal(
    monkeypatch: pytest.MonkeyPatch, log_format: str, service: bool, terminal: bool, machine: bool
) -> None:
    stderr = Terminal(terminal=terminal)
    monkeypatch.setattr(sys, "stderr", stderr)
    configure_logs(log_format, "info", service=service)
    structlog.get_logger().info("reading")
    assert is_json(stderr.told()) is machine
    assert "reading" in stderr.told()


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_a_traceback_does_not_show_variables(
    monkeypatch: pytest.MonkeyPatch, log_format: str
) -> None:
    monkeypatch.setattr(sys, "stderr", stderr := Terminal(terminal=False))
    configure_logs(log_format, "info", service=False)
    password = "sesame".upper()
    try:
        password.index("x")
    except ValueError:
        structlog.get_logger().exception("it failed")
    assert "ValueError: substring not found" in stderr.told()
    assert "SESAME" not in stderr.told()


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_what_is_below_the_level_is_left_out(
    monkeypatch: pytest.MonkeyPatch, log_format: str
) -> None:
    monkeypatch.setattr(sys, "stderr", stderr := Terminal(terminal=False))
    configure_logs(log_format, "warning", service=True)
    structlog.get_logger().info("reading")
    structlog.get_logger().warning("careful")
    assert "reading" not in stderr.told()
    assert "careful" in stderr.told()


@pytest.mark.parametrize(("level", "kept"), [("WARN", 2), ("Warning", 2), ("critical", 1)])
def test_common_words_are_known_in_any_case(
    monkeypatch: pytest.MonkeyPatch, level: str, kept: int
) -> None:
    monkeypatch.setenv("LOG_LEVEL", level)
    monkeypatch.setenv("LOG_FORMAT", "JSON")
    stderr = Terminal(terminal=True)
    monkeypatch.setattr(sys, "stderr", stderr)
    known = Settings()
    configure_logs(known.log_format, known.log_level, service=False)
    log = structlog.get_logger()
    log.info("started")
    log.warning("odd")
    log.critical("over")
    lines = stderr.told().splitlines()
    assert len(lines) == kept
    assert all(is_json(line) for line in lines)
