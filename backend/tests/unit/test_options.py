"""Options outside their range are refused with what to do."""

from dataclasses import fields

import pytest

from eventlink.config import Settings
from eventlink.errors import InvalidOptionError
from eventlink.recsys.options import RerankingOptions, TrainOptions


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("top_n", 0),
        ("top_n", -1),
        ("top_n", 1001),
        ("epochs", 0),
        ("lr", 0.0),
        ("l2", -0.1),
        ("seed", -1),
        ("model", "oracle"),
    ],
)
def test_values_out_of_range_are_refused(name: str, value: object) -> None:
    with pytest.raises(
        InvalidOptionError, match=f"--{name.replace('_', '-')} must be .* not '?{value}"
    ):
        TrainOptions(**{name: value})


def test_what_a_site_sets_has_the_same_defaults_and_no_wider_range() -> None:
    usual = Settings.model_construct().options_of_lists
    assert usual == {name: getattr(TrainOptions(), name) for name in usual}
    assert set(usual) == {f.name for f in fields(RerankingOptions)} | {"top_n"}
    for name in usual:
        ends = Settings.model_fields[f"recommendations_{name}"].metadata
        beyond = [one.ge - 1 for one in ends if hasattr(one, "ge")]
        beyond += [one.le + 1 for one in ends if hasattr(one, "le")]
        for value in beyond:
            with pytest.raises(InvalidOptionError):
                TrainOptions(**{name: value})


def test_the_mission_s_options_are_the_defaults() -> None:
    options = TrainOptions()
    assert (options.epochs, options.lr, options.l2, options.top_n) == (6, 0.35, 0.01, 50)
