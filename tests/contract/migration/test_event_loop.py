"""What migrations in an event loop are beside the same as others: they can be cancelled, and let other tasks go on."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest
from qdrant_client import AsyncQdrantClient, QdrantClient, models

from colbert_qdrant import AsyncMigration, ConfigurationError, Migration
from colbert_qdrant._support.progress import Silence
from tests.contract.migration.shared import FDE, SentenceEncoder, point
from tests.writers.common import COUNT, DIM

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from colbert_qdrant import TokenEmbeddings

DENSE = models.VectorParams(size=DIM, distance=models.Distance.DOT)


def run(work: Callable[[AsyncQdrantClient], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        client = AsyncQdrantClient(":memory:")
        await client.create_collection("docs", vectors_config={"dense": DENSE})
        await client.upsert("docs", [point(number) for number in range(COUNT)])
        await work(client)
        await client.close()

    asyncio.run(asyncio.wait_for(main(), timeout=120))


async def planned(client: AsyncQdrantClient, **more: Any) -> AsyncMigration:
    return await AsyncMigration.plan(client, "docs", "new", **{"encoder": SentenceEncoder(), "fde": FDE, **more})


def test_a_run_that_is_cancelled_is_gone_on_with() -> None:
    async def work(client: AsyncQdrantClient) -> None:
        class Cancel(Silence):
            def advance(self, documents: int) -> None:
                running.cancel()

        running = asyncio.create_task((await planned(client)).run(progress=Cancel()))
        with pytest.raises(asyncio.CancelledError):
            await running
        written = (await client.count("new")).count
        assert 0 < written < COUNT
        migration = await AsyncMigration.resume(client, "new", encoder=SentenceEncoder())
        assert any(reason.startswith("run: the run did not finish") for reason in (await migration.verify()).reasons)
        report = await migration.run()
        assert (report.present, report.points) == (written, COUNT - written)
        assert (await migration.verify()).passed

    run(work)


class Waiting(SentenceEncoder):
    """An encoder that goes on when a task of the event loop has its turn."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.turn = threading.Event(), threading.Event()

    def _encode(self, texts: Sequence[str]) -> TokenEmbeddings:
        self.begun.set()
        assert self.turn.wait(timeout=60)
        return super()._encode(texts)


def test_other_tasks_go_on_while_texts_are_encoded_and_somebody_is_asked() -> None:
    async def work(client: AsyncQdrantClient) -> None:
        asked = threading.Event()

        def confirm(question: str) -> bool:
            asked.set()
            return answer.wait(timeout=60)

        encoder, answer = Waiting(), threading.Event()
        planning = asyncio.create_task(planned(client, encoder=encoder))
        await asyncio.to_thread(encoder.begun.wait, 60)
        assert (await client.count("docs")).count == COUNT
        encoder.turn.set()
        migration = await planning
        await migration.run()
        deleting = asyncio.create_task(migration.cleanup(confirm=confirm))
        await asyncio.to_thread(asked.wait, 60)
        assert (await client.count("new")).count == COUNT
        answer.set()
        assert await deleting == "new"

    run(work)


def test_a_function_that_finds_texts_is_called_in_threads() -> None:
    threads = set()

    def text(payload: dict[str, Any]) -> Any:
        threads.add(threading.current_thread())
        return payload["text"]

    async def work(client: AsyncQdrantClient) -> None:
        migration = await planned(client, text=text)
        await migration.run()
        assert (await migration.verify()).passed

    run(work)
    assert threads
    assert threading.main_thread() not in threads


def test_a_client_of_the_other_kind_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"would block the event loop: use .* Migration"):
        asyncio.run(AsyncMigration.plan(QdrantClient(":memory:"), "docs"))  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=r"is async: use .* AsyncMigration"):
        Migration.plan(AsyncQdrantClient(":memory:"), "docs")  # type: ignore[arg-type]


def test_both_are_printed_as_what_they_are() -> None:
    async def work(client: AsyncQdrantClient) -> None:
        assert repr(await planned(client)) == "AsyncMigration('docs' → 'new', blue_green, dense)"

    run(work)
