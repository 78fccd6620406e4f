"""The gate at work: which model serves after a training, and what is stored of the decision."""

from typing import Any

import pytest
from integration.sites import DAY, NOON, Site, rank_at, recompute_at

from eventlink.db.session import transaction
from eventlink.errors import InvalidOptionError, PublishRefusedError
from eventlink.recsys.models import HeuristicModel, Model
from eventlink.recsys.options import Activate
from eventlink.services import models, publishing, training
from eventlink.services.training import NEW

pytestmark = pytest.mark.once

DAYS = {"folds": 6, "replay_days": 14}


def active_of(site: Site) -> str:
    return str(site.run("SELECT model_version FROM recommender_models WHERE is_active")[0][0])


def served_by(site: Site) -> set[str]:
    return {row[0] for row in site.run("SELECT DISTINCT model_version FROM user_recommendations")}


def pretend_trained_long_ago(site: Site) -> None:
    """Date the stored models before all folds, so that they have seen no answer."""
    site.run(
        "UPDATE recommender_models"
        "   SET meta = jsonb_set(meta, '{as_of}', to_jsonb('2026-01-01T00:00:00+00:00'::text))"
    )


def backwards(*_: Any) -> Model:
    """What ``fit_model`` would return had it learned the opposite of everything."""
    model = HeuristicModel()
    model.weights_ = -model.weights_
    return model


def test_the_first_model_is_activated_and_the_decision_stored(city: Site) -> None:
    result = recompute_at(model_version="one", **DAYS)
    assert result.activated
    assert active_of(city) == "one"
    gate = city.run("SELECT meta -> 'gate' FROM recommender_models")[0][0]
    assert gate["activate"] is True
    assert (
        gate["reason"]
        == result.decision
        == "no other model serves, so there is none to compare it with"
    )
    assert result.metrics[NEW].ndcg_10 > 0


def test_never_leaves_the_active_model_to_rank_anew(city: Site) -> None:
    recompute_at(model_version="one", **DAYS)
    result = recompute_at(model_version="two", activate=Activate.NEVER, **DAYS)
    assert not result.activated
    assert result.model_version == "one"
    assert active_of(city) == "one"
    assert served_by(city) == {"one"}
    assert city.serving()[1] is not None  # ranked anew all the same
    stored = city.run("SELECT model_version, is_active FROM recommender_models ORDER BY 1")
    assert stored == [("one", True), ("two", False)]


def test_a_model_that_is_only_trained_changes_nothing_that_serves(city: Site) -> None:
    recompute_at(model_version="one", folds=0)
    before = city.serving(), city.rankings()
    result = recompute_at(NOON - 3 * DAY, model_version="two", only_train=True, **DAYS)
    assert (result.activated, result.published, result.model_version) == (False, 0, "two")
    assert (city.serving(), city.rankings()) == before
    stored = city.run("SELECT model_version, is_active FROM recommender_models ORDER BY 1")
    assert stored == [("one", True), ("two", False)]


@pytest.mark.parametrize("option", [{"skip_training": True}, {"dry_run": True}, {"user_id": 1}])
def test_only_training_goes_with_a_training(option: dict[str, Any]) -> None:
    with pytest.raises(InvalidOptionError, match="--only-train"):
        recompute_at(only_train=True, **option)


def test_one_user_s_ranking_is_by_the_model_that_serves_everybody(city: Site) -> None:
    recompute_at(NOON - DAY, model_version="one", folds=0)
    user = max(city.rankings())
    result = recompute_at(user_id=user, model_version="two", activate=Activate.ALWAYS, **DAYS)
    assert (result.model_version, result.published, result.positives) == ("one", 1, 0)
    assert city.run("SELECT user_id FROM recommendation_overlay") == [(user,)]
    assert city.run("SELECT model_version FROM recommender_models") == [("one",)]
    assert served_by(city) == {"one"}


def test_one_user_of_a_site_without_a_model_is_ranked_by_the_prior(city: Site) -> None:
    result = recompute_at(user_id=1, folds=0)
    assert (result.model, result.positives) == ("prior", 0)
    assert served_by(city) == {active_of(city)}
    assert active_of(city).startswith("prior-")


@pytest.mark.usefixtures("city")
def test_a_prior_that_is_stored_has_seen_nothing() -> None:
    rank_at(model_version="prior")
    assert not recompute_at(model_version="new", **DAYS).active_has_seen


def test_never_on_a_new_site_ranks_with_the_prior(city: Site) -> None:
    result = recompute_at(model_version="one", activate=Activate.NEVER, folds=0)
    assert not result.activated
    assert active_of(city).startswith("prior-")
    assert served_by(city) == {active_of(city)}


def test_a_better_model_replaces_a_bad_one(city: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(training, "fit_model", backwards)
        recompute_at(model_version="bad", **DAYS)
    pretend_trained_long_ago(city)
    result = recompute_at(model_version="good", **DAYS)
    assert result.activated
    assert result.decision.startswith("not worse on all")
    assert served_by(city) == {"good"}


def test_a_worse_model_is_refused_with_its_numbers(
    city: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    recompute_at(model_version="good", **DAYS)
    pretend_trained_long_ago(city)
    monkeypatch.setattr(training, "fit_model", backwards)
    result = recompute_at(model_version="worse", **DAYS)
    assert not result.activated
    assert result.decision.startswith("worse on all")
    assert active_of(city) == "good"
    assert served_by(city) == {"good"}
    rows = city.run("SELECT meta -> 'gate' FROM recommender_models WHERE model_version = 'worse'")
    assert rows[0][0]["comparisons"][0]["interval"][1] < 0


def test_a_retrain_that_a_model_activated_by_hand_overtook_competes_with_that_one(
    city: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    recompute_at(model_version="good", **DAYS)
    monkeypatch.setattr(training, "fit_model", backwards)
    recompute_at(model_version="bad", activate=Activate.ALWAYS, folds=0)
    pretend_trained_long_ago(city)
    with monkeypatch.context() as patch:
        ranks = publishing.build_generation

        def activated_meanwhile(*arguments: Any) -> int:
            with transaction() as conn:
                models.activate(conn, "good", "ana", NOON)
            return ranks(*arguments)

        patch.setattr(publishing, "build_generation", activated_meanwhile)
        with pytest.raises(PublishRefusedError, match="run it again"):
            recompute_at(model_version="next", **DAYS)
    again = recompute_at(model_version="next", **DAYS)
    assert not again.activated
    assert again.decision.startswith("worse on all")
    assert active_of(city) == "good"
    assert served_by(city) == {"good"}


@pytest.mark.usefixtures("city")
def test_days_the_active_model_has_seen_are_not_compared() -> None:
    recompute_at(model_version="one", **DAYS)
    result = recompute_at(model_version="two", **DAYS)
    assert result.activated
    assert "too little has happened" in result.decision
    assert result.active_has_seen


@pytest.mark.parametrize("spoil", ["feature_names = '[\"a\"]'", "weights = '[]'"])
def test_a_model_that_cannot_score_gives_way(city: Site, spoil: str) -> None:
    recompute_at(model_version="old", **DAYS)
    city.run(f"UPDATE recommender_models SET {spoil}")
    result = recompute_at(model_version="new", **DAYS)
    assert result.activated
    assert "cannot score" in result.decision
