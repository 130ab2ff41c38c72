"""Waits until a collection is ready."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from qdrant_client import models

from colbert_qdrant._support.progress import reporting
from colbert_qdrant._support.values import plain
from colbert_qdrant.collection.aliases import real_name
from colbert_qdrant.collection.info import read_indexed_documents, state_of
from colbert_qdrant.collection.polling import has_queue, poll
from colbert_qdrant.config.checks import require_number
from colbert_qdrant.errors import EngineError, NotReadyError
from colbert_qdrant.shown import holds

if TYPE_CHECKING:
    from colbert_qdrant._support.progress import ProgressReporter
    from colbert_qdrant.collection.info import CollectionState
    from colbert_qdrant.config import CollectionConfig
    from colbert_qdrant.engines import Engine


async def wait_until_ready(
    engine: Engine,
    collection: str,
    config: CollectionConfig,
    *,
    timeout: float,  # noqa: ASYNC109 - the timeout spans many requests
    progress: bool | ProgressReporter = False,
    wakes: bool = False,
) -> CollectionState:
    """Poll until the collection is ready; in an embedded store, build its graphs first.

    Args:
        engine: The engine.
        collection: The collection's name.
        config: Its settings.
        timeout: Maximum number of seconds to wait.
        progress: Whether, or to which reporter, to report progress.
        wakes: Whether to make a server build the graphs that it would build only after the next write.

    Raises:
        ConfigurationError: If ``timeout`` is not a number of seconds.
        NotReadyError: If the timeout expires, or the server waits for a write.
        EngineError: If the engine failed to build the graphs.
    """
    timeout = plain(timeout)
    if not holds(lambda: timeout == inf):
        require_number("timeout", timeout, minimum=0)
    info = await engine.get_collection(collection)
    if info.status == models.CollectionStatus.GREY and engine.files is not None:
        await build_graphs(engine, collection, progress=progress)
        info = await engine.get_collection(collection)
    if _is_under_way(info) or (wakes and _sleeps(info)):
        with reporting(progress, label="indexing", total=info.points_count) as report:
            info = await _wait(engine, collection, report if progress else None, timeout=timeout, wakes=wakes)
    state = await state_of(engine, collection, config, info)
    if state.status == "red":
        raise EngineError(
            f"the status of collection {collection!r} is red, because its optimizer failed ({state.problem}): check "
            "the server's log, fix the cause (often a full disk), and restart the server or write to the collection"
        )
    if state.status == "grey":
        raise NotReadyError(
            f"the status of collection {collection!r} is grey, because the server builds its graphs only after the "
            "next write: write a document, or call client.update_collection(name, "
            "optimizers_config=models.OptimizersConfigDiff())"
        )
    if not state.ready:
        raise NotReadyError(
            f"collection {collection!r} was not ready after {timeout:g} s ({_progress_of(state)}): wait longer with "
            "timeout=…; until then, searches work, but more slowly"
        )
    return state


async def build_graphs(engine: Engine, collection: str, *, progress: bool | ProgressReporter) -> None:
    """Build the graphs of an embedded store; servers build graphs in the background."""
    points = (await engine.get_collection(collection)).points_count or 0
    with reporting(progress, label="build", total=None) as report:
        await engine.optimize(collection)
        report.advance(points)


async def _wait(
    engine: Engine,
    collection: str,
    report: ProgressReporter | None,
    *,
    timeout: float,  # noqa: ASYNC109
    wakes: bool,
) -> models.CollectionInfo:
    told = 0

    async def look() -> models.CollectionInfo:
        nonlocal told
        info = await engine.get_collection(collection)
        if wakes and _sleeps(info):
            name = await real_name(engine, collection)
            await engine.update_collection(name, optimizers_config=models.OptimizersConfigDiff())
        if report is not None:
            indexed = await read_indexed_documents(engine, collection, info, info.points_count or 0)
            if indexed is not None and indexed > told:
                report.advance(indexed - told)
                told = indexed
        return info

    def is_under_way(info: models.CollectionInfo) -> bool:
        return _is_under_way(info) or (wakes and _sleeps(info))

    return await poll(engine, look, while_=is_under_way, timeout=timeout)


def _progress_of(state: CollectionState) -> str:
    queued = f"status {state.status}, {state.queued or 0} writes queued"
    if state.indexed_documents is None:
        return queued
    return f"{queued}, {state.indexed_documents:,} of {state.documents:,} documents indexed"


def _sleeps(info: models.CollectionInfo) -> bool:
    return info.status == models.CollectionStatus.GREY


def _is_under_way(info: models.CollectionInfo) -> bool:
    return info.status.value == "yellow" or (info.status.value == "green" and has_queue(info))
