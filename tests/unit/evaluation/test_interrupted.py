"""An evaluation that is interrupted anywhere goes on, and encodes nothing twice."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from qdrant_client import QdrantClient

from colbert_qdrant import (
    ColbertCollection,
    CollectionConfig,
    ConfigurationError,
    DiskFullError,
    Document,
    TokenEmbeddings,
)
from colbert_qdrant.collection.ingest import chunks
from colbert_qdrant.evaluation import query_tokens, searching
from colbert_qdrant.evaluation.state import HitsFile
from tests.encoders import WordEncoder
from tests.processes import Script
from tests.unit.evaluation import world
from tests.unit.evaluation.world import CONFIG, QRELS, QUERIES, TEXTS, documents, small_dataset

if TYPE_CHECKING:
    from collections.abc import Sequence

    from colbert_qdrant import Evaluation

measured = partial(world.measured, candidates=len(TEXTS))
"""All documents are candidates, because stores of the same documents may choose others among equal ones."""

MODES = ["exact", "two-stage", "fde", "hybrid", "bm25"]


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Documents are encoded 10 at a time, queries 3 at a time, and searched 4 at a time."""
    monkeypatch.setattr(chunks, "_DOCUMENTS", 10)
    monkeypatch.setattr(query_tokens, "PART", 3)
    monkeypatch.setattr(searching, "CHUNK", 4)


@dataclass
class Counting(WordEncoder):
    """Counts the texts that were encoded, and presses Ctrl-C before one of the calls."""

    queries: int = 0
    stop_at: tuple[str, int] | None = None

    def encode_documents(self, texts: Sequence[str]) -> TokenEmbeddings:
        self._stop("documents", self.encoded)
        return super().encode_documents(texts)

    def encode_queries(self, texts: Sequence[str]) -> TokenEmbeddings:
        self._stop("queries", self.queries)
        self.queries += len(texts)
        return super().encode_queries(texts)

    def _stop(self, kind: str, count: int) -> None:
        if self.stop_at is not None and self.stop_at[0] == kind and count >= self.stop_at[1]:
            self.stop_at = None
            raise KeyboardInterrupt


class Stopping:
    """A progress reporter that presses Ctrl-C after some queries of a search."""

    def __init__(self, mode: int) -> None:
        self.totals: list[int | None] = []
        self.mode = mode

    def start(self, total: int | None) -> None:
        self.totals.append(total)

    def advance(self, documents: int) -> None:
        if len(self.totals) == self.mode:
            raise KeyboardInterrupt

    def stop(self) -> None: ...


def hits(evaluation: Evaluation) -> dict[str, dict[str, dict[str, float]]]:
    return {
        run.mode: {query: dict(found) for query, found in run.run.hits.items()}
        for run in evaluation.runs
        if run.run is not None
    }


def assert_same(one: Evaluation, other: Evaluation) -> None:
    """Both found the same; the average length of BM25 was measured on other first documents, within 10 percent."""
    assert one.modes == other.modes
    for mode, found in hits(one).items():
        assert {*found} == {*QUERIES}
        for query, expected in hits(other)[mode].items():
            within = 0.08 if mode in ("bm25", "hybrid") else 1e-6
            assert sorted(found[query].values()) == pytest.approx(
                sorted(expected.values()), rel=within, abs=max(within, 1e-4)
            )


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    """What an evaluation finds that nothing interrupts."""
    return measured(WordEncoder(), folder=tmp_path_factory.mktemp("whole"))


@pytest.mark.parametrize("stop_at", [("documents", 0), ("documents", 20), ("queries", 0), ("queries", 6)])
def test_ctrl_c_while_a_model_encodes(stop_at: tuple[str, int], tmp_path: Path, whole: Evaluation) -> None:
    encoder = Counting(stop_at=stop_at)
    with pytest.raises(KeyboardInterrupt, match="same arguments to continue") as pressed:
        measured(encoder, folder=tmp_path)
    assert pressed.value.__cause__ is pressed.value.__context__ is None  # one traceback
    assert_same(measured(encoder, folder=tmp_path), whole)
    again = 20 if stop_at[0] == "documents" else 0  # chunks on their way: encoded, and not recorded yet
    assert len(TEXTS) <= encoder.encoded <= len(TEXTS) + again
    assert encoder.queries == len(QUERIES)


@pytest.mark.parametrize("mode", MODES)
def test_ctrl_c_in_a_search(mode: str, tmp_path: Path, whole: Evaluation) -> None:
    encoder, number = Counting(), MODES.index(mode)
    phases = 3  # documents, their graph, and queries
    with pytest.raises(KeyboardInterrupt, match="same arguments to continue"):
        measured(encoder, folder=tmp_path, progress=Stopping(phases + number + 1))
    reporter = Stopping(-1)
    assert_same(measured(encoder, folder=tmp_path, progress=reporter), whole)
    assert (encoder.encoded, encoder.queries) == (len(TEXTS), len(QUERIES))
    assert reporter.totals == [len(QUERIES) - 4, *[len(QUERIES)] * (len(MODES) - number - 1)]


def test_a_collection_goes_on_after_ctrl_c_and_begins_anew_after_the_end(tmp_path: Path) -> None:
    client = QdrantClient(":memory:")
    encoder = Counting()
    docs = ColbertCollection.create("docs", client=client, encoder=encoder, config=CONFIG)
    docs.upsert(documents())
    several = [small_dataset(), small_dataset(name="other")]
    with pytest.raises(KeyboardInterrupt):
        measured(docs, several, folder=tmp_path, modes=["exact", "fde"], progress=Stopping(6))
    reporter = Stopping(-1)
    measured(docs, several, folder=tmp_path, modes=["exact", "fde"], progress=reporter)
    assert reporter.totals == [len(QUERIES) - 4]
    assert encoder.queries == 2 * len(QUERIES)
    reporter = Stopping(-1)
    measured(docs, several, folder=tmp_path, modes=["exact", "fde"], progress=reporter)
    assert reporter.totals == [len(QUERIES)] * 4
    client.close()


PROGRAM = """
import sys
from pathlib import Path
from tests.encoders import WordEncoder
from tests.unit.evaluation.world import measured

class Slow:
    left = int(sys.argv[2])
    def start(self, total): pass
    def advance(self, documents):
        Slow.left -= 1
        if not Slow.left:
            print("here", flush=True)
            sys.stdin.readline()
    def stop(self): pass

from colbert_qdrant.collection.ingest import chunks
from colbert_qdrant.evaluation import query_tokens, searching
chunks._DOCUMENTS, query_tokens.PART, searching.CHUNK = 10, 3, 4
measured(WordEncoder(), folder=Path(sys.argv[1]), progress=Slow(), candidates=60)
"""


@pytest.mark.parametrize("advances", [3, 8, 12])
def test_a_process_that_is_killed(advances: int, tmp_path: Path, whole: Evaluation) -> None:
    with Script(PROGRAM, tmp_path, advances) as running:
        assert running.stdout.readline() == "here\n", running.stderr.read()
        with pytest.raises(ConfigurationError, match="used by another evaluation"):
            measured(WordEncoder(), folder=tmp_path)
        running.kill()
        running.wait()
    encoder = Counting()
    assert_same(measured(encoder, folder=tmp_path), whole)
    assert encoder.encoded <= (len(TEXTS) if advances < 6 else 0)


def test_a_process_whose_user_presses_ctrl_c(tmp_path: Path, whole: Evaluation) -> None:
    with Script(PROGRAM, tmp_path, 12) as running:
        assert running.stdout.readline() == "here\n", running.stderr.read()
        running.interrupt()
        told = running.stderr.read()
        running.wait()
    assert told.count("Traceback") == 1
    assert told.splitlines()[-1].endswith(f"same arguments to continue. The progress is in {tmp_path}.")
    encoder = Counting()
    assert_same(measured(encoder, folder=tmp_path), whole)
    assert (encoder.encoded, encoder.queries) == (0, 0)


def test_a_torn_line_is_searched_again(tmp_path: Path) -> None:
    first = measured(WordEncoder(), folder=tmp_path)
    file = tmp_path / "small" / "exact.jsonl"
    whole = file.read_bytes()
    lines = whole.splitlines(keepends=True)
    for damaged in (
        whole[:-30],
        whole[:-1],
        b"".join([*lines[:-1], b"\0" * 100]),
        b"".join([*lines[:-1], b"[1, 2, 3]\n"]),
    ):
        file.write_bytes(damaged)
        reporter = Stopping(-1)
        assert hits(measured(WordEncoder(), folder=tmp_path, progress=reporter)) == hits(first)
        assert reporter.totals == [1]


def test_other_queries_depths_documents_and_settings_are_measured_anew(tmp_path: Path) -> None:
    encoder = Counting()
    measured(encoder, folder=tmp_path, modes="exact")
    changed = small_dataset(queries={**QUERIES, "q0": "zebra"})
    found = measured(encoder, changed, folder=tmp_path, modes="exact")
    assert found["exact"].run is not None
    assert next(iter(found["exact"].run.hits["q0"].values())) == pytest.approx(1, abs=0.1)
    deeper = measured(encoder, changed, folder=tmp_path, modes="exact", depth=25)
    assert {len(each) for each in hits(deeper)["exact"].values()} == {25}
    assert encoder.encoded == len(TEXTS)
    measured(encoder, small_dataset(documents=documents()[::-1]), folder=tmp_path, modes="exact")
    assert encoder.encoded == 2 * len(TEXTS)
    measured(
        encoder,
        small_dataset(documents=documents()[::-1]),
        folder=tmp_path,
        modes="exact",
        config=CollectionConfig(fde=CONFIG.fde, segments=1),
    )
    assert encoder.encoded == 3 * len(TEXTS)


def test_queries_in_another_order_keep_their_token_vectors(tmp_path: Path, whole: Evaluation) -> None:
    encoder = Counting()
    measured(encoder, folder=tmp_path, modes="exact")
    backwards = small_dataset(queries=dict(reversed(QUERIES.items())), qrels=dict(reversed(QRELS.items())))
    assert_same(measured(encoder, backwards, folder=tmp_path), whole)
    assert encoder.queries == len(QUERIES)


class Nameless(WordEncoder):
    """An encoder that cannot be told from others."""

    def fingerprint(self) -> dict[str, Any]:
        return {}


def test_nothing_of_an_encoder_without_a_fingerprint_is_used_again(tmp_path: Path) -> None:
    measured(Nameless(salt="other"), folder=tmp_path, modes="exact")
    found = hits(measured(Nameless(), folder=tmp_path / "fresh", modes="exact"))
    assert hits(measured(Nameless(), folder=tmp_path, modes="exact")) == found


def test_a_collection_that_changed_after_ctrl_c_is_searched_again(tmp_path: Path) -> None:
    client = QdrantClient(":memory:")
    docs = ColbertCollection.create("docs", client=client, encoder=WordEncoder(), config=CONFIG)
    for modes, text in (("exact", QUERIES["q0"]), ("fde", "zebra")):
        docs.upsert(documents())
        with pytest.raises(KeyboardInterrupt):
            measured(docs, folder=tmp_path / modes, modes=modes, progress=Stopping(2))
        docs.upsert([Document("d9", text)])  # as many documents as before
        changed = hits(measured(docs, folder=tmp_path / "fresh", modes=modes))
        assert hits(measured(docs, folder=tmp_path / modes, modes=modes)) == changed
    client.close()


def test_other_token_vectors_of_the_same_text_are_stored(tmp_path: Path) -> None:
    for salt, encoded in (("", 1.0), ("other", 0.0)):
        tokens = WordEncoder(salt=salt).encode_documents(["river"])[0]
        dataset = small_dataset(
            queries={"q": "river"}, qrels={"q": {"d": 1}}, documents=[Document("d", "river", tokens=tokens)]
        )
        found = hits(measured(WordEncoder(), dataset, folder=tmp_path, modes="exact"))
        assert found["exact"]["q"]["d"] == pytest.approx(encoded, abs=0.5)


def test_files_that_a_crash_only_began_to_remove_are_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, remove = measured(WordEncoder(), folder=tmp_path), shutil.rmtree

    def crash(folder: Path) -> None:
        remove(folder)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("shutil.rmtree", crash)
        with pytest.raises(KeyboardInterrupt):
            measured(WordEncoder(), small_dataset(documents=documents()[::-1]), folder=tmp_path)
    encoder = Counting()
    assert_same(measured(encoder, folder=tmp_path), first)
    assert encoder.encoded == len(TEXTS)


def test_a_crash_in_the_first_write_leaves_a_folder_that_can_be_used(tmp_path: Path) -> None:
    (tmp_path / "small").mkdir()
    (tmp_path / "small" / "state.json.tmp").write_text("{")
    assert measured(WordEncoder(), folder=tmp_path, modes="exact").folder == tmp_path


def test_a_store_that_was_deleted_is_built_again(tmp_path: Path, whole: Evaluation) -> None:
    measured(WordEncoder(), folder=tmp_path, modes="exact")
    shutil.rmtree(tmp_path / "small" / "store")
    assert_same(measured(WordEncoder(), folder=tmp_path), whole)


def test_another_version_searches_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, reporter = Counting(), Stopping(-1)
    measured(encoder, folder=tmp_path, modes="exact")
    monkeypatch.setattr("colbert_qdrant.evaluation.result.version", lambda name: f"{name} 9.9")
    assert measured(encoder, folder=tmp_path, modes="exact", progress=reporter).versions["qdrant-edge-py"]
    assert reporter.totals == [len(QUERIES)]
    assert (encoder.encoded, encoder.queries) == (len(TEXTS), len(QUERIES))


def test_a_full_disk_is_told() -> None:
    with pytest.raises(DiskFullError, match="free some space, and run the same call again"):
        HitsFile(Path("/dev/full")).append({"q": {"d": 1.0}}, 1.0)


def test_folders_of_others_are_left_alone(tmp_path: Path) -> None:
    measured(WordEncoder(), folder=tmp_path, modes="exact")
    with pytest.raises(ConfigurationError, match="has the results of model 'words'"):
        measured(WordEncoder(salt="other"), folder=tmp_path, modes="exact")
    (tmp_path / "mine" / "small").mkdir(parents=True)
    (tmp_path / "mine" / "small" / "corpus.jsonl").write_text("{}")
    with pytest.raises(ConfigurationError, match=r"other files, such as 'corpus.jsonl'"):
        measured(WordEncoder(), folder=tmp_path / "mine")
    with pytest.raises(ConfigurationError, match="cannot be written"):
        measured(WordEncoder(), folder=tmp_path / "mine" / "small" / "corpus.jsonl")


def test_the_cache_has_a_folder_with_the_name_of_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLBERT_QDRANT_CACHE", str(tmp_path / "cache"))
    first = measured(WordEncoder(), modes="exact")
    other = measured(WordEncoder(salt="two"), modes="exact")
    assert first.folder is not None
    assert other.folder is not None
    assert first.folder.parent == tmp_path / "cache" / "evaluate"
    assert first.folder.name.startswith("words-")
    assert other.folder.name.startswith("words-two-")
    assert json.loads((first.folder / "small" / "state.json").read_bytes())["finished"]
    monkeypatch.setenv("COLBERT_QDRANT_CACHE", "~/mine")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert (measured(WordEncoder(), modes="exact").folder or Path()).parent == tmp_path / "mine" / "evaluate"
    monkeypatch.delenv("COLBERT_QDRANT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    third = measured(WordEncoder(), modes="exact")
    assert third.folder is not None
    assert third.folder.parent == tmp_path / "xdg" / "colbert-qdrant" / "evaluate"
