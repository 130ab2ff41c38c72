"""What an error says of a server that cannot be reached, or does not take the request."""

from __future__ import annotations

import asyncio
import logging
import socket
import traceback
from typing import TYPE_CHECKING, Any

import pytest
from grpc import StatusCode
from qdrant_client import QdrantClient

from colbert_qdrant import (
    AsyncColbertCollection,
    AuthenticationError,
    ColbertCollection,
    ColbertQdrantError,
    CollectionNotFoundError,
    RequestRefusedError,
    ServerError,
    UnreachableError,
    connect,
    connect_async,
)
from tests import grpc_server
from tests.encoders import WordEncoder
from tests.faults import server as rest_server
from tests.faults.server import Answer, FaultyServer, failing
from tests.faults.test_http import BRIEF, CONFIG, DOCUMENTS, QUICK, replace_client
from tests.faults.test_keys import KEY, Running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DOUBT = "The server may still apply the write"


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    with rest_server.serving(FaultyServer()) as server:
        yield server


@pytest.fixture(params=["rest", "grpc"])
def running(request: pytest.FixtureRequest) -> Iterator[Running]:
    if request.param == "grpc":
        with grpc_server.serving(grpc_server.Server()) as server:
            yield Running(server, grpc=True)
    else:
        with rest_server.serving(FaultyServer()) as server:
            yield Running(server, grpc=False)


def create(client: QdrantClient) -> ColbertCollection:
    return ColbertCollection.create("docs", client=client, encoder=WordEncoder(), config=CONFIG, retry=BRIEF)


def message_of(call: Callable[[], Any], error: type[ColbertQdrantError]) -> str:
    with pytest.raises(error) as caught:
        call()
    return str(caught.value)


@pytest.mark.parametrize("grpc", [False, True])
def test_a_refused_connection_names_the_address(grpc: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    client = connect(f"http://127.0.0.1:{port}", prefer_grpc=grpc, grpc_port=port, timeout=1)
    open_it = lambda: ColbertCollection.open("docs", client=client, encoder=WordEncoder(), retry=BRIEF)  # noqa: E731
    assert f"could not be reached (127.0.0.1:{port}: " in message_of(open_it, UnreachableError)
    client.close()


def test_nothing_is_in_doubt_where_no_connection_was_made(server: FaultyServer) -> None:
    client = connect(f"http://127.0.0.1:{server.port}", timeout=1)
    docs = create(client)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    gone = connect(f"http://127.0.0.1:{port}", timeout=1)
    replace_client(docs, gone, BRIEF)
    assert DOUBT not in message_of(lambda: docs.upsert(DOCUMENTS), UnreachableError)
    client.close()
    gone.close()


@pytest.mark.parametrize(
    ("call", "in_doubt"),
    [
        (lambda docs: docs.upsert(DOCUMENTS), True),
        (lambda docs: docs.delete(ids="d1"), True),
        (lambda docs: docs.set_payload({"x": 1}, ids="d1"), True),
        (lambda docs: docs.search("river"), False),
        (lambda docs: docs.get("d1"), False),
    ],
    ids=["upsert", "delete", "set_payload", "search", "get"],
)
@pytest.mark.parametrize(
    ("answer", "error"), [(failing(500, "1 out of 2 replicas failed"), ServerError), (Answer(cut=0), UnreachableError)]
)
def test_a_write_that_failed_on_the_way_may_be_applied(
    server: FaultyServer,
    call: Callable[[ColbertCollection], Any],
    in_doubt: bool,
    answer: Answer,
    error: type[ColbertQdrantError],
) -> None:
    client = connect(f"http://127.0.0.1:{server.port}", timeout=1)
    docs = create(client)
    server.script = [answer] * 1_000
    assert (DOUBT in message_of(lambda: call(docs), error)) is in_doubt
    client.close()


@pytest.mark.parametrize("body", [b"", b"<html>404 Not Found</html>", b'{"status": null}', b'{"detail": "Not Found"}'])
def test_a_path_that_nobody_serves_is_no_missing_collection(server: FaultyServer, body: bytes) -> None:
    client = connect(f"http://127.0.0.1:{server.port}/qdrant", timeout=1)
    server.failure = Answer(status=404, body=body)
    open_it = lambda: ColbertCollection.open("docs", client=client, encoder=WordEncoder(), retry=QUICK)  # noqa: E731
    assert "check the path in the client's URL" in message_of(open_it, RequestRefusedError)
    server.failure = failing(404, "Not found: Collection `docs` doesn't exist!")
    message_of(open_it, CollectionNotFoundError)
    client.close()


def test_a_missing_point_is_no_missing_collection(server: FaultyServer) -> None:
    client = connect(f"http://127.0.0.1:{server.port}", timeout=1)
    docs = create(client)
    server.failure = failing(404, "Not found: No point with id 99 found")
    assert "No point with id 99" in message_of(lambda: docs.more_like(99), RequestRefusedError)
    client.close()


def test_an_expired_token_is_named(running: Running) -> None:
    client = connect(**running.address, api_key=KEY)
    if isinstance(running.server, grpc_server.Server):
        running.server.failure = (StatusCode.PERMISSION_DENIED, "ExpiredSignature")
    else:
        running.server.failure = failing(403, "ExpiredSignature")
    message = message_of(lambda: create(client), AuthenticationError)
    assert "the token has expired" in message
    assert "auth_token_provider" in message
    client.close()


def test_a_provider_that_raises_is_named_at_once(running: Running) -> None:
    asked = []

    def provider() -> str:
        asked.append(1)
        raise OSError("the vault does not answer")

    client = connect(**running.address, auth_token_provider=provider)
    with pytest.raises(
        AuthenticationError, match=r"auth_token_provider raised .*OSError: the vault does not"
    ) as caught:
        create(client)
    assert len(asked) == 1
    assert "OSError: the vault does not answer" in "".join(traceback.format_exception(caught.value))
    client.close()


def test_an_async_provider_that_raises_is_named_too(running: Running) -> None:
    async def provider() -> str:
        raise OSError("the vault does not answer")

    async def open_it() -> None:
        client = connect_async(**running.address, auth_token_provider=provider)
        with pytest.raises(AuthenticationError, match=r"auth_token_provider raised .*OSError: the vault"):
            await AsyncColbertCollection.open("docs", client=client, encoder=WordEncoder(), retry=QUICK)
        await client.close()

    asyncio.run(open_it())


@pytest.mark.parametrize("echo", [f"<pre>Authorization: Bearer {KEY}</pre>", f'{{"api-key": "{KEY}"}}', f"? {KEY} ?"])
@pytest.mark.parametrize("status", [502, 403, 200])
def test_a_proxy_that_repeats_the_headers_tells_nobody_the_key(
    server: FaultyServer, caplog: pytest.LogCaptureFixture, echo: str, status: int
) -> None:
    caplog.set_level(logging.DEBUG, logger="colbert_qdrant")
    client = connect(f"http://127.0.0.1:{server.port}", api_key=KEY, timeout=1)
    docs = create(client)
    server.failure = Answer(status=status, body=echo.encode())
    with pytest.raises(ColbertQdrantError) as caught:
        docs.search("river")
    told = "".join(traceback.format_exception(caught.value)) + repr(vars(caught.value))
    assert KEY not in told
    assert KEY not in caplog.text
    assert not [record for record in caplog.records if KEY in repr(vars(record))]
    client.close()


def test_a_key_of_a_clients_own_is_not_told_either(server: FaultyServer) -> None:
    with pytest.warns(UserWarning, match="insecure"):
        client = QdrantClient(url=f"http://127.0.0.1:{server.port}", api_key=KEY, check_compatibility=False)
    docs = create(client)
    server.failure = failing(502, f"bad gateway for {KEY}")
    assert "bad gateway for ***" in message_of(lambda: docs.search("river"), ServerError)
    client.close()
