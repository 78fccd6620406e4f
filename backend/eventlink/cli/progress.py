"""Progress of a long command: bars on a terminal, elsewhere a log line now and then."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

import structlog
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from eventlink.recsys.progress import Report

log = structlog.get_logger()

LINE_EVERY = 5.0
"""Seconds after which a phase that goes on is told again where there are no bars."""


@contextmanager
def progress() -> Iterator[Report]:
    """Show progress on stderr while the block runs.

    Yields:
        A function to call with a phase's name and the share of it that is done (0 to 1).
    """
    if not sys.stderr.isatty():
        yield _lines()
        return
    columns = (
        TextColumn("{task.description:<28}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bars:
        tasks: dict[str, TaskID] = {}

        def show(phase: str, done: float) -> None:
            if phase not in tasks:
                tasks[phase] = bars.add_task(phase, total=1.0)
            bars.update(tasks[phase], completed=done)

        yield show


def _lines() -> Report:
    told: dict[str, float] = {}

    def show(phase: str, done: float) -> None:
        now = monotonic()
        if phase not in told:
            log.info(phase)
        elif done < 1 and now - told[phase] >= LINE_EVERY:
            log.info(phase, done=round(float(done), 2))
        else:
            return
        told[phase] = now

    return show
