"""Defines documents, search hits and ingest reports."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self, TypeAlias
from uuid import UUID

from colbert_qdrant.errors import ConfigurationError
from colbert_qdrant.shown import listed

DocumentId: TypeAlias = str | int | UUID
"""A document's id. ``1``, ``"1"`` and a UUID are three different ids."""


MOST_REJECTED: Final = 1_000
"""Rejected documents that the report of an ingest names; it counts them all."""


@dataclass(frozen=True)
class Document:
    """A text to index, or ready token embeddings, with an id that you choose.

    Args:
        id: Any string, integer or UUID. In a native collection it is the point's id: an integer or a UUID.
        text: The text that is encoded and searched. It may be empty only in a document with ``tokens``. It is also
            empty in a document that was read from a collection, and whose payload has no text.
        payload: Any JSON value. Searches can filter by its keys, and every hit returns it. NumPy values and enums
            become the built-in values that they hold. A ``Decimal`` becomes a number, and NaN becomes null. A UUID,
            date or datetime becomes a string such as ``"2024-06-01T12:00:00+02:00"``; without a time zone it is UTC.
            A native collection stores only the payload beside the vectors, and adds the text to it if it is missing.
        vectors: Precomputed vectors for hybrid searches, by name; they replace an encoder's vectors.
        tokens: Ready token embeddings, a matrix of shape ``(n_tokens, dim)``, which replace the encoder's. It is an
            array, a tensor of torch on any device, a list of lists, or the `TokenEmbeddings` of one text. `get` does
            not return it; `iterate` does, with ``with_tokens=True``.
    """

    id: DocumentId
    text: str = ""
    payload: Mapping[str, Any] = field(default_factory=dict)
    vectors: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)
    tokens: Any = field(default=None, compare=False, repr=False)

    @property
    def has_text(self) -> bool:
        """Whether the text has characters other than spaces."""
        return bool(self.text and self.text.strip())


@dataclass(frozen=True)
class SearchHit:
    """A document that a search found.

    Attributes:
        id: The id of the stored document, with its type. In a native collection it is the point's id, a number or a
            string.
        score: MaxSim, the sum over query tokens of the best match in the document. It is not divided by the number of
            query tokens. In mode ``"fde"`` it is the inner product of the encodings, which estimates MaxSim. In mode
            ``"bm25"`` it is BM25. A fusion has its own scores, and a blend's are relative to its query's candidates.
            Scores are float32 on every engine, so that equal documents have equal scores.
        text: The document's text; ``None`` if the search excludes payloads, or the document has no text.
        payload: The document's payload without this library's own keys; in a native collection, the whole payload.
        found_by: The vectors that found the document, if several vectors find candidates (see ``prefetch`` in
            `SearchOptions`); otherwise, and in groups, empty.
    """

    id: DocumentId
    score: float
    text: str | None = None
    payload: Mapping[str, Any] = field(default_factory=dict)
    found_by: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class SearchTimings:
    """The time that each step of a search took, in seconds; for a batch, the total of all queries.

    Attributes:
        encode: Time to encode texts as token embeddings; almost zero for queries that are encoded already.
        fde: Time to compute encodings of the token embeddings, and to build the request.
        request: Time from sending the request to its response, including all attempts.
        server: Processing time that the server reports; ``None`` without a report or without a server.
        rank: Time to encode the candidates' texts and score them by MaxSim; ``None`` if Qdrant ranked them.
    """

    encode: float
    fde: float
    request: float
    server: float | None = None
    rank: float | None = None


class SearchHits(list[SearchHit]):
    """A list of the documents that a search found.

    Attributes:
        timings: The time that each step took, if the search was called with ``timings=True``.
    """

    timings: SearchTimings | None = None

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: Callable[[object], Any]) -> Any:
        """Let pydantic, and web frameworks that use it, treat hits as a list."""
        return handler(list[SearchHit])

    @classmethod
    def ranked(cls, hits: Iterable[SearchHit]) -> Self:
        """Sort hits by descending score, and ties by id, so that the order is deterministic."""
        found = listed(hits)
        if found is None:
            raise ConfigurationError(f"hits must be a list of SearchHit, got {type(hits).__name__}")
        for hit in found:
            if not isinstance(hit, SearchHit):
                raise ConfigurationError(f"hits must be a list of SearchHit, but one item is {type(hit).__name__}")
        return cls(sorted(found, key=lambda hit: (-hit.score, id_sort_key(hit.id))))


@dataclass(frozen=True, kw_only=True)
class SearchGroup:
    """The documents of one group that a search found.

    Attributes:
        key: The payload value that the documents share.
        hits: The best documents of the group, by descending score.
    """

    key: str | int
    hits: SearchHits


@dataclass(frozen=True, kw_only=True)
class RejectedDocument:
    """A document that an ingest or upsert did not store, although it stored others.

    Attributes:
        id: The document's id, as you passed it; ``None`` if no `Document` could be made of a row.
        reason: The problem, in this library's words or the server's, with the row's place in its source.
    """

    id: DocumentId | None
    reason: str


@dataclass(frozen=True, kw_only=True)
class IngestReport:
    """The outcome of an ingest or an upsert.

    Attributes:
        documents: Number of documents that were written and acknowledged; each id counts once. With a ``chunker``, this
            and all other numbers count passages.
        tokens: Number of token vectors that were written.
        truncated: Number of written documents that were cut at the encoder's maximum length.
        replaced: Number of documents that a later document with the same id replaced.
        resumed: Number of documents that earlier calls with the same journal stored.
        unchanged: Number of documents that ``on_conflict="skip"`` left as they are stored.
        deleted: Number of documents that ``sync=True`` deleted, since the source no longer has them.
        rejected: Documents that were not stored: the server refused them, or ``on_error`` left them out. With a
            journal, also those of earlier calls. An ingest keeps the first 1,000.
        rejections: Number of documents that were not stored.
        seconds: Wall time from the first document read to the last acknowledgement.
    """

    documents: int
    tokens: int
    truncated: int = 0
    replaced: int = 0
    resumed: int = 0
    unchanged: int = 0
    deleted: int = 0
    rejected: tuple[RejectedDocument, ...] = ()
    rejections: int = 0
    seconds: float

    @property
    def documents_per_second(self) -> float:
        """Documents written per second of wall time."""
        return self.documents / self.seconds if self.seconds > 0 else 0.0


def id_sort_key(id: DocumentId) -> tuple[str, int | str]:
    """Return a key that sorts ids of mixed types: by type, then by value."""
    return type(id).__name__, id if isinstance(id, int) else str(id)
