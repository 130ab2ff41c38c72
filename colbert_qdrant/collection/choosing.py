"""Chooses the encoding of a new collection with ``fde="auto"``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from colbert_qdrant.collection.lifecycle import require_new
from colbert_qdrant.documents import Document
from colbert_qdrant.encoders.base import require_one_matrix_each
from colbert_qdrant.errors import ConfigurationError, InvalidDocumentError
from colbert_qdrant.fde.spans import query_spans
from colbert_qdrant.inspection.choice import CHOICE_DOCUMENTS, CHOICE_QUERIES, FdeChoice, choose_fde
from colbert_qdrant.shown import shown
from colbert_qdrant.tokens import TokenEmbeddings, one_text

if TYPE_CHECKING:
    from colbert_qdrant.config import CollectionConfig
    from colbert_qdrant.encoders import LateInteractionEncoder
    from colbert_qdrant.engines import Engine

Sample: TypeAlias = TokenEmbeddings | Sequence[str | Document]
"""Documents to choose an encoding by: token embeddings, texts, or documents."""

_SEED = 42


async def chosen(
    name: str, config: CollectionConfig, sample: Sample | None, *, encoder: LateInteractionEncoder, engine: Engine
) -> tuple[CollectionConfig, FdeChoice | None]:
    """Return the settings with the encoding that suits a sample, and why; settings with an encoding stay the same.

    Raises:
        CollectionExistsError: If the collection already exists; no document is encoded then.
        ConfigurationError: If ``fde`` is ``"auto"`` and the sample is missing, or the other way round.
    """
    if not config.is_auto:
        if sample is not None:
            raise ConfigurationError(
                "sample is measured for CollectionConfig(fde='auto') only: leave it out, or set fde='auto'"
            )
        return config, None
    if sample is None or not len(sample):
        raise ConfigurationError(
            "fde='auto' chooses the encoding before the collection is created, because its vectors have a fixed size: "
            "pass some of your documents as sample=…, or fde=choose_fde(tokens).config"
        )
    await require_new(name, engine=engine)
    choice = await engine.runtime.compute(_choose, sample, encoder)
    return replace(config, fde=choice.config), choice


def check_sample(sample: object) -> None:
    """Raise `ConfigurationError` unless a sample is one, or missing."""
    wanted = "sample must be a list of documents or texts, or TokenEmbeddings"
    if isinstance(sample, str) or not isinstance(sample, TokenEmbeddings | Sequence | None):
        raise ConfigurationError(f"{wanted}, got {type(sample).__name__} {shown(sample)}")
    for each in () if sample is None or isinstance(sample, TokenEmbeddings) else sample:
        if not isinstance(each, str | Document):
            raise ConfigurationError(f"{wanted}, got an item {shown(each)}")


def _choose(sample: Sample, encoder: LateInteractionEncoder) -> FdeChoice:
    if isinstance(sample, TokenEmbeddings):
        return choose_fde(sample)
    numbers = np.random.RandomState(_SEED).permutation(len(sample))[:CHOICE_DOCUMENTS]
    documents = [_document(sample[int(number)]) for number in numbers]
    texts = [each.text for each in documents if each.tokens is None]
    batches = [one_text(each.tokens, dim=encoder.dim) for each in documents if each.tokens is not None]
    if texts:
        encoded = encoder.encode_documents(texts)
        require_one_matrix_each(encoded, encoder, len(texts), InvalidDocumentError)
        batches.append(encoded)
    spans = query_spans(texts, seed=_SEED)[:CHOICE_QUERIES]
    return choose_fde(TokenEmbeddings.concatenate(batches), queries=encoder.encode_queries(spans) if spans else None)


def _document(each: str | Document) -> Document:
    return Document("", each) if isinstance(each, str) else each
