"""The options of re-ranking, which several commands share.

What does not live here: what the rules do (``docs/reranking.md``).
"""

from typing import Annotated

import typer

Head = Annotated[int, typer.Option(help="First places of a list, for which the next rules hold.")]
PerOrganizer = Annotated[
    int, typer.Option(help="Most events of one organizer among them; 0 for any number.")
]
CollapseSeries = Annotated[
    bool, typer.Option(help="Show each series once among them, but to its regulars.")
]
DemoteOverlaps = Annotated[
    bool, typer.Option(help="Move down what overlaps with an event one is registered for.")
]
ExploreSlots = Annotated[
    int, typer.Option(help="How many of them go to events that little is known of.")
]
SeatStrength = Annotated[
    float, typer.Option(help="How strongly scarce seats hold an event back; 0 turns it off.")
]
