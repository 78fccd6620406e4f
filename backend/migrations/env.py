"""Alembic's entry: runs the migrations on the project's database."""

from typing import Any

from alembic import context

from eventlink.db.session import connection
from eventlink.db.tables import Base

NOT_OURS = ("recommendation_lists_", "procrastinate_")


def include_object(_object: Any, name: str | None, kind: str, *_: Any) -> bool:
    """Leave out the partitions of recommendation_lists, as each publish makes one, and the queue.

    The queue's tables are Procrastinate's, whose own migrations make them.
    """
    return not (kind == "table" and (name or "").startswith(NOT_OURS))


def run() -> None:
    """Upgrade in one transaction, so that a failing migration leaves nothing behind."""
    with connection() as conn:
        context.configure(
            connection=conn, target_metadata=Base.metadata, include_object=include_object
        )
        with context.begin_transaction():
            context.run_migrations()


run()
