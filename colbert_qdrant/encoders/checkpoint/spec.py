"""Defines the specification of a checkpoint: the rules from texts to token vectors, independent of its layout."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

from colbert_qdrant.config.checks import keep_plain
from colbert_qdrant.errors import ConfigurationError
from colbert_qdrant.shown import shown

IDENTITY: Final = "torch.nn.modules.linear.Identity"
"""The activation of a linear projection."""


@dataclass(frozen=True, kw_only=True)
class QueryExpansion:
    """Fills short queries up with [MASK] tokens, whose vectors are scored like the others (ColBERT, section 3.2).

    Args:
        length: The number of tokens of a query after expansion, including special tokens.
        attend: Whether the model attends to the expansion tokens.
        token: The token to fill in; by default the tokenizer's mask token, or its end-of-sequence token.
        strategy: ``"fixed"`` truncates longer queries to ``length``; ``"min"`` keeps them.
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
    """Merges similar token vectors of a text, so that fewer are stored.

    Args:
        factor: The approximate number of token vectors that are merged into one.
        protected: The number of leading tokens that are never merged.
        normalize: Whether merged vectors are normalized to unit length.
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
    """The rules for tokenizing the texts of one side, queries or documents, and for keeping their tokens.

    Args:
        length: The maximum number of tokens of a text, including special tokens and the prefix.
        prefix: A token of the vocabulary that is inserted at position 1.
        prompt: A text that is prepended to every text.
        expansion: The expansion of short texts.
        skiplist: Tokens to leave out.
        keep_only: Token ids to keep; if set, all other tokens are left out.
        skip_special: Whether to leave out special tokens.
        skip_punctuation: Whether to leave out tokens that consist of punctuation.
        pooling: The pooling of similar vectors.
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
            raise ConfigurationError(f"length must be an integer of at least 1, got {shown(self.length)}")
        if not isinstance(self.prompt, str):
            raise ConfigurationError(f"prompt must be a string, got {shown(self.prompt)}")
        if not isinstance(self.prefix, str | None):
            raise ConfigurationError(f"prefix must be a token or None, got {shown(self.prefix)}")
        if self.expansion and self.expansion.strategy == "fixed" and self.length != self.expansion.length:
            raise ConfigurationError(
                f"length={self.length} differs from the {self.expansion.length} tokens of the fixed expansion: set "
                "both to the same length"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as JSON values, without those that have their default."""
        values = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}
        return {key: value for key, value in values.items() if value not in (None, "", [], False)}


@dataclass(frozen=True, kw_only=True)
class DenseSpec:
    """A projection of token vectors: ``activation(linear(x))``, plus the input if ``residual`` is set.

    Args:
        folder: The folder of the weights.
        in_features: Dimensions of the input.
        out_features: Dimensions of the output.
        bias: Whether the linear layer has a bias.
        activation: The dotted name of a class in ``torch.nn``.
        residual: Whether the input is added to the output; it is projected if the dimensions differ.
    """

    folder: str
    in_features: int
    out_features: int
    bias: bool
    activation: str = IDENTITY
    residual: bool = False


@dataclass(frozen=True, kw_only=True)
class CheckpointSpec:
    """The specification of a checkpoint, which is read without loading its weights.

    Args:
        layout: The name of its `CheckpointLayout`, such as ``"pylate"``.
        backbone: The folder of the transformer inside the checkpoint.
        dense: The projections, in order.
        query: The rules for queries.
        document: The rules for documents.
        normalize: Whether token vectors are normalized to unit length.
        strip: Whether white space around a text is removed.
        lowercase: Lowercasing in addition to the tokenizer's own rules. ``"text"`` lowercases the entire text before it
            is tokenized, including special tokens in it. ``"tokenizer"`` lowercases in the tokenizer, except special
            tokens. ``None`` adds no lowercasing.
    """

    layout: str
    backbone: str = ""
    dense: tuple[DenseSpec, ...] = field(default=())
    query: Side
    document: Side
    normalize: bool = True
    strip: bool = False
    lowercase: Literal["text", "tokenizer"] | None = None
