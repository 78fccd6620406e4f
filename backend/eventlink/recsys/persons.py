"""Persons: what some people said and did until an instant, aggregated once for all features.

What does not live here: what all people's acts say of an event (``recsys.snapshot``, the crowd).
"""

from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np

from eventlink.recsys.dataset import DAY, LONG_DWELL_SECONDS, Act, Bools, Dataset, Floats, Ints
from eventlink.recsys.geography import chord_to_km, unit_vectors
from eventlink.recsys.matrices import Dense, Matrix, count, ones, sum_into

HISTORY_HALF_LIFE = 60 * DAY
"""How fast a user's past loses weight."""
INTENT_HALF_LIFE = 3 * DAY
"""A search tells what somebody wants now."""

ENGAGED = {Act.CLICK: 1.0, Act.VIEW: 0.5, Act.SHARE: 2.0}
"""What an act says of interest; a long dwell counts as a click."""

NO_SHOW_WEIGHT = 0.25
"""What a registration is worth whose user did not come."""


@dataclass(frozen=True)
class Rows:
    """What some of the ``Persons`` did, in the order they were asked for; not to be changed."""

    registered: Matrix
    attended: Matrix
    attended_lately: Matrix
    attended_yesterday: Matrix
    refusals: Matrix
    favorites: Matrix
    engagement: Matrix
    skips: Matrix
    follows: Matrix
    interests: Matrix
    wanted_tags: Matrix
    wanted_categories: Matrix
    history: Ints
    first: Floats
    language: Ints


class Persons:
    """What was known of some people at an instant, a row each.

    Rows reach over all events, organizers, tags or categories of the Dataset, and say nothing of
    what may be scored: the same rows go with any Snapshot of the same events. Everything is
    computed on first use and kept.

    Args:
        data: These people's rows, and all events; none is dated at or after ``as_of``.
        as_of: Seconds since 1970-01-01 UTC.
    """

    def __init__(self, data: Dataset, as_of: float) -> None:
        self.data = data
        self.as_of = as_of

    def rows(self, users: Ints) -> Rows:
        """Take the rows of some users, once for all that reads them."""
        found = {f.name: getattr(self, f.name) for f in fields(Rows)}
        if not np.array_equal(users, np.arange(self.data.n_users)):  # else these are all
            found = {name: values[users] for name, values in found.items()}
        return Rows(**found)

    # Registrations --------------------------------------------------------------------------

    @cached_property
    def standing(self) -> Bools:
        """For each registration, whether it has not been taken back."""
        return np.isinf(self.data.registrations.until)

    @cached_property
    def registered(self) -> Matrix:
        """Users × all events: 1 where a registration stands."""
        log = self.data.registrations.rows(self.standing)
        return ones(self._by_event(log.event, log.user))

    @cached_property
    def history(self) -> Ints:
        """For each user, how many registrations stand."""
        history: Ints = np.diff(self.registered.indptr).astype(np.int32)
        return history

    @cached_property
    def first(self) -> Floats:
        """For each user, when the first registration that stands was made; ``inf`` for none."""
        log = self.data.registrations.rows(self.standing)
        first = np.full(self.data.n_users, np.inf)
        np.minimum.at(first, log.user, log.at)
        return first

    @cached_property
    def attended(self) -> Matrix:
        """Users × all events: registrations that stand, decayed; a no-show counts a quarter."""
        return self._attended(HISTORY_HALF_LIFE)

    @cached_property
    def attended_lately(self) -> Matrix:
        """The same, decayed in a week."""
        return self._attended(7 * DAY)

    @cached_property
    def attended_yesterday(self) -> Matrix:
        """The same, decayed in a day."""
        return self._attended(DAY)

    def _attended(self, half_life: float) -> Matrix:
        log = self.data.registrations.rows(self.standing)
        worth = np.where(log.attended == 0, np.float32(NO_SHOW_WEIGHT), np.float32(1))
        return self._by_event(log.event, log.user, worth * self.decay(log.at, half_life))

    # Other acts on events -------------------------------------------------------------------

    @cached_property
    def refusals(self) -> Matrix:
        """Users × all events: 1 where the user said no, or took the registration back."""
        acts = self.data.interactions
        said = acts.rows(acts.act == Act.UNREGISTER)
        undone = self.data.registrations.rows(~self.standing)
        event = np.concatenate([said.event, undone.event])
        return ones(self._by_event(event, np.concatenate([said.user, undone.user])))

    @cached_property
    def favorites(self) -> Matrix:
        """Users × all events: 1 where the user marked the event."""
        log = self.data.favorites
        return ones(self._by_event(log.event, log.user))

    @cached_property
    def engagement(self) -> Matrix:
        """Users × all events: decayed clicks, views, shares and long dwells."""
        acts = self.data.interactions
        worth = np.zeros(len(acts), np.float32)
        for act, value in ENGAGED.items():
            worth[acts.act == act] = value
        worth[(acts.act == Act.DWELL) & (acts.dwell >= LONG_DWELL_SECONDS)] = 1.0
        kept = worth > 0
        weight = worth[kept] * self.decay(acts.at[kept], HISTORY_HALF_LIFE)
        return self._by_event(acts.event[kept], acts.user[kept], weight)

    @cached_property
    def skips(self) -> Matrix:
        """Users × all events: shown above something clicked in the same list, and not clicked.

        Joachims et al. (2005), "skip above": the user has looked at least as far as the last click.
        """
        acts = self.data.interactions
        listed = (acts.request >= 0) & (acts.position >= 0)
        shown = acts.rows(listed & (acts.act == Act.IMPRESSION))
        clicked = acts.rows(listed & (acts.act == Act.CLICK))
        deepest = np.full(int(acts.request.max(initial=-1)) + 1, -1, np.int32)
        np.maximum.at(deepest, clicked.request, clicked.position)
        seen = shown.rows(shown.position < deepest[shown.request])
        clicked_pairs = clicked.request.astype(np.int64) * self.data.n_events + clicked.event
        seen_pairs = seen.request.astype(np.int64) * self.data.n_events + seen.event
        seen = seen.rows(~np.isin(seen_pairs, clicked_pairs))
        return self._by_event(seen.event, seen.user, self.decay(seen.at, HISTORY_HALF_LIFE))

    # Organizers, tags and categories --------------------------------------------------------

    @cached_property
    def follows(self) -> Matrix:
        """Users × all organizers: 1 where the user follows."""
        log = self.data.follows
        return sum_into((self.data.n_users, self.data.n_organizers), log.user, log.organizer)

    @cached_property
    def blocked(self) -> Matrix:
        """Users × all organizers: 1 where the user blocked the organizer."""
        log = self.data.blocks
        return sum_into((self.data.n_users, self.data.n_organizers), log.user, log.organizer)

    @cached_property
    def interests(self) -> Matrix:
        """Users × tags: 1 where the user likes the tag."""
        log = self.data.interests
        return sum_into((self.data.n_users, self.data.n_tags), log.user, log.tag)

    @cached_property
    def hidden(self) -> Matrix:
        """Users × tags: 1 where the user hid the tag."""
        log = self.data.hidden_tags
        return sum_into((self.data.n_users, self.data.n_tags), log.user, log.tag)

    @cached_property
    def wanted_tags(self) -> Matrix:
        """Users × tags: decayed searches and filters."""
        log = self.data.intents.rows(self.data.intents.tag >= 0)
        shape = (self.data.n_users, self.data.n_tags)
        return sum_into(shape, log.user, log.tag, self.decay(log.at, INTENT_HALF_LIFE))

    @cached_property
    def wanted_categories(self) -> Matrix:
        """Users × categories: decayed searches and filters."""
        log = self.data.intents.rows(self.data.intents.category >= 0)
        shape = (self.data.n_users, self.data.n_categories)
        return sum_into(shape, log.user, log.category, self.decay(log.at, INTENT_HALF_LIFE))

    # Places ---------------------------------------------------------------------------------

    @cached_property
    def homes(self) -> Dense:
        """Each user's home on the unit sphere, shape (n_users, 3); ``nan`` where unknown."""
        return unit_vectors(self.data.users.lat, self.data.users.lon)

    @cached_property
    def journeys(self) -> Floats:
        """For each registration, log km from home to venue; ``nan`` where one is unknown."""
        log, events = self.data.registrations, self.data.events
        named = np.bincount(log.event, minlength=self.data.n_events) > 0
        venues = np.empty((self.data.n_events, 3), np.float32)
        venues[named] = unit_vectors(events.lat[named], events.lon[named])
        chord = np.sqrt(((self.homes[log.user] - venues[log.event]) ** 2).sum(axis=1))
        return np.log1p(chord_to_km(chord)).astype(np.float64)

    @cached_property
    def travelled(self) -> tuple[Floats, Floats]:
        """For each user, the sum of the journeys whose length is known, and their number."""
        has = np.isfinite(self.journeys)
        user, n_users = self.data.registrations.user[has], self.data.n_users
        return count(user, n_users, self.journeys[has]), count(user, n_users)

    @property
    def language(self) -> Ints:
        """What each user reads; -1 where unknown."""
        return self.data.users.language

    def decay(self, at: Floats, half_life: float) -> Dense:
        """Weigh instants: 1 now, one half a half-life ago, 0 for unknown.

        Args:
            at: Instants, seconds.
            half_life: Seconds.
        """
        return np.exp2((at - self.as_of) / half_life).astype(np.float32)

    def _by_event(self, event: Ints, user: Ints, weight: Dense | None = None) -> Matrix:
        return sum_into((self.data.n_users, self.data.n_events), user, event, weight)
