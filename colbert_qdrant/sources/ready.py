"""Makes documents of ready token embeddings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from colbert_qdrant.documents import Document
from colbert_qdrant.errors import ConfigurationError
from colbert_qdrant.shown import listed
from colbert_qdrant.tokens import TokenEmbeddings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from colbert_qdrant.documents import DocumentId


def ready_documents(
    ids: Iterable[DocumentId],
    tokens: TokenEmbeddings | Iterable[Any],
    payloads: Iterable[Mapping[str, Any]] | None,
    texts: Iterable[str] | None,
) -> list[Document]:
    """Return one document per id, with its token embeddings, which are not copied.

    Raises:
        ConfigurationError: If an argument is not a list, or the arguments differ in length.
    """
    if isinstance(tokens, TokenEmbeddings):
        tokens = [tokens[number : number + 1] for number in range(len(tokens))]
    columns = {"ids": _as_list("ids", ids), "tokens": _as_list("tokens", tokens)}
    for name, values in (("payloads", payloads), ("texts", texts)):
        if values is not None:
            columns[name] = _as_list(name, values)
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"{name} has {length:,}" for name, length in lengths.items())
        raise ConfigurationError(f"the arguments differ in length ({found}): pass one item per document in each")
    count = len(columns["ids"])
    defaults = {"texts": [""] * count, "payloads": [{}] * count}
    rows = zip(*({**defaults, **columns}[name] for name in ("ids", "texts", "payloads", "tokens")), strict=True)
    return [Document(id, text, payload, tokens=matrix) for id, text, payload, matrix in rows]


def _as_list(name: str, values: object) -> list[Any]:
    found = listed(values)
    if found is None:
        raise ConfigurationError(f"{name} must be a list of one item per document, got {type(values).__name__}")
    return found
