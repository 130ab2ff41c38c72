"""Keeps the registry of fixed dimensional encodings, by the tags of their settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from colbert_qdrant.config.checks import require_int
from colbert_qdrant.config.fde import FDE_CONFIGS
from colbert_qdrant.errors import ArtefactError, ConfigurationError
from colbert_qdrant.fde.artefact import documents_of, queries_of, settings_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from colbert_qdrant._support.progress import ProgressReporter
    from colbert_qdrant.config import FdeConfig
    from colbert_qdrant.fde.artefact import Fitted
    from colbert_qdrant.fde.protocol import FixedDimensionalEncoder
    from colbert_qdrant.tokens import TokenEmbeddings


class MakeEncoder(Protocol):
    """A callable that makes an encoder from settings alone, such as the encoder's class."""

    def __call__(self, config: Any, *, token_dim: int) -> FixedDimensionalEncoder:
        """Make an encoder for token vectors with ``token_dim`` dimensions."""


class FitEncoder(Protocol):
    """A callable that fits an encoder to documents."""

    def __call__(
        self,
        documents: TokenEmbeddings,
        *,
        query_tokens: TokenEmbeddings | None,
        config: Any,
        device: str,
        progress: bool | ProgressReporter,
    ) -> Fitted:
        """Fit the encoder of ``config``; ``query_tokens`` is ``None`` unless it learns from queries."""


@dataclass(frozen=True, kw_only=True)
class FdeKind:
    """A fixed dimensional encoding: its settings, and the functions that make its encoders.

    Args:
        config: The class of the settings, whose ``tag`` names the encoding.
        version: Must change whenever the same settings and tokens produce different encodings.
        make: Makes an encoder from settings that need no fit; ``None`` if all settings need one.
        fit: Fits an encoder to a collection's documents; ``None`` if no settings need a fit.
        from_bytes: Reads a fitted encoder from its artifact; required with ``fit``.
        learns_from_queries: Whether a fit trains a model, and so takes token embeddings of queries, too.

    Raises:
        ConfigurationError: If the version is less than 1, or the tag is not a non-empty string. Also if both ``make``
            and ``fit`` are missing, or only one of ``fit`` and ``from_bytes`` is given.
    """

    config: type[FdeConfig]
    version: int
    make: MakeEncoder | None = None
    fit: FitEncoder | None = None
    from_bytes: Callable[[bytes], Fitted] | None = None
    learns_from_queries: bool = False

    def __post_init__(self) -> None:
        require_int("version", self.version, minimum=1)
        if not isinstance(self.tag, str) or not self.tag:
            raise ConfigurationError(
                f"{self.config.__name__}.tag={self.tag!r} does not name the encoding: set it to a non-empty string"
            )
        if self.make is None and self.fit is None:
            raise ConfigurationError(f"FDE type {self.tag!r} has neither make nor fit: pass make, fit, or both")
        if (self.fit is None) != (self.from_bytes is None):
            raise ConfigurationError(
                f"FDE type {self.tag!r} has only one of fit and from_bytes: pass both, or leave both out"
            )

    @property
    def tag(self) -> str:
        """The name of the encoding in stored settings and artifacts."""
        return self.config.tag


_KINDS: Final[dict[str, FdeKind]] = {}


def register_fde(kind: FdeKind) -> None:
    """Register an encoding, so that settings, collections and artifacts can refer to it by its tag.

    Raises:
        ConfigurationError: If another encoding has this tag.
    """
    existing = _KINDS.setdefault(kind.tag, kind)
    if existing != kind:
        raise ConfigurationError(
            f"FDE type {kind.tag!r} is registered for {existing.config.__name__}: choose another tag"
        )
    FDE_CONFIGS[kind.tag] = kind.config


def make_encoder(config: FdeConfig, *, token_dim: int) -> FixedDimensionalEncoder | None:
    """Make the encoder of a configuration; return ``None`` if it needs a fit first."""
    make = _kind_of(config).make
    return None if config.needs_fit or make is None else make(config, token_dim=token_dim)


def fit_encoder(
    config: FdeConfig,
    documents: TokenEmbeddings,
    *,
    query_tokens: TokenEmbeddings | None,
    device: str,
    progress: bool | ProgressReporter,
) -> Fitted:
    """Fit the encoder of a configuration; see `LemurEncoder.fit` and `MuveraEncoder.fit`.

    Raises:
        ConfigurationError: If no settings of this encoding need a fit.
    """
    fit = _kind_of(config).fit
    if fit is None:
        raise ConfigurationError(f"FDE type {config.tag!r} needs no fit: make its encoder from the settings alone")
    fitted = fit(documents, query_tokens=query_tokens, config=config, device=device, progress=progress)
    return fitted.fitted_to(min(len(documents), config.fit_documents))


def encoder_from_bytes(data: bytes) -> Fitted:
    """Read the encoder in an artifact of any algorithm.

    Raises:
        ArtefactError: If the bytes are truncated, altered, of another version, or of an unknown algorithm.
    """
    tag = settings_of(data)["type"]
    readers = {each.tag: each.from_bytes for each in _KINDS.values() if each.from_bytes is not None}
    if tag not in readers:
        raise ArtefactError(
            f"the fitted encoding has type {tag!r}, but this release reads only {', '.join(sorted(readers))}: install "
            "the release of colbert-qdrant that fitted it, or fit it again"
        )
    return readers[tag](data).fitted_to(documents_of(data), queries=queries_of(data))


def version_of(config: FdeConfig) -> int:
    """Return the version of a configuration's algorithm."""
    return _kind_of(config).version


def learns_from_queries(config: FdeConfig) -> bool:
    """Return whether fitting a configuration's encoder trains a model, which takes token embeddings of queries."""
    return _kind_of(config).learns_from_queries


def _kind_of(config: FdeConfig) -> FdeKind:
    kind = _KINDS.get(config.tag)
    if kind is None:
        raise ConfigurationError(f"FDE type {config.tag!r} is unknown: register it with register_fde")
    return kind
