"""``eventlink show``."""

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from eventlink.errors import InvalidOptionError
from eventlink.recsys.reasons import LANGUAGES
from eventlink.services.experiments import Arm
from eventlink.services.show import Shown, show_rankings

MOST_INTERESTS = 3
MOST_SHOWN = 1000


def show(
    user_ids: Annotated[
        list[int] | None, typer.Argument(metavar="[USER_ID]...", help="Whose rankings.")
    ] = None,
    sample: Annotated[int, typer.Option(help="Show so many users besides.")] = 0,
    top: Annotated[int, typer.Option(help="Events for each user.")] = 10,
    language: Annotated[
        str | None, typer.Option(help="Of the reasons: en or ro.", show_default="the user's")
    ] = None,
) -> None:
    """Show users' rankings as they are served, with reasons."""
    if not user_ids and sample < 1:
        raise InvalidOptionError("name users, or ask for some: eventlink show --sample 3")
    for name, value in (("sample", max(sample, 1)), ("top", top)):
        if not 1 <= value <= MOST_SHOWN:
            raise InvalidOptionError(f"--{name} must be between 1 and {MOST_SHOWN}, not {value}")
    if language is not None and language not in LANGUAGES:
        raise InvalidOptionError(f"--language must be {' or '.join(LANGUAGES)}, not {language!r}")
    # People write brackets and colons into titles; they are not markup.
    width = None if Console().is_terminal else 110
    console = Console(highlight=False, markup=False, emoji=False, width=width)
    found = show_rankings(user_ids or [], max(sample, 0), top, datetime.now(UTC), language)
    for shown in found:
        console.print()
        console.print(_heading(shown))
        if shown.arm is Arm.CONTROL:
            console.print("in the control arm: the server answers with the heuristic instead")
        if not shown.events:
            console.print(
                "  no ranking is stored, or nothing in it may be shown any more: make one with"
                " eventlink recompute;\n  organizers and administrators have none"
            )
            continue
        made = shown.events[0][0]
        console.print(
            f"ranked {made.generated_at.astimezone(UTC):%F %H:%M} UTC by {made.model_version}"
        )
        console.print(_table(shown))
    if any(shown.events for shown in found):
        console.print("\nscore: how likely the user is to register for the event within a day")


def _heading(shown: Shown) -> str:
    who = shown.person
    likes = f", likes {', '.join(who.interests[:MOST_INTERESTS])}" if who.interests else ""
    if len(who.interests) > MOST_INTERESTS:
        likes += f" and {len(who.interests) - MOST_INTERESTS} more"
    where = f", {who.city}" if who.city else ""
    name = f" {who.name}" if who.name else ""
    past = f"{who.registrations} registration{'' if who.registrations == 1 else 's'}"
    return f"User {who.user_id}{name}{where}, {past}{likes}"


def _table(shown: Shown) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 2))
    table.add_column("", justify="right")
    for name in ("event", "starts (UTC)", "why"):
        table.add_column(name, no_wrap=name.startswith("starts"))
    table.add_column("score", justify="right")
    for event, reason in shown.events:
        title = event.title or event.category or f"event {event.event_id}"
        starts = f"{event.start_time.astimezone(UTC):%a %d %b %H:%M}"
        table.add_row(str(event.rank), title, starts, reason, f"{100 * event.score:.2g} %")
    return table
