"""Converts points of a source to points of a target."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from qdrant_client import models

from colbert_qdrant.collection.rows import Rejections, Row
from colbert_qdrant.documents import Document
from colbert_qdrant.encoders.base import require_one_matrix_each
from colbert_qdrant.errors import InvalidTokensError, MigrationError
from colbert_qdrant.points.convert import vectors_of
from colbert_qdrant.points.ids import canonical_id
from colbert_qdrant.points.origins import origin_of, same_origin
from colbert_qdrant.points.point import Point
from colbert_qdrant.points.ranges import check_range
from colbert_qdrant.tokens import TokenEmbeddings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from colbert_qdrant.encoders import LateInteractionEncoder
    from colbert_qdrant.encoders.further import FurtherVectors
    from colbert_qdrant.engines.base import PointId
    from colbert_qdrant.fde import FixedDimensionalEncoder
    from colbert_qdrant.points.texts import TextSource


@dataclass(frozen=True, kw_only=True)
class Converter:
    """Adds FDEs and token vectors to points, and leaves the rest of the points unchanged.

    Args:
        kept: The vectors that are copied unchanged.
        token_vector: The name of the token vectors.
        fde_vector: The name of the FDE vectors.
        encoder: The encoder of texts; ``None`` if token vectors are stored.
        fde: The FDE encoder; ``None`` if FDEs are stored, or fitted later.
        texts: The source of the texts.
        bm25: The encoder of BM25 vectors; ``None`` if no BM25 vectors are added.
        origin_vector: The vector for the digests of texts or token vectors; ``None`` if no digests are written.
        narrowed: The setting and the datatype of each vector whose datatype in the target may be smaller than that of
            its values.
        float16: The names of the vectors that the target stores as float16, so that fewer digits are sent.
    """

    kept: Sequence[str]
    token_vector: str
    fde_vector: str
    encoder: LateInteractionEncoder | None
    fde: FixedDimensionalEncoder | None
    texts: TextSource | None
    bm25: FurtherVectors | None = None
    origin_vector: str | None = None
    narrowed: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    float16: frozenset[str] = frozenset()

    def convert(self, records: Sequence[models.Record]) -> list[Point]:
        """Return points with the copied and the added vectors.

        A point without a text, or without stored token vectors, is copied without added vectors.

        Raises:
            MigrationError: If a stored multivector is damaged, or if the encoder skips a text.
            InvalidTokensError: If token vectors or FDEs cannot be stored.
        """
        made: list[dict[str, Any]] = [
            {name: vector for name, vector in vectors_of(record).items() if name in self.kept} for record in records
        ]
        texts = self.find_texts(records)
        tokens, places = self._make_tokens(records, texts)
        cut = {place for place, truncated in zip(places, tokens.truncated, strict=True) if truncated}
        if len(tokens):
            encodings = None if self.fde is None else self.fde.encode_documents(tokens)
            for number, place in enumerate(places):
                if self.encoder is not None:
                    made[place][self.token_vector] = tokens[number]
                if encodings is not None:
                    made[place][self.fde_vector] = encodings[number]
                if self.origin_vector is not None:
                    made[place][self.origin_vector] = self._origin(texts[place], tokens[number])
        self._add_bm25(made, texts)
        for name, (setting, datatype) in self.narrowed.items():
            ids, vectors = [record.id for record in records], [each.get(name) for each in made]
            check_range(ids, vectors, setting=setting, datatype=datatype, of="point")
        return [
            Point(
                id=canonical_id(record.id),
                vectors=vectors,
                payload=record.payload or {},
                truncated=place in cut,
                float16=self.float16,
            )
            for place, (record, vectors) in enumerate(zip(records, made, strict=True))
        ]

    def find_texts(self, records: Sequence[models.Record]) -> list[str | None]:
        """Return the text of each point; ``None`` for a point without a text.

        Raises:
            MigrationError: If the user's function fails.
        """
        return [None] * len(records) if self.texts is None else [self._find_text(self.texts, each) for each in records]

    def read_tokens(self, records: Sequence[models.Record]) -> tuple[TokenEmbeddings, list[int]]:
        """Return the stored token vectors, and the positions of the points that have token vectors.

        Raises:
            MigrationError: If a stored multivector is damaged.
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
                f"({error}): rewrite or delete them, then run the migration again"
            ) from error

    def find_stale(self, records: Sequence[models.Record]) -> list[PointId]:
        """Return the points whose added vectors are missing, or belong to another text or other token vectors.

        Raises:
            MigrationError: If a stored multivector is damaged, or if the function ``text=`` fails.
        """
        wanted: list[NDArray[np.float32] | None] = [None] * len(records)
        if self.encoder is None:
            tokens, places = self.read_tokens(records)
            for place, matrix in zip(places, tokens, strict=True):
                wanted[place] = self._origin(None, matrix)
        else:
            wanted = [None if text is None else origin_of(text) for text in self.find_texts(records)]
        return [
            record.id
            for record, origin in zip(records, wanted, strict=True)
            if not same_origin(origin, vectors_of(record).get(str(self.origin_vector)))
        ]

    def texts_unchanged(self, points: Sequence[Point]) -> models.Filter | None:
        """Return a filter for points whose texts are unchanged since they were read; ``None`` without an encoder."""
        if self.encoder is None or self.texts is None:
            return None
        conditions = [(point.id, self.texts.is_still(point.payload)) for point in points if point.vectors]
        return models.Filter(
            should=[
                models.HasIdCondition(has_id=[id])
                if condition is None
                else models.Filter(must=[models.HasIdCondition(has_id=[id]), condition])
                for id, condition in conditions
            ]
        )

    def _origin(self, text: str | None, tokens: NDArray[np.float32]) -> NDArray[np.float32]:
        return origin_of(tokens if self.encoder is None or text is None else text)

    def _find_text(self, texts: TextSource, record: models.Record) -> str | None:
        try:
            return texts.text(record.payload or {})
        except Exception as error:
            raise MigrationError(
                f"the function text=… failed for point {record.id!r} ({type(error).__name__}: {error}): return None "
                "for a payload without a text"
            ) from error

    def _make_tokens(
        self, records: Sequence[models.Record], texts: Sequence[str | None]
    ) -> tuple[TokenEmbeddings, list[int]]:
        if self.encoder is None:
            return self.read_tokens(records)
        encoder, parts = self.encoder, [TokenEmbeddings.from_matrices([], dim=self.encoder.dim)]
        places = [place for place, text in enumerate(texts) if text is not None]
        rows = [
            Row(document=Document(canonical_id(record.id), text), payload={})
            for record, text in zip(records, texts, strict=True)
            if text is not None
        ]
        encoded = Rejections("raise").isolate(rows, lambda some: encoder.encode_documents([each.text for each in some]))
        for part, tokens in encoded:
            require_one_matrix_each(tokens, encoder, len(part), MigrationError)
            parts.append(tokens)
        return TokenEmbeddings.concatenate(parts), places

    def _add_bm25(self, made: Sequence[dict[str, Any]], texts: Sequence[str | None]) -> None:
        if self.bm25 is None:
            return
        chosen = [(vectors, text) for vectors, text in zip(made, texts, strict=True) if text is not None]
        counted = self.bm25.documents([Document(0, text) for _, text in chosen])
        for (vectors, _), counts in zip(chosen, counted, strict=True):
            vectors.update(counts)
