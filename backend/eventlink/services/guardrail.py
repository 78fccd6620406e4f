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

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

import structlog
from pydantic import TypeAdapter, ValidationError
from sqlalchemy import Connection

from eventlink.config import settings
from eventlink.db.models import lock_models, note_guardrail, stored_meta
from eventlink.db.personalization import NOTHING, Sums, may_count, outcomes
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
"""How much longer the model must have served for anything to be counted again."""


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
    since: datetime
    """From when what was shown counts."""
    looks: int = 0
    counted_at: datetime | None = None
    shown: int = 0
    """Impressions at the last look."""
    at: datetime | None = None
    """Of the last look, like all that follows."""
    confidence: float | None = None
    """Of the intervals of ``lift``."""
    lift: dict[str, Any] | None = None
    decision: str = Decision.WATCHING
    reason: str | None = None


STORED = TypeAdapter(Watch)


def check(now: datetime, stopped: Callable[[], bool] = lambda: False) -> None:
    """Compare the arms if it is time to, and take the active model back if it surely does harm.

    Args:
        now: The instant.
        stopped: Whether, once it is counted, nothing may be done about it any more.
    """
    if not (settings().recommendations_guardrail and settings().experiment_runs):
        return
    with transaction() as conn:
        served = serving(conn)
        watch = _to_compare(conn, served, now)
        if watch is None or not may_count(conn):
            return
        found = outcomes(conn, watch.since, now, REGISTRATION_WINDOW, watch.experiment)
    treatment, control = (found.by_arm.get(arm, NOTHING) for arm in Arm)
    looked, harmed = replace(watch, counted_at=now), list[str]()
    if is_time(watch.shown, treatment, control):
        looked, harmed = look(looked, treatment, control, now)
    if stopped():
        return
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
    if watch is not None and watch.decision != Decision.WATCHING:
        return None  # whoever makes it serve again knows what was found
    if watch is None or not _still_holds(watch, meta):
        if _hold(conn, served, watch):
            _note(conn, version, _begun(watch, now))
        return None
    if watch.counted_at and now - watch.since < SOONEST * (watch.counted_at - watch.since):
        return None
    return watch


def _begun(before: Watch | None, now: datetime) -> Watch:
    """Return what is known of a model that is watched from now on; looks at it so far count."""
    return Watch(
        experiment=settings().recommendations_experiment,
        control_share=settings().recommendations_control_share,
        since=now,
        looks=0 if before is None else before.looks,
    )


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


def look(watch: Watch, treatment: Sums, control: Sums, now: datetime) -> tuple[Watch, list[str]]:
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
        at=now,
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
    version = served.model_version
    assert version is not None  # noqa: S101 (it was looked at)
    if harmed:
        what = f"{' and '.join(harmed)} surely lower than in the control arm"
        decision, outcome = _take_back(conn, served, now)
        watch = replace(watch, decision=decision, reason=f"{what}; {outcome}")
        found = _as_json(watch)
        log.error("the guardrail found a model to do harm", model_version=version, **found)
    _note(conn, version, watch)


def _take_back(conn: Connection, served: Serving, now: datetime) -> tuple[Decision, str]:
    """Roll back, unless there is nothing better to go back to; tell what came of it."""
    target = served.previous_made_by
    if target == served.model_version:
        # Where no other model has ranked, what serves again would be older rankings of this one.
        return Decision.KEPT, "no other model has rankings to go back to"
    before = None if target is None else _watch(stored_meta(conn, target))
    if before is not None and before.decision != Decision.WATCHING:
        return Decision.KEPT, f"{target}, which served before, did harm as well"
    try:
        switched = roll_back(conn, BY, now)
    except (ConflictError, NotFoundError, ModelMismatchError) as error:
        return Decision.KEPT, str(error)
    return Decision.ROLLED_BACK, f"{switched.model_version} serves again"


def _note(conn: Connection, model_version: str, watch: Watch) -> None:
    note_guardrail(conn, model_version, _as_json(watch))


def _as_json(watch: Watch) -> dict[str, Any]:
    stored: dict[str, Any] = STORED.dump_python(watch, mode="json")
    return stored


def _watch(meta: dict[str, Any]) -> Watch | None:
    """Read what is stored; None where nothing is, or nothing that can be read."""
    try:
        return STORED.validate_python(meta.get("guardrail"))
    except ValidationError:
        return None


def _still_holds(watch: Watch, meta: dict[str, Any]) -> bool:
    """Tell whether what was counted is of this experiment, and the model served all the time."""
    site = settings()
    if watch.experiment != site.recommendations_experiment:
        return False
    if watch.control_share != site.recommendations_control_share:
        return False  # days would be mixed with arms
    made_active = [datetime.fromisoformat(one["at"]) for one in meta.get("activations", [])]
    return all(at <= watch.since for at in made_active)
