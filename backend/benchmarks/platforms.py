"""Judge the default on platforms unlike those it was made on, and write ``docs/quality.md``.

    python backend/benchmarks/platforms.py [--results FOLDER] [--only PART] DIR...

Each DIR is in the interchange format. It is changed, in memory, into other kinds of platform, and
on each of them the default, its own model without the prior, the prior alone and all baselines are
judged by the protocol. The prior is fitted to the other folders (``prior.py``). What was measured
stays in FOLDER as JSON; remove a file there to have it measured anew.

What does not live here: the changes (``changes``).
"""

import argparse
import json
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
from changes import CHANGES
from implicit.nearest_neighbours import CosineRecommender
from prior import imported
from quality import MEANING, decimals, replaced, table
from scipy import sparse

from eventlink.config import PROJECT_ROOT
from eventlink.recsys import elsewhere
from eventlink.recsys.baselines import BASELINES, LEAST_SCORE, Scores, velocity
from eventlink.recsys.dataset import Dataset, Floats, Ints
from eventlink.recsys.evaluation import evaluate, last_folds
from eventlink.recsys.examples import Examples
from eventlink.recsys.matrices import ones
from eventlink.recsys.models import Model, Pooled, PriorModel, fit_model
from eventlink.recsys.options import TrainOptions
from eventlink.recsys.snapshot import Snapshot

DAYS = 4
EVENT_COSINE = "event cosine"
NEIGHBOURS = 100
MODELS = {
    "model": "the default",
    "own": "without the prior",
    "prior": "the prior alone",
}
BEGIN, END = "<!-- platforms: begin -->", "<!-- platforms: end -->"
Told = dict[str, float]
"""System to NDCG@10."""


def event_cosine(s: Snapshot) -> Scores:
    """Cosine between events (Sarwar et al., WWW 2001), times the registrations of the last day.

    It needs neither organizers nor follows.
    """
    known = ones(s.registered)
    model = CosineRecommender(NEIGHBOURS, num_threads=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of formats that it made itself
        model.fit(sparse.csr_matrix(known), show_progress=False)
    similar = model.similarity.astype(np.float32).tocsr()[:, s.columns]
    recent = velocity(s)(np.zeros(1, np.int32))[0]

    def scores(users: Ints) -> Floats:
        found: Floats = ((known[users] @ similar).toarray() + LEAST_SCORE) * (1 + recent)
        return found

    return scores


def main() -> None:
    """Measure what is not measured yet, and rewrite the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR")
    parser.add_argument("--results", type=Path, default=PROJECT_ROOT / ".eventlink" / "platforms")
    parser.add_argument("--only", default="", metavar="PART", help="platforms with it in the name")
    asked = parser.parse_args()
    asked.results.mkdir(parents=True, exist_ok=True)
    BASELINES[EVENT_COSINE] = event_cosine
    cities = {folder.name: _city(folder, asked) for folder in asked.folders}
    replaced(BEGIN, END, "\n\n".join(_page(name, told) for name, told in cities.items()))


def _city(folder: Path, asked: argparse.Namespace) -> dict[str, Told]:
    """Measure all platforms that are made of one folder."""
    prior = asked.results / f"{folder.name}.prior"
    if not prior.exists():
        program = str(Path(__file__).with_name("prior.py"))
        unseen = ("--unseen", str(folder), "--unseen-days", str(DAYS))
        command = [sys.executable, program, *unseen, "--out", str(prior), *asked.folders]
        subprocess.run(command, check=True)  # noqa: S603 (our own program)
    elsewhere.FILE = prior
    data, told = None, {}
    for name, change in CHANGES.items():
        kept = asked.results / f"{folder.name}: {name}.json"
        if not kept.exists() and asked.only in name:
            data = data or imported(folder)
            kept.write_text(json.dumps(_judged(change(data))))
            print(folder.name, name, kept.read_text(), flush=True)
        if kept.exists():
            told[name] = json.loads(kept.read_text())
    return told


def _judged(data: Dataset) -> Told:
    """Return NDCG@10 of each system."""
    found = evaluate(
        data,
        last_folds(data, DAYS),
        {"model": _fitted, "own": _own, "prior": _prior},
        TrainOptions(),
        np.random.default_rng(0),
        baselines=tuple(BASELINES),
    )
    return {name: outcome.mean("ndcg") for name, outcome in found.items()}


def _fitted(examples: Examples, rng: np.random.Generator) -> Model:
    return fit_model(examples, TrainOptions(), rng)


def _own(examples: Examples, rng: np.random.Generator) -> Model:
    model = _fitted(examples, rng)
    return model.own if isinstance(model, Pooled) else model


def _prior(examples: Examples, rng: np.random.Generator) -> Model:
    return PriorModel().fit(examples, TrainOptions(), rng)


def _page(city: str, told: dict[str, Told]) -> str:
    rows = []
    for name, one in told.items():
        best = max(BASELINES, key=one.__getitem__)
        label = MEANING.get(best, best)
        rows.append([name, *(decimals(one[m]) for m in MODELS), f"{decimals(one[best])} ({label})"])
    return table([city, *MODELS.values(), "the best baseline"], rows)


if __name__ == "__main__":
    main()
