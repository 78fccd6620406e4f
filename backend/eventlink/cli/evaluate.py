"""``eventlink evaluate``."""

import json
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from eventlink.cli.instants import parse_instant
from eventlink.cli.progress import progress
from eventlink.errors import InvalidOptionError
from eventlink.recsys.evaluation import Outcome
from eventlink.recsys.options import TrainOptions
from eventlink.services.evaluate import Evaluation, evaluate_database

DEFAULTS = TrainOptions()


def evaluate(
    folds: Annotated[int, typer.Option(help="Days to judge on, the last of the data.")] = 7,
    as_of: Annotated[
        str | None,
        typer.Option(metavar="INSTANT", help="Use only what was known then (ISO 8601)."),
    ] = None,
    epochs: Annotated[int, typer.Option(help="Passes over the examples.")] = DEFAULTS.epochs,
    lr: Annotated[float, typer.Option(help="Step size of the training.")] = DEFAULTS.lr,
    l2: Annotated[float, typer.Option(help="Strength of the L2 penalty.")] = DEFAULTS.l2,
    model: Annotated[
        str, typer.Option(help="Rung of the ladder: auto, prior, linear or trees.")
    ] = DEFAULTS.model,
    seed: Annotated[int, typer.Option(help="Of all random draws.")] = DEFAULTS.seed,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the outcome as JSON on stdout.")
    ] = False,
) -> None:
    """Judge the model and the baselines on past days, each as of its first instant."""
    if folds < 1:
        raise InvalidOptionError(f"--folds must be at least 1, not {folds}")
    options = TrainOptions(epochs=epochs, lr=lr, l2=l2, seed=seed, model=model)
    with progress() as report:
        done = evaluate_database(
            options, None if as_of is None else parse_instant(as_of), folds, report
        )
    rng = np.random.default_rng(seed)
    rows = {name: _row(outcome, rng) for name, outcome in done.outcomes.items()}
    if as_json:
        folds_run = {"first_fold": done.first_fold, "last_fold": done.last_fold}
        print(json.dumps({**folds_run, "systems": rows}, indent=2, default=str))  # noqa: T201
    else:
        _show(done, rows)


def _row(outcome: Outcome, rng: np.random.Generator) -> dict[str, Any]:
    slices = outcome.slices()
    return {
        "pairs": len(outcome.users),
        **{f"{name}@10": outcome.mean(name) for name in ("ndcg", "hit_rate", "recall")},
        "ndcg@10 interval": outcome.interval("ndcg", rng),
        "recall@50": outcome.mean("recall_50"),
        "mrr": outcome.mean("mrr"),
        "coverage": outcome.coverage,
        "event gini": outcome.event_gini,
        "organizer gini": outcome.organizer_gini,
        "ndcg@10 by slice": {
            name: {"pairs": int(which.sum()), "ndcg@10": outcome.mean("ndcg", which)}
            for name, which in slices.items()
        },
    }


def _show(done: Evaluation, rows: dict[str, dict[str, Any]]) -> None:
    console = Console(highlight=False)
    any_row = next(iter(rows.values()))
    console.print(
        f"{any_row['pairs']:,} (user, day) pairs, days {done.first_fold:%Y-%m-%d} to"
        f" {done.last_fold:%Y-%m-%d}, every candidate ranked"
    )
    measures = ("hit_rate@10", "recall@10", "recall@50", "mrr", "coverage", "event gini")
    table = Table("system", title="Ranking quality", title_justify="left")
    for name in ("NDCG@10", "95 % interval", *measures):
        table.add_column(name.replace("_", " "), justify="right")
    for name, row in rows.items():
        low, high = row["ndcg@10 interval"]
        cells = [f"{row[measure]:.4f}" for measure in measures]
        table.add_row(name, f"{row['ndcg@10']:.4f}", f"{low:.4f}–{high:.4f}", *cells)
    console.print(table)
    by_slice = Table("system", title="NDCG@10 by earlier registrations", title_justify="left")
    for name, part in any_row["ndcg@10 by slice"].items():
        by_slice.add_column(f"{name} ({part['pairs']:,})", justify="right")
    for name, row in rows.items():
        parts = row["ndcg@10 by slice"].values()
        by_slice.add_row(name, *(f"{part['ndcg@10']:.4f}" for part in parts))
    console.print(by_slice)
