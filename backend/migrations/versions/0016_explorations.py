"""Keep the chances with which explored events were drawn, and tell of a generation what made it."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0016_explorations"
down_revision = "0015_jobs"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "recommendation_generations",
        sa.Column("meta", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
    )
    op.create_table(
        "recommendation_explorations",
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("generated_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("event_id", sa.BigInteger(), nullable=False),
        sa.Column("model_version", sa.Text(), nullable=False),
        sa.Column("rank", sa.SmallInteger(), nullable=False),
        sa.Column("propensity", sa.REAL(), nullable=False),
        sa.CheckConstraint(
            "propensity > 0 AND propensity < 1",
            name=op.f("ck_recommendation_explorations_propensity"),
        ),
        sa.ForeignKeyConstraint(
            ["event_id"],
            ["events.id"],
            name=op.f("fk_recommendation_explorations_event_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["users.id"],
            name=op.f("fk_recommendation_explorations_user_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint(
            "user_id", "generated_at", "event_id", name=op.f("pk_recommendation_explorations")
        ),
    )
    op.create_index(
        op.f("ix_recommendation_explorations_event_id"),
        "recommendation_explorations",
        ["event_id"],
    )
    op.create_index(
        op.f("ix_recommendation_explorations_generated_at"),
        "recommendation_explorations",
        ["generated_at"],
    )


def downgrade() -> None:
    op.drop_table("recommendation_explorations")
    op.drop_column("recommendation_generations", "meta")
