"""Progress where no terminal is: lines that machines read, and no long silence."""

import numpy as np
import pytest
from structlog.testing import capture_logs

from eventlink.cli import progress


def test_a_phase_that_goes_on_is_told_again(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 1.0, 5.5, 6.0, 10.6, 11.0])
    with monkeypatch.context() as patch, capture_logs() as logs:
        patch.setattr("sys.stderr.isatty", lambda: False)
        patch.setattr(progress, "monotonic", lambda: next(clock))
        with progress.progress() as report:
            report("evaluating folds", 0.0)
            report("evaluating folds", 1 / 7)
            report("evaluating folds", np.float64(2 / 7))
            report("evaluating folds", 3 / 7)
            report("evaluating folds", 1.0)
            report("fitting", 0.5)
    told = [(line["event"], line.get("done")) for line in logs]
    assert type(told[1][1]) is float, "numbers of other types are no JSON"
    assert told == [("evaluating folds", None), ("evaluating folds", 0.29), ("fitting", None)]
