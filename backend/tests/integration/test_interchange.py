"""Files go into the database whole or not at all, and come out of it as they went in."""

import csv
import gzip
import io
import json
import os
import shutil
from pathlib import Path

import psycopg
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from integration.folders import SMALL, TOWN, bring_in, content, folder_of, one, take_out

from eventlink.cli import main
from eventlink.db.interchange import load
from eventlink.db.interchange.tables import TABLES
from eventlink.db.recommendations import recompute_lock
from eventlink.db.session import connection, transaction
from eventlink.errors import BadFileError, BadRowError, RecomputeRunningError
from eventlink.importers.format import FORMAT
from eventlink.importers.interchange import export_folder, import_folder
from eventlink.recsys.progress import silent


@pytest.fixture
def small(database: str, tmp_path: Path) -> str:
    """A database with two users and an event."""
    bring_in(folder_of(tmp_path / "small", SMALL))
    return database


def empty_it(database: str) -> None:
    with psycopg.connect(database) as conn:
        for table in (*load.ACT_TABLES, *load.ROOT_TABLES):
            conn.execute(f"DELETE FROM {table}")  # type: ignore[arg-type]


def lines_of(path: Path) -> list[str]:
    text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return sorted(text.decode().splitlines())


# The format and the tables


def test_the_format_and_the_tables_name_the_same_columns(database: str) -> None:
    with psycopg.connect(database) as conn:
        for table in FORMAT:
            cursor = conn.execute(f"SELECT * FROM ({TABLES[table.name].view}) AS v LIMIT 0")  # type: ignore[arg-type]
            names = [column.name for column in cursor.description or []]
            assert [c.name for c in table.all_columns] == [n for n in names if n != "same"]
    assert [table.name for table in FORMAT] == list(TABLES)


# Round trips


@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".parquet"])
def test_a_round_trip_is_the_identity_of_the_database(
    database: str, tmp_path: Path, ending: str
) -> None:
    bring_in(folder_of(tmp_path / "town", TOWN))
    before = content(database)
    assert take_out(tmp_path / "out", ending) == {
        f"{name}{ending}": len(rows) for name, rows in before.items() if name in TABLES
    }
    empty_it(database)
    bring_in(tmp_path / "out")
    assert content(database) == before
    take_out(tmp_path / "again", ending)
    for path in (tmp_path / "out").iterdir():
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes()


def test_a_round_trip_is_the_identity_of_the_files(database: str, tmp_path: Path) -> None:
    del database
    bring_in(folder_of(tmp_path / "town", TOWN))
    take_out(tmp_path / "out")
    for name, text in TOWN.items():
        exported = (tmp_path / "out" / f"{name}.csv").read_text(encoding="utf-8")
        rows = list(csv.reader(io.StringIO(exported, newline="")))
        expected = list(
            csv.reader(
                io.StringIO(
                    text.replace(":00.5Z", ":00.500000Z").replace(":00.25Z", ":00.250000Z"),
                    newline="",
                )
            )
        )
        assert rows[0] == expected[0]
        assert sorted(rows) == sorted(expected)


@pytest.mark.parametrize(
    "city",
    [
        *(pytest.param(city, marks=pytest.mark.once) for city in ("meetup-chicago", "meetup-dc")),
        "meetup-missoula",
    ],
)
def test_real_cities_come_out_as_they_went_in(
    database: str, datasets: Path, tmp_path: Path, city: str
) -> None:
    rows = json.loads((datasets / city / "about.json").read_text())["rows"]
    imported = bring_in(datasets / city)
    assert {name: file.added for name, file in imported.items()} == rows
    before = content(database)
    take_out(tmp_path / "out", ".csv.gz")
    for name in rows:
        file = f"{name}.csv.gz"
        assert lines_of(tmp_path / "out" / file) == lines_of(datasets / city / file)
    again = bring_in(datasets / city)
    assert {(file.added, file.updated, file.bad) for file in again.values()} == {(0, 0, 0)}
    assert content(database) == before
    empty_it(database)
    bring_in(tmp_path / "out")
    assert content(database) == before


ODD = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)


@given(titles=st.lists(st.one_of(st.none(), ODD), min_size=1, max_size=20))
@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_text_survives_the_round_trip(
    database: str, tmp_path: Path, titles: list[str | None]
) -> None:
    for folder in ("in", "out"):
        shutil.rmtree(tmp_path / folder, ignore_errors=True)
    (tmp_path / "in").mkdir()
    starts = pa.array([0] * len(titles), pa.timestamp("us"))
    events = {"id": range(1, 1 + len(titles)), "title": titles, "start_time": starts}
    events = {name: pa.array(values) for name, values in events.items()}
    pq.write_table(pa.table(events), tmp_path / "in" / "events.parquet")
    bring_in(tmp_path / "in", replace=True)
    take_out(tmp_path / "out")
    bring_in(tmp_path / "out", replace=True)
    with psycopg.connect(database) as conn:
        stored = conn.execute("SELECT title FROM events ORDER BY id").fetchall()
    assert [title for (title,) in stored] == titles


# What is normal


@pytest.mark.parametrize(
    "tables",
    [
        {"users": "id\n1\n"},
        {"users": "id,role,city,lat,lon\n"},
        {"users": SMALL["users"], "events": "id,start_time\n", "event_tags": "event_id,tag\n"},
        {"event_tags": "event_id,tag\n", "follows": "user_id,owner_id"},
    ],
)
def test_missing_and_empty_files_are_normal(
    database: str, tmp_path: Path, tables: dict[str, str]
) -> None:
    bring_in(folder_of(tmp_path / "in", tables))
    written = take_out(tmp_path / "out")
    assert written == {
        f"{table.name}.csv": len(content(database)[table.name]) for table in FORMAT if table.core
    }
    assert (tmp_path / "out" / "users.csv").read_text().startswith("id,role,city,lat,lon\n")


def test_what_a_file_does_not_say_is_the_formats_default(small: str) -> None:
    assert one(
        small, "SELECT role, is_active, city, language, created_at, email FROM users WHERE id = 1"
    ) == ("student", True, None, None, None, None)
    assert one(small, "SELECT status, created_at, end_time, max_seats FROM events") == (
        "published", None, None, None,
    )  # fmt: skip


def test_new_ids_follow_the_imported_ones(database: str, tmp_path: Path) -> None:
    bring_in(folder_of(tmp_path / "in", SMALL))
    insert = "INSERT INTO {} DEFAULT VALUES RETURNING id"
    with psycopg.connect(database) as conn:
        assert conn.execute(insert.format("users")).fetchone() == (3,)  # type: ignore[arg-type]
        conn.execute("DELETE FROM users WHERE id = 3")
        events = "INSERT INTO events (start_time) VALUES (now()) RETURNING id"
        assert conn.execute(events).fetchone() == (11,)
    bring_in(folder_of(tmp_path / "in", SMALL), replace=True)
    with psycopg.connect(database) as conn:
        assert conn.execute(insert.format("users")).fetchone() == (4,)  # type: ignore[arg-type]


def test_parquet_of_data_frames_is_read(database: str, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "in", {"users": SMALL["users"]})
    start = pa.array([1709316000_000_000_000], pa.timestamp("ns", "UTC"))
    events = pa.table(
        {
            "id": pa.array([10], pa.int32()),
            "title": pa.array(["Jazz"]).dictionary_encode(),
            "venue_id": [748],
            "lat": [float("nan")],
            "owner_id": [2.0],
            "max_seats": [float("nan")],
            "start_time": start,
            "created_at": start.cast(pa.timestamp("ms", "UTC")).cast(pa.timestamp("ms")),
        }
    )
    pq.write_table(events, folder / "events.parquet")
    bring_in(folder)
    assert one(
        database,
        "SELECT title, venue, lat, owner_id, max_seats, start_time = created_at,"
        " start_time = '2024-03-01T18:00:00Z' FROM events",
    ) == ("Jazz", "748", None, 2, None, True, True)


def test_a_large_import_makes_the_same_indexes(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load, "BULK_ROWS", 1)
    made = (
        "SELECT array_agg(indexdef ORDER BY indexname) FROM pg_indexes",
        "SELECT array_agg(pg_get_constraintdef(oid) ORDER BY conname, oid) FROM pg_constraint",
    )
    before = [one(database, query) for query in made]
    bring_in(folder_of(tmp_path / "town", TOWN))
    assert [one(database, query) for query in made] == before
    assert len(content(database)["registrations"]) == 4


# Merging


def test_the_same_files_twice_change_nothing(database: str, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "town", TOWN)
    first = bring_in(folder)
    assert all(file.added == file.rows for file in first.values())
    before = content(database)
    second = bring_in(folder)
    assert {(file.added, file.updated, file.bad) for file in second.values()} == {(0, 0, 0)}
    assert content(database) == before


CHANGES = {
    "users": ("id,city\n1,Arad\n8,Deva\n", "SELECT city FROM users WHERE id = 1", "Arad"),
    "user_interest_tags": (
        "user_id,tag,created_at\n1,Jazz,2025-01-01\n2,New,\n",
        "SELECT count(*) FROM user_interest_tags WHERE created_at = '2025-01-01Z'",
        1,
    ),
    "events": (
        "id,start_time,title\n10,2024-03-01T19:00:00Z,\n13,2024-03-01,x\n",
        "SELECT title IS NULL AND status = 'draft' AND max_seats = 50 FROM events WHERE id = 10",
        True,
    ),
    "registrations": (
        """user_id,event_id,registered_at,unregistered_at
1,11,2024-02-03,
1,11,2024-02-05,2024-02-06
7,10,2024-02-05,
""",
        "SELECT min(registered_at) FILTER (WHERE unregistered_at IS NULL) = '2024-02-03Z' FROM registrations WHERE event_id = 11",
        True,
    ),
    "favorites": (
        "user_id,event_id,created_at\n1,10,\n1,11,\n",
        "SELECT created_at FROM favorite_events WHERE user_id = 1 AND event_id = 10",
        None,
    ),
    "interactions": (
        """user_id,event_id,occurred_at,interaction_type,dwell_seconds,client_id
1,11,2024-02-03,dwell,9,c-1
1,11,2024-02-03,view,,c-2
""",
        "SELECT dwell_seconds, event_id, request_id FROM event_interactions WHERE client_id = 'c-1'",
        (9.0, 11, "r1"),
    ),
    "follows": (
        "user_id,owner_id,created_at\n1,2,2025-01-01\n2,2,\n",
        "SELECT created_at = '2025-01-01Z' FROM user_followed_organizers WHERE user_id = 1",
        True,
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_known_rows_are_updated_and_others_added(database: str, tmp_path: Path, name: str) -> None:
    text, query, expected = CHANGES[name]
    bring_in(folder_of(tmp_path / "town", TOWN))
    before = content(database)
    file = bring_in(folder_of(tmp_path / "change", {name: text}))[name]
    assert (file.added, file.updated) == (1, 2 if name == "registrations" else 1)
    assert one(database, query) == expected
    after = content(database)
    assert len(after[name]) == len(before[name]) + 1
    assert {key for key in TABLES if before[key] != after[key]} == {name}


def test_merging_keeps_what_the_format_does_not_say(small: str, tmp_path: Path) -> None:
    with psycopg.connect(small) as conn:
        conn.execute(
            "UPDATE users SET email = 'a@b.c', password_hash = 'x', city = 'Cluj' WHERE id = 1"
        )
    bring_in(folder_of(tmp_path / "again", {"users": "id,lat\n1,1.5\n"}))
    assert one(small, "SELECT email, password_hash, city, lat FROM users WHERE id = 1") == (
        "a@b.c", "x", "Cluj", 1.5,
    )  # fmt: skip


def test_acts_alike_are_as_many_as_the_file_has(small: str, tmp_path: Path) -> None:
    row = "1,10,2024-02-03,view\n"
    head = "user_id,event_id,occurred_at,interaction_type\n"
    for copies, added in ((1, 1), (3, 2), (2, 0)):
        file = bring_in(folder_of(tmp_path / "acts", {"interactions": head + row * copies}))
        assert file["interactions"].added == added
    assert one(small, "SELECT count(*) FROM event_interactions") == 3


# Replacing


def test_replace_leaves_nothing_of_what_was_there(database: str, tmp_path: Path) -> None:
    small = folder_of(tmp_path / "small", SMALL)
    bring_in(small)
    expected = content(database)
    bring_in(folder_of(tmp_path / "town", TOWN))
    with psycopg.connect(database) as conn:
        conn.execute(
            "INSERT INTO recommendation_overlay VALUES (1, 'm', now(), '{10}', '{1}', '{popular}')"
        )
        conn.execute(
            "INSERT INTO recommender_models (model_version, feature_names, weights, meta)"
            " VALUES ('m', '[]', '{}', '{}')"
        )
    bring_in(small, replace=True)
    assert content(database) == expected
    assert one(database, "SELECT count(*) FROM user_recommendations") == 0
    assert one(database, "SELECT count(*) FROM recommender_models") == 1


def test_replace_works_where_a_foreign_table_refers_to_ours(database: str, tmp_path: Path) -> None:
    bring_in(folder_of(tmp_path / "town", TOWN))
    with psycopg.connect(database) as conn:
        conn.execute(
            "CREATE TABLE tickets (registration_id bigint REFERENCES registrations"
            " ON DELETE SET NULL)"
        )
        conn.execute("INSERT INTO tickets SELECT min(id) FROM registrations")
    bring_in(folder_of(tmp_path / "small", SMALL), replace=True)
    assert one(database, "SELECT registration_id FROM tickets") is None


def test_nothing_is_replaced_under_a_recompute_nor_ranked_under_a_replacement(
    database: str, tmp_path: Path
) -> None:
    town = folder_of(tmp_path / "town", TOWN)
    bring_in(town)
    before = content(database)
    with connection() as conn, recompute_lock(conn), pytest.raises(RecomputeRunningError):
        bring_in(town, replace=True)
    assert content(database) == before
    bring_in(town)
    with transaction() as replacing, connection() as conn:
        import_folder(replacing, town, silent, replace=True)
        with pytest.raises(RecomputeRunningError), recompute_lock(conn):
            pass


def test_a_replace_that_fails_leaves_all_that_was_there(database: str, tmp_path: Path) -> None:
    bring_in(folder_of(tmp_path / "town", TOWN))
    before = content(database)
    with pytest.raises(BadRowError):
        bring_in(folder_of(tmp_path / "bad", {"follows": "user_id,owner_id\n1,2\n"}), replace=True)
    assert content(database) == before


# Exporting


def test_an_export_never_tells_emails_and_passwords(small: str, tmp_path: Path) -> None:
    with psycopg.connect(small) as conn:
        conn.execute("UPDATE users SET email = 'secret@' || id, password_hash = 'secret'")
    take_out(tmp_path / "out")
    assert all("secret" not in path.read_text() for path in (tmp_path / "out").iterdir())


def test_an_export_does_not_write_over_files_without_force(small: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    take_out(out, ".parquet")
    shutil.copy(out / "users.parquet", tmp_path / "users.parquet")
    with psycopg.connect(small) as conn:
        conn.execute("DELETE FROM users WHERE id = 1")
    with pytest.raises(BadFileError, match=r"has users.parquet, .* already"):
        take_out(out, ".csv")
    assert (out / "users.parquet").read_bytes() == (tmp_path / "users.parquet").read_bytes()
    take_out(out, ".csv", force=True)
    assert sorted(path.name for path in out.iterdir()) == sorted(
        f"{table.name}.csv" for table in FORMAT if table.core
    )
    assert lines_of(out / "users.csv")[:-1] == ["2,organizer,,,"]


def test_an_export_that_fails_leaves_the_folder_as_it_was(
    small: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del small

    def full(descriptor: int) -> None:
        del descriptor
        raise OSError(28, "No space left on device")

    out = tmp_path / "out"
    take_out(out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BadFileError, match="cannot be written: No space left on device"):
        take_out(out, force=True)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    with pytest.raises(BadFileError, match="cannot be written: No space left on device"):
        take_out(tmp_path / "a" / "new" / "folder")
    assert not (tmp_path / "a").exists()


def test_an_export_sees_one_instant(small: str, tmp_path: Path) -> None:
    def delete_users(phase: str, done: float) -> None:
        del done
        if phase == "write users":
            with psycopg.connect(small) as other:
                other.execute("DELETE FROM events")

    with transaction() as conn:
        export_folder(conn, tmp_path / "out", ".csv", delete_users)
    assert len(lines_of(tmp_path / "out" / "events.csv")) == 2
    assert one(small, "SELECT count(*) FROM events") == 0


# The command line


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_the_commands_report_and_exit_with_their_codes(
    database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    del database
    town = folder_of(tmp_path / "town", TOWN)
    assert run("import", town) == 0
    assert "users.csv                                3 rows: 3 added\n" in capsys.readouterr().out
    assert run("import", town) == 0
    assert "3 rows: 3 the same\n" in capsys.readouterr().out
    assert run("export", tmp_path / "out") == 0
    assert "registrations.csv.gz                     4 rows\n" in capsys.readouterr().out
    assert run("export", tmp_path / "out") == 15
    assert run("export", tmp_path / "out", "--format", "parquet", "--force") == 0
    assert run("import", tmp_path / "out", "--replace") == 0
    assert run("import", tmp_path / "nowhere") == 15
    assert run("import", town, "--bad-rows", "x.csv") == 2
    assert run("export", tmp_path / "x", "--format", "xml") == 2
    (town / "users.csv").write_text("id\nx\n")
    capsys.readouterr()
    assert run("import", town) == 14
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith('eventlink: error: users.csv, line 2, column id: "x" is not a whole')
    assert run("import", town, "--skip-bad") == 0
    assert f"1 bad rows left out, see {town / 'bad-rows.csv'}" in capsys.readouterr().out
    assert (town / "bad-rows.csv").read_text().count("\n") == 2


def test_a_column_of_the_platforms_that_nobody_fills_is_named(
    database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with psycopg.connect(database) as conn:
        conn.execute("ALTER TABLE users ADD COLUMN phone text NOT NULL")
    assert run("import", folder_of(tmp_path / "in", SMALL)) == 20
    (line,) = (said for said in capsys.readouterr().err.splitlines() if "error: " in said)
    assert "the table users has a column phone that must not be null" in line
    with psycopg.connect(database) as conn:
        assert conn.execute("SELECT count(*) FROM users").fetchone() == (0,)
        conn.execute("ALTER TABLE users ALTER COLUMN phone SET DEFAULT 'unknown'")
    assert run("import", folder_of(tmp_path / "in", SMALL)) == 0


def test_a_database_without_tables_is_told_so(
    empty_database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    del empty_database
    assert run("import", folder_of(tmp_path / "in", SMALL)) == 4
    assert run("export", tmp_path / "out") == 4
    assert not (tmp_path / "out").exists()
    assert "run: eventlink migrate" in capsys.readouterr().err
