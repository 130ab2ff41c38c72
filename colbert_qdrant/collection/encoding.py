"""Runs the models for documents before they are written, and encodes token vectors again after a refit."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from colbert_qdrant.encoders.base import require_one_matrix_each
from colbert_qdrant.errors import InvalidDocumentError
from colbert_qdrant.points.ranges import check_range
from colbert_qdrant.tokens import TokenEmbeddings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from colbert_qdrant.collection.opened import OpenCollection
    from colbert_qdrant.collection.rows import Rejections, Row
    from colbert_qdrant.encoders.further import FurtherVectors
    from colbert_qdrant.fde import FixedDimensionalEncoder
    from colbert_qdrant.points.point import Point


Encoded: TypeAlias = list[tuple["Sequence[Row]", TokenEmbeddings]]
"""Rows in parts, each with the token embeddings of all its rows."""


def encode_rows(
    collection: OpenCollection,
    rows: Sequence[Row],
    fde: FixedDimensionalEncoder | None,
    further: FurtherVectors,
    rejections: Rejections,
) -> list[Row]:
    """Run the models, and return the rows that could be encoded."""
    return complete_rows(collection, encode_tokens(collection, rows, rejections), fde, further, rejections)


def encode_tokens(collection: OpenCollection, rows: Sequence[Row], rejections: Rejections) -> Encoded:
    """Run the encoder for the rows that have no tokens yet, and return all rows that have tokens then, in order."""
    encoder = collection.encoder
    texts = [row for row in rows if not len(row.tokens)]
    encoded = rejections.isolate(texts, lambda some: encoder.encode_documents([one.text for one in some]))
    for part, tokens in encoded:
        require_one_matrix_each(tokens, encoder, len(part), InvalidDocumentError)
    if len(texts) == len(rows):
        return encoded
    for part, tokens in encoded:
        for row, matrix, truncated in zip(part, tokens, tokens.truncated, strict=True):
            row.tokens, row.truncated = matrix, bool(truncated)
    good = [row for row in rows if len(row.tokens)]
    values, lengths = np.concatenate([row.tokens for row in good]), [len(row.tokens) for row in good]
    return [(good, TokenEmbeddings(values, lengths, truncated=[row.truncated for row in good]))]


def complete_rows(
    collection: OpenCollection,
    encoded: Encoded,
    fde: FixedDimensionalEncoder | None,
    further: FurtherVectors,
    rejections: Rejections,
) -> list[Row]:
    """Add all other vectors, and return the rows whose vectors can be stored."""
    config = collection.config
    rows: list[Row] = []
    made: list[Row] = []

    def in_range(row: Row) -> Row:
        for vectors, setting, datatype in (
            (row.tokens, "token_datatype", config.token_datatype),
            (row.fde, "fde_datatype", config.fde_datatype),
        ):
            check_range([row.document.id], [vectors], setting=setting, datatype=datatype)
        return row

    for part, tokens in encoded:
        encodings = [None] * len(part) if fde is None else list(fde.encode_documents(tokens))
        for row, matrix, truncated, encoding in zip(part, tokens, tokens.truncated, encodings, strict=True):
            row.tokens, row.truncated, row.fde = matrix, bool(truncated), encoding
        rows += part
    for part, vectors in rejections.isolate(rejections.keep_good(rows, in_range), further.documents):
        for row, own in zip(part, vectors, strict=True):
            row.further = own
        made += part
    return made


def encode_again(
    collection: OpenCollection, points: Sequence[Point], fde: FixedDimensionalEncoder | None
) -> list[Point]:
    """Return points with their FDE replaced by that of ``fde``, or removed if ``fde`` is ``None``."""
    config, dim = collection.config, collection.encoder.dim
    others: list[dict[str, Any]] = [
        {name: each for name, each in point.vectors.items() if name != config.fde_vector} for point in points
    ]
    if fde is not None:
        tokens = TokenEmbeddings.from_matrices([each[config.token_vector] for each in others], dim=dim)
        for vectors, encoding in zip(others, fde.encode_documents(tokens), strict=True):
            vectors[config.fde_vector] = encoding
    return [replace(point, vectors=vectors) for point, vectors in zip(points, others, strict=True)]


def weigh_again(collection: OpenCollection, rows: Sequence[Row]) -> None:
    """Compute BM25's weights anew, for another average length."""
    made = collection.further.documents([row.document for row in rows], only=collection.config.bm25_vector)
    for row, vectors in zip(rows, made, strict=True):
        row.further.update(vectors)
