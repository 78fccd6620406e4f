"""``eventlink simulate`` fills an empty database, or a folder, with one and the same city."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pyarrow as pa
import pytest

from eventlink.cli import main
from eventlink.db.dataset import load_dataset
from eventlink.db.session import transaction
from eventlink.importers.simulation import simulate_into_database
from eventlink.recsys.dataset import Act, Dataset
from eventlink.recsys.simulation import City, SimulationOptions
from eventlink.recsys.simulation import simulate as simulate_city
from eventlink.recsys.simulation.catalogue import CATEGORIES, TAGS
from eventlink.services import simulate as services

UNTIL = "2026-05-04T10:00:00Z"
SMALL = ["--users", "150", "--events", "60", "--days", "20", "--until", UNTIL]
OPTIONS = SimulationOptions(
    until=datetime.fromisoformat(UNTIL).timestamp(), users=150, events=60, days=20
)


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert isinstance(ended.value.code, int)
    return ended.value.code


def simulate(*arguments: str) -> None:
    assert run("simulate", *SMALL, *arguments) == 0


@pytest.mark.once
def test_whoever_waits_is_told_of_the_city_and_not_of_its_tables(database: str) -> None:
    del database
    phases: dict[str, float] = {}
    options = SimulationOptions(until=OPTIONS.until, users=20, events=10, days=3)
    with transaction() as conn:
        simulate_into_database(conn, options, np.random.default_rng(1), phases.__setitem__)
    assert phases == {"simulating days": 1.0, "storing the city": 1.0}


def exported(folder: Path) -> dict[str, bytes]:
    assert run("export", str(folder), "--format", "csv") == 0
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def city() -> City:
    return simulate_city(OPTIONS, np.random.default_rng(7))


@pytest.fixture
def dataset(database: str) -> Dataset:  # noqa: ARG001 (DATABASE_URL names it)
    simulate()
    return load_dataset()[0]


def test_the_database_gets_the_city_row_by_row(dataset: Dataset, city: City) -> None:
    people, programme = city.people, city.programme
    assert dataset.n_users == len(people)
    assert np.array_equal(dataset.users.lat, people.lat, equal_nan=True)
    assert np.array_equal(dataset.users.rankable, ~people.organizer & people.enabled)
    assert np.array_equal(dataset.events.start, programme.start)
    assert np.array_equal(dataset.events.max_seats, programme.max_seats)
    assert np.array_equal(dataset.events.gone, programme.deleted)
    public = np.fmax(programme.created, programme.publish_at)
    assert np.array_equal(dataset.events.created, public)
    assert len(dataset.event_tags) == len(programme.tags)
    for ours, theirs in (
        (city.registrations, dataset.registrations),
        (city.favorites, dataset.favorites),
    ):
        for name in ("user", "event", "at"):
            mine = np.lexsort((ours.event, ours.user, ours.at))
            assert np.array_equal(getattr(ours, name)[mine], getattr(theirs, name))
    mine = np.lexsort((city.registrations.event, city.registrations.user, city.registrations.at))
    assert np.array_equal(city.registrations.until[mine], dataset.registrations.until)
    assert np.array_equal(city.registrations.attended[mine], dataset.registrations.attended)


def test_the_database_gets_all_that_was_done(dataset: Dataset, city: City) -> None:
    ours, theirs = city.interactions, dataset.interactions
    for act in Act:
        rows, same = ours.rows(ours.act == act), theirs.rows(theirs.act == act)
        for name in ("user", "event", "at", "position", "dwell"):
            order = np.lexsort((rows.position, rows.event, rows.user, rows.at))
            other = np.lexsort((same.position, same.event, same.user, same.at))
            assert np.array_equal(getattr(rows, name)[order], getattr(same, name)[other])
    assert len(np.unique(theirs.request)) == len(np.unique(ours.request))
    assert 0.7 * len(city.searches) < len(dataset.intents) <= len(city.searches)
    assert len(dataset.follows) == len(city.follows)
    assert len(dataset.interests) == len(city.profiles.interests)
    assert len(dataset.hidden_tags) == len(city.profiles.hidden_tags)
    assert len(dataset.blocks) == len(city.profiles.blocks)


def test_ids_count_from_one_and_grow_with_time(database: str) -> None:
    simulate()
    with psycopg.connect(database) as conn:
        for table in ("users", "events"):
            rows = conn.execute(f"SELECT id, created_at FROM {table} ORDER BY id").fetchall()
            assert [row[0] for row in rows] == list(range(1, len(rows) + 1))
            assert [row[1] for row in rows] == sorted(row[1] for row in rows)
        assert conn.execute("INSERT INTO users DEFAULT VALUES RETURNING id").fetchone() == (151,)


def test_words_and_languages_are_there_for_people_to_read(database: str) -> None:
    simulate()
    with psycopg.connect(database) as conn:
        found = conn.execute(
            "SELECT count(title), count(description), count(venue), count(DISTINCT title) > 20"
            " FROM events"
        ).fetchone()
        languages = conn.execute("SELECT DISTINCT language FROM users ORDER BY 1").fetchall()
        names = conn.execute("SELECT count(full_name) FROM users").fetchone()
        metas = conn.execute(
            "SELECT DISTINCT interaction_type, k FROM event_interactions,"
            " LATERAL jsonb_object_keys(meta) AS k ORDER BY 1, 2"
        ).fetchall()
    assert found == (60, 60, 60, True)
    assert languages == [("en",), ("ro",)]
    assert names == (150,)
    assert metas == [("filter", "category"), ("filter", "tags"), ("search", "query")]


@pytest.mark.usefixtures("database")
def test_files_and_database_get_the_same_city(tmp_path: Path) -> None:
    simulate()
    direct = exported(tmp_path / "direct")
    simulate("--out", str(tmp_path / "files"))
    assert run("import", str(tmp_path / "files"), "--replace") == 0
    assert exported(tmp_path / "imported") == direct


def test_files_need_no_database(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://localhost:1/nowhere")
    simulate("--out", str(tmp_path))
    assert {path.name for path in tmp_path.iterdir()} == {
        f"{table}.csv.gz"
        for table in (
            *("users", "user_interest_tags", "events", "event_tags", "registrations"),
            *("favorites", "interactions", "follows", "hidden_tags", "blocked_organizers"),
        )
    }


def test_files_that_are_there_stay_unless_they_are_to_be_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "users.csv").write_text("id\n1\n")
    assert run("simulate", *SMALL, "--out", str(tmp_path)) == 15
    assert "users.csv" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["users.csv"]
    simulate("--out", str(tmp_path), "--replace")
    assert not (tmp_path / "users.csv").exists()
    assert (tmp_path / "users.csv.gz").exists()


def test_a_folder_that_cannot_be_made_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "taken").write_text("")
    assert run("simulate", *SMALL, "--out", str(tmp_path / "taken" / "city")) == 15
    assert "cannot be written" in capsys.readouterr().err


def test_a_database_with_rows_is_left_as_it_is_unless_they_are_to_be_replaced(
    database: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with psycopg.connect(database) as conn:
        conn.execute("INSERT INTO users (full_name) VALUES ('Somebody')")
    assert run("simulate", *SMALL) == 16
    assert "the table users is not empty" in capsys.readouterr().err
    with psycopg.connect(database) as conn:
        assert conn.execute("SELECT full_name FROM users").fetchall() == [("Somebody",)]
    simulate("--replace")
    first = exported(tmp_path / "first")
    assert b"Somebody" not in first["users.csv"]
    simulate("--replace")
    assert exported(tmp_path / "again") == first
    simulate("--replace", "--seed", "8")
    assert exported(tmp_path / "other") != first


def test_who_came_first_while_the_city_was_simulated_is_kept(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(*given: Any) -> dict[str, pa.Table]:
        with psycopg.connect(database) as conn:
            conn.execute("INSERT INTO users (full_name) VALUES ('Somebody')")
        return services.simulate(*given)

    monkeypatch.setattr("eventlink.importers.simulation.simulate", slow)
    assert run("simulate", *SMALL) == 16
    with psycopg.connect(database) as conn:
        assert conn.execute("SELECT full_name FROM users").fetchall() == [("Somebody",)]


@pytest.mark.usefixtures("empty_database")
def test_a_database_without_tables_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("simulate", *SMALL) == 4
    assert "eventlink migrate" in capsys.readouterr().err


def test_the_end_is_now_by_default_and_events_lie_ahead(database: str) -> None:
    before = datetime.now(UTC)
    assert run("simulate", "--users", "50", "--events", "30", "--days", "3") == 0
    with psycopg.connect(database) as conn:
        (ahead,) = conn.execute(
            "SELECT count(*) FROM events WHERE status = 'published' AND deleted_at IS NULL"
            " AND start_time > %s AND coalesce(publish_at, created_at) < %s",
            (before, before),
        ).fetchone() or (0,)
        (late,) = conn.execute(
            "SELECT count(*) FROM event_interactions WHERE occurred_at > %s", (before,)
        ).fetchone() or (0,)
    assert ahead >= 3
    assert late == 0


def test_impressions_can_be_left_out(database: str) -> None:
    simulate("--no-impressions")
    with psycopg.connect(database) as conn:
        kinds = {
            kind
            for (kind,) in conn.execute("SELECT DISTINCT interaction_type FROM event_interactions")
        }
    assert "impression" not in kinds
    assert {"click", "register"} <= kinds


def test_a_search_names_a_tag_or_a_category_as_they_are_spelled(database: str) -> None:
    simulate()
    with psycopg.connect(database) as conn:
        metas = [
            meta
            for (meta,) in conn.execute(
                "SELECT meta FROM event_interactions WHERE interaction_type IN ('search', 'filter')"
            )
        ]
    assert metas
    for meta in metas:
        assert meta.get("query", TAGS[0]) in TAGS
        assert set(meta.get("tags", ())) <= set(TAGS)
        assert meta.get("category", CATEGORIES[0]) in CATEGORIES
        assert len(meta) == 1


@pytest.mark.parametrize(
    ("wrong", "code", "told"),
    [
        (["--users", "1"], 2, "--users must be between 2 and 10000000, not 1"),
        (["--signal", "2"], 2, "--signal must be from 0 to 1, not 2.0"),
        (["--seed", "-1"], 2, "--seed must be 0 or above, not -1"),
        (["--until", "tomorrow"], 13, "tomorrow"),
    ],
)
def test_a_wrong_option_is_told_in_one_line(
    wrong: list[str], code: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("simulate", *SMALL, *wrong) == code
    line = capsys.readouterr().err
    assert told in line
    assert line.count("\n") == 1
