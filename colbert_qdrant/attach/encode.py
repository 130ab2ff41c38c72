"""Encodes the texts of candidates, and omits texts that cannot be encoded."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Final

from colbert_qdrant.collection.rows import Rejections, Row
from colbert_qdrant.documents import Document
from colbert_qdrant.encoders.base import require_one_matrix_each
from colbert_qdrant.errors import InvalidDocumentError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from colbert_qdrant._support.warned import Warned
    from colbert_qdrant.attach.rank import Candidate
    from colbert_qdrant.encoders import LateInteractionEncoder
    from colbert_qdrant.encoders.memory import DocumentCache
    from colbert_qdrant.tokens import TokenEmbeddings

_SHOWN: Final = 3
_SHOWN_TEXT: Final = 20


class CandidateTexts:
    """Encodes the texts of one search's candidates.

    Args:
        candidates: The candidates of each query.
        encoder: Text → token embeddings.
        cache: Caches token embeddings of texts for later searches.
    """

    def __init__(
        self, candidates: Sequence[Sequence[Candidate]], encoder: LateInteractionEncoder, cache: DocumentCache
    ) -> None:
        self._encoder = encoder
        self._cache = cache
        self._documents = {each.text: Document(each.id, each.text) for each in chain.from_iterable(candidates)}
        self._rejections = Rejections("skip", hopeless=None)
        self._bad: list[Row] = []
        self._cut: list[str] = []

    def encode(self, texts: Sequence[str]) -> list[NDArray[np.float32] | None]:
        """Return the token matrix of each text; ``None`` for one that cannot be encoded."""
        return self._cache.encode(texts, encode=self._encode)

    def report(self, warned: Warned, collection: str) -> None:
        """Warn once about texts that were truncated, and once about texts that cannot be encoded.

        Raises:
            InvalidDocumentError: If there are texts, but no text can be encoded.
        """
        bad = self._rejections.found
        if bad and len(bad) == len(self._documents):
            Rejections("raise").isolate(self._bad[:1], self._tokens)
        where, count = f"collection {collection!r}", len(self._documents)
        warned.of_truncated_documents(where, self._cut, among=count)
        if bad:
            reasons = "; ".join(each.reason for each in bad[:_SHOWN]) + ("; …" if len(bad) > _SHOWN else "")
            warned.once(
                "bad texts",
                f"{where}: {len(bad):,} of {count:,} texts of candidates cannot be encoded and are omitted "
                f"({reasons}). This warning appears once.",
            )

    def _encode(self, texts: Sequence[str]) -> list[NDArray[np.float32] | None]:
        made: dict[str, NDArray[np.float32]] = {}
        rows = [Row(document=self._documents[text], payload={}) for text in texts]
        for part, tokens in self._rejections.isolate(rows, self._tokens):
            require_one_matrix_each(tokens, self._encoder, len(part), InvalidDocumentError)
            for row, matrix, truncated in zip(part, tokens, tokens.truncated, strict=True):
                made[row.document.text] = matrix
                if truncated:
                    self._cut.append(f"{row.document.text[:_SHOWN_TEXT]}…")
        self._bad += [row for row in rows if row.document.text not in made]
        return [made.get(text) for text in texts]

    def _tokens(self, documents: Sequence[Document]) -> TokenEmbeddings:
        return self._encoder.encode_documents([each.text for each in documents])
