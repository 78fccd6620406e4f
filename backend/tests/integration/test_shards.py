"""Everybody's rankings made in shards: the same as at once, each written once whatever dies."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import psycopg
import pytest
from integration.sites import DAY, HOUR, NOON, Row, Site, eventually, lists_of, rank_at

from eventlink.db import session
from eventlink.db.explorations import Explored
from eventlink.db.recommendations import (
    begin_generation,
    clean_up,
    fill_shard,
    finish_generation,
    serve_generation,
)
from eventlink.errors import DatabaseUnreachableError, PublishRefusedError
from eventlink.recsys.progress import Report
from eventlink.services import publishing, recompute, shards
from eventlink.services.publishing import Engine
from eventlink.services.shards import Shard, Work, make

RULES = {"explore_slots": 2, "collapse_series": True, "seat_strength": 0.5}


@dataclass
class Machines:
    """Stands in for a cluster: makes shards in this process, in any order, some twice."""

    meanwhile: Callable[[Work, list[Shard]], object] = lambda *_: None
    shards: list[Shard] = field(default_factory=list)
    cpus: int = 2

    def make(self, work: Work, cut: list[Shard], report: Report) -> list[Explored]:
        self.shards = cut
        self.meanwhile(work, cut)
        found = {shard.number: make(work, shard) for shard in reversed(cut)}
        found |= {shard.number: make(work, shard) for shard in cut[::3]}
        report("ranking users", 1.0)
        return [part for number in sorted(found) for part in found[number]]


@pytest.fixture
def machines(database: str, monkeypatch: pytest.MonkeyPatch) -> Machines:
    """Machines that take Ray's place, and shards of few users."""
    del database
    standing_in = Machines()
    # This process's own connections are kept, as those of another machine would be.
    monkeypatch.setenv("DATABASE_URL", session.libpq_url())
    session.settings.cache_clear()

    @contextmanager
    def cluster() -> Iterator[Machines]:
        yield standing_in

    monkeypatch.setattr(publishing, "cluster", cluster)
    monkeypatch.setattr(recompute, "require_cluster", lambda: None)
    monkeypatch.setattr(shards, "USERS_A_BLOCK", 7)
    return standing_in


def lists(site: Site) -> list[Row]:
    return site.run(
        "SELECT user_id, event_ids, scores, reason_codes, reason_args FROM recommendation_lists"
        "  JOIN recommendation_serving USING (generation) ORDER BY user_id"
    )


def explorations(site: Site) -> list[Row]:
    return site.run(
        "SELECT user_id, event_id, rank, propensity FROM recommendation_explorations"
        " ORDER BY user_id, rank"
    )


def on_machines(**changes: object) -> recompute.Result:
    return rank_at(engine=Engine.RAY, **{"now": NOON + HOUR, **changes})


# The same result -----------------------------------------------------------------------------


@pytest.mark.parametrize("rules", [{}, RULES], ids=["by score", "by rules"])
def test_shards_make_what_one_machine_makes(
    city: Site, machines: Machines, rules: dict[str, object]
) -> None:
    expected = rank_at(**rules)
    before, drawn = lists(city), explorations(city)
    city.run("DELETE FROM recommendation_explorations")
    result = on_machines(**rules)
    assert len(machines.shards) > 10
    assert lists(city) == before
    assert explorations(city) == drawn
    assert bool(drawn) == bool(rules)
    assert result.published == expected.published == len(before)
    assert city.run("SELECT DISTINCT generated_at FROM user_recommendations") == [(NOON + HOUR,)]
    assert city.serving() == (2, 1)
    assert city.generations() == ([1, 2],) * 3


def test_what_is_done_after_the_instant_is_not_seen(city: Site, machines: Machines) -> None:
    rank_at(NOON - DAY)
    before = lists(city)
    on_machines(as_of=NOON - DAY)
    assert lists(city) == before
    machines.meanwhile = lambda *_: city.run(
        "INSERT INTO registrations (user_id, event_id, registered_at)"
        " SELECT users.id, events.id, %s FROM users, events WHERE events.id = %s"
        "     ON CONFLICT DO NOTHING",
        NOON,
        before[0][1][0],
    )
    on_machines(as_of=NOON - DAY)
    assert lists(city) == before


def test_who_is_erased_meanwhile_is_left_out(city: Site, machines: Machines) -> None:
    rank_at()
    before = lists(city)
    gone = [before[0][0], before[-1][0]]

    def meanwhile(work: Work, cut: list[Shard]) -> None:
        city.run("DELETE FROM users WHERE id = %s", gone[0])
        for shard in cut:
            make(work, shard)
        city.run("DELETE FROM users WHERE id = %s", gone[1])

    machines.meanwhile = meanwhile
    on_machines()
    assert lists(city) == [row for row in before if row[0] not in gone]


def test_erasing_a_user_reaches_what_shards_have_made(city: Site, machines: Machines) -> None:
    on_machines()
    user = lists(city)[0][0]
    assert city.events_of(user)
    city.run("DELETE FROM users WHERE id = %s", user)
    assert user not in [row[0] for row in lists(city)]
    assert len(machines.shards) > 1


def test_one_user_is_ranked_here_whatever_the_engine(city: Site, machines: Machines) -> None:
    rank_at()
    user = max(city.rankings())
    assert on_machines(user_id=user).published == 1
    assert machines.shards == []
    assert city.run("SELECT user_id FROM recommendation_overlay") == [(user,)]


def test_shards_are_of_whole_blocks_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    class Ranker:
        reranker = None

        def neighbours(self, users: np.ndarray) -> np.ndarray:
            return users[::-1]

    class Keys:
        users = np.arange(100_050, dtype=np.int64) + 1

    monkeypatch.setattr(shards, "USERS_A_BLOCK", 100)
    monkeypatch.setattr(shards, "MOST_USERS", 9_000)
    users = np.arange(100_050, dtype=np.int32)
    for cpus, number, sizes in (
        (1, 16, {6_200, 6_300}),
        (4, 64, {1_500, 1_600}),
        (5000, 1001, {100}),
    ):
        cut = shards.cut(Ranker(), users, Keys(), cpus)  # type: ignore[arg-type]
        assert [shard.number for shard in cut] == list(range(number))
        assert {len(shard.users) for shard in cut[:-1]} == sizes
        ranked = np.concatenate([shard.users for shard in cut])
        assert ranked.tolist() == list(range(100_050, 0, -1))
    monkeypatch.setattr(shards, "MOST_USERS", 950)
    cut = shards.cut(Ranker(), users, Keys(), 1)  # type: ignore[arg-type]
    assert max(len(shard.users) for shard in cut) <= 1000
    assert len(cut) == 106


# Once, whatever dies -------------------------------------------------------------------------


def begun(site: Site) -> int:
    with session.connection() as conn:
        generation = begin_generation(conn, "m", NOON, {})
    assert site.generations()[1][-1] == generation
    return generation


def filled(generation: int, shard: int, users: dict[int, list[int]]) -> bool:
    with session.connection() as conn:
        return fill_shard(conn, generation, shard, [lists_of(users)])


def finished(generation: int) -> int:
    with session.connection() as conn:
        count = finish_generation(conn, generation)
        with conn.begin():
            serve_generation(conn, generation)
    return count


@pytest.fixture
def village(site: Site) -> Site:
    site.users(1, 2, 3)
    site.event(5)
    site.event(6)
    return site


def test_a_shard_is_written_once(village: Site) -> None:
    generation = begun(village)
    assert filled(generation, 0, {1: [5], 2: [6]})
    assert not filled(generation, 0, {1: [6], 2: [5]})
    assert filled(generation, 1, {3: [5]})
    assert finished(generation) == 3
    assert [village.events_of(user) for user in (1, 2, 3)] == [[5], [6], [5]]


@pytest.mark.parametrize("ending", ["COMMIT", "ROLLBACK", "kill"])
def test_a_shard_made_again_waits_for_who_began_before(village: Site, ending: str) -> None:
    generation = begun(village)
    zombie = psycopg.connect(village.address)
    zombie.execute(f"INSERT INTO recommendation_lists_g{generation}_shards VALUES (0)")
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    with ThreadPoolExecutor() as pool:
        again = pool.submit(filled, generation, 0, {1: [5]})
        assert eventually(lambda: village.run(waiting) == [(1,)])
        if ending == "kill":
            village.run("SELECT pg_terminate_backend(%s)", zombie.info.backend_pid)
        else:
            zombie.execute(ending)
        assert again.result() == (ending != "COMMIT")
    zombie.close()
    assert finished(generation) == (ending != "COMMIT")


def test_a_shard_that_fails_leaves_nothing_and_can_be_made(village: Site) -> None:
    generation = begun(village)
    with session.connection() as conn, pytest.raises(PublishRefusedError):
        fill_shard(conn, generation, 0, [lists_of({1: [5], 2: [6]}, scores=[np.nan])])
    assert village.run(f"SELECT count(*) FROM recommendation_lists_g{generation}") == [(0,)]
    assert filled(generation, 0, {1: [5], 2: [6]})


def test_a_generation_that_lost_users_is_not_published(village: Site) -> None:
    first = begun(village)
    filled(first, 0, {1: [5], 2: [6], 3: [5]})
    finished(first)
    second = begun(village)
    filled(second, 0, {1: [5]})
    with session.connection() as conn, pytest.raises(PublishRefusedError, match="2 of the 3"):
        finish_generation(conn, second)
    assert village.serving() == (first, None)


def test_a_shard_of_a_generation_that_was_cleaned_up_fails(village: Site) -> None:
    generation = begun(village)
    clean_up()
    with pytest.raises(Exception, match="does not exist"):
        filled(generation, 0, {1: [5]})


def test_what_a_killed_recompute_left_of_shards_is_cleaned_up(
    city: Site, machines: Machines
) -> None:
    rank_at()
    before = lists(city)

    def dies(work: Work, cut: list[Shard]) -> None:
        make(work, cut[0])
        raise KeyboardInterrupt

    machines.meanwhile = dies
    with pytest.raises(KeyboardInterrupt):
        on_machines()
    assert lists(city) == before
    assert city.generations()[1] == [1, 2]
    clean_up()
    assert city.generations() == ([1],) * 3
    assert city.run("SELECT relname FROM pg_class WHERE relname LIKE '%%_shards'") == []
    assert lists(city) == before


def test_a_process_can_be_told_which_database_to_use(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = session.libpq_url()
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nowhere")
    session.settings.cache_clear()
    session.engine().dispose()
    session.engine.cache_clear()
    with pytest.raises(DatabaseUnreachableError), session.connection():
        pass
    for _ in range(2):
        session.use_database(given)
        with session.connection() as conn:
            found = session.driver(conn).info.dbname
        assert found == psycopg.conninfo.conninfo_to_dict(database)["dbname"]
