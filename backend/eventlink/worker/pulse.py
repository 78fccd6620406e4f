"""The pulse of a worker: a file that its event loop touches as long as it turns, for probes.

What does not live here: heartbeats, by which workers know of each other (``queue``). A worker that
cannot reach the database has a pulse all the same: restarting it would mend nothing.
"""

import asyncio
from pathlib import Path

from eventlink.errors import InvalidOptionError, WorkerSilentError


def touch(path: Path) -> None:
    """Touch the file.

    Raises:
        InvalidOptionError: It cannot be written.
    """
    if path.is_dir():
        raise InvalidOptionError(f"--pulse {path} is a folder; name a file")
    try:
        path.touch()
    except OSError as error:
        raise InvalidOptionError(
            f"--pulse {path} cannot be written: {error.strerror or error}; name another file"
        ) from error


async def beat(path: Path, seconds: float) -> None:
    """Touch the file for ever.

    Args:
        path: The file.
        seconds: From one touch to the next.
    """
    while True:
        touch(path)
        await asyncio.sleep(seconds)


def require_pulse(path: Path, patience: float, now: float) -> None:
    """Check that a file was touched not long ago.

    Args:
        path: The file.
        patience: Seconds after which that is too long.
        now: Seconds since 1970.

    Raises:
        WorkerSilentError: It was not, or there is none.
    """
    if path.is_dir():  # what is put into it would be taken for a pulse
        raise WorkerSilentError(f"{path} is a folder; name the file of the worker's --pulse")
    try:
        age = now - path.stat().st_mtime
    except OSError as error:
        raise WorkerSilentError(
            f"{path} cannot be read ({error.strerror}); start the worker with --pulse {path}"
        ) from error
    if age > patience:
        raise WorkerSilentError(
            f"the worker has not touched {path} for {age:.0f} seconds, which is longer than"
            f" {patience:g}; start it again"
        )
