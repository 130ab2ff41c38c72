"""Encodes the queries of a data set once for all modes, and keeps their token vectors on disk."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from colbert_qdrant._support.progress import ProgressReporter, reporting
from colbert_qdrant.encoders.queries import query_tokens
from colbert_qdrant.tokens import TokenEmbeddings

if TYPE_CHECKING:
    from colbert_qdrant.encoders import LateInteractionEncoder
    from colbert_qdrant.evaluation.state import Workspace

PART: Final = 64
"""The number of queries that are encoded, and then written, together."""


class EncodedQueries:
    """An encoder of queries that were encoded before: its users send texts, and no model runs.

    Args:
        encoder: The encoder that encoded them.
        texts: The queries.
        tokens: Their token embeddings.
    """

    def __init__(self, encoder: LateInteractionEncoder, texts: Sequence[str], tokens: TokenEmbeddings) -> None:
        self._encoder = encoder
        self._numbers = {text: number for number, text in enumerate(texts)}
        self._tokens = tokens

    @property
    def dim(self) -> int:
        """Dimensions of a token vector."""
        return self._encoder.dim

    def encode_queries(self, texts: Sequence[str]) -> TokenEmbeddings:
        """Look up queries."""
        numbers = [self._numbers[text] for text in texts]
        return TokenEmbeddings.concatenate([self._tokens[number : number + 1] for number in numbers])

    def encode_documents(self, texts: Sequence[str]) -> TokenEmbeddings:
        """Encode documents, as the encoder does."""
        return self._encoder.encode_documents(texts)

    def fingerprint(self) -> Mapping[str, Any]:
        """Return the encoder's fingerprint."""
        return self._encoder.fingerprint()


def encode_queries(
    queries: Iterable[str],
    encoder: LateInteractionEncoder,
    workspace: Workspace,
    *,
    dataset: str,
    progress: bool | ProgressReporter,
) -> EncodedQueries:
    """Encode the queries that the workspace does not have yet, and return all."""
    texts = sorted({*queries})  # the same numbers for the same queries in any order
    parts = list(workspace.query_parts(encoder.dim))
    start = sum(len(part) for part in parts)
    if start < len(texts):
        with reporting(progress, label=f"{dataset}, encoding", total=len(texts) - start, unit="queries") as report:
            while start < len(texts):
                part = query_tokens(texts[start : start + PART], encoder=encoder, collection=dataset)
                workspace.add_queries(start, part)
                parts.append(part)
                start += len(part)
                report.advance(len(part))
    return EncodedQueries(encoder, texts, TokenEmbeddings.concatenate(parts))
