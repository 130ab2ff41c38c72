"""Defines `MuveraEncoder`, the public MUVERA encoder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from types import NoneType
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from colbert_qdrant._support.devices import require_device
from colbert_qdrant._support.progress import ProgressReporter
from colbert_qdrant._support.values import plain
from colbert_qdrant._support.workers import Workers
from colbert_qdrant.config import MuveraConfig
from colbert_qdrant.config.checks import require_instance, require_int
from colbert_qdrant.config.fde import MAX_DENSE_DIM
from colbert_qdrant.errors import ConfigurationError, InvalidTokensError
from colbert_qdrant.fde.artefact import Fitted, documents_of, settings_of, tensors_of, unreadable_error
from colbert_qdrant.fde.muvera.device import DeviceCells
from colbert_qdrant.fde.muvera.draws import CountSketch, Draws
from colbert_qdrant.fde.muvera.fastembed import FastembedCells
from colbert_qdrant.fde.muvera.fit import FittedPartition
from colbert_qdrant.fde.muvera.host import HostCells
from colbert_qdrant.fde.muvera.small_products import SMALL_TOKENS
from colbert_qdrant.shown import holds, shown
from colbert_qdrant.tokens import TokenEmbeddings, require_tokens

_TILE_NUMBERS: Final = 1 << 22
"""Values in the raw encodings of one tile, which bounds the working memory when texts are short."""

_WORKERS: Final = Workers(16, exclusive=True)
"""Each tile is computed on one core."""


class MuveraEncoder(Fitted):
    """Encodes token matrices so that one inner product estimates MaxSim.

    Each repetition cuts the token space into ``2**k_sim`` cells with ``k_sim`` random hyperplanes (SimHash). The signs
    of a token's products with the normals are the bits of its cell. A random ±1 matrix, divided by √``dim_proj``,
    projects each token to ``dim_proj`` dimensions and preserves inner products in expectation. A query's cell holds
    the *sum* of its projected tokens, and a document's cell holds their *mean*, so that

        ⟨F(q), F(d)⟩ ≈ Σ ⟨x, mean of d's tokens near x⟩ over the tokens x of q

    This sum replaces the maximum of MaxSim. It ranks like MaxSim, but is smaller, because a mean is at most the
    maximum. The repetitions are concatenated, each scaled by 1/√``r_reps`` on both sides, so the product is their
    average.

    A document's empty cell is zero. With ``fill_empty=True`` it is filled from the tokens whose cells differ from it in
    the fewest bits. The paper picks any one of those tokens. This class takes their mean, the expected value of that
    choice, so that an encoding does not depend on the order of the tokens.

    The optional final projection is a count sketch. It adds each coordinate i, with a random sign, to a random
    coordinate h(i) of a shorter vector:

        F'(x)ⱼ = Σ sᵢ F(x)ᵢ over all i with h(i) = j, where sᵢ = ±1

    Queries and documents share the signs and targets, which preserves inner products in expectation. The paper (arXiv
    2405.19504) has final projections, and its authors' implementation uses a count sketch, too.

    Two parts can be fitted to a collection, once. Make a fitted encoder with `fit`, `load` or `from_bytes`.

    **Centered** (``center=True``). The tokens of some models share one direction, so most lie on the same side of a
    hyperplane. The error of a projection grows with the norms of the vectors, and most of it then comes from the
    shared part. So the mean m of the collection's tokens is subtracted from all tokens, including those of queries. In

        ⟨x − m, y − m⟩ = ⟨x, y⟩ − ⟨m, y⟩ − ⟨x, m⟩ + ⟨m, m⟩

    the last two terms are the same for every document, and ⟨m, y⟩ is nearly the same if all tokens share a direction.
    An empty cell is zero. With centering, it counts as the mean token instead of a token worse than all others.

    **k-means** (``partition="kmeans"``). The cells surround ``2**k_sim`` centroids of the collection's tokens, and each
    repetition starts from different centroids. The cells are about equally full, unlike SimHash's.

    Args:
        config: The parameters.
        token_dim: Dimensions of the token vectors.
        device: The device to compute on: ``None`` for the CPU with numpy, otherwise a torch device such as ``"cuda"``
            or ``"mps"``. All agree up to rounding.
        fitted: The fitted parameters, if the settings need a fit.

    Raises:
        ConfigurationError: If torch does not have the device, or ``variant`` does not support it or ``token_dim``.
            Also if the settings need a fit, but ``fitted`` is missing.

    Example:
        >>> import numpy as np
        >>> from colbert_qdrant import MuveraConfig, TokenEmbeddings
        >>> encoder = MuveraEncoder(MuveraConfig(k_sim=2, dim_proj=4, r_reps=3), token_dim=8)
        >>> encoder.encode_documents(TokenEmbeddings(np.eye(8), [5, 3])).shape
        (2, 48)
    """

    VERSION = 1

    def __init__(
        self,
        config: MuveraConfig | None = None,
        *,
        token_dim: int,
        device: str | None = None,
        fitted: FittedPartition | None = None,
    ) -> None:
        require_instance("config", config, (MuveraConfig, NoneType), "a MuveraConfig")
        token_dim = plain(token_dim)
        require_int("token_dim", token_dim, minimum=1, maximum=MAX_DENSE_DIM)
        require_instance(
            "fitted", fitted, (FittedPartition, NoneType), "FittedPartition from MuveraEncoder.fit or load"
        )
        self.config: MuveraConfig = config or MuveraConfig()
        self.token_dim = token_dim
        self._fitted = fitted
        if self.config.needs_fit and fitted is None:
            raise ConfigurationError(
                "center=True and partition='kmeans' need a fit to token embeddings: use "
                "MuveraEncoder.fit(documents, config=config), or a collection, which fits its encoder automatically"
            )
        self._cells: HostCells | DeviceCells | FastembedCells
        self._sketch: CountSketch | None = None
        if self.config.variant == "fastembed":
            if device is not None:
                raise ConfigurationError(
                    f"device={shown(device)} is not available for variant='fastembed', which is computed in double "
                    "precision on the CPU: leave device out"
                )
            self._cells = FastembedCells(self.config, token_dim)
            return
        draws = Draws.of(self.config, token_dim, fitted)
        self._sketch = draws.sketch
        if device is None:
            self._cells = HostCells(draws, fill_empty=bool(self.config.fill_empty))
        else:
            name = str(device) if holds(lambda: (str(device), True)) else shown(device)
            checked = require_device(name, remedy="leave device out to encode on the CPU")
            self._cells = DeviceCells(draws, fill_empty=bool(self.config.fill_empty), device=checked)

    @classmethod
    def fit(
        cls,
        documents: TokenEmbeddings,
        *,
        config: MuveraConfig | None = None,
        progress: bool | ProgressReporter = False,
        **settings: Any,
    ) -> Self:
        """Fit the mean of the tokens, the centroids, or both, as the settings require, to a sample of a collection.

        Args:
            documents: Token embeddings of documents. A random sample of at most ``fit_documents`` documents is used.
            config: The settings.
            progress: ``True`` for a progress bar if stderr is a terminal, or a reporter.
            settings: Individual settings that override those of ``config``, such as ``center=True``.

        Raises:
            InvalidTokensError: If there are no documents.
        """
        require_tokens("documents", documents)
        require_instance("config", config, (MuveraConfig, NoneType), "a MuveraConfig")
        config = replace(config or MuveraConfig(), **settings)
        fitted = FittedPartition.fit(documents, config, progress=progress) if config.needs_fit else None
        encoder = cls(config, token_dim=documents.dim, fitted=fitted)
        return encoder.fitted_to(None if fitted is None else min(len(documents), config.fit_documents))

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read an encoder from the bytes that `to_bytes` returned.

        Raises:
            ArtefactError: If the bytes are truncated, altered, or of another version.
        """
        tensors, config = tensors_of(data, version=cls.VERSION), MuveraConfig.from_dict(settings_of(data))
        try:
            fitted = FittedPartition.from_tensors(tensors, config)
        except ValueError as error:
            raise unreadable_error(error) from error
        return cls(config, token_dim=fitted.token_dim, fitted=fitted).fitted_to(documents_of(data))

    @property
    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """All fitted tensors by name.

        Raises:
            ConfigurationError: If nothing was fitted; ``config`` alone then defines the encoder.
        """
        if self._fitted is None:
            raise ConfigurationError("nothing was fitted, so there is no artifact: save config.to_dict() instead")
        return self._fitted.tensors

    @property
    def dim(self) -> int:
        """Dimensions of the encoding: ``r_reps * 2**k_sim * dim_proj``, or ``final_projection``."""
        return self.config.dim

    def to(self, device: str | None) -> Self:
        """Return the same encoder on another device.

        Raises:
            ConfigurationError: If torch does not have this device.
        """
        copy = type(self)(self.config, token_dim=self.token_dim, device=device, fitted=self._fitted)
        return copy.fitted_to(self.fitted_documents)

    def encode_documents(self, tokens: TokenEmbeddings) -> NDArray[np.float32]:
        """Encode documents as the mean of each cell: float32, shape ``(len(tokens), dim)``.

        Raises:
            InvalidTokensError: If the token vectors do not have ``token_dim`` dimensions.
        """
        return self._encode(tokens, documents=True)

    def encode_queries(self, tokens: TokenEmbeddings) -> NDArray[np.float32]:
        """Encode queries as the sum of each cell: float32, shape ``(len(tokens), dim)``.

        Raises:
            InvalidTokensError: If the token vectors do not have ``token_dim`` dimensions.
        """
        return self._encode(tokens, documents=False)

    def _encode(self, tokens: TokenEmbeddings, *, documents: bool) -> NDArray[np.float32]:
        require_tokens("tokens", tokens)
        if tokens.dim != self.token_dim:
            raise InvalidTokensError(
                f"token vectors have {tokens.dim} dimensions, but this encoding takes {self.token_dim}: pass the "
                "tokens of the model that the encoding was made for"
            )
        encoded = np.zeros((len(tokens), self.dim), np.float32)

        def encode(tile: slice) -> None:
            self._encode_tile(tokens[tile], encoded[tile], documents=documents)

        is_small = isinstance(self._cells, HostCells) and not documents and len(tokens.values) <= SMALL_TOKENS
        if isinstance(self._cells, DeviceCells) or (is_small and self._sketch is None):
            for tile in self._tiles(tokens):
                encode(tile)
        else:
            _WORKERS.run(encode, self._tiles(tokens))
        return encoded

    def _tiles(self, tokens: TokenEmbeddings) -> Iterator[slice]:
        most = max(1, _TILE_NUMBERS // self.config.raw_dim)
        for start, stop in tokens.blocks(self._cells.TILE_TOKENS):
            for first in range(start, stop, most):
                yield slice(first, min(first + most, stop))

    def _encode_tile(self, tokens: TokenEmbeddings, encoded: NDArray[np.float32], *, documents: bool) -> None:
        config = self.config
        if self._fitted is not None and self._fitted.mean is not None:
            tokens = TokenEmbeddings(tokens.values - self._fitted.mean, tokens.lengths)
        raw = encoded if self._sketch is None else np.zeros((len(tokens), config.raw_dim), np.float32)
        cells = raw.reshape(len(tokens), config.r_reps, config.cells, config.dim_proj)
        self._cells(tokens, cells, documents=documents)
        if self._sketch is not None:
            encoded[:] = self._sketch(raw)
