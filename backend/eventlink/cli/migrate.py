"""``eventlink migrate``."""

import structlog
from alembic import command
from alembic.util import CommandError

from eventlink.db.session import NOT_OURS, alembic_config
from eventlink.errors import MigrationsMissingError

log = structlog.get_logger()


def migrate() -> None:
    """Bring the database's tables to this version's form."""
    try:
        command.upgrade(alembic_config(), "head")
    except CommandError as error:
        raise MigrationsMissingError(f"the migrations cannot run: {error}; {NOT_OURS}") from error
    log.info("the database is up to date")
