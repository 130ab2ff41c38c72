"""The life of collections in one embedded store, in steps that processes of their own are killed in."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from colbert_qdrant import ColbertCollection, CollectionConfig, Document, EdgeClient, Migration, edge
from tests.encoders import WordEncoder, random_texts
from tests.faults.migrating import FAST, LEMUR, planned

if TYPE_CHECKING:
    from collections.abc import Callable

Step = Literal["create", "ingest", "fit", "migrate", "verify", "switch", "cleanup"]

STEPS: Final[tuple[Step, ...]] = ("create", "ingest", "fit", "migrate", "verify", "switch", "cleanup")
TEXTS: Final = random_texts(24, seed=11)
BATCH: Final = 6


def own(client: EdgeClient) -> ColbertCollection:
    """The collection that is created, filled and fitted."""
    return ColbertCollection.open("own", client=client, encoder=WordEncoder())


def create(client: EdgeClient, acknowledged: Any) -> None:
    config = CollectionConfig(fde=LEMUR, payload_indexes={"number": "integer"})
    ColbertCollection.open_or_create("own", client=client, encoder=WordEncoder(), config=config)


def ingest(client: EdgeClient, acknowledged: Any) -> None:
    docs = own(client)
    for start in range(acknowledged.value, len(TEXTS), BATCH):
        batch = [Document(n, TEXTS[n], {"number": n}) for n in range(start, min(start + BATCH, len(TEXTS)))]
        docs.upsert(batch)
        acknowledged.value = start + len(batch)


def fit(client: EdgeClient, acknowledged: Any) -> None:
    own(client).fit(refit=True)


def migrate(client: EdgeClient, acknowledged: Any) -> None:
    planned(client, "computed").run()


def migration(client: EdgeClient) -> Migration:
    """The migration of ``docs`` to ``new``, from what is kept with the target."""
    return Migration.resume(client, "new", encoder=WordEncoder(), retry=FAST)


def verify(client: EdgeClient, acknowledged: Any) -> None:
    verdict = migration(client).verify(queries=3)
    assert verdict.passed, verdict.reasons


def switch(client: EdgeClient, acknowledged: Any) -> None:
    migration(client).switch("live")


def cleanup(client: EdgeClient, acknowledged: Any) -> None:
    migration(client).cleanup("source", confirm=lambda _: True)


_WORK: Final[dict[Step, Callable[[EdgeClient, Any], None]]] = {
    "create": create,
    "ingest": ingest,
    "fit": fit,
    "migrate": migrate,
    "verify": verify,
    "switch": switch,
    "cleanup": cleanup,
}


def work(path: str, step: Step, deadly: int, calls: Any, acknowledged: Any) -> None:
    """In a process of its own, which ends at a call of a function of the embedded engine's client, or its return."""
    folder, count = str(Path(edge.__file__).parent), 0

    def trace(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        if event in ("call", "return", "c_call", "c_return") and frame.f_code.co_filename.startswith(folder):
            count += 1
            if count == deadly:
                os._exit(9)

    with EdgeClient(path) as client:
        sys.setprofile(trace)
        _WORK[step](client, acknowledged)
        sys.setprofile(None)
    calls.value = count
