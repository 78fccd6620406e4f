"""``eventlink evaluate``."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from eventlink.cli.instants import parse_instant
from eventlink.cli.plots import draw, require_matplotlib
from eventlink.cli.progress import progress
from eventlink.cli.rules import (
    CollapseSeries,
    DemoteOverlaps,
    ExploreSlots,
    Head,
    PerOrganizer,
)
from eventlink.cli.training import L2, Epochs, LearningRate, Seed
from eventlink.errors import InvalidOptionError
from eventlink.recsys.baselines import BASELINES, USUAL
from eventlink.recsys.options import FOLDS, TrainOptions, require_folds, require_trainings
from eventlink.services.evaluate import evaluate_database
from eventlink.services.jobs import usual_options

DEFAULTS = usual_options()
MEASURES = ("hit_rate@10", "recall@10", "recall@50", "mrr", "coverage", "event gini")


def evaluate(
    folds: Annotated[
        int, typer.Option(help="Days to judge on, the last of the data that are over.")
    ] = FOLDS,
    as_of: Annotated[
        str | None,
        typer.Option(
            metavar="INSTANT",
            help="Use only what was known then (ISO 8601); the day it is in is not over.",
            show_default="now",
        ),
    ] = None,
    model: Annotated[
        str,
        typer.Option(
            help="Rungs of the ladder, separated by commas: auto, heuristic, prior, linear, trees."
        ),
    ] = DEFAULTS.model,
    baselines: Annotated[
        str,
        typer.Option(help=f"Of {', '.join(BASELINES)}, separated by commas; or all, or none."),
    ] = ",".join(USUAL),
    slices: Annotated[
        bool, typer.Option("--slices", help="Show NDCG@10 by kind of user and event, and by day.")
    ] = False,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Draw the outcome into this folder.", show_default=False),
    ] = None,
    epochs: Epochs = DEFAULTS.epochs,
    lr: LearningRate = DEFAULTS.lr,
    l2: L2 = DEFAULTS.l2,
    head: Head = DEFAULTS.head,
    per_organizer: PerOrganizer = DEFAULTS.per_organizer,
    collapse_series: CollapseSeries = DEFAULTS.collapse_series,
    demote_overlaps: DemoteOverlaps = DEFAULTS.demote_overlaps,
    explore_slots: ExploreSlots = DEFAULTS.explore_slots,
    seed: Seed = DEFAULTS.seed,
    trainings: Annotated[
        int, typer.Option(help="How often to train each model, with other draws; shows the mean.")
    ] = 1,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the outcome as JSON on stdout.")
    ] = False,
) -> None:
    """Judge models and baselines on past days."""
    require_folds(folds, least=1)
    require_trainings(trainings)
    models = _listed(model)
    if not models:
        raise InvalidOptionError("--model names nothing; leave it out, or name a rung")
    if plot is not None:
        require_matplotlib()
    options = TrainOptions(
        epochs=epochs,
        lr=lr,
        l2=l2,
        seed=seed,
        head=head,
        per_organizer=per_organizer,
        collapse_series=collapse_series,
        demote_overlaps=demote_overlaps,
        explore_slots=explore_slots,
    )
    named = {"all": ",".join(BASELINES), "none": ""}.get(baselines, baselines)
    with progress() as report:
        done = evaluate_database(
            options,
            datetime.now(UTC) if as_of is None else parse_instant(as_of),
            folds,
            report,
            models=models,
            baselines=_listed(named),
            trainings=trainings,
        )
    told = done.to_json(np.random.default_rng(seed))
    if as_json:
        print(json.dumps(told, indent=2))  # noqa: T201 (the report is the output)
    else:
        _show(told, slices=slices)
    if plot is not None:
        drawn = draw(told, plot)
        console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
        console.print(f"drawn into {plot}: {', '.join(drawn)}")


def _listed(words: str) -> list[str]:
    return list(dict.fromkeys(word.strip() for word in words.split(",") if word.strip()))


def _show(told: dict[str, Any], *, slices: bool) -> None:
    # Where nobody looks, lines may be as long as the table needs.
    width = None if Console().is_terminal else 132
    console = Console(highlight=False, width=width)
    console.print(
        f"{told['pairs']:,} (user, day) pairs of {told['users']:,} users, days"
        f" {told['first_fold'][:10]} to {told['last_fold'][:10]}, every candidate ranked"
    )
    console.print(_quality(told["systems"]))
    for name, row in told["systems"].items():
        if set(row["kinds"]) - {name}:  # what auto chose, or what stood in for a rung
            console.print(f"{name}: {', '.join(row['kinds'])}", soft_wrap=True)
        if len(set(row["ndcg@10 by training"])) > 1:  # nothing is drawn for the lower rungs
            console.print(f"NDCG@10 of {name} by training: {_by_training(row)}", soft_wrap=True)
    if slices:
        console.print(_slices(told["systems"]))
        console.print(_days(told["systems"]))
    for name, row in told["systems"].items():
        if row["calibration"]:
            line = f"scores of {name}: {_calibration(row['calibration'])}"
            console.print(line, soft_wrap=True)


def _table(title: str, first: str = "system") -> Table:
    return Table(first, title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))


def _quality(systems: dict[str, Any]) -> Table:
    table = _table("Ranking quality")
    first = next(iter(systems))
    for name in ("NDCG@10", "95 % interval", f"against {first}", *MEASURES):
        table.add_column(name.replace("_", " ").replace("mrr", "MRR"), justify="right")
    for name, row in systems.items():
        low, high = row["ndcg@10 interval"]
        less, more = row["interval above the first"]
        table.add_row(
            name,
            f"{row['ndcg@10']:.4f}",
            f"{low:.4f}–{high:.4f}",
            "" if name == first else f"{less:+.4f} to {more:+.4f}",
            *(f"{row[measure]:.4f}" for measure in MEASURES),
        )
    return table


def _slices(systems: dict[str, Any]) -> Table:
    table = _table("NDCG@10 by earlier registrations of the user, and of events that are")
    for name, part in next(iter(systems.values()))["slices"].items():
        table.add_column(f"{name} ({part['pairs']:,})", justify="right")
    for name, row in systems.items():
        cells = [part["ndcg@10"] for part in row["slices"].values()]
        table.add_row(name, *("" if cell is None else f"{cell:.4f}" for cell in cells))
    return table


def _days(systems: dict[str, Any]) -> Table:
    """Show a day in each row, for there may be many."""
    table = _table("NDCG@10 by day", "day")
    for name in ("pairs", *systems):
        table.add_column(name, justify="right")
    for day, part in next(iter(systems.values()))["days"].items():
        cells = (f"{row['days'][day]['ndcg@10']:.4f}" for row in systems.values())
        table.add_row(day, f"{part['pairs']:,}", *cells)
    return table


def _by_training(row: dict[str, Any]) -> str:
    each = row["ndcg@10 by training"]
    listed = ", ".join(f"{ndcg:.4f}" for ndcg in each)
    return f"{listed}; standard deviation {np.std(each, ddof=1):.4f}"


def _calibration(found: dict[str, Any]) -> str:
    return (
        f"{found['total_expected']:,.0f} registrations expected of all users,"
        f" {found['total_happened']:,.0f} happened; slope {found['slope']:.2f} (1 is right),"
        f" calibration error {found['error_share']:.0%} of the mean rate"
    )
