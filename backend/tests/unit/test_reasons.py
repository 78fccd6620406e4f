"""Every reason has words, in both languages."""

import pytest

from eventlink.recsys.reasons import LANGUAGES, REASONS, render

NAMED = {"organizer": "Jazz Club", "tag": "jazz", "category": "Music", "km": "3"}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("reason", REASONS, ids=lambda reason: reason.code)
def test_every_reason_has_words(reason: object, language: str) -> None:
    code = getattr(reason, "code")  # noqa: B009 (pytest passes objects)
    sentence = render(f"{code}:17", language, NAMED)
    assert sentence
    assert "{" not in sentence


def test_a_missing_name_is_not_shown_as_a_gap() -> None:
    assert render("interest_tag:9", "en", {}) == render("popular", "en", {})
    assert render("no_such_code", "ro", {}) == render("popular", "ro", {})
    assert render("popular", "fr", {}) == render("popular", "en", {})


def test_the_last_reason_always_holds() -> None:
    assert REASONS[-1].when is None
