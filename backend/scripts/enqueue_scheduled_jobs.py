"""Queue the nightly recompute: ``eventlink enqueue`` under the name that cron jobs know."""

import sys

from eventlink.cli import main

main(["enqueue", *sys.argv[1:]])
