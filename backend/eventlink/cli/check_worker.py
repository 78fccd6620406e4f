"""``eventlink check-worker``."""

import time
from pathlib import Path
from typing import Annotated

import typer

from eventlink.config import settings
from eventlink.worker.pulse import require_pulse
from eventlink.worker.timing import Timing


def check_worker(
    pulse: Annotated[Path, typer.Argument(metavar="FILE", help="The --pulse of the worker.")],
) -> None:
    """Tell whether this machine's worker is alive.

    It is if its event loop touched the file within three heartbeats. The
    database is not asked.
    """
    require_pulse(pulse, Timing(settings().worker_heartbeat_seconds).patience, time.time())
    typer.echo("alive")
