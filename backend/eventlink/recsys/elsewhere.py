"""What was learned on other platforms and comes with the program: a model and a forecast.

What does not live here: how it was learned (``benchmarks/prior.py``), and who uses it
(``models.prior``, ``features.forecast``).
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("prior.json")


@cache
def learned(file: Path) -> dict[str, Any]:
    """Read it once; whoever changes the features fits it again (``benchmarks/prior.py``).

    Args:
        file: ``FILE``, or another that was fitted likewise.
    """
    found: dict[str, Any] = json.loads(file.read_text())
    return found
