"""Ways in which the artefact of a fitted encoding is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from colbert_qdrant import EdgeClient

if TYPE_CHECKING:
    from qdrant_client import models

    from colbert_qdrant.engines import Client
    from tests.contract.conftest import Engine


def stored_points(client: Client, name: str) -> list[models.Record]:
    return client.scroll(name, limit=10_000, with_payload=True, with_vectors=True)[0]


def lose_artefact(client: Client, engine: Engine) -> None:
    if isinstance(client, EdgeClient):
        next(engine.path.rglob("fde.safetensors")).unlink()
    else:
        client.delete_collection(f"{engine.name}__fde")


def alter_artefact(client: Client, engine: Engine) -> None:
    if isinstance(client, EdgeClient):
        path = next(engine.path.rglob("fde.safetensors"))
        data = bytearray(path.read_bytes())
        data[-5] ^= 1
        path.write_bytes(data)
        return
    name = f"{engine.name}__fde"
    for point in stored_points(client, name):
        if "data" in (point.payload or {}):
            client.set_payload(name, {"data": "AAAA"}, points=[point.id])


def cut_artefact(client: Client, engine: Engine) -> None:
    if isinstance(client, EdgeClient):
        path = next(engine.path.rglob("fde.safetensors"))
        path.write_bytes(path.read_bytes()[:-1000])
        return
    name = f"{engine.name}__fde"
    client.delete(name, [point.id for point in stored_points(client, name) if "data" in (point.payload or {})])
