"""Let users block organizers."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0009_user_blocked_organizers"
down_revision = "0008_favorite_events"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "user_blocked_organizers",
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("organizer_id", sa.BigInteger(), nullable=False),
        sa.Column(
            "created_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("now()"),
            nullable=True,
        ),
        sa.ForeignKeyConstraint(
            ["organizer_id"],
            ["users.id"],
            name=op.f("fk_user_blocked_organizers_organizer_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["users.id"],
            name=op.f("fk_user_blocked_organizers_user_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("user_id", "organizer_id", name=op.f("pk_user_blocked_organizers")),
    )
    op.create_index(
        op.f("ix_user_blocked_organizers_organizer_id"),
        "user_blocked_organizers",
        ["organizer_id"],
        unique=False,
    )


def downgrade() -> None:
    op.drop_index(
        op.f("ix_user_blocked_organizers_organizer_id"), table_name="user_blocked_organizers"
    )
    op.drop_table("user_blocked_organizers")
