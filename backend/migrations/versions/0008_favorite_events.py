"""Let users mark events."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008_favorite_events"
down_revision = "0007_registrations"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "favorite_events",
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("event_id", sa.BigInteger(), nullable=False),
        sa.Column(
            "created_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("now()"),
            nullable=True,
        ),
        sa.ForeignKeyConstraint(
            ["event_id"],
            ["events.id"],
            name=op.f("fk_favorite_events_event_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_favorite_events_user_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("user_id", "event_id", name=op.f("pk_favorite_events")),
    )
    op.create_index(
        op.f("ix_favorite_events_event_id"), "favorite_events", ["event_id"], unique=False
    )


def downgrade() -> None:
    op.drop_index(op.f("ix_favorite_events_event_id"), table_name="favorite_events")
    op.drop_table("favorite_events")
