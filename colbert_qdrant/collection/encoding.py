"""Runs the models for documents before they are written, and encodes token vectors again after a refit."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

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


def encode_rows(
    collection: OpenCollection,
    rows: Sequence[Row],
    fde: FixedDimensionalEncoder | None,
    further: FurtherVectors,
    rejections: Rejections,
) -> list[Row]:
    """Run the models, and return the rows that could be encoded."""
    encoder, config = collection.encoder, collection.config
    encoded: list[Row] = []
    made: list[Row] = []

    def in_range(row: Row) -> Row:
        for vectors, setting, datatype in (
            (row.tokens, "token_datatype", config.token_datatype),
            (row.fde, "fde_datatype", config.fde_datatype),
        ):
            check_range([row.document.id], [vectors], setting=setting, datatype=datatype)
        return row

    for part, tokens in rejections.isolate(rows, lambda some: encoder.encode_documents([one.text for one in some])):
        require_one_matrix_each(tokens, encoder, len(part), InvalidDocumentError)
        encodings = [None] * len(part) if fde is None else list(fde.encode_documents(tokens))
        for row, matrix, truncated, encoding in zip(part, tokens, tokens.truncated, encodings, strict=True):
            row.tokens, row.truncated, row.fde = matrix, bool(truncated), encoding
        encoded += part
    for part, vectors in rejections.isolate(rejections.keep_good(encoded, in_range), further.documents):
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
