"""Score: how likely given users are to register for given events, as of an instant.

What does not live here: rankings (``services.publishing``) and the files that pairs come from.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from sqlalchemy import Connection

from eventlink.db.dataset import load_dataset
from eventlink.db.keys import Ids
from eventlink.db.models import StoredModel, active_model, stored_model
from eventlink.db.session import require_migrations, transaction
from eventlink.errors import NotFoundError
from eventlink.recsys.dataset import Bools, Ints
from eventlink.recsys.features import NAMES, Features
from eventlink.recsys.matrices import Dense
from eventlink.recsys.models import Model
from eventlink.recsys.parallel import in_processes
from eventlink.recsys.progress import Report, silent
from eventlink.recsys.snapshot import Pairs, Snapshot
from eventlink.services.scorers import Scorer, learned_here, stored_scorer

USERS_A_BLOCK = 256
PAIRS_A_BLOCK = 16_384
"""Features of so many pairs are in memory at a time, in each process."""
ROWS_A_BATCH = 65_536

Places: TypeAlias = npt.NDArray[np.intp]
Answer: TypeAlias = npt.NDArray[np.float32 | np.int16]
Answers: TypeAlias = dict[str, Answer]


@dataclass(frozen=True)
class Scored:
    """Scores of pairs, in the order they were asked for."""

    users: Ids
    events: Ids
    known: Bools
    """Whether user and event were known at the instant; the rest has no score."""
    answers: Answers
    """By name, each of shape (n,) or (n, top); see ``batches``."""
    feature_names: tuple[str, ...]
    model: str
    """Kind of the model."""
    model_version: str | None
    """None for the prior of a site without a model."""
    learned_until: datetime | None
    """What the model was trained on is dated before; None for the prior."""
    unknown_users: int
    """How many pairs name a user who does not exist."""
    unknown_events: int
    """How many pairs name an event that was not known at the instant."""

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Return the pairs with their scores, and with contributions if they were asked for.

        ``score`` is the probability of a registration within a day, ``log_odds`` is its
        log(p / (1 - p)): ``constant``, the same for all pairs but for a step between newcomers and
        others, plus the contributions, largest first, plus ``other``, what all other features
        contribute together.
        """
        for begin in range(0, len(self.users), ROWS_A_BATCH):
            rows = slice(begin, begin + ROWS_A_BATCH)
            columns = {"user_id": pa.array(self.users[rows]), "event_id": self.events[rows]}
            for name, values in self.answers.items():
                columns |= self._columns(name, values[rows], ~self.known[rows])
            yield pa.RecordBatch.from_pydict(columns)

    def _columns(self, name: str, values: Answer, unknown: Bools) -> dict[str, pa.Array]:
        if values.ndim == 1:
            return {name: pa.array(values, mask=unknown)}
        columns = (pa.array(column, mask=unknown) for column in values.T)
        if name == "feature":
            names = pa.array(self.feature_names)
            columns = (names.take(numbers) for numbers in columns)
        return {f"{name}_{place}": column for place, column in enumerate(columns, start=1)}


def score_pairs(
    users: Ids,
    events: Ids,
    as_of: datetime,
    model_version: str | None = None,
    top: int = 0,
    report: Report = silent,
) -> Scored:
    """Score pairs with the active model, or with the prior where there is none.

    A live event is scored among the live events, as it is for a ranking; any other that is asked
    for, among the live events and all such. In memory are the pairs' ids, scores and contributions;
    features only of a block at a time.

    Args:
        users: Ids, shape (n,), in any order.
        events: Ids, shape (n,).
        as_of: Nothing dated at or after it is seen.
        model_version: A stored model to score with, active or not.
        top: How many contributions to tell of each pair; 0 for none.
        report: Told of the progress.

    Raises:
        NotFoundError: There is no model of that version.
        ModelMismatchError: It was made for other features.
    """
    with transaction() as conn:
        require_migrations(conn)
        stored = _stored(conn, model_version)
    scorer = stored_scorer(stored)
    learned_until = stored.meta.get("as_of") if stored and learned_here(stored) else None
    report("reading the database", 0.0)
    data, keys = load_dataset()
    report("reading the database", 1.0)
    instant = as_of.timestamp()
    user, event = _places(keys.users, users), _places(keys.events, events)
    created = np.append(data.events.created, np.inf)  # the last place is that of -1
    event = np.where(created[event] < instant, event, np.int32(-1))
    known = (user >= 0) & (event >= 0)
    live = Snapshot(data, instant)
    is_live = known & (_columns(live, event) >= 0)
    # What is live has the same scores whatever else is asked for: ranks and means hang on columns.
    pieces = list(_pieces(live, scorer, user, event, is_live))
    others = known & ~is_live
    if others.any():
        columns = np.union1d(live.columns, event[others]).astype(np.int32)
        pieces += _pieces(Snapshot(data, instant, columns), scorer, user, event, others)

    def one(piece: _Piece) -> Answers:
        x = piece.features.matrix(Pairs.of(user[piece.places], piece.column))
        return _answers(scorer.model, x, top)

    answers = _answers(scorer.model, np.zeros((0, len(NAMES)), np.float32), top)
    answers = {name: np.zeros((len(user), *of.shape[1:]), of.dtype) for name, of in answers.items()}
    for number, found in enumerate(in_processes(one, pieces)):
        for name, values in found.items():
            answers[name][pieces[number].places] = values
        report("scoring pairs", (number + 1) / len(pieces))
    return Scored(
        users=users,
        events=events,
        known=known,
        answers=answers,
        feature_names=scorer.model.feature_names_,
        model=scorer.model.kind,
        model_version=scorer.version,
        learned_until=datetime.fromisoformat(learned_until) if learned_until else None,
        unknown_users=int((user < 0).sum()),
        unknown_events=int((event < 0).sum()),
    )


def _stored(conn: Connection, model_version: str | None) -> StoredModel | None:
    if model_version is None:
        return active_model(conn)
    stored = stored_model(conn, model_version)
    if stored is None:
        raise NotFoundError(f"there is no model of version {model_version}; see: eventlink models")
    return stored


def _places(ids: Ids, asked: Ids) -> Ints:
    """Find ids in a sorted array; -1 where they are not."""
    places = np.searchsorted(ids, asked)
    found = np.append(ids, -1)[places] == asked
    return np.where(found & (places < len(ids)), places, -1).astype(np.int32)


def _columns(s: Snapshot, event: Ints) -> Ints:
    """Return the column of each event; -1 for none."""
    return np.append(s.column_of, np.int32(-1))[event]


@dataclass(frozen=True)
class _Piece:
    """Pairs that one process scores at a time."""

    features: Features
    places: Places
    """Of the pairs among all that are asked for."""
    column: Ints


def _pieces(s: Snapshot, scorer: Scorer, user: Ints, event: Ints, which: Bools) -> Iterator[_Piece]:
    """Cut the pairs that are scored among the columns of a Snapshot into pieces."""
    asked = np.flatnonzero(which)
    if not len(asked):
        return
    features = Features(s, scorer.forecast)
    features.of_crowd()
    for block in _blocks(user[asked]):
        places = asked[block]
        yield _Piece(features, places, _columns(s, event[places]))


def _blocks(user: Ints) -> list[Places]:
    """Put pairs into blocks of few users and few pairs, a user's together."""
    if not len(user):
        return []
    order = np.argsort(user, kind="stable")
    number = np.cumsum(np.diff(user[order], prepend=user[order[0]]) > 0)
    bounds = np.flatnonzero(np.diff(number // USERS_A_BLOCK)) + 1
    return [
        part[begin : begin + PAIRS_A_BLOCK]
        for part in np.split(order, bounds)
        for begin in range(0, len(part), PAIRS_A_BLOCK)
    ]


def _answers(model: Model, x: Dense, top: int) -> Answers:
    """Score pairs and pick their largest contributions."""
    if not top:
        return {"score": model.score(x)}
    contributions, constant = model.explain(x)
    largest = np.argsort(-np.abs(contributions), axis=1, kind="stable")[:, :top]
    told = np.take_along_axis(contributions, largest, axis=1)
    log_odds = model.margin(x)
    return {
        "score": model.score(x),
        "log_odds": log_odds,
        "constant": constant,
        "feature": largest.astype(np.int16),
        "contribution": told,
        "other": log_odds - constant - told.sum(axis=1),
    }
