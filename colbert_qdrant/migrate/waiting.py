"""Waits until the graphs of a collection are built, and starts builds that a server has postponed."""

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
    timeout: float = 600.0,  # noqa: ASYNC109 - the result is the state at that time, not an exception
) -> models.CollectionInfo:
    """Poll a collection until it is green or red, or until the timeout.

    After a restart, servers postpone graphs until the next write. The collection's status is ``grey`` then, and an
    empty update starts the build. Embedded stores build their graphs here.
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
        NotReadyError: If the graphs are not built in time, or if the optimizer failed.
    """
    info = await wait_for_graphs(engine, collection, report)
    if info.status != models.CollectionStatus.GREEN:
        raise NotReadyError(
            f"collection {collection!r} is {describe_status(info)}, but vectors can be added safely only to a green "
            "collection: run() again later, and see the server's log if the status does not change"
        )


def describe_status(info: models.CollectionInfo) -> str:
    """Return a collection's status, with the error of a failed optimizer."""
    optimizer: Any = info.optimizer_status
    failed = f" ({str(optimizer.error)[:300]})" if isinstance(optimizer, models.OptimizersStatusOneOf1) else ""
    return f"{info.status.value}{failed}"


def _is_under_way(info: models.CollectionInfo) -> bool:
    return info.status in (models.CollectionStatus.YELLOW, models.CollectionStatus.GREY) or has_queue(info)
