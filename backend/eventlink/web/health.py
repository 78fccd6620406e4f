"""Whether the process lives and whether it can serve.

What does not live here: figures (``web.telemetry``).
"""

from fastapi import APIRouter

router = APIRouter()
