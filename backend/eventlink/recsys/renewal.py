"""Renewal: the crowd of an earlier instant beside a later catalogue of events.

What does not live here: reading the catalogue (``db.dataset``), and what is computed of the events
themselves, which is all made anew (``recsys.snapshot``, ``recsys.features``).
"""

from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt
from scipy import sparse

from eventlink.recsys.dataset import Bools, Dataset, Events, Floats, Ints
from eventlink.recsys.matrices import Matrix
from eventlink.recsys.snapshot import Snapshot

TICK = 1e-6
"""Seconds; the database knows no shorter time."""

KEPT = ("standing", "history", "homes")
"""What persons keep as it is, whatever became of events."""
KEPT_BY = {
    "events": (
        "registered",
        "attended",
        "attended_lately",
        "attended_yesterday",
        "refusals",
        "favorites",
        "engagement",
        "skips",
    ),
    "organizers": ("follows", "blocked"),
    "tags": ("interests", "hidden", "wanted_tags"),
    "categories": ("wanted_categories",),
}
"""Matrices of persons that are kept, by what their columns are."""


@dataclass(frozen=True)
class Moves:
    """For each index of an earlier Dataset the one that stands for the same in a later one.

    Nothing is lost and the order stays: the indices of a kind ascend.
    """

    events: Ints
    organizers: Ints
    tags: Ints
    cities: Ints
    categories: Ints


def moved(index: Ints, places: Ints) -> Ints:
    """Give indices of one kind their later values; -1 stays.

    Args:
        index: Of an earlier Dataset.
        places: What ``Moves`` says of the kind; ascending, so the last one tells whether any moved.
    """
    if not len(places) or places[-1] == len(places) - 1:
        return index
    later: Ints = np.append(places, np.int32(-1))[index]
    return later


def replanted(matrix: Matrix, rows: Ints, columns: Ints, shape: tuple[int, int]) -> Matrix:
    """Put a matrix's rows and columns elsewhere; what can be shared with it is not copied.

    Args:
        matrix: Any.
        rows: For each row where it goes, ascending.
        columns: For each column where it goes, ascending; -1 where it goes nowhere.
        shape: Of the result.
    """
    begins = np.zeros(shape[0] + 1, matrix.indptr.dtype)
    begins[rows + 1] = np.diff(matrix.indptr)
    np.cumsum(begins, out=begins)
    if (columns >= 0).all():
        data, indices = matrix.data, moved(matrix.indices, columns)
    else:
        places = columns[matrix.indices]
        has = np.flatnonzero(places >= 0)
        data, indices, begins = matrix.data[has], places[has], np.searchsorted(has, begins)
    planted: Matrix = sparse.csr_array((data, indices, begins), shape)
    return planted


def renumbered(data: Dataset, to: Moves) -> Dataset:
    """Number a Dataset's users and acts as a later one; its events are not touched.

    Args:
        data: The earlier one.
        to: The later one's indices.
    """
    registrations = replace(data.registrations, event=moved(data.registrations.event, to.events))
    if "again" in vars(data.registrations):  # the pairs are the same, and sorting them takes long
        vars(registrations)["again"] = data.registrations.again
    return replace(
        data,
        users=replace(data.users, city=moved(data.users.city, to.cities)),
        interests=replace(data.interests, tag=moved(data.interests.tag, to.tags)),
        hidden_tags=replace(data.hidden_tags, tag=moved(data.hidden_tags.tag, to.tags)),
        follows=replace(data.follows, organizer=moved(data.follows.organizer, to.organizers)),
        blocks=replace(data.blocks, organizer=moved(data.blocks.organizer, to.organizers)),
        registrations=registrations,
        favorites=replace(data.favorites, event=moved(data.favorites.event, to.events)),
        interactions=replace(data.interactions, event=moved(data.interactions.event, to.events)),
        intents=replace(
            data.intents,
            tag=moved(data.intents.tag, to.tags),
            category=moved(data.intents.category, to.categories),
        ),
    )


def renewed(before: Snapshot, data: Dataset, now: float, to: Moves) -> Snapshot:
    """Make the crowd of an earlier instant know the events of now.

    All is as if they had been published, edited and deleted just before that instant. So what was
    aggregated of persons' acts holds on, which is most of the work.

    Args:
        before: The crowd.
        data: Its acts, numbered by ``renumbered``, and the events of now.
        now: Seconds since 1970-01-01 UTC; what is to come later is not known.
        to: From the indices of the crowd to those of the data.
    """
    then = before.as_of
    events = replace(
        data.events,
        created=_hastened(data.events.created, then, now),
        gone=_hastened(data.events.gone, then, now),
    )
    crowd = Snapshot(replace(data, events=events), then)
    if same_acts(before, crowd, to):
        _keep(before, crowd, to)
    return crowd


def same_acts(before: Snapshot, after: Snapshot, to: Moves) -> bool:
    """Tell whether two crowds know the same acts; some wait for their event to become public.

    Args:
        before: The crowd.
        after: The crowd beside a later catalogue.
        to: From the indices of the former to those of the latter.
    """
    old, new = renumbered(before.data, to), after.data
    pairs = (
        (old.registrations.event, new.registrations.event),
        (old.registrations.attended, new.registrations.attended),
        (old.favorites.event, new.favorites.event),
        (old.interactions.event, new.interactions.event),
    )
    return all(np.array_equal(*pair) for pair in pairs)


def unchanged(before: Snapshot, after: Snapshot, to: Moves) -> Ints:
    """Find the columns whose event is as it was.

    Args:
        before: The crowd.
        after: The crowd beside a later catalogue.
        to: From the indices of the former to those of the latter.

    Returns:
        For each later column its earlier place, -1 where it is new or another event now.
    """
    was = np.full(after.data.n_events, -1, np.int32)
    was[to.events] = np.arange(before.data.n_events, dtype=np.int32)
    earlier = was[after.columns].astype(np.intp)
    old = before.data.events.rows(earlier)
    new = after.data.events.rows(after.columns.astype(np.intp))
    # Venues and titles are numbered anew with every reading.
    old = replace(
        old,
        organizer=moved(old.organizer, to.organizers),
        category=moved(old.category, to.categories),
        city=moved(old.city, to.cities),
        venue=new.venue,
        title=new.title,
    )
    same = np.all([_equal(getattr(old, f.name), getattr(new, f.name)) for f in fields(Events)], 0)
    tags = before.event_tags[earlier]
    tags = sparse.csr_array(
        (tags.data, moved(tags.indices, to.tags), tags.indptr), (len(earlier), after.data.n_tags)
    )
    differ = abs(tags - after.event_tags[after.columns])
    same &= (earlier >= 0) & (np.asarray(differ.sum(axis=1)).ravel() == 0)
    return np.where(same, before.column_of[earlier], np.int32(-1)).astype(np.int32)


def _hastened(instants: Floats, then: float, now: float) -> Floats:
    return np.where((instants >= then) & (instants < now), then - TICK, instants)


def _keep(before: Snapshot, crowd: Snapshot, to: Moves) -> None:
    """Take over what was aggregated of persons, as far as it was."""
    had, kept = vars(before), vars(crowd)
    kept.update({name: had[name] for name in KEPT if name in had})
    sizes = {
        "events": crowd.data.n_events,
        "organizers": crowd.data.n_organizers,
        "tags": crowd.data.n_tags,
        "categories": crowd.data.n_categories,
    }
    everybody = np.arange(crowd.data.n_users, dtype=np.int32)
    for thing, names in KEPT_BY.items():
        shape = crowd.data.n_users, sizes[thing]
        for name in names:
            if name in had:
                kept[name] = replanted(had[name], everybody, getattr(to, thing), shape)


def _equal(one: npt.NDArray[np.generic], other: npt.NDArray[np.generic]) -> Bools:
    same: Bools = (one == other) | ((one != one) & (other != other))  # noqa: PLR0124 (nan)
    return same
