"""Warns users of problems that they would not notice, once per kind and collection."""

from __future__ import annotations

import sys
import warnings
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from colbert_qdrant.errors import ColbertQdrantWarning

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Iterator, Sequence

    from colbert_qdrant.tokens import TokenEmbeddings

_PACKAGE: Final = str(Path(__file__).parent.parent)
_ENCODERS: Final = (__file__, str(Path(_PACKAGE, "encoders")))
_SHOWN: Final = 3

_DEFERRED: Final[ContextVar[deque[str] | None]] = ContextVar("_DEFERRED", default=None)
"""The warnings of a job that runs apart from its caller, who issues them."""


class Warned:
    """The kinds of warnings that one collection has issued.

    Example:
        >>> with warnings.catch_warnings(record=True, action="always") as shown:
        ...     warned = Warned()
        ...     warned.once("slow", "it is slow")
        ...     warned.once("slow", "it is slow again")
        >>> [str(each.message) for each in shown]
        ['it is slow']
    """

    def __init__(self) -> None:
        self._kinds = set[str]()

    def once(self, kind: str, message: str) -> None:
        """Warn, unless a warning of this kind was issued before."""
        if kind not in self._kinds:
            self._kinds.add(kind)
            warn(message)

    def of_truncated_documents(self, where: str, ids: Sequence[Any], *, among: int) -> None:
        """Warn if documents were truncated.

        Args:
            where: The collection, for the message.
            ids: The ids of the truncated documents.
            among: The number of documents that were encoded.
        """
        if ids:
            self.once(
                "truncated documents",
                f"{where}: {len(ids):,} of {among:,} documents ({_some(ids)}) are longer than the encoder's maximum. "
                "Searches do not see their ends. Raise the encoder's document_length, split long documents "
                "(long_documents='split'), or shorten them. This warning appears once; reports count all.",
            )

    def of_unsplit_documents(self, collection: str, ids: Sequence[Any], *, among: int, language: str) -> None:
        """Warn if BM25 does not split texts into words.

        Args:
            collection: The collection's name.
            ids: The ids of the documents whose texts are not split.
            among: The number of documents that were encoded.
            language: The language of the BM25 settings.
        """
        if ids:
            self.once(
                "unsplit documents",
                f"collection {collection!r}: {len(ids):,} of {among:,} documents ({_some(ids)}) are in languages "
                f"without spaces between words. Bm25Config(language={language!r}) does not split them, so BM25 finds "
                "hardly any of their words. Create the collection with the language 'chinese', 'japanese' or 'thai'; "
                "Qdrant splits no other such language. This warning appears once.",
            )

    def of_unkept_length(self, collection: str) -> None:
        """Warn if the average length of documents cannot be kept with their collection."""
        self.once(
            "unkept length",
            f"collection {collection!r}: BM25 assumes that documents have 256 words on average, because this key may "
            "not write the measured length into the metadata. Ingest the first documents with a key that may, or "
            "create the collection with Bm25Config(avg_len=…). This warning appears once.",
        )

    def of_repeated_words(self, collection: str) -> None:
        """Warn if BM25 counts the repeated words of a query once."""
        self.once(
            "repeated words",
            f"collection {collection!r}: a query repeats words, and BM25 counts each once, because the server computes "
            "the query's vector. Run pip install 'colbert-qdrant[edge]', with which this process counts them. This "
            "warning appears once.",
        )

    def of_truncated_queries(self, where: str, tokens: TokenEmbeddings) -> None:
        """Warn if queries were truncated."""
        if tokens.truncated.any():
            self.once(
                "truncated queries",
                f"{where}: {int(tokens.truncated.sum()):,} of {len(tokens):,} queries are longer than the encoder's "
                "maximum, and their ends were ignored. Raise the encoder's query_length, or shorten the queries. "
                "This warning appears once.",
            )

    def of_nan(self, collection: str, id: Any, key: str) -> None:
        """Warn that a NaN in the payload of a document is stored as null."""
        self.once(
            "nan",
            f"collection {collection!r}: document {id!r} has NaN under payload key {key!r}. It is stored as null, "
            "which equals no value in filters. Use None for missing values. This warning appears once.",
        )

    def of_truncated_texts(self, side: str, tokens: TokenEmbeddings, *, remedy: str) -> None:
        """Warn if an encoder that the user called truncated texts; collections issue their own warnings."""
        if tokens.truncated.any() and not _called_from_here():
            kind = {"query": "queries", "document": "documents"}[side]
            self.once(
                f"truncated {kind}",
                f"{int(tokens.truncated.sum()):,} of {len(tokens):,} {kind} are longer than the encoder's maximum, and "
                f"lost their ends (see TokenEmbeddings.truncated): {remedy}. This warning appears once.",
            )


def _some(ids: Sequence[Any]) -> str:
    return ", ".join(map(repr, ids[:_SHOWN])) + (", …" if len(ids) > _SHOWN else "")


def _called_from_here() -> bool:
    """Tell whether code of this library called the encoder that is running."""
    frame = sys._getframe()  # noqa: SLF001
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_ENCODERS):
        frame = frame.f_back
    return frame.f_code.co_filename.startswith(_PACKAGE)


@contextmanager
def deferred(messages: deque[str]) -> Iterator[None]:
    """Collect the warnings within the context, since the code that called this library is not on its stack."""
    token = _DEFERRED.set(messages)
    try:
        yield
    finally:
        _DEFERRED.reset(token)


def warn(message: str) -> None:
    """Issue a warning that points to the code that called this library."""
    if (messages := _DEFERRED.get()) is not None:
        messages.append(message)
        return
    frame, level = sys._getframe(), 1  # noqa: SLF001 - the warning should show the user's line
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, ColbertQdrantWarning, stacklevel=level)
