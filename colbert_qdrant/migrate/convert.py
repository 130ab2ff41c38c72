"""Points as they were read → points as they are written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

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
    """Stands for the encoder of token vectors that are stored, where none is needed or known.

    Attributes:
        dim: Dimensions of the token vectors.
        facts: The fingerprint of the encoder that made them; empty: it is not known.
    """

    dim: int
    facts: Mapping[str, Any]

    def encode_queries(self, texts: Sequence[str]) -> TokenEmbeddings:
        """Refused.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError(f"there is no encoder for {len(texts)} texts")

    def encode_documents(self, texts: Sequence[str]) -> TokenEmbeddings:
        """Refused.

        Raises:
            NotImplementedError: Always.
        """
        return self.encode_queries(texts)

    def fingerprint(self) -> Mapping[str, Any]:
        """See `LateInteractionEncoder`."""
        return self.facts


@dataclass(frozen=True, kw_only=True)
class Converter:
    """Adds what late interaction needs to points; the rest of them stays.

    Args:
        kept: Vectors that are copied as they are.
        token_vector, fde_vector: Names of the two vectors.
        encoder: Text → token vectors; ``None``: they are stored.
        fde: Token vectors → encodings; ``None``: they are stored, or fitted later.
        texts: Where texts are.
        bm25: Text → a sparse vector of BM25; ``None``: there is none to be added.
    """

    kept: Sequence[str]
    token_vector: str
    fde_vector: str
    encoder: LateInteractionEncoder | None
    fde: FixedDimensionalEncoder | None
    texts: TextSource | None
    bm25: FurtherVectors | None = None

    def points(self, records: Sequence[models.Record]) -> list[Point]:
        """Points with the vectors that are copied and those that are added.

        A point without text, or without token vectors where those are stored, gets none: it is copied all the same.

        Raises:
            MigrationError: A stored multivector is damaged.
            InvalidTokensError: The encoder made token vectors that cannot be stored.
        """
        made: list[dict[str, Any]] = [
            {name: vector for name, vector in vectors_of(record).items() if name in self.kept} for record in records
        ]
        texts = self.found_texts(records)
        tokens, places = self._tokens(records, texts)
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

    def found_texts(self, records: Sequence[models.Record]) -> list[str | None]:
        """The points' texts, as far as they have any."""
        if self.texts is None:
            return [None] * len(records)
        return [self.texts.text(record.payload or {}) for record in records]

    def stored_tokens(self, records: Sequence[models.Record]) -> tuple[TokenEmbeddings, list[int]]:
        """The token vectors of points, and which points have some.

        Raises:
            MigrationError: A stored multivector is damaged.
        """
        found: list[Any] = [vectors_of(record).get(self.token_vector) for record in records]
        places = [place for place, rows in enumerate(found) if rows]
        if not places:
            return _none(1), []
        try:
            return TokenEmbeddings.from_matrices([found[place] for place in places]), places
        except (InvalidTokensError, ValueError, TypeError) as error:
            ids = [records[place].id for place in places]
            raise MigrationError(
                f"the stored vectors {self.token_vector!r} of points {ids[0]!r} … {ids[-1]!r} cannot be used "
                f"({error}): write or delete them, then run the migration again"
            ) from error

    def _tokens(
        self, records: Sequence[models.Record], texts: Sequence[str | None]
    ) -> tuple[TokenEmbeddings, list[int]]:
        if self.encoder is None:
            return self.stored_tokens(records)
        places = [place for place, text in enumerate(texts) if text is not None]
        chosen = [text for text in texts if text is not None]
        if not chosen:
            return _none(self.encoder.dim), []
        return encode_and_check(self.encoder, chosen, MigrationError), places

    def _add_bm25(self, made: Sequence[dict[str, Any]], texts: Sequence[str | None]) -> None:
        if self.bm25 is None:
            return
        chosen = [(vectors, text) for vectors, text in zip(made, texts, strict=True) if text is not None]
        counted = self.bm25.documents([Document(0, text) for _, text in chosen])
        for (vectors, _), counts in zip(chosen, counted, strict=True):
            vectors.update(counts)


def _none(dim: int) -> TokenEmbeddings:
    return TokenEmbeddings(np.empty((0, dim), np.float32), [])
