"""Queue the nightly recompute: ``eventlink enqueue`` under the name that cron jobs know."""

import sys

try:
    from eventlink.cli import main
except ModuleNotFoundError as error:
    sys.exit(
        f"eventlink: error: {sys.executable} has no module {error.name};"
        " run make setup, then: .venv/bin/python backend/scripts/enqueue_scheduled_jobs.py"
    )

main(["enqueue", *sys.argv[1:]])
