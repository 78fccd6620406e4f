"""What the benchmarks measured: kept from run to run, written as tables and drawn.

What does not live here: measuring (``recompute``, ``floors``).
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from eventlink.config import PROJECT_ROOT

RESULTS = Path(__file__).with_name("RESULTS.md")
PLOT = PROJECT_ROOT / "docs" / "plots" / "recompute.svg"
PHASES = ("read", "forecast", "features", "fit", "rank", "publish")
ABOUT = """\
Written by `make bench`. Users × live events, lists of 50, from PostgreSQL to published; training
included, evaluation not. Seconds of wall-clock; memory is the most that all processes of a run had
together, and cpu the seconds that they kept a core busy; the database server's are not in these.
"""
FLOORS = {
    "select": "read: all rows by binary COPY",
    "numpy": "rank: float32 product in 64 dimensions and argpartition, numpy",
    "implicit": "rank: the same by `implicit`'s top-k",
    "copy": "publish: as many lists by binary COPY",
}

Row = dict[str, Any]


def keep(folder: Path, row: Row) -> None:
    """Keep a measurement, in place of an earlier one of the same size and model."""
    rows = [
        old for old in kept(folder) if (old["size"], old["model"]) != (row["size"], row["model"])
    ]
    _file(folder).write_text(json.dumps([*rows, row], ensure_ascii=False), encoding="utf-8")


def kept(folder: Path) -> list[Row]:
    """Return all measurements, small sizes first."""
    rows: list[Row] = []
    if _file(folder).exists():
        rows = json.loads(_file(folder).read_text(encoding="utf-8"))
    return sorted(rows, key=lambda row: (*_numbers(row), row["model"]))


def write(folder: Path) -> None:
    """Write all measurements as tables, and draw them."""
    rows = kept(folder)
    runs = [row for row in rows if row["model"] != "floor"]
    floors = [row for row in rows if row["model"] == "floor"]
    machines = sorted({row["machine"] for row in rows})
    parts = [
        "# What a nightly recompute costs\n",
        ABOUT,
        *(f"Measured on {machine}, each row at its own revision.\n" for machine in machines),
        _table(
            ["users × events", "model", *PHASES, "total", "cpu", "peak MB", "revision"],
            [
                [
                    row["size"],
                    row["model"],
                    *(_cell(row, name) for name in (*PHASES, "total", "cpu")),
                    f"{row['peak MB']:.0f}",
                    f"`{row['revision']}`",
                ]
                for row in runs
            ],
        ),
        "![Share of the time that each phase takes](../../docs/plots/recompute.svg)\n",
        "## Floors\n",
        "The bare operations on the same machine, each in a process of its own:\n",
        *(f"- `{name}`, {meaning};" for name, meaning in FLOORS.items()),
        "",
        _table(
            ["users × events", *FLOORS, "revision"],
            [
                [row["size"], *(_cell(row, name) for name in FLOORS), f"`{row['revision']}`"]
                for row in floors
            ],
        ),
        *_growth(runs),
    ]
    RESULTS.write_text("\n".join(parts), encoding="utf-8")
    _draw(runs)


def _growth(runs: list[Row]) -> list[str]:
    """Tell how cost grows: exponents of users and of events, a least-squares fit of logarithms."""
    told = []
    for model in sorted({row["model"] for row in runs}):
        some = [row for row in runs if row["model"] == model]
        sizes = np.log([_numbers(row) for row in some])
        design = np.column_stack([sizes, np.ones(len(some))])
        if np.linalg.matrix_rank(design) < design.shape[1]:
            continue
        for phase in ("rank", "total"):
            seconds = np.log([row[phase] for row in some])
            users, events, _ = np.linalg.lstsq(design, seconds)[0]
            told.append([model, phase, f"{users:.2f}", f"{events:.2f}"])
    if not told:
        return []
    return [
        "## Growth\n",
        "Seconds grow with users and events as powers; the exponents, over the sizes above:\n",
        _table(["model", "phase", "of users", "of events"], told),
    ]


def _draw(runs: list[Row]) -> None:
    figure = Figure(figsize=(8, 0.5 * len(runs) + 1.2), layout="constrained")
    axes = figure.subplots()
    names = [f"{row['size']} {row['model']}" for row in runs]
    left = np.zeros(len(runs))
    for phase in PHASES:
        width = np.array([row.get(phase, 0.0) for row in runs])
        share = width / [row["total"] for row in runs]
        axes.barh(names, share, left=left, label=phase)
        left += share
    for place, row in enumerate(runs):
        axes.text(1.01, place, f"{row['total']:.0f} s", va="center")
    axes.set_xlim(0, 1.12)
    axes.set_xlabel("share of the time")
    axes.invert_yaxis()
    axes.legend(ncols=len(PHASES), loc="lower center", bbox_to_anchor=(0.5, 1), frameon=False)
    PLOT.parent.mkdir(exist_ok=True)
    figure.savefig(PLOT, metadata={"Date": None})


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---", *("--:" for _ in head[1:])], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cell(row: Row, name: str) -> str:
    return f"{row[name]:.1f}" if name in row else ""


def _numbers(row: Row) -> tuple[int, int]:
    users, events = row["size"].split("×")
    return int(users), int(events)


def _file(folder: Path) -> Path:
    return folder / "results.json"
