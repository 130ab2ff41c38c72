"""Searches a collection for all queries of a data set, and keeps the hits of the queries that are done."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from colbert_qdrant._support.progress import ProgressReporter, reporting
from colbert_qdrant.collection.ingest.passages import PARENT_KEY

if TYPE_CHECKING:
    from colbert_qdrant.collection import ColbertCollection
    from colbert_qdrant.documents import SearchHit
    from colbert_qdrant.evaluation.state import HitsFile
    from colbert_qdrant.search.options import SearchMode

CHUNK: Final = 16
"""The number of queries that are searched together, and whose hits are then written."""


@dataclass(frozen=True, kw_only=True)
class Searches:
    """The searches of one data set.

    Attributes:
        collection: The collection, whose encoder has the queries already.
        queries: Texts by query id.
        candidates: Number of documents that the first stage passes to MaxSim.
        depth: Number of hits per query.
        excludes_query_id: Whether a document with the id of the query is no hit.
        of_passages: Whether the collection stores passages, whose documents are judged.
    """

    collection: ColbertCollection
    queries: Mapping[str, str]
    candidates: int
    depth: int
    excludes_query_id: bool
    of_passages: bool

    def run(self, mode: SearchMode, hits: HitsFile, *, label: str, progress: bool | ProgressReporter) -> None:
        """Search with all queries that have no hits yet, and add their hits."""
        ids = [query for query in self.queries if query not in hits.hits]
        if not ids:
            return
        with reporting(progress, label=label, total=len(ids), unit="queries") as report:
            for start in range(0, len(ids), CHUNK):
                some = ids[start : start + CHUNK]
                found, seconds = self._search(mode, [self.queries[query] for query in some])
                kept = {query: self._kept(query, each) for query, each in zip(some, found, strict=True)}
                hits.append(kept, seconds * 1e3 / len(some))
                report.advance(len(some))

    def _search(self, mode: SearchMode, texts: Sequence[str]) -> tuple[list[list[tuple[str, float]]], float]:
        """Return the ids and scores of the hits of each query, and the seconds of all searches."""
        more = int(self.excludes_query_id)
        limit, candidates = self.depth + more, self.candidates + more
        if not self.of_passages:
            found = self.collection.search_batch(
                texts, mode=mode, limit=limit, candidates=candidates, with_payload=False, timings=True
            )
            timings = found[0].timings
            seconds = 0.0 if timings is None else timings.fde + timings.request
            return [[_scored(hit, str(hit.id)) for hit in hits] for hits in found], seconds
        started = time.perf_counter()
        groups = [
            self.collection.search_groups(
                text, PARENT_KEY, group_size=1, mode=mode, limit=limit, candidates=candidates, with_payload=False
            )
            for text in texts
        ]
        seconds = time.perf_counter() - started
        return [[_scored(group.hits[0], str(group.key)) for group in each] for each in groups], seconds

    def _kept(self, query: str, found: Sequence[tuple[str, float]]) -> dict[str, float]:
        """Return the score of each hit by its id; of two ids that are equal as strings, the better one counts."""
        kept: dict[str, float] = {}
        for document, score in found:
            if len(kept) < self.depth and not (self.excludes_query_id and document == query):
                kept.setdefault(document, score)
        return kept


def _scored(hit: SearchHit, document: str) -> tuple[str, float]:
    return document, float(hit.score)
