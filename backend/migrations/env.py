"""Alembic's entry: runs the migrations on the project's database."""

from typing import Any

from alembic import context

from eventlink.db.session import connection
from eventlink.db.tables import Base

MIGRATION_LOCK = 0x45564D47  # "EVMG"
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
            # Two that start together, as containers do, would both make the first table.
            conn.exec_driver_sql("SET LOCAL statement_timeout = 0")
            conn.exec_driver_sql("SET LOCAL lock_timeout = 0")
            conn.exec_driver_sql(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})")
            context.run_migrations()


run()
