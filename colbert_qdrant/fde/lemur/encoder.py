"""Defines `LemurEncoder`, the public LEMUR encoder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from types import NoneType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from colbert_qdrant._support.devices import require_device
from colbert_qdrant._support.progress import ProgressReporter
from colbert_qdrant._support.values import plain
from colbert_qdrant.config import LemurConfig
from colbert_qdrant.config.checks import require_instance, require_int
from colbert_qdrant.errors import ConfigurationError, InvalidTokensError
from colbert_qdrant.fde.artefact import Fitted, documents_of, queries_of, settings_of, tensors_of, unreadable_error
from colbert_qdrant.fde.lemur.device import DeviceLemur
from colbert_qdrant.fde.lemur.fit import fit_parameters
from colbert_qdrant.fde.lemur.host import HostLemur
from colbert_qdrant.fde.lemur.parameters import LemurParameters
from colbert_qdrant.tokens import TokenEmbeddings, require_tokens


class LemurEncoder(Fitted):
    """Encodes token matrices so that one inner product predicts MaxSim; needs a fit to token embeddings.

    MaxSim is a sum over query tokens x: the sum of g(x) = max ⟨x, c⟩ over the tokens c of a document. Features ψ (one
    hidden layer) are trained so that every document's function is nearly linear in ψ: g(x) ≈ ⟨ψ(x), w⟩. Then Σψ(x)
    encodes a query, and w encodes a document (LEMUR, arXiv 2601.21853). The vector w solves a least squares problem
    over a fixed sample of n learn tokens. The targets are g minus its mean over documents for each token. The mean is
    the same for all documents, so no ranking changes.

    **Rotated and truncated.** Let Z be the features of the learn tokens, and ZᵀZ/n (+ ridge) = LLᵀ. In the basis L⁻¹ψ,
    features are white, and least squares is one product: W = L⁻¹Zᵀ Y/n for the targets Y of all fitted documents. Let
    U be the left singular vectors of W. Then φ(x) = Uᵀ L⁻¹ψ(x) and UᵀW have the same products, and the first
    coordinates carry most of the energy of the scores. The encoder keeps the first ``dim``, and `cut` keeps fewer.

    **Refined by a document's own tokens.** The learn sample has no tokens near a document's own, where g is largest
    and rankings are decided. So the document's own tokens T (m rows φ(c)) join its problem with weight τ and their
    known targets t. Plain least squares gives w₀ = Φᵀy/n (with ΦᵀΦ/n = 1). Weighted least squares minimizes
    |Φw − y|² + τ |Tw − t|². Its normal equations are (n + τ TᵀT) w = n w₀ + τ Tᵀt, and by Woodbury's identity

        w = w₀ + Tᵀ (T Tᵀ / n + 1/τ)⁻¹ (t − T w₀) / n

    so only an m × m system is solved, and query encodings do not change. By default, m is at most ``own_tokens``, and
    two rules keep long and short documents comparable:

    - A longer document takes part with the tokens of the largest residual t − ⟨φ(c), w₀⟩, in units of an inner
      product. There the plain solution is most wrong, and their terms have the largest gradients 2τ (t − ⟨φ(c), w₀⟩)
      at w₀. Evenly spaced tokens would leave these errors to chance.
    - All documents have the same total weight mτ = ``own_weight * own_tokens``, so τ is larger in short documents. With
      one τ for all, every further token would raise the scores of long documents above those of short ones.

    With ``refinement="spaced"``, tokens are evenly spaced, and each has τ = ``own_weight``.

    **Balanced.** This basis whitens queries, but not documents. An HNSW graph is linked by products of
    documents, and searched by products with queries. The two agree only if both have the same second moments. Let s be
    the root mean square of each coordinate over the fitted documents. Documents are divided by √s, and queries are
    multiplied by √s. Then both have E[x²] = s (documents s²/s, queries 1 · s), and no product changes.

    Make an encoder with `fit`, `load` or `from_bytes`.

    Args:
        config: The settings it was fitted with.
        parameters: The fitted parameters.
        device: The device to encode on: ``None`` for numpy, otherwise a torch device such as ``"cuda"``. Both compute
            in float32 and agree up to rounding.

    Raises:
        ConfigurationError: If torch does not have this device.
    """

    VERSION = 1

    def __init__(self, config: LemurConfig, parameters: LemurParameters, *, device: str | None = None) -> None:
        require_instance("config", config, LemurConfig, "a LemurConfig")
        require_instance("parameters", parameters, LemurParameters, "LemurParameters from LemurEncoder.fit or load")
        self.config: LemurConfig = config
        self.device = None if device is None else require_device(device, remedy="leave device out to encode with numpy")
        self.parameters = parameters
        self.token_dim = int(parameters.learn.shape[1])

    @classmethod
    def fit(
        cls,
        documents: TokenEmbeddings,
        *,
        query_tokens: TokenEmbeddings | None = None,
        config: LemurConfig | None = None,
        device: str = "cpu",
        progress: bool | ProgressReporter = False,
        **settings: Any,
    ) -> Self:
        """Fit an encoder to a sample of a collection.

        Args:
            documents: Token embeddings of documents. A random sample of at most ``fit_documents`` documents is used.
            query_tokens: Token embeddings of real queries or of spans of documents, encoded as *queries*. Half of the
                learn tokens come from them. Without them, all learn tokens come from documents, which lowers recall.
            config: The settings.
            device: The torch device of the fit. On ``"cpu"``, torch only trains the features; with ``epochs=0``,
                nothing is trained and torch is not loaded. Another device computes the whole fit.
            progress: ``True`` for a progress bar if stderr is a terminal, or a reporter.
            settings: Individual settings that override those of ``config``, such as ``dim=1024``.

        Raises:
            InvalidTokensError: If there are no documents, or if queries and documents differ in ``dim``.
        """
        require_tokens("documents", documents)
        if query_tokens is not None:
            require_tokens("query_tokens", query_tokens)
        require_instance("config", config, (LemurConfig, NoneType), "a LemurConfig")
        config = replace(config or LemurConfig(), **settings)
        if config.epochs or device != "cpu":
            require_device(device, remedy="leave device out to fit on the CPU")
        found = fit_parameters(documents, query_tokens=query_tokens, config=config, device=device, progress=progress)
        return cls(config, found).fitted_to(min(len(documents), config.fit_documents))

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read an encoder from the bytes that `to_bytes` returned: 14 MB by default for tokens of 128 dimensions.

        Raises:
            ArtefactError: If the bytes are truncated, altered, or of another version.
        """
        tensors, config = tensors_of(data, version=cls.VERSION), LemurConfig.from_dict(settings_of(data))
        try:
            parameters = LemurParameters.from_tensors(tensors, dim=config.dim)
        except (ValueError, KeyError) as error:
            raise unreadable_error(error) from error
        return cls(config, parameters).fitted_to(documents_of(data), queries=queries_of(data))

    @property
    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """All fitted tensors by name."""
        return self.parameters.tensors

    @property
    def dim(self) -> int:
        """Dimensions of the encoding."""
        return self.config.dim

    def to(self, device: str | None) -> Self:
        """Return the same encoder on another device.

        Raises:
            ConfigurationError: If torch does not have this device.
        """
        copy = type(self)(self.config, self.parameters, device=device)
        return copy.fitted_to(self.fitted_documents, queries=self.fitted_queries)

    def cut(self, dim: int) -> Self:
        """Return the same encoder with only its first ``dim`` dimensions; truncate stored vectors in the same way.

        Raises:
            ConfigurationError: If ``dim`` is less than 1, or greater than the encoder's ``dim``.
        """
        dim = plain(dim)
        require_int("dim", dim, minimum=1)
        if dim > self.dim:
            raise ConfigurationError(
                f"dim={dim} exceeds the {self.dim} dimensions of this encoding: pass {self.dim} or less"
            )
        found = self.parameters
        cut = replace(found, rotation=np.ascontiguousarray(found.rotation[:, :dim]), scale=found.scale[:dim].copy())
        shorter = type(self)(replace(self.config, dim=dim), cut, device=self.device)
        return shorter.fitted_to(self.fitted_documents, queries=self.fitted_queries)

    def encode_queries(self, tokens: TokenEmbeddings) -> NDArray[np.float32]:
        """Encode queries as the rotated, balanced sum of token features: float32, shape ``(len(tokens), dim)``.

        Raises:
            InvalidTokensError: If the token vectors do not have ``token_dim`` dimensions.
        """
        return self._in_tiles(tokens, self._lemur.queries)

    def encode_documents(self, tokens: TokenEmbeddings) -> NDArray[np.float32]:
        """Encode documents by least squares over learn tokens and their own: float32, shape ``(len(tokens), dim)``.

        Raises:
            InvalidTokensError: If the token vectors do not have ``token_dim`` dimensions.
        """
        return self._in_tiles(tokens, self._lemur.documents)

    def _in_tiles(
        self, tokens: TokenEmbeddings, encode: Callable[[TokenEmbeddings], NDArray[np.float32]]
    ) -> NDArray[np.float32]:
        require_tokens("tokens", tokens)
        if tokens.dim != self.token_dim:
            raise InvalidTokensError(
                f"token vectors have {tokens.dim} dimensions, but this encoding takes {self.token_dim}: pass the "
                "tokens of the model that the encoding was fitted to"
            )
        encoded = np.empty((len(tokens), self.dim), np.float32)
        for start, stop in tokens.blocks(self._lemur.TILE_TOKENS):
            encoded[start:stop] = encode(tokens[start:stop])
        return encoded

    @cached_property
    def _lemur(self) -> HostLemur | DeviceLemur:
        if self.device is None:
            return HostLemur(self.parameters, self.config)
        return DeviceLemur(self.parameters, self.config, device=self.device)
