"""Scores of given pairs: the same as the published ones, as of any instant, and explained."""

import csv
import gzip
import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from integration.sites import DAY, NOON, Site, a_small_site, rank_at, recompute_at

from eventlink.cli import main
from eventlink.errors import NotFoundError
from eventlink.services import score as service
from eventlink.services.score import Scored, score_pairs

AS_OF = NOON.isoformat()
LIVE = "SELECT id FROM events WHERE start_time > %s"


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert isinstance(stopped.value.code, int)
    return stopped.value.code


def complaint(printed: str) -> str:
    lines = [line for line in printed.splitlines() if "Z [" not in line]
    assert len(lines) == 1, printed
    return lines[0]


def ids(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def table(scored: Scored) -> pa.Table:
    return pa.Table.from_batches(list(scored.batches()))


def every_pair(site: Site) -> tuple[np.ndarray, np.ndarray]:
    rows = site.run(
        "SELECT u.id, e.id FROM users u, events e WHERE mod(u.id, 5) = 0 AND mod(e.id, 3) = 0"
        " ORDER BY md5(u.id || '-' || e.id)"
    )
    users, events = np.array(rows, np.int64).T
    return users, events


def test_scores_are_those_that_are_published(city: Site) -> None:
    recompute_at(seat_strength=0.0)
    published = city.run("SELECT user_id, event_id, score FROM user_recommendations ORDER BY 3")
    users, events, expected = zip(*published, strict=True)
    scored = score_pairs(ids(*users), ids(*events), NOON)
    np.testing.assert_allclose(scored.answers["score"], expected, rtol=1e-4)
    assert scored.model_version == city.run("SELECT model_version FROM recommender_models")[0][0]


@pytest.mark.once
def test_contributions_add_up_to_the_log_odds_of_the_score(city: Site) -> None:
    recompute_at(model="trees", model_version="first")
    users, events = every_pair(city)
    told = table(score_pairs(users, events, NOON, "first", top=4)).drop_null()
    assert told.num_rows > 100
    parts = ["constant", "other", *(f"contribution_{place}" for place in range(1, 5))]
    total = np.sum([told[name].to_numpy().astype(np.float64) for name in parts], axis=0)
    log_odds, score = told["log_odds"].to_numpy(), told["score"].to_numpy().astype(np.float64)
    np.testing.assert_allclose(total, log_odds, atol=1e-4)
    np.testing.assert_allclose(score, 1 / (1 + np.exp(-total)), rtol=1e-3)
    largest = [np.abs(told[f"contribution_{place}"].to_numpy()) for place in range(1, 5)]
    assert (np.diff(largest, axis=0) <= 0).all()
    assert set(told["feature_1"].to_pylist()) <= set(service.NAMES)


@pytest.mark.once
@pytest.mark.usefixtures("two_cores")
def test_blocks_change_nothing(city: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    users, events = every_pair(city)
    whole = table(score_pairs(users, events, NOON, top=2))
    monkeypatch.setattr(service, "USERS_A_BLOCK", 3)
    monkeypatch.setattr(service, "PAIRS_A_BLOCK", 20)
    monkeypatch.setattr(service, "ROWS_A_BATCH", 100)
    parts = table(score_pairs(users, events, NOON, top=2))
    for name in ("score", "other"):
        one, other = (each[name].to_numpy() for each in (parts, whole))
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
    assert parts["user_id"].equals(whole["user_id"])


def test_what_was_not_known_has_no_score(database: str) -> None:
    site = a_small_site(database)
    site.event(102, created_at=NOON + DAY, start_time=NOON + 9 * DAY)
    scored = score_pairs(ids(1, 1, 99, 3, 2), ids(100, 102, 100, 777, 101), NOON)
    assert scored.known.tolist() == [True, False, False, False, True]
    assert (scored.unknown_users, scored.unknown_events) == (1, 2)
    found = table(scored)["score"]
    assert found.is_null().to_pylist() == [False, True, True, True, False]
    later = score_pairs(ids(1), ids(102), NOON + 2 * DAY)
    assert later.known.all()


def test_what_is_over_or_registered_for_is_scored_if_asked_for(database: str) -> None:
    site = a_small_site(database)
    site.event(103, start_time=NOON - DAY)
    site.event(104, status="draft")
    scored = score_pairs(ids(1, 3, 2, 2), ids(103, 100, 103, 104), NOON)
    score = scored.answers["score"]
    assert ((score > 0) & (score < 1)).all()


@pytest.mark.once
def test_a_live_event_has_the_same_score_whatever_else_is_asked_for(city: Site) -> None:
    users, events = every_pair(city)
    every = score_pairs(users, events, NOON)
    live = np.isin(events, [event for (event,) in city.run(LIVE, NOON)])
    assert 0 < live.sum() < len(live)
    alone = score_pairs(users[live], events[live], NOON)
    np.testing.assert_array_equal(alone.answers["score"], every.answers["score"][live])


def test_nothing_after_the_instant_moves_a_score(city: Site) -> None:
    users, events = every_pair(city)
    at = NOON - 3 * DAY
    before = table(score_pairs(users, events, at))
    for name, column in {
        "registrations": "registered_at",
        "event_interactions": "occurred_at",
        "favorite_events": "created_at",
        "user_followed_organizers": "created_at",
    }.items():
        city.run(f"DELETE FROM {name} WHERE {column} >= %s", at)
    assert table(score_pairs(users, events, at)).equals(before)


@pytest.mark.usefixtures("city")
def test_a_model_that_has_seen_what_it_is_to_foresee_is_told_of(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    recompute_at(model="linear", model_version="of noon")
    (tmp_path / "pairs.csv").write_text("user_id,event_id\n1,1\n")
    for as_of, careful in ((NOON - DAY, True), (NOON, False)):
        words = ("--pairs", str(tmp_path / "pairs.csv"), "--as-of", as_of.isoformat())
        assert run("score", *words) == 0
        assert ("learned until 2" in capfd.readouterr().err) is careful


def test_an_unknown_version_is_refused(database: str) -> None:
    a_small_site(database)
    with pytest.raises(NotFoundError, match="version oracle"):
        score_pairs(ids(1), ids(100), NOON, "oracle")


@pytest.mark.once
def test_csv_in_gives_csv_on_stdout_in_the_same_order(
    database: str, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    a_small_site(database)
    (tmp_path / "pairs.csv").write_text("event_id,note,user_id\n101,x,2\n100,,1\n5,,1\n")
    code = run("score", "--pairs", str(tmp_path / "pairs.csv"), "--as-of", AS_OF)
    printed = capfdbinary.readouterr()
    assert code == 0
    rows = list(csv.DictReader(io.StringIO(printed.out.decode())))
    assert [(row["user_id"], row["event_id"]) for row in rows] == [
        ("2", "101"),
        ("1", "100"),
        ("1", "5"),
    ]
    assert 0 < float(rows[0]["score"]) < 1
    assert rows[2]["score"] == ""
    said = complaint(printed.err.decode())
    assert "scored 2 of 3 pairs by the prior" in said
    assert "events unknown then: 1" in said


@pytest.mark.once
@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".parquet"])
def test_every_form_is_read_and_written(database: str, tmp_path: Path, ending: str) -> None:
    site = a_small_site(database)
    rank_at()
    version = site.run("SELECT model_version FROM recommender_models")[0][0]
    source, target = tmp_path / f"pairs{ending}", tmp_path / f"scores{ending}"
    text = "user_id,event_id\n1,100\n3,101\n"
    if ending == ".parquet":
        pq.write_table(pa.table({"user_id": [1, 3], "event_id": [100, 101]}), source)
    elif ending == ".csv":
        source.write_text(text)
    else:
        source.write_bytes(gzip.compress(text.encode()))
    words = ["--as-of", AS_OF, "--out", str(target), "--explain", "--top", "2"]
    code = run("score", "--pairs", str(source), "--model-version", version, *words)
    if ending == ".parquet":
        names = pq.read_table(target).column_names
    else:
        raw = target.read_bytes()
        names = (gzip.decompress(raw) if ending == ".csv.gz" else raw).decode().split("\n")[0]
        names = names.split(",")
    assert code == 0
    assert names == [
        "user_id", "event_id", "score", "log_odds", "constant", "feature_1", "feature_2",
        "contribution_1", "contribution_2", "other",
    ]  # fmt: skip
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.once
@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        ("user_id\n1\n", 15, "no column event_id"),
        ("", 15, "no column user_id"),
        ("user_id,event_id\n", 15, "has no pairs"),
        ("user_id,event_id\n1,2\nx,3\n", 14, 'line 3, column user_id: "x" is not a whole number'),
        ("user_id,event_id\n1,\n", 14, "must not be empty"),
        ("user_id,event_id\n1,2,3\n", 14, "3 cells where the header has 2"),
    ],
)
def test_bad_input_gets_one_line_and_its_code(
    database: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    text: str,
    code: int,
    says: str,
) -> None:
    a_small_site(database)
    path = tmp_path / "pairs.csv"
    path.write_text(text)
    assert run("score", "--pairs", str(path), "--as-of", AS_OF) == code
    printed = capsys.readouterr()
    assert says in complaint(printed.err)
    assert printed.out == ""


@pytest.mark.once
@pytest.mark.usefixtures("database")
@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--pairs", "no.csv"], 15),
        (["--pairs", "no.xls"], 15),
        (["--pairs", "no.csv", "--out", "no/such/folder.csv"], 15),
        (["--pairs", "no.csv", "--out", "scores.txt"], 15),
        (["--pairs", "no.csv", "--top", "0"], 2),
        (["--pairs", "no.csv", "--as-of", "soon"], 13),
    ],
)
def test_bad_options_get_one_line(
    capsys: pytest.CaptureFixture[str], words: list[str], code: int
) -> None:
    as_of = [] if "--as-of" in words else ["--as-of", AS_OF]
    assert run("score", *words, *as_of) == code
    complaint(capsys.readouterr().err)
