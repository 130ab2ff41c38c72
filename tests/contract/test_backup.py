"""A backup is restored with its fitted encoding and aliases, on every engine that can copy a collection."""

from __future__ import annotations

import errno
import json
import os
import threading
from typing import TYPE_CHECKING, Any

import pytest
from qdrant_client import models

from colbert_qdrant import (
    AsyncColbertCollection,
    AsyncEdgeClient,
    BackupError,
    Bm25Config,
    CapabilityError,
    ColbertCollection,
    CollectionConfig,
    CollectionExistsError,
    ConfigurationError,
    DiskFullError,
    Document,
    EdgeClient,
    FingerprintMismatchError,
    LemurConfig,
    MuveraConfig,
)
from colbert_qdrant.collection.metadata import read_current
from tests.contract.conftest import empty
from tests.encoders import WordEncoder, random_texts
from tests.processes import run_script

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from pathlib import Path

    from colbert_qdrant.config import FdeConfig
    from colbert_qdrant.engines import Client
    from tests.contract.conftest import Engine

MUVERA = MuveraConfig(k_sim=2, dim_proj=8, r_reps=4)
FITTED = MuveraConfig(k_sim=2, dim_proj=8, r_reps=4, center=True, fit_documents=20)
LEMUR = LemurConfig(dim=16, hidden=64, epochs=0, learn_tokens=200, fit_documents=25)
TEXTS = random_texts(40)
LOCAL = ("memory", "path")


@pytest.fixture(autouse=True)
def _copies(request: pytest.FixtureRequest) -> None:
    """Local mode has one test only."""
    kind = request.getfixturevalue("engine").kind if "engine" in request.fixturenames else ""
    if (kind in LOCAL) != ("local_mode" in request.node.name) and kind:
        pytest.skip("the client's local mode cannot copy a collection")


def create(client: Client, name: str, fde: FdeConfig = MUVERA) -> ColbertCollection:
    config = CollectionConfig(fde=fde, bm25=Bm25Config(), payload_indexes={"n": "integer"})
    docs = ColbertCollection.create(name, client=client, encoder=WordEncoder(), config=config)
    docs.ingest([Document(id, text, {"n": id}) for id, text in enumerate(TEXTS)])
    return docs


def everything(docs: ColbertCollection) -> list[Any]:
    """What searches of all kinds find, and what is stored."""
    query = "river temple"
    options: list[dict[str, Any]] = [
        {},
        {"mode": "exact"},
        {"mode": "fde"},
        {"mode": "hybrid"},
        {"where": {"n": {"gt": 5}}},
    ]
    found = [[(hit.id, hit.score, hit.text) for hit in docs.search(query, limit=9, **each)] for each in options]
    return [*found, docs.get(list(range(40))), docs.check(), docs.config]


@pytest.mark.parametrize("fde", [MUVERA, FITTED, LEMUR], ids=["muvera", "fitted", "lemur"])
def test_searches_find_the_same_after_a_restore(engine: Engine, client: Client, tmp_path: Path, fde: FdeConfig) -> None:
    docs = create(client, engine.name, fde)
    alias = models.CreateAlias(alias_name=f"{engine.name}-live", collection_name=engine.name)
    client.update_collection_aliases([models.CreateAliasOperation(create_alias=alias)])
    before = everything(docs)
    ColbertCollection.open(f"{engine.name}-live", client=client, encoder=WordEncoder()).backup(tmp_path / "backup")
    assert everything(docs) == before
    docs.upsert([Document(99, TEXTS[0])])  # the backup has no part in it
    # beside it, under another name
    other = ColbertCollection.restore(
        tmp_path / "backup", client=client, encoder=WordEncoder(), name=f"{engine.name}-other"
    )
    assert everything(other) == before
    other.upsert([Document("new", "a unicorn at noon")])
    if fde is not MUVERA:
        other.fit(refit=True)
    assert other.search("unicorn", limit=1)[0].id == "new"
    # in its place
    docs.drop()
    again = ColbertCollection.restore(tmp_path / "backup", client=client, encoder=WordEncoder())
    assert (again.name, everything(again)) == (engine.name, before)
    live = ColbertCollection.open(f"{engine.name}-live", client=client, encoder=WordEncoder())
    assert everything(live) == before
    if engine.kind != "edge":
        assert client.list_snapshots(engine.name) == []  # type: ignore[union-attr]


def test_a_name_that_is_taken_is_refused_first(engine: Engine, client: Client, tmp_path: Path) -> None:
    docs = create(client, engine.name)
    docs.backup(tmp_path / "backup")
    with pytest.raises(BackupError, match="exists already, and a backup never replaces anything"):
        docs.backup(tmp_path / "backup")
    with pytest.raises(CollectionExistsError, match="under another name with name=…"):
        ColbertCollection.restore(tmp_path / "backup", client=client, encoder=WordEncoder())
    for odd in ("", "\0", 5):
        with pytest.raises(ConfigurationError, match="path"):
            docs.backup(odd)  # type: ignore[arg-type]
    with pytest.raises(FingerprintMismatchError):
        ColbertCollection.restore(
            tmp_path / "backup", client=client, encoder=WordEncoder(salt="x"), name=f"{engine.name}-x"
        )
    assert not client.collection_exists(f"{engine.name}-x")


def remove(path: Path) -> None:
    path.unlink()


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [remove, flip])
def test_a_damaged_backup_is_refused_with_the_file(
    engine: Engine, client: Client, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    docs, folder = create(client, engine.name, FITTED), tmp_path / "backup"
    docs.backup(folder)
    docs.drop()
    names = json.loads((folder / "manifest.json").read_text())["files"]
    sizes = {name: (folder / name).stat().st_size for name in names}
    for name in (max(sizes, key=lambda each: sizes[each]), next(each for each in names if "safetensors" in each)):
        whole = (folder / name).read_bytes()
        damage(folder / name)
        with pytest.raises(BackupError, match=name):
            ColbertCollection.restore(folder, client=client, encoder=WordEncoder())
        (folder / name).write_bytes(whole)
    assert not client.collection_exists(engine.name)


def test_an_incomplete_backup_is_refused(engine: Engine, client: Client, tmp_path: Path) -> None:
    docs, folder = create(client, engine.name), tmp_path / "backup"
    docs.backup(folder)
    docs.drop()
    (folder / "more").write_text("")
    with pytest.raises(BackupError, match="more was added"):
        ColbertCollection.restore(folder, client=client, encoder=WordEncoder())
    (folder / "more").unlink()
    manifest = (folder / "manifest.json").read_bytes()
    (folder / "manifest.json").write_bytes(manifest[:-9])
    with pytest.raises(BackupError, match=r"manifest\.json cannot be read"):
        ColbertCollection.restore(folder, client=client, encoder=WordEncoder())
    (folder / "manifest.json").unlink()
    with pytest.raises(BackupError, match=r"no complete backup.*no manifest\.json"):
        ColbertCollection.restore(folder, client=client, encoder=WordEncoder())
    assert not client.collection_exists(engine.name)
    (folder / "manifest.json").write_bytes(manifest)
    assert ColbertCollection.restore(folder, client=client, encoder=WordEncoder()).count() == 40


def test_a_fit_in_the_meantime_is_told(
    engine: Engine, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    docs = create(client, engine.name, FITTED)
    other = ColbertCollection.open(engine.name, client=client, encoder=WordEncoder())

    async def after_a_fit(*arguments: Any) -> Any:
        other.fit(refit=True, config=MuveraConfig(k_sim=2, dim_proj=8, r_reps=4, center=True, fit_documents=30))
        return await read_current(*arguments)

    monkeypatch.setattr("colbert_qdrant.collection.backup.read_current", after_a_fit)
    with pytest.raises(BackupError, match="call backup\\(\\) again"):
        docs.backup(tmp_path / "backup")
    assert list(tmp_path.glob("*backup*")) == []


def test_local_mode_says_what_to_do(engine: Engine, client: Client, tmp_path: Path) -> None:
    docs = ColbertCollection.create(engine.name, client=client, encoder=WordEncoder())
    with pytest.raises(CapabilityError, match="local mode cannot copy"):
        docs.backup(tmp_path / "backup")
    assert not (tmp_path / "backup").exists()


def test_a_backup_of_another_engine_is_refused(engine: Engine, client: Client, tmp_path: Path) -> None:
    docs = create(client, engine.name)
    docs.backup(tmp_path / "backup")
    path = tmp_path / "backup" / "manifest.json"
    other = "server" if engine.kind == "edge" else "edge"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"engine": other}))
    with pytest.raises(CapabilityError, match=r"Migration\.plan"):
        ColbertCollection.restore(tmp_path / "backup", client=client, encoder=WordEncoder(), name="x")


def test_writes_wait_while_a_store_is_copied(tmp_path: Path) -> None:
    """Every batch is in the copy as a whole, or not at all."""
    stop = threading.Event()
    with EdgeClient(tmp_path / "store") as client:
        docs = create(client, "docs")

        def write() -> None:
            batch = 1
            while not stop.is_set():
                docs.upsert([Document(f"{batch}/{n}", TEXTS[n], {"n": batch}) for n in range(10)])
                batch += 1

        writer = threading.Thread(target=write)
        writer.start()
        for number in range(2):
            docs.backup(tmp_path / f"backup-{number}")
        stop.set()
        writer.join()
    with EdgeClient(tmp_path / "another") as client:
        for number in range(2):
            name = f"docs-{number}"
            copy = ColbertCollection.restore(
                tmp_path / f"backup-{number}", client=client, encoder=WordEncoder(), name=name
            )
            assert copy.count() % 10 == 0
            records, _ = client.scroll(name, limit=100_000)
            ids = [str((record.payload or {})["_id"]) for record in records]
            batches = [id.partition("/")[0] for id in ids if "/" in id]
            assert {batches.count(each) for each in set(batches)} <= {10}
            assert sorted(set(map(int, batches))) == list(range(1, len(set(batches)) + 1))
            assert copy.check() == ()


def test_awaited(runner: asyncio.Runner, async_edge: AsyncEdgeClient, tmp_path: Path) -> None:
    async def main() -> None:
        encoder = WordEncoder()
        config = CollectionConfig(fde=FITTED)
        docs = await AsyncColbertCollection.create("docs", client=async_edge, encoder=encoder, config=config)
        await docs.ingest([Document(id, text) for id, text in enumerate(TEXTS)])
        await docs.backup(tmp_path / "backup")
        before = await docs.search("river", limit=9)
        await docs.drop()
        again = await AsyncColbertCollection.restore(tmp_path / "backup", client=async_edge, encoder=encoder)
        assert await again.search("river", limit=9) == before
        await empty(async_edge)

    runner.run(main())


def test_a_copy_is_as_sparse_as_its_store(tmp_path: Path) -> None:
    with EdgeClient(tmp_path / "store") as client:
        create(client, "docs").backup(tmp_path / "backup")
    used = [sum(each.stat().st_blocks for each in (tmp_path / folder).rglob("*")) for folder in ("store", "backup")]
    assert used[1] <= used[0]


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with EdgeClient(tmp_path / "store") as client:
        docs = create(client, "docs")
        before = everything(docs)

        def full(_: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patch:
            patch.setattr("colbert_qdrant.edge.copies.os.fsync", full)
            with pytest.raises(DiskFullError, match="disk is full"):
                docs.backup(tmp_path / "backup")
        assert [each.name for each in tmp_path.iterdir()] == ["store"]
        docs.backup(tmp_path / "backup")
        with monkeypatch.context() as patch:
            patch.setattr("colbert_qdrant.edge.copies.os.fsync", full)
            with pytest.raises(DiskFullError, match="disk is full"):
                ColbertCollection.restore(tmp_path / "backup", client=client, encoder=WordEncoder(), name="more")
        assert not client.collection_exists("more")
        more = ColbertCollection.restore(tmp_path / "backup", client=client, encoder=WordEncoder(), name="more")
        assert everything(more) == everything(docs) == before


KILLED = """
import os, signal, sys
from colbert_qdrant import ColbertCollection, EdgeClient
from tests.encoders import WordEncoder
store, backup, step, calls = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
fsync = os.fsync

def deadly(descriptor):
    global calls
    calls -= 1
    if calls == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    fsync(descriptor)

client = EdgeClient(store)
docs = ColbertCollection.open("docs", client=client, encoder=WordEncoder())
os.fsync = deadly
if step == "backup":
    docs.backup(backup)
else:
    ColbertCollection.restore(backup, client=client, encoder=WordEncoder(), name="more")
"""


@pytest.mark.parametrize("step", ["backup", "restore"])
def test_a_process_that_is_killed_leaves_all_or_nothing(tmp_path: Path, step: str) -> None:
    backup = tmp_path / "backup"
    with EdgeClient(tmp_path / "store") as client:
        docs = create(client, "docs", FITTED)
        before = everything(docs)
        if step == "restore":
            docs.backup(backup)
    for calls in (1, 16):
        done = run_script(KILLED, tmp_path / "store", backup, step, calls)
        assert done.returncode == -9, done.stderr
        with EdgeClient(tmp_path / "store") as client:
            assert everything(ColbertCollection.open("docs", client=client, encoder=WordEncoder())) == before
            assert not client.collection_exists("more")
            assert backup.exists() == (step == "restore")
            for partial in tmp_path.glob(".backup*"):
                with pytest.raises(BackupError, match="no complete backup"):
                    ColbertCollection.restore(partial, client=client, encoder=WordEncoder(), name="more")
    done = run_script(KILLED, tmp_path / "store", backup, step, 10**9)
    assert done.returncode == 0, done.stderr
    with EdgeClient(tmp_path / "store") as client:
        if step == "backup":
            ColbertCollection.restore(backup, client=client, encoder=WordEncoder(), name="more")
        assert everything(ColbertCollection.open("more", client=client, encoder=WordEncoder())) == before
