"""How far, and from which neighbourhoods people come.

What does not live here: names of cities; a city's name counts only where coordinates are missing.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from eventlink.recsys.dataset import Floats, Ints
from eventlink.recsys.features.about import About, Sheet, named
from eventlink.recsys.features.demand import Demand
from eventlink.recsys.geography import chord_to_km, distances, home_cells, unit_vectors
from eventlink.recsys.snapshot import Dense, Matrix, Pairs, Snapshot, count, sum_into

KERNEL_WIDTHS = (1.5, 6.0, 25.0)
"""Kilometres."""
SMOOTHING = 4.0
"""Registrants at the base rate that every estimate starts from."""
NEAR_STEPS = (2, 5, 10, 20, 50)
"""Kilometres."""

ABOUT = (
    About(
        "place",
        ("place.has_distance", "place.distance", "place.beyond_nearest", "place.rank"),
        "whether U's home and E's venue are known; log km between them; minus that of U's nearest"
        " event; log of E's rank by distance",
        "People go to what is near; out of town, near is further",
    ),
    About(
        "place",
        named("place.within_{}km", NEAR_STEPS),
        "steps of the distance",
        "A walk, a ride and a journey are different decisions",
    ),
    About(
        "place",
        ("place.against_organizer_usual", "place.against_own_usual"),
        "log km against the mean of O's registrants, and against that of U's registrations",
        "Some organizers draw from afar, some users travel",
    ),
    About(
        "place",
        ("place.same_city",),
        "U and E name the same city",
        "All that is known where coordinates are missing",
    ),
    About(
        "home kernels",
        tuple(
            f"place.{of}_kernel_{width:g}km"
            for of in ("event", "organizer")
            for width in KERNEL_WIDTHS
        ),
        "log of how over-represented U's neighbourhood is among the registrants of E, of O",
        "Tells a stranger's taste by the neighbours, at three sizes of a neighbourhood",
    ),
)


class Place:
    """Homes, venues, and where each event's and organizer's registrants live.

    Args:
        s: The instant.
        demand: Of the same instant.
    """

    def __init__(self, s: Snapshot, demand: Demand) -> None:
        self.s = s
        self.demand = demand
        users, events = s.data.users, s.data.events
        self.home = unit_vectors(users.lat, users.lon)
        self.venue = unit_vectors(events.lat, events.lon)
        self.cell, self.centre = home_cells(users.lat, users.lon)

    @cached_property
    def usual(self) -> tuple[Dense, Dense]:
        """Mean log distance of each column's organizer's registrants; of each user's own events."""
        s, log = self.s, self.s.data.registrations
        chord = np.sqrt(((self.home[log.user] - self.venue[log.event]) ** 2).sum(axis=1))
        log_km = np.log1p(chord_to_km(chord)).astype(np.float64)
        has = np.isfinite(log_km)
        user, log_km = log.user[has], log_km[has]
        site = float(log_km.mean()) if has.any() else 0.0
        n_groups = s.organizers.size + 1
        of_group = _mean(s.organizers.of_event[log.event[has]], log_km, n_groups, site, SMOOTHING)
        of_group[-1] = site  # no organizer
        of_user = _mean(user, log_km, s.data.n_users, site, 1.0)
        return of_group[s.organizers.of_column].astype(np.float32), of_user.astype(np.float32)

    @cached_property
    def crowds(self) -> dict[str, tuple["Crowd", Ints | None]]:
        """Name to registrants by cell, and the group of each column if they are by group."""
        s, log = self.s, self.s.data.registrations
        group = s.organizers.of_event[log.event]
        n, of_column = s.organizers.size, s.organizers.of_column
        group = np.where(group < n, group, -1)
        return {
            "event": (self._crowd(log.user, self.demand.column, s.n_columns), None),
            "organizer": (self._crowd(log.user, group, n), of_column),
        }

    @cached_property
    def everybody(self) -> Dense:
        """Registrations by cell of the registrant's home."""
        cell = self.cell[self.s.data.registrations.user]
        return count(cell, len(self.centre)).astype(np.float32)

    def _crowd(self, user: Ints, thing: Ints, size: int) -> "Crowd":
        cell = self.cell[user]
        kept = (cell >= 0) & (thing >= 0)
        return Crowd(sum_into((size, len(self.centre)), thing[kept], cell[kept]))

    def fill(self, sheet: Sheet, p: Pairs) -> None:
        """Write the features of pairs.

        Args:
            sheet: Where to.
            p: Pairs of the same Snapshot.
        """
        self._fill_distances(sheet, p)
        self._fill_kernels(sheet, p)
        home, away = self.s.data.users.city[p.users], self.s.data.events.city[self.s.columns]
        same = (home[:, None] == away) & (home[:, None] >= 0)
        p.of_both(same.astype(np.float32), out=sheet["place.same_city"])

    def _fill_distances(self, sheet: Sheet, p: Pairs) -> None:
        log_km = np.log1p(distances(self.home[p.users], self.venue[self.s.columns]))
        nearest = np.fmin.reduce(log_km, axis=1, initial=np.inf)
        order = log_km.argsort(axis=1, kind="stable")
        rank = np.empty_like(log_km)
        np.put_along_axis(rank, order, np.arange(order.shape[1], dtype=np.float32)[None], axis=1)
        km = p.of_both(log_km)
        has = np.isfinite(km)
        known = has.astype(np.float32)
        km[~has] = 0
        of_organizer, of_user = self.usual
        nearest[np.isinf(nearest)] = 0
        sheet["place.has_distance"] = known
        sheet["place.distance"] = km
        sheet["place.rank"] = p.of_both(np.log1p(rank)) * known
        for step in NEAR_STEPS:
            sheet[f"place.within_{step}km"] = has & (km < np.log1p(step))
        sheet["place.beyond_nearest"] = (km - p.of_users(nearest)) * known
        sheet["place.against_organizer_usual"] = (km - p.of_columns(of_organizer)) * known
        sheet["place.against_own_usual"] = (km - p.of_users(of_user[p.users])) * known

    def _fill_kernels(self, sheet: Sheet, p: Pairs) -> None:
        cell = self.cell[p.users]
        centre = np.vstack([self.centre, np.full(3, np.nan, np.float32)])[cell]  # -1: no home
        km = distances(centre, self.centre)
        for width in KERNEL_WIDTHS:
            kernel = np.exp(np.float32(-0.5) * (km / np.float32(width)) ** 2)
            base = (kernel * self.everybody).sum(axis=1) / max(float(self.everybody.sum()), 1.0)
            for name, (crowd, group) in self.crowds.items():
                lift = crowd.lift(kernel, base)
                lift[cell < 0] = 0
                out = sheet[f"place.{name}_kernel_{width:g}km"]
                if group is None:
                    p.of_both(lift, out=out)
                else:
                    p.of_groups(np.pad(lift, ((0, 0), (0, 1))), group, out=out)


@dataclass(frozen=True)
class Crowd:
    """Where the registrants of some things live."""

    counts: Matrix
    """Things × cells."""

    @cached_property
    def total(self) -> Dense:
        """Registrants of each thing with a home."""
        return np.asarray(self.counts.sum(axis=1), np.float32)

    def lift(self, kernel: Dense, base: Dense) -> Dense:
        """Log of how over-represented neighbourhoods are among each thing's registrants.

        Args:
            kernel: Nearness of cells to the neighbourhoods, shape (n, number of cells).
            base: Each neighbourhood's share of all registrants, shape (n,).

        Returns:
            Shape (n, number of things).
        """
        near = (self.counts @ kernel.T).T
        base = base[:, None]
        share = (near + SMOOTHING * base) / (self.total + SMOOTHING)
        lift: Dense = np.log(share / np.maximum(base, np.float32(1e-9)) + np.float32(1e-3))
        return lift


def _mean(group: Ints, value: Floats, size: int, prior: float, weight: float) -> Floats:
    """Means a group, drawn towards a prior that weighs as much as some rows."""
    total, number = np.bincount(group, value, minlength=size), count(group, size)
    return (total + weight * prior) / (number + weight)
