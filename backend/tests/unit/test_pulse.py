import asyncio
import time
from contextlib import suppress
from pathlib import Path

import pytest

from eventlink.errors import InvalidOptionError, WorkerSilentError
from eventlink.worker.pulse import beat, require_pulse, touch


def test_a_file_that_was_touched_lately_is_a_pulse(tmp_path: Path) -> None:
    touch(tmp_path / "pulse")
    touched = (tmp_path / "pulse").stat().st_mtime
    require_pulse(tmp_path / "pulse", 30, touched + 30)
    with pytest.raises(WorkerSilentError, match="for 31 seconds, which is longer than 30"):
        require_pulse(tmp_path / "pulse", 30, touched + 31)


def test_no_file_is_no_pulse(tmp_path: Path) -> None:
    with pytest.raises(WorkerSilentError, match="--pulse"):
        require_pulse(tmp_path / "pulse", 30, time.time())


def test_a_file_that_cannot_be_written_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(
        InvalidOptionError, match=r"--pulse .* cannot be written: .*; name another file"
    ):
        touch(tmp_path / "no folder" / "pulse")


def test_a_folder_is_no_pulse(tmp_path: Path) -> None:
    with pytest.raises(InvalidOptionError, match="is a folder; name a file"):
        touch(tmp_path)
    with pytest.raises(WorkerSilentError, match="is a folder; name the file of the worker's"):
        require_pulse(tmp_path, 30, time.time())


def test_a_loop_that_is_held_up_has_no_pulse(tmp_path: Path) -> None:
    pulse = tmp_path / "pulse"

    async def work() -> None:
        beating = asyncio.create_task(beat(pulse, 0.01))
        await asyncio.sleep(0.05)
        require_pulse(pulse, 0.2, time.time())
        time.sleep(0.3)  # noqa: ASYNC251 (what holds the loop up)
        with pytest.raises(WorkerSilentError):
            require_pulse(pulse, 0.2, time.time())
        await asyncio.sleep(0.05)
        require_pulse(pulse, 0.2, time.time())
        beating.cancel()
        with suppress(asyncio.CancelledError):
            await beating

    asyncio.run(work())
