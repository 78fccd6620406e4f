"""Doing independent pieces of pure work on all cores.

What does not live here: anything with a database connection; a forked child must not touch one.

A child inherits the parent's open connection to the server all the same, and while it lives the
server holds the parent's locks. So children never outlive the parent, however it ends, and the
parent never waits for a child that was killed; ``multiprocessing.Pool`` promises neither.
"""

import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from traceback import format_exception, format_tb
from typing import Any, TypeAlias, TypeVar

from threadpoolctl import threadpool_limits

from eventlink.errors import WorkerKilledError

Item = TypeVar("Item")
Result = TypeVar("Result")

Line: TypeAlias = "Connection[Any, Any]"
Crew: TypeAlias = dict[Line, BaseProcess]
"""The children, by the line on which each is told what to do and answers."""


def in_processes(
    function: Callable[[Item], Result], items: Sequence[Item], workers: int | None = None
) -> Iterator[Result]:
    """Map a function over items, in order, in forked processes.

    A fork sees the parent's arrays without copying them, so the function may close over a whole
    Dataset. Where the system cannot fork, there is one core or item, or this is a child itself,
    the work is done here.

    Args:
        function: May be a closure; its results must be picklable.
        items: What to map over.
        workers: Number of processes; as many as there are cores if None.

    Yields:
        Results in the order of the items.

    Raises:
        WorkerKilledError: A process was killed, as the system does when memory runs out.
    """
    workers = min(workers or _cores(), len(items))
    is_child = multiprocessing.current_process().daemon
    if workers < 2 or is_child or "fork" not in multiprocessing.get_all_start_methods():
        yield from map(function, items)
        return
    fork = multiprocessing.get_context("fork")
    crew: Crew = {}
    try:
        for _ in range(workers):
            ours, theirs = fork.Pipe()
            process: BaseProcess = fork.Process(
                target=_work, args=(function, items, theirs), daemon=True
            )
            process.start()
            theirs.close()
            crew[ours] = process
        yield from _results(crew, len(items))
    finally:
        for line, process in crew.items():
            process.kill()
            process.join()
            line.close()


def _cores() -> int:
    """Count the cores this process may use, where the system tells that."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _results(crew: Crew, n_items: int) -> Iterator[Any]:
    """Hand out the items' numbers, one at a time to each child, and collect in order."""
    numbers = iter(range(n_items))
    for line in crew:
        line.send(next(numbers))
    early: dict[int, Any] = {}
    for number in range(n_items):
        while number not in early:
            ready = set(wait(list(crew)))
            for line in [line for line in crew if line in ready]:
                answered, result = _receive(line, crew[line])
                early[answered] = result
                following = next(numbers, None)
                if following is not None:
                    line.send(following)
        yield early.pop(number)


def _receive(line: Line, process: BaseProcess) -> tuple[int, Any]:
    try:
        number, result, error = line.recv()
    except (EOFError, ConnectionError) as closed:
        process.join()
        code = process.exitcode or 0
        if code >= 0:
            raise WorkerKilledError(
                f"a worker process ended by itself (exit code {code}); nothing was written"
            ) from closed
        raise WorkerKilledError(
            f"a worker process was killed (signal {-code}), most likely because"
            " memory ran out; nothing was written; give the machine more memory"
        ) from closed
    if error is not None:
        raise error
    return number, result


def _work(function: Callable[[Item], Any], items: Sequence[Item], line: Line) -> None:
    """Answer with an item's result for every number received; what a forked child does.

    An answer is the item's number, its result, and the error there was instead.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends us
    threading.Thread(target=_die_with_parent, daemon=True).start()
    # A process a core. OpenMP's threads did not come along in the fork, and it would wait for them.
    threadpool_limits(1)
    while True:
        number = line.recv()
        try:
            answer = pickle.dumps((number, function(items[number]), None))
        except Exception as error:  # noqa: BLE001 (it is raised again in the parent)
            answer = _told(number, error)
        line.send_bytes(answer)


def _told(number: int, error: Exception) -> bytes:
    """Write down an error with where it happened, as one that can be read again in the parent."""
    error.add_note("".join(format_tb(error.__traceback__)))
    try:
        told = pickle.dumps((number, None, error))
        pickle.loads(told)  # noqa: S301 (our own)
    except Exception:  # noqa: BLE001 (an exception may be anything)
        return pickle.dumps((number, None, RuntimeError("".join(format_exception(error)))))
    return told


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)
