"""Measure ranking quality on data sets, and write the numbers and plots into ``docs/quality.md``.

    python backend/benchmarks/quality.py [--results FOLDER] DIR...

Each DIR is in the interchange format. It is judged twice by ``eventlink evaluate``, with its
follows and without them, each time in a scratch database on an embedded PostgreSQL, and with a
prior that is fitted to the other folders (``prior.py``), up to the first day that is judged: it has
seen neither this one nor these days. The default is judged on twice as many days too. What was
measured stays in FOLDER as JSON; remove a file there to have it measured anew.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from eventlink.cli.plots import draw
from eventlink.config import PROJECT_ROOT
from eventlink.db.embedded import embedded_url

PAGE = PROJECT_ROOT / "docs" / "quality.md"
PLOTS = PROJECT_ROOT / "docs" / "plots"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
WITH_PRIOR = """
import pathlib, sys
from eventlink.cli import main
from eventlink.recsys import elsewhere
elsewhere.FILE = pathlib.Path(sys.argv.pop(1))
main()
"""
"""The command, with a prior that stands in a file."""
EVALUATE = ("evaluate", "--json")
WEEK, FORTNIGHT = 7, 14
SYSTEMS = {
    WEEK: ("--trainings", "4", "--model", "auto,linear,prior,heuristic", "--baselines", "all"),
    FORTNIGHT: ("--trainings", "2", "--model", "auto", "--baselines", "none"),
}
"""What is judged on so many days."""
CAPTIONS = {
    "quality": "NDCG@10 of each system with its 95 % interval",
    "slices": "NDCG@10 by kind of user and of event",
    "calibration": "how often what was given a probability happened",
    "exposure": "share of the first ten places that the most shown events hold",
}
MEANING = {
    "model": "**the default: linear and trees**",
    "linear": "linear",
    "prior": "the prior, nothing learned here",
    "heuristic": "heuristic: known organizers, interests, city, last day",
    "popularity": "most popular",
    "velocity": "most registrations in the last day",
    "followed": "followed or attended organizer, then last day",
    "itemknn": "item–item cosine over organizers",
    "ease": "EASE over organizers",
    "ials": "implicit ALS over organizers",
}
Told = dict[str, Any]
Cities = dict[str, tuple[Told, Told]]
"""What was measured with follows and without, by name."""


def main() -> None:
    """Measure what is not measured yet, draw, and rewrite the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR")
    parser.add_argument("--results", type=Path, default=PROJECT_ROOT / ".eventlink" / "quality")
    asked = parser.parse_args()
    asked.results.mkdir(parents=True, exist_ok=True)
    if len(asked.folders) < 2:
        parser.error("name two folders at least: the prior is fitted to the others")
    week, fortnight = (
        {folder.name: _both(folder, asked.folders, asked.results, days) for folder in asked.folders}
        for days in (WEEK, FORTNIGHT)
    )
    for name, (told, _) in week.items():
        draw(told, PLOTS / name, ("svg",))
    replaced(BEGIN, END, _page(week, fortnight))
    print(f"wrote {PLOTS}")


def replaced(begin: str, end: str, text: str) -> None:
    """Write what was measured into the page, between two marks."""
    before, _, rest = PAGE.read_text().partition(begin)
    after = rest.partition(end)[2]
    PAGE.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}")
    print(f"wrote {PAGE}")


def _both(folder: Path, folders: list[Path], results: Path, days: int) -> tuple[Told, Told]:
    """Measure with follows and without, or read what was measured."""
    prior = results / f"{folder.name}-{days}.prior"
    told = []
    for follows in (True, False):
        kept = results / f"{folder.name}-{days}{'' if follows else '-without-follows'}.json"
        if not kept.exists():
            if not prior.exists():
                program = str(Path(__file__).with_name("prior.py"))
                unseen = ("--unseen", str(folder), "--unseen-days", str(days))
                _run(program, *unseen, "--out", str(prior), *map(str, folders))
            kept.write_text(_measured(folder, prior, days, follows=follows))
        told.append(json.loads(kept.read_text()))
    return told[0], told[1]


def _measured(folder: Path, prior: Path, days: int, *, follows: bool) -> str:
    """Import a folder into a scratch database and return what ``evaluate`` prints with a prior."""
    os.environ.pop("DATABASE_URL", None)
    data = PROJECT_ROOT / ".eventlink" / "bench"
    server = embedded_url(data)
    name = sql.Identifier("quality")
    with psycopg.connect(server, autocommit=True) as conn:
        conn.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))
        conn.execute(sql.SQL("CREATE DATABASE {}").format(name))
    os.environ["DATABASE_URL"] = server.replace("/postgres?", "/quality?")
    with tempfile.TemporaryDirectory() as temporary:
        linked = Path(temporary)
        for path in folder.iterdir():
            if follows or not path.name.startswith("follows."):
                (linked / path.name).symlink_to(path.resolve())
        for words in (["migrate"], ["import", str(linked)]):
            _run("-c", WITH_PRIOR, str(prior), *words)
    judged = (*EVALUATE, "--folds", str(days), *SYSTEMS[days])
    return _run("-c", WITH_PRIOR, str(prior), *judged)


def _run(*words: str) -> str:
    command = [sys.executable, *words]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout  # noqa: S603 (our own programs)


def _page(cities: Cities, fortnight: Cities) -> str:
    parts = [_overview(cities), _longer(fortnight)]
    for name, (told, without) in cities.items():
        parts += [f"### {name}", _extent(told), _measures(told), _slices(told, without)]
        parts += [_calibration(told)]
        parts += [f"![{name}: {text}](plots/{name}/{kind}.svg)" for kind, text in CAPTIONS.items()]
    return "\n\n".join(parts)


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def table(head: list[str], rows: list[list[str]]) -> str:
    """Make a table of Markdown."""
    return "\n".join([_row(head), "|".join(["", *["---"] * len(head), ""]), *map(_row, rows)])


def decimals(value: float | None) -> str:
    """Spell three digits after the point, without the zero before it."""
    return "–" if value is None else f"{value:.3f}".removeprefix("0")


def _within(row: Told) -> str:
    low, high = row["ndcg@10 interval"]
    bold = "**" if row["first"] else ""
    return f"{bold}{decimals(row['ndcg@10'])}{bold} ({decimals(low)}–{decimals(high)})"


def _overview(cities: Cities) -> str:
    """Make the table of NDCG@10 of all systems on all data, with and without follows."""
    head = ["NDCG@10 (95 % interval)", *_data_sets(cities)]
    first = next(iter(cities.values()))[0]["systems"]
    rows = []
    for system in first:
        told = [one["systems"][system] for both in cities.values() for one in both]
        cells = [_within({**row, "first": system == next(iter(first))}) for row in told]
        rows.append([MEANING[system], *cells])
    return table(head, rows)


def _data_sets(cities: Cities) -> list[str]:
    return [text for name in cities for text in (name, f"{name}, without follows")]


def _longer(cities: Cities) -> str:
    """Make the table of the default on twice as many days."""
    models = [one["systems"]["model"] for both in cities.values() for one in both]
    new = [decimals(model["slices"]["no history"]["ndcg@10"]) for model in models]
    trainings = [", ".join(map(decimals, model["ndcg@10 by training"])) for model in models]
    return table(
        [f"the default over {FORTNIGHT} days", *_data_sets(cities)],
        [
            ["NDCG@10 (95 % interval)", *(_within({**model, "first": False}) for model in models)],
            ["of single trainings", *trainings],
            ["users without history", *new],
        ],
    )


def _extent(told: Told) -> str:
    trainings = told["systems"]["model"]["ndcg@10 by training"]
    return (
        f"{told['pairs']:,} (user, day) pairs of {told['users']:,} users with truth on the days"
        f" {told['first_fold'][:10]} to {told['last_fold'][:10]}, follows included. Numbers are the"
        f" mean of {len(trainings)} trainings; the default's have"
        f" {', '.join(map(decimals, trainings))}."
    )


def _measures(told: Told) -> str:
    names = ("hit_rate@10", "recall@10", "recall@50", "mrr", "coverage", "event gini")
    head = [
        "",
        "NDCG@10",
        "against the default",
        *(n.replace("_", " ").replace("mrr", "MRR") for n in names),
    ]
    rows = []
    for number, (system, row) in enumerate(told["systems"].items()):
        low, high = (f"{value:+.3f}" for value in row["interval above the first"])
        against = f"{low} to {high}" if number else ""
        cells = [decimals(row[name]) for name in names]
        rows.append([MEANING[system], decimals(row["ndcg@10"]), against, *cells])
    return table(head, rows)


def _slices(told: Told, without: Told) -> str:
    parts = next(iter(told["systems"].values()))["slices"]
    head = ["NDCG@10", *(f"{name} ({part['pairs']:,})" for name, part in parts.items())]
    rows = [
        [MEANING[system], *(decimals(part["ndcg@10"]) for part in row["slices"].values())]
        for system, row in told["systems"].items()
    ]
    default = next(iter(without["systems"].values()))["slices"].values()
    rows.append(["the default without follows", *(decimals(part["ndcg@10"]) for part in default)])
    return table(head, rows)


def _calibration(told: Told) -> str:
    rows = [
        [
            MEANING[system],
            f"{found['total_expected']:,.0f}",
            f"{found['total_happened']:,.0f}",
            f"{found['slope']:.2f}",
            f"{100 * found['error_share']:.0f} %",
        ]
        for system, row in told["systems"].items()
        if (found := row["calibration"])
    ]
    head = ["calibration", "registrations expected", "happened", "slope", "calibration error"]
    return table(head, rows)


if __name__ == "__main__":
    main()
