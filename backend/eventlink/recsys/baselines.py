"""Systems to compare a model with: counts, a rule of thumb, and collaborative filters.

What does not live here: models that could serve (``recsys.models``), and the judging
(``recsys.evaluation``).

An event lives for days, so a filter over events knows next to nothing of what it is to rank. The
collaborative filters here therefore work on organizers: on users × organizers, 1 where the user
has been with the organizer, has said no to it or follows it. What a filter adds for an organizer
comes on top of that 1, for people return. An event's score is its organizer's times its
registrations of the last day: in both cities we measured that beats using them to break ties.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import numpy as np
from scipy import sparse

from eventlink.errors import InvalidOptionError
from eventlink.recsys.dataset import DAY, Floats, Ints
from eventlink.recsys.matrices import Dense, Matrix, count, ones
from eventlink.recsys.snapshot import Snapshot

Scores = Callable[[Ints], Floats]
"""From indices of users, shape (n,), to scores, shape (n, n_columns)."""
Baseline = Callable[[Snapshot], Scores]
"""Learns from what was known at an instant."""

MOST_ORGANIZERS = 1500
"""EASE inverts a matrix of organizers; the busiest are enough."""
EASE_RIDGE = 50.0
NEIGHBOURS = 100
FACTORS = 64
LEAST_SCORE = 1e-4
"""Of an organizer that a filter says nothing of: velocity alone orders its events."""


def popularity(s: Snapshot) -> Scores:
    """Most registrations ever."""
    return _same_for_all(s, -np.inf)


def velocity(s: Snapshot) -> Scores:
    """Most registrations in the last day."""
    return _same_for_all(s, s.as_of - DAY)


def _same_for_all(s: Snapshot, since: float) -> Scores:
    counts = _registrations(s, since)
    return lambda users: np.broadcast_to(counts, (len(users), s.n_columns))


def _registrations(s: Snapshot, since: float) -> Floats:
    log = s.data.registrations
    recent = log.event[np.searchsorted(log.at, since) :]
    return count(s.column_of[recent], s.n_columns)


def followed(s: Snapshot) -> Scores:
    """Events of organizers the user follows or has been with first; then as ``velocity``."""
    known = ones((s.registered @ s.event_organizers + s.follows).tocsr())
    recent = _registrations(s, s.as_of - DAY)
    first = 1 + recent.max(initial=0.0)

    def scores(users: Ints) -> Floats:
        ties: Floats = (known[users] @ s.organizers_to_columns).toarray().astype(np.float64)
        ordered: Floats = first * ties + recent
        return ordered

    return scores


def itemknn(s: Snapshot) -> Scores:
    """Cosine between organizers (Sarwar et al., WWW 2001), by the library ``implicit``."""
    known = _relation(s)
    with _quiet():
        nearest = _implicit("itemknn", LIBRARY["itemknn"])
        model = nearest.CosineRecommender(NEIGHBOURS, num_threads=1)
        model.fit(sparse.csr_matrix(known), show_progress=False)
    similar = model.similarity.astype(np.float32).tocsr()  # an organizer is similar to itself

    def scores(users: Ints) -> Dense:
        foreseen: Dense = (known[users] @ similar).toarray()
        return foreseen

    return _of_organizers(s, scores)


def ials(s: Snapshot) -> Scores:
    """Implicit ALS over organizers (Hu, Koren and Volinsky, ICDM 2008), by ``implicit``."""
    known = _relation(s)
    if not known.nnz:
        return velocity(s)
    with _quiet():
        model = _implicit("ials", LIBRARY["ials"]).AlternatingLeastSquares(
            FACTORS, regularization=0.1, alpha=10.0, iterations=15, random_state=1, num_threads=1
        )
        model.fit(sparse.csr_matrix(known), show_progress=False)

    def scores(users: Ints) -> Dense:
        foreseen: Dense = model.user_factors[users] @ model.item_factors.T
        foreseen += known[users].toarray()
        return foreseen

    return _of_organizers(s, scores)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep to itself what ``implicit`` says of formats and of BLAS's threads."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def ease(s: Snapshot) -> Scores:
    """EASE over the busiest organizers (Steck, WWW 2019): a ridge regression in closed form.

    Each organizer is regressed on all others: B = I - P / diag(P), where P is the inverse of the
    Gram matrix with the ridge on its diagonal.
    """
    known = _relation(s)
    size = np.asarray(known.sum(axis=0))
    busiest = np.sort(np.argsort(-size, kind="stable")[:MOST_ORGANIZERS])
    among = known[:, busiest]
    gram = (among.T @ among).toarray().astype(np.float64)
    inverse = np.linalg.inv(gram + EASE_RIDGE * np.eye(len(busiest)))
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0.0)

    def scores(users: Ints) -> Floats:
        found: Floats = known[users].toarray().astype(np.float64)
        found[:, busiest] += among[users] @ weights
        return found

    return _of_organizers(s, scores)


BASELINES: dict[str, Baseline] = {
    "popularity": popularity,
    "velocity": velocity,
    "followed": followed,
    "itemknn": itemknn,
    "ease": ease,
    "ials": ials,
}
"""All baselines, by name."""
LIBRARY = {"itemknn": "nearest_neighbours", "ials": "als"}
"""Baselines that need the library ``implicit``, and its module for them."""
USUAL = ("popularity", "velocity", "followed", "ease")
"""Those that need no optional library."""


def require_baselines(names: Sequence[str]) -> None:
    """Check that baselines exist and can run here.

    Raises:
        InvalidOptionError: One does not, or needs a library that is not installed.
    """
    for name in names:
        if name not in BASELINES:
            raise InvalidOptionError(
                f"--baselines may name {', '.join(BASELINES)}, all or none, not {name!r}"
            )
        if name in LIBRARY:
            _implicit(name, LIBRARY[name])


def _implicit(name: str, module: str) -> Any:
    """Import a module of the optional library that a baseline needs."""
    try:
        return import_module(f"implicit.{module}")
    except ImportError as error:
        raise InvalidOptionError(
            f"the baseline {name} needs the library implicit, which is not installed;"
            " pip install implicit, or leave the baseline out"
        ) from error


def _relation(s: Snapshot) -> Matrix:
    """Users × organizers: 1 where the user has been with, answered or follows the organizer."""
    answered = s.registered + s.refusals
    return ones((answered @ s.event_organizers + s.follows).tocsr())


def _of_organizers(s: Snapshot, scores: Callable[[Ints], Floats | Dense]) -> Scores:
    """Give events their organizers' scores times one more than their last day's registrations."""
    recent = _registrations(s, s.as_of - DAY)

    def of(users: Ints) -> Floats:
        # The last place is that of events without organizer, whose index is -1.
        found = np.pad(np.maximum(scores(users), 0), ((0, 0), (0, 1)))[:, s.organizer]
        product: Floats = (found + LEAST_SCORE) * (1 + recent)
        return product

    return of
