"""Lists the features of each engine: by version for servers, and by exclusion for the other engines."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, Self

from colbert_qdrant.errors import CapabilityError

if TYPE_CHECKING:
    from collections.abc import Mapping

Feature = Literal[
    "has_vector",
    "strict_mode",
    "metadata",
    "bm25_inference",
    "rrf_k",
    "groups",
    "sample",
    "acorn",
    "dbsf",
    "formula",
    "offset",
    "update_filter",
    "insert_only",
    "turbo_quantization",
    "memory",
    "vector_names",
    "turbo4_datatype",
    "turbo8_datatype",
    "search_params",
    "sharding",
    "shard_keys",
    "payload_indexes",
    "tenant_index",
    "unindexed_words",
    "optimizations",
]
"""A feature that some engines lack; see `SINCE`."""

SINCE: Final[Mapping[Feature, tuple[int, int]]] = {
    "search_params": (1, 10),  # local mode always scans, and warns about search parameters
    "shard_keys": (1, 16),  # custom shard keys; older servers have them, but no place to store the fingerprint
    "sharding": (1, 10),  # shards, replicas and payload on disk; an embedded collection is one shard
    "payload_indexes": (1, 10),  # local mode filters without indexes, and warns about them
    "tenant_index": (1, 11),
    "has_vector": (1, 13),  # filters can select points that have a given vector
    "strict_mode": (1, 13),  # per-collection limits
    "metadata": (1, 16),  # of collections; in the API since 1.15.4
    "groups": (1, 11),
    "sample": (1, 11),  # queries can draw random points
    "acorn": (1, 16),  # traverses the graph through points that the filter excludes
    "dbsf": (1, 11),
    "formula": (1, 14),
    "offset": (1, 15),  # before 1.14.1, an offset also skips candidates
    "bm25_inference": (1, 16),  # the server computes BM25 vectors; in the API since 1.15.3
    "rrf_k": (1, 16),  # older servers use k = 2
    "update_filter": (1, 16),  # an update can skip points that do not match a filter; in the API since 1.15.4
    "insert_only": (1, 17),  # an upsert can skip points that are stored
    "optimizations": (1, 17),  # reports pending optimizations of a collection, for all nodes
    "turbo_quantization": (1, 18),
    "memory": (1, 19),  # cold, cached or pinned; replaces on_disk and always_ram
    "vector_names": (1, 19),  # vectors can be added to a collection; 1.18 can too, but loses points or vectors
    "turbo4_datatype": (1, 19),  # 1.18 accepts this datatype, and crashes
    "turbo8_datatype": (1, 20),
    "unindexed_words": (1, 20),  # `MatchText` matches words without a text index too; older servers match a substring
}
"""The first server version that has a feature. Other engines have all features except their `Capabilities.lacks`."""

_ENGINE_NAMES: Final[Mapping[str, str]] = {"edge": "the embedded engine", "local": "the client's local mode"}
_MULTIVECTORS_SINCE: Final = (1, 10)


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """The features of an engine that matter to this library.

    The library sends a server only requests that its version supports.

    Attributes:
        engine: The engine's name: ``"server"``, ``"local"`` or ``"edge"``.
        version: Major and minor version of a server; ``None`` for the other engines.
        lacks: The features that an engine without a version does not have.

    Example:
        >>> Capabilities(engine="server", version=(1, 18)).has("memory")
        False
    """

    engine: str
    version: tuple[int, int] | None = None
    lacks: frozenset[Feature] = frozenset()

    @classmethod
    def of_server(cls, version: str | None) -> Self:
        """Return the capabilities of a server of the given version.

        Raises:
            CapabilityError: If the server is older than 1.10, the first version with multivectors, or its version is
                not a number.
        """
        parsed = _parse(version or "")
        if parsed < _MULTIVECTORS_SINCE:
            raise CapabilityError(
                f"the Qdrant server is version {parsed[0]}.{parsed[1]}, but multivectors need 1.10: upgrade the server"
            )
        return cls(engine="server", version=parsed)

    def has(self, feature: Feature) -> bool:
        """Return whether the engine has a feature."""
        if self.version is not None:
            return self.version >= SINCE[feature]
        return feature not in self.lacks

    def require(self, feature: Feature, *, what: str, remedy: str) -> None:
        """Raise `CapabilityError` unless the engine has a feature; the message names the first version that has it.

        Args:
            feature: The feature.
            what: The option that needs the feature, for the message.
            remedy: The alternative to upgrading the server, in the imperative.
        """
        if self.has(feature):
            return
        if self.version is None:
            engine = _ENGINE_NAMES.get(self.engine, f"the engine {self.engine!r}")
            raise CapabilityError(f"{what} needs a Qdrant server, {engine} does not support it: {remedy}")
        major, minor = SINCE[feature]
        raise CapabilityError(
            f"{what} needs Qdrant {major}.{minor} or newer, but this server is {self.version[0]}.{self.version[1]}: "
            f"upgrade the server, or {remedy}"
        )


def _parse(version: str) -> tuple[int, int]:
    found = re.match(r"(\d{1,6})\.(\d{1,6})(?!\d)", version)
    if not found:
        raise CapabilityError(
            f"the Qdrant server reports the version {version[:40]!r}, not a number such as 1.16.0: check that the URL "
            "is that of a Qdrant server"
        )
    return int(found[1]), int(found[2])
