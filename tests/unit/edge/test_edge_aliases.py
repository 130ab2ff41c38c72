"""Aliases: the same as in local mode, and whole after every crash."""

from __future__ import annotations

import asyncio
import json
import os
import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from qdrant_client import QdrantClient, models

from colbert_qdrant.edge import AsyncEdgeClient, EdgeClient
from colbert_qdrant.errors import (
    CapabilityError,
    ClosedError,
    CollectionExistsError,
    CollectionNotFoundError,
    ConfigurationError,
    EngineError,
)
from tests.processes import Script

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from colbert_qdrant.engines import Client

VECTOR = models.VectorParams(size=2, distance=models.Distance.DOT)
unix = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork()")


def create(alias: str, collection: str) -> models.CreateAliasOperation:
    return models.CreateAliasOperation(create_alias=models.CreateAlias(collection_name=collection, alias_name=alias))


def delete(alias: str) -> models.DeleteAliasOperation:
    return models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=alias))


def rename(old: str, new: str) -> models.RenameAliasOperation:
    return models.RenameAliasOperation(rename_alias=models.RenameAlias(old_alias_name=old, new_alias_name=new))


def aliases(client: Client) -> dict[str, str]:
    return {each.alias_name: each.collection_name for each in client.get_aliases().aliases}


def fill(client: EdgeClient, *names: str) -> None:
    """Collections of one point, whose payload says where it is."""
    for number, name in enumerate(names, start=1):
        client.create_collection(name, VECTOR)
        client.upsert(name, [models.PointStruct(id=number, vector=[1.0, 2.0], payload={"in": name})])


@pytest.fixture
def filled(client: EdgeClient) -> EdgeClient:
    fill(client, "a", "b")
    return client


def test_aliases_are_listed_and_survive_reopening(tmp_path: Path) -> None:
    with EdgeClient(tmp_path) as client:
        fill(client, "a", "b")
        assert client.get_aliases().aliases == []
        assert client.update_collection_aliases([create("y", "a"), create("x", "a"), create("ünï", "b")]) is True
    with EdgeClient(tmp_path) as client:
        assert aliases(client) == {"x": "a", "y": "a", "ünï": "b"}
        of_a = [models.AliasDescription(alias_name=name, collection_name="a") for name in ("x", "y")]
        assert client.get_collection_aliases("a") == models.CollectionsAliasesResponse(aliases=of_a)
        assert client.get_collection_aliases("x").aliases == []
        assert client.retrieve("ünï", [2])[0].payload == {"in": "b"}


QUERY = [1.0, 2.0]
RED = models.PointStruct(id=9, vector=QUERY, payload={"k": "red"})
NEW = models.SparseVectorNameConfig(sparse=models.SparseVectorConfig())
CALLS: dict[str, Callable[[EdgeClient, str], Any]] = {
    "collection_exists": lambda client, name: client.collection_exists(name),
    "get_collection": lambda client, name: client.get_collection(name),
    "update_collection": lambda client, name: client.update_collection(name, metadata={"a": 1}),
    "create_vector_name": lambda client, name: client.create_vector_name(name, "new", NEW),
    "delete_vector_name": lambda client, name: [
        client.create_vector_name(name, "new", NEW),
        client.delete_vector_name(name, ""),
    ],
    "upsert": lambda client, name: client.upsert(name, [RED]),
    "update_vectors": lambda client, name: client.update_vectors(name, [models.PointVectors(id=1, vector=[3.0, 4.0])]),
    "delete_vectors": lambda client, name: client.delete_vectors(name, [""], [1]),
    "set_payload": lambda client, name: client.set_payload(name, {"k": 1}, [1]),
    "overwrite_payload": lambda client, name: client.overwrite_payload(name, {"k": 1}, [1]),
    "delete_payload": lambda client, name: client.delete_payload(name, ["in"], [1]),
    "delete": lambda client, name: client.delete(name, [1]),
    "query_points": lambda client, name: client.query_points(name, QUERY),
    "query_batch_points": lambda client, name: client.query_batch_points(name, [models.QueryRequest(query=QUERY)]),
    "scroll": lambda client, name: client.scroll(name),
    "retrieve": lambda client, name: client.retrieve(name, [1]),
    "count": lambda client, name: client.count(name),
    "create_payload_index": lambda client, name: client.create_payload_index(name, "k", "keyword"),
    "delete_payload_index": lambda client, name: client.delete_payload_index(name, "k"),
    "attach": lambda client, name: client.attach(name, "file", b"data"),
    "attachment": lambda client, name: client.attachment(name, "file"),
    "optimize": lambda client, name: client.optimize(name),
    "flush": lambda client, name: client.flush(name),
}


def state(client: EdgeClient, name: str) -> Any:
    return client.get_collection(name), client.scroll(name, with_vectors=True), client.attachment(name, "file")


@pytest.mark.parametrize("method", CALLS)
def test_methods_take_an_alias_for_the_name(tmp_path: Path, method: str) -> None:
    """The same answer, and the same collection afterwards."""
    with EdgeClient(tmp_path / "one") as one, EdgeClient(tmp_path / "two") as two:
        fill(one, "docs", "other")
        fill(two, "docs", "other")
        two.update_collection_aliases([create("alias", "docs")])
        assert CALLS[method](two, "alias") == CALLS[method](one, "docs")
        assert state(two, "docs") == state(two, "alias") == state(one, "docs")
        assert state(two, "other") == state(one, "other")


def test_every_method_of_a_collection_was_tried() -> None:
    whole = {"create_collection", "delete_collection", "get_collection_aliases"}
    of_collections = {
        name
        for name in dir(EdgeClient)
        if not name.startswith("_") and "collection_name" in getattr(EdgeClient, name).__code__.co_varnames
    }
    assert of_collections - whole <= CALLS.keys() | {"query_points_groups"}


def test_an_alias_is_switched_in_one_call(filled: EdgeClient) -> None:
    filled.update_collection_aliases([create("alias", "a")])
    filled.update_collection_aliases([delete("alias"), create("alias", "b")])
    assert filled.scroll("alias")[0][0].payload == {"in": "b"}
    filled.update_collection_aliases([create("alias", "a")])  # over the one that is there
    assert filled.scroll("alias")[0][0].payload == {"in": "a"}


def test_a_collection_is_not_deleted_by_an_alias_and_takes_its_aliases_along(tmp_path: Path) -> None:
    with EdgeClient(tmp_path) as client:
        fill(client, "a", "b")
        client.update_collection_aliases([create("x", "a"), create("y", "a"), create("z", "b")])
        assert client.delete_collection("x") is False
        assert client.count("x").count == 1
        assert client.delete_collection("a") is True
        assert aliases(client) == {"z": "b"}
        assert not client.collection_exists("x")
        with pytest.raises(CollectionNotFoundError, match="'x'"):
            client.count("x")
    with EdgeClient(tmp_path) as client:
        assert aliases(client) == {"z": "b"}
        client.create_collection("a", VECTOR)
        assert aliases(client) == {"z": "b"}


def test_a_collection_cannot_have_the_name_of_an_alias(filled: EdgeClient) -> None:
    filled.update_collection_aliases([create("alias", "a")])
    with pytest.raises(CollectionExistsError, match=r"'alias' is an alias of collection 'a'.*another name"):
        filled.create_collection("alias", VECTOR)
    filled.update_collection_aliases([delete("alias")])
    filled.create_collection("alias", VECTOR)
    assert filled.count("alias").count == 0


REFUSED: dict[str, tuple[Any, type[Exception], str]] = {
    "no collection": (
        create("new", "nope"),
        CollectionNotFoundError,
        "collection 'nope' for alias 'new' does not exist",
    ),
    "an alias of an alias": (create("new", "alias"), CollectionNotFoundError, "not another alias"),
    "the name of a collection": (create("b", "a"), CollectionExistsError, "'b' cannot be an alias"),
    "renamed to a collection": (rename("alias", "b"), CollectionExistsError, "'b' cannot be an alias"),
    "renamed without being there": (rename("nope", "new"), CollectionNotFoundError, "alias 'nope' does not exist"),
    "a path": (create("../new", "a"), ConfigurationError, "cannot be the name of an alias"),
    "renamed to a path": (rename("alias", "a/b"), ConfigurationError, "cannot be the name of an alias"),
    "a device": (create("NUL", "a"), ConfigurationError, "device"),
    "no name": (create("", "a"), ConfigurationError, "empty"),
    "too long": (create("é" * 128, "a"), ConfigurationError, "256 bytes"),
    "no operation": (models.CreateAlias(collection_name="a", alias_name="new"), ConfigurationError, "CreateAliasOp"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_of_operations_that_are_refused_nothing_is_done(tmp_path: Path, name: str) -> None:
    operation, error, message = REFUSED[name]
    with EdgeClient(tmp_path) as client:
        fill(client, "a", "b")
        client.update_collection_aliases([create("alias", "a")])
        with pytest.raises(error, match=message):
            client.update_collection_aliases([create("alias", "b"), create("more", "a"), operation, delete("alias")])
        assert aliases(client) == {"alias": "a"}
        assert client.scroll("alias")[0][0].payload == {"in": "a"}
    with EdgeClient(tmp_path) as client:
        assert aliases(client) == {"alias": "a"}


def test_where_the_file_cannot_be_written_nothing_is_done(tmp_path: Path) -> None:
    with EdgeClient(tmp_path) as client:
        fill(client, "a", "b")
        client.update_collection_aliases([create("alias", "a")])
        # a folder in the way of the temporary file stands for a full disk
        (tmp_path / "aliases.json.tmp").mkdir()
        with pytest.raises(EngineError, match=r"aliases\.json cannot be written"):
            client.update_collection_aliases([create("alias", "b")])
        with pytest.raises(EngineError, match=r"aliases\.json cannot be written"):
            client.delete_collection("a")
        assert client.scroll("alias")[0][0].payload == {"in": "a"}
        assert client.count("a").count == 1


NAMES = st.sampled_from(["a", "b", "x", "y", "z"])
OPERATIONS = st.one_of(st.builds(create, NAMES, NAMES), st.builds(delete, NAMES), st.builds(rename, NAMES, NAMES))
STEPS = st.one_of(
    st.lists(OPERATIONS, max_size=4).map(lambda operations: ("update_collection_aliases", operations)),
    NAMES.map(lambda name: ("create_collection", name)),
    NAMES.map(lambda name: ("delete_collection", name)),
    NAMES.map(lambda name: ("get_collection_aliases", name)),
    NAMES.map(lambda name: ("collection_exists", name)),
)


def outcome(client: Client, step: tuple[str, Any]) -> Any:
    """What a step gives, or that it is refused."""
    method, argument = step
    arguments = [argument, VECTOR] if method == "create_collection" else [argument]
    try:
        result = getattr(client, method)(*arguments)
    except (ValueError, EngineError):  # local mode's, and this library's
        return "refused"
    if method == "get_collection_aliases":
        return sorted(each.alias_name for each in result.aliases)
    return result


@settings(max_examples=60, derandomize=True, deadline=None, database=None, phases=[Phase.generate])
@given(st.lists(STEPS, min_size=5, max_size=12))
def test_the_same_as_in_local_mode(tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, Any]]) -> None:
    path = tmp_path_factory.mktemp("aliases")
    local = QdrantClient(":memory:")
    with EdgeClient(path) as edge:
        for step in [("create_collection", "a"), ("create_collection", "b"), *steps]:
            assert outcome(edge, step) == outcome(local, step), step
            assert aliases(edge) == aliases(local), step
        expected = aliases(local)
    with EdgeClient(path) as edge:
        assert aliases(edge) == expected
    local.close()


DAMAGED: dict[str, str | bytes] = {
    "empty": "",
    "cut off": '{"format": 1, "aliases": {"al',
    "no JSON": b"\xff\xfe\0",
    "deep": "[" * 100_000,
    "a list": "[]",
    "no format": '{"aliases": {}}',
    "no aliases": '{"format": 1}',
    "more than aliases": '{"format": 1, "aliases": {}, "more": 1}',
    "aliases in a list": '{"format": 1, "aliases": ["alias"]}',
    "no names": '{"format": 1, "aliases": {"alias": 1}}',
    "a path": '{"format": 1, "aliases": {"alias": "../elsewhere"}}',
    "a path for an alias": '{"format": 1, "aliases": {"a/b": "a"}}',
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_is_named_and_left_alone(tmp_path: Path, name: str) -> None:
    with EdgeClient(tmp_path) as client:
        fill(client, "a")
    file, damage = tmp_path / "aliases.json", DAMAGED[name]
    file.write_bytes(damage.encode() if isinstance(damage, str) else damage)
    for _ in range(2):  # the store is not locked by the one that could not be opened
        with pytest.raises(EngineError, match=r"aliases\.json cannot be read.*backup, or delete it") as caught:
            EdgeClient(tmp_path)
        assert str(file) in str(caught.value)
    file.unlink()
    with EdgeClient(tmp_path) as client:
        assert client.count("a").count == 1


def test_a_newer_format_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "aliases.json").write_text('{"format": 99, "names": []}')
    with pytest.raises(CapabilityError, match=r"aliases\.json.*upgrade"):
        EdgeClient(tmp_path)


def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    (tmp_path / "aliases.json").mkdir()
    with pytest.raises(EngineError, match=r"aliases\.json cannot be read"):
        EdgeClient(tmp_path)


def test_an_alias_of_a_collection_that_somebody_removed_is_an_error_and_can_be_deleted(tmp_path: Path) -> None:
    (tmp_path / "aliases.json").write_text(json.dumps({"format": 1, "aliases": {"alias": "gone"}}))
    with EdgeClient(tmp_path) as client:
        assert not client.collection_exists("alias")
        with pytest.raises(CollectionNotFoundError, match="'gone'"):
            client.count("alias")
        client.update_collection_aliases([delete("alias")])
        assert aliases(client) == {}


def test_aliases_after_close(tmp_path: Path) -> None:
    client = EdgeClient(tmp_path)
    client.close()
    for call in (client.get_aliases, lambda: client.get_collection_aliases("a"), lambda: client.count("a")):
        with pytest.raises(ClosedError):
            call()
    with pytest.raises(ClosedError):
        client.update_collection_aliases([delete("a")])
    assert not (tmp_path / "aliases.json").exists()


def test_in_a_process_of_its_own(tmp_path: Path) -> None:
    async def use() -> tuple[Any, ...]:
        async with AsyncEdgeClient(tmp_path) as client:
            await client.create_collection("a", VECTOR)
            done = await client.update_collection_aliases([create("x", "a"), create("y", "a"), rename("y", "z")])
            with pytest.raises(CollectionExistsError, match="alias"):
                await client.create_collection("x", VECTOR)
            return done, await client.count("z"), await client.get_aliases(), await client.get_collection_aliases("a")

    done, count, all_of_them, of_a = asyncio.run(use())
    assert (done, count.count) == (True, 0)
    assert [each.alias_name for each in all_of_them.aliases] == ["x", "z"]
    assert of_a == all_of_them


# A child is killed at its n-th operation on files, for every n there is; its parent looks at what it left.
KILL_EVERYWHERE = """
import os, signal, sys
from pathlib import Path
from colbert_qdrant.edge import EdgeClient
from tests.unit.edge.test_edge_aliases import VECTOR, aliases, create

many = [f"alias-{number}" for number in range(500)]
path = Path(sys.argv[1])
with EdgeClient(path) as client:
    for name in "ab":
        client.create_collection(name, VECTOR)
    client.update_collection_aliases([create(name, "a") for name in many])

def switch(fatal):
    client = EdgeClient(path)
    events = iter(range(10**9))
    def kill(event, arguments):
        if event in {"open", "os.remove", "os.rename"} and next(events) == fatal:
            os.kill(os.getpid(), signal.SIGKILL)
    sync = os.fsync
    def synced(file):
        kill("open", ())
        sync(file)
    os.fsync = synced
    sys.addaudithook(kill)
    client.update_collection_aliases([create(name, "b") for name in many])
    os._exit(0)

outcomes = []
while True:
    child = os.fork()
    if child == 0:
        switch(len(outcomes))
    killed = os.WIFSIGNALED(os.waitpid(child, 0)[1])
    with EdgeClient(path) as client:
        found = set(aliases(client).values())
        assert found in ({"a"}, {"b"}) and len(aliases(client)) == len(many), found
        client.update_collection_aliases([create(name, "a") for name in many])
    outcomes.append(found.pop())
    if not killed:
        break
print("".join(outcomes))
"""


@unix
def test_a_crash_at_any_point_leaves_the_old_aliases_or_the_new_ones(tmp_path: Path, run_script: Any) -> None:
    result = run_script(KILL_EVERYWHERE, tmp_path)
    assert result.returncode == 0, result.stderr
    # before: removing, opening, syncing and renaming the file; after: opening and syncing the folder, and the end
    assert re.fullmatch(r"a{4,}b{3,}\n", result.stdout), result.stdout


SWITCH_FOR_EVER = """
import itertools, sys
from colbert_qdrant.edge import EdgeClient
from tests.unit.edge.test_edge_aliases import VECTOR, create
client = EdgeClient(sys.argv[1])
for name in "ab":
    if not client.collection_exists(name):
        client.create_collection(name, VECTOR)
for n in itertools.count():
    client.update_collection_aliases([create(f"{n}-{number}", "ab"[n % 2]) for number in range(20)])
    print(n, flush=True)
"""


@unix
@pytest.mark.parametrize("acknowledged", [1, 7, 40])
def test_a_killed_process_loses_no_alias_it_acknowledged(tmp_path: Path, acknowledged: int) -> None:
    with Script(SWITCH_FOR_EVER, tmp_path) as process:
        for _ in range(acknowledged):
            process.stdout.readline()
        process.kill()
        seen = acknowledged + len(process.stdout.read().splitlines())
    with EdgeClient(tmp_path) as client:
        found = aliases(client)
    wholly = {f"{n}-{number}": "ab"[n % 2] for n in range(len(found) // 20) for number in range(20)}
    assert found == wholly
    assert len(found) // 20 in (seen, seen + 1)
