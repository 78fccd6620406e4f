"""A recompute on machines of a Ray cluster: the same lists, also when one is killed in mid-run."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from integration.machines import family, script, told
from integration.sites import Row, Site, eventually, rank_at

from eventlink.cli import main
from eventlink.db.recommendations import clean_up
from eventlink.services import cluster

pytest.importorskip("ray")
pytestmark = pytest.mark.once
linux = pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="looks for processes")

DRAWING = {"explore_slots": 2}


def lists(site: Site) -> tuple[list[Row], list[Row]]:
    """Return what is stored of everybody, and what was drawn."""
    return site.run(
        "SELECT user_id, event_ids, scores, reason_codes, reason_args FROM recommendation_lists"
        "  JOIN recommendation_serving USING (generation) ORDER BY user_id"
    ), site.run(
        "SELECT user_id, event_id, rank, propensity FROM recommendation_explorations"
        " ORDER BY user_id, rank"
    )


def forget_draws(site: Site) -> None:
    site.run("DELETE FROM recommendation_explorations")


# On machines -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Machines:
    address: str
    raylet: int
    """The process that the second machine hangs on."""


@contextmanager
def two_machines() -> Iterator[Machines]:
    """Two machines whose environment names no database of ours, on loopback alone."""
    elsewhere = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nowhere", **cluster.LOOPBACK}
    with script("serve", **elsewhere) as process:
        yield Machines(**told(process))


@pytest.fixture(scope="module")
def machines() -> Iterator[Machines]:
    """Two machines for whoever kills none."""
    with two_machines() as found:
        yield found


def on(machines: Machines, **arguments: Any) -> Any:
    """Recompute on the machines; to be used as a context."""
    environment = cluster.LOOPBACK if machines.address else {}
    return script("recompute", json.dumps(arguments), RAY_ADDRESS=machines.address, **environment)


def test_machines_make_what_this_one_makes(city: Site, machines: Machines) -> None:
    result = rank_at(**DRAWING)
    expected = lists(city)
    forget_draws(city)
    with on(machines, **DRAWING) as process:
        found = told(process)
        assert process.stderr.read() == ""
    assert found["published"] == result.published
    assert lists(city) == expected
    assert all(expected)
    assert city.serving() == (2, 1)


@contextmanager
def held_up(city: Site, machines: int) -> Iterator[None]:
    """Wait until so many machines are in the midst of a shard, and keep them there."""
    table, writing = "recommendation_lists_g2", "query LIKE 'COPY recommendation_lists_g2 %%'"
    waiting = f"SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND {writing}"
    made = f"SELECT to_regclass('{table}') IS NOT NULL"
    assert eventually(lambda: city.run(made) == [(True,)], 60)
    with psycopg.connect(city.address) as holding:
        holding.execute(f"LOCK TABLE {table} IN SHARE MODE")
        assert eventually(lambda: city.run(waiting) == [(machines,)], 60)
        yield


@linux
def test_a_machine_killed_in_mid_run_changes_nothing(city: Site) -> None:
    rank_at(**DRAWING)
    expected = lists(city)
    forget_draws(city)
    with two_machines() as machines, on(machines, **DRAWING) as process:
        with held_up(city, 2):
            for pid in reversed(family(machines.raylet)):
                os.kill(pid, signal.SIGKILL)
        found = told(process)
        assert "the task will be retried" in process.stderr.read()
    assert found["published"] == len(expected[0])
    assert lists(city) == expected


def test_an_interruption_ends_the_tasks_of_all_machines(city: Site, machines: Machines) -> None:
    rank_at()
    before = lists(city)
    with on(machines) as process:
        with held_up(city, 2):
            process.send_signal(signal.SIGINT)
            assert told(process)["error"] == "KeyboardInterrupt"
            process.wait()
        others = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'COPY rec%%g2 %%'"
        assert eventually(lambda: city.run(others) == [(0,)])
    assert lists(city) == before
    clean_up()
    assert city.generations() == ([1],) * 3


def test_a_machine_with_another_version_is_refused(city: Site, machines: Machines) -> None:
    before = city.contents()
    with on(machines, other_version=True) as process:
        found = told(process)
    assert found["error"] == "ClusterUnreachableError"
    assert "has another Event Link; install the same version" in found["message"]
    assert city.contents() == before


def test_what_goes_wrong_in_a_task_is_an_error_of_ours(city: Site) -> None:
    rank_at()
    before = lists(city)
    with on(Machines("", 0), other_database=True) as process:  # a cluster of this machine alone
        found = told(process)
    assert found["error"] == "DatabaseUnreachableError"
    assert "no connection to postgresql://nobody@127.0.0.1:1/nowhere" in found["message"]
    assert lists(city) == before


# Without a cluster -----------------------------------------------------------------------------


def fails(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as ended:
        main(["recompute", "--engine", *arguments])
    [line] = capsys.readouterr().err.splitlines()
    return int(ended.value.code or 0), line


@pytest.mark.usefixtures("city")
def test_an_address_that_nobody_answers_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        free = server.getsockname()[1]
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{free}")
    code, line = fails(capsys, "ray")
    assert code == 21
    assert re.match(
        rf"eventlink: error: no Ray cluster answers at RAY_ADDRESS 127.0.0.1:{free}: ", line
    )


@pytest.mark.usefixtures("city")
@pytest.mark.parametrize("address", ["ray://head:10001", "head", "head:", "127.0.0.1:99999999"])
def test_what_is_no_address_is_one_line(
    address: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    code, line = fails(capsys, "ray")
    assert code == 21
    assert address in line


@pytest.mark.usefixtures("city")
def test_without_ray_it_is_said_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cluster, "find_spec", lambda _: None)
    assert fails(capsys, "ray") == (
        2,
        "eventlink: error: --engine ray needs Ray: pip install 'eventlink[ray]'",
    )


@pytest.mark.usefixtures("city")
def test_an_unknown_engine_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    code, line = fails(capsys, "spark")
    assert code == 2
    assert "'local', 'ray'" in line


def test_ray_is_not_imported_unless_it_is_asked_for(city: Site) -> None:
    code = (
        "import sys; from integration.sites import rank_at; rank_at();"
        "sys.exit('ray' in sys.modules)"
    )
    del city
    environment = {**os.environ, "PYTHONPATH": ":".join(map(str, Path(__file__).parents[1:3]))}
    assert (
        subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0
    )
