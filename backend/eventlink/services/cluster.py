"""The cluster: shards of users as Ray tasks on many machines.

What does not live here: what is done for a shard (``services.shards``), and publishing, which only
whoever asked for the recompute does. Ray is an optional extra, known to no other module, and
imported when it is asked for.

A task whose machine is killed runs again on another one. A shard that it had written is not written
twice, see ``db.recommendations.fill_shard``.
"""

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from functools import cache
from hashlib import sha256
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

import eventlink
from eventlink.db.explorations import Explored
from eventlink.errors import (
    ClusterUnreachableError,
    EventLinkError,
    InvalidOptionError,
    WorkerKilledError,
)
from eventlink.recsys.progress import Report
from eventlink.services.shards import Shard, Work, make

MOST_RETRIES = 10
"""Of a shard whose machine or process was killed. One that fails by itself is not tried again."""
PATIENCE = 5.0
"""Seconds to wait for an address to answer; Ray would wait for minutes."""

# Read by Ray when it is imported or started. Nothing is told to anybody, little to the log.
QUIET = {"RAY_USAGE_STATS_ENABLED": "0"}
LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
"""Ray listens on every interface but where it knows of no clusters: Windows, macOS, or this."""


def require_cluster() -> None:
    """Check early what would otherwise fail after the training.

    Raises:
        InvalidOptionError: Ray is not installed.
        ClusterUnreachableError: Nobody answers at ``RAY_ADDRESS``, or it is not an address.
    """
    if find_spec("ray") is None:
        raise InvalidOptionError("--engine ray needs Ray: pip install 'eventlink[ray]'")
    address = os.environ.get("RAY_ADDRESS", "")
    if address in {"", "auto", "local"}:
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or "/" in host:
        raise ClusterUnreachableError(
            f"RAY_ADDRESS cannot be {address!r}; write host:port of the cluster's head, and run"
            " this on a machine of the cluster; or leave it out to use this machine alone"
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), PATIENCE).close()
    except (OSError, OverflowError) as error:
        raise ClusterUnreachableError(
            f"no Ray cluster answers at RAY_ADDRESS {address}: {error}; start it or correct the"
            " address"
        ) from error


class Cluster:
    """A Ray cluster that this process is connected to.

    Args:
        ray: The module.
    """

    def __init__(self, ray: Any) -> None:
        self._ray = ray
        self.nodes = [n for n in ray.nodes() if n["Alive"] and n["Resources"].get("CPU", 0) >= 1]

    @property
    def cpus(self) -> int:
        """How many shards are made at a time."""
        return max(int(sum(node["Resources"]["CPU"] for node in self.nodes)), 1)

    def require_same_version(self) -> None:
        """Check that every machine has this very code.

        Raises:
            ClusterUnreachableError: One does not, or there is none.
        """

        def found() -> str | None:  # travels as code, for a machine may lack the package
            try:
                from eventlink.services.cluster import fingerprint as own  # noqa: PLC0415
            except ImportError:
                return None
            return own()

        if not self.nodes:
            raise ClusterUnreachableError(
                "the Ray cluster has no machine with a CPU to offer; add one, and run again"
            )
        on_node = import_module("ray.util.scheduling_strategies").NodeAffinitySchedulingStrategy
        task = self._ray.remote(num_cpus=0)(found)
        asked = [
            task.options(scheduling_strategy=on_node(node["NodeID"], soft=False)).remote()
            for node in self.nodes
        ]
        for node, answer in zip(self.nodes, asked, strict=True):
            try:
                its = self._ray.get(answer)
            except self._ray.exceptions.RayTaskError:
                its = None
            except self._ray.exceptions.RayError:
                continue  # died meanwhile; it will be given nothing to do
            if its != fingerprint():
                has = "another Event Link" if its else "no Event Link"
                raise ClusterUnreachableError(
                    f"the machine {node['NodeManagerHostname']} of the Ray cluster has {has};"
                    " install the same version on all machines, and restart the cluster"
                )

    def make(self, work: Work, shards: list[Shard], report: Report) -> list[Explored]:
        """Make all shards, each somewhere.

        Where this ends early, by Ctrl-C or an error, leaving the cluster ends all tasks; Ray's
        ``cancel`` may crash this process if a task ends at the same time.

        Args:
            work: What they share; sent once to each machine.
            shards: All of them.
            report: Told of the progress.

        Returns:
            What was drawn, in the order of the shards.

        Raises:
            WorkerKilledError: A shard was lost with its machine again and again.
            EventLinkError: What a task raised.
        """
        shared = self._ray.put(work)
        task = self._ray.remote(num_cpus=1, max_retries=MOST_RETRIES)(_make)
        numbers = {task.remote(shared, shard): shard.number for shard in shards}
        drawn: dict[int, list[Explored]] = {}
        users, done = sum(len(shard.users) for shard in shards), 0
        waiting = list(numbers)
        with _translated(self._ray):
            while waiting:
                [ready], waiting = self._ray.wait(waiting)
                number = numbers[ready]
                drawn[number] = self._ray.get(ready)
                done += len(shards[number].users)
                report("ranking users", done / users)
        return [part for number in sorted(drawn) for part in drawn[number]]


@contextmanager
def cluster() -> Iterator[Cluster]:
    """Connect to the cluster of ``RAY_ADDRESS``; where that is not set, make one of this machine.

    Yields:
        The cluster, whose machines all have this version.

    Raises:
        ClusterUnreachableError: There is none, or it is of another version.
    """
    require_cluster()
    address = os.environ.get("RAY_ADDRESS") or "local"
    os.environ.update(QUIET | (LOOPBACK if address == "local" else {}))
    ray: Any = import_module("ray")
    alone = {"include_dashboard": False} if address == "local" else {}
    try:
        ray.init(address, log_to_driver=False, logging_level="error", **alone)
    except (RuntimeError, ConnectionError, ValueError) as error:
        raise ClusterUnreachableError(
            f"no Ray cluster at {address}: {' '.join(str(error).split())}"
        ) from error
    try:
        # Ray tells on stdout of tasks that it runs again, and stdout is the report's.
        with redirect_stdout(sys.stderr):
            connected = Cluster(ray)
            connected.require_same_version()
            yield connected
    finally:
        ray.shutdown()


@cache
def fingerprint() -> str:
    """Return a hash of this package's source: equal where the code is."""
    folder = Path(eventlink.__file__).parent
    code = sha256()
    for path in sorted(folder.rglob("*.py")):
        code.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes())
    return code.hexdigest()


def _make(work: Work, shard: Shard) -> list[Explored]:
    """Make a shard; what a task runs."""
    threadpool_limits(1)  # a task a core; libraries' own threads would only fight over them
    return make(work, shard)


@contextmanager
def _translated(ray: Any) -> Iterator[None]:
    try:
        yield
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, EventLinkError):
            raise error.cause from None
        raise
    except ray.exceptions.RayError as error:
        raise WorkerKilledError(
            f"a machine of the Ray cluster was lost again and again ({type(error).__name__});"
            " nothing was published; give the machines more memory, or add some"
        ) from error
