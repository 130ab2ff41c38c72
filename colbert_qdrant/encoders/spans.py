"""Says which piece of a text a vector stands for, without loading what splits texts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

LongTexts: TypeAlias = Literal["truncate", "split"]
"""The treatment of documents that are longer than the encoder takes."""


@dataclass(frozen=True)
class TokenSpan:
    """The piece of a text that a vector stands for.

    Args:
        token: The token as the vocabulary has it.
        start: Its first character in the text; special tokens and prompts are at 0.
        end: The character after its last; ``start`` for special tokens and prompts.
    """

    token: str
    start: int
    end: int
