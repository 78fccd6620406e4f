"""Options outside their range are refused with what to do."""

import pytest

from eventlink.errors import InvalidOptionError
from eventlink.recsys.options import TrainOptions


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


def test_the_mission_s_options_are_the_defaults() -> None:
    options = TrainOptions()
    assert (options.epochs, options.lr, options.l2, options.top_n) == (6, 0.35, 0.01, 50)
