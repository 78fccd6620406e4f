"""Floor 5: the ``eventlink`` command. One module a sub-command; no logic.

What lives here: the program itself and the one place where errors become a line and an exit code.
"""

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.metadata import version
from typing import Annotated

import structlog
import typer
from pydantic import ValidationError

from eventlink.config import requirement, settings
from eventlink.db.refusals import refusal
from eventlink.errors import EventLinkError
from eventlink.logs import configure_logs

log = structlog.get_logger()

INTERRUPTED = 130
"""The shell's exit code for Ctrl-C."""

COMMANDS = {
    "migrate": ("migrate", "Bring the database's tables to this version's form."),
    "simulate": ("simulate", "Make a city with known truth, to try Event Link on."),
    "simulate-seats": ("simulate_seats", "Show what --seat-strength does in a simulated city."),
    "import": ("interchange", "Load users, events and what happened from files."),
    "export": ("interchange", "Write users, events and what happened to files."),
    "recompute": ("recompute", "Train, evaluate and publish every user's ranking."),
    "evaluate": ("evaluate", "Judge models and baselines on past days."),
    "score": ("score", "Score given (user, event) pairs as of an instant."),
    "show": ("show", "Show users' rankings as they are served, with reasons."),
    "serve": ("serve", "Serve the HTTP API."),
    "worker": ("worker", "Run the queued jobs, until interrupted."),
    "check-worker": (
        "check_worker",
        "Tell whether this machine's worker is alive.",
    ),
    "enqueue": ("enqueue", "Queue a recompute, unless one is queued or running."),
    "models": ("models", "List the stored models, or make another one serve."),
    "create-admin": ("create_admin", "Make an administrator, also of an existing account."),
    "token": ("token", "Print an access token of a user, to try the HTTP API with."),
    "database": ("database", "Run the embedded PostgreSQL and print its address."),
}
"""Each command's module, and the first line of what it says of itself."""

SERVICES = {"serve", "worker"}
"""Those that run on and on, and whose logs machines read."""


def program(asked: str | None = None) -> typer.Typer:
    """Build the command line.

    Args:
        asked: The only command to import, for some need a second of libraries; the others are
            listed and cannot be run. None imports all.
    """
    app = typer.Typer(
        name="eventlink",
        help="The event recommender that lives in the Postgres you already have.",
        epilog="The database is DATABASE_URL, or an embedded PostgreSQL where that is not set.",
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,  # boxes cut long options off at 80 columns
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_all)
    for name, (module, summary) in COMMANDS.items():
        if asked in {name, None}:
            app.command(name)(_function(module, name))
        else:
            app.command(name, help=summary)(_not_asked)
    return app


def _tell_version(asked: bool) -> None:
    if asked:
        typer.echo(f"eventlink {version('eventlink')}")
        raise typer.Exit


def _all(
    tell_version: Annotated[
        bool,
        typer.Option(
            "--version", help="Tell the version and exit.", callback=_tell_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Take what is no command's own option."""
    del tell_version


def _function(module: str, name: str) -> Callable[..., None]:
    """Return the function of a command, which has its name; one that Python reserves, with a _."""
    found = vars(import_module(f"eventlink.cli.{module}"))
    function: Callable[..., None] = found.get(name.replace("-", "_")) or found[f"{name}_"]
    return function


def _not_asked() -> None:
    """Stand in for a command that is only listed."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0, or an error's own code with one line on stderr.

    Args:
        arguments: What to parse; the process's own arguments if None.
    """
    words = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    try:
        asked = next((word for word in words if not word.startswith("-")), "")
        known = settings()
        configure_logs(known.log_format, known.log_level, service=asked in SERVICES)
        app = program(asked)
        status = app(args=words, prog_name="eventlink", standalone_mode=False)
    except typer.TyperException as error:
        _fail(f"{_said(error)}; see: {_asked(error)} --help", error.exit_code)
    except EventLinkError as error:
        _fail(str(error), error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        status = INTERRUPTED
    except Exception as error:
        refused = refusal(error)
        if refused is None:
            raise
        # It may be our own SQL that is wrong, and not the database.
        log.debug("the database refused a statement", exc_info=True)
        _fail(str(refused), refused.exit_code)
    if status == INTERRUPTED:  # typer makes this of Ctrl-C, and says nothing
        _fail("interrupted; nothing half-written", INTERRUPTED)
    sys.exit(status if isinstance(status, int) else 0)


def _said(error: typer.TyperException) -> str:
    """Return what was wrong; of a value in our words, not in those of Pydantic, which read it."""
    if not (isinstance(error, typer.BadParameter) and isinstance(error.__cause__, ValidationError)):
        return error.format_message().rstrip(".")
    wrong = error.__cause__.errors()[0]
    hint = "the value" if error.param is None else error.param.get_error_hint()
    name = hint.split(" / ")[-1].strip("'[].")
    if wrong["type"] == "value_error":
        return f"{name}: {wrong['ctx']['error']}".rstrip(".")
    return f"{name} {requirement(wrong)}, not {wrong['input']!r}"


def _asked(error: typer.TyperException) -> str:
    """Return the command that was asked wrongly, as far as it could be told."""
    context = getattr(error, "ctx", None)
    return "eventlink" if context is None else str(context.command_path)


def _fail(message: str, code: int) -> None:
    print(f"eventlink: error: {' '.join(message.split())}", file=sys.stderr)  # noqa: T201
    sys.exit(code)
