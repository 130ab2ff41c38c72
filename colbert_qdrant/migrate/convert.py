"""Converts points that were read to points that are written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from colbert_qdrant.documents import Document
from colbert_qdrant.encoders.base import encode_and_check
from colbert_qdrant.errors import InvalidTokensError, MigrationError
from colbert_qdrant.points.convert import vectors_of
from colbert_qdrant.points.ids import canonical_id
from colbert_qdrant.points.point import Point
from colbert_qdrant.tokens import TokenEmbeddings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from qdrant_client import models

    from colbert_qdrant.encoders import LateInteractionEncoder
    from colbert_qdrant.encoders.further import FurtherVectors
    from colbert_qdrant.fde import FixedDimensionalEncoder
    from colbert_qdrant.points.texts import TextSource


@dataclass(frozen=True, kw_only=True)
class StoredTokens:
    """Stands for the encoder of stored token vectors, where none is needed or known.

    Attributes:
        dim: The dimensions of the token vectors.
        made_by: The fingerprint of the encoder that made them; empty if nobody knows it.
    """

    dim: int
    made_by: Mapping[str, Any]

    def encode_queries(self, texts: Sequence[str]) -> TokenEmbeddings:
        """Refuse to encode.

        Raises:
            NotImplementedError: The method is called.
        """
        raise NotImplementedError(f"there is no encoder for {len(texts)} texts")

    def encode_documents(self, texts: Sequence[str]) -> TokenEmbeddings:
        """Refuse to encode; see `encode_queries`."""
        return self.encode_queries(texts)

    def fingerprint(self) -> Mapping[str, Any]:
        """See `LateInteractionEncoder`."""
        return self.made_by


@dataclass(frozen=True, kw_only=True)
class Converter:
    """Adds to points what late interaction needs; the rest of them stays.

    Args:
        kept: The vectors that are copied as they are.
        token_vector: The name of the token vectors.
        fde_vector: The name of the encodings.
        encoder: The encoder of texts; ``None`` if token vectors are stored.
        fde: The encoding; ``None`` if encodings are stored, or fitted later.
        texts: The place of the texts.
        bm25: The maker of BM25's vectors; ``None`` if none are added.
    """

    kept: Sequence[str]
    token_vector: str
    fde_vector: str
    encoder: LateInteractionEncoder | None
    fde: FixedDimensionalEncoder | None
    texts: TextSource | None
    bm25: FurtherVectors | None = None

    def convert(self, records: Sequence[models.Record]) -> list[Point]:
        """Return points with the vectors that are copied and those that are added.

        A point without a text, or without stored token vectors, gets none; it is copied all the same.

        Raises:
            MigrationError: A stored multivector is damaged, or the encoder leaves out a text.
            InvalidTokensError: The encoder made token vectors that cannot be stored.
        """
        made: list[dict[str, Any]] = [
            {name: vector for name, vector in vectors_of(record).items() if name in self.kept} for record in records
        ]
        texts = self.find_texts(records)
        tokens, places = self._make_tokens(records, texts)
        if len(tokens):
            encodings = None if self.fde is None else self.fde.encode_documents(tokens)
            for number, place in enumerate(places):
                if self.encoder is not None:
                    made[place][self.token_vector] = tokens[number]
                if encodings is not None:
                    made[place][self.fde_vector] = encodings[number]
        self._add_bm25(made, texts)
        return [
            Point(id=canonical_id(record.id), vectors=vectors, payload=record.payload or {})
            for record, vectors in zip(records, made, strict=True)
        ]

    def find_texts(self, records: Sequence[models.Record]) -> list[str | None]:
        """Return the text of each point; ``None`` for a point without one."""
        if self.texts is None:
            return [None] * len(records)
        return [self.texts.text(record.payload or {}) for record in records]

    def read_tokens(self, records: Sequence[models.Record]) -> tuple[TokenEmbeddings, list[int]]:
        """Return the stored token vectors, and the places of the points that have some.

        Raises:
            MigrationError: A stored multivector is damaged.
        """
        found: list[Any] = [vectors_of(record).get(self.token_vector) for record in records]
        places = [place for place, rows in enumerate(found) if rows]
        if not places:
            return TokenEmbeddings.from_matrices([], dim=1), []
        try:
            return TokenEmbeddings.from_matrices([found[place] for place in places]), places
        except (InvalidTokensError, ValueError, TypeError) as error:
            ids = [records[place].id for place in places]
            raise MigrationError(
                f"the stored vectors {self.token_vector!r} of points {ids[0]!r} … {ids[-1]!r} cannot be used "
                f"({error}): write or delete them, then run the migration again"
            ) from error

    def _make_tokens(
        self, records: Sequence[models.Record], texts: Sequence[str | None]
    ) -> tuple[TokenEmbeddings, list[int]]:
        if self.encoder is None:
            return self.read_tokens(records)
        places = [place for place, text in enumerate(texts) if text is not None]
        chosen = [text for text in texts if text is not None]
        if not chosen:
            return TokenEmbeddings.from_matrices([], dim=self.encoder.dim), []
        return encode_and_check(self.encoder, chosen, MigrationError), places

    def _add_bm25(self, made: Sequence[dict[str, Any]], texts: Sequence[str | None]) -> None:
        if self.bm25 is None:
            return
        chosen = [(vectors, text) for vectors, text in zip(made, texts, strict=True) if text is not None]
        counted = self.bm25.documents([Document(0, text) for _, text in chosen])
        for (vectors, _), counts in zip(chosen, counted, strict=True):
            vectors.update(counts)
