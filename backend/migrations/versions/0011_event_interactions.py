"""Log interactions."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0011_event_interactions"
down_revision = "0010_user_followed_organizers"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "event_interactions",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=True),
        sa.Column("event_id", sa.BigInteger(), nullable=True),
        sa.Column("interaction_type", sa.Text(), nullable=False),
        sa.Column(
            "occurred_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("position", sa.SmallInteger(), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("dwell_seconds", sa.REAL(), nullable=True),
        sa.Column("client_id", sa.Text(), nullable=True),
        sa.Column("meta", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.CheckConstraint(
            "event_id IS NOT NULL OR interaction_type IN ('search', 'filter')",
            name=op.f("ck_event_interactions_event_id"),
        ),
        sa.CheckConstraint(
            "interaction_type IN ('impression', 'click', 'view', 'dwell', 'share', 'search', 'filter', 'favorite', 'register', 'unregister')",
            name=op.f("ck_event_interactions_interaction_type"),
        ),
        sa.CheckConstraint("dwell_seconds >= 0", name=op.f("ck_event_interactions_dwell_seconds")),
        sa.CheckConstraint("position >= 0", name=op.f("ck_event_interactions_position")),
        sa.ForeignKeyConstraint(
            ["event_id"],
            ["events.id"],
            name=op.f("fk_event_interactions_event_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["users.id"],
            name=op.f("fk_event_interactions_user_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_event_interactions")),
    )
    op.create_index(
        op.f("ix_event_interactions_event_id"), "event_interactions", ["event_id"], unique=False
    )
    op.create_index(
        "ix_event_interactions_occurred_at",
        "event_interactions",
        ["occurred_at"],
        unique=False,
        postgresql_using="brin",
    )
    op.create_index(
        "ix_event_interactions_request_id",
        "event_interactions",
        ["request_id"],
        unique=False,
        postgresql_where=sa.text("request_id IS NOT NULL"),
    )
    op.create_index(
        op.f("ix_event_interactions_user_id_occurred_at"),
        "event_interactions",
        ["user_id", "occurred_at"],
        unique=False,
    )
    op.create_index(
        "uq_event_interactions_client_id",
        "event_interactions",
        ["client_id"],
        unique=True,
        postgresql_where=sa.text("client_id IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index(
        "uq_event_interactions_client_id",
        table_name="event_interactions",
        postgresql_where=sa.text("client_id IS NOT NULL"),
    )
    op.drop_index(
        op.f("ix_event_interactions_user_id_occurred_at"), table_name="event_interactions"
    )
    op.drop_index(
        "ix_event_interactions_request_id",
        table_name="event_interactions",
        postgresql_where=sa.text("request_id IS NOT NULL"),
    )
    op.drop_index(
        "ix_event_interactions_occurred_at",
        table_name="event_interactions",
        postgresql_using="brin",
    )
    op.drop_index(op.f("ix_event_interactions_event_id"), table_name="event_interactions")
    op.drop_table("event_interactions")
