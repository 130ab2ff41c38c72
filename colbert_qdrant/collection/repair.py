"""Finds problems of a stored collection that can be fixed, and fixes them."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias

from colbert_qdrant.collection.aliases import real_name
from colbert_qdrant.collection.artefacts import REMEMBERED, keeper_of, publish
from colbert_qdrant.collection.companion import Companion, digest
from colbert_qdrant.collection.filling import count_without_encoding
from colbert_qdrant.collection.fitting import Fitter
from colbert_qdrant.collection.indexes import make_indexes, missing_indexes, names_of
from colbert_qdrant.collection.ingest.bulk import Deferral, deferred_threshold
from colbert_qdrant.collection.metadata import read_metadata
from colbert_qdrant.collection.outgrown import say_outgrown
from colbert_qdrant.collection.reweighing import Reweigher
from colbert_qdrant.collection.rows import require_on_error
from colbert_qdrant.collection.without_further import add_further, count_without_further
from colbert_qdrant.collection.without_tokens import (
    count_without_tokens,
    encode_without_tokens,
    say_rejected,
    say_without_tokens,
)
from colbert_qdrant.errors import InvalidDocumentError, RequestError
from colbert_qdrant.fde import Fitted
from colbert_qdrant.search.limits import Limits
from colbert_qdrant.shown import counted

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from qdrant_client import models

    from colbert_qdrant._support.progress import ProgressReporter
    from colbert_qdrant.collection.opened import OpenCollection
    from colbert_qdrant.collection.rows import OnError
    from colbert_qdrant.documents import RejectedDocument

    Progress: TypeAlias = bool | ProgressReporter
    Finding: TypeAlias = Callable[[OpenCollection, models.CollectionInfo], Awaitable["Problem | None"]]


@dataclass(frozen=True, kw_only=True)
class Repair:
    """A running repair of all problems.

    Attributes:
        progress: Whether, or to which reporter, to report progress.
        rejected: The documents that cannot be encoded.
    """

    progress: Progress
    rejected: list[RejectedDocument] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A problem of a stored collection that can be fixed.

    Attributes:
        sentence: A description of the problem, with the remedy: call `repair`.
        fix: Fixes it, and returns a sentence about the fix. It must tolerate that another client already fixed it.
    """

    sentence: str
    fix: Callable[[Repair], Awaitable[str]]


async def find_problems(collection: OpenCollection) -> tuple[str, ...]:
    """Return a sentence for each problem."""
    return tuple(problem.sentence for problem in await _problems(collection))


async def repair(collection: OpenCollection, *, on_error: OnError, progress: Progress) -> tuple[str, ...]:
    """Fix every problem, and return a sentence for each fix.

    Raises:
        InvalidDocumentError: If documents cannot be encoded, and ``on_error`` is ``"raise"``; all others are repaired.
    """
    require_on_error(on_error)
    running = Repair(progress=progress)
    done = tuple([await problem.fix(running) for problem in await _problems(collection)])
    if running.rejected and on_error == "raise":
        lines = "".join(f"\n  {each.id!r}: {each.reason}" for each in running.rejected)
        raise InvalidDocumentError(
            f"collection {collection.name!r} is repaired, except for {counted(len(running.rejected), 'document')} that "
            f"cannot be encoded. Correct or delete these:{lines}"
        )
    return done


async def _problems(collection: OpenCollection) -> list[Problem]:
    await collection.notice()  # a newer fit of another process must not be repaired with an older one
    info = await collection.engine.get_collection(collection.name)
    found = [await finding(collection, info) for finding in _FINDINGS]
    return [problem for problem in found if problem is not None]


async def _missing_indexes(collection: OpenCollection, info: models.CollectionInfo) -> Problem | None:
    missing = await missing_indexes(collection.engine, collection.config, info)
    names = names_of(missing)

    async def fix(_: Repair) -> str:
        await make_indexes(collection.engine, collection.name, missing)
        return f"The payload indexes {names} were created."

    sentence = f"The payload indexes {names} are missing, so filters by these keys read every document: call repair()."
    return Problem(sentence=sentence, fix=fix) if missing else None


async def _deferred_indexing(collection: OpenCollection, info: models.CollectionInfo) -> Problem | None:
    engine, name = collection.engine, collection.name
    threshold = deferred_threshold(await read_metadata(engine, name, info))

    async def fix(_: Repair) -> str:
        await Deferral(collection).undo()
        return f"The indexing_threshold is {threshold} again, so the server builds the graphs now."

    sentence = (
        f"The server builds no graphs of collection {name!r}, because an ingest with bulk=True is running, or was "
        "killed. So searches are slow: wait for the ingest, or call repair()."
    )
    return None if threshold is None else Problem(sentence=sentence, fix=fix)


async def _lost_artefact(collection: OpenCollection, _: models.CollectionInfo) -> Problem | None:
    engine, wanted, lost = collection.engine, collection.fitted_digest, collection.lost
    if lost is not None:
        return Problem(sentence=lost, fix=partial(_refit, collection))
    if wanted is None or (data := await _remembered(collection, wanted)) is None:
        return None
    keeper = await keeper_of(engine, collection.name, collection.tokens_of)
    try:
        if await keeper.holds(wanted):
            return None
    except RequestError:
        return None

    async def fix(_: Repair) -> str:
        await publish(engine, collection.name, data, encoder=collection.tokens_of, replace=True)
        return f"The fitted encoding was written to {keeper.place} again."

    sentence = (
        f"The fitted encoding in {keeper.place} is missing or incomplete, so other processes cannot use it in "
        f"collection {collection.name!r}; this process has a copy in memory: call repair()."
    )
    return Problem(sentence=sentence, fix=fix)


async def _remembered(collection: OpenCollection, wanted: str) -> bytes | None:
    """Return the artifact of a collection from this process: from the cache, or serialized from its encoder."""
    data, fde = REMEMBERED.get(wanted), collection.fde
    if data is None and isinstance(fde, Fitted):
        data = await collection.engine.runtime.compute(fde.to_bytes)
    return data if data is not None and digest(data) == wanted else None


async def _refit(collection: OpenCollection, running: Repair) -> str:
    await Fitter(collection).fit(refit=True, progress=running.progress)
    if collection.fde is None:
        return "The lost fit was withdrawn, because there are no documents to fit to: the next ingest fits again."
    return "The encoding was fitted to the stored token vectors, and added to all documents."


async def _outgrown_fit(collection: OpenCollection, info: models.CollectionInfo) -> Problem | None:
    sentence = say_outgrown(collection.name, collection.fde, info.points_count or 0)
    return None if sentence is None else Problem(sentence=sentence, fix=partial(_refit, collection))


async def _mixed_weights(collection: OpenCollection, _: models.CollectionInfo) -> Problem | None:
    reweigher = Reweigher(collection)

    async def fix(running: Repair) -> str:
        await reweigher.complete(progress=running.progress)
        return "All BM25 vectors have the weights of one average length."

    sentence = (
        f"BM25 vectors of collection {collection.name!r} have the weights of two average lengths, because an ingest "
        "that computes them anew is running, or was killed. Scores are slightly worse: wait for it, or call repair()."
    )
    return Problem(sentence=sentence, fix=fix) if reweigher.interrupted else None


async def _few_copies(collection: OpenCollection, info: models.CollectionInfo) -> Problem | None:
    engine, copies = collection.engine, info.config.params.replication_factor or 1
    if not collection.config.encoding.needs_fit or copies == 1 or engine.files is not None:
        return None
    companion = Companion(engine, await real_name(engine, collection.name), collection.tokens_of)
    try:
        if not await companion.lacks_copies():
            return None
    except RequestError:
        return None

    async def fix(_: Repair) -> str:
        await companion.raise_copies()
        return f"The cluster is creating {copies} replicas of collection {companion.name!r}, which takes a moment."

    sentence = (
        f"Collection {companion.name!r}, which holds the fitted encoding, has fewer replicas than "
        f"{collection.name!r}, so the loss of a node can make it unavailable: call repair()."
    )
    return Problem(sentence=sentence, fix=fix)


async def _without_tokens(collection: OpenCollection, info: models.CollectionInfo) -> Problem | None:
    config, limits = collection.config, Limits.of(info, collection.config.token_vector)
    count = await count_without_tokens(collection.engine, collection.name, config, limits)

    async def fix(running: Repair) -> str:
        encoded = await encode_without_tokens(collection, progress=running.progress)
        running.rejected.extend(encoded.rejected)
        return str(encoded)

    return Problem(sentence=f"{say_without_tokens(count, config)}.", fix=fix) if count else None


async def _without_encoding(collection: OpenCollection, _: models.CollectionInfo) -> Problem | None:
    count = await count_without_encoding(collection)

    async def fix(running: Repair) -> str:
        filled = await Fitter(collection).fill(label="repair", progress=running.progress)
        running.rejected.extend(filled.rejected)
        done = f"{counted(filled.count, 'document')} without an encoding got it from the token vectors."
        return done + say_rejected(filled.rejected, "and no two-stage search finds them")

    sentence = (
        f"{counted(count, 'document', 'have')} token vectors but no encoding, because another program wrote "
        f"{'it' if count == 1 else 'them'}. No two-stage search finds such documents: call repair(), which computes "
        "the encodings."
    )
    return Problem(sentence=sentence, fix=fix) if count else None


async def _without_further(collection: OpenCollection, _: models.CollectionInfo) -> Problem | None:
    if not (await collection.engine.capabilities()).has("has_vector"):
        return None
    names = collection.further.names_from_texts
    lacking = {name: count for name in names if (count := await count_without_further(collection, name))}

    async def fix(running: Repair) -> str:
        sentences = []
        for name in lacking:
            count, rejected = await add_further(collection, name, progress=running.progress)
            running.rejected.extend(rejected)
            done = f"{counted(count, 'document')} without the vector {name!r} got it from the text."
            sentences.append(done + say_rejected(rejected, f"and no search by {name!r} finds them"))
        return " ".join(sentences)

    counts = " and ".join(
        f"{counted(count, 'document', 'have')} a text but no vector {name!r}" for name, count in lacking.items()
    )
    sentence = f"{counts}, so no search by it finds them: call repair(), which computes it from the text."
    return Problem(sentence=sentence, fix=fix) if lacking else None


_FINDINGS: Final[tuple[Finding, ...]] = (
    _deferred_indexing,
    _missing_indexes,
    _without_tokens,
    _without_encoding,
    _without_further,
    _mixed_weights,
    _lost_artefact,
    _outgrown_fit,
    _few_copies,
)
"""All checks. They write nothing, and report no problem if they cannot read the state. Problems are fixed in this
order, so that an encoding is fitted after token vectors are complete."""
