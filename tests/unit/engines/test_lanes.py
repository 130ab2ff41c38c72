"""Jobs run beside each other in lanes, in order in each, blocking and in an event loop."""

from __future__ import annotations

import asyncio
import threading
import warnings
from typing import TYPE_CHECKING, Any

import pytest

from colbert_qdrant._support.warned import warn
from colbert_qdrant.engines.runtime import AsyncioRuntime, BlockingRuntime, run_blocking
from colbert_qdrant.errors import ColbertQdrantWarning

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from colbert_qdrant.engines.lanes import Lane
    from colbert_qdrant.engines.runtime import Runtime

PATIENCE = 20.0

RUNTIMES: dict[str, tuple[Callable[[], Runtime], Callable[[Coroutine[Any, Any, Any]], Any]]] = {
    "threads": (BlockingRuntime, run_blocking),
    "inline": (lambda: BlockingRuntime(threads=False), run_blocking),
    "tasks": (AsyncioRuntime, asyncio.run),
}


@pytest.fixture(params=RUNTIMES)
def within(request: pytest.FixtureRequest) -> Callable[[Callable[..., Coroutine[Any, Any, Any]]], Any]:
    """Run a coroutine function with a runtime and two lanes."""
    make, start = RUNTIMES[request.param]

    def run(work: Callable[..., Coroutine[Any, Any, Any]]) -> Any:
        async def with_lanes() -> Any:
            runtime = make()
            async with runtime.lanes("one", "two") as lanes:
                return await work(runtime, *lanes)

        return start(with_lanes())

    return run


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("colbert_qdrant")]


def test_jobs_of_a_lane_run_in_order_and_give_their_results(within: Any) -> None:
    done = []

    async def work(runtime: Runtime, first: Lane, second: Lane) -> list[int]:
        async def job(number: int) -> int:
            await runtime.sleep(0)
            done.append(number)
            return number * number

        submitted = [first.submit(lambda number=number: job(number)) for number in range(9)]  # type: ignore[misc]
        results = [await each.result() for each in submitted]
        assert all(each.done() for each in submitted)
        return results

    assert within(work) == [number * number for number in range(9)]
    assert done == list(range(9))
    assert threads() == []


@pytest.mark.parametrize("kind", ["threads", "tasks"])
def test_lanes_run_beside_each_other(kind: str) -> None:
    make, start = RUNTIMES[kind]
    barrier = threading.Barrier(2)

    async def run() -> None:
        runtime = make()

        async def meet() -> None:
            await runtime.compute(barrier.wait, PATIENCE)

        async with runtime.lanes("one", "two") as (first, second):
            for each in (first.submit(meet), second.submit(meet)):
                await each.result()

    start(run())
    assert threads() == []


def test_after_an_error_a_lane_runs_nothing_and_others_go_on(within: Any) -> None:
    ran = []

    async def work(runtime: Runtime, first: Lane, second: Lane) -> None:
        async def fail() -> None:
            raise LookupError("lost")

        async def job(name: str) -> None:
            ran.append(name)

        failed = first.submit(fail)
        later = first.submit(lambda: job("later"))
        other = second.submit(lambda: job("other"))
        await failed.settled()
        for each in (failed, later):
            with pytest.raises(LookupError, match="lost"):
                await each.result()
        await other.result()

    within(work)
    assert ran == ["other"]


def test_jobs_that_wait_are_dropped_when_lanes_are_closed() -> None:
    ran = []
    begun, told = threading.Event(), threading.Event()

    async def run() -> None:
        async with BlockingRuntime().lanes("one") as (lane,):

            async def first() -> None:
                begun.set()
                told.wait(PATIENCE)
                ran.append("first")

            async def second() -> None:
                ran.append("second")

            lane.submit(first)
            lane.submit(second)
            begun.wait(PATIENCE)
            threading.Timer(0.05, told.set).start()

    run_blocking(run())
    assert ran == ["first"]
    assert threads() == []


def test_a_job_of_a_closed_lane_sends_nothing() -> None:
    sent: list[str] = []
    begun = threading.Event()
    runtime = BlockingRuntime()

    async def run() -> None:
        async with runtime.lanes("one") as (lane,):

            async def job() -> None:
                begun.set()
                await runtime.sleep(PATIENCE)
                await runtime.call(sent.append, "request")

            lane.submit(job)
            begun.wait(PATIENCE)

    run_blocking(run())
    assert sent == []
    assert threads() == []


def test_warnings_of_a_job_point_to_the_code_that_waits_for_it(within: Any) -> None:
    async def work(runtime: Runtime, first: Lane, second: Lane) -> None:
        async def job() -> None:
            warn("beware")

        async def relay() -> None:
            await submitted.result()

        with warnings.catch_warnings(record=True, action="always") as shown:
            submitted = first.submit(job)
            await second.submit(relay).result()
        assert [(str(each.message), each.category) for each in shown] == [("beware", ColbertQdrantWarning)]
        assert shown[0].filename == __file__

    within(work)
