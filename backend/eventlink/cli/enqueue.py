"""``eventlink enqueue``."""

from typing import Annotated

import typer

from eventlink.cli.rules import (
    CollapseSeries,
    DemoteOverlaps,
    ExploreSlots,
    Head,
    PerOrganizer,
    SeatStrength,
)
from eventlink.cli.training import (
    L2,
    Activate,
    Epochs,
    Folds,
    LearningRate,
    Model,
    Seed,
    SkipTraining,
    TopN,
)
from eventlink.db.session import connection, require_migrations
from eventlink.errors import InvalidOptionError
from eventlink.recsys.options import TrainOptions
from eventlink.services.jobs import Retrain, enqueue_retrain

DEFAULTS = Retrain()
OPTIONS = DEFAULTS.options


def enqueue(
    retrain_ml: Annotated[
        bool, typer.Option("--retrain-ml", help="Queue a recompute of everybody's ranking.")
    ] = False,
    top_n: TopN = OPTIONS.top_n,
    epochs: Epochs = OPTIONS.epochs,
    lr: LearningRate = OPTIONS.lr,
    l2: L2 = OPTIONS.l2,
    model: Model = OPTIONS.model,
    head: Head = OPTIONS.head,
    per_organizer: PerOrganizer = OPTIONS.per_organizer,
    collapse_series: CollapseSeries = OPTIONS.collapse_series,
    demote_overlaps: DemoteOverlaps = OPTIONS.demote_overlaps,
    explore_slots: ExploreSlots = OPTIONS.explore_slots,
    seat_strength: SeatStrength = OPTIONS.seat_strength,
    skip_training: SkipTraining = DEFAULTS.skip_training,
    seed: Seed = OPTIONS.seed,
    folds: Folds = DEFAULTS.folds,
    activate: Activate = DEFAULTS.activate,
) -> None:
    """Queue a recompute, unless one is queued or running."""
    if not retrain_ml:
        raise InvalidOptionError("say what to queue: eventlink enqueue --retrain-ml")
    options = TrainOptions(
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
    )
    retrain = Retrain(options, skip_training=skip_training, folds=folds, activate=activate)
    with connection() as conn, conn.begin():
        require_migrations(conn)
        job = enqueue_retrain(conn, retrain)
    if job.created:
        typer.echo(f"queued job {job.job_id}")
    else:
        typer.echo(f"already queued or running: job {job.job_id}")
