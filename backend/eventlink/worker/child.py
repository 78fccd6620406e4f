"""The child process that trains: reads its order from stdin, writes progress and outcome to stdout.

What does not live here: the recompute itself (``services.recompute``).
"""

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import structlog

from eventlink.config import settings
from eventlink.db.attempts import Attempt, end_earlier_sessions, name_sessions, publish
from eventlink.db.refusals import in_a_line
from eventlink.db.session import server_time, transaction
from eventlink.errors import EventLinkError
from eventlink.logs import configure_logs
from eventlink.recsys.progress import Report
from eventlink.services.jobs import Retrain
from eventlink.services.recompute import Request, recompute
from eventlink.worker.timing import PROGRESS_EVERY

log = structlog.get_logger()

CRASHED = 1


def main() -> int:
    """Do as ordered and return the exit code: 0, or an error's own."""
    tell = _line_to_parent()
    order = json.loads(sys.stdin.readline())
    threading.Thread(target=_die_with_parent, daemon=True).start()
    configure_logs(settings().log_format, settings().log_level, service=True)
    attempt = Attempt(**order["attempt"])
    structlog.contextvars.bind_contextvars(job_id=attempt.job_id, attempt=attempt.number + 1)
    try:
        result = train(attempt, order["payload"], reporting(tell))
    except EventLinkError as error:
        tell({"error": in_a_line(error)})
        return error.exit_code
    except Exception as error:
        log.exception("the training failed")
        tell({"error": in_a_line(error)})
        return CRASHED
    tell({"result": result})
    return 0


def train(attempt: Attempt, payload: dict[str, Any], report: Report) -> dict[str, Any]:
    """Recompute for an attempt at a job, which ends as succeeded the moment it publishes.

    Args:
        attempt: The live one.
        payload: Of the job.
        report: Told of the progress.

    Returns:
        The recompute's result as JSON, for the log: what is empty is left out, and so are the
        metrics, which are stored with the model.

    Raises:
        EventLinkError: One of its kinds; nothing is then published.
    """
    retrain = Retrain.from_payload(payload)
    name_sessions(attempt)
    with transaction() as conn:
        end_earlier_sessions(conn, attempt)
        now = server_time(conn)
    request = Request(
        now=now,
        as_of=now,
        options=retrain.options,
        skip_training=retrain.skip_training,
        folds=retrain.folds,
        activate=retrain.activate,
    )
    result = recompute(request, report, fence=partial(publish, attempt=attempt))
    told = replace(result, metrics={}).to_json()
    return {name: value for name, value in told.items() if value not in (None, "", {})}


def reporting(tell: Callable[[dict[str, Any]], None]) -> Report:
    """Return a report that passes on every phase, and in a phase not every step."""
    told: tuple[str | None, float] = (None, 0.0)

    def report(phase: str, done: float) -> None:
        nonlocal told
        now = time.monotonic()
        if phase != told[0] or now - told[1] >= PROGRESS_EVERY:
            told = (phase, now)
            tell({"phase": phase, "done": done})

    return report


def _line_to_parent() -> Callable[[dict[str, Any]], None]:
    """Keep stdout for our own lines; what libraries print goes to stderr."""
    line = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def tell(message: dict[str, Any]) -> None:
        line.write(json.dumps(message) + "\n")

    return tell


def _die_with_parent() -> None:
    """Wait for the end of stdin, which the parent keeps open, however it ends."""
    # Not sys.stdin.read, whose lock a forked process would inherit taken.
    os.read(sys.stdin.fileno(), 1)
    os._exit(CRASHED)


if __name__ == "__main__":
    sys.exit(main())
