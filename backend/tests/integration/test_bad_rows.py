"""A bad row stops an import with one line that quotes it, or is left out and listed."""

import csv
import gzip
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from integration.folders import SMALL, bring_in, content, folder_of, one
from structlog.testing import capture_logs

from eventlink.cli import main
from eventlink.db.interchange.tables import TABLES
from eventlink.errors import BadFileError, BadRowError
from eventlink.importers import interchange
from eventlink.importers.bad_rows import BadRow, locate


@pytest.fixture
def small(database: str, tmp_path: Path) -> str:
    """A database with two users and an event."""
    bring_in(folder_of(tmp_path / "small", SMALL))
    return database


EMPTY = "must not be empty"
INSTANT = "is not an instant such as 2016-05-18T02:30:00Z"
NO_USER = "names no user in the files or in the database"
NO_EVENT = "names no event in the files or in the database"
TWICE = "is on an earlier row already"
BAD_ROWS = [
    ("users", "id\nx\n", 'line 2, column id: "x" is not a whole number'),
    (
        "users",
        "id\n3\n9223372036854775808\n",
        'line 3, column id: "9223372036854775808" is too large: more than 64 bits',
    ),
    (
        "events",
        "id,start_time\n9223372036854775807,2024-03-01\n",
        'line 2, column id: "9223372036854775807" is not between -4611686018427387904 and 4611686018427387904',
    ),
    ("users", "id,city\n,Cluj\n", f"line 2, column id: {EMPTY}"),
    ("users", "id\n3\n3\n", f'line 3, column id: "3" {TWICE}'),
    (
        "users",
        "id,role\n3,boss\n",
        'line 2, column role: "boss" is not one of student, organizer, admin',
    ),
    ("users", "id,lat\n3,90.5\n", 'line 2, column lat: "90.5" is not between -90 and 90'),
    ("users", "id,lon\n3,-181\n", 'line 2, column lon: "-181" is not between -180 and 180'),
    ("users", "id,lat\n3,north\n", 'line 2, column lat: "north" is not a finite number'),
    ("users", "id,city\n3,a\0b\n", 'line 2, column city: "a\\u0000b" contains a NUL character'),
    ("users", "id,city\n3\n", "line 2: 1 cells where the header has 2"),
    ("users", "id,city\n3,a,b\n", "line 2: 3 cells where the header has 2"),
    (
        "users",
        "id,is_active\n3,perhaps\n",
        'line 2, column is_active: "perhaps" is not true or false',
    ),
    (
        "users",
        'id,full_name,created_at\n3,"a\n\nb",2024-01-01\n4,"c\nd",soon\n',
        f'line 5, column created_at: "soon" {INSTANT}',
    ),
    ("user_interest_tags", "user_id,tag\n1,\n", f"line 2, column tag: {EMPTY}"),
    ("user_interest_tags", "user_id,tag\n9,Jazz\n", f'line 2, column user_id: "9" {NO_USER}'),
    (
        "user_interest_tags",
        "user_id,tag\n1,Jazz\n2,Jazz\n1,Jazz\n",
        f'line 4, columns user_id, tag: "1, Jazz" {TWICE}',
    ),
    (
        "user_interest_tags",
        f"user_id,tag\n1,{'x' * 2601}\n",
        f'line 2, column tag: "{"x" * 80}…" is not at most 2600 bytes long',
    ),
    ("events", "id,start_time\n11,\n", f"line 2, column start_time: {EMPTY}"),
    (
        "events",
        "id,start_time\n11,2024-02-30T00:00:00Z\n",
        f'line 2, column start_time: "2024-02-30T00:00:00Z" {INSTANT}',
    ),
    (
        "events",
        "id,start_time,status\n11,2024-03-01,open\n",
        'line 2, column status: "open" is not one of draft, published, cancelled',
    ),
    (
        "events",
        "id,start_time,max_seats\n11,2024-03-01,-1\n",
        'line 2, column max_seats: "-1" is less than 0',
    ),
    (
        "events",
        "id,start_time,owner_id\n11,2024-03-01,9\n",
        f'line 2, column owner_id: "9" {NO_USER}',
    ),
    (
        "events",
        "id,start_time,end_time\n11,2024-03-02,2024-03-01\n",
        'line 2, column start_time: "2024-03-02" is after the event\'s end_time',
    ),
    ("event_tags", "event_id,tag\n9,Jazz\n", f'line 2, column event_id: "9" {NO_EVENT}'),
    (
        "registrations",
        "user_id,event_id,registered_at\n1,9,2024-02-03\n",
        f'line 2, column event_id: "9" {NO_EVENT}',
    ),
    (
        "registrations",
        "user_id,event_id,registered_at,attended\n1,10,2024-02-03,maybe\n",
        'line 2, column attended: "maybe" is not true or false',
    ),
    (
        "registrations",
        "user_id,event_id,registered_at,unregistered_at\n1,10,2024-02-03,2024-02-02\n",
        'line 2, column unregistered_at: "2024-02-02" is before registered_at',
    ),
    (
        "registrations",
        "user_id,event_id,registered_at\n1,10,2024-02-03\n2,10,2024-02-01\n1,10,2024-02-03T00:00:00Z\n",
        f'line 4, columns user_id, event_id, registered_at: "1, 10, 2024-02-03T00:00:00Z" {TWICE}',
    ),
    (
        "registrations",
        "user_id,event_id,registered_at\n1,10,2024-02-03\n1,10,2024-02-04\n",
        'line 3, columns user_id, event_id: "1, 10" has a current registration on an earlier row already',
    ),
    (
        "registrations",
        "user_id,event_id,registered_at\n2,10,2024-02-04\n",
        'line 2, columns user_id, event_id: "2, 10" has a current registration in the database already, of another registered_at',
    ),
    (
        "favorites",
        "user_id,event_id\n1,10\n1,10\n",
        f'line 3, columns user_id, event_id: "1, 10" {TWICE}',
    ),
    (
        "interactions",
        "user_id,event_id,occurred_at,interaction_type\n1,10,2024-02-03,stare\n",
        'line 2, column interaction_type: "stare" is not one of impression, click, view, dwell, share, search, filter, favorite, register, unregister',
    ),
    (
        "interactions",
        "user_id,event_id,occurred_at,interaction_type,source\n1,10,2024-02-03,view,guess\n",
        'line 2, column source: "guess" is not one of cache, heuristic',
    ),
    (
        "interactions",
        "user_id,event_id,occurred_at,interaction_type\n1,,2024-02-03,view\n",
        "line 2, column event_id: must not be empty, except for a search or filter",
    ),
    (
        "interactions",
        "user_id,event_id,occurred_at,interaction_type,position\n1,10,2024-02-03,view,-1\n",
        'line 2, column position: "-1" is not between 0 and 32767',
    ),
    (
        "interactions",
        "user_id,event_id,occurred_at,interaction_type,position\n1,10,2024-02-03,view,32768\n",
        'line 2, column position: "32768" is not between 0 and 32767',
    ),
    (
        "interactions",
        "user_id,event_id,occurred_at,interaction_type,dwell_seconds\n1,10,2024-02-03,dwell,-0.5\n",
        'line 2, column dwell_seconds: "-0.5" is less than 0',
    ),
    (
        "interactions",
        "user_id,event_id,occurred_at,interaction_type,meta\n1,10,2024-02-03,view,{oops\n",
        'line 2, column meta: "{oops" is not JSON that PostgreSQL can hold',
    ),
    (
        "interactions",
        "user_id,event_id,occurred_at,interaction_type,client_id\n1,10,2024-02-03,view,c\n1,10,2024-02-04,view,c\n",
        f'line 3, column client_id: "c" {TWICE}',
    ),
    ("follows", "user_id,owner_id\n1,9\n", f'line 2, column owner_id: "9" {NO_USER}'),
    ("hidden_tags", "user_id,tag\n9,Jazz\n", f'line 2, column user_id: "9" {NO_USER}'),
    ("blocked_organizers", "user_id,owner_id\n9,2\n", f'line 2, column user_id: "9" {NO_USER}'),
]


@pytest.mark.parametrize("name", TABLES)
def test_a_bad_row_stops_the_import_with_one_line(
    small: str, tmp_path: Path, subtests: pytest.Subtests, name: str
) -> None:
    registered = {"registrations": "user_id,event_id,registered_at\n2,10,2024-02-01\n"}
    bring_in(folder_of(tmp_path / "before", registered))
    before = content(small)
    for text, message in [(text, message) for table, text, message in BAD_ROWS if table == name]:
        with subtests.test(message):
            # Good rows of another table must not stay either.
            others = {"users": "id,role\n1,student\n99,student\n"} if name != "users" else {}
            with pytest.raises(BadRowError) as stopped:
                bring_in(folder_of(tmp_path / "bad", {**others, name: text}))
            hint = "; nothing was imported (--skip-bad would import the rest)"
            assert str(stopped.value) == f"{name}.csv, {message}{hint}"
            assert content(small) == before


def test_a_byte_that_is_not_utf_8_is_shown(small: str, tmp_path: Path) -> None:
    before = content(small)
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "users.csv.gz").write_bytes(gzip.compress(b"id,city\n3,Caf\xe9\n"))
    with pytest.raises(BadRowError) as stopped:
        bring_in(tmp_path / "bad")
    assert str(stopped.value).startswith(
        'users.csv.gz, line 2, column city: "Caf\\\\xe9" is not UTF-8;'
    )
    assert content(small) == before


def test_a_bad_row_of_parquet_is_named_by_its_number(small: str, tmp_path: Path) -> None:
    before = content(small)
    (tmp_path / "bad").mkdir()
    table = pa.table({"id": [3, 4], "lat": [1.0, 91.0]})
    pq.write_table(table, tmp_path / "bad" / "users.parquet")
    with pytest.raises(BadRowError, match=r'users.parquet, row 2, column lat: "91" is not between'):
        bring_in(tmp_path / "bad")
    assert content(small) == before


def test_new_values_must_agree_with_those_that_a_file_leaves_alone(
    small: str, tmp_path: Path
) -> None:
    with psycopg.connect(small) as conn:
        conn.execute("UPDATE events SET end_time = start_time")
    later = {"events": "id,start_time\n10,2025-01-01\n"}
    with pytest.raises(BadRowError, match="is after the event's end_time"):
        bring_in(folder_of(tmp_path / "later", later))


def test_skip_bad_imports_the_rest_and_lists_the_bad(database: str, tmp_path: Path) -> None:
    tables = {
        "users": 'id,role,full_name\n1,student,"A\nB"\nx,student,\n2,organizer\n3,boss,\n4,organizer,\n',
        "events": "id,owner_id,start_time\n10,4,2024-03-01\n11,3,2024-03-01\n12,4,never\n",
        "registrations": "user_id,event_id,registered_at\n1,10,2024-02-01\n1,11,2024-02-01\n"
        "3,10,2024-02-01\n1,10,2024-02-02\n4,12,2024-02-01\n",
    }
    listed = tmp_path / "bad.csv"
    files = bring_in(folder_of(tmp_path / "in", tables), bad_rows=listed)
    assert {name: (file.rows, file.added, file.bad) for name, file in files.items()} == {
        "users": (5, 2, 3),
        "events": (3, 1, 2),
        "registrations": (5, 1, 4),
    }
    with listed.open(newline="") as file:
        rows = [tuple(row) for row in csv.reader(file)]
    assert rows == [
        ("file", "line", "column", "problem", "row"),
        ("users.csv", "4", "id", '"x" is not a whole number', "x,student,"),
        ("users.csv", "5", "", "2 cells where the header has 3", "2,organizer"),
        ("users.csv", "6", "role", '"boss" is not one of student, organizer, admin', "3,boss,"),
        ("events.csv", "3", "owner_id", f'"3" {NO_USER}', "11,3,2024-03-01"),
        ("events.csv", "4", "start_time", f'"never" {INSTANT}', "12,4,never"),
        ("registrations.csv", "3", "event_id", f'"11" {NO_EVENT}', "1,11,2024-02-01"),
        ("registrations.csv", "4", "user_id", f'"3" {NO_USER}', "3,10,2024-02-01"),
        ("registrations.csv", "5", "user_id, event_id", '"1, 10" has a current registration on an earlier row already', "1,10,2024-02-02"),
        ("registrations.csv", "6", "event_id", f'"12" {NO_EVENT}', "4,12,2024-02-01"),
    ]  # fmt: skip
    assert one(database, "SELECT user_id, event_id FROM registrations") == (1, 10)


def test_skip_bad_takes_every_kind_of_bad_row(small: str, tmp_path: Path) -> None:
    del small
    registered = {"registrations": "user_id,event_id,registered_at\n2,10,2024-02-01\n"}
    bring_in(folder_of(tmp_path / "before", registered))
    for number, (name, text, message) in enumerate(BAD_ROWS):
        folder = folder_of(tmp_path / str(number), {name: text})
        file = bring_in(folder, bad_rows=tmp_path / "bad.csv")[name]
        assert file.bad == 1, message
    assert (tmp_path / "bad.csv").read_text().count("\n") == 2


def test_skip_bad_writes_no_list_of_no_bad_rows(small: str, tmp_path: Path) -> None:
    del small
    bring_in(folder_of(tmp_path / "in", SMALL), bad_rows=tmp_path / "bad.csv")
    assert not (tmp_path / "bad.csv").exists()


def test_a_list_that_cannot_be_written_is_told_before_the_work(
    database: str, tmp_path: Path
) -> None:
    for path in (tmp_path, tmp_path / "missing" / "bad.csv"):
        with pytest.raises(BadFileError, match="name another file with --bad-rows"):
            bring_in(folder_of(tmp_path / "in", SMALL), bad_rows=path)
    assert content(database)["users"] == []


def test_who_came_before_it_began_is_warned_of_and_imported(small: str, tmp_path: Path) -> None:
    now = datetime.now(UTC)

    def at(days: float) -> str:
        return (now + timedelta(days=days)).isoformat()

    events = {20: -9, 21: 0.9, 22: 1.1, 23: 9}
    folder = folder_of(
        tmp_path / "early",
        {
            "events": "id,start_time\n" + "".join(f"{e},{at(d)}\n" for e, d in events.items()),
            "registrations": "user_id,event_id,registered_at,attended\n"
            f"1,20,{at(-10)},true\n"
            "1,20\n"  # misshapen
            f"1,21,{at(0.9)},true\n"
            f"2,22,{at(-1)},false\n"
            f"2,23,{at(-1)},\n"
            f"1,22,{at(-1)},true\n"
            f"1,23,{at(-1)},true\n"
            f"2,20,{at(2)},true\n",
        },
    )
    with capture_logs() as logged:
        files = bring_in(folder, bad_rows=tmp_path / "bad.csv")
        assert logged == []  # to find the row takes long, and nobody else writes meanwhile
        for doubt in files["registrations"].doubts:
            doubt.warn()
    [warned] = [line for line in logged if line["log_level"] == "warning"]
    assert warned["first"] == (
        'registrations.csv, line 7, column attended: "true" cannot be known: the event starts, or'
        " the registration is dated, more than a day from now"
    )
    assert warned["rows"] == 3
    with psycopg.connect(small) as conn:
        came = conn.execute("SELECT count(*) FILTER (WHERE attended), count(*) FROM registrations")
        assert came.fetchall() == [(5, 7)]


def test_what_a_file_does_not_tell_is_not_warned_of(small: str, tmp_path: Path) -> None:
    with psycopg.connect(small) as conn:
        conn.execute("UPDATE events SET start_time = now() + interval '9 days'")
        conn.execute(
            "INSERT INTO registrations (user_id, event_id, registered_at, attended)"
            " VALUES (1, 10, '2024-02-03T00:00:00Z', true)"
        )
    rows = "user_id,event_id,registered_at\n1,10,2024-02-03T00:00:00Z\n"
    with capture_logs() as logged:
        files = bring_in(folder_of(tmp_path / "untold", {"registrations": rows}))
    assert logged == []
    assert files["registrations"].doubts == ()


def test_others_may_write_while_an_odd_row_is_looked_up(
    small: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[int] = []

    def look(*told: Any) -> Iterator[BadRow]:
        with psycopg.connect(small) as other:
            other.execute("LOCK TABLE registrations IN ROW EXCLUSIVE MODE NOWAIT")
            seen.append(other.execute("SELECT FROM registrations").rowcount)
        return locate(*told)

    monkeypatch.setattr(interchange, "locate", look)
    ahead = (datetime.now(UTC) + timedelta(days=9)).isoformat()
    rows = f"user_id,event_id,registered_at,attended\n1,10,{ahead},true\n"
    with pytest.raises(SystemExit) as stopped:
        main(["import", str(folder_of(tmp_path / "odd", {"registrations": rows}))])
    assert stopped.value.code == 0
    assert seen == [1]
    assert "registrations.csv, line 2, column attended" in capsys.readouterr().err
