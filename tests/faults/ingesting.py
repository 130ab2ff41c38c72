"""An ingest with a journal, in processes of their own that are killed at any point."""

from __future__ import annotations

import os
import signal
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from qdrant_client import QdrantClient

import colbert_qdrant
from colbert_qdrant import ColbertCollection, CollectionConfig, Document, EdgeClient, LemurConfig, MuveraConfig
from colbert_qdrant.collection.ingest import chunks, resumption
from tests.encoders import WordEncoder, random_texts
from tests.faults.migrating import FAST

if TYPE_CHECKING:
    from colbert_qdrant.collection.ingest.conflicts import OnConflict
    from colbert_qdrant.engines import Client

CHUNK: Final = 8
COUNT: Final = 96
TEXTS: Final = random_texts(COUNT, seed=5)
MUVERA: Final = MuveraConfig(k_sim=2, dim_proj=4, r_reps=2)
LEMUR: Final = LemurConfig(dim=8, hidden=16, epochs=0, learn_tokens=50, fit_documents=40)
LEFT: Final = [Document(f"left {number}", "a text that has left the source") for number in range(5)]
"""Documents that are stored before the ingest, and that the source lacks."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One ingest.

    Attributes:
        place: The folder of an embedded store, or the address of a server.
        name: The collection.
        journal: The journal.
        fitted: Whether its encoding is LEMUR.
        on_conflict, sync: The options.
        prompt: Whether every chunk has a checkpoint; otherwise, those that take a small share of the time.
    """

    place: str
    name: str
    journal: str
    fitted: bool
    on_conflict: OnConflict
    sync: bool
    prompt: bool

    def client(self) -> Client:
        if self.place.startswith("http"):
            return QdrantClient(url=self.place, timeout=60)
        return EdgeClient(self.place)

    def config(self) -> CollectionConfig:
        return CollectionConfig(fde=LEMUR if self.fitted else MUVERA)


def source() -> list[Document]:
    """Documents of which some have the same id, and some cannot be stored."""
    documents = [Document(number, text, {"number": number}) for number, text in enumerate(TEXTS)]
    documents[30] = Document(3, "a later text with the same id", {"number": -3})
    documents[33] = Document(32, "a later text in the same chunk", {"number": -32})
    documents[50] = Document("no text", "")
    return documents


class Counting(WordEncoder):
    """Counts the documents of all processes."""

    def __init__(self, total: Any) -> None:
        super().__init__()
        self._total = total

    def encode_documents(self, texts: Any) -> Any:
        with self._total.get_lock():
            self._total.value += len(texts)
        return super().encode_documents(texts)


def work(plan: Plan, deadly: int, calls: Any, encoded: Any) -> None:
    """In a process of its own, which SIGKILL ends at a call of a function of this library, or its return."""
    chunks._DOCUMENTS = CHUNK  # type: ignore[misc]
    if plan.prompt:
        resumption._SHARE = 1e9  # type: ignore[misc]
    folder, count = str(Path(colbert_qdrant.__file__).parent), 0

    def trace(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        if frame.f_code.co_filename.startswith(folder):
            count += 1
            if count == deadly:
                os.kill(os.getpid(), signal.SIGKILL)

    client = plan.client()
    threading.setprofile(trace)
    sys.setprofile(trace)
    docs = ColbertCollection.open(plan.name, client=client, encoder=Counting(encoded), retry=FAST)
    docs.ingest(source(), resume=plan.journal, on_error="skip", on_conflict=plan.on_conflict, sync=plan.sync)
    sys.setprofile(None)
    threading.setprofile(None)
    client.close()
    calls.value = count
