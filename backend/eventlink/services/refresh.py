"""Refresh: re-rank the users that are due, in milliseconds, from arrays kept warm in memory.

What does not live here: the marks (``db.refreshes``), what is kept warm (``services.warm``), and
the loop that asks for one batch after the other (``worker``).
"""

import threading
from collections.abc import Sequence
from concurrent.futures import Future, wait
from datetime import datetime, timedelta
from time import monotonic

import numpy as np
import structlog

from eventlink.config import settings
from eventlink.db.explorations import explored, store_explorations
from eventlink.db.models import hold_active
from eventlink.db.overlay import enter_events, store_refreshed
from eventlink.db.persons import read_persons
from eventlink.db.recommendations import Lists
from eventlink.db.refreshes import (
    MOST_ATTEMPTS,
    Claim,
    State,
    claim_due,
    clear,
    commit_soon,
    fail,
    state,
)
from eventlink.db.session import autocommit, pipelined, transaction
from eventlink.errors import EventLinkError, PublishRefusedError
from eventlink.recsys.persons import Persons
from eventlink.services.warm import Warm, load, renew

log = structlog.get_logger()

BATCH = 64
"""Users a refresh: enough to share what a statement costs, few enough to be over in 0.1 s."""
REST = 1.0
"""Loading rests for so many times as long as it took, or refreshes would starve beside it."""
LONGEST_REST = 60.0
"""Seconds that loading rests after it has failed again and again."""
STOP_LOOK_EVERY = 0.2
"""Seconds that a refresh which waits for what is loaded takes to notice that it is to stop."""
CLOCKS_DIFFER = timedelta(minutes=1)
"""Web servers date acts by their clocks, not by the database's; what is dated later than this from
now is not of now."""


class Refresher:
    """Re-ranks users who are due; to be used by one thread.

    Everything is loaded first of all, which takes long. Later it is loaded again beside the
    refreshes: events when the catalogue changes, everything when time goes by. But when another
    model was activated refreshes wait: the old one must not rank any more.

    Args:
        stop: Once it is set, no refresh waits for what is being loaded.
    """

    def __init__(self, stop: threading.Event | None = None) -> None:
        self._stop = stop or threading.Event()
        self._warm: Warm | None = None
        self._loading: Future[Warm] | None = None
        self._rest_until = 0.0
        self._failures = 0
        self._entering: list[Lists] = []

    def refresh_due(self, now: datetime) -> int:
        """Re-rank a batch of the users who are due, with all that is stored by now.

        When nobody is due, new events are merged into the rankings of a block of users. Users who
        get no rankings are only unmarked. A user whose rows break the ranking is tried again later,
        apart from the others.

        Args:
            now: This machine's clock, by which what is warm ages. Rankings go by the database's,
                for of two rankings of a user the later stays, whichever machine made it.

        Returns:
            How many rankings were renewed; if none, there is nothing left to do for now, or it was
            told to stop while it waited.

        Raises:
            EventLinkError: The database is out of reach, or its active model is of another
                version. Whoever was claimed is due again when the lease is over.
        """
        while (warm := self._keep_warm(now)) is None:
            if self._stop.is_set():
                return 0
            if self._loading is not None:
                wait([self._loading], STOP_LOOK_EVERY)
        with pipelined() as conn:
            commit_soon(conn)
            due = claim_due(conn, BATCH)
        claims = [claim for claim in due if claim.attempts == 1]
        failed = [claim for claim in due if claim.attempts > 1]
        alone = failed if not claims or _succeeds(warm, claims) else [*failed, *claims]
        for claim in alone:
            if claim.attempts > MOST_ATTEMPTS or not _succeeds(warm, [claim]):
                with transaction() as conn:
                    fail(conn, [claim])
        return len(due) or self._enter_next(warm)

    def catch_up(self, now: datetime) -> bool:
        """Do what there is to do though nobody is due; never for long, so that nobody due waits.

        Args:
            now: This machine's clock.

        Returns:
            Whether there is more of it.

        Raises:
            EventLinkError: As ``refresh_due`` does.
        """
        if not settings().refreshes_enabled:
            return False
        warm = self._keep_warm(now)
        return bool(warm and self._enter_next(warm)) or self._loading is not None

    def _enter_next(self, warm: Warm) -> int:
        """Merge what is new into the rankings of the next block of users; return their number."""
        if not self._entering or warm.state.model_version is None:
            return 0
        lists = self._entering[-1]
        try:
            with transaction() as conn:
                commit_soon(conn)
                if hold_active(conn, warm.state.model_version):
                    enter_events(conn, warm.state.model_version, lists, warm.top_n)
        except PublishRefusedError as error:  # would be refused again
            log.warning(
                "new events were refused", users=len(lists.rankings.users), error=str(error)
            )
        del self._entering[-1]
        return len(lists.rankings.users)

    def _keep_warm(self, now: datetime) -> Warm | None:
        """Take what was loaded beside, and load again beside the refreshes what has changed.

        Returns:
            None while there is nothing yet, or only what ranks by another model than the active.

        Raises:
            EventLinkError: Nothing can be loaded, and nothing is there to go on with.
        """
        seen = self._state(now)
        if self._loading is not None and self._loading.done():
            self._take_loaded(seen)
            seen = self._state(now)
        warm = self._warm if self._is_usable(seen) else None
        if warm is None:
            may_load = self._loading is None
        else:
            changed = seen != warm.state or now >= warm.stale_at
            may_load = changed and self._loading is None and monotonic() >= self._rest_until
        if may_load:
            self._load_beside(now)
        return warm

    def _state(self, now: datetime) -> State:
        with autocommit() as conn:
            return state(conn, now if self._warm is None else self._warm.at)

    def _is_usable(self, seen: State) -> bool:
        """Whether what is warm is of the active model, and of the site as it is.

        Where rankings were served and no longer are, everything was replaced.
        """
        if self._warm is None or self._warm.state.model_version != seen.model_version:
            return False
        return seen.generation is not None or self._warm.state.generation is None

    def _load_beside(self, now: datetime) -> None:
        loading = self._loading = Future()
        before = self._warm

        def run() -> None:
            begun = monotonic()
            try:
                loaded = load(now) if before is None else renew(now, before)
            except BaseException as error:  # noqa: BLE001 (raised by whoever asks for the result)
                self._failures += 1
                self._rest_until = monotonic() + min(2.0**self._failures, LONGEST_REST)
                loading.set_exception(error)
            else:
                self._failures = 0
                self._rest_until = monotonic() + REST * (monotonic() - begun)
                loading.set_result(loaded)

        # A daemon: a worker that is told to stop does not wait for it.
        threading.Thread(target=run, name="load", daemon=True).start()

    def _take_loaded(self, seen: State) -> None:
        loading, self._loading = self._loading, None
        if loading is None:
            return
        try:
            warm = loading.result()
        except EventLinkError as error:
            if not self._is_usable(seen):
                raise
            log.warning("refreshes go on with what was loaded before", error=str(error))
            return
        if self._warm is None or self._warm.state.served != warm.state.served:
            self._entering = []  # by another model, or into rankings that are gone
        self._entering += warm.entering
        self._warm = warm


def _succeeds(warm: Warm, claims: Sequence[Claim]) -> bool:
    """Refresh users; tell whether that went well, and raise where it would for nobody."""
    try:
        _refresh(warm, claims)
    except PublishRefusedError as error:
        log.warning("a refresh was refused", users=len(claims), error=str(error))
    except EventLinkError:
        raise
    except Exception:  # the job's boundary for one user: rows of one may break what others need
        log.exception("a refresh failed", user_id=claims[0].user_id, users=len(claims))
    else:
        return True
    return False


def _refresh(warm: Warm, claims: Sequence[Claim]) -> None:
    now = max(claim.at for claim in claims)  # later than every earlier claim of any of them
    lists = _rank(warm, claims, now)
    version = warm.state.model_version
    with pipelined() as conn:
        commit_soon(conn)
        if lists is not None and version is not None:
            if not hold_active(conn, version):
                log.info("the model was replaced; its refreshes are done again", users=len(claims))
                return
            store_refreshed(conn, version, now, lists)
            if lists.rankings.propensities is not None:
                store_explorations(conn, version, now, [explored(lists)])
        clear(conn, claims)


def _rank(warm: Warm, claims: Sequence[Claim], now: datetime) -> Lists | None:
    """Rank those of the claimed users who get rankings; None if nobody does."""
    if warm.ranker is None:
        return None
    crowd = warm.ranker.snapshot.data
    rows, keys = read_persons(crowd, warm.keys, [claim.user_id for claim in claims])
    users = np.flatnonzero(rows.users.rankable).astype(np.int32)
    if not len(users):
        return None
    known = rows.acts_before((now + CLOCKS_DIFFER).timestamp())
    persons = Persons(known, now.timestamp())
    if warm.ranker.reranker and warm.ranker.reranker.explorer:
        warm.ranker.reranker.explorer.deal(users, warm.rng)
    rankings = warm.ranker.rank(users, warm.top_n, persons)
    return Lists(rankings, warm.ranker.snapshot.columns, keys)
