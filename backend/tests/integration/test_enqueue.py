"""``eventlink enqueue`` and its script: a job's id, also of the one that is there; exit 0 both times."""

import subprocess
import sys
from typing import Any

import pytest
from integration.sites import Site

from eventlink.cli import main
from eventlink.config import PROJECT_ROOT
from eventlink.errors import InvalidOptionError, MigrationsMissingError
from eventlink.recsys.options import Activate, TrainOptions
from eventlink.services.jobs import Retrain

SCRIPT = PROJECT_ROOT / "backend" / "scripts" / "enqueue_scheduled_jobs.py"


def run(*words: str) -> object:
    with pytest.raises(SystemExit) as stopped:
        main(words)
    return stopped.value.code


def helps(*commands: str) -> list[str]:
    """Return what a new process, which reads its settings when it begins, says of commands."""
    script = (
        "from contextlib import suppress; from eventlink.cli import main\n"
        f"for name in {commands}:\n"
        "    with suppress(SystemExit): main([name, '--help'])\n"
        "    print('\\f', end='')"
    )
    command = [sys.executable, "-c", script]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return told.split("\f")[:-1]


def payloads(site: Site) -> list[Any]:
    return [args["request"] for (args,) in site.run("SELECT args FROM procrastinate_jobs")]


@pytest.mark.once
def test_the_script_queues_a_job_once_and_exits_with_0_both_times(site: Site) -> None:
    command = [sys.executable, str(SCRIPT), "--retrain-ml", "--top-n", "50"]
    said = [subprocess.run(command, check=True, capture_output=True, text=True) for _ in range(2)]
    assert [one.stdout for one in said] == [
        "queued job 1\n",
        "already queued or running: job 1\n",
    ]
    assert payloads(site) == [Retrain().to_payload()]


def test_what_is_asked_for_reaches_the_job(site: Site) -> None:
    training = ["--retrain-ml", "--top-n", "7", "--lr", "0.1", "--skip-training", "--folds", "0"]
    rules = ["--per-organizer", "2", "--collapse-series"]
    assert run("enqueue", *training, *rules, "--activate", "never") == 0
    options = TrainOptions(top_n=7, lr=0.1, per_organizer=2, collapse_series=True)
    (payload,) = payloads(site)
    asked = Retrain(options, skip_training=True, folds=0, activate=Activate.NEVER)
    assert Retrain.from_payload(payload) == asked


@pytest.mark.once
def test_what_is_not_asked_for_is_as_the_site_has_set_it(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECOMMENDATIONS_TOP_N", "20")
    monkeypatch.setenv("recommendations_per_organizer", "2")
    monkeypatch.setenv("RECOMMENDATIONS_COLLAPSE_SERIES", "yes")
    command = [sys.executable, str(SCRIPT), "--retrain-ml", "--per-organizer", "3"]
    subprocess.run(command, check=True)
    (payload,) = payloads(site)
    of_site = TrainOptions(top_n=20, per_organizer=3, collapse_series=True)
    assert Retrain.from_payload(payload).options == of_site
    for told in helps("recompute", "enqueue", "evaluate"):
        assert "default: 2]" in told.partition("--per-organizer")[2].partition("--collapse")[0]
        assert "[default: collapse-series]" in " ".join(told.split())


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "say what to queue"),
        (["--retrain-ml", "--top-n", "0"], "--top-n must be between 1 and 1000"),
        (["--retrain-ml", "--folds", "-1"], "--folds must be between 0 and 366"),
    ],
)
def test_a_bad_option_queues_nothing(
    site: Site, capsys: pytest.CaptureFixture[str], words: list[str], says: str
) -> None:
    assert run("enqueue", *words) == InvalidOptionError.exit_code
    assert says in capsys.readouterr().err
    assert payloads(site) == []


@pytest.mark.usefixtures("empty_database")
@pytest.mark.parametrize("words", [["enqueue", "--retrain-ml"], ["worker"]])
def test_without_migrations_one_line_says_what_to_do(
    capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    assert run(*words) == MigrationsMissingError.exit_code
    (line,) = capsys.readouterr().err.splitlines()
    assert "eventlink migrate" in line
