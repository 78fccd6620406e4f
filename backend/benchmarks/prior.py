"""Fit the prior to data sets, and write it down.

    python backend/benchmarks/prior.py [--unseen DIR] [--unseen-days N] [--out FILE] DIR...

Each DIR is in the interchange format. The same 28 days of all are replayed: those that end a week
(or ``--unseen-days``) before the first of them ends, so that a prior can be judged on what comes
after them, of any. What is ``--unseen`` is not learned from, as ``quality.py`` asks.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import psycopg
from psycopg import sql

from eventlink.config import PROJECT_ROOT
from eventlink.db.dataset import load_dataset
from eventlink.db.embedded import embedded_url
from eventlink.recsys.dataset import DAY, Dataset
from eventlink.recsys.elsewhere import FILE
from eventlink.recsys.evaluation import folds_before
from eventlink.recsys.examples import Examples, concatenate
from eventlink.recsys.features import NAMES, forecast
from eventlink.recsys.features.demand import Demand
from eventlink.recsys.models import LinearWithTrees
from eventlink.recsys.options import TrainOptions
from eventlink.recsys.replay import replay
from eventlink.recsys.snapshot import Snapshot

LEAVES = 7
"""Of the forecast's trees, half of a site's own: what holds elsewhere is simpler."""
BY_HAND = {
    "tags.interests": 2.5,
    "tags.history": 0.5,
    "tags.intent": 1.0,
    "tags.organizer_lift": 0.3,
    "tags.category_lift": 0.3,
    "language.organizer_lift": 0.5,
    "language.event_lift": 0.5,
    "category.share": 0.5,
    "category.intent": 1.0,
    "place.same_city": 1.0,
    "time.closeness": 0.5,
    "organizer.favorites": 0.5,
    "organizer.engaged": 0.6,
    "organizer.skipped": -0.2,
    "organizer.refused": -0.4,
    "event.own_favorites": 1.5,
    "event.own_engagement": 1.2,
    "event.own_skips": -0.5,
    "event.own_refusals": -2.0,
    "series.loyalty": 1.0,
    "series.missed": -0.2,
}
"""Log-odds per unit of what the known data sets do not record, or otherwise than a platform would:
their marks are places on waiting lists, whoever declines may come the next time, tags are an
organizer's, homes have coordinates and no city, hardly anything starts within five days, and no
event has started yet. What a series' past weighs is about what it does in the one town of which
years are known (``docs/features.md``)."""
UNTOLD = (
    *("tags.", "language.", "category.", "favorites", "engage", "skip", "refus", "closeness"),
    *("series.loyalty", "series.missed"),
)
"""Parts of the names of such features. Of them, what is not weighed by hand weighs nothing."""


def main() -> None:
    """Read, fit, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR")
    parser.add_argument("--unseen", type=Path, metavar="DIR")
    parser.add_argument("--unseen-days", type=int, default=7, metavar="N")
    parser.add_argument("--out", type=Path, default=FILE, metavar="FILE")
    asked = parser.parse_args()
    cities = {folder: imported(folder) for folder in asked.folders}
    ends = [data.last_instant() // DAY * DAY + DAY for data in cities.values()]
    seen = [data for folder, data in cities.items() if folder != asked.unseen]
    end = float(min(ends)) - asked.unseen_days * DAY
    expected = foreseen(seen, end).to_json()
    stored = {"feature_names": NAMES, **fitted(seen, end).to_json(), "forecast": expected}
    asked.out.write_text(json.dumps(stored, indent=1) + "\n")
    print(f"wrote {asked.out}")


def fitted(cities: Sequence[Dataset], end: float) -> LinearWithTrees:
    """Fit a linear model and trees to the choices of all cities.

    What they cannot tell is hidden from both, and then weighed by hand.

    Args:
        cities: Each weighs as much as it has choices.
        end: The instant before which they are learned from.
    """
    seen = concatenate([_replayed(data, end) for data in cities])
    for number, name in enumerate(NAMES):
        if any(part in name for part in UNTOLD):
            seen.x[:, number] = 0
    model = LinearWithTrees().fit(seen, TrainOptions(), np.random.default_rng(0))
    for name, weight in BY_HAND.items():
        model.linear_.weights_[NAMES.index(name)] = weight / model.slope_
    return model


def foreseen(cities: Sequence[Dataset], end: float) -> forecast.Forecast:
    """Fit a forecast to the days of all cities, each day alike; smaller trees than a site's own.

    Args:
        cities: As above.
        end: Likewise.
    """
    instants = folds_before(end, TrainOptions().replay_days).tolist()
    s = Snapshot(cities[0], instants[0])
    hidden = [any(part in name for part in UNTOLD) for name in forecast.columns(s, Demand(s))]
    days = [forecast.Day.of(data, at) for at in instants for data in cities]
    for day in days:
        day.x[:, np.flatnonzero(hidden)] = 0
    return forecast.fit(days, np.inf, {**forecast.PARAMETERS, "num_leaves": LEAVES})


def _replayed(data: Dataset, end: float) -> Examples:
    options, rng = TrainOptions(), np.random.default_rng(0)
    days = folds_before(end, options.replay_days)
    return replay(data, days, forecast.learn(data, days[0], end), options, rng).examples


def imported(folder: Path) -> Dataset:
    """Import a folder into a scratch database and read it."""
    server = embedded_url(PROJECT_ROOT / ".eventlink" / "bench")
    name = sql.Identifier("prior")
    with psycopg.connect(server, autocommit=True) as conn:
        conn.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))
        conn.execute(sql.SQL("CREATE DATABASE {}").format(name))
    os.environ["DATABASE_URL"] = server.replace("/postgres?", "/prior?")
    command = str(Path(sys.executable).with_name("eventlink"))
    for words in (["migrate"], ["import", str(folder)]):
        subprocess.run([command, *words], check=True)  # noqa: S603 (our own command)
    return load_dataset()[0]


if __name__ == "__main__":
    main()
