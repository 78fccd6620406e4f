"""Stored models: one active at most, and read as they were written."""

from dataclasses import replace

import psycopg
import pytest
from integration.sites import Site

from eventlink.db.models import (
    StoredModel,
    activate_model,
    active_model,
    is_version_taken,
    model_rows,
    store_model,
)
from eventlink.db.session import transaction
from eventlink.errors import ModelVersionTakenError


def stored(version: str) -> StoredModel:
    weights = {"kind": "logistic", "weights": [0.1, -2.5e-30, 3.0], "intercept": -6.25}
    return StoredModel(version, ["a", "b", "c"], weights, {"options": {"l2": 0.01}, "näme": None})


@pytest.mark.usefixtures("database")
def test_a_site_without_a_model_has_no_active_one() -> None:
    with transaction() as conn:
        assert active_model(conn) is None


@pytest.mark.usefixtures("database")
def test_a_model_is_read_as_it_was_stored() -> None:
    with transaction() as conn:
        store_model(conn, stored("a"), activate=True)
    with transaction() as conn:
        assert active_model(conn) == stored("a")
        assert is_version_taken(conn, "a")
        assert not is_version_taken(conn, "b")


def test_storing_a_model_retires_the_one_before(site: Site) -> None:
    for version in ("a", "b"):
        with transaction() as conn:
            store_model(conn, stored(version), activate=True)
    assert site.run("SELECT model_version, is_active FROM recommender_models ORDER BY 1") == [
        ("a", False),
        ("b", True),
    ]


def test_a_version_is_stored_once_and_the_active_model_stays(site: Site) -> None:
    for version in ("a", "b"):
        with transaction() as conn:
            store_model(conn, stored(version), activate=True)
    before = site.contents()
    taken = pytest.raises(ModelVersionTakenError, match=r"version a .* --model-version")
    with taken, transaction() as conn:
        store_model(conn, stored("a"), activate=True)
    assert site.contents() == before


def test_the_database_refuses_a_second_active_model(site: Site) -> None:
    with transaction() as conn:
        store_model(conn, stored("a"), activate=True)
    row = "INSERT INTO recommender_models (model_version, feature_names, weights, meta, is_active)"
    site.run(f"{row} VALUES ('b', '[]', '{{}}', '{{}}', false)")
    with pytest.raises(psycopg.errors.UniqueViolation):
        site.run(f"{row} VALUES ('c', '[]', '{{}}', '{{}}', true)")


def test_meta_that_is_no_object_is_read_as_nothing_known(site: Site) -> None:
    with transaction() as conn:
        store_model(conn, stored("a"), activate=True)
    site.run("""UPDATE recommender_models SET meta = '[1]'""")
    with transaction() as conn:
        assert active_model(conn) == replace(stored("a"), meta={})
        assert [row.meta for row in model_rows(conn, 9)] == [{}]
        activate_model(conn, "a", {"by": "ana"})
        assert [row.meta for row in model_rows(conn, 9)] == [{"activations": [{"by": "ana"}]}]
