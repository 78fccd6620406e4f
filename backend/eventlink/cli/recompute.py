"""``eventlink recompute``."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from eventlink.cli import training
from eventlink.cli.instants import parse_instant
from eventlink.cli.progress import progress
from eventlink.cli.rules import (
    CollapseSeries,
    DemoteOverlaps,
    ExploreSlots,
    Head,
    PerOrganizer,
    SeatStrength,
)
from eventlink.db.session import server_time, transaction
from eventlink.errors import InvalidOptionError
from eventlink.recsys.options import FOLDS, Activate, TrainOptions, require_folds
from eventlink.services.jobs import usual_options
from eventlink.services.publishing import Engine
from eventlink.services.recompute import Request, Result
from eventlink.services.recompute import recompute as run
from eventlink.services.training import ACTIVE

DEFAULTS = usual_options()
OLD = timedelta(days=1)
"""Rankings as of an earlier instant than this before now are not for those who come now."""
AHEAD = timedelta(minutes=1)
"""How far whoever says the instant may be ahead of the database's clock, and mean now."""


def recompute(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Train and evaluate, write nothing.")
    ] = False,
    top_n: training.TopN = DEFAULTS.top_n,
    epochs: training.Epochs = DEFAULTS.epochs,
    lr: training.LearningRate = DEFAULTS.lr,
    l2: training.L2 = DEFAULTS.l2,
    model: training.Model = DEFAULTS.model,
    head: Head = DEFAULTS.head,
    per_organizer: PerOrganizer = DEFAULTS.per_organizer,
    collapse_series: CollapseSeries = DEFAULTS.collapse_series,
    demote_overlaps: DemoteOverlaps = DEFAULTS.demote_overlaps,
    explore_slots: ExploreSlots = DEFAULTS.explore_slots,
    seat_strength: SeatStrength = DEFAULTS.seat_strength,
    user_id: Annotated[
        int | None,
        typer.Option(
            help="Rewrite only this user's ranking, by the active model; trains nothing.",
            show_default=False,
        ),
    ] = None,
    skip_training: training.SkipTraining = False,
    only_train: Annotated[
        bool, typer.Option("--only-train", help="Store the model, and rank nobody.")
    ] = False,
    seed: training.Seed = DEFAULTS.seed,
    as_of: Annotated[
        str | None,
        typer.Option(
            metavar="INSTANT",
            help="See only what was known then (ISO 8601, UTC if no offset is given); not later"
            " than now.",
            show_default="now",
        ),
    ] = None,
    model_version: Annotated[
        str | None, typer.Option(help="Name of the new model.", show_default="kind and date")
    ] = None,
    folds: training.Folds = FOLDS,
    activate: training.Activate = Activate.IF_BETTER,
    engine: Annotated[
        Engine, typer.Option(help="Where users are ranked: on this machine, or on a Ray cluster.")
    ] = Engine.LOCAL,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the report as JSON on stdout.")
    ] = False,
) -> None:
    """Train, evaluate and publish every user's ranking."""
    require_folds(folds)
    if model_version == "":
        raise InvalidOptionError("--model-version is empty; name the model, or leave it out")
    until = None if as_of is None else parse_instant(as_of)
    ours = datetime.now(UTC)
    request = Request(  # before the database is asked, for the options may not go together
        now=ours,
        as_of=ours,
        options=TrainOptions(
            epochs=epochs,
            lr=lr,
            l2=l2,
            top_n=top_n,
            seed=seed,
            model=model,
            head=head,
            per_organizer=per_organizer,
            collapse_series=collapse_series,
            demote_overlaps=demote_overlaps,
            explore_slots=explore_slots,
            seat_strength=seat_strength,
        ),
        user_id=user_id,
        dry_run=dry_run,
        skip_training=skip_training,
        only_train=only_train,
        model_version=model_version,
        folds=folds,
        activate=activate,
        engine=engine,
    )
    with transaction() as conn:
        now = server_time(conn)
    if until is None or now < until < now + AHEAD:
        until = now
    request = replace(request, now=now, as_of=until)
    with progress() as report:
        result = run(request, report)
    if as_json:
        print(json.dumps(result.to_json(), indent=2))  # noqa: T201 (the report is the output)
    else:
        show(result, request)
    if result.published and request.now - request.as_of > OLD:
        console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
        console.print(
            f"careful: what is served now knows nothing after {result.as_of:%F %H:%M %Z}; to mend"
            " that run eventlink recompute without --as-of; to look at a past day add --dry-run"
        )


def show(result: Result, request: Request) -> None:
    """Print what a recompute did.

    Args:
        result: What it did.
        request: What it was told to do.
    """
    width = None if Console().is_terminal else 110
    console = Console(highlight=False, markup=False, soft_wrap=True, width=width)
    console.print(
        f"{_model(result, request)}, as of {result.as_of.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    )
    if result.metrics and request.trains:
        console.print(_table(result))
        console.print(
            "popularity: by all registrations of an event; velocity: by those of the last day"
        )
    console.print(_hitrate(result, request))
    if result.metrics and request.trains:
        console.print(
            "that is the share of pairs whose first ten hold an event that the user then"
            " registered for"
        )
    if result.decision and not request.only_train:
        console.print(f"{_verb(result, dry_run=request.dry_run)}: {result.decision}")
    if result.seats.get("held_back"):
        console.print(
            f"seats: of {_counted(result.seats['limited'], 'event')} with limited seats,"
            f" {result.seats['held_back']:,} held back in lists:"
            f" {result.seats['expected_demand']:,.0f} registrations expected,"
            f" {result.seats['seats_left']:,} seats left"
        )
    if request.dry_run:
        console.print("dry run: nothing written")
    elif request.only_train:
        console.print(f"stored as {result.model_version}; nobody was ranked")
    else:
        console.print(
            f"published rankings for {_counted(result.published, 'user')}, out of"
            f" {_counted(result.events, 'event')}, by {result.model_version}"
        )


def _model(result: Result, request: Request) -> str:
    if request.trains:
        return f"{result.model} model, learned from {_counted(result.positives, 'choice')}"
    if request.dry_run:
        return f"the {result.model} model would rank, nothing trained"
    return f"ranked by the stored model {result.model_version} ({result.model}), nothing trained"


def _hitrate(result: Result, request: Request) -> str:
    model, popularity = (result.metrics.get(name) for name in ("model", "popularity"))
    if model and popularity:
        measured = f"hitrate@10 {model.hitrate_10:.4f} (popularity {popularity.hitrate_10:.4f})"
        return measured if request.trains else f"{measured} when it was trained"
    if not request.trains:
        return "hitrate@10 not measured: nothing trained"
    why = "too few registrations on the days before" if request.folds else "--folds 0"
    return f"hitrate@10 not measured: {why}"


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _verb(result: Result, *, dry_run: bool) -> str:
    if dry_run:
        return "would be activated" if result.would_activate else "would not be activated"
    return "activated" if result.activated else "not activated"


def _table(result: Result) -> Table:
    table = Table(
        title=f"judged on past days: {result.judged:,} (user, day) pairs, every candidate ranked",
        title_justify="left",
        box=None,
        padding=(0, 2, 0, 0),
    )
    for name in (
        "system",
        "NDCG@10",
        "95 % interval",
        "hit rate@10",
        "recall@10",
        "recall@50",
        "MRR",
    ):
        table.add_column(name, justify="left" if name == "system" else "right")
    for name, metrics in result.metrics.items():
        low, high = metrics.ndcg_10_interval
        shown = result.model if name == "model" else name
        if name == ACTIVE and result.active_has_seen:
            shown += " (has seen these days)"
        table.add_row(
            shown,
            f"{metrics.ndcg_10:.4f}",
            f"{low:.4f}–{high:.4f}",
            f"{metrics.hitrate_10:.4f}",
            f"{metrics.recall_10:.4f}",
            f"{metrics.recall_50:.4f}",
            f"{metrics.mrr:.4f}",
        )
    return table
