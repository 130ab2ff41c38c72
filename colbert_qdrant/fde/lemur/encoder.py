"""Encodes by LEMUR with `LemurEncoder`, the encoder that users see."""

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
from colbert_qdrant.fde.artefact import Fitted, documents_of, settings_of, tensors_of, unreadable_error
from colbert_qdrant.fde.lemur.device import DeviceLemur
from colbert_qdrant.fde.lemur.fit import fit_parameters
from colbert_qdrant.fde.lemur.host import HostLemur
from colbert_qdrant.fde.lemur.parameters import LemurParameters
from colbert_qdrant.tokens import TokenEmbeddings, require_tokens


class LemurEncoder(Fitted):
    r"""Encodes token matrices so that one inner product predicts MaxSim; fitted to token embeddings of a collection.

    MaxSim is a sum over query tokens, :math:`\sum_x g_C(x)` with :math:`g_C(x) = \max_{c \in C} \langle x, c \rangle`.
    Features ψ (one hidden layer) are learned so that every document's function is nearly linear in them,
    :math:`g_C(x) \approx \langle ψ(x), w_C \rangle`. Then Σψ(x) encodes a query, and w_C, the solution of a least
    squares problem over a fixed sample of n learn tokens, a document (LEMUR, arXiv 2601.21853). Targets are g minus its
    mean over documents, token by token: the same for all documents, so no ranking changes.

    **Rotated and cut.** Z = features of the learn tokens, ZᵀZ/n (+ ridge) = LLᵀ. In the basis L⁻¹ψ features are white,
    and the least squares are one product: W = L⁻¹Zᵀ Y/n for the targets Y of all fitted documents. With U the left
    singular vectors of W, φ(x) = Uᵀ L⁻¹ψ(x) and UᵀW have the same products, and the first coordinates carry most of
    the energy of the scores: the first ``dim`` are kept, and fewer may be.

    **Refined by own tokens.** The learn sample has no tokens near a document's own, where g is largest and rankings are
    decided. The document's own tokens T (m rows φ(c)) join its problem with weight τ and their known targets y*. From
    the plain w₀ = Φᵀy/n (with ΦᵀΦ/n = 1) the weighted least squares, min |Φw − y|² + τ |Tw − y*|², gives the normal
    equations (n + τ TᵀT) w = n w₀ + τ Tᵀy*, and by Woodbury's identity

    .. math:: w = w_0 + T^T (T T^T / n + 1/τ)^{-1} (y^* - T w_0) / n

    so m × m numbers are solved for, and nothing changes for queries.

    **Balanced.** Queries are white in this basis, documents are not. A graph is linked by products of documents, and
    finds by products with queries; the two agree only if both have the same second moments. Documents are divided by
    √s and queries multiplied by √s, with s the root mean square of each coordinate over the fitted documents: both
    then have E[x²] = s (documents s²/s, queries 1 · s), and no product changes.

    An encoder is made with `fit`, `load` or `from_bytes`.

    Args:
        config: The settings it was fitted with.
        parameters: The numbers that the fit found.
        device: The device to encode on: ``None`` is numpy, anything else a torch device such as ``"cuda"``. Both are
            float32 and agree up to rounding.

    Raises:
        ConfigurationError: Torch has no such device.
    """

    VERSION = 1

    def __init__(self, config: LemurConfig, parameters: LemurParameters, *, device: str | None = None) -> None:
        require_instance("config", config, LemurConfig, "a LemurConfig")
        require_instance("parameters", parameters, LemurParameters, "what a fit found: use LemurEncoder.fit or load")
        self.config: LemurConfig = config
        self.device = None if device is None else require_device(device, remedy="leave it out to encode with numpy")
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
            documents: Token embeddings of documents; at most ``fit_documents`` of them are used, chosen at random.
            query_tokens: Token embeddings of queries, real ones or spans of documents, made by the encoder's *query*
                side: half of the learn tokens are taken from them. Without them all are the documents' own, which
                finds less.
            config: The settings.
            device: The device on which torch trains the features; nothing is trained, and torch not loaded, with
                ``epochs=0``.
            progress: ``True`` for a live bar where stderr is a terminal, or a reporter.
            settings: Single settings in the place of those of ``config``, such as ``dim=1024``.

        Raises:
            InvalidTokensError: There are no documents, or queries and documents differ in ``dim``.
        """
        require_tokens("documents", documents)
        if query_tokens is not None:
            require_tokens("query_tokens", query_tokens)
        require_instance("config", config, (LemurConfig, NoneType), "a LemurConfig")
        config = replace(config or LemurConfig(), **settings)
        if config.epochs:
            require_device(device, remedy="leave it out to train on the CPU")
        found = fit_parameters(documents, query_tokens=query_tokens, config=config, device=device, progress=progress)
        return cls(config, found).fitted_to(min(len(documents), config.fit_documents))

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read an encoder from what `to_bytes` returned: 14 MB by default for tokens of 128 dimensions.

        Raises:
            ArtefactError: The bytes are cut off, altered, or of another version.
        """
        tensors, config = tensors_of(data, version=cls.VERSION), LemurConfig.from_dict(settings_of(data))
        try:
            parameters = LemurParameters.from_tensors(tensors, dim=config.dim)
        except (ValueError, KeyError) as error:
            raise unreadable_error(error) from error
        return cls(config, parameters).fitted_to(documents_of(data))

    @property
    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """All numbers that were fitted."""
        return self.parameters.tensors

    @property
    def dim(self) -> int:
        """Dimensions of the encoding."""
        return self.config.dim

    def to(self, device: str | None) -> Self:
        """Return the same encoder on another device.

        Raises:
            ConfigurationError: Torch has no such device.
        """
        return type(self)(self.config, self.parameters, device=device).fitted_to(self.fitted_documents)

    def cut(self, dim: int) -> Self:
        """Return the same encoder with only its first dimensions; stored vectors may be cut alike.

        Raises:
            ConfigurationError: ``dim`` is less than 1, or more than there are.
        """
        dim = plain(dim)
        require_int("dim", dim, minimum=1)
        if dim > self.dim:
            raise ConfigurationError(f"dim={dim}: this encoding can be cut to between 1 and {self.dim} dimensions")
        found = self.parameters
        cut = replace(found, rotation=np.ascontiguousarray(found.rotation[:, :dim]), scale=found.scale[:dim].copy())
        shorter = type(self)(replace(self.config, dim=dim), cut, device=self.device)
        return shorter.fitted_to(self.fitted_documents)

    def encode_queries(self, tokens: TokenEmbeddings) -> NDArray[np.float32]:
        """Encode queries, their tokens' features added, rotated and balanced: float32, shape ``(len(tokens), dim)``.

        Raises:
            InvalidTokensError: The token vectors do not have ``token_dim`` dimensions.
        """
        return self._in_tiles(tokens, self._lemur.queries)

    def encode_documents(self, tokens: TokenEmbeddings) -> NDArray[np.float32]:
        """Encode documents, least squares over the learn tokens and their own: float32, shape ``(len(tokens), dim)``.

        Raises:
            InvalidTokensError: The token vectors do not have ``token_dim`` dimensions.
        """
        return self._in_tiles(tokens, self._lemur.documents)

    def _in_tiles(
        self, tokens: TokenEmbeddings, encode: Callable[[TokenEmbeddings], NDArray[np.float32]]
    ) -> NDArray[np.float32]:
        require_tokens("tokens", tokens)
        if tokens.dim != self.token_dim:
            raise InvalidTokensError(
                f"token vectors have {tokens.dim} dimensions, but this encoding was fitted to {self.token_dim}"
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
