"""Keep with an interaction the experiment that its list was part of, and the arm."""

import sqlalchemy as sa
from alembic import op

revision = "0017_arms"
down_revision = "0016_explorations"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("event_interactions", sa.Column("experiment", sa.Text(), nullable=True))
    op.add_column("event_interactions", sa.Column("arm", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("event_interactions", "arm")
    op.drop_column("event_interactions", "experiment")
