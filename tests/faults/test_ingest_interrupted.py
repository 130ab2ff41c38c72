"""Ctrl-C and cancellation end an ingest after the documents on their way, and the same call continues."""

from __future__ import annotations

import asyncio
import signal
import threading
from typing import TYPE_CHECKING, Any

import pytest

from colbert_qdrant import (
    AsyncColbertCollection,
    AsyncEdgeClient,
    ColbertCollection,
    CollectionConfig,
    Document,
    EdgeClient,
    MuveraConfig,
)
from tests.encoders import WordEncoder
from tests.processes import Script

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONFIG = CollectionConfig(fde=MuveraConfig(k_sim=2, dim_proj=4, r_reps=2))

SCRIPT = """
import asyncio, os, signal, sys
from colbert_qdrant import *
from colbert_qdrant.collection.ingest import chunks
from tests.encoders import WordEncoder

signal.signal(signal.SIGINT, signal.default_int_handler)
signal.setitimer(signal.ITIMER_REAL, 50)  # ends by itself, should nothing else end it
chunks._DOCUMENTS = 10
place, journal, awaited, pause = sys.argv[1], sys.argv[2] or None, sys.argv[3] == "True", sys.argv[4] == "True"
config = CollectionConfig(fde=MuveraConfig(k_sim=2, dim_proj=4, r_reps=2))

def documents():
    for number in range(200):
        if number == 100 and pause:
            print("begun", flush=True)
            input()  # until the signal was sent
        yield Document(number, f"river {number}")

def ingest():
    with EdgeClient(place) as client:
        docs = ColbertCollection.open_or_create("docs", client=client, encoder=WordEncoder(), config=config)
        return docs.ingest(documents(), resume=journal)

async def aingest():
    async with AsyncEdgeClient(place) as client:
        docs = await AsyncColbertCollection.open_or_create("docs", client=client, encoder=WordEncoder(), config=config)
        return await docs.ingest(documents(), resume=journal)

report = asyncio.run(aingest()) if awaited else ingest()
print(report.documents, report.resumed, flush=True)
"""


def run(place: Path, *, journal: Path | None, awaited: bool = False, pause: bool = True) -> tuple[int, str, str]:
    """Run the script, which is interrupted if it pauses; gives its exit code, and what it printed."""
    with Script(SCRIPT, place, journal or "", awaited, pause) as running:
        if pause:
            assert running.stdout.readline() == "begun\n"
            running.interrupt()
            if not awaited:
                assert running.stderr.readline().startswith("Stopping after the documents that are being written;")
            running.stdin.write("\n")
            running.stdin.flush()
        printed, complained = running.communicate()
        return running.wait(), printed, complained


def count(place: Path) -> int:
    with EdgeClient(place) as client:
        docs = ColbertCollection.open("docs", client=client, encoder=WordEncoder())
        stored = docs.count()
        assert [each.id for each in docs.get(range(stored))] == list(range(stored))
        return stored


@pytest.mark.parametrize("awaited", [False, True], ids=["blocking", "in an event loop"])
def test_ctrl_c_records_what_is_stored_and_the_same_call_continues(tmp_path: Path, awaited: bool) -> None:
    place, journal = tmp_path / "store", tmp_path / "docs.journal"
    code, printed, complained = run(place, journal=journal, awaited=awaited)
    assert (code, printed) != (0, "")
    assert complained.rstrip().splitlines()[-1].startswith("KeyboardInterrupt")
    stored = count(place)
    assert stored >= 60
    if not awaited:
        said = f"Interrupted: this call stored {stored} documents. Run the same call again to continue."
        assert said in complained.splitlines()
        assert f"KeyboardInterrupt: {said}" in complained.splitlines()
    code, printed, complained = run(place, journal=journal, awaited=awaited, pause=False)
    assert (code, printed) == (0, f"{200 - stored} {stored}\n"), complained
    assert count(place) == 200


def test_ctrl_c_without_a_journal_tells_how_to_go_on(tmp_path: Path) -> None:
    _, _, complained = run(tmp_path / "store", journal=None)
    stored = count(tmp_path / "store")
    assert f"Interrupted: this call stored {stored} documents. Ingest again with on_conflict='skip'" in complained


def test_the_error_of_ctrl_c_is_the_one_that_python_ends_with_130_for(tmp_path: Path) -> None:
    with EdgeClient(tmp_path) as client:
        docs = ColbertCollection.create("docs", client=client, encoder=WordEncoder(), config=CONFIG)
        with pytest.raises(KeyboardInterrupt) as raised:
            docs.ingest(interrupting())
    assert raised.type is KeyboardInterrupt
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def interrupting(times: int = 1) -> Iterator[Document]:
    for number in range(1000):
        if number == 300:
            for _ in range(times):
                signal.raise_signal(signal.SIGINT)
        yield Document(number, f"river {number}")


def test_a_slow_source_is_not_read_to_the_end_of_its_chunk(tmp_path: Path) -> None:
    read = []

    def source() -> Iterator[Document]:
        for document in interrupting():
            read.append(document.id)
            yield document

    with EdgeClient(tmp_path / "store") as client:
        docs = ColbertCollection.create("docs", client=client, encoder=WordEncoder(), config=CONFIG)
        with pytest.raises(KeyboardInterrupt):
            docs.ingest(source(), resume=tmp_path / "docs.journal")
        assert (len(read), docs.count()) == (301, 256)
        report = docs.ingest(
            (Document(number, f"river {number}") for number in range(400)), resume=tmp_path / "docs.journal"
        )
        assert (report.resumed, report.documents) == (256, 144)


def test_ctrl_c_while_stored_documents_are_skipped_is_no_change_of_the_source(tmp_path: Path) -> None:
    with EdgeClient(tmp_path / "store") as client:
        docs = ColbertCollection.create("docs", client=client, encoder=WordEncoder(), config=CONFIG)
        docs.ingest((Document(number, f"river {number}") for number in range(400)), resume=tmp_path / "docs.journal")
        with pytest.raises(KeyboardInterrupt):
            docs.ingest(interrupting(), resume=tmp_path / "docs.journal")


def test_a_second_ctrl_c_interrupts_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with EdgeClient(tmp_path) as client:
        docs = ColbertCollection.create("docs", client=client, encoder=WordEncoder(), config=CONFIG)
        with pytest.raises(KeyboardInterrupt):
            docs.ingest(interrupting(times=2))
    assert "Interrupted" not in capsys.readouterr().err


def test_other_handlers_and_threads_are_left_alone(tmp_path: Path) -> None:
    received = []
    before = signal.signal(signal.SIGINT, lambda *_: received.append("mine"))
    try:
        with EdgeClient(tmp_path) as client:
            docs = ColbertCollection.create("docs", client=client, encoder=WordEncoder(), config=CONFIG)
            assert docs.ingest(interrupting()).documents == 1000
            assert received == ["mine"]
            thread = threading.Thread(target=docs.ingest, args=[[Document("a", "a text")]])
            thread.start()
            thread.join()
            assert docs.count() == 1001
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_task_that_is_cancelled_stores_and_records_what_is_on_its_way(tmp_path: Path) -> None:
    journal = tmp_path / "docs.journal"
    reached = asyncio.Event()

    async def endless() -> Any:
        for number in range(10**9):
            if number == 600:
                reached.set()
                await asyncio.sleep(60)
            yield Document(number, f"river {number}")

    async def work() -> None:
        async with AsyncEdgeClient(tmp_path / "store") as client:
            docs = await AsyncColbertCollection.create("docs", client=client, encoder=WordEncoder(), config=CONFIG)
            task = asyncio.create_task(docs.ingest(endless(), resume=journal))
            await reached.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            documents = [Document(number, f"river {number}") for number in range(700)]
            stored = await docs.count()
            report = await docs.ingest(documents, resume=journal)
            assert (report.resumed, report.documents) == (stored, 700 - stored)
            assert stored > 0

    asyncio.run(work())
