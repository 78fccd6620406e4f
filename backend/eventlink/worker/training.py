"""Training in a process of its own: started fresh, told what to do, listened to, killed.

What does not live here: what that process does (``child``), and what its end means for the job
(``handlers``).

Training is hours of one core's arithmetic in the worst case: on the worker's event loop it would
stop the heartbeats. And a process can be cancelled at any instant.
"""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from typing import Any, TypeAlias

from eventlink import errors
from eventlink.db.attempts import Attempt
from eventlink.db.session import database_url

COMMAND = (sys.executable, "-m", "eventlink.worker.child")

OnProgress: TypeAlias = Callable[[str, float], Awaitable[None]]

HOPELESS = (
    errors.InvalidOptionError,
    errors.NoUsersError,
    errors.NoEventsError,
    errors.NoPositivesError,
    errors.UnknownUserError,
    errors.ModelMismatchError,
    errors.ModelVersionTakenError,
)
"""What trying again does not mend."""


class TrainingError(Exception):
    """A training ended without a result.

    Args:
        message: Why.
        hopeless: Whether another attempt would end the same.
    """

    def __init__(self, message: str, *, hopeless: bool = False) -> None:
        super().__init__(message)
        self.hopeless = hopeless


async def train(
    attempt: Attempt,
    payload: dict[str, Any],
    on_progress: OnProgress,
    command: tuple[str, ...] = COMMAND,
) -> dict[str, Any]:
    """Run a recompute in a child process, which does not outlive this call or this process.

    Args:
        attempt: For whom.
        payload: Of the job.
        on_progress: Awaited with a phase and the share of it that is done; if it raises, the
            child is killed.
        command: What to start.

    Returns:
        The recompute's result, as ``child.train`` tells it.

    Raises:
        TrainingError: It ended without a result.
        AttemptLostError: It may not publish any more.
    """
    said: dict[str, Any] = {}
    async with _child(command) as process:
        assert process.stdin is not None  # noqa: S101 (a pipe was asked for)
        assert process.stdout is not None  # noqa: S101 (a pipe was asked for)
        order = {"attempt": asdict(attempt), "payload": payload}
        # Kept open: that it closes tells the child that we are gone.
        process.stdin.write(json.dumps(order).encode() + b"\n")
        async for line in process.stdout:
            said = json.loads(line)
            if "phase" in said:
                await on_progress(said["phase"], said["done"])
        code = await process.wait()
    if "result" in said and code == 0:
        result: dict[str, Any] = said["result"]
        return result
    raise _error(code, said.get("error"))


@asynccontextmanager
async def _child(command: tuple[str, ...]) -> AsyncIterator[Process]:
    """Start a process, and kill it with all of its own when the block is left."""
    # A session of its own, so that Ctrl-C reaches only the worker, which decides. And our address,
    # so that it never starts an embedded server.
    environment = {**os.environ, "DATABASE_URL": database_url()}
    process = await asyncio.create_subprocess_exec(
        *command, stdin=PIPE, stdout=PIPE, start_new_session=True, env=environment
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


def _error(code: int, message: str | None) -> Exception:
    if code == errors.AttemptLostError.exit_code:
        return errors.AttemptLostError(message)
    if code < 0:
        return TrainingError(
            f"the training was killed (signal {-code}), most likely because memory ran out"
        )
    hopeless = code in {kind.exit_code for kind in HOPELESS}
    return TrainingError(
        message or f"the training ended with code {code}; see the worker's log", hopeless=hopeless
    )
