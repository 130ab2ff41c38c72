"""Defines the report on an encoding, and formats it as a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from colbert_qdrant.config import FdeQuantization
from colbert_qdrant.inspection.fitness import align

_BITS: Final[Mapping[FdeQuantization | None, int]] = {None: 16, "int8": 8, "turbo4": 4, "turbo2": 2, "binary": 1}


@dataclass(frozen=True, kw_only=True)
class SearchQuality:
    """The quality of one way to search the encodings.

    Attributes:
        recall: By depth, the share of the exact MaxSim top 10 among that number of nearest encodings, averaged over
            queries.
        ndcg: nDCG@10 of the encodings alone; ``None`` without judgments.
        two_stage_ndcg: nDCG@10 if MaxSim ranks the nearest encodings; ``None`` without judgments.
        ndcg_by_query: The values that ``ndcg`` is the mean of, for each query with judgments.
        two_stage_ndcg_by_query: The values that ``two_stage_ndcg`` is the mean of.
    """

    recall: Mapping[int, float]
    ndcg: float | None
    two_stage_ndcg: float | None
    ndcg_by_query: Sequence[float] = field(default=(), repr=False)
    two_stage_ndcg_by_query: Sequence[float] = field(default=(), repr=False)


@dataclass(frozen=True, kw_only=True)
class FdeReport:
    """The quality and cost of an encoding, compared with exact MaxSim; ``str()`` formats it as a table.

    Attributes:
        encoder: Name of the encoder's class.
        documents: The number of documents.
        queries: The number of queries.
        dim: Dimensions of an encoding.
        quantization: The quantization that the graph compares instead of the encodings.
        candidates: Number of encodings that MaxSim ranks in the second stage.
        rank_correlation: Spearman's rank correlation, over all documents, between the encodings' inner product and
            MaxSim, averaged over queries.
        maxsim_ndcg: nDCG@10 of exact MaxSim; ``None`` without judgments.
        exact: The quality of exact search over the encodings, which is the quality of the encoding.
        graph: The quality of search through the HNSW graph; ``None`` without a graph.
        nearest_found: Share of the true nearest 100 encodings that the graph finds, which is the quality of the graph.
        document_ms: Milliseconds to encode a document in a batch.
        query_ms: Milliseconds to encode a query in a batch.
        graph_ms: Milliseconds of a search for ``candidates`` through the graph, without encoding the query.
        maxsim_ndcg_by_query: The values that ``maxsim_ndcg`` is the mean of, for each query with judgments.
    """

    encoder: str
    documents: int
    queries: int
    dim: int
    quantization: FdeQuantization | None
    candidates: int
    rank_correlation: float
    maxsim_ndcg: float | None
    exact: SearchQuality
    graph: SearchQuality | None
    nearest_found: float | None
    document_ms: float
    query_ms: float
    graph_ms: float | None
    maxsim_ndcg_by_query: Sequence[float] = field(default=(), repr=False)

    @property
    def bytes_per_document(self) -> int:
        """Bytes per document that the graph compares: the float16 encoding, or its quantization."""
        return -(-self.dim * _BITS[self.quantization] // 8)

    def __str__(self) -> str:
        return align(self._header() + self._recall_lines() + self._ndcg_lines())

    def _header(self) -> list[tuple[str, str]]:
        size = f"{self.dim:,} dimensions, {self.bytes_per_document:,} bytes per document"
        return [
            (self.encoder, size + (f" ({self.quantization})" if self.quantization else "")),
            ("measured on", f"{self.documents:,} documents, {self.queries:,} queries"),
            ("encoding", f"{self.document_ms:.2f} ms per document, {self.query_ms:.2f} ms per query"),
            ("rank correlation", f"{self.rank_correlation:.3f}"),
        ]

    def _recall_lines(self) -> list[tuple[str, str]]:
        depths = self.exact.recall
        lines = [
            ("", self._columns("exact search", "HNSW graph")),
            *((f"recall@{depth}", self._both_columns(partial(_recall_text, depth=depth))) for depth in depths),
        ]
        if self.graph is not None:
            lines += [
                ("nearest 100 found", self._columns("", f"{self.nearest_found:.3f}")),
                ("ms per search", self._columns("", f"{self.graph_ms:.2f}")),
            ]
        return lines

    def _ndcg_lines(self) -> list[tuple[str, str]]:
        if self.maxsim_ndcg is None:
            return []
        part = partial(_ndcg_text, maxsim=self.maxsim_ndcg)
        return [
            ("nDCG@10 of MaxSim", f"{self.maxsim_ndcg:.4f}"),
            ("  encodings alone", self._both_columns(lambda quality: part(quality.ndcg))),
            (f"  two stages, {self.candidates}", self._both_columns(lambda quality: part(quality.two_stage_ndcg))),
        ]

    def _both_columns(self, text: Callable[[SearchQuality], str]) -> str:
        return self._columns(text(self.exact), text(self.graph) if self.graph else "")

    def _columns(self, exact: str, graph: str) -> str:
        return f"{exact:<20}{graph}" if self.graph else exact


def _recall_text(quality: SearchQuality, *, depth: int) -> str:
    return f"{quality.recall[depth]:.3f}"


def _ndcg_text(ndcg: float | None, *, maxsim: float) -> str:
    """Format nDCG and its ratio to MaxSim's nDCG."""
    ratio = f" ({ndcg / maxsim:.3f} ×)" if ndcg is not None and maxsim else ""
    return f"{ndcg:.4f}{ratio}"
