"""A Ray cluster of two machines that are both this one, and a recompute on it; run as a script.

Ray's threads and warnings stay in these processes. What does not live here: the tests.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

QUICKLY = {"health_check_period_ms": 500, "health_check_failure_threshold": 4}
"""A machine that is gone is noticed in two seconds; usually it takes longer."""


def serve() -> None:
    """Start the machines, tell what is to be known of them, and stop them when stdin is closed."""
    from ray.cluster_utils import Cluster  # noqa: PLC0415 (the environment must be set before)

    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 1, "include_dashboard": False, "_system_config": QUICKLY},
    )
    second = cluster.add_node(num_cpus=1, include_log_monitor=False)
    [raylet] = second.all_processes["raylet"]
    tell({"address": cluster.address, "raylet": raylet.process.pid})
    sys.stdin.read()
    cluster.shutdown()


def recompute(arguments: str) -> None:
    """Recompute in shards of few users, and tell the result or the error."""
    from integration.sites import rank_at  # noqa: PLC0415 (the parent needs nothing of it)

    from eventlink.errors import EventLinkError  # noqa: PLC0415
    from eventlink.services import cluster, shards  # noqa: PLC0415
    from eventlink.services.publishing import Engine  # noqa: PLC0415

    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have it ignored
    shards.USERS_A_BLOCK = 8
    given = json.loads(arguments)
    if given.pop("other_version", False):
        cluster.fingerprint = lambda: "other"
    if given.pop("other_database", False):
        shards.libpq_url = lambda: "postgresql://nobody@127.0.0.1:1/nowhere"
    try:
        found = rank_at(engine=Engine.RAY, **given).to_json()
    except (EventLinkError, KeyboardInterrupt) as error:
        found = {"error": type(error).__name__, "message": str(error)}
    tell(found)


def tell(found: dict[str, Any]) -> None:
    print(json.dumps(found), flush=True)  # noqa: T201 (read by the test)


@contextmanager
def script(*arguments: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """Run this file beside the test, and end it."""
    folder = Path(__file__).parents[1]
    with subprocess.Popen(
        [sys.executable, __file__, *arguments],
        env={
            **os.environ,
            "PYTHONPATH": f"{folder}:{folder.parent}",
            "RAY_USAGE_STATS_ENABLED": "0",
        }
        | environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.stdin.close()  # type: ignore[union-attr]
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


def family(pid: int) -> list[int]:
    """Return a process and all its descendants."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    except OSError:
        return []
    return [pid, *(one for child in children for one in family(int(child)))]


def told(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Return what a script prints next."""
    assert process.stdout is not None
    assert process.stderr is not None
    line = process.stdout.readline()
    assert line, process.stderr.read()
    found: dict[str, Any] = json.loads(line)
    return found


if __name__ == "__main__":
    serve() if sys.argv[1] == "serve" else recompute(sys.argv[2])
