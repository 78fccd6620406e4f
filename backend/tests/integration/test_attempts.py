"""Attempts: only the live one may end or publish a job; the jobs of the dead are taken over."""

from datetime import UTC, datetime

import psycopg
import pytest
from integration.sites import Site

from eventlink.db import attempts
from eventlink.db.attempts import Attempt, RetryLimits
from eventlink.db.jobs import wake_refresh
from eventlink.db.session import transaction
from eventlink.errors import AttemptLostError
from eventlink.services import jobs
from eventlink.services.jobs import MOST_ATTEMPTS, Retrain, rescue_jobs, retry_limits

AT_ONCE = RetryLimits(MOST_ATTEMPTS, backoff=0, longest_backoff=0)
PATIENCE = 30.0


def fetch(site: Site, worker_id: int | None = None) -> Attempt:
    """Do as a worker that fetches a job."""
    if worker_id is None:
        ((worker_id,),) = site.run("SELECT * FROM procrastinate_register_worker_v1()")
    ((job_id, number),) = site.run(
        "SELECT id, attempts FROM procrastinate_fetch_job_v2(NULL, %s)", worker_id
    )
    return Attempt(job_id, worker_id, number)


def enqueue() -> None:
    with transaction() as conn:
        jobs.enqueue_retrain(conn, Retrain())


def begin(site: Site) -> Attempt:
    enqueue()
    return fetch(site)


def silence(site: Site, *worker_ids: int) -> None:
    """Let workers be dead for an hour."""
    site.run(
        "UPDATE procrastinate_workers SET last_heartbeat = now() - interval '1 hour'"
        " WHERE id = ANY(%s)",
        list(worker_ids),
    )


def state(site: Site, job_id: int) -> tuple[str, int]:
    ((status, number),) = site.run(
        "SELECT status::text, attempts FROM procrastinate_jobs WHERE id = %s", job_id
    )
    return status, number


def finish(attempt: Attempt, status: str = "succeeded") -> bool:
    with transaction() as conn:
        return attempts.finish(conn, attempt, status, delete=False)


def requeue(attempt: Attempt) -> str | None:
    with transaction() as conn:
        requeued = attempts.requeue(conn, attempt, AT_ONCE)
    return requeued and requeued.status


def publish(attempt: Attempt) -> None:
    with transaction() as conn:
        attempts.publish(conn, attempt)


def test_an_attempt_that_was_taken_over_changes_nothing(site: Site) -> None:
    lost = begin(site)
    silence(site, lost.worker_id)
    rescue_jobs(PATIENCE, backoff=0)
    live = fetch(site)
    assert (live.job_id, live.number) == (lost.job_id, 1)
    before = site.contents()
    assert not finish(lost)
    assert not finish(lost, "failed")
    assert requeue(lost) is None
    with pytest.raises(AttemptLostError, match="took it over"):
        publish(lost)
    with transaction() as conn, pytest.raises(AttemptLostError):
        attempts.record_progress(conn, lost, "fitting", 0.5)
    with transaction() as conn, pytest.raises(AttemptLostError):
        attempts.end_earlier_sessions(conn, lost)
    assert site.contents() == before
    publish(live)
    assert state(site, live.job_id) == ("succeeded", 2)


def test_the_same_worker_cannot_take_an_earlier_attempt_for_its_later_one(site: Site) -> None:
    lost = begin(site)
    assert requeue(lost) == "todo"
    live = fetch(site, lost.worker_id)
    assert not finish(lost)
    assert finish(live)


def test_publishing_ends_the_job_in_the_same_transaction(site: Site) -> None:
    attempt = begin(site)
    with transaction() as conn:
        attempts.publish(conn, attempt)
        assert state(site, attempt.job_id) == ("doing", 0)
    assert state(site, attempt.job_id) == ("succeeded", 1)
    assert not finish(attempt, "failed")
    with transaction() as conn:
        assert attempts.has_succeeded(conn, attempt)
    with pytest.raises(AttemptLostError):
        publish(attempt)


def test_a_job_to_be_cancelled_is_not_published_and_ends_as_cancelled(site: Site) -> None:
    attempt = begin(site)
    with transaction() as conn:
        jobs.cancel_job(conn, attempt.job_id)
    with pytest.raises(AttemptLostError, match="cancelled"):
        publish(attempt)
    assert finish(attempt, "failed")
    assert state(site, attempt.job_id) == ("aborted", 1)


def test_a_dead_workers_job_is_tried_again_later_and_later_and_then_fails(site: Site) -> None:
    enqueue()
    waits = []
    for number in range(MOST_ATTEMPTS):
        attempt = fetch(site)
        assert attempt.number == number
        silence(site, attempt.worker_id)
        rescue_jobs(PATIENCE, backoff=10)
        waits += [
            round(float(wait))
            for (wait,) in site.run(
                "SELECT extract(epoch FROM scheduled_at - now()) FROM procrastinate_jobs"
                " WHERE status = 'todo'"
            )
        ]
        site.run("UPDATE procrastinate_jobs SET scheduled_at = NULL")
    assert waits == [10, 20, 40, 80]
    assert state(site, attempt.job_id) == ("failed", MOST_ATTEMPTS)
    with transaction() as conn:
        job = jobs.get_job(conn, attempt.job_id)
    assert job.error == "its worker was not heard for 30 seconds"


def test_a_long_series_of_failures_does_not_wait_for_hours(site: Site) -> None:
    attempt = begin(site)
    with transaction() as conn:
        attempts.requeue(conn, attempt, RetryLimits(99, backoff=1e6, longest_backoff=600))
    ((wait,),) = site.run("SELECT extract(epoch FROM scheduled_at - now()) FROM procrastinate_jobs")
    assert 590 < wait <= 600


def test_a_dead_workers_cancelled_job_is_not_tried_again(site: Site) -> None:
    attempt = begin(site)
    with transaction() as conn:
        jobs.cancel_job(conn, attempt.job_id)
    silence(site, attempt.worker_id)
    rescue_jobs(PATIENCE, backoff=0)
    assert state(site, attempt.job_id) == ("aborted", 1)


def test_a_job_whose_worker_signed_off_is_taken_over_and_one_that_lives_is_not(site: Site) -> None:
    attempt = begin(site)
    rescue_jobs(PATIENCE, backoff=0)
    assert state(site, attempt.job_id) == ("doing", 0)
    site.run("SELECT procrastinate_unregister_worker_v1(%s)", attempt.worker_id)
    rescue_jobs(PATIENCE, backoff=0)
    assert state(site, attempt.job_id) == ("todo", 1)


def test_a_heartbeat_brings_a_forgotten_worker_back(site: Site) -> None:
    attempt = begin(site)
    assert finish(attempt)
    silence(site, attempt.worker_id)
    rescue_jobs(PATIENCE, backoff=0)
    assert site.run("SELECT count(*) FROM procrastinate_workers") == [(0,)]
    with transaction() as conn:
        attempts.beat(conn, attempt.worker_id)
    enqueue()
    assert fetch(site, attempt.worker_id).worker_id == attempt.worker_id


def test_one_job_that_cannot_be_rescued_does_not_keep_the_others_from_it(site: Site) -> None:
    first = begin(site)
    with transaction() as conn:
        wake_refresh(conn, datetime.now(UTC))
    second = fetch(site)
    silence(site, first.worker_id, second.worker_id)
    site.run(f"ALTER TABLE procrastinate_jobs ADD CHECK (id <> {first.job_id} OR status <> 'todo')")
    rescue_jobs(PATIENCE, backoff=0)
    assert state(site, first.job_id) == ("doing", 0)
    assert state(site, second.job_id) == ("todo", 1)


def test_a_duplicate_queued_during_the_run_does_not_keep_a_failing_job_running(site: Site) -> None:
    """With both of Procrastinate's locks and a retry, its own way violates a unique index."""
    insert = (
        "INSERT INTO procrastinate_jobs (queue_name, task_name, lock, queueing_lock)"
        " VALUES ('q', 't', 'l', 'l')"
    )
    for give_back in ("requeue", "rescue"):
        site.run("DELETE FROM procrastinate_jobs")
        site.run(insert)
        attempt = fetch(site)
        site.run(insert)
        with pytest.raises(psycopg.errors.UniqueViolation):
            site.run("SELECT procrastinate_retry_job_v2(%s, now(), 0, 'q', 'l')", attempt.job_id)
        if give_back == "requeue":
            assert requeue(attempt) == "todo"
        else:
            silence(site, attempt.worker_id)
            rescue_jobs(PATIENCE, backoff=0)
        for _ in range(2):  # the locked one and the duplicate, one after the other
            assert finish(fetch(site))
    assert site.run("SELECT DISTINCT status::text FROM procrastinate_jobs") == [("succeeded",)]


def test_a_job_that_an_answer_lost_is_given_back(site: Site) -> None:
    held = begin(site)
    with transaction() as conn:
        wake_refresh(conn, datetime.now(UTC))
    lost = fetch(site, held.worker_id)
    with transaction() as conn:
        given = attempts.requeue_lost(conn, held.worker_id, {held.job_id}, retry_limits(0))
    assert [job.job_id for job in given] == [lost.job_id]
    assert state(site, held.job_id) == ("doing", 0)
    assert state(site, lost.job_id) == ("todo", 1)


def test_an_attempt_ends_the_sessions_of_earlier_ones_and_no_others(site: Site) -> None:
    early = begin(site)
    assert requeue(early) == "todo"
    live = fetch(site)
    name = f"eventlink job {early.job_id} attempt "
    others = ["eventlink", f"{name}{live.number}", f"eventlink job {early.job_id}1 attempt 0"]
    with psycopg.connect(site.address, application_name=f"{name}{early.number}") as frozen:
        kept = [psycopg.connect(site.address, application_name=other) for other in others]
        frozen.execute("SELECT pg_advisory_lock(1)")
        with transaction() as conn:
            attempts.end_earlier_sessions(conn, live)
        assert site.run("SELECT pg_try_advisory_lock(1)") == [(True,)]
        with pytest.raises(psycopg.OperationalError):
            frozen.execute("SELECT 1")
        for session in kept:
            session.execute("SELECT 1")
            session.close()
