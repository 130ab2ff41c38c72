"""Where PyLate and Sentence Transformers do not agree with each other, and why.

Everything that is not listed here they encode alike, to the last bit in the goldens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from tests.parity.texts import DOCUMENTS, QUERIES

if TYPE_CHECKING:
    from pathlib import Path

_STRIPPED: Final = (
    "PyLate strips each text, together with its prompt, before it is tokenized; Sentence Transformers keeps the white "
    "space at both ends, and a byte-level tokenizer has tokens for it"
)
_MARKER_IN_LOWERCASE: Final = (
    "the prefixes are stored as added tokens that match after lowercasing, so that PyLate reads the token '[Q] ' in a "
    "text with '[q] '; Sentence Transformers makes them special, and special tokens match as they are written"
)
_UNKNOWN_SKIPPED: Final = (
    "a word of the skiplist that is no token has the number of the unknown token: PyLate drops every unknown token of "
    "a document with it, Sentence Transformers ignores such a word"
)
_LOWERED_FIRST: Final = (
    "with do_lower_case PyLate lowercases the text before the tokenizer sees it, so that special and added tokens in "
    "it are spelled out; Sentence Transformers lowercases inside the tokenizer, which has found them by then"
)

_CASES: Final[tuple[tuple[str, str, tuple[int, ...], str], ...]] = (
    ("pylate-bert", "query", (15,), _MARKER_IN_LOWERCASE),
    ("pylate-bert", "document", (15,), _MARKER_IN_LOWERCASE),
    ("pylate-attend", "query", (15,), _MARKER_IN_LOWERCASE),
    ("pylate-attend", "document", (15,), _MARKER_IN_LOWERCASE),
    ("pylate-attend", "document", (8, 9, 20, 22), _UNKNOWN_SKIPPED),
    ("pylate-modernbert", "query", (7, 18), _STRIPPED),
    ("pylate-modernbert", "document", (7, 15, 18), _STRIPPED),
    ("pylate-prompts", "query", (1, 7, 18), _STRIPPED),
    ("pylate-prompts", "document", (1, 7, 18), _STRIPPED),
    ("pylate-stack", "query", (4, 5, 6, 19), _LOWERED_FIRST),
    ("pylate-stack", "document", (4, 5, 6, 19), _LOWERED_FIRST),
)
KNOWN: Final[dict[tuple[str, str, int], str]] = {
    (checkpoint, side, index): reason for checkpoint, side, indices, reason in _CASES for index in indices
}
"""The reason by checkpoint, side ("query" or "document") and position in the texts."""


def found(goldens: Path, *, tolerance: float) -> set[tuple[str, str, int]]:
    """The texts that the two libraries encode differently, in the form of the keys of `KNOWN`.

    Args:
        goldens: Folder of the golden arrays.
        tolerance: Largest difference of one number that does not count.
    """
    different: set[tuple[str, str, int]] = set()
    for path in sorted(goldens.glob("*.pylate.npz")):
        checkpoint = path.name.removesuffix(".pylate.npz")
        other = goldens / f"{checkpoint}.sentence-transformers.npz"
        if not other.exists():
            continue
        with np.load(path) as left, np.load(other) as right:
            for side, texts in (("query", QUERIES), ("document", DOCUMENTS)):
                for index in range(len(texts)):
                    one, two = left[f"{side}_{index:02}"], right[f"{side}_{index:02}"]
                    if one.shape != two.shape or float(np.abs(one - two).max()) > tolerance:
                        different.add((checkpoint, side, index))
    return different
