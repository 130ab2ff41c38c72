"""The process of an `AsyncEdgeClient` ends in time, and starts where there is no standard error."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, Any

import pytest

from colbert_qdrant import AsyncEdgeClient
from colbert_qdrant.edge import aio
from colbert_qdrant.edge.aio import WorkerEndedError
from tests.processes import run_script

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aio, "_PATIENCE", 0.2)


def test_a_process_that_hangs_is_killed(tmp_path: Path) -> None:
    async def close() -> None:
        client = AsyncEdgeClient(tmp_path)
        await client.get_collections()
        process = process_of(client)
        process.send_signal(signal.SIGSTOP)
        asked = asyncio.create_task(client.get_collections())
        await asyncio.sleep(0)
        async with asyncio.timeout(10):
            await client.close()
            with pytest.raises(WorkerEndedError, match="exit code -9"):
                await asked
        assert process.returncode == -signal.SIGKILL

    asyncio.run(close())


def test_so_is_one_that_hangs_while_it_starts(tmp_path: Path) -> None:
    async def close() -> None:
        client = AsyncEdgeClient(tmp_path)
        asked = asyncio.create_task(client.get_collections())
        while client._worker is None:  # noqa: ASYNC110 - nobody else says so
            await asyncio.sleep(0)
        process = process_of(client)
        process.send_signal(signal.SIGSTOP)
        async with asyncio.timeout(10):
            await client.close()
            with pytest.raises(WorkerEndedError):
                await asked
        assert process.returncode == -signal.SIGKILL

    asyncio.run(close())


def process_of(client: AsyncEdgeClient) -> Any:
    assert client._worker is not None
    return client._worker._process


def test_a_closed_standard_error_is_none_of_its_business(tmp_path: Path) -> None:
    done = run_script(WITHOUT.format(path=str(tmp_path)))
    assert (done.returncode, done.stdout) == (0, "[]\n")


WITHOUT = """
import asyncio, os
from colbert_qdrant import AsyncEdgeClient

async def main():
    async with AsyncEdgeClient({path!r}) as client:
        print((await client.get_collections()).collections)

os.close(2)
asyncio.run(main())
"""
