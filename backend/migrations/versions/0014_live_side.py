"""Serve and track: which lists were shown, who waits for a refresh, who asks too often."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0014_live_side"
down_revision = "0013_user_recommendations_cache"
branch_labels = None
depends_on = None

TOUCH_FUNCTION = """
CREATE FUNCTION touch_updated_at() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at = now();
    RETURN NEW;
END $$
"""

TOUCH_TRIGGER = """
CREATE TRIGGER touch_updated_at BEFORE UPDATE ON events
   FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION touch_updated_at()
"""


def upgrade() -> None:
    op.add_column(
        "users",
        sa.Column("token_version", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
    )
    op.add_column(
        "events",
        sa.Column(
            "updated_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
    )
    op.create_index(op.f("ix_events_updated_at"), "events", ["updated_at"])
    op.execute(TOUCH_FUNCTION)
    op.execute(TOUCH_TRIGGER)
    op.add_column("event_interactions", sa.Column("source", sa.Text(), nullable=True))
    op.add_column("event_interactions", sa.Column("model_version", sa.Text(), nullable=True))
    op.create_table(
        "recommendation_refreshes",
        sa.Column("user_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("due_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("claimed_until", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("refreshed_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("attempts", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["users.id"],
            name=op.f("fk_recommendation_refreshes_user_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_recommendation_refreshes")),
    )
    op.create_index(
        "ix_recommendation_refreshes_due_at",
        "recommendation_refreshes",
        ["due_at"],
        postgresql_where=sa.text("due_at IS NOT NULL"),
    )
    op.create_table(
        "rate_limits",
        sa.Column("bucket", sa.Text(), nullable=False),
        sa.Column("tokens", sa.Double(), nullable=False),
        sa.Column("updated_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("bucket", name=op.f("pk_rate_limits")),
        prefixes=["UNLOGGED"],
    )


def downgrade() -> None:
    op.drop_table("rate_limits")
    op.drop_table("recommendation_refreshes")
    op.drop_column("event_interactions", "model_version")
    op.drop_column("event_interactions", "source")
    op.execute("DROP TRIGGER touch_updated_at ON events")
    op.execute("DROP FUNCTION touch_updated_at")
    op.drop_index(op.f("ix_events_updated_at"), table_name="events")
    op.drop_column("events", "updated_at")
    op.drop_column("users", "token_version")
