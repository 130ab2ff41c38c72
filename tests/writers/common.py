"""What all writers write: sentences, metadata and vectors, the same on every machine."""

from __future__ import annotations

import re
import uuid
import warnings
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from qdrant_client import models

from tests.encoders import WordEncoder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray
    from qdrant_client import QdrantClient

COUNT = 40
DIM = 32

_WHO = [
    "The harbour master",
    "An engineer from Zürich",
    "Our night-shift nurse",
    "The youngest librarian",
    "Dr. Nguyễn",
    "A beekeeper near 京都",
    "The museum's curator",
    "Every second passenger",
]
_DID = [
    "repaired the broken crane before the storm arrived.",
    "counted the bees and wrote the result into a green notebook.",
    "asked why the ferry timetable had been changed without notice.",
    "found an old map of the canal behind the wardrobe.",
    "compared three pumps and kept the quietest one.",
    "translated the letter twice, once for each sister.",
    "measured the temperature of the river at dawn.",
    "closed the windows, because the rain came from the west.",
]


@dataclass(frozen=True)
class Written:
    """A collection that somebody wrote.

    Attributes:
        client: The client it was written with.
        collection: Its name.
        text_path: Where in a payload the text is, as Qdrant writes paths, and on into a string of JSON as if that were
            an object; empty if there is none.
        texts: The texts by their points' ids, as the client reads them; points that have no text are missing.
        search: What the application shows for a collection (or an alias) and a query, best first: texts, if it has any.
    """

    client: QdrantClient
    collection: str
    text_path: str
    texts: dict[int | str, str]
    search: Callable[[str, str], list[str]]


class Writer(Protocol):
    """Writes a collection."""

    def __call__(self, client: QdrantClient, collection: str, count: int = COUNT) -> Written: ...


def texts(count: int) -> list[str]:
    """Sentences, of which no two are alike."""
    rounds = len(_WHO) * len(_DID)
    return [
        f"{_WHO[number % len(_WHO)]} {_DID[(number // len(_WHO) + number) % len(_DID)]}"
        + (f" That was on day {number // rounds}." if number >= rounds else "")
        for number in range(count)
    ]


def metadata(number: int) -> dict[str, Any]:
    """What applications keep beside a text."""
    return {
        "title": f"Größe Nr. {number} – 報告",
        "source": {"file": f"reports/{2000 + number % 5}/ä {number}.md", "lines": [number, number + 12]},
        "tags": ["field", f"tag-{number % 3}"],
        "authors": [{"name": "Zoë", "age": 41}, {"name": "Åke", "age": None}],
        "number": number,
        "rating": number / 4,
        "public": number % 2 == 0,
        "reviewer": None,
        "published": f"20{number % 24:02}-03-{1 + number % 28:02}T08:30:00Z",
    }


def uuids(count: int) -> list[str]:
    return [str(uuid.uuid5(uuid.NAMESPACE_URL, f"document {number}")) for number in range(count)]


def mixed_ids(count: int) -> list[int | str]:
    """Whole numbers (the largest possible among them) and UUIDs."""
    numbers = [2**64 - 1, *range(1, count)]
    return [
        number if position % 2 == 0 else id
        for position, (number, id) in enumerate(zip(numbers, uuids(count), strict=False))
    ]


def tokens(text: str) -> NDArray[np.float32]:
    """A vector for each word, with a little of the text's own, so that hardly any scores are equal."""
    words = _words(text)
    each, whole = WordEncoder(dim=DIM).encode_documents([" ".join(words), "".join(words)])
    return each + whole * np.float32(0.125)


def dense(text: str) -> list[float]:
    """A bag of words; not of length 1."""
    vector: list[float] = tokens(text).sum(axis=0).tolist()
    return vector


def sparse(text: str) -> tuple[list[int], list[float]]:
    """Indices and values of the words' counts, with a factor of the text's own, so that hardly any scores are equal."""
    counts = Counter(map(_index, _words(text)))
    factor = 1 + _index(text) / 2**32
    return list(counts), [count * factor for count in counts.values()]


def sparse_vector(text: str) -> models.SparseVector:
    indices, values = sparse(text)
    return models.SparseVector(indices=indices, values=values)


@contextmanager
def payload_indexes() -> Iterator[None]:
    """Lets indexes be made in local mode too, which has none and warns."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Payload indexes have no effect in the local Qdrant")
        yield


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


@lru_cache
def _index(word: str) -> int:
    return uuid.uuid5(uuid.NAMESPACE_URL, word).int % 2**32
