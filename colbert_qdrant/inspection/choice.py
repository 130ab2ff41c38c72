"""Chooses an encoding by measuring how much of exact MaxSim each one finds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from colbert_qdrant._support.values import plain
from colbert_qdrant.config import FdeConfig, LemurConfig, MuveraConfig
from colbert_qdrant.config.checks import require_instance, require_int
from colbert_qdrant.config.fde import AsStored, fde_from_dict
from colbert_qdrant.errors import ConfigurationError, InvalidTokensError
from colbert_qdrant.fde import FixedDimensionalEncoder, LemurEncoder, MuveraEncoder
from colbert_qdrant.fde.sample import sample_documents
from colbert_qdrant.fde.spans import token_spans
from colbert_qdrant.inspection.fitness import align, anisotropy
from colbert_qdrant.scoring.maxsim import maxsim
from colbert_qdrant.shown import counted
from colbert_qdrant.tokens import TokenEmbeddings, require_tokens

CHOICE_DOCUMENTS: Final = 500
"""The number of documents that are measured."""
CHOICE_QUERIES: Final = 200
"""The number of queries that are measured."""
MIN_DOCUMENTS: Final = 100
"""The number of documents below which nothing is measured, since a fit to them would not suit the documents to come."""
MARGIN: Final = 0.02
"""The share of exact MaxSim's best documents that an encoding must find beyond the preferred one to be chosen."""

_BEST: Final = 10
_DEPTH: Final = 20
"""The measured candidates: one in this number of documents, but at least this number."""
_MEASURED_LEMUR: Final = LemurConfig(hidden=1_024, epochs=0, learn_tokens=4_096)
"""A quarter of the learn tokens and no training, which takes seconds instead of minutes and finds less."""


@dataclass(frozen=True, kw_only=True)
class FdeChoice:
    """The encoding that `choose_fde` chose, and why.

    Attributes:
        config: The settings of the encoding: ``MuveraConfig()``, ``MuveraConfig(center=True)`` or ``LemurConfig()``.
        reason: The reason, in plain sentences.
        measurements: All measured values by name. ``"documents"`` is the number of documents, and ``"tokens"`` their
            mean number of tokens. ``"norm"`` is the mean length of a token vector, and ``"norm_spread"`` the standard
            deviation relative to it. ``"anisotropy"`` is the mean cosine of tokens of different documents.
            ``"score_spread"`` is the standard deviation of MaxSim over documents, relative to its mean. ``"muvera"``,
            ``"centered"`` and ``"lemur"`` are the shares of exact MaxSim's best documents that each encoding finds.
            Shares that were not measured are missing.
    """

    config: Annotated[FdeConfig, AsStored()]
    reason: str
    measurements: Mapping[str, float]

    def __str__(self) -> str:
        lines = [(name.replace("_", " "), f"{value:,.3g}") for name, value in self.measurements.items()]
        return "\n".join([f"{self.config!r}", self.reason, align(lines)])

    def to_dict(self) -> dict[str, Any]:
        """Return the choice as JSON values."""
        return {"config": self.config.to_dict(), "reason": self.reason, "measurements": dict(self.measurements)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Make a choice from the dict that `to_dict` returned.

        Raises:
            ConfigurationError: If a part is missing or unknown.
        """
        require_instance("data", data, Mapping, "a dict from to_dict()")
        try:
            return cls(
                config=fde_from_dict(data["config"]), reason=data["reason"], measurements=dict(data["measurements"])
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigurationError(f"the choice cannot be read ({error!r}): pass a dict from to_dict()") from error


def choose_fde(tokens: TokenEmbeddings, *, queries: TokenEmbeddings | None = None, seed: int = 42) -> FdeChoice:
    """Choose MUVERA, centered MUVERA or LEMUR by measuring them on documents.

    The measure is the share of exact MaxSim's ten best documents among the first 5 %, at least 20. LEMUR is chosen
    unless one of the others finds over .02 more, because its vectors are the smallest by far. It is measured without
    training, so it finds more in the end. Centered MUVERA is chosen if it finds over .02 more than MUVERA. Fewer than
    100 documents are too few for a fit, and MUVERA is chosen. The measurement takes a few seconds.

    Args:
        tokens: Token embeddings of documents; of more than 500, a random sample is measured.
        queries: Token embeddings of queries; at most 200 are used. Without queries, spans of half of the
            documents take their place; LEMUR then learns from spans of the other half.
        seed: Seed of the samples.

    Raises:
        InvalidTokensError: If there are no documents, or queries and documents differ in ``dim``.

    Example:
        >>> import numpy as np
        >>> tokens = TokenEmbeddings(np.random.default_rng(7).normal(size=(60, 8)), [10] * 6)
        >>> print(choose_fde(tokens).reason)
        MUVERA: 6 documents are too few to fit an encoding to, and MUVERA needs no fit.
    """
    require_tokens("tokens", tokens)
    seed = plain(seed)
    require_int("seed", seed, minimum=0, maximum=2**32 - 1)
    if queries is not None:
        require_tokens("queries", queries)
        if queries.dim != tokens.dim:
            raise InvalidTokensError(
                f"queries have {queries.dim} dimensions and documents {tokens.dim}: pass token embeddings of one model"
            )
    documents = sample_documents(tokens, CHOICE_DOCUMENTS, np.random.RandomState(seed))
    half = len(documents) // 2
    if not queries:
        queries = token_spans(documents[half:], seed=seed)
    queries = queries[:CHOICE_QUERIES]
    exact = maxsim(queries, documents)
    measured = _of_tokens(documents, exact, seed=seed)
    if len(documents) < MIN_DOCUMENTS:
        count = counted(len(documents), "document")
        reason = f"MUVERA: {count} are too few to fit an encoding to, and MUVERA needs no fit."
        return FdeChoice(config=MuveraConfig(), reason=reason, measurements=measured)
    spans = token_spans(documents[:half], seed=seed)
    lemur = replace(_MEASURED_LEMUR, seed=seed)
    encoders: dict[str, tuple[FdeConfig, FixedDimensionalEncoder]] = {
        "muvera": (MuveraConfig(), MuveraEncoder(token_dim=documents.dim)),
        "centered": (MuveraConfig(center=True), MuveraEncoder.fit(documents, center=True)),
        "lemur": (LemurConfig(), LemurEncoder.fit(documents, query_tokens=spans, config=lemur)),
    }
    shares = {name: _recall(encoder, documents, queries, exact) for name, (_, encoder) in encoders.items()}
    chosen = _preferred(shares)
    return FdeChoice(
        config=encoders[chosen][0], reason=_reason(chosen, shares, len(documents)), measurements={**measured, **shares}
    )


def _of_tokens(documents: TokenEmbeddings, exact: NDArray[np.float32], *, seed: int) -> dict[str, float]:
    norms, scores = np.linalg.norm(documents.values, axis=1), exact.astype(np.float64)
    return {
        "documents": len(documents),
        "tokens": float(documents.lengths.mean()),
        "norm": float(norms.mean(dtype=np.float64)),
        "norm_spread": _ratio(norms.std(dtype=np.float64), norms.mean(dtype=np.float64)),
        "anisotropy": anisotropy(documents, seed=seed),
        "score_spread": _ratio(scores.std(axis=1).mean(), np.abs(scores.mean(axis=1)).mean()),
    }


def _ratio(part: Any, whole: Any) -> float:
    return float(part / whole) if whole else 0.0


def _recall(
    encoder: FixedDimensionalEncoder, documents: TokenEmbeddings, queries: TokenEmbeddings, exact: NDArray[np.float32]
) -> float:
    """Return the share of exact MaxSim's best documents among the first by the encoding."""
    scores = encoder.encode_queries(queries) @ encoder.encode_documents(documents).T
    best = np.argsort(-exact, axis=1, kind="stable")[:, :_BEST]
    found = np.argsort(-scores, axis=1, kind="stable")[:, : _depth(len(documents))]
    return float(np.mean([np.isin(*pair).mean() for pair in zip(best, found, strict=True)]))


def _preferred(shares: Mapping[str, float]) -> str:
    if shares["lemur"] >= max(shares.values()) - MARGIN:
        return "lemur"
    return "centered" if shares["centered"] > shares["muvera"] + MARGIN else "muvera"


def _depth(documents: int) -> int:
    return max(_DEPTH, documents // _DEPTH)


def _reason(chosen: str, shares: Mapping[str, float], documents: int) -> str:
    names = {"muvera": "MUVERA", "centered": "MUVERA on centered tokens", "lemur": "LEMUR"}
    found = ", ".join(f"{names[name]} {share:.0%}" for name, share in shares.items())
    why = {
        "muvera": "it finds clearly more than LEMUR, and centering does not help",
        "centered": "it finds clearly more than MUVERA and LEMUR",
        "lemur": "no other finds clearly more, and its vectors are the smallest",
    }[chosen]
    return (
        f"{names[chosen]}: {why}. Of exact MaxSim's ten best of {documents} documents, the first {_depth(documents)} "
        f"candidates have: {found}."
    )
