"""Finds out what is wrong with a stored collection and can be mended, and mends it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from colbert_qdrant.collection.indexes import make_indexes, missing_indexes, names_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from qdrant_client import models

    from colbert_qdrant._support.progress import ProgressReporter
    from colbert_qdrant.collection.opened import OpenCollection

    Progress: TypeAlias = bool | ProgressReporter
    Finding: TypeAlias = Callable[[OpenCollection, models.CollectionInfo], Awaitable["Problem | None"]]


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing about a stored collection that can be mended.

    Attributes:
        sentence: Says what is wrong, and to call `repair`.
        mend: Mends it, and returns a sentence that says what was done; somebody else may have mended it since.
    """

    sentence: str
    mend: Callable[[Progress], Awaitable[str]]


async def find_problems(collection: OpenCollection) -> tuple[str, ...]:
    """Return a sentence for each problem."""
    return tuple(problem.sentence for problem in await _problems(collection))


async def repair(collection: OpenCollection, *, progress: Progress) -> tuple[str, ...]:
    """Mend every problem, and return a sentence for each that says what was done."""
    return tuple([await problem.mend(progress) for problem in await _problems(collection)])


async def _problems(collection: OpenCollection) -> list[Problem]:
    info = await collection.engine.get_collection(collection.name)
    found = [await finding(collection, info) for finding in _FINDINGS]
    return [problem for problem in found if problem is not None]


async def _missing_indexes(collection: OpenCollection, info: models.CollectionInfo) -> Problem | None:
    missing = await missing_indexes(collection.engine, collection.config, info)
    names = names_of(missing)

    async def mend(_: Progress) -> str:
        await make_indexes(collection.engine, collection.name, missing)
        return f"The payload indexes {names} were made."

    sentence = f"The payload indexes {names} are missing, so filters by these keys read every document: call repair()."
    return Problem(sentence=sentence, mend=mend) if missing else None


_FINDINGS: Final[tuple[Finding, ...]] = (_missing_indexes,)
"""All that is looked for, without writing anything; a key that may not look finds nothing."""
