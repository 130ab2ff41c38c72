"""Finds the documents of a chunk that are stored already, and decides which of the chunk are encoded and written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, get_args

from colbert_qdrant.collection.ingest.lookup import find_stored, find_unchanged
from colbert_qdrant.config.checks import require_one_of
from colbert_qdrant.errors import InvalidDocumentError
from colbert_qdrant.points.ids import point_id
from colbert_qdrant.shown import counted, shown

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from colbert_qdrant.collection.ingest.resumption import Resumption
    from colbert_qdrant.collection.opened import OpenCollection
    from colbert_qdrant.collection.rows import Row
    from colbert_qdrant.collection.writer import Chunk

OnConflict = Literal["replace", "skip", "error"]
"""How to treat a document whose id is stored: replace it, skip it if it is unchanged, or refuse it."""

_SHOWN: Final = 5


def require_on_conflict(on_conflict: object) -> None:
    """Check that ``on_conflict`` is a known value."""
    require_one_of("on_conflict", on_conflict, get_args(OnConflict))


class Conflicts:
    """Treats the documents of each chunk whose ids are stored.

    Args:
        collection: The open collection.
        on_conflict: ``"skip"`` or ``"error"``.
        resumption: The progress of the ingest, if it has a journal.
    """

    def __init__(self, collection: OpenCollection, on_conflict: OnConflict, resumption: Resumption | None) -> None:
        self._collection = collection
        self._skips = on_conflict == "skip"
        self._resumption = resumption

    async def resolve(self, chunk: Chunk, before: Sequence[Chunk]) -> None:
        """Leave out the documents that are stored already, if they are unchanged or must not be replaced.

        Args:
            chunk: The chunk that was read last.
            before: The chunks that were read before it, and are not written yet.
        """
        scheme = self._collection.config.id_scheme
        points = [point_id(row.document.id, scheme) for row in chunk.rows]
        on_the_way = {point for each in before for point in each.points}
        if self._resumption is not None:
            chunk.end, chunk.begun = self._resumption.latest
        await (self._skip if self._skips else self._refuse)(chunk, points, on_the_way)
        chunk.points = {point_id(row.document.id, scheme) for row in chunk.rows}

    async def announce(self, chunk: Chunk) -> bool:
        """Record that a chunk will be written next, and tell whether it must not replace stored points."""
        if self._skips:
            return False
        if self._resumption is not None:
            self._resumption.begin(chunk.end)
        return (await self._collection.engine.capabilities()).has("insert_only")

    async def _skip(self, chunk: Chunk, points: Sequence[str | int], on_the_way: Collection[str | int]) -> None:
        last = dict(zip(points, chunk.rows, strict=True))  # of several with the same id, the last one counts
        compared = {point: row for point, row in last.items() if point not in on_the_way}
        unchanged = await find_unchanged(self._collection, compared)
        rows = [row for point, row in zip(points, chunk.rows, strict=True) if point not in unchanged]
        chunk.unchanged = len(unchanged)
        chunk.replaced = len(chunk.rows) - len(rows) - len(unchanged)
        chunk.rows = rows

    async def _refuse(self, chunk: Chunk, points: Sequence[str | int], on_the_way: Collection[str | int]) -> None:
        own = await self._find_own(chunk, points)
        stored = {*on_the_way, *await find_stored(self._collection, list(dict.fromkeys(points)))} - own
        rows: list[Row] = []
        refused: list[Row] = []
        for point, row in zip(points, chunk.rows, strict=True):
            (refused if point in stored else rows).append(row)
            stored.add(point)
        if refused and not chunk.rejections.skips:
            raise conflict_error([row.document.id for row in refused])
        for row in refused:
            chunk.rejections.add(row, conflict_error([row.document.id]))
        chunk.rows = rows

    async def _find_own(self, chunk: Chunk, points: Sequence[str | int]) -> set[str | int]:
        """Return the points that an earlier call stored with the first documents of the chunk, before it was killed."""
        begun = {id(document) for document in chunk.documents[: chunk.begun]}
        first: dict[str | int, Row] = {}
        for point, row in zip(points, chunk.rows, strict=True):
            if id(row.document) in begun:
                first.setdefault(point, row)
        return await find_unchanged(self._collection, first, complete=False)


def conflict_error(ids: Sequence[object]) -> InvalidDocumentError:
    """Return the error for documents that are stored already."""
    named = ", ".join(map(shown, ids[:_SHOWN])) + (f" and {len(ids) - _SHOWN} more" if len(ids) > _SHOWN else "")
    subject = f"document {named} is" if len(ids) == 1 else f"{counted(len(ids), 'document')} are"
    listed = "" if len(ids) == 1 else f" ({named})"
    return InvalidDocumentError(
        f"{subject} stored already{listed}: leave out documents that are stored, or pass on_conflict='replace' or "
        "on_conflict='skip'"
    )
