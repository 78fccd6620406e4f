"""How pure code tells how far it is: a function of a phase's name and the share done (0 to 1)."""

from collections.abc import Callable

Report = Callable[[str, float], None]


def silent(phase: str, done: float) -> None:
    """Report to nobody."""
