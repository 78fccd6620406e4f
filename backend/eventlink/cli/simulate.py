"""``eventlink simulate``."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from eventlink.cli.instants import parse_instant
from eventlink.cli.progress import progress
from eventlink.db.session import transaction
from eventlink.errors import InvalidOptionError
from eventlink.importers.simulation import simulate_into_database, simulate_into_folder
from eventlink.recsys.simulation import SimulationOptions

DEFAULTS = SimulationOptions(until=0.0)


def simulate(
    *,
    users: Annotated[
        int, typer.Option(metavar="N", help="How many people, organizers among them.")
    ] = DEFAULTS.users,
    events: Annotated[
        int, typer.Option(metavar="N", help="How many events, past and future.")
    ] = DEFAULTS.events,
    days: Annotated[
        int, typer.Option(metavar="N", help="How many days of behaviour, up to --until.")
    ] = DEFAULTS.days,
    seed: Annotated[int, typer.Option(metavar="N", help="The same one makes the same city.")] = 7,
    until: Annotated[
        str | None,
        typer.Option(
            metavar="INSTANT",
            help="When the last day ends (ISO 8601, UTC if no offset is given).",
            show_default="the last full hour",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Write files for `eventlink import` here and nothing to a database.",
            show_default=False,
        ),
    ] = None,
    signal: Annotated[
        float,
        typer.Option(metavar="SHARE", help="Of the choices that follow utility; 0 is pure noise."),
    ] = DEFAULTS.signal,
    impressions: Annotated[
        bool, typer.Option(help="Keep the rows that say which events were shown.")
    ] = DEFAULTS.impressions,
    replace: Annotated[
        bool,
        typer.Option(
            "--replace",
            help="Delete all that is there first; stored models stay, and none serves.",
        ),
    ] = False,
) -> None:
    """Make a city with known truth, to try Event Link on.

    People have homes, interests, habits and friends; organizers hold
    weekly and monthly series. Lists are shown, looked at and clicked;
    people search, register, give seats back and do not turn up. Some
    events lie after the end, so that there is something to recommend.
    The database must be empty. See docs/simulation.md.
    """
    if seed < 0:
        raise InvalidOptionError(f"--seed must be 0 or above, not {seed}")
    end = parse_instant(until) if until else _last_full_hour(datetime.now(UTC))
    options = SimulationOptions(
        until=float(int(end.timestamp())),
        users=users,
        events=events,
        days=days,
        signal=signal,
        impressions=impressions,
    )
    rng = np.random.default_rng(seed)
    with progress() as report:
        if out is not None:
            rows = simulate_into_folder(out, options, rng, report, replace=replace)
        else:
            with transaction() as conn:
                files = simulate_into_database(conn, options, rng, report, replace=replace)
            rows = {file.file.removesuffix(".parquet"): file.added for file in files}
    for name, count in rows.items():
        typer.echo(f"{name:<30}{count:>12,} rows")
    typer.echo(f"the city is simulated until {end:%Y-%m-%dT%H:%M:%SZ}")


def _last_full_hour(now: datetime) -> datetime:
    return now.replace(minute=0, second=0, microsecond=0)
