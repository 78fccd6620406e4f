"""Jobs: Procrastinate's queue, at most one recompute at a time, and how far a running job is."""

import sqlalchemy as sa
from alembic import op
from procrastinate.schema import SchemaManager
from sqlalchemy.dialects import postgresql

revision = "0015_jobs"
down_revision = "0014_live_side"
branch_labels = None
depends_on = None

ONE_RECOMPUTE = """
CREATE UNIQUE INDEX eventlink_one_recompute ON procrastinate_jobs (task_name)
 WHERE task_name = 'recompute_recommendations_ml' AND status IN ('todo', 'doing')
"""

DROP_PROCRASTINATE = """
DO $$
DECLARE
    name text;
BEGIN
    FOR name IN SELECT oid::regprocedure FROM pg_proc
                 WHERE proname LIKE 'procrastinate\\_%' AND pg_function_is_visible(oid) LOOP
        EXECUTE 'DROP FUNCTION ' || name || ' CASCADE';
    END LOOP;
    DROP TABLE procrastinate_events, procrastinate_periodic_defers, procrastinate_jobs,
               procrastinate_workers;
    DROP TYPE procrastinate_job_to_defer_v1, procrastinate_job_status,
              procrastinate_job_event_type;
END $$
"""


def upgrade() -> None:
    # The tables of the release that is installed, which are the same since 3.4. If a later one
    # changes them, a migration of ours must do the same, where they are not so already. Its own
    # migrations cannot be run from the first here: some use an enum's value before it is committed.
    op.execute(SchemaManager.get_schema())
    op.execute(ONE_RECOMPUTE)
    op.create_table(
        "job_progress",
        sa.Column("job_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("phase", sa.Text(), nullable=True),
        sa.Column("done", sa.REAL(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("updated_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_job_progress")),
    )


def downgrade() -> None:
    op.drop_table("job_progress")
    op.execute(DROP_PROCRASTINATE)
