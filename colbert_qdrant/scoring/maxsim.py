"""Computes exact MaxSim, the reference for all other scores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from colbert_qdrant._support.devices import require_device
from colbert_qdrant.errors import InvalidTokensError
from colbert_qdrant.shown import holds, shown
from colbert_qdrant.tokens import TokenEmbeddings, require_tokens

_BLOCK_TOKENS: Final = 16_384
"""Document tokens scored in one matmul: bounds the similarity matrix, so that it is likely to fit the cache."""

_QUERY_TOKENS: Final = 256
"""Query tokens scored in one matmul. If a single query has more, fewer document tokens are scored at a time."""


def maxsim(queries: TokenEmbeddings, documents: TokenEmbeddings, *, device: str | None = None) -> NDArray[np.float32]:
    """Score every query against every document.

    MaxSim(q, d) is the sum over the tokens of q of the largest inner product with a token of d (ColBERT,
    arXiv 2004.12832, equation 3). As in Qdrant, it is not divided by the number of query tokens. No padding is
    involved, so a negative best match counts with its value. Memory beyond the result is bounded for any number of
    queries and documents: about 16 MB plus a block of documents.

    Args:
        queries: Token embeddings of the queries.
        documents: Token embeddings of the documents, with the same ``dim``.
        device: The device to compute on. ``None`` and ``"cpu"`` use NumPy; any other value is a torch device such as
            ``"cuda"`` or ``"mps"``, to which tokens are copied block by block. Both compute in float32 and agree up to
            rounding.

    Returns:
        Scores as float32, shape ``(len(queries), len(documents))``.

    Raises:
        InvalidTokensError: If queries and documents differ in ``dim``.
        ConfigurationError: If torch has no such device.

    Example:
        >>> from colbert_qdrant import TokenEmbeddings
        >>> documents = TokenEmbeddings([[1, 0], [0, 1], [0.5, 0.5]], [2, 1])
        >>> maxsim(TokenEmbeddings([[1, 0], [0, 2]], [2]), documents).tolist()
        [[3.0, 1.5]]
    """
    require_tokens("queries", queries)
    require_tokens("documents", documents)
    if queries.dim != documents.dim:
        raise InvalidTokensError(
            f"queries have {queries.dim} dimensions and documents {documents.dim}: encode both with the same model"
        )
    name = str(device) if holds(lambda: (str(device), True)) else shown(device)
    if device is None or name == "cpu":
        return _score_in_blocks(queries, documents, _numpy_matcher)
    target = require_device(name, remedy="omit device to score on the CPU")
    return _score_in_blocks(queries, documents, lambda block: _torch_matcher(block, target))


def _score_in_blocks(
    queries: TokenEmbeddings,
    documents: TokenEmbeddings,
    matcher: Callable[[TokenEmbeddings], Callable[[NDArray[np.float32]], NDArray[np.float32]]],
) -> NDArray[np.float32]:
    """Compute MaxSim block by block.

    ``matcher`` takes a block of documents, and returns a function from query tokens ``(n, dim)`` to their best matches
    in each document ``(n, n_documents)``. So every document is copied to the device only once.
    """
    scores = np.empty((len(queries), len(documents)), np.float32)
    if not len(queries):
        return scores
    runs = list(queries.blocks(_QUERY_TOKENS))
    longest = max(_QUERY_TOKENS, int(queries.lengths.max()))
    for start, stop in documents.blocks(max(1, _BLOCK_TOKENS * _QUERY_TOKENS // longest)):
        best_matches = matcher(documents[start:stop])
        for first, last in runs:
            block = queries[first:last]
            scores[first:last, start:stop] = np.add.reduceat(best_matches(block.values), block.offsets[:-1], axis=0)
    return scores


def _numpy_matcher(documents: TokenEmbeddings) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    def best_matches(tokens: NDArray[np.float32]) -> NDArray[np.float32]:
        best: NDArray[np.float32] = np.maximum.reduceat(tokens @ documents.values.T, documents.offsets[:-1], axis=1)
        return best

    return best_matches


def _torch_matcher(documents: TokenEmbeddings, device: str) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    import torch  # noqa: PLC0415

    values = torch.tensor(documents.values, device=device)
    owner = torch.tensor(np.repeat(np.arange(len(documents)), documents.lengths), device=device)

    def best_matches(tokens: NDArray[np.float32]) -> NDArray[np.float32]:
        # document tokens are the rows, so that neighboring threads do not compete for one maximum
        similarities = values @ torch.tensor(tokens, device=device).T
        best = torch.full((len(documents), len(tokens)), -torch.inf, device=device)
        best.scatter_reduce_(0, owner[:, None].expand_as(similarities), similarities, "amax")
        matches: NDArray[np.float32] = best.T.cpu().numpy()
        return matches

    return best_matches
