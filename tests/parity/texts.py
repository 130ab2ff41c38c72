"""The texts of the parity fixtures: ordinary ones, and the ones that encoders are known to treat differently."""

from __future__ import annotations

from typing import Final

QUERIES: Final[tuple[str, ...]] = (
    "what is the fast python library for search",
    "",
    "the query and the document and the token and the vector in the index of the search library with the model",
    "?!... ;:",
    "the [MASK] of the river",
    "[Q] is it the [D] document",
    "the cat [SEP] the dog </s> tree",
    "   the slow dog in  the tree\u00a0  ",
    "cat \U0001f600 dog \U0001f40d\U0001f680",
    "東京 search 検索",
    "ÀÉ Über İstanbul CAFÉ",
    "tab\tand\nnewline\r\nin the text",
    "12 documents, 3.14 and 2024-10-01",
    "good good good good",
    "zyx qwv jkp",
    "[q] the small marker [d] ",
    "Cat",
    "the [unused0] query and [unused1]",
    " \t ",
    "the [PAD] or <pad> and <mask> token",
    "e\u0301 as \ufb01 or \uff26\uff35\uff2c\uff2c",
    "zero\u200bwidth\u00adand\x07bell",
    "is it good? Is it bad! (the cat's tree...)",
)
"""Encoded as queries; the goldens name them by their position here."""

DOCUMENTS: Final[tuple[str, ...]] = (
    "The cat is in the tree, and the dog is by the river.",
    "",
    "the token of the document, in the index; a word, a text: the rank is the point. the model is slow, it is bad",
    "... !!! ??? -- (),;:",
    "the [MASK] of the document. [MASK]",
    "[D] the document of the [Q] query",
    "the cat [SEP] the dog </s> river",
    "\n   the river is slow. \t ",
    "a good \U0001f600 document, a bad \U0001f40d one \U0001f680",
    "東京の検索 library 文書。",
    "ÀÉ Über İstanbul, CAFÉ and naïve",
    "tab\tand\nnewline\r\nin\n\n\nthe document",
    "1, 22, 333 and 3.14159; 2024-10-01",
    "word word word word word word",
    "zyx qwv jkp, xylophone.",
    "[d] the small marker [q] ",
    "DOG",
    "the [unused1] document and [unused0]",
    " \u00a0 ",
    "the [PAD] or <pad> and <mask> token.",
    "e\u0301 as \ufb01 or \uff26\uff35\uff2c\uff2c",
    "zero\u200bwidth\u00adand\x07bell",
    "\u201cthe cat\u2019s tree\u201d \u2014 the end\u2026",
)
"""Encoded as documents; the goldens name them by their position here."""
