"""Isolates the documents of a batch that cannot be stored."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, TypeVar, get_args

import numpy as np

from colbert_qdrant.config.checks import require_one_of
from colbert_qdrant.documents import Document, RejectedDocument
from colbert_qdrant.encoders.ready import able_to_encode
from colbert_qdrant.errors import ColbertQdrantError, ConfigurationError, InvalidDocumentError, InvalidTokensError
from colbert_qdrant.points.ranges import check_range
from colbert_qdrant.shown import holds, shown
from colbert_qdrant.sources import BadRow, RowDocument, where
from colbert_qdrant.tokens import one_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from colbert_qdrant.config import CollectionConfig
    from colbert_qdrant.encoders import LateInteractionEncoder
    from colbert_qdrant.points.point import Payload
    from colbert_qdrant.vectors import Vector

OnError = Literal["raise", "skip"]
"""How to treat a document that cannot be stored: raise an error, or skip and report it."""

_OF_A_DOCUMENT: Final = (ValueError, TypeError, LookupError, ArithmeticError)

Item = TypeVar("Item")
Made = TypeVar("Made")


@dataclass(kw_only=True, eq=False)
class Row:
    """A document on its way into the collection, with the vectors computed so far."""

    document: Document
    payload: Payload
    tokens: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 0), np.float32))
    truncated: bool = False
    fde: NDArray[np.float32] | None = None
    further: dict[str, Vector] = field(default_factory=dict)


class Rejections:
    """Raises for a document that cannot be stored, or collects such documents.

    Args:
        on_error: ``"raise"`` or ``"skip"``.
        hopeless: If the user's encoder fails for this number of single documents and encodes no document, its error is
            raised; ``None`` for no such limit.

    Attributes:
        found: The documents that were skipped, with reasons.
        items: These documents and those that the server refused, each with its reason, for a file of rejected rows.

    Raises:
        ConfigurationError: If ``on_error`` has another value.
    """

    def __init__(self, on_error: OnError, *, hopeless: int | None = 3) -> None:
        require_on_error(on_error)
        self._hopeless = hopeless
        self.skips = on_error == "skip"
        self.found: list[RejectedDocument] = []
        self.items: list[tuple[object, str]] = []

    def keep_good(self, items: Sequence[Item], check: Callable[[Item], Made]) -> list[Made]:
        """Return the results of a check for the items that pass it."""
        made = []
        for item in items:
            try:
                if isinstance(item, BadRow):
                    raise item.error
                made.append(check(item))
            except (InvalidDocumentError, InvalidTokensError) as error:
                self.add(item, error)
        return made

    def isolate(self, rows: Sequence[Row], work: Callable[[list[Document]], Made]) -> list[tuple[Sequence[Row], Made]]:
        """Do work for all documents together; if it fails, bisect them to isolate the bad ones.

        Returns:
            The parts that succeeded, in order, each with its result.
        """
        failed, waiting, done = 0, [rows] if rows else [], []
        while waiting:
            part = waiting.pop()
            try:
                done.append((part, work([row.document for row in part])))
            except _OF_A_DOCUMENT as error:
                ours = isinstance(error, ColbertQdrantError)
                if ours and not isinstance(error, InvalidDocumentError | InvalidTokensError):
                    raise
                if len(part) > 1:
                    half = len(part) // 2
                    waiting += [part[half:], part[:half]]
                    continue
                failed += not ours
                if failed == self._hopeless and not done:
                    raise
                self.add(part[0], error)
        return done

    def add(self, item: object, error: Exception) -> None:
        """Raise the error with the document's id in its message, or record it."""
        document = item.document if isinstance(item, Row) else item
        named = _naming(document, error)
        if not self.skips:
            raise named from (None if named is error else error)
        self.found.append(self._recorded(document, str(named)))

    def refused(self, document: Document, reason: str) -> RejectedDocument:
        """Record a document that the server refused."""
        place = where(document)
        return self._recorded(document, f"{place}: {reason}" if place else reason)

    def _recorded(self, document: object, reason: str) -> RejectedDocument:
        self.items.append((document, reason))
        return RejectedDocument(id=document.id if isinstance(document, Document | BadRow) else None, reason=reason)


def require_on_error(on_error: object) -> None:
    """Check that ``on_error`` is a known value."""
    require_one_of("on_error", on_error, get_args(OnError))


def require_documents(documents: object) -> None:
    """Check that ``documents`` is an iterable of documents, and not another iterable such as a string."""
    if isinstance(documents, Document | str | bytes | dict) or not (
        holds(lambda: hasattr(documents, "__aiter__")) or holds(lambda: (iter(documents), True))  # type: ignore[call-overload]
    ):
        found = "one Document" if isinstance(documents, Document) else f"a {type(documents).__name__}"
        raise ConfigurationError(
            f"documents must be a list or another iterable of Documents, got {found}: pass [Document(id=…, text=…)]"
        )


def ready_row(
    document: Document, payload: Payload, *, encoder: LateInteractionEncoder, config: CollectionConfig
) -> Row:
    """Return a document's row, with the ready token embeddings that it brings.

    Raises:
        InvalidDocumentError: If it brings none, and there is no model to make them.
        InvalidTokensError: If they cannot be stored, or have other dimensions. The message names the document.
    """
    if document.tokens is None:
        if able_to_encode(encoder) is None:
            raise InvalidDocumentError(
                f"document {shown(document.id)} has no tokens, and the collection was opened without an encoder: pass "
                "Document(id=…, tokens=…), or open the collection with encoder=…"
            )
        return Row(document=document, payload=payload)
    try:
        tokens = one_text(document.tokens, dim=encoder.dim)
    except InvalidTokensError as error:
        raise _naming(document, error) from None
    check_range([document.id], tokens, setting="token_datatype", datatype=config.token_datatype)
    return Row(document=document, payload=payload, tokens=tokens[0], truncated=bool(tokens.truncated[0]))


def _naming(item: object, error: Exception) -> Exception:
    """Return an error that names the document by its place and id instead of its position in the batch."""
    place = f"{found}: " if isinstance(item, RowDocument) and (found := where(item)) else ""
    document = f"document {shown(item.id if isinstance(item, Document) else None)}"
    if not isinstance(error, ColbertQdrantError):
        return InvalidDocumentError(
            f"{place}{document} cannot be encoded ({type(error).__name__}: {error}): omit it, or change its text"
        )
    message = str(error)
    if isinstance(error, InvalidDocumentError) or document in message:
        return error if message.startswith(place) else type(error)(place + message)
    shorter, count = re.subn(r"^text 0\b", document, message)
    return InvalidTokensError(place + (shorter if count else f"{document}: {message}"))
