"""The options of re-ranking, which several commands share; a site's settings are their defaults.

What does not live here: what the rules do (``docs/reranking.md``).
"""

from typing import Annotated

import typer

from eventlink.config import meaning

Head = Annotated[int, typer.Option(help=meaning("recommendations_head"))]
PerOrganizer = Annotated[int, typer.Option(help=meaning("recommendations_per_organizer"))]
CollapseSeries = Annotated[bool, typer.Option(help=meaning("recommendations_collapse_series"))]
DemoteOverlaps = Annotated[bool, typer.Option(help=meaning("recommendations_demote_overlaps"))]
ExploreSlots = Annotated[int, typer.Option(help=meaning("recommendations_explore_slots"))]
SeatStrength = Annotated[float, typer.Option(help=meaning("recommendations_seat_strength"))]
