"""Plots are drawn from what an evaluation tells, the same each time."""

from pathlib import Path
from typing import Any

import pytest

from eventlink.cli import plots
from eventlink.errors import BadFileError, InvalidOptionError


def system(ndcg: float, *, model: bool) -> dict[str, Any]:
    calibration = {
        "expected": [0.001, 0.01],
        "happened": [0.0, 0.02],
        "error": [0.0, 0.01],
        "slope": 0.9,
    }
    return {
        "ndcg@10": ndcg,
        "ndcg@10 interval": [ndcg - 0.01, ndcg + 0.01],
        "event gini": 0.9,
        "concentration": {"0.001": 0.1, "1.0": 1.0},
        "slices": {
            "no history": {"pairs": 10, "ndcg@10": ndcg, "interval": [ndcg, ndcg]},
            "younger than a day": {"pairs": 0, "ndcg@10": None, "interval": None},
        },
        "calibration": calibration if model else None,
    }


TOLD = {"systems": {"model": system(0.2, model=True), "popularity": system(0.1, model=False)}}


def test_every_plot_is_drawn_in_both_formats_and_always_the_same(tmp_path: Path) -> None:
    names = plots.draw(TOLD, tmp_path / "one")
    assert len(names) == 8
    plots.draw(TOLD, tmp_path / "other", ("svg",))
    for name in names:
        assert (tmp_path / "one" / name).stat().st_size > 2000
    for path in (tmp_path / "other").iterdir():
        assert path.read_bytes() == (tmp_path / "one" / path.name).read_bytes()


def test_the_quality_plot_names_every_system_and_its_number(tmp_path: Path) -> None:
    plots.draw(TOLD, tmp_path, ("svg",))
    text = (tmp_path / "quality.svg").read_text()
    for words in ("model", "popularity", ".200", ".100"):
        assert f">{words}<" in text


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadFileError, match="cannot be written"):
        plots.draw(TOLD, tmp_path / "file")


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    plots.require_matplotlib()
    monkeypatch.setattr(plots, "find_spec", lambda _: None)
    with pytest.raises(InvalidOptionError, match="pip install matplotlib"):
        plots.require_matplotlib()
