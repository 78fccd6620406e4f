"""Candidate generation: the few hundred events of each user that are worth the full model.

What does not live here: the model's own scores, and who may be shown what (``recsys.ranking``).
"""

from collections.abc import Callable
from copy import copy
from dataclasses import replace
from functools import cached_property, reduce
from operator import add

import numpy as np
import numpy.typing as npt

from eventlink.recsys.dataset import Bools, Floats, Ints, Users, empty_dataset
from eventlink.recsys.features import Features
from eventlink.recsys.features.affinity import log1p
from eventlink.recsys.matrices import (
    Dense,
    Matrix,
    ones,
    only_columns,
    product,
    scale_columns,
    take_rows,
)
from eventlink.recsys.models import Model
from eventlink.recsys.parallel import in_processes
from eventlink.recsys.persons import Persons
from eventlink.recsys.renewal import moved
from eventlink.recsys.scoring import Scoring
from eventlink.recsys.selection import largest
from eventlink.recsys.snapshot import Pairs, Snapshot

SAMPLE_USERS = 256
CANDIDATES = 200
"""Events a user that are scored in full, at least; with no more live ones than this, all are."""
PER_PLACE = 2
"""Of long lists, as many for each place."""
SPARE = 1.5
"""Times as many events of a neighbourhood are looked at before ties are added."""
MOST_CITIES = 256
"""Users without a home are told apart by city, so many cities at most."""
PEOPLE_A_PIECE = 16
"""Who are scored on all columns at a time, which bounds memory."""
MOST_PIECES_AT_ONCE = 16
"""Of these, where they are scored on few columns."""


def size_for(top_n: int) -> int:
    """Tell how many candidates lists of some length are chosen from."""
    return max(CANDIDATES, PER_PLACE * top_n)


class Candidates:
    """A cheap stand-in for the model, fitted to the model's own scores at this instant.

    What the model says to a newcomer depends on little more than where that person lives. So it is
    asked once for each neighbourhood, about a newcomer in the middle of it. The stand-in adds, for
    each user, ties that come from sparse products: an inner product of what the user did and what
    belongs to the event. Weights of the ties, and a level for every event (one for users with a
    past, one for those without), are the least-squares fit to the model's log-odds on a sample of
    users. So whatever the model is, and whatever it found important, the stand-in follows it.

    Args:
        snapshot: The instant to rank at.
        features: Of that instant.
        model: What the stand-in imitates.
        users: Who will be ranked; the sample is drawn from them.
        rng: Source of the sample.
        size: How many candidates a user; see ``size_for``.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        features: Features,
        model: Model,
        users: Ints,
        rng: np.random.Generator,
        size: int = CANDIDATES,
    ) -> None:
        self.snapshot = snapshot
        self.size = min(size, self.snapshot.n_columns)
        self.everything = self.size == self.snapshot.n_columns
        if self.everything:
            return
        features.of_crowd()
        self.ties = _Ties(snapshot, features)
        self.newcomers = _Newcomers(snapshot, features, model, users)
        self.sample = np.sort(rng.choice(users, min(SAMPLE_USERS, len(users)), replace=False))
        self._fit(features, model, self.sample)

    def _fit(self, features: Features, model: Model, users: Ints) -> None:
        s = self.snapshot
        margins = _margins(features, model, s, users)
        margins -= self.newcomers.table[self.newcomers.of(s, users)]
        parts = self.ties.of(s, users)
        new = s.history[users] == 0
        within = np.zeros((len(parts), len(parts)))
        towards = np.zeros(len(parts))
        for group in [group for group in (~new, new) if group.any()]:
            # Columns are centred by what that does to the sums, so that the parts stay sparse.
            target = margins[group] - margins[group].mean(axis=0)
            few = [part[group] for part in parts]
            total = np.stack([part.sum(axis=0, dtype=np.float64) for part in few])
            towards += [float(part.data @ target.ravel()[_flat(part)]) for part in few]
            within += [[float(part.multiply(other).sum()) for other in few] for part in few]
            within -= total @ total.T / group.sum()
        ridge = 1e-3 * np.trace(within) / len(parts) + 1e-6
        self.slopes = np.linalg.solve(within + ridge * np.eye(len(parts)), towards)
        for slope, part in zip(self.slopes, parts, strict=True):
            margins.ravel()[_flat(part)] -= np.float32(slope) * part.data
        self.level = _by_past(margins, new)
        self.error = float((margins - self.level[new.astype(np.intp)]).std())
        """How far the stand-in is from the model, a standard deviation of log-odds."""

    def renewed(
        self, snapshot: Snapshot, features: Features, model: Model, earlier: Ints, cities: Ints
    ) -> "Candidates | None":
        """Imitate the model for other columns at the same instant, asking it of the new ones alone.

        Args:
            snapshot: A ``renewal.renewed`` one.
            features: Of that.
            model: The same as before.
            earlier: For each column its place in the snapshot of before, -1 where it is new.
            cities: Where the indices of cities have gone, as in ``renewal.Moves``.

        Returns:
            None where all events were candidates, or are so now.
        """
        if self.everything or snapshot.n_columns <= self.size:
            return None
        features.of_crowd()
        new, again = np.flatnonzero(earlier < 0).astype(np.int32), copy(self)
        again.snapshot = snapshot
        again.ties = _Ties(snapshot, features)
        again.newcomers = self.newcomers.renewed(earlier, cities)
        again.level = np.take(self.level, earlier, axis=1)
        if len(new):
            few, level = features.narrowed(new), again.level
            again.newcomers.ask(few, model, snapshot, new)
            level[:, new] = 0
            rest = _margins(few, model, snapshot, self.sample, only=new)
            rest -= again.margins_of(new)(snapshot, self.sample)
            level[:, new] = _by_past(rest, snapshot.history[self.sample] == 0)
        return again

    def of(self, who: Persons, users: Ints, banned: Bools) -> Ints:
        """Choose the candidates of some users.

        Args:
            who: Whose rows.
            users: Indices of users of these, shape (n,).
            banned: True where the user may not be shown the event, shape (n, n_columns).

        Returns:
            Columns, ascending in each row, shape (n, size).
        """
        n = self.snapshot.n_columns
        if self.everything:
            return np.tile(np.arange(n, dtype=np.int32), (len(users), 1))
        group, new = self.newcomers.of(who, users), (who.history[users] == 0).astype(np.intp)
        quick = self.newcomers.table[group]
        quick += self.level[new]
        for part in self.ties.total(who, users, self.slopes):
            quick.ravel()[_flat(part)] += part.data
        np.putmask(quick, banned, np.float32(-np.inf))
        return _largest_above(quick, self.least[new, group], self.size)

    def margins_of(self, columns: Ints) -> Callable[[Persons, Ints], Dense]:
        """Prepare to imitate the model's log-odds for a few columns and very many users.

        Only for where not everything is a candidate.

        Args:
            columns: Places in ``Snapshot.columns``.

        Returns:
            A function of persons and indices of users of these, whose result has the shape
            (number of users, number of columns).
        """
        ties = self.ties.narrowed(columns)
        table, level = self.newcomers.table[:, columns], self.level[:, columns]

        def margins(who: Persons, users: Ints) -> Dense:
            new = (who.history[users] == 0).astype(np.intp)
            quick: Dense = table[self.newcomers.of(who, users)] + level[new]
            for slope, part in zip(self.slopes, ties.of(who, users), strict=True):
                quick += np.float32(slope) * part.toarray()
            return quick

        return margins

    @cached_property
    def least(self) -> Dense:
        """For users with a past and without one, by neighbourhood: what is hardly worth a look."""
        table, spare = self.newcomers.table, self.snapshot.n_columns - int(SPARE * self.size)
        if spare <= 0:
            return np.full((2, len(table)), -np.inf, np.float32)
        pieces = [
            [np.partition(row + level, spare)[spare] for row in table] for level in self.level
        ]
        return np.array(pieces, np.float32)


class _Newcomers:
    """What the model says to a person without any past, by neighbourhood.

    A neighbourhood is a cell of homes; for those without a home it is the city, or nothing.
    """

    def __init__(self, s: Snapshot, features: Features, model: Model, users: Ints) -> None:
        everybody = s.data.users
        self.cells = features.place.cells
        cell = self.cells.of(everybody.lat[users], everybody.lon[users])
        city = everybody.city[users]
        cities, number = np.unique(city[(cell < 0) & (city >= 0)], return_counts=True)
        self.cities = np.sort(cities[np.argsort(-number, kind="stable")[:MOST_CITIES]])
        self.known_cells, first = np.unique(cell[cell >= 0], return_index=True)
        x, y, z = self.cells.centre[self.known_cells].T.astype(np.float64)
        lat, lon = np.degrees(np.arcsin(z)), np.degrees(np.arctan2(y, x))
        homeless = np.full(len(self.cities) + 1, np.nan)
        self.residents = Users(
            lat=np.concatenate([lat, homeless]),
            lon=np.concatenate([lon, homeless]),
            city=np.concatenate([city[cell >= 0][first], self.cities, [-1]]).astype(np.int32),
            language=np.full(len(lat) + len(homeless), -1, np.int32),
            rankable=np.ones(len(lat) + len(homeless), bool),
            joined=np.full(len(lat) + len(homeless), -np.inf),
        )
        self.table = np.empty((len(self.residents), s.n_columns), np.float32)
        """Log-odds, shape (number of neighbourhoods, n_columns)."""
        self.ask(features, model, s, np.arange(s.n_columns, dtype=np.int32))

    def renewed(self, earlier: Ints, cities: Ints) -> "_Newcomers":
        """Take over what was said of columns that are still there; see ``Candidates.renewed``."""
        again = copy(self)
        again.cities = moved(self.cities, cities)
        again.residents = replace(self.residents, city=moved(self.residents.city, cities))
        again.table = np.take(self.table, earlier, axis=1)  # rows stay whole in memory
        return again

    def ask(self, features: Features, model: Model, s: Snapshot, columns: Ints) -> None:
        """Ask the model about some columns and a newcomer in the middle of each neighbourhood."""
        nobody = replace(
            empty_dataset(),
            users=self.residents,
            events=s.data.events,
            event_tags=s.data.event_tags,
            n_organizers=s.data.n_organizers,
            n_tags=s.data.n_tags,
            n_categories=s.data.n_categories,
            n_venues=s.data.n_venues,
        )
        people = np.arange(len(self.residents), dtype=np.int32)
        self.table[:, columns] = _margins(
            features, model, s, people, Persons(nobody, s.as_of), columns
        )

    def of(self, who: Persons, users: Ints) -> npt.NDArray[np.intp]:
        """Find the neighbourhoods of users, as rows of the table, shape (n,)."""
        data = who.data.users
        cell = self.cells.of(data.lat[users], data.lon[users])
        by_cell, in_cell = _place(self.known_cells, cell)
        by_city, in_city = _place(self.cities, data.city[users])
        elsewhere = np.where(in_city, len(self.known_cells) + by_city, len(self.table) - 1)
        return np.where(in_cell, by_cell, elsewhere)


class _Ties:
    """The quantities of the stand-in beside the neighbourhood: sparse users × columns."""

    def __init__(self, s: Snapshot, features: Features) -> None:
        self.by_organizer, self.by_venue = s.event_organizers, s.venues.members
        self.organizers, self.venues = s.organizers_to_columns, s.venues.to_columns
        self.same, self.cosine = s.to_columns, features.people.cosine
        self.topics, self.tags = features.topics, features.topics.tags_to_columns

    def narrowed(self, columns: Ints) -> "_Ties":
        """Return the quantities of a few columns alone."""
        few = copy(self)
        for name in ("organizers", "venues", "same", "cosine", "tags"):
            setattr(few, name, getattr(self, name)[:, columns])
        few.by_organizer = only_columns(self.by_organizer, _named(few.organizers))
        few.by_venue = only_columns(self.by_venue, _named(few.venues))
        return few

    def of(self, who: Persons, users: Ints) -> list[Matrix]:
        to_organizers, to_columns = self._parts(who, users)
        return [*(tie @ self.organizers for tie in to_organizers), *to_columns]

    def total(self, who: Persons, users: Ints, slopes: Floats) -> list[Matrix]:
        """Weigh the quantities; the sum of the matrices is theirs."""
        to_organizers, to_columns = self._parts(who, users)
        weights = slopes.astype(np.float32).tolist()
        of_organizers = _weighted(to_organizers, weights[: len(to_organizers)])
        of_columns = _weighted(to_columns, weights[len(to_organizers) :])
        if of_organizers:
            of_columns.append((reduce(add, of_organizers) @ self.organizers).tocsr())
        return of_columns

    def _parts(self, who: Persons, users: Ints) -> tuple[list[Matrix], list[Matrix]]:
        """The quantities by organizer, and those by column."""
        registered, follows = take_rows(who.registered, users), take_rows(who.follows, users)
        engagement, interests = take_rows(who.engagement, users), take_rows(who.interests, users)
        went = product(registered, self.by_organizer)
        to_organizers = [
            log1p(product(take_rows(who.attended_lately, users), self.by_organizer)),
            log1p(product(engagement, self.by_organizer)),
            follows,
            ones((went + follows).tocsr()),
            log1p(went),
        ]
        to_columns = [
            # The first bit counts most: models cut the rest off.
            _root(product(registered, self.cosine)),
            product(self.topics.profile(take_rows(who.attended, users)), self.tags),
            product(scale_columns(interests.copy(), self.topics.idf), self.tags),
            product(log1p(product(registered, self.by_venue)), self.venues),
            log1p(product(engagement, self.same)),
            product(take_rows(who.favorites, users), self.same),
            product(take_rows(who.refusals, users), self.same),
        ]
        return to_organizers, to_columns


def _root(matrix: Matrix) -> Matrix:
    """Take the square root of a sparse matrix of one's own, in place."""
    np.sqrt(matrix.data, out=matrix.data)
    return matrix


def _named(to_columns: Matrix) -> Ints:
    """List the organizers, or whatever the rows are, of any column."""
    return np.flatnonzero(np.diff(to_columns.indptr)).astype(np.int32)


def _margins(
    features: Features,
    model: Model,
    s: Snapshot,
    users: Ints,
    who: Persons | None = None,
    only: Ints | None = None,
) -> Dense:
    """Ask the model about some columns, ascending, or all; shape (len(users), their number)."""
    columns = np.arange(s.n_columns, dtype=np.int32) if only is None else only
    size = PEOPLE_A_PIECE * min(MOST_PIECES_AT_ONCE, s.n_columns // len(columns))
    pieces = [users[i : i + size] for i in range(0, len(users), size)]
    scoring = Scoring(features, model)

    def ask(piece: Ints) -> Dense:
        pairs = Pairs.chosen(piece, np.tile(columns, (len(piece), 1)), s.n_columns)
        margins, _ = scoring.margins(pairs, who)
        return margins.reshape(len(piece), len(columns))

    return np.concatenate(list(in_processes(ask, pieces)))


def _weighted(ties: list[Matrix], weights: list[float]) -> list[Matrix]:
    """Weigh those in which anything is stored."""
    return [weight * tie for weight, tie in zip(weights, ties, strict=True) if tie.nnz]


def _by_past(rest: Dense, new: Bools) -> Dense:
    """Average over users with a past, and over those without; over all where there are none."""
    return np.stack([(rest[group] if group.any() else rest).mean(axis=0) for group in (~new, new)])


def _place(sorted_keys: Ints, keys: Ints) -> tuple[npt.NDArray[np.intp], Bools]:
    """Find keys in a sorted array: the places, and where there is one."""
    place = np.searchsorted(sorted_keys, keys)
    found = np.append(sorted_keys, -1)[place] == keys
    return place, found & (keys >= 0)


def _flat(part: Matrix) -> npt.NDArray[np.int64]:
    """Places of a sparse matrix's values in the raveled dense one."""
    row = np.repeat(np.arange(part.shape[0]), np.diff(part.indptr))
    flat: npt.NDArray[np.int64] = row * part.shape[1] + part.indices
    return flat


def _largest_above(values: Dense, least: Dense, size: int) -> Ints:
    """Find the largest values of every row, expecting them above a bound of the row.

    Args:
        values: Shape (n, width).
        least: Shape (n,). Where too few values reach it, all are looked at.
        size: How many, at most width.

    Returns:
        Their places, ascending in each row, shape (n, size).
    """
    n, width = values.shape
    flat = np.flatnonzero(values >= least[:, None])
    row = flat // width
    begin = np.searchsorted(row, np.arange(n + 1))
    number = np.diff(begin)
    room = max(int(number.max(initial=0)), size)
    offset = np.arange(len(flat)) - begin[row]
    few = np.full((n, room), -np.inf, np.float32)
    few[row, offset] = values.ravel()[flat]
    places = np.zeros((n, room), np.int32)
    places[row, offset] = flat - row * width
    found = np.take_along_axis(places, largest(few, size), axis=1)
    short = np.flatnonzero(number < size)
    if len(short):
        found[short] = largest(values[short], size)
    return found
