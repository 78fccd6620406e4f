"""Train and publish rankings: ``eventlink recompute`` under the name that cron jobs know."""

import sys

from eventlink.cli import main

main(["recompute", *sys.argv[1:]])
