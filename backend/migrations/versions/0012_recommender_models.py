"""Store models."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0012_recommender_models"
down_revision = "0011_event_interactions"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "recommender_models",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("model_version", sa.Text(), nullable=False),
        sa.Column("feature_names", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("weights", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("meta", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("is_active", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column(
            "created_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_recommender_models")),
        sa.UniqueConstraint("model_version", name=op.f("uq_recommender_models_model_version")),
    )
    op.create_index(
        "uq_recommender_models_active",
        "recommender_models",
        ["is_active"],
        unique=True,
        postgresql_where=sa.text("is_active"),
    )


def downgrade() -> None:
    op.drop_index(
        "uq_recommender_models_active",
        table_name="recommender_models",
        postgresql_where=sa.text("is_active"),
    )
    op.drop_table("recommender_models")
