"""Coroutines run with and without an event loop."""

from __future__ import annotations

import asyncio

import pytest

from colbert_qdrant.engines.runtime import AsyncioRuntime, run_blocking


def test_what_waits_for_an_event_loop_is_not_run_without_one() -> None:
    with asyncio.Runner() as runner:
        loop = runner.get_loop()

    async def wait() -> None:
        await loop.create_future()

    with pytest.raises(RuntimeError, match="awaits an event loop"):
        run_blocking(wait())


def test_whole_work_is_done_before_a_cancellation_comes_through() -> None:
    done = []

    async def work() -> None:
        for _ in range(9):
            await asyncio.sleep(0)
        done.append(True)

    async def cancel() -> None:
        task = asyncio.create_task(AsyncioRuntime().whole(work()))
        for _ in range(2):  # as if several were to wait for it no more
            await asyncio.sleep(0)
            task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert done == [True]

    asyncio.run(cancel())
