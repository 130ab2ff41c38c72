"""Defines the documents that go into a collection, and the hits and reports that come back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self, TypeAlias
from uuid import UUID

from colbert_qdrant.errors import ConfigurationError
from colbert_qdrant.shown import listed

DocumentId: TypeAlias = str | int | UUID
"""An id as the user knows it. ``1``, ``"1"`` and a UUID are three different documents."""


@dataclass(frozen=True)
class Document:
    """A text to be found, under an id of the user's own.

    Args:
        id: Any string, a whole number or a UUID; in a native collection a point's: a whole number or a UUID.
        text: The text that is encoded and searched. It must not be empty; a document that is read from a native
            collection has an empty one where no text is known.
        payload: Anything JSON can hold; its keys can be filtered on and come back with every hit. NumPy's values and
            enums become what they stand for, a ``Decimal`` a number, a UUID, date or datetime a string, as in
            ``"2024-06-01T12:00:00+02:00"`` (without a zone it is UTC), and NaN null. In a native collection it is all
            that is stored beside the vectors: the text is put into it where it is missing.
        vectors: Vectors of its own for hybrid searches, by name, in the place of an encoder's.
    """

    id: DocumentId
    text: str
    payload: Mapping[str, Any] = field(default_factory=dict)
    vectors: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)


@dataclass(frozen=True)
class SearchHit:
    """A found document.

    Attributes:
        id: The id the document was stored under, with its type; in a native collection the point's, a number or string.
        score: MaxSim, the sum over query tokens of the best match in the document (not normalised by the number
            of query tokens); in mode ``"fde"`` the inner product of the encodings, which estimates MaxSim.
            On every engine it is a float32, so that equal documents have equal scores.
        text: The document's text; ``None`` if the search was asked for no payload, or the payload has no text.
        payload: The document's payload, without this library's own keys; in a native collection all of it.
        found_by: The vectors that found it, where several find candidates (see ``prefetch`` in `SearchOptions`); else,
            and in groups, empty.
    """

    id: DocumentId
    score: float
    text: str | None = None
    payload: Mapping[str, Any] = field(default_factory=dict)
    found_by: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class SearchTimings:
    """The time that each step of a search took, in seconds; for a batch, that of all its queries together.

    Attributes:
        encode: Time to encode texts as token embeddings; next to nothing for queries that were encoded already.
        fde: Time to compute encodings of the token embeddings, and to build the request.
        request: Time from sending the request to its answer, all attempts included.
        server: Time that the server says it worked; ``None`` if it does not say, or there is no server.
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
        timings: The time that each step took, if it was asked for.
    """

    timings: SearchTimings | None = None

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: Callable[[object], Any]) -> Any:
        """Have pydantic, and web frameworks that use it, take hits for the list that they are."""
        return handler(list[SearchHit])

    @classmethod
    def ranked(cls, hits: Iterable[SearchHit]) -> Self:
        """Sort hits by falling score, ties by id, so that they come in the same order every time."""
        found = listed(hits)
        if found is None:
            raise ConfigurationError(f"hits must be a list of SearchHits, got {type(hits).__name__}")
        for hit in found:
            if not isinstance(hit, SearchHit):
                raise ConfigurationError(f"hits must be a list of SearchHits, and one is {type(hit).__name__}")
        return cls(sorted(found, key=lambda hit: (-hit.score, id_sort_key(hit.id))))


@dataclass(frozen=True, kw_only=True)
class SearchGroup:
    """Documents of one group that a search found.

    Attributes:
        key: The value that they have in common.
        hits: The best of them, by falling score.
    """

    key: str | int
    hits: SearchHits


@dataclass(frozen=True, kw_only=True)
class RejectedDocument:
    """A document that is not stored, while others are.

    Attributes:
        id: The document's id, as it was given; ``None`` for what is no `Document`.
        reason: What is wrong with it, in this library's words or the server's.
    """

    id: DocumentId | None
    reason: str


@dataclass(frozen=True, kw_only=True)
class IngestReport:
    """The outcome of an ingest or an upsert.

    Attributes:
        documents: Documents written and acknowledged, each id once.
        tokens: Token vectors of these.
        truncated: Those of these that were longer than the encoder takes, and lost their end.
        replaced: Documents that a later one with the same id replaced.
        rejected: Documents that the server refused, or that ``on_error="skip"`` left out; they are not stored.
        seconds: Wall time from the first document read to the last acknowledgement.
    """

    documents: int
    tokens: int
    truncated: int = 0
    replaced: int = 0
    rejected: tuple[RejectedDocument, ...] = ()
    seconds: float

    @property
    def documents_per_second(self) -> float:
        """Documents written per second of wall time."""
        return self.documents / self.seconds if self.seconds > 0 else 0.0


def id_sort_key(id: DocumentId) -> tuple[str, int | str]:
    """Return a key that sorts ids of mixed types: by type, then by value."""
    return type(id).__name__, id if isinstance(id, int) else str(id)
