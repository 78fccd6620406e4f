"""Work is shared in order, and no process waits for or outlives another."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from eventlink.errors import WorkerKilledError
from eventlink.recsys.parallel import in_processes


def test_results_come_in_order_from_several_processes() -> None:
    factor = 3

    def slow_first(item: int) -> tuple[int, int]:
        time.sleep(0.05 if item == 0 else 0)
        return item * factor, os.getpid()

    results = list(in_processes(slow_first, range(20), workers=3))
    assert [result for result, _ in results] == [factor * item for item in range(20)]
    processes = {process for _, process in results}
    assert 2 <= len(processes) <= 3
    assert os.getpid() not in processes


@pytest.mark.parametrize("items", [[], [1]])
def test_little_work_is_done_here(items: list[int]) -> None:
    processes = in_processes(lambda _: os.getpid(), items, workers=3)
    assert list(processes) == [os.getpid()] * len(items)


def test_large_results_arrive_whole() -> None:
    sizes = [3_000_000, 1, 2_000_000, 0]
    assert [len(r) for r in in_processes(lambda n: b"x" * n, sizes, workers=2)] == sizes


def test_an_error_is_raised_here() -> None:
    with pytest.raises(ZeroDivisionError):
        list(in_processes(lambda item: 1 // (item - 3), range(6), workers=2))


def refuse(item: int) -> None:
    raise TwoPartError("no", str(item))


class TwoPartError(Exception):
    """Cannot be unpickled: it is made anew with the one argument it has kept."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(one + two)


@pytest.mark.parametrize(
    ("function", "error", "told"),
    [
        (lambda _: lambda: None, AttributeError, "lambda"),
        (refuse, RuntimeError, r"in refuse(.|\n)*TwoPartError: no[01]"),
        (sys.exit, WorkerKilledError, "ended by itself .exit code [01]"),
    ],
)
def test_what_cannot_be_handed_over_is_told_as_what_it_is(
    function: Callable[[int], object], error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=told):
        list(in_processes(function, range(2), workers=2))


def test_an_error_tells_where_in_the_child_it_was() -> None:
    with pytest.raises(ZeroDivisionError) as raised:
        list(in_processes(divide, range(2), workers=2))
    assert "in divide" in "".join(raised.value.__notes__)


def divide(item: int) -> int:
    return item // 0


def test_a_killed_process_is_told_and_not_waited_for() -> None:
    def killed(item: int) -> None:
        if item == 3:
            os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(WorkerKilledError, match="signal 9"):
        list(in_processes(killed, range(6), workers=2))


def test_stopping_early_leaves_no_process() -> None:
    results = in_processes(lambda item: item, range(100), workers=2)
    assert next(results) == 0
    assert len(multiprocessing.active_children()) == 2
    results.close()
    assert multiprocessing.active_children() == []


def test_trees_are_loaded_where_the_parent_has_loaded_some_with_several_threads() -> None:
    script = """if True:
        from threadpoolctl import threadpool_limits
        from eventlink.recsys.models.prior import PriorModel
        from eventlink.recsys.parallel import in_processes

        threadpool_limits(2)
        stored = PriorModel().to_json()
        again = lambda _: PriorModel.from_json((), stored).kind
        print(list(in_processes(again, range(2), workers=2)))
    """
    # In a process of its own: a LightGBM that has trained with one thread never takes a second.
    done = subprocess.run(
        [sys.executable, "-c", script], check=False, capture_output=True, timeout=60
    )
    assert done.stdout.decode() == "['prior', 'prior']\n", done.stderr.decode()


@pytest.mark.skipif(sys.platform != "linux", reason="it looks for processes in /proc")
def test_processes_end_with_their_parent_however_it_ends(tmp_path: Path) -> None:
    def tell_and_wait(item: int) -> None:
        (tmp_path / str(os.getpid())).touch()
        time.sleep(60 + item)

    parent = multiprocessing.get_context("fork").Process(
        target=lambda: list(in_processes(tell_and_wait, range(3), workers=3))
    )
    parent.start()
    while len(list(tmp_path.iterdir())) < 3:
        time.sleep(0.01)
    parent.kill()
    parent.join()
    children = [int(file.name) for file in tmp_path.iterdir()]
    deadline = time.monotonic() + 10
    while any(map(_runs, children)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not any(map(_runs, children))


def _runs(process: int) -> bool:
    """Tell whether a process is there and no zombie."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"
