"""Floor 5: the ``eventlink`` command. One module a sub-command; no logic.

What lives here: the program itself and the one place where errors become a line and an exit code.
"""

import sys
from collections.abc import Sequence

import typer

from eventlink.cli import (
    create_admin,
    database,
    enqueue,
    evaluate,
    interchange,
    migrate,
    models,
    recompute,
    score,
    serve,
    show,
    simulate,
    simulate_seats,
    token,
    worker,
)
from eventlink.config import settings
from eventlink.errors import EventLinkError
from eventlink.logs import configure_logs

INTERRUPTED = 130
"""The shell's exit code for Ctrl-C."""

app = typer.Typer(
    name="eventlink",
    help="The event recommender that lives in the Postgres you already have.",
    epilog="The database is DATABASE_URL, or an embedded PostgreSQL where that is not set.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # boxes cut long options off at 80 columns
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("migrate")(migrate.migrate)
app.command("simulate")(simulate.simulate)
app.command("simulate-seats")(simulate_seats.simulate_seats)
app.command("import")(interchange.import_)
app.command("export")(interchange.export)
app.command("recompute")(recompute.recompute)
app.command("evaluate")(evaluate.evaluate)
app.command("score")(score.score)
app.command("show")(show.show)
app.command("serve")(serve.serve)
app.command("worker")(worker.worker)
app.command("enqueue")(enqueue.enqueue)
app.command("models")(models.models)
app.command("create-admin")(create_admin.create_admin)
app.command("token")(token.token)
app.command("database")(database.database)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0, or an error's own code with one line on stderr.

    Args:
        arguments: What to parse; the process's own arguments if None.
    """
    words = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    try:
        configure_logs(settings().log_format)
        status = app(args=words, prog_name="eventlink", standalone_mode=False)
    except typer.TyperException as error:
        _fail(f"{error.format_message().rstrip('.')}; see: {_asked(error)} --help", error.exit_code)
    except EventLinkError as error:
        _fail(str(error), error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        status = INTERRUPTED
    if status == INTERRUPTED:  # typer makes this of Ctrl-C, and says nothing
        _fail("interrupted; nothing half-written", INTERRUPTED)
    sys.exit(status if isinstance(status, int) else 0)


def _asked(error: typer.TyperException) -> str:
    """Return the command that was asked wrongly, as far as it could be told."""
    context = getattr(error, "ctx", None)
    return "eventlink" if context is None else str(context.command_path)


def _fail(message: str, code: int) -> None:
    print(f"eventlink: error: {' '.join(message.split())}", file=sys.stderr)  # noqa: T201
    sys.exit(code)
