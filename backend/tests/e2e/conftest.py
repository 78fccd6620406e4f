"""What end-to-end tests may ask for: a whole platform, run as an operator runs it."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

from eventlink.config import PROJECT_ROOT

PROGRAMS = Path(sys.executable).parent
PATIENCE = 60.0
NARROW = {"width": 400, "height": 800}
"""A telephone's window."""


@dataclass
class Platform:
    """A database in which people live, and the processes that serve them."""

    environment: dict[str, str]
    processes: list[subprocess.Popen[str]] = field(default_factory=list)
    apis: list[httpx2.Client] = field(default_factory=list)

    def run(self, *words: str, text: str = "") -> str:
        """Run a command of ours to its end, and return what it printed."""
        done = subprocess.run(
            self._command(words),
            env=self.environment,
            cwd=PROJECT_ROOT,
            input=text,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start a command of ours that goes on running."""
        process = subprocess.Popen(
            self._command(words), env=self.environment, cwd=PROJECT_ROOT, text=True
        )
        self.processes.append(process)
        return process

    def serve(self) -> httpx2.Client:
        """Start one process of the API and wait until it is ready."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.start("eventlink", "serve", "--port", str(port))
        api = httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=10)
        self.apis.append(api)
        wait_for(lambda: _answers(api))
        return api

    def ask(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.environment["DATABASE_URL"], autocommit=True) as conn:
            return conn.execute(statement, values).fetchall()

    def stop(self) -> None:
        for api in self.apis:
            api.close()
        for process in self.processes:
            process.terminate()
        assert [process.wait(timeout=30) for process in self.processes] == [0] * len(self.processes)

    def _command(self, words: tuple[str, ...]) -> list[str]:
        program, *rest = words
        return [str(PROGRAMS / program), *rest]


def _answers(api: httpx2.Client) -> bool:
    try:
        return api.get("/ready").status_code == 200
    except httpx2.TransportError:
        return False


def wait_for(
    holds: Any, seconds: float = PATIENCE, pause: Callable[[], None] = lambda: time.sleep(0.02)
) -> None:
    """Wait until something holds; fail if it does not come to."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "waited too long"
        pause()


@contextmanager
def serving(database: str, **settings: str) -> Iterator[Platform]:
    """Run what is started within, and stop it in good order."""
    environment = os.environ | {
        "DATABASE_URL": database,
        "ENVIRONMENT": "production",
        "SECRET_KEY": "0123456789abcdef0123456789abcdef-e2e",
        "LOG_FORMAT": "json",
        **settings,
    }
    made = Platform(environment)
    with ExitStack() as stack:
        stack.callback(made.stop)
        yield made


@pytest.fixture
def platform(database: str) -> Iterator[Platform]:
    """A simulated city of 300 people, two API processes and two workers."""
    with serving(database, RECOMMENDATIONS_REALTIME_REFRESH_MIN_INTERVAL_SECONDS="0") as made:
        made.run("eventlink", "simulate", "--users", "300", "--events", "150", "--days", "30")
        made.serve()
        made.serve()
        made.start("eventlink", "worker")
        made.start("eventlink", "worker")
        yield made


@pytest.fixture
def browser() -> Iterator[Browser]:
    """Chromium, as Debian has it; no window.

    Each test has its own, because an event loop runs in the test's thread as long as one is there.
    """
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("Chromium is not installed; on Debian: apt-get install chromium")
    flags = [
        "--no-sandbox",  # which root cannot have
        "--disable-quic",
        "--disable-background-networking",  # it must not ask for anything but our pages
        "--disable-features=LocalNetworkAccessChecks",  # that a site asks this machine is the test
    ]
    with sync_playwright() as driver:
        running = driver.chromium.launch(
            executable_path=program,
            args=flags,
            ignore_default_args=["--disable-back-forward-cache"],  # which people's browsers have
        )
        yield running
        running.close()


@pytest.fixture
def failures() -> list[str]:
    """What failed in the page's scripts; a test that expects it empties the list."""
    return []


@pytest.fixture
def page(browser: Browser, failures: list[str]) -> Iterator[Page]:
    """An empty page of a visitor whom nobody knows."""
    context = browser.new_context(locale="en-GB", viewport={"width": 1280, "height": 900})
    opened = context.new_page()
    opened.set_default_timeout(1000 * PATIENCE)
    opened.on("pageerror", lambda error: failures.append(str(error)))
    opened.on("console", lambda said: failures.extend(_failure(said)))
    yield opened
    context.close()
    assert failures == []


def overflows(page: Page) -> bool:
    """Tell whether a page is wider than its window."""
    wide: bool = page.evaluate(
        "document.documentElement.scrollWidth > document.documentElement.clientWidth"
    )
    return wide


def _failure(said: ConsoleMessage) -> list[str]:
    # A refused request is told there too; what the page makes of it, tests look at.
    refused = "Failed to load resource" in said.text
    return [said.text] if said.type == "error" and not refused else []
