"""Workers to kill: processes of their own, with stand-ins for what takes long or must fail.

What does not live here: the tests (``test_worker``).
"""

import asyncio
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from multiprocessing.process import BaseProcess
from pathlib import Path

from sqlalchemy import text

from eventlink.db.session import engine, transaction
from eventlink.logs import configure_logs
from eventlink.worker.handlers import Recompute, Refresh
from eventlink.worker.run import Schedules, run
from eventlink.worker.timing import Timing
from eventlink.worker.training import COMMAND

TIMING = Timing(heartbeat=0.3)

SLOW = (sys.executable, "-c", "import time; time.sleep(60)")
FAILING = (sys.executable, "-c", "import sys; sys.exit(1)")
INSTANT = (sys.executable, "-c", """if True: print('{"result": {}}')""")


class Drain:
    """Stands in for the re-ranking: takes its time over a user, and obeys the sequence number.

    Args:
        seconds: What a user takes.
    """

    def __init__(self, seconds: float = 0.0) -> None:
        self._seconds = seconds

    def catch_up(self, _now: datetime) -> bool:
        return False

    def refresh_due(self, now: datetime) -> int:
        with transaction() as conn:
            due = conn.execute(
                text(
                    "SELECT user_id, sequence FROM recommendation_refreshes WHERE due_at <= :now"
                    " ORDER BY due_at LIMIT 1 FOR UPDATE SKIP LOCKED"
                ),
                {"now": now},
            ).one_or_none()
        if due is None:
            return 0
        time.sleep(self._seconds)
        with transaction() as conn:
            done = text(
                "UPDATE recommendation_refreshes SET refreshed_at = :now, attempts = attempts + 1,"
                "       due_at = CASE WHEN sequence = :sequence THEN NULL ELSE due_at END"
                " WHERE user_id = :user_id"
            )
            conn.execute(done, {"now": now, **due._mapping})
        return 1


@dataclass(frozen=True)
class WorkerProcess:
    """A worker, its log, and its training child."""

    process: BaseProcess
    log: Path

    def signal(self, number: int, *, with_child: bool = False) -> None:
        for child in self.children() if with_child else []:
            os.killpg(child, number)
        assert self.process.pid is not None
        os.kill(self.process.pid, number)

    def kill(self) -> None:
        self.process.kill()
        self.process.join()

    def stop(self, number: int) -> int | None:
        """Send a signal and return the exit code."""
        self.signal(number)
        self.process.join()
        return self.process.exitcode

    def children(self) -> list[int]:
        """Return the processes that the worker started, each the leader of its group."""
        tasks = Path(f"/proc/{self.process.pid}/task")
        return [int(c) for task in tasks.iterdir() for c in (task / "children").read_text().split()]

    @property
    def pulse(self) -> Path:
        """The file that it touches."""
        return self.log.with_suffix(".pulse")

    def tells(self, words: str) -> bool:
        return words in self.log.read_text()


Start = Callable[..., WorkerProcess]


@contextmanager
def workers(folder: Path) -> Iterator[Start]:
    """Start workers, and kill what is left of them at the end."""
    started: list[WorkerProcess] = []

    def start(training: tuple[str, ...] = COMMAND) -> WorkerProcess:
        log = folder / f"worker{len(started)}.log"
        process = multiprocessing.get_context("fork").Process(target=_work, args=(training, log))
        process.start()
        started.append(WorkerProcess(process, log))
        return started[-1]

    try:
        yield start
    finally:
        for worker in started:
            if worker.process.is_alive():
                worker.signal(signal.SIGCONT, with_child=True)
                worker.kill()


def _work(training: tuple[str, ...], log: Path) -> None:
    """Be a worker; what a forked process does, which must not use this process's connections."""
    engine().dispose(close=False)
    sys.stderr = log.open("w", buffering=1)
    os.dup2(sys.stderr.fileno(), 2)
    configure_logs("json", "info", service=True)
    refresh = Refresh(lambda _: Drain())
    asyncio.run(run(refresh, Recompute(training), TIMING, Schedules(), log.with_suffix(".pulse")))
