"""``eventlink models``."""

from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from sqlalchemy import Connection

from eventlink.db.session import require_migrations, transaction
from eventlink.errors import InvalidOptionError
from eventlink.services import models as service
from eventlink.services.models import ModelSummary, Switched

WHO = "command line"
"""Who activated a model, for the record."""
MOST_LISTED = 10_000


def models(
    limit: Annotated[int, typer.Option(help="List so many.")] = 20,
    activate: Annotated[
        str | None, typer.Option(help="Make this version serve.", show_default="list")
    ] = None,
    rollback: Annotated[
        bool,
        typer.Option(
            "--rollback", help="Serve the last rankings by another model again, and that model."
        ),
    ] = False,
) -> None:
    """List the stored models, or make another one serve."""
    if activate is not None and rollback:
        raise InvalidOptionError("choose --activate or --rollback, not both")
    if not 1 <= limit <= MOST_LISTED:
        raise InvalidOptionError(f"--limit must be between 1 and {MOST_LISTED}, not {limit}")
    with transaction() as conn:
        require_migrations(conn)
        done = _switch(conn, activate, rollback=rollback)
        found = service.list_models(conn, limit) if done is None else []
    if done is not None:
        _tell(done)
    elif found:
        # People may give versions any name; brackets and colons in it are not markup.
        width = None if Console().is_terminal else 110
        Console(highlight=False, markup=False, emoji=False, width=width).print(_table(found))
    else:
        typer.echo("no model is stored; the first recompute stores one")


def _switch(conn: Connection, version: str | None, *, rollback: bool) -> Switched | None:
    now = datetime.now(UTC)
    if version is not None:
        return service.activate(conn, version, WHO, now)
    return service.roll_back(conn, WHO, now) if rollback else None


def _tell(done: Switched) -> None:
    version, before, made_by = done.model_version, done.instead_of, done.rankings_made_by
    typer.echo(f"{version} serves{'' if before in {None, version} else f' instead of {before}'}")
    if made_by is not None:
        still = "" if made_by == version else " still"
        typer.echo(f"everybody's rankings are{still} by {made_by} (generation {done.generation})")
    if done.refreshed_rankings_deleted:
        typer.echo(
            f"rankings of single users by other models: {done.refreshed_rankings_deleted} deleted"
        )
    if done.recompute_job_id is not None:
        typer.echo(f"job {done.recompute_job_id} is to rank everybody anew")
    elif done.recompute_wanted:
        typer.echo("to rank everybody anew, run: eventlink recompute --skip-training")


def _table(found: list[ModelSummary]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("", "version", "kind", "trained at (UTC)", "NDCG@10", "gate"):
        table.add_column(name, justify="right" if name == "NDCG@10" else "left")
    for model in found:
        table.add_row(
            "*" if model.is_active else "",
            model.model_version,
            model.kind or "",
            _date(model.trained_at),
            _ndcg(model.metrics),
            str((model.gate or {}).get("reason", "")),
        )
    return table


def _date(instant: str | None) -> str:
    """Write an ISO 8601 instant as people read it."""
    return "" if instant is None else f"{datetime.fromisoformat(instant).astimezone(UTC):%F %H:%M}"


def _ndcg(metrics: dict[str, Any] | None) -> str:
    value = (metrics or {}).get("model", {}).get("ndcg_10")
    return "" if value is None else f"{value:.4f}"
