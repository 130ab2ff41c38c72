"""Splits long documents into passages that an encoder reads completely."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from colbert_qdrant._support.values import plain
from colbert_qdrant.config.checks import require_int
from colbert_qdrant.documents import Document
from colbert_qdrant.encoders.base import TokenCounter, require_text
from colbert_qdrant.errors import ConfigurationError, InvalidDocumentError
from colbert_qdrant.shown import has, shown
from colbert_qdrant.sources.sentences import Unit, divide, split_sentences

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Passage:
    """A part of a document's text.

    Args:
        text: The text to index. It may differ from the document's, for example by a title in front.
        start: The index in the document's text at which the passage begins.
        end: The index after the passage's last character.

    Raises:
        ConfigurationError: If the text is not a string, or the indices are no span.
    """

    text: str
    start: int
    end: int

    def __post_init__(self) -> None:
        if not isinstance(self.text, str):
            raise ConfigurationError(f"text must be a string, got {type(self.text).__name__}: pass the passage's text")
        for name in ("start", "end"):
            object.__setattr__(self, name, plain(getattr(self, name)))
        require_int("start", self.start, minimum=0)
        require_int("end", self.end, minimum=self.start)


@runtime_checkable
class Chunker(Protocol):
    """Splits documents into passages; any object with this method is a chunker."""

    def chunk(self, document: Document) -> Iterable[Passage]:
        """Return the passages of a document, in order.

        The same document must have the same passages at every call, because their ids contain their numbers.
        """


class SentenceChunker:
    """Makes passages of whole sentences, each as long as an encoder can read.

    A passage never ends with a heading. Lists, tables and paragraphs of Markdown are divided between their items, rows
    and sentences. A block of code stays whole if it fits. A sentence that is too long is divided between words, and a
    word that is too long between characters. White space at the ends of a passage is left out; every other character
    of the document is in a passage.

    Args:
        encoder: The encoder, which counts the tokens.
        max_tokens: The maximum number of tokens of a passage, including special tokens; by default, and at most, the
            encoder's maximum length.
        overlap: The number of sentences at the end of a passage that the next passage repeats, if they fit. A passage
            that starts with a heading repeats nothing.

    Raises:
        ConfigurationError: If the encoder cannot count tokens, or a number is out of range.
    """

    def __init__(self, encoder: TokenCounter, *, max_tokens: int | None = None, overlap: int = 1) -> None:
        missing = [name for name in ("count_tokens", "document_length") if not has(encoder, name)]
        if missing or isinstance(encoder, type):
            raise ConfigurationError(
                f"SentenceChunker cannot count the tokens of {type(encoder).__name__}, which lacks "
                f"{' and '.join(missing) or 'an instance'}: pass a ColbertEncoder or another object with "
                "count_tokens(texts) and document_length, or write a Chunker"
            )
        max_tokens, overlap = plain(max_tokens), plain(overlap)
        require_int("overlap", overlap, minimum=0)
        longest = plain(encoder.document_length)
        require_int("the encoder's document_length", longest, minimum=1)
        if max_tokens is not None:
            require_int("max_tokens", max_tokens, minimum=1)
            if max_tokens > longest:
                raise ConfigurationError(
                    f"max_tokens={max_tokens} exceeds the {longest} tokens that the encoder reads of a document: pass "
                    "less, or load the encoder with a larger document_length"
                )
        self._encoder = encoder
        self._overlap = overlap
        self._budget = longest if max_tokens is None else max_tokens
        self._around = int(self._count([""])[0])
        if self._budget <= self._around:
            raise ConfigurationError(
                f"max_tokens={self._budget} leaves no room for text besides {self._around} special tokens: pass more"
            )

    def chunk(self, document: Document) -> list[Passage]:
        """Return the passages of a document, in order.

        Raises:
            InvalidDocumentError: If the document is not a `Document`, or its text is not a string of valid Unicode.
        """
        if not isinstance(document, Document):
            raise InvalidDocumentError(
                f"expected a Document, got {type(document).__name__}: pass Document(id=…, text=…)"
            )
        text = document.text
        require_text(f"the text of document {shown(document.id)}", text, InvalidDocumentError)
        units, counts = self._units(text)
        room = self._budget - self._around
        while True:  # tokens can depend on their neighbors, so passages are counted again
            packed = self._pack(units, counts, room)
            passages = [_trimmed(text, units[first].start, units[last - 1].end) for first, last in packed]
            several = [each.text for each, (first, last) in zip(passages, packed, strict=True) if last > first + 1]
            excess = int(self._count(several).max(initial=0)) - self._budget
            if excess <= 0:
                return [each for each in passages if each.text]
            room -= excess

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._encoder!r}, max_tokens={self._budget}, overlap={self._overlap})"

    def _count(self, texts: list[str]) -> NDArray[np.int64]:
        if not texts:
            return np.zeros(0, np.int64)
        counts = np.asarray(self._encoder.count_tokens(texts))
        if counts.shape != (len(texts),) or counts.dtype.kind not in "iu":
            raise ConfigurationError(
                f"count_tokens of {type(self._encoder).__name__} returned {shown(counts, 60)} for {len(texts)} texts: "
                "make it return one integer per text"
            )
        return counts.astype(np.int64)

    def _units(self, text: str) -> tuple[list[Unit], NDArray[np.int64]]:
        """Return units that fit into a passage, with their numbers of tokens."""
        units, done = split_sentences(text), list[tuple[Unit, int]]()
        while units:
            counts = self._count([text[each.start : each.end].strip() for each in units]) - self._around
            waiting = []
            for unit, count in zip(units, counts.tolist(), strict=True):
                parts = divide(text, unit) if count > self._budget - self._around else [unit]
                if len(parts) > 1:
                    waiting += parts
                else:
                    done.append((unit, count))
            units = waiting
        done.sort(key=lambda each: each[0].start)
        return [unit for unit, _ in done], np.array([max(count, 0) for _, count in done], np.int64)

    def _pack(self, units: list[Unit], counts: NDArray[np.int64], room: int) -> list[tuple[int, int]]:
        """Return the first and last units of passages of at most ``room`` tokens; a unit alone may have more."""
        ends = np.cumsum(counts)
        headings = np.array([each.heading for each in units], np.bool_)
        packed, first, new = list[tuple[int, int]](), 0, 0
        while new < len(units):
            before = int(ends[first - 1]) if first else 0
            last = max(int(np.searchsorted(ends, before + room, side="right")), new + 1)
            last = self._before_heading(headings, ends, (new, last), before + room // 2)
            packed.append((first, last))
            new, first = last, max(last - self._overlap, first + 1)
            if new < len(units):
                if headings[new]:
                    first = new
                while first < new and ends[new] - (ends[first - 1] if first else 0) > room:
                    first += 1
        return packed

    @staticmethod
    def _before_heading(headings: NDArray[np.bool_], ends: NDArray[np.int64], span: tuple[int, int], half: int) -> int:
        """Return the end of a passage: before a heading in its second half, or before the headings at its end."""
        first, last = span
        if last == len(headings):
            return last
        for position in np.flatnonzero(headings[first + 1 : last]) + first + 1:
            if ends[position - 1] >= half:
                return int(position)
        while last > first + 1 and headings[last - 1]:
            last -= 1
        return last


def _trimmed(text: str, start: int, end: int) -> Passage:
    """Return a passage without the white space at its ends."""
    part = text[start:end]
    start += len(part) - len(part.lstrip())
    part = part.strip()
    return Passage(text=part, start=start, end=start + len(part))


def require_chunker(chunker: Any) -> None:
    """Check that a value is a chunker.

    Raises:
        ConfigurationError: If it has no method ``chunk``, or is a class.
    """
    if isinstance(chunker, type) or not has(chunker, "chunk"):
        name = chunker.__name__ if isinstance(chunker, type) else type(chunker).__name__
        raise ConfigurationError(
            f"chunker is {name}, which is no Chunker: pass SentenceChunker(encoder), or an object with chunk(document)"
        )
