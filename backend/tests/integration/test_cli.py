"""The command line: reports on stdout, one line and a code of its own for every bad input."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta, tzinfo
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import pytest
from integration.sites import DAY, NOON, Site, a_small_site, eventually, rank_at

from eventlink import cli, errors
from eventlink.cli import main
from eventlink.config import PROJECT_ROOT, settings
from eventlink.db import session
from eventlink.db.recommendations import recompute_lock
from eventlink.services.experiments import Arm, arm_of
from eventlink.services.tokens import Kind, read

SCRIPT = PROJECT_ROOT / "backend" / "scripts" / "recompute_recommendations_ml.py"
AS_OF = NOON.isoformat()
LOGGED = re.compile(r"\d{4}-\d\d-\d\dT[0-9:.]+Z \[(info|warning) *\] ")
"""How a log line for people begins."""


def run(*words: str) -> int:
    """Run a command in this process and return its exit code."""
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert isinstance(stopped.value.code, int)
    return stopped.value.code


def use(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set ``DATABASE_URL`` for the rest of the test."""
    monkeypatch.setenv("DATABASE_URL", address)
    session.engine.cache_clear()
    settings.cache_clear()


def complaint(printed: str) -> str:
    """Return the only line that is not a log line, which must be an error."""
    lines = [line for line in printed.splitlines() if not LOGGED.match(line)]
    assert len(lines) == 1, printed
    assert lines[0].startswith("eventlink: error: ")
    return lines[0]


# Bad input -----------------------------------------------------------------------------------


@pytest.mark.once
@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ("--top-n 0", 2, "--top-n must be between 1 and 1000, not 0"),
        ("--top-n -1", 2, "--top-n must be between 1 and 1000, not -1"),
        ("--top-n 1001", 2, "--top-n must be between 1 and 1000, not 1001"),
        (
            "--top-n many",
            2,
            "error: --top-n must be a whole number, not 'many'; see: eventlink recompute",
        ),
        ("--lr fast", 2, "error: --lr must be a number, not 'fast'; see"),
        (
            "--activate soon",
            2,
            "--activate: 'soon' is not one of 'always', 'never', 'if-better'; see",
        ),
        ("--folds -1", 2, "--folds must be between 0 and 366"),
        ("--folds 99999999999999999999", 2, "--folds must be between 0 and 366"),
        ("--seed -1", 2, "--seed must be 0 or above"),
        ("--epochs 0", 2, "--epochs must be between 1 and 1000"),
        ("--lr 0", 2, "--lr must be above 0"),
        ("--lr nan", 2, "--lr must be above 0"),
        ("--lr inf", 2, "--lr must be above 0"),
        ("--l2 -1", 2, "--l2 must be between 0"),
        ("--model-version=", 2, "--model-version is empty"),
        ("--nonsense", 2, "No such option: --nonsense"),
        ("surplus", 2, "unexpected extra argument"),
        ("--as-of yesterday", 13, "'yesterday' is not an instant"),
        ("--as-of=", 13, "'' is not an instant"),
        ("--as-of 2026-02-30", 13, "'2026-02-30' is not an instant"),
        ("--as-of 9999-12-31T23:59:59-12:00", 13, "is not an instant"),
        ("--as-of 1500-01-01", 6, "--as-of"),
        ("--as-of 2999-01-01", 2, "--as-of 2999-01-01T00:00:00+00:00 lies in the future"),
        ("--as-of 2999-01-01 --dry-run", 2, "lies in the future"),
        ("--user-id 99", 8, "user 99 does not exist"),
        ("--user-id 10", 8, "user 10 does not exist or is not an active student"),
        ("--user-id 99999999999999999999999", 8, "does not exist"),
        ("--user-id 1 --only-train", 2, "--only-train ranks nobody, and --user-id trains nothing"),
        ("--model-version taken", 10, "taken is stored already"),
    ],
)
def test_a_bad_option_gets_one_line_and_writes_nothing(
    database: str, capsys: pytest.CaptureFixture[str], words: str, code: int, says: str
) -> None:
    site = a_small_site(database)
    site.run(
        "INSERT INTO recommender_models (model_version, feature_names, weights, meta, is_active)"
        " VALUES ('taken', '[]', '{}', '{}', true)"
    )
    before = site.contents()
    assert run("recompute", "--as-of", AS_OF, "--folds", "0", *words.split()) == code
    printed = capsys.readouterr()
    assert says in complaint(printed.err)
    assert printed.out == ""
    assert site.contents() == before


@pytest.mark.parametrize(
    ("spoil", "words", "code"),
    [
        ("DELETE FROM users", "", errors.NoUsersError.exit_code),
        ("DELETE FROM events", "", errors.NoEventsError.exit_code),
        ("UPDATE events SET start_time = created_at", "", errors.NoEventsError.exit_code),
        ("DELETE FROM registrations", "", errors.NoPositivesError.exit_code),
        (
            'UPDATE recommender_models SET feature_names = \'["a", "b"]\'',
            "--skip-training",
            errors.ModelMismatchError.exit_code,
        ),
    ],
)
def test_a_site_with_too_little_gets_one_line_and_stays_as_it_is(
    database: str, capsys: pytest.CaptureFixture[str], spoil: str, words: str, code: int
) -> None:
    site = a_small_site(database)
    rank_at()
    site.run(spoil)
    before = site.contents()
    assert run("recompute", "--as-of", AS_OF, *words.split()) == code
    complaint(capsys.readouterr().err)
    assert site.contents() == before


@pytest.mark.once
@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            "token me",
            "USER must be a whole number or an e-mail address, not 'me'; see: eventlink token --help",
        ),
        ("show 1 me", "USER_ID must be a whole number, not 'me'; see: eventlink show --help"),
        (
            "create-admin ana",
            "'ana' is not an e-mail address: An email address must have an @-sign",
        ),
        ("modles", "No such command 'modles'. Did you mean 'models'?; see: eventlink --help"),
        ("-- modles", "No such command 'modles'. Did you mean 'models'?; see: eventlink --help"),
    ],
)
def test_a_wrong_word_is_told_in_our_words(
    capsys: pytest.CaptureFixture[str], words: str, says: str
) -> None:
    assert run(*words.split()) == 2
    assert complaint(capsys.readouterr().err) == f"eventlink: error: {says}"


@pytest.mark.once
@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("LOG_FORMAT", "xml", "must be 'auto', 'console' or 'json', not 'xml'"),
        ("TASK_QUEUE_ENABLED", "2", "must be true or false, not '2'"),
        ("WORKER_HEARTBEAT_SECONDS", "often", "must be a number, not 'often'"),
        ("WORKER_HEARTBEAT_SECONDS", "0", "must be above 0, not '0'"),
        (
            "RECOMMENDATIONS_REALTIME_REFRESH_MIN_INTERVAL_SECONDS",
            "-1",
            "must be 0 or above, not '-1'",
        ),
    ],
)
def test_a_wrong_setting_is_told_by_its_name(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    value: str,
    says: str,
) -> None:
    monkeypatch.setenv(name, value)
    settings.cache_clear()
    assert run("models") == 2
    line = f"eventlink: error: the environment variable {name} {says}"
    assert complaint(capsys.readouterr().err) == line


@pytest.mark.once
@pytest.mark.parametrize("command", ["enqueue", "models", "token", "create-admin", "check-worker"])
def test_a_small_command_loads_none_of_the_mathematics(command: str) -> None:
    script = (
        "import sys; from eventlink.cli import main\n"
        f"try: main(['{command}', '--help'])\n"
        "finally: print(sorted({'numpy', 'scipy', 'pyarrow', 'lightgbm'} & set(sys.modules)))"
    )
    said = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )
    assert said.stdout.splitlines()[0].startswith("Usage: eventlink")
    assert said.stdout.splitlines()[-1] == "[]"


@pytest.mark.once
@pytest.mark.parametrize("command", ["recompute", "evaluate", "migrate"])
@pytest.mark.parametrize(
    "address",
    [
        "postgresql://user:secret@localhost:1/events",
        "postgresql://user:secret@localhost:port/events",
        "postgresql://user:secret@one:1,two:2/events",
        "postgresql://user:secret@localhost:1/events?colour=red",
        "postgresql://localhost:1/events?user=user&password=secret",
        "postgresql://user:secret@nowhere.invalid/events",
        "postgresql://user:p@secret@localhost:1/events",
        "postgresql://user:p@secret/secret@localhost:1/events",
        "postgresql://user:p?@secret@localhost:1/events",
        "postgresql://me@secret:secret@localhost:1/events",
        "mysql://user:secret@localhost/events",
        "sqlite:///events.db",
        "events",
    ],
)
def test_a_database_that_cannot_be_reached_gets_one_line_without_its_password(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    address: str,
    command: str,
) -> None:
    use(address, monkeypatch)
    assert run(command) == errors.DatabaseUnreachableError.exit_code
    line = complaint(capsys.readouterr().err)
    assert "DATABASE_URL" in line
    assert "secret" not in line
    assert ("%40" in line) == (address.count("@") > 1)


@pytest.mark.parametrize("words", ["recompute", "recompute --dry-run", "evaluate", "show 1"])
@pytest.mark.usefixtures("empty_database")
def test_missing_migrations_are_told(capsys: pytest.CaptureFixture[str], words: str) -> None:
    assert run(*words.split()) == errors.MigrationsMissingError.exit_code
    assert "eventlink migrate" in complaint(capsys.readouterr().err)


def test_migrations_of_a_newer_version_are_told(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site.run("UPDATE alembic_version SET version_num = '0999_from_the_future'")
    for command in ("migrate", "recompute"):
        assert run(command) == errors.MigrationsMissingError.exit_code
        assert "0999_from_the_future" in complaint(capsys.readouterr().err)


@pytest.mark.parametrize("words", ["recompute", "import {folder}", "export {folder}/out"])
@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        ("DROP TABLE registrations CASCADE", 'relation "registrations" does not exist'),
        ("ALTER TABLE events DROP COLUMN category", 'column "category" does not exist'),
    ],
)
def test_a_table_or_column_that_was_dropped_is_named(
    database: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: str,
    spoil: str,
    says: str,
) -> None:
    a_small_site(database).run(spoil)
    (tmp_path / "events.csv").write_text("id,start_time\n77,2026-03-01T18:00:00Z\n")
    code = run(*words.format(folder=tmp_path).split())
    assert code == errors.MigrationsMissingError.exit_code
    line = complaint(capsys.readouterr().err)
    assert "tables are not those of this version" in line
    assert says in line


@pytest.mark.parametrize(("level", "shown"), [("", False), ("INFO", False), ("debug", True)])
def test_where_a_statement_was_refused_is_told_to_whoever_asks(
    database: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    level: str,
    shown: bool,
) -> None:
    a_small_site(database).run("ALTER TABLE events DROP COLUMN category")
    with monkeypatch.context() as patch:
        if level:
            patch.setenv("LOG_LEVEL", level)
        settings.cache_clear()
        assert run("recompute") == errors.MigrationsMissingError.exit_code
    settings.cache_clear()
    printed = capsys.readouterr().err
    assert ("Traceback" in printed and "db/dataset.py" in printed) is shown
    assert printed.splitlines()[-1].startswith("eventlink: error: the database's tables are not")


ALL_TABLES = "ALL TABLES IN SCHEMA public"
BUT_THE_DATA = (
    "alembic_version, recommender_models, recommendation_serving, recommendation_generations"
)


@pytest.mark.parametrize(
    ("granted", "words"),
    [
        ("", "models"),
        ("", "recompute"),
        ("", "migrate"),
        ("", "export {folder}/out"),
        (ALL_TABLES, "import {folder}"),
        (ALL_TABLES, "recompute"),
        (ALL_TABLES, "enqueue --retrain-ml"),
        (BUT_THE_DATA, "recompute --dry-run"),
    ],
)
def test_a_user_without_the_right_is_told_of_what(
    database: str,
    role: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    granted: str,
    words: str,
) -> None:
    site = a_small_site(database)
    if granted:
        site.run(f"GRANT SELECT ON {granted} TO {role}")
    (tmp_path / "events.csv").write_text("id,start_time\n77,2026-03-01T18:00:00Z\n")
    use(database.replace("//postgres:", f"//{role}:"), monkeypatch)
    code = run(*words.format(folder=tmp_path).split())
    assert code == errors.RightMissingError.exit_code
    line = complaint(capsys.readouterr().err)
    assert f"the user {role} may not do this: permission denied for table " in line


def test_a_search_path_without_a_schema_is_told(
    database: str,
    role: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    address = database.replace("//postgres:", f"//{role}:")
    use(f"{address}&options=-csearch_path%3Dnowhere", monkeypatch)
    assert run("migrate") == errors.RightMissingError.exit_code
    line = complaint(capsys.readouterr().err)
    assert f"no schema of the search_path is there and may be used by the user {role}" in line


def test_a_second_recompute_gets_one_line(
    database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    a_small_site(database)
    with session.connection() as conn, recompute_lock(conn):
        assert run("recompute", "--as-of", AS_OF) == errors.RecomputeRunningError.exit_code
    assert "wait for it" in complaint(capsys.readouterr().err)


@pytest.mark.once
def test_a_setting_that_cannot_be_gets_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value, says in (
        ("LOG_FORMAT", "pretty", "LOG_FORMAT must be"),
        (
            "LOG_LEVEL",
            "loud",
            "LOG_LEVEL must be 'debug', 'info', 'warn', 'warning', 'error' or 'critical'",
        ),
        ("EVENTLINK_DATA_DIR", "", "EVENTLINK_DATA_DIR must name a folder, not ''"),
        (
            "ALLOWED_ORIGINS",
            "https://a.example/page",
            "without a path or *, not 'https://a.example/page'",
        ),
        (
            "ALLOWED_ORIGINS",
            "*",
            "must name sites in full, as in https://city.example, https://two.example, without a path or *, not '*'",
        ),
        ("RECOMMENDATIONS_CACHE_MAX_AGE_SECONDS", "inf", "SECONDS must be 315360000 or below"),
        ("RECOMMENDATIONS_TOP_N", "1001", "RECOMMENDATIONS_TOP_N must be 1000 or below"),
        ("RECOMMENDATIONS_EXPLORE_SLOTS", "10", "SLOTS must be below RECOMMENDATIONS_HEAD"),
        ("INTERACTIONS_KEPT_DAYS", "30", "DAYS must be 90 or above, or 0 to keep all"),
        ("RECOMMENDATIONS_CONTROL_SHARE", "0.6", "CONTROL_SHARE must be 0.5 or below"),
        ("RECOMMENDATIONS_CONTROL_SHARE", "nan", "CONTROL_SHARE must be"),
        ("RECOMMENDATIONS_EXPERIMENT", "", "EXPERIMENT must be 1 to 40 letters, digits"),
        ("RECOMMENDATIONS_EXPERIMENT", "a b", "EXPERIMENT must be 1 to 40 letters, digits"),
    ):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            settings.cache_clear()
            assert run("recompute") == errors.InvalidOptionError.exit_code
            assert says in complaint(capsys.readouterr().err)
    settings.cache_clear()


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("show", 2),
        ("show --sample -1", 2),
        ("show 1 --top 0", 2),
        ("show 1 --top -1", 2),
        ("show 1 --language de", 2),
        ("show 99", 8),
        ("show 99999999999999999999", 8),
        ("show --sample 99999999999999999999", 2),
        ("models --limit 0", 2),
        ("models --limit 99999999999999999999", 2),
        ("token 0", 2),
        ("token 99999999999999999999", 2),
        ("token nobody@\udcff", 2),
        ("evaluate --folds 0", 2),
        ("evaluate --as-of=", 13),
        ("serve --port 0", 2),
        ("serve --port 65536", 2),
        ("serve --host 192.0.2.1", 2),
        ("serve --workers 0", 2),
        ("nonsense", 2),
    ],
)
def test_the_other_commands_tell_bad_input_likewise(
    database: str, capsys: pytest.CaptureFixture[str], words: str, code: int
) -> None:
    a_small_site(database)
    assert run(*words.split()) == code
    complaint(capsys.readouterr().err)


def test_a_token_is_made_by_id_or_by_address(
    database: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    site = a_small_site(database)
    monkeypatch.setenv("SECRET_KEY", "0123456789abcdef0123456789abcdef")
    settings.cache_clear()
    site.run("UPDATE users SET email = 'Ana.Pop@example.org' WHERE id = 1")
    for user in ("1", "ana.pop@example.ORG"):
        assert run("token", user) == 0
        claims = read(capsys.readouterr().out.strip(), Kind.ACCESS, settings().secret_key)
        assert claims.user_id == 1
    site.run("UPDATE users SET is_active = false WHERE id = 1")
    for user, says in (
        ("ana.pop@example.org", "user 1 does not exist or is not active"),
        ("99", "user 99 does not exist or is not active"),
        ("nobody@example.org", "no user has the address 'nobody@example.org'"),
    ):
        assert run("token", user) == errors.NotFoundError.exit_code
        assert complaint(capsys.readouterr().err) == f"eventlink: error: {says}"


@pytest.mark.parametrize("words", ["serve", "token 1"])
def test_in_production_nothing_is_signed_with_a_weak_secret(
    database: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    a_small_site(database)
    monkeypatch.setenv("SECRET_KEY", "")
    monkeypatch.setenv("ENVIRONMENT", "production")
    settings.cache_clear()
    assert run(*words.split()) == errors.WeakSecretError.exit_code
    printed = capsys.readouterr()
    assert "openssl rand" in complaint(printed.err)
    assert printed.out == ""


def test_a_port_that_is_taken_is_told_before_anything_starts(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert run("serve", "--port", str(port)) == errors.InvalidOptionError.exit_code
    assert f"127.0.0.1, port {port}: Address already in use" in complaint(capsys.readouterr().err)


def test_a_port_that_is_taken_is_the_first_that_the_demo_s_server_tells(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        for wrong in (port, "eighty"):
            done = subprocess.run(
                [PROJECT_ROOT / "backend" / "scripts" / "serve_demo.sh", wrong],
                env={
                    "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                    "EVENTLINK_DATA_DIR": str(tmp_path / "nothing"),
                },
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 1
            assert done.stderr == (
                f"nothing can listen on port {wrong}; choose another: make serve PORT=8001\n"
            )


def test_a_wrong_option_points_to_the_command_s_own_help(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run("recompute", "--topn", "3") == errors.InvalidOptionError.exit_code
    assert complaint(capsys.readouterr().err).endswith("see: eventlink recompute --help")


@pytest.mark.parametrize("words", ["--help", "recompute --help", "evaluate --help"])
def test_the_help_fits_eighty_columns_uncut(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert run(*words.split()) == 0
    printed = capsys.readouterr().out
    assert max(len(line) for line in printed.splitlines()) <= 80
    assert "..." not in printed.replace("[ARGS]...", "")
    assert "…" not in printed


# Reports -------------------------------------------------------------------------------------


@pytest.mark.once
def test_the_report_tells_hitrate_beside_popularity_s(
    city: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    before = city.contents()
    assert run("recompute", "--dry-run", "--as-of", AS_OF, "--folds", "2") == 0
    printed = capsys.readouterr()
    assert re.search(
        r"^hitrate@10 [01]\.\d{4} \(popularity [01]\.\d{4}\)$", printed.out, re.MULTILINE
    )
    assert printed.out.endswith("\ndry run: nothing written\n")
    assert "\nthat is the share of pairs whose first ten hold" in printed.out
    assert "NDCG@10" in printed.out
    assert "95 % interval" in printed.out
    assert city.contents() == before


@pytest.mark.once
def test_a_dry_run_claims_no_activation(database: str, capsys: pytest.CaptureFixture[str]) -> None:
    a_small_site(database)
    words = ("recompute", "--dry-run", "--as-of", AS_OF, "--folds", "0")
    assert run(*words) == 0
    assert (
        "\nwould be activated: no other model serves, so there is none to compare it with\n"
        in capsys.readouterr().out
    )
    assert run(*words, "--activate", "never") == 0
    assert "\nwould not be activated: --activate never\n" in capsys.readouterr().out
    assert run(*words, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["activated"], told["would_activate"]) == (False, True)


def test_json_is_one_document_on_stdout_and_logs_are_on_stderr(
    city: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("recompute", "--as-of", AS_OF, "--folds", "1", "--json") == 0
    printed = capsys.readouterr()
    report = json.loads(printed.out)
    assert report["published"] == report["users"] == len(city.rankings())
    assert 0 <= report["metrics"]["model"]["hitrate_10"] <= 1
    assert report["as_of"] == AS_OF
    *logs, careful = printed.err.splitlines()
    assert all(map(LOGGED.match, logs))
    assert any("] ranking users" in line for line in logs)
    assert careful.startswith("careful: ")


@pytest.mark.once
@pytest.mark.parametrize(
    ("days", "words", "told"),
    [
        (2, "", True),
        (2, "--user-id 1", True),
        (2, "--dry-run", False),
        (2, "--only-train", False),
        (0, "", False),
    ],
)
def test_rankings_of_the_past_are_not_published_without_a_word(
    database: str, capsys: pytest.CaptureFixture[str], days: int, words: str, told: bool
) -> None:
    site = a_small_site(database)
    as_of = datetime.now(UTC) - days * DAY
    site.run("UPDATE events SET start_time = now() + interval '1 day'")
    assert run("recompute", "--as-of", f"{as_of:%FT%TZ}", "--folds", "0", *words.split()) == 0
    careful = f"careful: what is served now knows nothing after {as_of:%F %H:%M} UTC;"
    assert (careful in capsys.readouterr().err) is told


@pytest.mark.once
@pytest.mark.parametrize(("seconds", "code"), [(40, 0), (80, 2)])
def test_a_clock_that_is_somewhat_fast_says_now(
    database: str, capsys: pytest.CaptureFixture[str], seconds: int, code: int
) -> None:
    site = a_small_site(database)
    site.run("UPDATE events SET start_time = now() + interval '1 day'")
    asked = datetime.now(UTC)
    as_of = (asked + timedelta(seconds=seconds)).isoformat()
    assert run("recompute", "--as-of", as_of, "--folds", "0", "--json") == code
    if code == 0:
        seen = datetime.fromisoformat(json.loads(capsys.readouterr().out)["as_of"])
        assert abs(seen - asked) < timedelta(seconds=seconds / 2)


@pytest.mark.parametrize("words", ["--dry-run", "--skip-training", "--user-id 1"])
def test_options_that_do_not_go_together_are_refused_without_a_database(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: str
) -> None:
    with monkeypatch.context() as patch:
        use("postgresql://user:secret@localhost:1/events", patch)
        code = run("recompute", "--only-train", *words.split())
    session.engine.cache_clear()
    settings.cache_clear()
    assert code == errors.InvalidOptionError.exit_code
    assert "leave out" in complaint(capsys.readouterr().err)


def test_rankings_are_dated_by_the_database_s_clock(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Ahead(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + DAY / 2

    module = import_module("eventlink.cli.recompute")
    monkeypatch.setattr(module, "datetime", Ahead, raising=False)
    site = a_small_site(database)
    site.run("UPDATE events SET start_time = now() + interval '1 day'")
    assert run("recompute", "--folds", "0") == 0
    dated = "SELECT DISTINCT generated_at BETWEEN now() - interval '1 hour' AND now() FROM"
    assert site.run(f"{dated} user_recommendations") == [(True,)]


def test_what_cannot_be_measured_is_told(database: str, capsys: pytest.CaptureFixture[str]) -> None:
    a_small_site(database)
    assert run("recompute", "--as-of", AS_OF) == 0
    assert "hitrate@10 not measured" in capsys.readouterr().out


def test_a_version_is_printed_as_it_was_given(
    database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    a_small_site(database)
    name = "a name with [brackets] and [/slashes] that is longer than a terminal is wide, surely"
    words = ("--as-of", AS_OF, "--folds", "0", "--model-version", name)
    assert run("recompute", *words) == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith(f", by {name}")


def test_every_option_reaches_the_model_s_row(
    database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    site = a_small_site(database)
    words = "--top-n 1 --epochs 2 --lr 0.5 --l2 0.25 --seed 9 --folds 0 --model-version spring"
    assert run("recompute", "--as-of", AS_OF, *words.split()) == 0
    version, options, as_of = site.run(
        "SELECT model_version, meta -> 'options', meta ->> 'as_of' FROM recommender_models"
    )[0]
    chosen = {"top_n": 1, "epochs": 2, "lr": 0.5, "l2": 0.25, "seed": 9}
    assert (version, as_of) == ("spring", AS_OF)
    assert options.items() >= chosen.items()
    assert all(len(ranked) == 1 for ranked in site.rankings().values())
    assert ", by spring\n" in capsys.readouterr().out


def test_one_user_is_rewritten(database: str, capsys: pytest.CaptureFixture[str]) -> None:
    site = a_small_site(database)
    rank_at(NOON - 2 * DAY)
    words = ("--as-of", AS_OF, "--skip-training", "--user-id", "3")
    assert run("recompute", *words) == 0
    assert site.run("SELECT user_id FROM recommendation_overlay") == [(3,)]
    printed = capsys.readouterr().out
    version = site.run("SELECT model_version FROM recommender_models")[0][0]
    assert printed.splitlines() == [
        (
            f"ranked by the stored model {version} (prior), nothing trained,"
            " as of 2026-03-02 12:00:00 UTC"
        ),
        "hitrate@10 not measured: nothing trained",
        f"published rankings for 1 user, out of 2 events, by {version}",
    ]


@pytest.mark.usefixtures("city")
def test_a_dry_run_without_a_training_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("recompute", "--as-of", AS_OF, "--skip-training", "--dry-run") == 0
    assert capsys.readouterr().out.splitlines() == [
        "the prior model would rank, nothing trained, as of 2026-03-02 12:00:00 UTC",
        "hitrate@10 not measured: nothing trained",
        "dry run: nothing written",
    ]


@pytest.mark.once
@pytest.mark.parametrize("words", ["--skip-training", "--user-id 3 --dry-run"])
def test_without_a_training_the_hitrate_is_that_of_the_stored_model(
    city: Site, capsys: pytest.CaptureFixture[str], words: str
) -> None:
    assert run("recompute", "--as-of", AS_OF, "--folds", "1", "--model", "prior") == 0
    [measured] = re.findall(r"^hitrate@10 .*$", capsys.readouterr().out, re.MULTILINE)
    assert run("recompute", "--as-of", AS_OF, *words.split()) == 0
    assert f"\n{measured} when it was trained\n" in capsys.readouterr().out
    city.run('UPDATE recommender_models SET meta = \'{"metrics": {"model": 1}}\'')
    assert run("recompute", "--as-of", AS_OF, *words.split()) == 0
    assert "\nhitrate@10 not measured: nothing trained\n" in capsys.readouterr().out


def to_come(site: Site) -> None:
    """Move the events of a small site to where the clock does not reach them."""
    site.run("UPDATE events SET start_time = '2126-03-04T12:00Z', end_time = NULL")


def test_brackets_in_titles_and_names_are_shown_as_they_are(
    database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    site = a_small_site(database)
    site.run("UPDATE events SET title = '[Online] Jazz [/b] :tada:'")
    to_come(site)
    site.run("UPDATE users SET full_name = 'Ana [/] Pop'")
    rank_at()
    assert run("show", "1", "--language", "ro") == 0
    shown = capsys.readouterr().out
    assert "[Online] Jazz [/b] :tada:" in shown
    assert "User 1 Ana [/] Pop" in shown
    assert "Urmărești Ana [/] Pop" in shown


def test_a_ranking_is_shown_with_its_age_and_without_what_may_not_be_shown(
    database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    site = a_small_site(database)
    to_come(site)
    rank_at()
    [(first, *_), (second, *_)] = site.rankings()[1]
    site.run("UPDATE events SET title = 'Event ' || id")
    site.run("UPDATE events SET start_time = now() - interval '1 minute' WHERE id = %s", first)
    assert run("show", "1") == 0
    shown = capsys.readouterr().out
    assert re.search(r"ranked 2026-03-02 12:00 UTC by \S+", shown)
    assert "starts (UTC)" in shown
    assert shown.endswith(
        "\nscore: how likely the user is to register for the event within a day\n"
    )
    assert f"Event {first}" not in shown
    assert re.search(rf" 1 +Event {second} +Mon 04 Mar 12:00", shown)
    site.run("UPDATE events SET status = 'cancelled'")
    assert run("show", "1") == 0
    shown = capsys.readouterr().out
    assert "nothing in it may be shown any more" in shown
    assert "score" not in shown


def test_nothing_stored_is_shown_of_who_is_no_student_any_more(
    database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    site = a_small_site(database)
    to_come(site)
    rank_at()
    shown = []
    for _ in range(2):
        assert run("show", "1") == 0
        shown.append("score" in capsys.readouterr().out)
        site.run("UPDATE users SET role = 'organizer' WHERE id = 1 RETURNING id")
    assert shown == [True, False]


def test_whoever_is_in_control_is_told_to_be_so(
    database: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    site = a_small_site(database)
    to_come(site)
    rank_at()
    monkeypatch.setenv("RECOMMENDATIONS_CONTROL_SHARE", "0.5")
    monkeypatch.setenv("RECOMMENDATIONS_EXPERIMENT", "2")
    settings.cache_clear()
    told = {}
    for user in (1, 2, 3, 10, 11):
        assert run("show", str(user)) == 0
        told[user] = "in the control arm: the server answers" in capsys.readouterr().out
    arms = {user: arm_of(user, is_rankable=True) for user in told}
    assert arms[10] is arms[11] is Arm.CONTROL
    assert told == {user: arm is Arm.CONTROL and user < 10 for user, arm in arms.items()}
    assert len({told[user] for user in (1, 2, 3)}) == 2


def test_without_a_command_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 0
    printed = capsys.readouterr()
    assert "recompute" in printed.out
    assert printed.err == ""


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--version") == 0
    assert capsys.readouterr().out == f"eventlink {version('eventlink')}\n"


@pytest.mark.once
def test_only_what_runs_on_and_on_logs_for_machines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = {}
    for name in cli.COMMANDS:
        with monkeypatch.context() as patch:
            patch.setattr(cli, "configure_logs", lambda *_, service: told.update({name: service}))  # noqa: B023 (it is called at once)
            assert run(name, "--help") == 0
    capsys.readouterr()
    assert {name for name in told if told[name]} == {"serve", "worker"}
    assert len(told) == len(cli.COMMANDS)


# As a process --------------------------------------------------------------------------------


def script(environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *words],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.once
def test_the_script_is_the_same_command(database: str) -> None:
    site = a_small_site(database)
    done = script({"SECRET_KEY": "any value"}, "--as-of", AS_OF, "--folds", "0", "--json")
    assert (done.returncode, json.loads(done.stdout)["published"]) == (0, 3)
    *logs, careful = done.stderr.splitlines()
    assert all(map(LOGGED.match, logs))
    assert careful.startswith("careful: ")
    assert set(site.rankings()) == {1, 2, 3}


@pytest.mark.once
def test_the_script_fails_with_the_same_line_and_code() -> None:
    done = script({"DATABASE_URL": "postgresql://user:secret@localhost:1/events", "SECRET_KEY": ""})
    assert done.returncode == errors.DatabaseUnreachableError.exit_code
    complaint(done.stderr)
    assert done.stdout == ""


@pytest.mark.once
@pytest.mark.parametrize("path", sorted(SCRIPT.parent.glob("*.py")), ids=lambda path: path.stem)
def test_a_script_run_by_another_python_says_which_one_to_take(path: Path) -> None:
    bare = [sys.executable, "-I", "-S", str(path)]  # without what is installed
    done = subprocess.run(bare, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    told = f".venv/bin/python {path.relative_to(PROJECT_ROOT)}"
    assert complaint(done.stderr).endswith(f"run make setup, then: {told}")


SLOW_RANKING = """
import os, time
from eventlink.cli import main
from eventlink.recsys import ranking

usual, owner = ranking.Ranker.rank, os.getpid()

def rank(*given, **named):
    if os.getpid() == owner:
        return usual(*given, **named)
    print("ranking", flush=True)
    time.sleep(60)

ranking.USERS_A_BLOCK = 16
ranking.Ranker.rank = rank
main(["recompute", "--skip-training"])
"""


def test_ctrl_c_ends_all_processes_with_one_line(city: Site) -> None:
    rank_at()
    before = city.contents()
    city.run("UPDATE events SET start_time = now() + interval '1 day', end_time = NULL")
    before["events"] = city.contents()["events"]
    running = subprocess.Popen(
        [sys.executable, "-c", SLOW_RANKING],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert running.stdout is not None
    assert running.stdout.readline() == "ranking\n"
    time.sleep(0.2)
    os.killpg(running.pid, signal.SIGINT)  # as a terminal does it: to every process
    _, printed = running.communicate(timeout=30)
    assert running.returncode == 130
    assert complaint(printed) == "eventlink: error: interrupted; nothing half-written"
    with pytest.raises(ProcessLookupError):
        os.killpg(running.pid, 0)
    assert city.contents() == before
    rank_at()


def test_a_server_holds_no_transaction_and_ends_in_good_order_after_an_outage(site: Site) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    running = subprocess.Popen(
        [sys.executable, "-c", "from eventlink.cli import main; main()", "serve", "--port", port],
        env=os.environ | {"ENVIRONMENT": "development"},
        stderr=subprocess.PIPE,
        text=True,
    )
    ours = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    try:
        assert eventually(
            lambda: site.run(f"SELECT pid {ours} AND application_name = 'eventlink web'"), 30
        )
        assert site.run(f"SELECT pid {ours} AND starts_with(state, 'idle in transaction')") == []
        assert site.run(f"SELECT pg_terminate_backend(pid) {ours}")
    finally:
        running.terminate()
        _, printed = running.communicate(timeout=30)
    assert running.returncode == 0
    assert "Traceback" not in printed
