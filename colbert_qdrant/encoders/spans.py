"""Defines the span of a text that a vector represents, without importing a tokenizer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

LongTexts: TypeAlias = Literal["truncate", "split"]
"""The treatment of documents that exceed the encoder's length."""


@dataclass(frozen=True)
class TokenSpan:
    """The span of a text that a vector represents.

    Args:
        token: The token, as in the vocabulary.
        start: The index of its first character in the text; 0 for special tokens and prompts.
        end: The index after its last character; equal to ``start`` for special tokens and prompts.
    """

    token: str
    start: int
    end: int
