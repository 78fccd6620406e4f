"""Let users follow organizers."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0010_user_followed_organizers"
down_revision = "0009_user_blocked_organizers"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "user_followed_organizers",
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
            name=op.f("fk_user_followed_organizers_organizer_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["users.id"],
            name=op.f("fk_user_followed_organizers_user_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint(
            "user_id", "organizer_id", name=op.f("pk_user_followed_organizers")
        ),
    )
    op.create_index(
        op.f("ix_user_followed_organizers_organizer_id"),
        "user_followed_organizers",
        ["organizer_id"],
        unique=False,
    )


def downgrade() -> None:
    op.drop_index(
        op.f("ix_user_followed_organizers_organizer_id"), table_name="user_followed_organizers"
    )
    op.drop_table("user_followed_organizers")
