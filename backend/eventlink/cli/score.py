"""``eventlink score``."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from eventlink.cli.instants import parse_instant
from eventlink.cli.progress import progress
from eventlink.errors import InvalidOptionError
from eventlink.importers.pairs import read_pairs, require_writable_scores, write_scores
from eventlink.recsys.features import NAMES
from eventlink.services.score import Scored, score_pairs


def score(
    pairs: Annotated[
        Path, typer.Option(metavar="FILE", help="CSV, CSV.gz or Parquet of user_id, event_id.")
    ],
    as_of: Annotated[
        str, typer.Option(metavar="INSTANT", help="See only what was known then (ISO 8601).")
    ],
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Where to write.", show_default="CSV on stdout"),
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Tell the largest contributions, too.")
    ] = False,
    top: Annotated[int, typer.Option(help="How many of them.")] = 5,
    model_version: Annotated[
        str | None, typer.Option(help="A stored model.", show_default="the active one")
    ] = None,
) -> None:
    """Score given (user, event) pairs as of an instant.

    A score is the probability that the user registers for the event
    within the day after.
    """
    if not 1 <= top <= len(NAMES):
        raise InvalidOptionError(f"--top must be between 1 and {len(NAMES)}, not {top}")
    instant = parse_instant(as_of)
    if out is not None:
        require_writable_scores(out)
    with progress() as report:
        users, events = read_pairs(pairs, report)
        scored = score_pairs(users, events, instant, model_version, top if explain else 0, report)
    write_scores(out, scored.batches())
    console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    console.print(_told(scored))
    if scored.learned_until is not None and scored.learned_until > instant:
        console.print(
            f"careful: this model learned until {scored.learned_until:%F %H:%M %Z}, after --as-of;"
            " for a backtest train one with eventlink recompute --as-of INSTANT --only-train,"
            " and name it with --model-version"
        )


def _told(scored: Scored) -> str:
    by = scored.model_version or f"the {scored.model}"
    told = f"scored {int(scored.known.sum()):,} of {len(scored.users):,} pairs by {by}"
    if scored.unknown_users or scored.unknown_events:
        told += (
            f"; without a score, of users unknown: {scored.unknown_users:,},"
            f" of events unknown then: {scored.unknown_events:,}"
        )
    return told
