"""Waits until the graphs of a collection are built, and has a server build those that it put off."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qdrant_client import models

from colbert_qdrant.collection.polling import has_queue, poll
from colbert_qdrant.errors import NotReadyError

if TYPE_CHECKING:
    from colbert_qdrant._support.progress import ProgressReporter
    from colbert_qdrant.engines import Engine


async def wait_for_graphs(
    engine: Engine,
    collection: str,
    report: ProgressReporter,
    *,
    timeout: float = 600.0,  # noqa: ASYNC109 - the state of then is the answer, not an exception
) -> models.CollectionInfo:
    """Ask again and again, at most every two seconds, until a collection is green or red, or the time is over.

    Servers put graphs off until the next write after a restart: the collection is grey then, and is woken. Embedded
    stores build them now.
    """
    built: int | None = None

    async def look() -> models.CollectionInfo:
        nonlocal built
        info = await engine.get_collection(collection)
        if info.status == models.CollectionStatus.GREY:
            if engine.files is None:
                await engine.update_collection(collection, optimizers_config=models.OptimizersConfigDiff())
            else:
                await engine.optimize(collection)
                info = await engine.get_collection(collection)
        now = min(info.indexed_vectors_count or 0, info.points_count or 0)
        if built is not None and now > built:
            report.advance(now - built)
        built = now
        return info

    return await poll(engine, look, while_=_is_under_way, timeout=timeout)


async def require_green(engine: Engine, collection: str, report: ProgressReporter) -> None:
    """Wait until a collection has its graphs.

    Raises:
        NotReadyError: It had not in time, or its optimizer gave up.
    """
    info = await wait_for_graphs(engine, collection, report)
    if info.status != models.CollectionStatus.GREEN:
        raise NotReadyError(
            f"collection {collection!r} is {describe_status(info)}, and vectors are safely added to a green one only: "
            "run() again goes on; if it stays so, look into the server's log"
        )


def describe_status(info: models.CollectionInfo) -> str:
    """Return a collection's status, with the error of an optimizer that gave up."""
    optimizer: Any = info.optimizer_status
    failed = f" ({str(optimizer.error)[:300]})" if isinstance(optimizer, models.OptimizersStatusOneOf1) else ""
    return f"{info.status.value}{failed}"


def _is_under_way(info: models.CollectionInfo) -> bool:
    return info.status in (models.CollectionStatus.YELLOW, models.CollectionStatus.GREY) or has_queue(info)
