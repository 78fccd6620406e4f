"""The queue as its users see it: one recompute at a time, wakes, lists, retries, cancelling."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from integration.sites import Site

from eventlink.config import settings
from eventlink.db.jobs import RECOMPUTE, REFRESH, WAKE_REFRESH, Enqueued, wake_refresh
from eventlink.db.session import connection, transaction
from eventlink.errors import ConflictError, InvalidOptionError, NotFoundError
from eventlink.recsys.options import Activate, TrainOptions
from eventlink.services import jobs
from eventlink.services.jobs import Retrain

SECOND = timedelta(seconds=1)


def enqueue(retrain: Retrain | None = None) -> Enqueued:
    with transaction() as conn:
        return jobs.enqueue_retrain(conn, retrain or Retrain())


def start(site: Site) -> tuple[int, int]:
    """Do as a worker that fetches a job, and return the ids of job and worker."""
    ((worker_id,),) = site.run("SELECT * FROM procrastinate_register_worker_v1()")
    ((job_id,),) = site.run("SELECT id FROM procrastinate_fetch_job_v2(NULL, %s)", worker_id)
    return job_id, worker_id


def wake(due_at: datetime) -> None:
    with transaction() as conn:
        wake_refresh(conn, due_at)


def waiting(site: Site) -> list[Any]:
    return [
        at
        for (at,) in site.run(
            "SELECT scheduled_at FROM procrastinate_jobs WHERE status = 'todo' ORDER BY 1 NULLS FIRST"
        )
    ]


# Enqueueing ----------------------------------------------------------------------------------


def test_of_two_hundred_concurrent_calls_one_queues_a_job(site: Site) -> None:
    with ThreadPoolExecutor(15) as pool:
        made = list(pool.map(lambda _: enqueue(), range(200)))
    assert sum(one.created for one in made) == 1
    assert len({one.job_id for one in made}) == 1
    assert site.run("SELECT count(*) FROM procrastinate_jobs") == [(1,)]


def test_while_a_recompute_runs_none_is_queued_and_afterwards_one_is(site: Site) -> None:
    first = enqueue()
    assert start(site)[0] == first.job_id
    with ThreadPoolExecutor(10) as pool:
        made = list(pool.map(lambda _: enqueue(), range(50)))
    assert set(made) == {Enqueued(first.job_id, created=False)}
    site.run("SELECT procrastinate_finish_job_v1(%s, 'succeeded', false)", first.job_id)
    assert enqueue().created


def test_a_rolled_back_transaction_leaves_no_job(site: Site) -> None:
    with connection() as conn:
        conn.begin()
        assert jobs.enqueue_retrain(conn, Retrain()).created
        conn.rollback()
    assert site.run("SELECT count(*) FROM procrastinate_jobs") == [(0,)]
    assert enqueue().created


@pytest.mark.parametrize("ending", ["commit", "rollback"])
def test_a_call_waits_for_what_becomes_of_another_ones_transaction(site: Site, ending: str) -> None:
    second: list[Enqueued] = []
    with connection() as conn:
        conn.begin()
        first = jobs.enqueue_retrain(conn, Retrain())
        other = threading.Thread(target=lambda: second.append(enqueue()))
        other.start()
        time.sleep(0.1)
        assert not second
        getattr(conn, ending)()
    other.join()
    assert second[0].created is (ending == "rollback")
    assert (second[0].job_id == first.job_id) is (ending == "commit")
    assert len(waiting(site)) == 1


def test_a_payload_tells_the_job_what_was_asked_for() -> None:
    asked = Retrain(
        TrainOptions(top_n=7, lr=0.1), skip_training=True, folds=0, activate=Activate.NEVER
    )
    assert Retrain.from_payload(asked.to_payload()) == asked
    assert Retrain.from_payload({}) == Retrain()


def test_what_a_payload_leaves_out_is_as_the_site_has_set_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    of_site = {
        "top_n": 20,
        "head": 8,
        "per_organizer": 2,
        "collapse_series": True,
        "demote_overlaps": True,
        "explore_slots": 1,
        "seat_strength": 0.5,
    }
    with monkeypatch.context() as patch:
        for name, value in of_site.items():
            patch.setenv(f"RECOMMENDATIONS_{name.upper()}", str(value))
        settings.cache_clear()
        assert Retrain.from_payload({}).options == TrainOptions(**of_site)
        asked = Retrain.from_payload({"options": {"top_n": 9}, "skip_training": True})
    settings.cache_clear()
    assert asked.options == TrainOptions(**of_site | {"top_n": 9})


@pytest.mark.parametrize(
    "payload",
    [
        {"unheard_of": 1},
        {"options": {"unheard_of": 1}},
        {"options": {"top_n": 0}},
        {"activate": "perhaps"},
        {"folds": -1},
    ],
)
def test_a_payload_of_another_version_is_an_error(payload: dict[str, Any]) -> None:
    with pytest.raises(InvalidOptionError):
        Retrain.from_payload(payload)


# Waking --------------------------------------------------------------------------------------


def test_wakes_share_a_job_until_it_runs(site: Site) -> None:
    now = datetime.now(UTC)
    for late in range(3):
        wake(now - late * SECOND)
    assert waiting(site) == [None]
    start(site)
    assert waiting(site) == []
    wake(now)
    assert waiting(site) == [None]


def test_a_later_wake_starts_when_all_of_its_second_are_due(site: Site) -> None:
    second = (datetime.now(UTC) + timedelta(minutes=1)).replace(microsecond=0)
    for share in (0.9, 0.1, 0.5):
        wake(second + share * SECOND)
    wake(second + 1.2 * SECOND)
    assert waiting(site) == [second + SECOND, second + 2 * SECOND]


async def _wake_often(address: str) -> None:
    async with await psycopg.AsyncConnection.connect(address, autocommit=True) as conn:
        for _ in range(2):
            await conn.execute(WAKE_REFRESH, {"due_at": datetime.now(UTC)})


def test_the_web_wakes_from_its_own_connections(site: Site) -> None:
    asyncio.run(_wake_often(site.address))
    assert site.run("SELECT task_name, queue_name FROM procrastinate_jobs") == [
        (REFRESH, "refresh")
    ]


def test_the_sweep_wakes_for_late_marks_that_nobody_works_on(site: Site) -> None:
    now = datetime.now(UTC)
    site.users(1, 2, 3)
    late, soon = now - 3 * SECOND, now - 0.1 * SECOND
    mark = {"sequence": 1, "due_at": late, "claimed_until": now + 9 * SECOND}
    site.add("recommendation_refreshes", {"user_id": 1, **mark})
    site.add("recommendation_refreshes", {"user_id": 2, "sequence": 1, "due_at": soon})
    jobs.sweep()
    assert waiting(site) == []
    site.add("recommendation_refreshes", {"user_id": 3, **mark, "claimed_until": late})
    jobs.sweep()
    jobs.sweep()
    assert waiting(site) == [None]


# Looking, trying again, cancelling -----------------------------------------------------------


def test_jobs_are_listed_newest_first_with_what_became_of_them(site: Site) -> None:
    first = enqueue(Retrain(TrainOptions(top_n=9)))
    job_id, _ = start(site)
    site.add(
        "job_progress",
        {"job_id": job_id, "phase": "fitting", "done": 0.5, "updated_at": datetime.now(UTC)},
    )
    wake(datetime.now(UTC))
    with transaction() as conn:
        refresh, recompute = jobs.list_jobs(conn, 10)
        assert jobs.list_jobs(conn, 1) == [refresh]
        assert jobs.list_jobs(conn, 10, before=refresh.job_id) == [recompute]
        assert jobs.list_jobs(conn, 10, status="running") == [recompute]
        assert jobs.list_jobs(conn, 10, type_=REFRESH) == [refresh]
        assert jobs.get_job(conn, first.job_id) == recompute
    assert (refresh.type, refresh.status, refresh.started_at) == (REFRESH, "queued", None)
    assert (recompute.type, recompute.status, recompute.attempts) == (RECOMPUTE, "running", 0)
    assert (recompute.phase, recompute.done, recompute.error) == ("fitting", 0.5, None)
    assert recompute.payload["request"]["options"]["top_n"] == 9
    assert recompute.queued_at is not None
    assert recompute.started_at is not None
    assert recompute.queued_at <= recompute.started_at
    assert recompute.ended_at is None
    site.run("SELECT procrastinate_finish_job_v1(%s, 'failed', false)", job_id)
    with transaction() as conn:
        failed = jobs.get_job(conn, job_id)
    assert (failed.status, failed.attempts) == ("failed", 1)
    assert failed.ended_at is not None
    assert (failed.phase, failed.done) == ("fitting", 0.5)


def test_a_job_that_succeeded_is_wholly_done(site: Site) -> None:
    enqueue()
    job_id, _ = start(site)
    row = {"job_id": job_id, "phase": "publishing", "done": 0, "updated_at": datetime.now(UTC)}
    site.add("job_progress", row)
    site.run("SELECT procrastinate_finish_job_v1(%s, 'succeeded', false)", job_id)
    with transaction() as conn:
        job = jobs.get_job(conn, job_id)
    assert (job.status, job.phase, job.done) == ("succeeded", "publishing", 1.0)


def test_a_failed_recompute_is_tried_again_as_a_new_job_unless_one_waits(site: Site) -> None:
    asked = Retrain(TrainOptions(top_n=9))
    job_id = enqueue(asked).job_id
    start(site)
    with transaction() as conn, pytest.raises(ConflictError, match="is running"):
        jobs.retry_job(conn, job_id)
    site.run("SELECT procrastinate_finish_job_v1(%s, 'failed', false)", job_id)
    with transaction() as conn:
        again = jobs.retry_job(conn, job_id)
        assert again.created
        assert jobs.retry_job(conn, job_id) == Enqueued(again.job_id, created=False)
        payload = jobs.get_job(conn, again.job_id).payload
        assert Retrain.from_payload(payload["request"]) == asked
        assert jobs.get_job(conn, job_id).status == "failed"


def test_a_failed_refresh_needs_no_retry(site: Site) -> None:
    wake(datetime.now(UTC))
    job_id, _ = start(site)
    site.run("SELECT procrastinate_finish_job_v1(%s, 'failed', false)", job_id)
    with transaction() as conn, pytest.raises(ConflictError, match="refreshed anyway"):
        jobs.retry_job(conn, job_id)


@pytest.mark.usefixtures("database")
def test_what_is_not_there_is_not_found() -> None:
    with transaction() as conn:
        for use in (jobs.get_job, jobs.retry_job, jobs.cancel_job):
            with pytest.raises(NotFoundError, match="no job 17"):
                use(conn, 17)


def test_a_queued_job_is_cancelled_and_a_running_one_told_to_stop(site: Site) -> None:
    job_id = enqueue().job_id
    with transaction() as conn:
        jobs.cancel_job(conn, job_id)
        assert jobs.get_job(conn, job_id).status == "cancelled"
        with pytest.raises(ConflictError, match="is cancelled"):
            jobs.cancel_job(conn, job_id)
        running = jobs.retry_job(conn, job_id).job_id
    start(site)
    with transaction() as conn:
        jobs.cancel_job(conn, running)
        job = jobs.get_job(conn, running)
    assert (job.status, job.cancelling) == ("running", True)


# Health --------------------------------------------------------------------------------------


def test_the_status_tells_depth_age_and_heartbeats(site: Site) -> None:
    with transaction() as conn:
        assert [queue.waiting for queue in jobs.queue_status(conn).queues] == [0, 0]
    enqueue()
    job_id, worker_id = start(site)
    wake(datetime.now(UTC))
    wake(datetime.now(UTC) + timedelta(minutes=1))
    site.run("UPDATE procrastinate_events SET at = at - interval '5 seconds'")
    with transaction() as conn:
        status = jobs.queue_status(conn)
    depths = {queue.queue: queue for queue in status.queues}
    assert (depths["training"].waiting, depths["training"].running) == (0, 1)
    assert (depths["refresh"].waiting, depths["refresh"].later) == (1, 1)
    assert depths["training"].oldest_waiting_seconds is None
    assert 5 <= (depths["refresh"].oldest_waiting_seconds or 0) < 6
    (heartbeat,) = status.workers
    assert (heartbeat.worker_id, heartbeat.job_id) == (worker_id, job_id)
    assert heartbeat.seconds_ago < 1


def test_jobs_that_ended_long_ago_are_pruned_with_their_progress(site: Site) -> None:
    now = datetime.now(UTC)
    old = enqueue().job_id
    start(site)
    site.add("job_progress", {"job_id": old, "updated_at": now})
    jobs.prune(now + 2 * jobs.KEPT)
    assert site.run("SELECT id FROM procrastinate_jobs") == [(old,)]
    site.run("SELECT procrastinate_finish_job_v1(%s, 'succeeded', false)", old)
    jobs.prune(now)
    assert site.run("SELECT count(*) FROM job_progress") == [(1,)]
    young = enqueue().job_id
    jobs.prune(now + 2 * jobs.KEPT)
    assert site.run("SELECT id FROM procrastinate_jobs") == [(young,)]
    assert site.run("SELECT count(*) FROM job_progress") == [(0,)]
