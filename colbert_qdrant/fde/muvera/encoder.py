"""Encodes by MUVERA with `MuveraEncoder`, the encoder that users see."""

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
from colbert_qdrant.shown import holds, shown
from colbert_qdrant.tokens import TokenEmbeddings, require_tokens

_TILE_NUMBERS: Final = 1 << 22
"""Numbers of all encodings of a tile, before a final projection: bounds the working memory where texts are short."""

_WORKERS: Final = Workers(16, exclusive=True)
"""Every tile is the work of one core."""


class MuveraEncoder(Fitted):
    r"""Encodes token matrices so that one inner product estimates MaxSim.

    A repetition cuts the token space by ``k_sim`` random hyperplanes into ``2**k_sim`` cells (SimHash: the signs
    of a token's products with the normals are the bits of its cell) and projects tokens with a random ±1 matrix,
    divided by √``dim_proj`` so that inner products are kept on average, to ``dim_proj`` dimensions. A cell of a
    query holds the *sum* of its projected tokens, a cell of a document their *mean*, so that

    .. math:: \langle F(q), F(d) \rangle \approx \sum_{x \in q} \langle x, \text{mean of d's tokens near x} \rangle

    which stands in for the maximum of MaxSim: it ranks like it, and is smaller, as a mean is. The repetitions follow
    one another, each scaled by 1/√``r_reps`` on both sides, so the product is their average.

    A document's empty cell is filled from the tokens whose cells differ from it in the fewest bits. The paper
    takes any one of them; this takes their mean, the expectation of that choice, so that an encoding does not
    depend on the order of the tokens.

    The final projection, if there is one, is a count sketch: coordinate i of all that goes with a random sign to a
    random coordinate h(i) of fewer ones,

    .. math:: F'(x)_j = \sum_{i : h(i) = j} s_i F(x)_i, \qquad s_i = \pm 1

    alike for queries and documents, which keeps inner products on average. The paper (arXiv 2405.19504) has final
    projections, and its authors' implementation takes a count sketch too.

    Two things can be fitted to a collection, once; such an encoder is made with `fit`, `load` or `from_bytes`.

    **Centred** (``center=True``). The tokens of some models share one direction: hyperplanes then have nearly all of
    them on the same side, and the error of a projection, which grows with the lengths of what it multiplies, is mostly
    that of the shared part. So the mean m of a collection's tokens is taken from all tokens, those of queries too. Of

    .. math:: \langle x - m, y - m \rangle = \langle x, y \rangle - \langle m, y \rangle - \langle x, m \rangle
        + \langle m, m \rangle

    the last two are the same for every document, and ⟨m, y⟩ nearly is where all tokens point one way. An empty cell,
    which is zero, then counts as the mean token rather than as one that is worse than all others.

    **k-means** (``partition="kmeans"``). Cells are those around ``2**k_sim`` centroids of the collection's tokens, with
    another start in each repetition, and so as full as one another where SimHash's are not.

    Args:
        config: The parameters.
        token_dim: Dimensions of the token vectors.
        device: The device to compute on: ``None`` is this processor, anything else a torch device such as ``"cuda"`` or
            ``"mps"``. All agree up to rounding.
        fitted: The numbers that a fit found, where the settings ask for one.

    Raises:
        ConfigurationError: Torch has no such device, the variant does not go with it or with ``token_dim``, or the
            settings ask for a fit and nothing is fitted.

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
        require_instance("fitted", fitted, (FittedPartition, NoneType), "what MuveraEncoder.fit found")
        self.config: MuveraConfig = config or MuveraConfig()
        self.token_dim = token_dim
        self._fitted = fitted
        if self.config.needs_fit and fitted is None:
            raise ConfigurationError(
                "center=True and partition='kmeans' are fitted to token embeddings: use MuveraEncoder.fit(documents, "
                "config=config), or a collection, which fits by itself"
            )
        self._cells: HostCells | DeviceCells | FastembedCells
        self._sketch: CountSketch | None = None
        if self.config.variant == "fastembed":
            if device is not None:
                raise ConfigurationError(
                    f"device={shown(device)}: the variant 'fastembed' is computed in double precision on the CPU: "
                    "leave device out"
                )
            self._cells = FastembedCells(self.config, token_dim)
            return
        draws = Draws.of(self.config, token_dim, fitted)
        self._sketch = draws.sketch
        if device is None:
            self._cells = HostCells(draws, fill_empty=self.config.fill_empty)
        else:
            name = str(device) if holds(lambda: (str(device), True)) else shown(device)
            checked = require_device(name, remedy="leave device out to encode on the CPU")
            self._cells = DeviceCells(draws, fill_empty=self.config.fill_empty, device=checked)

    @classmethod
    def fit(
        cls,
        documents: TokenEmbeddings,
        *,
        config: MuveraConfig | None = None,
        progress: bool | ProgressReporter = False,
        **settings: Any,
    ) -> Self:
        """Fit what the settings ask for to a sample of a collection: the mean of its tokens, centroids, or both.

        Args:
            documents: Token embeddings of documents; at most ``fit_documents`` of them are used, chosen at random.
            config: The settings.
            progress: ``True`` for a live bar where stderr is a terminal, or a reporter.
            settings: Single settings in the place of those of ``config``, such as ``center=True``.

        Raises:
            InvalidTokensError: There are no documents.
        """
        require_tokens("documents", documents)
        require_instance("config", config, (MuveraConfig, NoneType), "a MuveraConfig")
        config = replace(config or MuveraConfig(), **settings)
        fitted = FittedPartition.fit(documents, config, progress=progress) if config.needs_fit else None
        encoder = cls(config, token_dim=documents.dim, fitted=fitted)
        return encoder.fitted_to(None if fitted is None else min(len(documents), config.fit_documents))

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read an encoder from what `to_bytes` returned.

        Raises:
            ArtefactError: The bytes are cut off, altered, or of another version.
        """
        tensors, config = tensors_of(data, version=cls.VERSION), MuveraConfig.from_dict(settings_of(data))
        try:
            fitted = FittedPartition.from_tensors(tensors, config)
        except ValueError as error:
            raise unreadable_error(error) from error
        return cls(config, token_dim=fitted.token_dim, fitted=fitted).fitted_to(documents_of(data))

    @property
    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """All numbers that were fitted.

        Raises:
            ConfigurationError: Nothing was fitted: ``config`` says all that there is to know.
        """
        if self._fitted is None:
            raise ConfigurationError("nothing was fitted, so there is no artefact: keep config.to_dict()")
        return self._fitted.tensors

    @property
    def dim(self) -> int:
        """Dimensions of the encoding: ``r_reps * 2**k_sim * dim_proj``, or ``final_projection``."""
        return self.config.dim

    def to(self, device: str | None) -> Self:
        """Return the same encoder on another device.

        Raises:
            ConfigurationError: Torch has no such device.
        """
        copy = type(self)(self.config, token_dim=self.token_dim, device=device, fitted=self._fitted)
        return copy.fitted_to(self.fitted_documents)

    def encode_documents(self, tokens: TokenEmbeddings) -> NDArray[np.float32]:
        """Encode documents, the mean of each cell: float32, shape ``(len(tokens), dim)``.

        Raises:
            InvalidTokensError: The token vectors do not have ``token_dim`` dimensions.
        """
        return self._encode(tokens, documents=True)

    def encode_queries(self, tokens: TokenEmbeddings) -> NDArray[np.float32]:
        """Encode queries, the sum of each cell: float32, shape ``(len(tokens), dim)``.

        Raises:
            InvalidTokensError: The token vectors do not have ``token_dim`` dimensions.
        """
        return self._encode(tokens, documents=False)

    def _encode(self, tokens: TokenEmbeddings, *, documents: bool) -> NDArray[np.float32]:
        require_tokens("tokens", tokens)
        if tokens.dim != self.token_dim:
            raise InvalidTokensError(
                f"token vectors have {tokens.dim} dimensions, but this encoding was made for {self.token_dim}"
            )
        encoded = np.zeros((len(tokens), self.dim), np.float32)

        def encode(tile: slice) -> None:
            self._encode_tile(tokens[tile], encoded[tile], documents=documents)

        if isinstance(self._cells, DeviceCells):
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
