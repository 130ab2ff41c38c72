"""Builds the arguments that create a collection, and checks a collection's layout when it is opened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from qdrant_client import models

from colbert_qdrant.config.names import require_collection_name, require_key, require_path, require_vector_names
from colbert_qdrant.errors import SchemaMismatchError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from colbert_qdrant.capabilities import Capabilities, Feature
    from colbert_qdrant.config import CollectionConfig, FdeQuantization, Storage

Memory = Literal["cold", "cached", "pinned"]
"""Qdrant's names for residency: read from disk when needed, kept in the page cache, or locked in memory."""


@dataclass(frozen=True, kw_only=True)
class CollectionMemory:
    """The residency in memory of each part of a collection.

    Attributes:
        fde: The FDE vectors.
        quantized: The quantized copies of the FDE vectors.
        graph: The HNSW graph over the FDE vectors.
        tokens: The token vectors.
        payload: The payloads, with the texts.
    """

    fde: Memory
    quantized: Memory
    graph: Memory
    tokens: Memory
    payload: Memory


FOREIGN_REMEDY: Final = (
    "Rerank its documents with attach, move them to a new collection with Migration.plan, or create a collection with "
    "another name."
)
"""The remedies for a collection that this library did not create."""

_MEMORY: Final[Mapping[Storage, CollectionMemory]] = {
    "memory": CollectionMemory(fde="cached", quantized="pinned", graph="pinned", tokens="cached", payload="cached"),
    "balanced": CollectionMemory(fde="cold", quantized="pinned", graph="cached", tokens="cached", payload="cold"),
    "disk": CollectionMemory(fde="cold", quantized="cached", graph="cold", tokens="cold", payload="cold"),
}

DISTANCES: Final[Mapping[str, models.Distance]] = {
    "cosine": models.Distance.COSINE,
    "dot": models.Distance.DOT,
    "euclid": models.Distance.EUCLID,
    "manhattan": models.Distance.MANHATTAN,
}
_TURBO_DATATYPES: Final[Mapping[str, Feature]] = {"turbo4": "turbo4_datatype", "turbo8": "turbo8_datatype"}
_TURBO_BITS: Final = {"turbo4": models.TurboQuantBitSize.BITS4, "turbo2": models.TurboQuantBitSize.BITS2}


def require_for(config: CollectionConfig, capabilities: Capabilities) -> None:
    """Raise `CapabilityError`, which names the version required, unless the engine supports these settings."""
    if config.encoding.needs_fit:
        capabilities.require(
            "has_vector",
            what="an encoding that is fitted to its collection",
            remedy="use MuveraConfig() without center and partition='kmeans'",
        )
    if (config.fde_quantization or "").startswith("turbo"):
        what = f"fde_quantization={config.fde_quantization!r}"
        capabilities.require("turbo_quantization", what=what, remedy="use 'int8'")
    if config.token_datatype in _TURBO_DATATYPES:
        needed = _TURBO_DATATYPES[config.token_datatype]
        capabilities.require(needed, what=f"token_datatype={config.token_datatype!r}", remedy="use 'float16'")
    for name, value in cluster_settings(config).items():
        capabilities.require("sharding", what=f"{name}={value}", remedy="leave it out")
    if config.sharding == "custom":
        capabilities.require("shard_keys", what="sharding='custom'", remedy="use tenant_field")
    if config.tenant_field is not None:
        capabilities.require(
            "tenant_index",
            what=f"tenant_field={config.tenant_field!r}",
            remedy="use payload_indexes, which is slower to find a tenant's documents",
        )


def require_names(name: str, config: CollectionConfig, *, companion: str) -> None:
    """Raise `ConfigurationError` unless a server would accept all names of a new collection.

    Args:
        name: The collection's name.
        config: Its settings.
        companion: The suffix in the name of the companion collection, which stores the fit.
    """
    require_collection_name(name, suffix=companion if config.encoding.needs_fit else "")
    require_vector_names((*config.prefetch_vectors, config.token_vector))
    for key in config.indexes:
        require_path("tenant_field" if key == config.tenant_field else f"payload_indexes[{key!r}]", key)
    if not config.native:
        require_key("text_key", config.text_key or "")
        require_key("id_key", config.id_key)


def creation_arguments(
    config: CollectionConfig, *, fde_dim: int, token_dim: int, capabilities: Capabilities
) -> dict[str, Any]:
    """Return the arguments of ``create_collection`` for one dense vector and one multivector in the same point.

    Both have ``Distance.DOT``. The norm of an FDE carries information, which cosine would discard. Token vectors are
    stored unchanged, unless ``token_distance`` is ``"cosine"``. The multivector has no graph (``m=0``): it ranks
    candidates, or every point.

    Args:
        config: The collection's settings.
        fde_dim: Dimensions of the encoding.
        token_dim: Dimensions of a token vector.
        capabilities: The engine's features. Servers before 1.19 take the residency in other parameters.
    """
    memory = _MEMORY[config.storage]
    full_copy = "cached" if config.storage == "balanced" and config.fde_quantization is None else memory.fde
    fde = models.VectorParams(
        size=fde_dim,
        distance=models.Distance.DOT,
        datatype=models.Datatype(config.fde_datatype),
        hnsw_config=models.HnswConfigDiff(
            m=config.hnsw.m,
            ef_construct=config.hnsw.ef_construct,
            full_scan_threshold=config.hnsw.full_scan_threshold,
            **_memory_argument(memory.graph, capabilities),
        ),
        quantization_config=_quantization(config.fde_quantization, memory.quantized, capabilities),
        **_memory_argument(full_copy, capabilities),
    )
    tokens = models.VectorParams(
        size=token_dim,
        distance=DISTANCES[config.token_distance],
        datatype=models.Datatype(config.token_datatype),
        multivector_config=models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM),
        hnsw_config=models.HnswConfigDiff(m=0, payload_m=0),
        **_memory_argument(memory.tokens, capabilities),
    )
    dense = {
        name: models.VectorParams(size=each.dim, distance=DISTANCES[each.distance])
        for name, each in config.dense.items()
    }
    sparse = {
        name: models.SparseVectorParams(modifier=models.Modifier.IDF if has_idf else None)
        for name, has_idf in _idf(config).items()
    }
    return {
        "vectors_config": {config.fde_vector: fde, config.token_vector: tokens, **dense},
        **({"sparse_vectors_config": sparse} if sparse else {}),
        "optimizers_config": models.OptimizersConfigDiff(default_segment_number=config.segments),
        **_cluster_arguments(config, memory, capabilities),
    }


def index_arguments(config: CollectionConfig, capabilities: Capabilities) -> list[dict[str, Any]]:
    """Return the arguments of ``create_payload_index`` for every index of a collection."""
    if not capabilities.has("payload_indexes"):
        return []
    found = []
    for key, kind in config.indexes.items():
        schema: Any = models.PayloadSchemaType(kind)
        if key == config.tenant_field and kind == "uuid":
            schema = models.UuidIndexParams(type=models.UuidIndexType.UUID, is_tenant=True)
        elif key == config.tenant_field:
            schema = models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD, is_tenant=True)
        elif kind == "text" and config.bm25 is not None and config.bm25.unspaced:
            schema = models.TextIndexParams(
                type=models.TextIndexType.TEXT, tokenizer=models.TokenizerType.MULTILINGUAL, lowercase=True
            )
        found.append({"field_name": key, "field_schema": schema})
    return found


def _idf(config: CollectionConfig) -> dict[str, bool]:
    """Return for every sparse vector whether Qdrant multiplies its values by the inverse document frequency."""
    bm25 = {} if config.bm25 is None else {config.bm25_vector: True}
    return {**{name: each.idf for name, each in config.sparse.items()}, **bm25}


def _cluster_arguments(
    config: CollectionConfig, memory: CollectionMemory, capabilities: Capabilities
) -> dict[str, Any]:
    """Return the arguments that only servers accept."""
    if not capabilities.has("sharding"):
        return {}
    settings = cluster_settings(config)
    if config.sharding == "custom":
        settings["sharding_method"] = models.ShardingMethod.CUSTOM
    if capabilities.has("memory"):
        return {**settings, "payload": models.PayloadStorageParams(memory=models.Memory(memory.payload))}
    return {**settings, "on_disk_payload": memory.payload == "cold"}


COPIES: Final = ("replication_factor", "write_consistency_factor")
"""The cluster settings for the number of replicas, and for the number that must confirm a write."""


def cluster_settings(params: CollectionConfig | models.CollectionParams) -> dict[str, Any]:
    """Return the cluster settings that have a value."""
    return {name: getattr(params, name) for name in ("shard_number", *COPIES) if getattr(params, name) is not None}


def _memory_argument(memory: Memory, capabilities: Capabilities) -> dict[str, Any]:
    return {"memory": models.Memory(memory)} if capabilities.has("memory") else {"on_disk": memory == "cold"}


def _quantization(
    name: FdeQuantization | None, memory: Memory, capabilities: Capabilities
) -> models.QuantizationConfig | None:
    if name is None:
        return None
    memory_argument: dict[str, Any] = (
        {"memory": models.Memory(memory)} if capabilities.has("memory") else {"always_ram": memory == "pinned"}
    )
    if name == "int8":
        scalar = models.ScalarQuantizationConfig(type=models.ScalarType.INT8, quantile=0.99, **memory_argument)
        return models.ScalarQuantization(scalar=scalar)
    if name == "binary":
        return models.BinaryQuantization(binary=models.BinaryQuantizationConfig(**memory_argument))
    turbo = models.TurboQuantQuantizationConfig(bits=_TURBO_BITS[name], **memory_argument)
    return models.TurboQuantization(turbo=turbo)


def named_vectors(info: models.CollectionInfo) -> Mapping[str, models.VectorParams]:
    """Return a collection's dense vectors and multivectors by name; ``""`` names the unnamed vector."""
    found: Any = info.config.params.vectors
    if isinstance(found, dict):
        return found
    return {} if found is None else {"": found}


def stored_as_float16(config: CollectionConfig) -> frozenset[str]:
    """Return the vectors that are stored as the float16 values nearest to their numbers.

    With ``token_distance="cosine"``, token vectors are normalized before they are rounded.
    """
    tokens = config.token_datatype == "float16" and config.token_distance != "cosine"
    fde = config.fde_datatype == "float16"
    return frozenset([config.token_vector] * tokens + [config.fde_vector] * fde)


def datatype_of(params: models.VectorParams) -> Any:
    """Return a vector's datatype under its name in `CollectionConfig`; float32 if the engine reports no datatype."""
    return "float32" if params.datatype is None else params.datatype.value


def distance_of(params: models.VectorParams) -> Any:
    """Return a vector's distance under its name in `CollectionConfig`."""
    return next(name for name, distance in DISTANCES.items() if distance == params.distance)


def check_schema(
    info: models.CollectionInfo, config: CollectionConfig, *, fde_dim: int, token_dim: int, collection: str
) -> None:
    """Raise unless a collection's vectors match those of `creation_arguments`.

    Raises:
        SchemaMismatchError: If the two differ. The message lists every difference and the remedy.
    """
    vectors = named_vectors(info)
    fde, tokens, distance = config.fde_vector, config.token_vector, DISTANCES[config.token_distance]
    problems = [
        *_problems(fde, vectors.get(fde), size=fde_dim, distance=models.Distance.DOT, multivector=False),
        *_problems(tokens, vectors.get(tokens), size=token_dim, distance=distance, multivector=True),
        *_problems_of_vectors(config, vectors, info.config.params.sparse_vectors or {}),
    ]
    if problems:
        names = ", ".join(repr(name) for name in sorted(vectors)) or "none"
        raise SchemaMismatchError(
            f"collection {collection!r} is not laid out for late interaction (its dense vectors: {names}):\n  "
            + "\n  ".join(problems)
            + f"\n{FOREIGN_REMEDY}"
        )


def _problems_of_vectors(
    config: CollectionConfig, dense: Mapping[str, models.VectorParams], sparse: Mapping[str, models.SparseVectorParams]
) -> list[str]:
    problems = []
    for name, wanted in config.dense.items():
        params, distance = dense.get(name), DISTANCES[wanted.distance]
        if params is None:
            problems.append(f"vector {name!r} is missing")
        elif (params.size, params.distance, params.multivector_config) != (wanted.dim, distance, None):
            problems.append(
                f"vector {name!r} must be a single vector of {wanted.dim} dimensions with distance {distance.value}, "
                f"but has {params.size} dimensions and distance {params.distance.value}"
            )
    for name, has_idf in _idf(config).items():
        if name not in sparse:
            problems.append(f"sparse vector {name!r} is missing")
        elif has_idf != (sparse[name].modifier == models.Modifier.IDF):
            problems.append(f"sparse vector {name!r} must {'' if has_idf else 'not '}have the modifier IDF")
    return problems


def _problems(
    name: str, params: models.VectorParams | None, *, size: int, distance: models.Distance, multivector: bool
) -> list[str]:
    if params is None:
        return [f"vector {name!r} is missing"]
    problems = []
    if params.size != size:
        problems.append(f"vector {name!r} must have {size} dimensions, but has {params.size}")
    if params.distance != distance:
        reason = "since the norm of an FDE carries information"
        if multivector:
            reason = (
                "since token vectors are stored unchanged" if distance == models.Distance.DOT else "as its settings say"
            )
        problems.append(
            f"vector {name!r} must have distance {distance.value}, {reason}, but has {params.distance.value}"
        )
    if multivector != (params.multivector_config is not None):
        problems.append(f"vector {name!r} must {'' if multivector else 'not '}be a multivector")
    return problems
