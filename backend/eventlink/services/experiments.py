"""Experiments: who is answered by the heuristic, so that one can tell whether rankings help.

What does not live here: what came of it (``services.personalization``).
"""

from enum import StrEnum
from hashlib import sha256

from eventlink.config import settings

CODES = 2**14 - 1
"""How many codes there are; one fits into a request id."""


class Arm(StrEnum):
    """How an experiment serves a user."""

    TREATMENT = "treatment"
    """As without an experiment."""
    CONTROL = "control"
    """By the heuristic, also where a ranking is fresh."""


def arm_of(user_id: int, *, is_rankable: bool) -> Arm | None:
    """Return a user's arm in the experiment that the settings run; None where none runs.

    Args:
        user_id: The user.
        is_rankable: Whether rankings are made for them. All others are answered by the heuristic
            anyway; in an arm, they would hide a part of what rankings change.
    """
    site = settings()
    if not (site.experiment_runs and is_rankable):
        return None
    return assign(site.recommendations_experiment, user_id, site.recommendations_control_share)


def assign(experiment: str, user_id: int, control_share: float) -> Arm:
    """Draw a user's arm, always the same one; who is in control stays so as the share grows.

    Args:
        experiment: Its name; under another name a user is drawn anew.
        user_id: The user.
        control_share: How many of those who are rankable are in control, from 0 to 1.
    """
    drawn = int.from_bytes(sha256(f"{experiment}\n{user_id}".encode()).digest()[:8], "big")
    return Arm.CONTROL if drawn < control_share * 2**64 else Arm.TREATMENT


def code_of(experiment: str) -> int:
    """Return a number of at least 1 by which a shown list remembers its experiment.

    Args:
        experiment: Its name.
    """
    return 1 + int.from_bytes(sha256(experiment.encode()).digest()[:8], "big") % CODES
