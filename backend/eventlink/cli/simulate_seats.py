"""``eventlink simulate-seats``."""

import json
from dataclasses import asdict
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from eventlink.cli.progress import progress
from eventlink.errors import InvalidOptionError
from eventlink.recsys.simulation import SimulationOptions
from eventlink.recsys.simulation.scarcity import SeatOutcome
from eventlink.services.simulate import simulate_seats as run

UNTIL = 1_760_000_400.0
"""Any instant will do: nothing is stored."""
DEFAULTS = SimulationOptions(until=UNTIL)


def simulate_seats(
    users: Annotated[int, typer.Option(metavar="N", help="How many people.")] = DEFAULTS.users,
    events: Annotated[
        int, typer.Option(metavar="N", help="How many events, past and future.")
    ] = DEFAULTS.events,
    seed: Annotated[int, typer.Option(metavar="N", help="The same one makes the same city.")] = 7,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the outcome as JSON on stdout.")
    ] = False,
) -> None:
    """Show what --seat-strength does in a simulated city.

    Everybody is shown a list of ten once, with each strength: who finds a
    seat, and who finds none? Nothing is read or stored. See docs/reranking.md.
    """
    if seed < 0:
        raise InvalidOptionError(f"--seed must be 0 or above, not {seed}")
    options = SimulationOptions(until=UNTIL, users=users, events=events)
    with progress() as report:
        outcomes = run(options, np.random.default_rng(seed), report)
    if as_json:
        print(json.dumps([asdict(outcome) for outcome in outcomes], indent=2))  # noqa: T201 (the report is the output)
    else:
        _show(outcomes)


def _show(outcomes: list[SeatOutcome]) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("strength", "served", "overflow", "utility"):
        table.add_column(name, justify="right")
    for outcome in outcomes:
        table.add_row(
            f"{outcome.strength:g}",
            f"{outcome.served:,}",
            f"{outcome.overflow:,}",
            f"{outcome.utility:,.0f}",
        )
    console = Console(highlight=False, markup=False)
    first = outcomes[0]
    console.print(
        f"{first.limited} events with limited seats, {first.scarce} with fewer than would be wanted"
    )
    console.print(table)
