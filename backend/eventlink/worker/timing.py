"""How long the worker waits for what, each with its reason.

What does not live here: how often a job is tried, and how long it is kept (``services.jobs``).
"""

from dataclasses import dataclass

FETCH_EVERY = 0.5
"""Seconds between looks at the queue. New jobs are notified of; this is for those whose time has
come, and the longest that a throttled refresh waits."""
CANCEL_EVERY = 2.0
"""Seconds between looks for jobs to cancel, for when the notification was missed."""
RECONNECT_EVERY = 1.0
"""Seconds between attempts to reach a server that is gone."""
SWEEP_EVERY = 5.0
"""Seconds between looks for late refreshes: how late one is whose wake was lost."""
CATCH_UP_EVERY = 5.0
"""Seconds between looks for new events while nobody is due: how late one enters rankings then."""
LOAD_LOOK_EVERY = 0.05
"""Seconds between looks whether what is loaded beside the refreshes is there."""
PRUNE_EVERY = 3600.0
"""Seconds between deletions of jobs that ended long ago."""
FORGET_EVERY = 86400.0
"""Seconds between looks for interactions to delete: each reads them all."""
GUARD_EVERY = 1800.0
"""Seconds between comparisons of an experiment's arms: each reads what was shown since the model
serves, and harm takes hours to be sure of."""
MISSED_WITHIN = 6 * 3600.0
"""Seconds until which a scheduled job that no worker was there to queue is made up for: rankings
of a morning are better than none until the next night."""
PROGRESS_EVERY = 0.5
"""Seconds between two reports of a training in the same phase."""

STOP_WITHIN = 5.0
"""Seconds that a running job gets to finish when the worker is told to stop: docker waits 10
before it kills, and a training that takes minutes is better begun again at once elsewhere."""
HAND_BACK_WITHIN = 3.0
"""Seconds that giving jobs back may take after that."""


@dataclass(frozen=True)
class Timing:
    """What follows from how often a worker tells that it lives."""

    heartbeat: float
    """Seconds between two heartbeats."""

    @property
    def patience(self) -> float:
        """Seconds without a heartbeat after which a worker is gone: three missed in a row."""
        return 3 * self.heartbeat

    @property
    def backoff(self) -> float:
        """Seconds until a job's second attempt."""
        return self.heartbeat
