"""Names and links never lead out of a store's folder, and what they cannot be is refused before anything is written."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from qdrant_client import models

from colbert_qdrant import ColbertCollection, SchemaMismatchError
from colbert_qdrant.edge import AsyncEdgeClient, EdgeClient
from colbert_qdrant.errors import ColbertQdrantError, CollectionExistsError, ConfigurationError, EngineError
from tests.encoders import WordEncoder

VECTOR = models.VectorParams(size=2, distance=models.Distance.DOT)
NEVER_NAMES = [
    "",
    ".",
    "..",
    "...",
    " ",
    "docs.",
    "docs ",
    "../docs",
    "../../docs",
    "a/b",
    "a\\b",
    "/nowhere/docs",
    "C:docs",
    "~/x/..",
    "a\0b",
    "a\nb",
    "\x7f",
    "\ud800",
    "con",
    "NUL.txt",
    "com1",
    "Lpt9 .x",
    "x" * 256,
    "é" * 128,
    b"docs",
    None,
    7,
]
unix = pytest.mark.skipif(os.name != "posix", reason="makes symbolic links")


def everything(folder: Path) -> dict[str, bytes | None]:
    """Every path below a folder, links not followed, with its content."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() and not path.is_symlink() else None
        for path in sorted(folder.rglob("*"))
    }


def beside_the_shard(folder: Path) -> dict[str, bytes | None]:
    """The same without the engine's own files, which it writes when it likes."""
    return {path: content for path, content in everything(folder).items() if "shard" not in Path(path).parts}


@pytest.mark.parametrize("name", NEVER_NAMES, ids=ascii)
def test_a_colbert_collection_cannot_have_such_a_name_either(client: EdgeClient, name: str) -> None:
    for call in (ColbertCollection.create, ColbertCollection.open, ColbertCollection.open_or_create):
        with pytest.raises(ConfigurationError, match="cannot be the name of a collection"):
            call(name, client=client, encoder=WordEncoder())


def test_a_collection_that_is_none_of_this_library_s_says_so_with_a_shard_key_too(client: EdgeClient) -> None:
    client.create_collection("docs", VECTOR)
    with pytest.raises(SchemaMismatchError, match="not laid out for late interaction"):
        ColbertCollection.open("docs", client=client, encoder=WordEncoder(), shard_key="acme")


@pytest.mark.parametrize("name", NEVER_NAMES, ids=ascii)
def test_what_cannot_be_a_collection_is_refused_before_anything_is_written(
    client: EdgeClient, tmp_path: Path, name: str
) -> None:
    before = everything(tmp_path)
    for call in (
        lambda: client.create_collection(name, VECTOR),
        lambda: client.delete_collection(name),
        lambda: client.collection_exists(name),
        lambda: client.get_collection(name),
        lambda: client.attach(name, "file", b""),
    ):
        with pytest.raises(ConfigurationError, match="cannot be the name of a collection"):
            call()
    assert everything(tmp_path) == before


@pytest.mark.parametrize("name", [*NEVER_NAMES, "x" * 252], ids=ascii)
def test_what_cannot_be_an_attached_file_is_refused_before_anything_is_written(
    client: EdgeClient, tmp_path: Path, name: str
) -> None:
    client.create_collection("docs", VECTOR)
    before = beside_the_shard(tmp_path)
    with pytest.raises(ConfigurationError, match="cannot be the name of an attached file"):
        client.attach("docs", name, b"x")
    with pytest.raises(ConfigurationError, match="cannot be the name of an attached file"):
        client.attachment("docs", name)
    assert beside_the_shard(tmp_path) == before


@pytest.mark.parametrize("name", ["collection.json", "Collection.JSON", "shard", "collection.json.tmp", "x.TMP"])
def test_an_attached_file_is_never_one_of_the_collections_own(client: EdgeClient, name: str) -> None:
    client.create_collection("docs", VECTOR)
    with pytest.raises(ConfigurationError, match="a reserved name in a collection"):
        client.attach("docs", name, b"x")
    assert client.get_collection("docs").points_count == 0


@pytest.mark.parametrize("name", ["docs", "Ümläüt 文書", "a..b", ".hidden", "-rf", "console", "x" * 251, "a'b;$(c)%d"])
def test_all_other_names_are_kept_as_they_are(client: EdgeClient, name: str) -> None:
    client.create_collection(name, VECTOR)
    client.attach(name, name, b"content")
    assert client.attachment(name, name) == b"content"
    assert [each.name for each in client.get_collections().collections] == [name]
    assert client.delete_collection(name)
    assert not client.collection_exists(name)


@pytest.mark.parametrize(
    ("name", "other"), [("docs", "Docs"), ("caf\u00e9", "cafe\u0301"), ("straße", "STRASSE"), ("ﬁx", "FIX")]
)
def test_names_that_some_file_system_cannot_tell_apart(client: EdgeClient, name: str, other: str) -> None:
    client.create_collection(name, VECTOR)
    with pytest.raises(CollectionExistsError, match="some file systems"):
        client.create_collection(other, VECTOR)
    assert not client.collection_exists(other)
    assert not client.delete_collection(other)
    assert client.collection_exists(name)


parts = st.sampled_from(["..", ".", "", "store", "collections", "docs", "outside", "/"])
names = st.one_of(
    st.text(max_size=20),
    st.text(alphabet="./\\:~ aA\0", max_size=12),
    st.lists(st.sampled_from(["..", ".", "", "store", "collections", "docs", "outside", "/"]), max_size=6).map(
        "/".join
    ),
)


@given(names, names)
@settings(max_examples=60, deadline=None)
@example("../../outside", "../../../outside/precious")
@example("docs", "../../../outside/precious")
@example("docs", "/outside/precious")
def test_no_name_touches_anything_outside_of_the_store(name: str, file_name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        # should the code be wrong, absolute names stay in here
        name, file_name = (folder + each if each.startswith("/") else each for each in (name, file_name))
        outside = Path(folder) / "outside"
        outside.mkdir()
        (outside / "precious").write_text("precious")
        with EdgeClient(Path(folder) / "store") as client:
            for call in (
                lambda: client.create_collection(name, VECTOR),
                lambda: client.attach(name, file_name, b"x"),
                lambda: client.attachment(name, file_name),
                lambda: client.delete_collection(name),
                lambda: client.delete_collection(file_name),
            ):
                try:
                    call()
                except ColbertQdrantError:
                    continue  # any other error fails the test
        assert everything(outside) == {"precious": b"precious"}
        assert sorted(path.name for path in Path(folder).iterdir()) == ["outside", "store"]
        assert sorted(path.name for path in (Path(folder) / "store").iterdir()) == [".lock", "collections"]


@unix
def test_what_a_link_leads_to_is_never_deleted(client: EdgeClient, tmp_path: Path) -> None:
    with EdgeClient(tmp_path / "other") as other:
        other.create_collection("docs", VECTOR)
    elsewhere = tmp_path / "other" / "collections" / "docs"
    before = everything(tmp_path / "other")
    (tmp_path / "store" / "collections" / "linked").symlink_to(elsewhere)
    with pytest.raises(EngineError, match="symbolic link"):
        client.delete_collection("linked")
    (elsewhere / "collection.json").rename(tmp_path / "kept")  # now it looks like what a crash left behind
    with pytest.raises(EngineError, match="symbolic link"):
        client.create_collection("linked", VECTOR)
    (tmp_path / "kept").rename(elsewhere / "collection.json")
    assert everything(tmp_path / "other") == before


@unix
def test_a_link_in_a_collection_is_deleted_with_it_and_not_what_it_leads_to(client: EdgeClient, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("precious")
    client.create_collection("docs", VECTOR)
    (tmp_path / "store" / "collections" / "docs" / "link").symlink_to(outside)
    assert client.delete_collection("docs")
    assert everything(outside) == {"precious": b"precious"}


@unix
def test_no_file_is_written_through_a_link(client: EdgeClient, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("precious")
    client.create_collection("docs", VECTOR)
    folder = tmp_path / "store" / "collections" / "docs"
    for name in ("collection.json.tmp", "file", "file.tmp"):
        (folder / name).symlink_to(precious)
    client.attach("docs", "file", b"content")
    client.update_collection("docs", metadata={"a": 1})
    assert client.attachment("docs", "file") == b"content"
    assert precious.read_text() == "precious"


@unix
def test_a_lock_that_is_a_link_empties_nothing(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("precious")
    (tmp_path / "store" / "collections").mkdir(parents=True)
    (tmp_path / "store" / ".lock").symlink_to(precious)
    with pytest.raises(EngineError, match="cannot be opened"):
        EdgeClient(tmp_path / "store")
    assert precious.read_text() == "precious"


@pytest.mark.parametrize("name", ["v/../../../../../../../outside", "../outside", "..", "a/b"])
def test_a_manifest_that_names_another_folder_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "precious").write_text("precious")
    with EdgeClient(tmp_path / "store") as client:
        client.create_collection("docs", {"v": VECTOR})
    manifest = tmp_path / "store" / "collections" / "docs" / "collection.json"
    values = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**values, "unfinished": [name]}))
    before = everything(tmp_path)
    with EdgeClient(tmp_path / "store") as client, pytest.raises(EngineError, match="another program changed"):
        client.count("docs")
    assert {path: content for path, content in everything(tmp_path).items() if not path.endswith(".lock")} == {
        path: content for path, content in before.items() if not path.endswith(".lock")
    }


@unix
@pytest.mark.parametrize("inner", [".", "segments"])
def test_a_shard_with_links_is_refused(tmp_path: Path, inner: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("precious")
    with EdgeClient(tmp_path / "store") as client:
        client.create_collection("docs", VECTOR)
    shard = tmp_path / "store" / "collections" / "docs" / "shard"
    (shard / inner / "linked").symlink_to(outside)
    with EdgeClient(tmp_path / "store") as client, pytest.raises(EngineError, match="is a link"):
        client.count("docs")
    (shard / inner / "linked").unlink()
    shard.rename(outside / "shard")
    shard.symlink_to(outside / "shard")
    with EdgeClient(tmp_path / "store") as client, pytest.raises(EngineError, match="is a link"):
        client.count("docs")
    assert (outside / "precious").read_text() == "precious"


@pytest.mark.parametrize("path", ["x" * 300, "file", "file/store", "x/" * 2000], ids=lambda path: path[:10])
def test_a_path_that_cannot_be_a_folder(tmp_path: Path, path: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(
        EngineError, match=r"cannot be opened .*: give the path of a folder that this process may write"
    ):
        EdgeClient(tmp_path / path)
    assert everything(tmp_path) == {"file": b""}


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("", "path is empty"),
        ("  ", "path is empty"),
        ("a\0b", r"contains the control character '\\x00'"),
        ("store\n", r"contains the control character '\\n': .* \.strip\(\)"),
        ("a\ud800", "not valid Unicode"),
        (":memory:", r"':memory:' is not a folder, .* use QdrantClient\(':memory:'\)"),
        (" :Memory: ", r"use QdrantClient\(':memory:'\)"),
        (Path(":memory:"), r"use QdrantClient\(':memory:'\)"),
        ("store/:memory:", r"use QdrantClient\(':memory:'\)"),
        (Path.cwd() / ":memory:", r"use QdrantClient\(':memory:'\)"),
        (Path.cwd() / "http://localhost:6333", r"connect\(url\)"),
        ("http://localhost:6333", r"'http://\.\.\.' is a URL, .* connect\(url\)"),
        ("https://qdrant.example.org/store", r"connect\(url\)"),
        (Path("http://localhost:6333"), r"connect\(url\)"),
        ("grpc://qdrant:6334", r"connect\(url\)"),
        ("s3://bucket/store", r"connect\(url\)"),
        ("file:///var/store", "give the path only"),
        ("localhost", r"address of a server, .* connect\('http://…'\)"),
        ("localhost:6333", "address of a server"),
        ("127.0.0.1:6334/", "address of a server"),
        ("[::1]:6333", "address of a server"),
        ("qdrant:6333", "address of a server"),
        ("~", r"expanduser\(\)"),
        ("~/store", r"expanduser\(\)"),
        ("~root/store", r"expanduser\(\)"),
        ("$HOME/store", r"expandvars\(…\)"),
        ("${DATA}", r"expandvars\(…\)"),
        ("%TEMP%\\store", r"expandvars\(…\)"),
        ("https:", r"connect\(url\)"),
        ("::1", "address of a server"),
        ("127.0.0.1", "address of a server"),
        ("a1b2.eu-central-1.aws.cloud.qdrant.io", "address of a server"),
        pytest.param("C:\\store", "is a Windows path", marks=unix),
        pytest.param("d:/store", "is a Windows path", marks=unix),
        pytest.param(r"\\host\share", "is a Windows path", marks=unix),
        (None, "of type NoneType"),
        (7, "of type int"),
        (b"store", "of type bytes"),
    ],
    ids=ascii,
)
@pytest.mark.parametrize("kind", [EdgeClient, AsyncEdgeClient])
def test_a_path_that_names_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[EdgeClient | AsyncEdgeClient], path: Any, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match=message):
        kind(path)
    assert everything(tmp_path) == {}


def test_a_url_is_not_shown_with_its_key() -> None:
    for url in ("https://user:s3cret@example.org", "https://example.org/?api_key=s3cret", "http://s3cret.example.org"):
        with pytest.raises(ConfigurationError) as raised:
            EdgeClient(url)
        assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize(
    "name",
    [
        "memory",
        "a:b",
        "run:12",
        "http",
        "~backup",
        "a b",
        "v1.2",
        "store:",
        "localhost.d",
        "a$b",
        "1.2.3",
        "12:30:45",
        "50%",
    ],
)
def test_names_that_are_only_like_those(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    EdgeClient(name).close()
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_the_async_client_refuses_the_same(tmp_path: Path) -> None:
    async def ask(*names: str) -> None:
        async with AsyncEdgeClient(tmp_path / "store") as client:
            for name in names:
                with pytest.raises(ConfigurationError):
                    await client.attach("docs", name, b"x")

    with EdgeClient(tmp_path / "store") as client:
        client.create_collection("docs", VECTOR)
    asyncio.run(ask("../../../x", "\ud800", "collection.json"))
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
