"""Rank everybody on this machine's processes and on a Ray cluster of two machines that are both it.

    python backend/benchmarks/cluster.py [USERS×EVENTS]

Each of the two has one CPU. What is compared is the time from the first user to what is published,
without what it takes to connect to Ray before and to leave it after. Runs take turns, each in a
process of its own; nothing is trained, and the lists of all runs must be equal.

What does not live here: the database of a size (``recompute``).
"""

import hashlib
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import ray
import recompute as sizes
from ray.cluster_utils import Cluster

from eventlink.config import PROJECT_ROOT
from eventlink.db.embedded import embedded_url
from eventlink.db.session import libpq_url
from eventlink.services.cluster import LOOPBACK, QUIET
from eventlink.services.publishing import Engine
from eventlink.services.recompute import Request, recompute

SIZE = "200000×5000"
ROUNDS = 2
CPUS = 2

LISTS = """
SELECT user_id, event_ids::text, scores::text, reason_codes::text, reason_args::text
  FROM recommendation_lists JOIN recommendation_serving USING (generation) ORDER BY user_id
"""


def main() -> None:
    """Run both engines by turns, and print what they took."""
    size = sys.argv[1] if sys.argv[1:] else SIZE
    os.environ.pop("DATABASE_URL", None)
    os.environ.setdefault("EVENTLINK_DATA_DIR", str(PROJECT_ROOT / ".eventlink" / "bench"))
    os.environ.update(QUIET | LOOPBACK)
    server = embedded_url(Path(os.environ["EVENTLINK_DATA_DIR"]))
    url = sizes._database(server, size)  # noqa: SLF001 (a script like this one)
    memory = {"object_store_memory": 2 * 1024**3}
    machines = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, **memory})
    machines.add_node(num_cpus=1, **memory)
    os.environ["RAY_ADDRESS"] = machines.address
    took: dict[str, list[float]] = {engine: [] for engine in Engine}
    digests = set()
    for number in range(ROUNDS):
        for engine in list(Engine)[:: 1 if number % 2 else -1]:
            found = _run(engine, url)
            digests.add(_digest(url))
            took[engine].append(found["seconds"])
            told = " ".join(f"{name} {value:.1f}" for name, value in found.items())
            print(f"{engine:5} {told}", flush=True)
    machines.shutdown()
    assert len(digests) == 1, "the engines differ"  # noqa: S101 (a script's last word)
    local, shared = (statistics.median(took[engine]) for engine in (Engine.LOCAL, Engine.RAY))
    users = int(size.partition("×")[0])
    print(f"{size}: local {local:.1f} s, ray {shared:.1f} s, ratio {shared / local:.3f}")
    print(f"{users / shared / CPUS:.0f} users a second and core on the cluster")


def _run(engine: str, url: str) -> dict[str, float]:
    printed = subprocess.check_output(  # noqa: S603 (this very file)
        [sys.executable, __file__, "--one", engine],
        env={**os.environ, "DATABASE_URL": url},
        text=True,
    )
    found: dict[str, float] = json.loads(printed.splitlines()[-1])
    return found


def one(engine: str) -> dict[str, float]:
    """Rank and publish everybody once; tell the time, and how much a user takes in the table."""
    begun = ended = left = 0.0
    leave = ray.shutdown

    def leave_and_time() -> None:
        nonlocal left
        begin = time.perf_counter()
        leave()
        left = time.perf_counter() - begin

    ray.shutdown = leave_and_time

    def watch(phase: str, done: float) -> None:
        nonlocal begun, ended
        if phase == "ranking users" and done == 0:
            begun = time.perf_counter()
        ended = time.perf_counter()

    request = Request(
        now=sizes.NOW, as_of=sizes.NOW, skip_training=True, folds=0, engine=Engine(engine)
    )
    users = recompute(request, watch).published
    with psycopg.connect(libpq_url()) as conn:
        row = conn.execute(
            "SELECT pg_total_relation_size('recommendation_lists_g' || generation)"
            "  FROM recommendation_serving"
        ).fetchone()
    size = row[0] if row else 0
    return {"seconds": ended - begun - left, "users": users, "bytes a user": size / users}


def _digest(url: str) -> str:
    """Return a hash of everybody's lists."""
    digest = hashlib.sha256()
    with psycopg.connect(url) as conn, conn.cursor("lists") as cursor:
        for row in cursor.execute(LISTS):
            digest.update(repr(row).encode())
    return digest.hexdigest()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(one(sys.argv[2])))
    else:
        main()
