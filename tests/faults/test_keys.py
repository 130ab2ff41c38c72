"""A key reaches the server in a header, and nothing else that anybody can look at."""

from __future__ import annotations

import asyncio
import logging
import pickle
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from grpc import StatusCode
from qdrant_client import QdrantClient

from colbert_qdrant import (
    AsyncColbertCollection,
    AuthenticationError,
    ColbertCollection,
    RequestError,
    ServerError,
    UnreachableError,
    connect,
    connect_async,
)
from colbert_qdrant import __file__ as package
from tests import grpc_server
from tests.encoders import WordEncoder
from tests.faults import server as rest_server
from tests.faults.test_http import BRIEF, CONFIG, DOCUMENTS, QUICK

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = "correct-horse-battery-staple"


@dataclass
class Running:
    """A server, and how to get to it."""

    server: rest_server.FaultyServer | grpc_server.Server
    grpc: bool

    @property
    def address(self) -> dict[str, Any]:
        if self.grpc:
            return {"url": "http://127.0.0.1", "grpc_port": self.server.port, "prefer_grpc": True, "timeout": 5}
        return {"url": f"http://127.0.0.1:{self.server.port}", "timeout": 5}

    def fail(self, status: int) -> None:
        """Let it answer everything so; 0: with a broken connection."""
        codes = {401: StatusCode.UNAUTHENTICATED, 500: StatusCode.INTERNAL, 0: StatusCode.UNAVAILABLE}
        if isinstance(self.server, grpc_server.Server):
            self.server.failure = (codes[status], "told to fail")
        else:
            self.server.failure = rest_server.failing(status) if status else rest_server.Answer(cut=0)


@pytest.fixture(params=["rest", "grpc"])
def running(request: pytest.FixtureRequest) -> Iterator[Running]:
    if request.param == "grpc":
        with grpc_server.serving(grpc_server.Server()) as server:
            yield Running(server, grpc=True)
    else:
        with rest_server.serving(rest_server.FaultyServer()) as server:
            yield Running(server, grpc=False)


@pytest.fixture
def client(running: Running) -> Iterator[QdrantClient]:
    client = connect(**running.address, api_key=KEY)
    yield client
    client.close()


def make(client: QdrantClient) -> ColbertCollection:
    return ColbertCollection.create("docs", client=client, encoder=WordEncoder(), config=CONFIG, retry=BRIEF)


def test_the_key_is_in_one_header_of_every_request_and_nowhere_else(running: Running, client: QdrantClient) -> None:
    docs = make(client)
    docs.ingest(DOCUMENTS)
    ColbertCollection.open("docs", client=client, encoder=WordEncoder()).search("river")
    docs.delete(ids="d1") if not running.grpc else None
    assert len(running.server.heads) > 5
    for head in running.server.heads:
        assert [name for name, value in head.items() if KEY in str(value)] == ["authorization"]
        assert head["authorization"] == f"Bearer {KEY}"
    assert not [body for body in running.server.texts if KEY.encode() in body]
    assert KEY not in repr(running.server.__dict__["created"])


@pytest.mark.parametrize(("status", "error"), [(401, AuthenticationError), (500, ServerError), (0, UnreachableError)])
def test_no_failure_tells_the_key(
    running: Running,
    client: QdrantClient,
    status: int,
    error: type[RequestError],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("colbert_qdrant", "qdrant_client", "httpx", "httpcore", "grpc", "grpc._cython", "asyncio"):
        caplog.set_level(logging.DEBUG, logger=name)
    docs = make(client)
    running.fail(status)
    for call in (lambda: docs.search("river"), lambda: docs.upsert(DOCUMENTS[:2]), docs.count):
        with pytest.raises(error) as caught:
            call()
        told = traceback.TracebackException.from_exception(caught.value, capture_locals=not running.grpc and status > 0)
        assert KEY not in "".join(told.format()) + repr(caught.value) + repr(vars(caught.value))
        assert KEY not in "".join(local_variables_of_this_library(caught.value))
        assert KEY.encode() not in pickle.dumps(caught.value)
    assert caplog.records or (running.grpc and status == 401)  # there was something to look at
    assert KEY not in caplog.text
    assert not [record for record in caplog.records if KEY in repr(vars(record))]


def test_no_object_shows_the_key(running: Running, client: QdrantClient) -> None:
    docs = make(client)
    docs.search("river")
    inner: Any = client._client
    shown: list[object] = [client, client.init_options, vars(client), inner, vars(inner), inner._rest_args]
    shown += [inner._rest_headers, inner._grpc_headers, inner._grpc_options, client.http.client._client.headers]
    opened = docs._opened
    shown += [docs, vars(docs), vars(opened), vars(opened.engine)]
    shown += [docs.config, docs.info()]
    assert not [each for each in map(repr, shown) if KEY in each]
    with pytest.raises(TypeError, match="a Secret cannot be pickled"):
        pickle.dumps(client.init_options)


def test_a_token_that_expires_is_asked_for_again(running: Running) -> None:
    tokens = iter(f"token-{number}" for number in range(100))
    client = connect(**running.address, auth_token_provider=lambda: next(tokens))
    make(client)
    client.close()
    seen = [head["authorization"] for head in running.server.heads]
    assert seen == [f"Bearer token-{number}" for number in range(len(seen))]
    assert len(seen) > 2


@pytest.mark.parametrize("bad", [f"{KEY}\n", f"{KEY} é", "", None])
def test_a_token_that_cannot_be_sent_is_not_repeated(running: Running, bad: Any) -> None:
    tokens = ["fine"] * 100
    client = connect(**running.address, auth_token_provider=tokens.pop)
    docs = make(client)
    before, tokens[:] = len(running.server.heads), [bad] * 100
    with pytest.raises(Exception, match=r"auth_token_provider: (the|a) key") as caught:
        docs.search("river")
    told = "".join(traceback.format_exception(caught.value))
    assert KEY not in told + "".join(local_variables_of_this_library(caught.value))
    assert (len(running.server.heads), len(tokens)) == (before, 99)
    client.close()


def test_the_async_client_does_the_same(running: Running) -> None:
    async def provider() -> str:
        return KEY

    async def ask() -> list[str]:
        shown = []
        for key in ({"api_key": KEY}, {"auth_token_provider": provider}):
            client = connect_async(**running.address, **key)
            assert not await client.collection_exists("docs")
            shown += [repr(client.init_options), repr(vars(client._client))]
            await client.close()
        return shown

    assert not [each for each in asyncio.run(ask()) if KEY in each]
    assert [head["authorization"] for head in running.server.heads] == [f"Bearer {KEY}"] * 2


def test_neither_does_an_async_collection_tell_it(running: Running, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    async def ask() -> RequestError:
        client = connect_async(**running.address, api_key=KEY)
        docs = await AsyncColbertCollection.create(
            "docs", client=client, encoder=WordEncoder(), config=CONFIG, retry=QUICK
        )
        await docs.search("river")
        running.fail(500)
        with pytest.raises(ServerError) as caught:
            await docs.search("river")
        await client.close()
        return caught.value

    error = asyncio.run(ask())
    told = [*traceback.format_exception(error), *local_variables_of_this_library(error), caplog.text]
    assert not [each for each in told if KEY in each]
    assert {head["authorization"] for head in running.server.heads} == {f"Bearer {KEY}"}


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "grpc_proxy"])
def test_no_proxy_is_asked_for_what_is_on_this_machine(
    running: Running, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    with rest_server.serving(rest_server.FaultyServer()) as proxy:
        monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        client = connect(**running.address, api_key=KEY)
        assert not client.collection_exists("docs")
        client.close()
        assert proxy.heads == []
    assert len(running.server.heads) == 1


def test_a_client_of_ones_own_with_a_bad_key_does_not_tell_it_in_messages(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with rest_server.serving(rest_server.FaultyServer()) as server:
        url = f"http://127.0.0.1:{server.port}"
        with pytest.warns(UserWarning, match="insecure"):
            bad = QdrantClient(url=url, api_key=f"{KEY}\n", check_compatibility=False)
        with pytest.raises(RequestError, match=r"cannot be sent .*the client's key") as caught:
            ColbertCollection.open("docs", client=bad, encoder=WordEncoder(), retry=QUICK)
        assert (caught.value.attempts, KEY in str(caught.value), KEY in caplog.text) == (1, False, False)
        bad.close()


def local_variables_of_this_library(error: BaseException | None) -> Iterator[str]:
    """Of all frames of this library that an error, or one that led to it, went through."""
    folder = Path(package).parent
    while error is not None:
        for frame, _ in traceback.walk_tb(error.__traceback__):
            if Path(frame.f_code.co_filename).is_relative_to(folder):
                yield repr(frame.f_locals)
        error = error.__cause__ or error.__context__
