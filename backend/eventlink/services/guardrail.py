"""The guardrail: while an experiment runs, the check that takes a harmful model back.

What does not live here: counting and comparing (``services.personalization``) and rolling back
(``services.models``).

From when the active model's rankings are first seen to serve, all lists of both arms count. Those
that the heuristic makes for the treatment, where no ranking is fresh, are not left out: the arms
would have different people then.

A comparison that is repeated errs sooner or later. So there is a look only when half as much again
was shown as at the last one, and the k-th look may err with a chance of ``RISK`` / k (k + 1). These
add up to ``RISK``, however long one goes on: an always-valid bound (alpha spending, Lan and DeMets
1983, "Discrete Sequential Group Boundaries for Clinical Trials", with the union bound). Confidence
sequences are narrower, but take what a look adds to be independent of what was there, and here the
same users come back.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

import structlog
from sqlalchemy import Connection

from eventlink.config import settings
from eventlink.db.models import lock_models, note_guardrail, stored_meta
from eventlink.db.personalization import NOTHING, Sums, outcomes
from eventlink.db.serving import Serving, serving
from eventlink.db.session import transaction
from eventlink.errors import ConflictError, ModelMismatchError, NotFoundError
from eventlink.services.experiments import Arm
from eventlink.services.models import roll_back
from eventlink.services.personalization import REGISTRATION_WINDOW, Lifts, compare

log = structlog.get_logger()

BY = "guardrail"
"""Who rolled back, for the record."""
RISK = 0.01
"""The chance that a model which does no harm is ever taken for harmful."""
GROWTH = 1.5
"""How much more must have been shown for another look."""
FEWEST_USERS = 50
"""In each arm, by Kish's effective size; of fewer the bounds are not to be trusted."""
SOONEST = 1.2
"""How much longer the model must have served for another look; before, nothing is counted."""


class Decision(StrEnum):
    """What became of a model that is watched."""

    WATCHING = "watching"
    ROLLED_BACK = "rolled_back"
    KEPT = "kept"
    """It does harm, and there was nothing to go back to."""


@dataclass(frozen=True)
class Watch:
    """What the guardrail knows of a model; stored as JSON with it."""

    experiment: str
    control_share: float
    since: str
    """From when what was shown counts."""
    looks: int = 0
    shown: int = 0
    """Impressions at the last look."""
    at: str | None = None
    """Of the last look, like all that follows."""
    confidence: float | None = None
    """Of the intervals of ``lift``."""
    lift: dict[str, Any] | None = None
    decision: str = Decision.WATCHING
    reason: str | None = None


def check(now: datetime) -> None:
    """Compare the arms if it is time to, and take the active model back if it surely does harm.

    Args:
        now: The instant.
    """
    if not (settings().recommendations_guardrail and settings().experiment_runs):
        return
    with transaction() as conn:
        served = serving(conn)
        watch = _to_compare(conn, served, now)
        if watch is None:
            return
        since = datetime.fromisoformat(watch.since)
        arms = outcomes(conn, since, now, REGISTRATION_WINDOW, watch.experiment).by_arm
    treatment, control = (arms.get(arm, NOTHING) for arm in Arm)
    if not is_time(watch.shown, treatment, control):
        return
    looked, harmed = look(watch, treatment, control, now)
    with transaction() as conn:
        if _hold(conn, served, watch):
            _decide(conn, served, looked, harmed, now)


def _to_compare(conn: Connection, served: Serving, now: datetime) -> Watch | None:
    """Return what is known of the active model if it is to be compared now; begin to watch it."""
    version = served.model_version
    if version is None or served.made_by != version:
        return None
    meta = stored_meta(conn, version)
    watch = _watch(meta)
    if watch is None or (watch.decision == Decision.WATCHING and not _still_holds(watch, meta)):
        looks = 0 if watch is None else watch.looks
        name, share = (
            settings().recommendations_experiment,
            settings().recommendations_control_share,
        )
        if _hold(conn, served, watch):
            note_guardrail(conn, version, asdict(Watch(name, share, now.isoformat(), looks)))
        return None
    if watch.decision != Decision.WATCHING:
        return None  # whoever makes it serve again knows what was found
    since = datetime.fromisoformat(watch.since)
    if watch.at and now - since < SOONEST * (datetime.fromisoformat(watch.at) - since):
        return None
    return watch


def _hold(conn: Connection, served: Serving, watch: Watch | None) -> bool:
    """Tell whether all is still as it was read, and keep it so until the transaction ends."""
    lock_models(conn)
    assert served.model_version is not None  # noqa: S101 (nothing else is watched)
    same = _watch(stored_meta(conn, served.model_version)) == watch
    return same and serving(conn) == served


def is_time(shown: int, treatment: Sums, control: Sums) -> bool:
    """Tell whether there is enough for a look, and enough more than at the last one.

    Args:
        shown: Impressions at the last one.
        treatment: Sums over the users of the one arm.
        control: The same of the other.
    """
    if min(treatment.n, control.n) <= 0 or treatment.n + control.n < GROWTH * shown:
        return False
    return all(arm.n * arm.n >= FEWEST_USERS * arm.nn for arm in (treatment, control))


def look(
    watch: Watch, treatment: Sums, control: Sums, now: datetime
) -> tuple[Watch, Sequence[str]]:
    """Compare the arms, as surely as the number of looks asks for.

    Args:
        watch: What is known so far.
        treatment: Sums over the users of the one arm.
        control: The same of the other.
        now: The instant.

    Returns:
        What is known now, and which rates of the treatment are surely lower.
    """
    looks = watch.looks + 1
    # Two rates, each on one side: half of the risk each, which is what lies on one side of this.
    confidence = 1 - RISK / (looks * (looks + 1))
    found = compare(watch.experiment, treatment, control, confidence)
    looked = replace(
        watch,
        looks=looks,
        shown=int(treatment.n + control.n),
        at=now.isoformat(),
        confidence=confidence,
        lift=asdict(found),
    )
    return looked, _lower(found)


def _lower(found: Lifts) -> list[str]:
    rates = {
        "ctr": found.ctr.absolute,
        "registration_conversion": found.registration_conversion.absolute,
    }
    return [name for name, one in rates.items() if one is not None and one.high < 0]


def _decide(
    conn: Connection, served: Serving, watch: Watch, harmed: Sequence[str], now: datetime
) -> None:
    version, target = served.model_version, served.previous_made_by
    assert version is not None  # noqa: S101 (it was looked at)
    if harmed:
        what = f"{' and '.join(harmed)} surely lower than in the control arm"
        before = None if target is None else _watch(stored_meta(conn, target))
        if before is not None and before.decision == Decision.ROLLED_BACK:
            why = f"{what}; {target}, which served before, was taken back as well"
            watch = replace(watch, decision=Decision.KEPT, reason=why)
        else:
            try:
                switched = roll_back(conn, BY, now)
                why = f"{what}; {switched.model_version} serves again"
                watch = replace(watch, decision=Decision.ROLLED_BACK, reason=why)
            except (ConflictError, NotFoundError, ModelMismatchError) as error:
                watch = replace(watch, decision=Decision.KEPT, reason=f"{what}; {error}")
        log.error("the guardrail found a model to do harm", model_version=version, **asdict(watch))
    note_guardrail(conn, version, asdict(watch))


def _watch(meta: dict[str, Any]) -> Watch | None:
    try:
        return Watch(**meta["guardrail"])
    except (KeyError, TypeError):  # none, or another version's
        return None


def _still_holds(watch: Watch, meta: dict[str, Any]) -> bool:
    """Tell whether what was counted is of this experiment, and the model served all the time."""
    site = settings()
    if watch.experiment != site.recommendations_experiment:
        return False
    if watch.control_share != site.recommendations_control_share:
        return False  # days would be mixed with arms
    since = datetime.fromisoformat(watch.since)
    made_active = [datetime.fromisoformat(one["at"]) for one in meta.get("activations", [])]
    return all(at <= since for at in made_active)
