"""Defines the settings of a collection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Literal, Self, get_args

from colbert_qdrant.config.checks import (
    keep_plain,
    require_instance,
    require_int,
    require_known_fields,
    require_one_of,
    without_defaults,
)
from colbert_qdrant.config.fde import FDE_CONFIGS, AsStored, FdeConfig, MuveraConfig, fde_from_dict
from colbert_qdrant.config.names import same_path
from colbert_qdrant.config.vectors import Bm25Config, DenseConfig, SparseConfig
from colbert_qdrant.errors import ConfigurationError
from colbert_qdrant.shown import shown

VectorDatatype = Literal["float32", "float16"]
"""The storage type of the numbers of an encoding."""

TokenDatatype = Literal["float32", "float16", "turbo8", "turbo4"]
"""The storage type of token vectors: 32, 16, 8 or 4 bits per value; see `CollectionConfig`."""

FdeQuantization = Literal["turbo4", "turbo2", "int8", "binary"]
"""The quantized copy of the encodings that the graph compares: 4, 2, 8 or 1 bits per dimension."""

Sharding = Literal["auto", "custom"]
"""How a document's shard is chosen; see `CollectionConfig`."""

IdScheme = Literal["uuid5", "native"]
"""How a document's id maps to its point's id; see `CollectionConfig`."""

TokenDistance = Literal["dot", "cosine"]
"""How two token vectors are compared."""

Storage = Literal["memory", "balanced", "disk"]
"""How much of a collection is kept in RAM; see `CollectionConfig`."""

PayloadIndex = Literal["keyword", "integer", "float", "bool", "datetime", "uuid", "text", "geo"]
"""A type of payload index."""


@dataclass(frozen=True, kw_only=True)
class HnswConfig:
    """The settings of the HNSW graph over the encodings.

    Args:
        m: Links per node.
        ef_construct: Neighbors considered while building.
        full_scan_threshold: Kilobytes of vectors per segment below which Qdrant scans instead of using the graph; at
            least 10. ``None`` is the engine's default.
    """

    m: int = 16
    ef_construct: int = 128
    full_scan_threshold: int | None = None

    def __post_init__(self) -> None:
        keep_plain(self)
        require_int("m", self.m, minimum=0)
        require_int("ef_construct", self.ef_construct, minimum=4)
        if self.full_scan_threshold is not None:
            require_int("full_scan_threshold", self.full_scan_threshold, minimum=10)


@dataclass(frozen=True, kw_only=True)
class CollectionConfig:
    """The settings of a collection.

    Args:
        fde: The fixed dimensional encoding of the first stage. ``"auto"`` measures the ``sample`` that you create the
            collection with, and chooses MUVERA, centered MUVERA or LEMUR; see `choose_fde`.
        hnsw: The HNSW graph over the encodings.
        storage: How much is kept in RAM. ``"memory"`` keeps everything in RAM. ``"balanced"`` caches token vectors and
            the graph while RAM lasts; of the encodings, it keeps only the quantized copy, if there is one. ``"disk"``
            reads from disk on demand, and caches the quantized copy while RAM lasts. Use it for collections much larger
            than RAM.
        fde_datatype: Storage type of the encodings.
        fde_quantization: A smaller copy of the encodings, which the graph compares. MaxSim ranks the candidates, so
            there is no rescoring in between, except for the coarse ``"binary"``. ``"turbo4"`` (TurboQuant, servers
            since 1.18) loses almost no recall, and makes the graph faster.
        token_datatype: Storage type of the token vectors. ``"turbo4"`` (servers since 1.19) takes a quarter of the
            space of ``"float16"`` and loses a little quality. ``"turbo8"`` (since 1.20) takes half and loses almost
            nothing.
        segments: Segments per shard. Use about one per core: one thread scores a segment. ``None`` is the engine's
            default.
        shard_number: Shards of a collection in a cluster; ``None`` is the server's default.
        replication_factor: Copies of every shard; ``None`` is the server's default, 1.
        write_consistency_factor: Copies that have to confirm a write; ``None`` is the server's default, 1.
        sharding: ``"auto"`` distributes documents by their ids. ``"custom"`` stores them under the ``shard_key`` that
            you open the collection with; create the keys with ``client.create_shard_key``. Ids are unique within one
            shard key. A document stored under two keys exists twice, also in counts and searches.
        bm25: Adds a sparse BM25 vector to every document, for hybrid searches; ``None`` adds no such vector.
        dense: Additional dense vectors, by name. Your encoder computes them, or the documents provide them.
        sparse: Additional sparse vectors, by name. Your encoder computes them, or the documents provide them.
        payload_indexes: Index types by payload key, for the keys that searches filter by. Without an index, a filter
            reads every document, and servers in strict mode refuse it.
        tenant_field: The payload key that names a document's tenant, if tenants share the collection. Its index keeps
            each tenant's documents together.
        fde_vector: Name of the dense vector.
        token_vector: Name of the multivector.
        bm25_vector: Name of the sparse BM25 vector.
        text_key: Payload key of a document's text. In a native collection it is a path in Qdrant's syntax, such as
            ``"metadata.text"`` or ``"parts[].text"``. A path may lead into JSON that a string holds, as in
            ``"_node_content.text"``. ``None`` means that the payload has no text.
        id_key: Payload key of a document's id; native collections do not use it.
        id_scheme: ``"uuid5"`` accepts any string, integer or UUID as an id, keeps it in the payload, and derives the
            point's id from it. ``"native"`` is for points that another application wrote: a document's id is its
            point's id, an integer from 0 to 2**64 − 1 or a UUID. The payload, with the text in it, is stored and
            returned unchanged.
        token_distance: How token vectors are compared. ``"cosine"`` is for collections that exist already: Qdrant then
            normalizes the vectors, which does not change the ranking of unit vectors.

    Vector names must not be empty, because ``""`` is Qdrant's unnamed vector. Exceptions are one name in ``dense`` or
    ``sparse``, and in a native collection any name except that of the BM25 vector.

    Raises:
        ConfigurationError: If a value is out of range, or two names are equal.

    Example:
        >>> config = CollectionConfig(fde=MuveraConfig(r_reps=10))
        >>> CollectionConfig.from_dict(config.to_dict()) == config
        True
    """

    fde: Annotated[FdeConfig | Literal["auto"], AsStored()] = field(default_factory=MuveraConfig)
    hnsw: HnswConfig = field(default_factory=HnswConfig)
    storage: Storage = "balanced"
    fde_datatype: VectorDatatype = "float16"
    fde_quantization: FdeQuantization | None = None
    token_datatype: TokenDatatype = "float16"
    segments: int | None = None
    shard_number: int | None = None
    replication_factor: int | None = None
    write_consistency_factor: int | None = None
    sharding: Sharding = "auto"
    bm25: Bm25Config | None = None
    dense: Mapping[str, DenseConfig] = field(default_factory=dict)
    sparse: Mapping[str, SparseConfig] = field(default_factory=dict)
    payload_indexes: Mapping[str, PayloadIndex] = field(default_factory=dict)
    tenant_field: str | None = None
    fde_vector: str = "fde"
    token_vector: str = "colbert"
    bm25_vector: str = "bm25"
    text_key: str | None = "text"
    id_key: str = "_id"
    id_scheme: IdScheme = "uuid5"
    token_distance: TokenDistance = "dot"

    def __post_init__(self) -> None:
        keep_plain(self)
        if self.is_auto and self.sharding == "custom":
            raise ConfigurationError(
                "sharding='custom' separates documents, and fde='auto' may choose an encoding that is fitted to all "
                "documents: use MuveraConfig() with its defaults, or tenant_field"
            )
        if not self.is_auto and not isinstance(self.fde, tuple(FDE_CONFIGS.values())):
            names = ", ".join(each.__name__ for each in FDE_CONFIGS.values())
            raise ConfigurationError(f"fde must be {names} or 'auto', got {shown(self.fde)}")
        if not isinstance(self.hnsw, HnswConfig):
            raise ConfigurationError(f"hnsw must be an HnswConfig, got {shown(self.hnsw)}")
        require_one_of("id_scheme", self.id_scheme, get_args(IdScheme))
        require_one_of("storage", self.storage, get_args(Storage))
        require_one_of("fde_datatype", self.fde_datatype, get_args(VectorDatatype))
        require_one_of("token_datatype", self.token_datatype, get_args(TokenDatatype))
        if self.fde_quantization is not None:
            require_one_of("fde_quantization", self.fde_quantization, get_args(FdeQuantization))
        self._check_shards()
        for setting in ("payload_indexes", "dense", "sparse"):
            require_instance(setting, getattr(self, setting), Mapping, "a dict by name")
            object.__setattr__(self, setting, dict(getattr(self, setting)))
        if not isinstance(self.tenant_field, str | None):
            raise ConfigurationError(f"tenant_field={shown(self.tenant_field)} is not a string: name a payload key")
        object.__setattr__(self, "payload_indexes", _by_path(self.payload_indexes))
        object.__setattr__(self, "tenant_field", self.tenant_field and same_path(self.tenant_field))
        self._check_indexes()
        self._check_vectors()
        require_one_of("token_distance", self.token_distance, get_args(TokenDistance))
        self._check_keys()

    @property
    def is_auto(self) -> bool:
        """Whether the encoding has yet to be chosen."""
        return isinstance(self.fde, str) and self.fde == "auto"

    @property
    def encoding(self) -> FdeConfig:
        """The settings of the encoding.

        Raises:
            ConfigurationError: If ``fde`` is ``"auto"``. The settings of a collection always have the chosen encoding.
        """
        if isinstance(self.fde, str):
            raise ConfigurationError(
                "fde='auto' is chosen by ColbertCollection.create(…, sample=documents) only: pass "
                "fde=choose_fde(tokens).config here"
            )
        return self.fde

    @property
    def native(self) -> bool:
        """Whether documents use their points' ids and payloads unchanged."""
        return self.id_scheme == "native"

    @property
    def indexes(self) -> dict[str, PayloadIndex]:
        """All payload indexes, the tenants' too."""
        tenant: dict[str, PayloadIndex] = {} if self.tenant_field is None else {self.tenant_field: "keyword"}
        return {**tenant, **self.payload_indexes}

    @property
    def prefetch_vectors(self) -> tuple[str, ...]:
        """Names of the vectors that a hybrid search can find candidates by."""
        bm25 = () if self.bm25 is None else (self.bm25_vector,)
        return (self.fde_vector, *bm25, *self.dense, *self.sparse)

    def to_dict(self) -> dict[str, Any]:
        """Return all settings as JSON values; see `without_defaults`."""
        later_settings = (
            "storage",
            "shard_number",
            "replication_factor",
            "write_consistency_factor",
            "sharding",
            "bm25",
            "dense",
            "sparse",
            "bm25_vector",
            "payload_indexes",
            "tenant_field",
            "id_scheme",
            "token_distance",
        )
        return without_defaults(
            type(self),
            {**asdict(self), "fde": "auto" if self.is_auto else self.encoding.to_dict()},
            among=later_settings,
        )

    def _check_shards(self) -> None:
        require_one_of("sharding", self.sharding, get_args(Sharding))
        for name in ("segments", "shard_number", "replication_factor", "write_consistency_factor"):
            if getattr(self, name) is not None:
                require_int(name, getattr(self, name), minimum=1)
        if (self.write_consistency_factor or 1) > (self.replication_factor or self.write_consistency_factor or 1):
            raise ConfigurationError(
                f"write_consistency_factor={self.write_consistency_factor} is more than "
                f"replication_factor={self.replication_factor}, so no write could be confirmed: lower it, or raise "
                "replication_factor"
            )
        if self.sharding == "custom" and not self.is_auto and self.encoding.needs_fit:
            raise ConfigurationError(
                "sharding='custom' separates documents, but a fitted encoding is computed from all documents: use "
                "MuveraConfig() with its defaults, or tenant_field"
            )

    def _check_vectors(self) -> None:
        if not isinstance(self.bm25, Bm25Config | None):
            raise ConfigurationError(f"bm25 must be a Bm25Config, got {shown(self.bm25)}")
        for setting, kind in (("dense", DenseConfig), ("sparse", SparseConfig)):
            for name, value in getattr(self, setting).items():
                if not isinstance(value, kind):
                    raise ConfigurationError(f"{setting}[{shown(name)}] must be a {kind.__name__}, got {shown(value)}")
        for setting in ("fde_vector", "token_vector", "bm25_vector"):
            require_instance(setting, getattr(self, setting), str, "the name of a vector")
        names = (*self.prefetch_vectors, self.token_vector)
        others = {*self.dense, *self.sparse, *((self.fde_vector, self.token_vector) if self.native else ())}
        for name in names:
            if not isinstance(name, str) or not (name or name in others):
                raise ConfigurationError(f"a vector has the name {shown(name)}: use a string that is not empty")
            if names.count(name) > 1:
                raise ConfigurationError(f"two vectors have the name {shown(name)}: use different names")

    def _check_keys(self) -> None:
        if self.text_key is None and not self.native:
            raise ConfigurationError(
                "text_key=None needs id_scheme='native': name a payload key, since other collections store texts"
            )
        require_instance("id_key", self.id_key, str, "the name of a payload key")
        if not isinstance(self.text_key, str | None):
            raise ConfigurationError(f"text_key={shown(self.text_key)} is not a string: name a payload key")
        if self.text_key == "" or not self.id_key:
            raise ConfigurationError("text_key and id_key must not be empty: name payload keys")
        if self.text_key == self.id_key and not self.native:
            raise ConfigurationError(f"text_key and id_key are both {shown(self.text_key)}: use different names")

    def _check_indexes(self) -> None:
        for key, kind in self.payload_indexes.items():
            if not isinstance(key, str) or not key:
                raise ConfigurationError(f"payload_indexes has the key {shown(key)}: use a string that is not empty")
            require_one_of(f"payload_indexes[{shown(key)}]", kind, get_args(PayloadIndex))
        if self.tenant_field is None:
            return
        if not isinstance(self.tenant_field, str) or not self.tenant_field:
            raise ConfigurationError(
                f"tenant_field={shown(self.tenant_field)} is not a payload key: name one, or use None"
            )
        if self.indexes[self.tenant_field] not in ("keyword", "uuid"):
            raise ConfigurationError(
                f"tenant_field={shown(self.tenant_field)} is in payload_indexes as "
                f"{shown(self.payload_indexes[self.tenant_field])}: use 'keyword' or 'uuid'"
            )

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Make settings from the dict that `to_dict` returned.

        Raises:
            ConfigurationError: If a key is unknown, or a value is out of range.
        """
        values = require_known_fields(cls, data)
        if values.get("fde", "auto") != "auto":
            values["fde"] = fde_from_dict(values["fde"])
        if "hnsw" in values:
            values["hnsw"] = HnswConfig(**require_known_fields(HnswConfig, values["hnsw"]))
        if values.get("bm25") is not None:
            values["bm25"] = Bm25Config(**require_known_fields(Bm25Config, values["bm25"]))
        for setting, kind in (("dense", DenseConfig), ("sparse", SparseConfig)):
            vectors = values.get(setting, {})
            values[setting] = {name: kind(**require_known_fields(kind, each)) for name, each in vectors.items()}
        return cls(**values)


def _by_path(indexes: Mapping[str, PayloadIndex]) -> dict[str, PayloadIndex]:
    """Return indexes by the normalized form of their keys."""
    found: dict[str, PayloadIndex] = {}
    for key, kind in indexes.items():
        if found.setdefault(same_path(key), kind) != kind:
            raise ConfigurationError(f"payload_indexes has the key {key!r} twice, with different types: remove one")
    return found
