"""Train and publish rankings: ``eventlink recompute`` under the name that cron jobs know."""

import sys

try:
    from eventlink.cli import main
except ModuleNotFoundError as error:
    sys.exit(
        f"eventlink: error: {sys.executable} has no module {error.name};"
        " run make setup, then: .venv/bin/python backend/scripts/recompute_recommendations_ml.py"
    )

main(["recompute", *sys.argv[1:]])
