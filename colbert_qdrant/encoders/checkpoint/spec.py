"""Defines the specification of a checkpoint: the way from texts to token vectors, whatever its layout."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

from colbert_qdrant.config.checks import keep_plain
from colbert_qdrant.errors import ConfigurationError
from colbert_qdrant.shown import shown

IDENTITY: Final = "torch.nn.modules.linear.Identity"
"""The activation of a projection that is only linear."""


@dataclass(frozen=True, kw_only=True)
class QueryExpansion:
    """Short queries are filled up with [MASK] tokens, whose vectors are scored like the others (ColBERT, section 3.2).

    Args:
        length: Tokens of a query after the expansion, special tokens included.
        attend: Whether the model attends to the expansion tokens.
        token: The token that is filled in; by default the tokenizer's mask token, else its end-of-sequence token.
        strategy: ``"fixed"`` cuts longer queries at ``length``, ``"min"`` does not.
    """

    length: int
    attend: bool = False
    token: str | None = None
    strategy: Literal["fixed", "min"] = "fixed"

    def __post_init__(self) -> None:
        keep_plain(self)
        if not isinstance(self.length, int) or self.length < 1:
            raise ConfigurationError(f"query expansion: length must be at least 1, got {shown(self.length)}")
        if self.strategy not in {"fixed", "min"}:
            raise ConfigurationError(f"query expansion: strategy must be 'fixed' or 'min', got {shown(self.strategy)}")


@dataclass(frozen=True, kw_only=True)
class Pooling:
    """Similar token vectors of a text are merged, so that fewer are stored.

    Args:
        factor: About how many tokens become one.
        protected: Leading tokens that are never merged.
        normalize: Whether the merged vectors get unit length again.
    """

    factor: float
    protected: int = 1
    normalize: bool = True

    def __post_init__(self) -> None:
        keep_plain(self)
        if not self.factor >= 1:
            raise ConfigurationError(f"pool_factor must be at least 1, got {shown(self.factor)}")
        if self.protected < 0:
            raise ConfigurationError(f"pooling: protected must be at least 0, got {shown(self.protected)}")


@dataclass(frozen=True, kw_only=True)
class Side:
    """The rules by which texts of one side, queries or documents, become model inputs, and tokens are kept.

    Args:
        length: Most tokens of a text, special tokens and prefix included.
        prefix: A token of the vocabulary that is inserted at position 1.
        prompt: A text that is put in front of every text.
        expansion: The filling up of short texts.
        skiplist: Tokens that are left out.
        keep_only: Token ids beside which everything is left out.
        skip_special: Leave special tokens out.
        skip_punctuation: Leave out tokens of nothing but punctuation.
        pooling: The merging of similar vectors.
    """

    length: int
    prefix: str | None = None
    prompt: str = ""
    expansion: QueryExpansion | None = None
    skiplist: tuple[str, ...] = ()
    keep_only: tuple[int, ...] = ()
    skip_special: bool = False
    skip_punctuation: bool = False
    pooling: Pooling | None = None

    def __post_init__(self) -> None:
        keep_plain(self)
        if not isinstance(self.length, int) or isinstance(self.length, bool) or self.length < 1:
            raise ConfigurationError(f"a length is a number of tokens, at least 1, got {shown(self.length)}")
        if not isinstance(self.prompt, str):
            raise ConfigurationError(f"a prompt is a text, got {shown(self.prompt)}")
        if not isinstance(self.prefix, str | None):
            raise ConfigurationError(f"a prefix is a token, got {shown(self.prefix)}")
        if self.expansion and self.expansion.strategy == "fixed" and self.length != self.expansion.length:
            raise ConfigurationError(
                f"the query expansion fills up to {self.expansion.length} tokens: length cannot be {self.length}"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as JSON values; those at their default are left out."""
        values = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}
        return {key: value for key, value in values.items() if value not in (None, "", [], False)}


@dataclass(frozen=True, kw_only=True)
class DenseSpec:
    """A projection of token vectors: ``activation(linear(x))``, plus the input if there is a residual.

    Args:
        folder: The folder of its weights.
        in_features: Dimensions of its input.
        out_features: Dimensions of its output.
        bias: Whether the linear layer has a bias.
        activation: Dotted name of a class in ``torch.nn``.
        residual: Whether the input is added to the output, projected where the dimensions differ.
    """

    folder: str
    in_features: int
    out_features: int
    bias: bool
    activation: str = IDENTITY
    residual: bool = False


@dataclass(frozen=True, kw_only=True)
class CheckpointSpec:
    """The specification of a checkpoint, which is read but not loaded.

    Args:
        layout: The layout of its files: the name of a `CheckpointLayout`, such as ``"pylate"``.
        backbone: Folder of the transformer inside the checkpoint.
        dense: Projections, in order.
        query: The rules for queries.
        document: The rules for documents.
        normalize: Whether token vectors get unit length.
        strip: Whether white space around a text is removed.
        lowercase: Lower-casing beyond the tokenizer's own rules: ``None`` is none, ``"text"`` lower-cases the whole
            text before it is tokenized (special tokens in it included), ``"tokenizer"`` has the tokenizer do it
            (special tokens excluded).
    """

    layout: str
    backbone: str = ""
    dense: tuple[DenseSpec, ...] = field(default=())
    query: Side
    document: Side
    normalize: bool = True
    strip: bool = False
    lowercase: Literal["text", "tokenizer"] | None = None
