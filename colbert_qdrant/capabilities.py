"""Tells which features an engine has, by the version of a server or by what another engine lacks."""

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
    "rrf_weights",
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
"""A feature that not every engine has; see `SINCE`."""

SINCE: Final[Mapping[Feature, tuple[int, int]]] = {
    "search_params": (1, 10),  # local mode always scans, and warns about them
    "shard_keys": (1, 16),  # of the user's own; servers have them longer, but not where to keep the fingerprint then
    "sharding": (1, 10),  # shards, replicas and payload on disk; the embedded engines are one shard
    "payload_indexes": (1, 10),  # local mode filters without any, and warns about them
    "tenant_index": (1, 11),
    "has_vector": (1, 13),  # points can be chosen by the vectors that they have
    "strict_mode": (1, 13),  # limits of a collection
    "metadata": (1, 16),  # of collections; in the API since 1.15.4
    "groups": (1, 11),
    "sample": (1, 11),  # points are drawn at random
    "acorn": (1, 16),  # walks the graph through points that a filter leaves out
    "dbsf": (1, 11),
    "formula": (1, 14),
    "offset": (1, 15),  # before 1.14.1 candidates are skipped, too
    "bm25_inference": (1, 16),  # servers make BM25's vectors of texts; since 1.15.3
    "rrf_k": (1, 16),  # before, k is 2
    "rrf_weights": (1, 17),
    "update_filter": (1, 16),  # an update can leave alone what does not match; in the API since 1.15.4
    "insert_only": (1, 17),  # an upsert can leave alone what is stored
    "optimizations": (1, 17),  # of a collection, all nodes together: what is still to be built
    "turbo_quantization": (1, 18),
    "memory": (1, 19),  # cold, cached or pinned, in the place of on_disk and always_ram
    "vector_names": (1, 19),  # vectors can be added to a collection; since 1.18, but with loss of points or vectors
    "turbo4_datatype": (1, 19),  # 1.18 accepts it, and crashes
    "turbo8_datatype": (1, 20),
    "unindexed_words": (1, 20),  # `MatchText` looks for words without a text index too; before, for a substring
}
"""The first server version that has a feature. Engines without a version have all but those in `Capabilities.lacks`."""

_ENGINE_NAMES: Final[Mapping[str, str]] = {"edge": "the embedded engine", "local": "the client's local mode"}
_MULTIVECTORS_SINCE: Final = (1, 10)


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """The features of an engine, as far as this library needs to know them.

    A server is sent nothing that its version does not know.

    Attributes:
        engine: The engine's name: ``"server"``, ``"local"`` or ``"edge"``.
        version: Major and minor version of a server; ``None`` for the others.
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
        """Return the capabilities of a server, given the version that it reports.

        Raises:
            CapabilityError: The server is older than 1.10, the first one with multivectors, or its version is no
                number.
        """
        parsed = _parse(version or "")
        if parsed < _MULTIVECTORS_SINCE:
            raise CapabilityError(
                f"the Qdrant server is version {parsed[0]}.{parsed[1]}, but multivectors need 1.10: upgrade it"
            )
        return cls(engine="server", version=parsed)

    def has(self, feature: Feature) -> bool:
        """Return whether the engine has a feature."""
        if self.version is not None:
            return self.version >= SINCE[feature]
        return feature not in self.lacks

    def require(self, feature: Feature, *, what: str, remedy: str) -> None:
        """Raise `CapabilityError` unless the engine has a feature; the message names the version that has it.

        ``what`` was asked for; ``remedy`` is the alternative to upgrading the server.
        """
        if self.has(feature):
            return
        if self.version is None:
            engine = _ENGINE_NAMES.get(self.engine, f"the engine {self.engine!r}")
            raise CapabilityError(f"{what} needs a Qdrant server, {engine} has nothing like it: {remedy}")
        major, minor = SINCE[feature]
        raise CapabilityError(
            f"{what} needs a Qdrant server of version {major}.{minor} or newer, this one is {self.version[0]}."
            f"{self.version[1]}: upgrade it, or {remedy}"
        )


def _parse(version: str) -> tuple[int, int]:
    found = re.match(r"(\d{1,6})\.(\d{1,6})(?!\d)", version)
    if not found:
        raise CapabilityError(
            f"the Qdrant server calls itself version {version[:40]!r}: expected a number such as 1.16.0"
        )
    return int(found[1]), int(found[2])
