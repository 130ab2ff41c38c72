"""Downloads and uploads the snapshots of a server's collections, through the client's own connections and keys."""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import httpx
from qdrant_client import models
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

from colbert_qdrant.engines.faults import GarbledAnswerError
from colbert_qdrant.engines.transport import http_of
from colbert_qdrant.errors import CapabilityError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from colbert_qdrant.engines.client import ClientEngine

_FILE: Final = "collection.snapshot"
_SECONDS: Final = 6 * 3600.0
"""The deadline of each step: a server packs and unpacks a whole collection within it."""


class ServerSnapshots:
    """Makes copies of collections by the server's snapshots, over REST.

    Args:
        engine: The engine.
    """

    def __init__(self, engine: ClientEngine) -> None:
        self._engine = engine
        self._http, self._address = http_of(engine.client)

    async def save(self, collection: str, folder: Path) -> None:
        """Let the server make a snapshot, download it, and delete it on the server."""
        await self._require_one_node(collection)
        made = await self._request("create_snapshot", collection, partial(self._create, collection))
        try:
            download = partial(self._download, collection, made, folder / _FILE)
            await self._request("download_snapshot", collection, download)
        finally:
            delete = self._engine.client.delete_snapshot
            await self._request(
                "delete_snapshot", collection, partial(self._engine.runtime.call, delete, collection, made.name)
            )

    async def load(self, collection: str, folder: Path) -> None:
        """Upload a snapshot, which the server turns into a collection."""
        await self._request("recover_snapshot", collection, partial(self._upload, collection, folder / _FILE))

    async def _require_one_node(self, collection: str) -> None:
        cluster = await self._engine.cluster_info(collection)
        if cluster is not None and cluster.remote_shards:
            nodes = {cluster.peer_id, *(each.peer_id for each in cluster.remote_shards)}
            raise CapabilityError(
                f"collection {collection!r} is on {len(nodes)} nodes, and a snapshot has the shards of one node only: "
                "take a snapshot on each node with Qdrant's API, or store the documents elsewhere with export(path)"
            )

    async def _request(self, operation: str, collection: str, send: Any) -> Any:
        return await self._engine.request(operation, collection, send, deadline=_SECONDS)

    async def _create(self, collection: str) -> models.SnapshotDescription:
        answer = await self._send("POST", self._path(collection), params={"wait": "true"})
        try:
            return models.SnapshotDescription.model_validate(answer.json()["result"])
        except (ValueError, LookupError, TypeError) as error:
            raise GarbledAnswerError from error

    async def _upload(self, collection: str, path: Path) -> None:
        with path.open("rb") as file:
            files = {"snapshot": (path.name, file, "application/octet-stream")}
            await self._send(
                "POST", f"{self._path(collection)}/upload", params={"priority": "snapshot", "wait": "true"}, files=files
            )

    async def _download(self, collection: str, made: models.SnapshotDescription, path: Path) -> None:
        address, found = f"{self._path(collection)}/{quote(made.name, safe='')}", hashlib.sha256()
        with path.open("wb") as file, _faults():
            if isinstance(self._http, httpx.Client):
                with self._http.stream("GET", address, timeout=_SECONDS) as answer:
                    if answer.status_code != httpx.codes.OK:
                        answer.read()
                    _require_ok(answer)
                    for piece in answer.iter_bytes():
                        found.update(piece)
                        file.write(piece)
            else:
                async with self._http.stream("GET", address, timeout=_SECONDS) as answer:
                    if answer.status_code != httpx.codes.OK:
                        await answer.aread()
                    _require_ok(answer)
                    async for piece in answer.aiter_bytes():
                        found.update(piece)
                        file.write(piece)
        if made.checksum and found.hexdigest() != made.checksum:
            raise GarbledAnswerError

    async def _send(self, method: str, address: str, **named: Any) -> httpx.Response:
        with _faults():
            sent = self._http.request(method, address, timeout=_SECONDS, **named)
            answer = sent if isinstance(sent, httpx.Response) else await sent
        return _require_ok(answer)

    def _path(self, collection: str) -> str:
        return f"{self._address}/collections/{quote(collection, safe='')}/snapshots"


@contextmanager
def _faults() -> Iterator[None]:
    """Turn the transport's errors into those that the client raises."""
    try:
        yield
    except httpx.HTTPError as error:
        raise ResponseHandlingException(error) from error


def _require_ok(answer: httpx.Response) -> httpx.Response:
    if answer.status_code != httpx.codes.OK:
        raise UnexpectedResponse.for_response(answer)
    return answer
