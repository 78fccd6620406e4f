"""Let users hide tags."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004_user_hidden_tags"
down_revision = "0003_user_interest_tags"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "user_hidden_tags",
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("tag_id", sa.BigInteger(), nullable=False),
        sa.Column(
            "created_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("now()"),
            nullable=True,
        ),
        sa.ForeignKeyConstraint(
            ["tag_id"], ["tags.id"], name=op.f("fk_user_hidden_tags_tag_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_user_hidden_tags_user_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("user_id", "tag_id", name=op.f("pk_user_hidden_tags")),
    )
    op.create_index(
        op.f("ix_user_hidden_tags_tag_id"), "user_hidden_tags", ["tag_id"], unique=False
    )


def downgrade() -> None:
    op.drop_index(op.f("ix_user_hidden_tags_tag_id"), table_name="user_hidden_tags")
    op.drop_table("user_hidden_tags")
