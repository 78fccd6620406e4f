"""Publish rankings as generations behind one view."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0013_user_recommendations_cache"
down_revision = "0012_recommender_models"
branch_labels = None
depends_on = None

# What a platform reads. The overlay wins where it is the later one, so that publishing a
# generation never hides a fresher refresh.
VIEW = """
CREATE VIEW user_recommendations AS
SELECT list.user_id,
       item.event_id,
       item.score,
       item.rank::integer AS rank,
       made.model_version,
       made.generated_at,
       made.reason_names[item.reason_code] || CASE item.reason_arg WHEN 0 THEN ''
           ELSE ':' || item.reason_arg END AS reason
  FROM recommendation_serving AS serving
  JOIN recommendation_generations AS made ON made.generation = serving.generation
  JOIN recommendation_lists AS list ON list.generation = serving.generation
 CROSS JOIN LATERAL unnest(list.event_ids, list.scores, list.reason_codes, list.reason_args)
       WITH ORDINALITY AS item (event_id, score, reason_code, reason_arg, rank)
 WHERE NOT EXISTS (SELECT FROM recommendation_overlay AS later
                    WHERE later.user_id = list.user_id
                      AND later.generated_at >= made.generated_at)
 UNION ALL
SELECT overlay.user_id,
       item.event_id,
       item.score,
       item.rank::integer,
       overlay.model_version,
       overlay.generated_at,
       item.reason
  FROM recommendation_overlay AS overlay
 CROSS JOIN LATERAL unnest(overlay.event_ids, overlay.scores, overlay.reasons)
       WITH ORDINALITY AS item (event_id, score, reason, rank)
 WHERE NOT EXISTS (SELECT FROM recommendation_serving AS serving
                     JOIN recommendation_generations AS made
                       ON made.generation = serving.generation
                    WHERE made.generated_at > overlay.generated_at)
"""

# Naming every generation lets each partition's key find the user.
ERASE_FUNCTION = """
CREATE FUNCTION erase_recommendation_lists() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM recommendation_lists
     WHERE user_id = OLD.id
       AND generation IN (SELECT generation FROM recommendation_generations);
    RETURN NULL;
END $$
"""

ERASE_TRIGGER = """
CREATE TRIGGER erase_recommendation_lists AFTER DELETE ON users
   FOR EACH ROW EXECUTE FUNCTION erase_recommendation_lists()
"""


def upgrade() -> None:
    op.create_table(
        "recommendation_generations",
        sa.Column("generation", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("model_version", sa.Text(), nullable=False),
        sa.Column("generated_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("reason_names", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("user_count", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("generation", name=op.f("pk_recommendation_generations")),
    )
    op.create_table(
        "recommendation_lists",
        sa.Column("generation", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("user_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("event_ids", sa.ARRAY(sa.BigInteger()), nullable=False),
        sa.Column("scores", sa.ARRAY(sa.REAL()), nullable=False),
        sa.Column("reason_codes", sa.ARRAY(sa.SmallInteger()), nullable=False),
        sa.Column("reason_args", sa.ARRAY(sa.BigInteger()), nullable=False),
        sa.PrimaryKeyConstraint("generation", "user_id", name=op.f("pk_recommendation_lists")),
        postgresql_partition_by="LIST (generation)",
    )
    op.create_table(
        "recommendation_overlay",
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("model_version", sa.Text(), nullable=False),
        sa.Column("generated_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("event_ids", sa.ARRAY(sa.BigInteger()), nullable=False),
        sa.Column("scores", sa.ARRAY(sa.REAL()), nullable=False),
        sa.Column("reasons", sa.ARRAY(sa.Text()), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["users.id"],
            name=op.f("fk_recommendation_overlay_user_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_recommendation_overlay")),
    )
    op.create_table(
        "recommendation_serving",
        sa.Column("only_row", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("previous_generation", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("only_row", name=op.f("ck_recommendation_serving_only_row")),
        sa.ForeignKeyConstraint(
            ["generation"],
            ["recommendation_generations.generation"],
            name=op.f("fk_recommendation_serving_generation"),
        ),
        sa.ForeignKeyConstraint(
            ["previous_generation"],
            ["recommendation_generations.generation"],
            name=op.f("fk_recommendation_serving_previous_generation"),
        ),
        sa.PrimaryKeyConstraint("only_row", name=op.f("pk_recommendation_serving")),
    )
    op.execute(VIEW)
    op.execute(ERASE_FUNCTION)
    op.execute(ERASE_TRIGGER)


def downgrade() -> None:
    op.execute("DROP TRIGGER erase_recommendation_lists ON users")
    op.execute("DROP FUNCTION erase_recommendation_lists")
    op.execute("DROP VIEW user_recommendations")
    op.drop_table("recommendation_serving")
    op.drop_table("recommendation_overlay")
    op.drop_table("recommendation_lists")
    op.drop_table("recommendation_generations")
