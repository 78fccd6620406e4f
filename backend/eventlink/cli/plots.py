"""Plots of an evaluation: quality, slices, calibration and exposure.

What does not live here: the numbers (``services.evaluate``). They come as the JSON that
``eventlink evaluate --json`` prints, so that a stored evaluation can be drawn as well.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eventlink.errors import BadFileError, InvalidOptionError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MODEL_COLOURS = ("#0072b2", "#009e73", "#d55e00", "#cc79a7", "#56b4e9")
"""Of models, after Okabe and Ito: told apart by everybody. Baselines are grey."""
BASELINE_GREYS = ("#4d4d4d", "#6e6e6e", "#8a8a8a", "#a3a3a3", "#bababa", "#cfcfcf")
INK, FAINT = "#222222", "#d9d9d9"
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.edgecolor": "#999999",
    "axes.labelcolor": INK,
    "axes.titlesize": 12.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 14.0,
    "axes.axisbelow": True,
    "xtick.color": "#555555",
    "ytick.color": INK,
    "ytick.major.size": 0.0,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.w_pad": 0.12,
    "figure.constrained_layout.h_pad": 0.12,
    "svg.hashsalt": "eventlink",  # equal numbers give equal files
    "svg.fonttype": "none",
}
ENDINGS = ("svg", "png")

Told = Mapping[str, Any]


def require_matplotlib() -> None:
    """Check that plots can be drawn.

    Raises:
        InvalidOptionError: The library is not installed.
    """
    if find_spec("matplotlib") is None:
        raise InvalidOptionError(
            "--plot needs the library matplotlib, which is not installed; pip install matplotlib"
        )


def draw(told: Told, folder: Path, endings: tuple[str, ...] = ENDINGS) -> list[str]:
    """Draw an evaluation.

    Args:
        told: What ``Evaluation.to_json`` returns.
        folder: Where to; made if it does not exist.
        endings: Formats.

    Returns:
        Names of the files.

    Raises:
        BadFileError: The folder cannot be written.
    """
    kinds: dict[str, Callable[[Told, Axes], None]] = {
        "quality": _quality,
        "slices": _slices,
        "calibration": _calibration,
        "exposure": _exposure,
    }
    written = []
    for name, kind in kinds.items():
        with _figure(_height(name, told)) as figure:
            kind(told["systems"], figure.add_subplot())
            for ending in endings:
                path = folder / f"{name}.{ending}"
                _save(figure, path)
                written.append(path.name)
    return written


def _height(name: str, told: Told) -> float:
    """Inches."""
    systems = len(told["systems"])
    return {"quality": 1.5 + 0.34 * systems, "slices": 2.0 + 0.5 * systems}.get(name, 4.4)


@contextmanager
def _figure(height: float) -> Iterator["Figure"]:
    from matplotlib import rc_context  # noqa: PLC0415 (optional)
    from matplotlib.figure import Figure  # noqa: PLC0415 (optional)

    with rc_context(STYLE):
        yield Figure((7.6, height))


def _save(figure: "Figure", path: Path) -> None:
    nothing = {"Date": None} if path.suffix == ".svg" else None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=160, metadata=nothing, facecolor="white")
    except OSError as error:
        raise BadFileError(f"{path} cannot be written: {error.strerror or error}") from error


def _colours(systems: Told) -> dict[str, str]:
    """Give each system its colour: models, which have a calibration, bright ones."""
    models = [name for name, row in systems.items() if row["calibration"]]
    others = [name for name in systems if name not in models]
    best_first = sorted(others, key=lambda name: -systems[name]["ndcg@10"])
    bright = {name: MODEL_COLOURS[i % len(MODEL_COLOURS)] for i, name in enumerate(models)}
    grey = {n: BASELINE_GREYS[min(i, len(BASELINE_GREYS) - 1)] for i, n in enumerate(best_first)}
    return bright | grey


def _quality(systems: Told, axes: "Axes") -> None:
    """Draw NDCG@10 of every system with its 95 % interval, best on top."""
    colours = _colours(systems)
    ordered = sorted(systems, key=lambda name: systems[name]["ndcg@10"])
    for place, name in enumerate(ordered):
        row, colour = systems[name], colours[name]
        low, high = row["ndcg@10 interval"]
        axes.plot([low, high], [place, place], color=colour, lw=5, alpha=0.35)
        axes.plot(row["ndcg@10"], place, "o", color=colour, ms=7)
        label = f"{row['ndcg@10']:.3f}".removeprefix("0")
        axes.annotate(label, (high, place), (7, 0), textcoords="offset points", va="center")
    axes.set_yticks(range(len(ordered)), ordered)
    axes.set_ylim(-0.6, len(ordered) - 0.4)
    axes.set_xlim(left=0)
    axes.margins(x=0.12)
    axes.xaxis.grid(visible=True, color=FAINT)
    axes.set_xlabel("NDCG@10, every candidate ranked; bars: 95 % intervals over users")
    axes.set_title("Ranking quality")


def _slices(systems: Told, axes: "Axes") -> None:
    """Draw NDCG@10 in each slice of users and of events, the systems of a slice side by side."""
    colours = _colours(systems)
    parts = list(next(iter(systems.values()))["slices"].items())
    step = 0.72 / len(systems)
    for number, (name, row) in enumerate(systems.items()):
        aside = 0.36 - step * (number + 0.5)
        found = [
            (part["ndcg@10"], part["interval"], aside - place)
            for place, part in enumerate(row["slices"].values())
            if part["ndcg@10"] is not None
        ]
        width = 3.4 if row["calibration"] else 2.2
        for _, (low, high), place in found:
            axes.plot([low, high], [place, place], color=colours[name], lw=width, alpha=0.35)
        axes.plot(
            [value for value, _, _ in found],
            [place for _, _, place in found],
            "o",
            color=colours[name],
            ms=width + 2.2,
            label=name,
        )
    for place in range(1, len(parts)):
        axes.axhline(0.5 - place, color=FAINT, lw=0.8)
    labels = [f"{_slice_name(name)}\n{part['pairs']:,} pairs" for name, part in parts]
    axes.set_yticks([-place for place in range(len(parts))], labels)
    axes.set_ylim(-len(parts) + 0.45, 0.55)
    axes.set_xlim(left=0)
    axes.xaxis.grid(visible=True, color=FAINT)
    axes.set_xlabel("NDCG@10; bars: 95 % intervals over users")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    axes.set_title("By kind of user and of event")


def _slice_name(name: str) -> str:
    whose = {"no history": "users without history", "younger than a day": "events of the last day"}
    others = {"no registration yet": "events without registration"}
    return (whose | others).get(name, f"users with {name}")


def _calibration(systems: Told, axes: "Axes") -> None:
    """Draw how often what was given a probability happened, on logarithmic scales."""
    colours = _colours(systems)
    edges: list[float] = []
    for name, row in systems.items():
        found = row["calibration"]
        if not found:
            continue
        bins = zip(found["expected"], found["happened"], found["error"], strict=True)
        seen = [(p, rate, error) for p, rate, error in bins if rate > 0]
        expected = [p for p, _, _ in seen]
        happened = [rate for _, rate, _ in seen]
        below = [min(error, rate * 0.9) for _, rate, error in seen]
        above = [error for _, _, error in seen]
        axes.errorbar(
            expected,
            happened,
            [below, above],
            fmt="o-",
            color=colours[name],
            ecolor=colours[name],
            elinewidth=1,
            ms=6,
            lw=1.6,
            label=f"{name} (slope {found['slope']:.2f})",
        )
        edges += expected + happened
    if edges:
        ends = [min(edges) / 1.6, max(edges) * 1.6]
        axes.plot(ends, ends, color="#888888", lw=1, ls=(0, (4, 3)), zorder=1)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.legend(loc="upper left")
    axes.spines["left"].set_visible(True)
    axes.grid(visible=True, color=FAINT)
    axes.set_xlabel("score: expected probability of a registration within a day")
    axes.set_ylabel("share of pairs where it happened")
    axes.set_title("Calibration")


def _exposure(systems: Told, axes: "Axes") -> None:
    """Draw the Lorenz curves of the first ten places, from their upper end."""
    colours = _colours(systems)
    for name, row in systems.items():
        axes.plot(
            [100 * float(share) for share in row["concentration"]],
            [100 * share for share in row["concentration"].values()],
            color=colours[name],
            lw=2.6 if row["calibration"] else 1.5,
            zorder=3 if row["calibration"] else 2,
            label=f"{name} (Gini {row['event gini']:.3f})",
        )
    alike = [100 * float(share) for share in next(iter(systems.values()))["concentration"]]
    axes.plot(alike, alike, color="#888888", lw=1, ls=(0, (4, 3)), label="all events alike")
    axes.set_xscale("log")
    axes.set_xlim(alike[0], 100)
    axes.set_ylim(0, 101)
    ticks = [0.1, 1.0, 10.0, 100.0]
    axes.set_xticks(ticks, [f"{tick:g} %" for tick in ticks])
    axes.spines["left"].set_visible(True)
    axes.grid(visible=True, color=FAINT)
    axes.set_xlabel("the most shown events, as a share of all")
    axes.set_ylabel("% of places among the first ten")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    axes.set_title("Exposure")
