"""``eventlink evaluate``: tables, JSON and plots of the same numbers."""

import json
from datetime import datetime
from pathlib import Path

import pytest
from integration.sites import DAY, HOUR, NOON, Site, a_small_site

from eventlink.cli import main
from eventlink.errors import NoPositivesError
from eventlink.recsys.baselines import BASELINES
from eventlink.recsys.models import ConditionalLogit
from eventlink.recsys.options import TrainOptions
from eventlink.services.evaluate import evaluate_database

pytestmark = pytest.mark.once

QUICK = ("evaluate", "--as-of", NOON.isoformat(), "--folds", "2")


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert isinstance(stopped.value.code, int)
    return stopped.value.code


@pytest.mark.usefixtures("city")
def test_json_tells_everything_and_the_same_each_time(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = (*QUICK, "--model", "heuristic,prior", "--baselines", "all", "--json")
    assert run(*words, "--plot", str(tmp_path)) == 0
    first = capsys.readouterr().out
    told = json.loads(first)
    assert list(told["systems"]) == ["heuristic", "prior", *BASELINES]
    row = told["systems"]["heuristic"]
    low, high = row["ndcg@10 interval"]
    assert 0 < low < row["ndcg@10"] < high < 1
    assert sum(part["pairs"] for part in list(row["slices"].values())[:3]) == told["pairs"]
    assert told["systems"]["heuristic"]["interval above the first"] == [0, 0]
    assert row["calibration"]["total_happened"] > 0
    days = row["days"].values()
    assert min(row["days"]) == told["first_fold"][:10]
    assert max(row["days"]) == told["last_fold"][:10]
    whole = sum(day["pairs"] * day["ndcg@10"] for day in days)
    assert whole / told["pairs"] == pytest.approx(row["ndcg@10"])
    assert told["systems"]["ease"]["calibration"] is None
    assert len(list(tmp_path.iterdir())) == 8
    assert run(*words) == 0
    assert capsys.readouterr().out == first


@pytest.mark.usefixtures("city")
def test_tables_show_quality_and_on_demand_slices(capsys: pytest.CaptureFixture[str]) -> None:
    words = (*QUICK, "--model", "heuristic", "--baselines", "velocity")
    assert run(*words) == 0
    short = capsys.readouterr().out
    assert run(*words, "--slices") == 0
    whole = capsys.readouterr().out
    for said in ("NDCG@10", "95 % interval", "MRR", "coverage", "gini", "velocity", "slope"):
        assert said in short
    assert "younger than a day" in whole
    assert "younger than a day" not in short
    by_day = whole.partition("NDCG@10 by day")[2]
    assert [line.split()[0] for line in by_day.splitlines()[2:4]] == ["2026-02-28", "2026-03-01"]
    assert "NDCG@10 by day" not in short
    assert not {"auc", "sampled"} & set(whole.lower().split())


@pytest.mark.usefixtures("city")
def test_a_day_that_is_not_over_is_not_judged_on() -> None:
    def days(as_of: datetime) -> list[str]:
        done = evaluate_database(TrainOptions(), as_of, 2, models=["prior"], baselines=())
        return [f"{day:%F}" for day in (done.first_fold, done.last_fold)]

    midnight = NOON + 12 * HOUR
    assert days(NOON) == days(midnight - HOUR) == ["2026-02-28", "2026-03-01"]
    # Where the data end early though the day is over, it counts.
    assert days(midnight) == days(NOON + 9 * DAY) == ["2026-03-01", "2026-03-02"]


def test_where_no_day_is_over_nothing_is_judged(
    database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    site = a_small_site(database)
    site.run("UPDATE registrations SET registered_at = %s", NOON - HOUR)
    assert run(*QUICK) == NoPositivesError.exit_code
    assert "no day can be evaluated" in capsys.readouterr().err


@pytest.mark.usefixtures("city")
def test_the_usual_evaluation_judges_the_model_that_would_be_trained() -> None:
    done = evaluate_database(TrainOptions(replay_days=14), NOON, 2)
    assert list(done.outcomes) == ["model", "popularity", "velocity", "followed", "ease"]
    linear = evaluate_database(TrainOptions(replay_days=14), NOON, 2, models=["linear"])
    assert next(iter(linear.outcomes)) == ConditionalLogit.kind


@pytest.mark.usefixtures("city")
def test_the_rung_that_auto_chose_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    words = (*QUICK, "--model", "auto,prior", "--baselines", "velocity")
    assert run(*words, "--json") == 0
    systems = json.loads(capsys.readouterr().out)["systems"]
    assert {name: row["kinds"] for name, row in systems.items()} == {
        "model": ["linear"],
        "prior": ["prior"],
        "velocity": [],
    }
    assert run(*words) == 0
    printed = capsys.readouterr().out.splitlines()
    assert "model: linear" in printed
    assert "prior: prior" not in printed


@pytest.mark.usefixtures("city")
def test_trainings_are_averaged_and_each_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    words = (*QUICK, "--model", "linear,heuristic", "--baselines", "none")
    assert run(*words, "--trainings", "2", "--json") == 0
    systems = json.loads(capsys.readouterr().out)["systems"]
    assert list(systems) == ["linear", "heuristic"]
    each = systems["linear"]["ndcg@10 by training"]
    assert systems["linear"]["ndcg@10"] == pytest.approx(sum(each) / 2)
    assert run(*words, "--json") == 0
    alone = json.loads(capsys.readouterr().out)["systems"]["linear"]
    assert alone["ndcg@10 by training"] == [alone["ndcg@10"]] == each[:1]
    assert run(*words, "--trainings", "2") == 0
    told = capsys.readouterr().out
    assert (
        f"NDCG@10 of linear by training: {each[0]:.4f}, {each[1]:.4f}; standard deviation" in told
    )
    assert "of heuristic by training" not in told


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--trainings 0", "--trainings must be between 1 and 32"),
        ("--model oracle", "'oracle'"),
        ("--model linear,oracle", "'oracle'"),
        ("--model ,", "--model"),
        ("--baselines oracle", "'oracle'"),
    ],
)
def test_what_does_not_exist_is_told_before_any_work(
    database: str, capsys: pytest.CaptureFixture[str], words: str, says: str
) -> None:
    a_small_site(database)
    assert run("evaluate", *words.split()) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert says in lines[0]


def test_what_is_dated_in_the_future_moves_no_day(
    city: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("evaluate", "--folds", "3", "--model", "prior", "--json")
    assert run(*words) == 0
    before = capsys.readouterr().out
    city.run(
        "INSERT INTO event_interactions (user_id, event_id, interaction_type, occurred_at)"
        " SELECT 1, min(id), 'click', '2999-01-01' FROM events"
    )
    assert run(*words) == 0
    assert capsys.readouterr().out == before
