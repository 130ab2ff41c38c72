"""Which engine a client speaks to, and what may be sent to it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self, TypeAlias

from qdrant_client import QdrantClient

from colbert_qdrant.errors import CapabilityError, ConfigurationError
from colbert_qdrant.qdrant.edge import EdgeClient

if TYPE_CHECKING:
    from colbert_qdrant.config import CollectionConfig

Client: TypeAlias = QdrantClient | EdgeClient
"""What every part of this library that does I/O takes: the two have the same method names."""

_MULTIVECTORS_SINCE = (1, 10)
_HAS_VECTOR_SINCE = (1, 13)
_METADATA_SINCE = (1, 16)
_INSERT_ONLY_SINCE = (1, 17)
_TURBO_SINCE = (1, 18)


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """What an engine can do, as far as this library needs to know.

    Attributes:
        engine: A Qdrant server or cluster, the client's local mode, or the embedded engine.
        version: Major and minor version of a server; ``None`` for the others.
        collection_metadata: Whether collections carry metadata (servers since 1.16); if not, the fingerprint is
            kept in the payload of a reserved point.
        search_params: Whether search parameters mean anything; local mode always scans and warns about them.
        has_vector: Whether points can be chosen by the vectors that they have (servers since 1.13).
        turbo_quantization: Whether vectors can be quantized with TurboQuant (servers since 1.18).
        insert_only: Whether an upsert can leave alone what is stored (servers since 1.17).
    """

    engine: Literal["server", "local", "edge"]
    version: tuple[int, int] | None
    collection_metadata: bool
    search_params: bool
    has_vector: bool = True
    turbo_quantization: bool = True
    insert_only: bool = False

    @classmethod
    def of(cls, client: Client) -> Self:
        """Find out about the engine behind a client; a server is asked for its version.

        Raises:
            ConfigurationError: It is not a client that this library knows.
            CapabilityError: The server is older than 1.10, the first one with multivectors.
        """
        if isinstance(client, EdgeClient):
            return cls(engine="edge", version=None, collection_metadata=True, search_params=True)
        if not isinstance(client, QdrantClient):
            raise ConfigurationError(
                f"client must be a qdrant_client.QdrantClient or an EdgeClient, got {type(client).__name__}"
            )
        if _is_local(client):
            return cls(engine="local", version=None, collection_metadata=True, search_params=False)
        version = _parse(client.info().version)
        if version < _MULTIVECTORS_SINCE:
            raise CapabilityError(
                f"the Qdrant server is version {version[0]}.{version[1]}, but multivectors need 1.10: upgrade it"
            )
        return cls(
            engine="server",
            version=version,
            collection_metadata=version >= _METADATA_SINCE,
            search_params=True,
            has_vector=version >= _HAS_VECTOR_SINCE,
            turbo_quantization=version >= _TURBO_SINCE,
            insert_only=version >= _INSERT_ONLY_SINCE,
        )

    def require_for(self, config: CollectionConfig) -> None:
        """Raise unless the engine has what a collection of these settings needs.

        Raises:
            CapabilityError: The server is too old for it.
        """
        if config.fde.needs_fit and not self.has_vector:
            raise CapabilityError(
                "an encoding that is fitted to its collection needs a Qdrant server of version 1.13 or newer, which "
                "finds the points that lack it: upgrade it, or use MuveraConfig()"
            )
        if (config.fde_quantization or "").startswith("turbo") and not self.turbo_quantization:
            raise CapabilityError(
                f"fde_quantization={config.fde_quantization!r} needs a Qdrant server of version 1.18 or newer: upgrade "
                "it, or use 'int8'"
            )


def speaks_grpc(client: Client) -> bool:
    """Whether a client speaks to its server over gRPC, in binary, not over REST."""
    return isinstance(client, QdrantClient) and not _is_local(client) and bool(client.init_options.get("prefer_grpc"))


def _is_local(client: QdrantClient) -> bool:
    options = client.init_options
    return options.get("location") == ":memory:" or options.get("path") is not None


def _parse(version: str) -> tuple[int, int]:
    found = re.match(r"(\d+)\.(\d+)", version)
    if not found:
        raise CapabilityError(f"the Qdrant server calls itself version {version!r}: expected a number such as 1.16.0")
    return int(found[1]), int(found[2])
