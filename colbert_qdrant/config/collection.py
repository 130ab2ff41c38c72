"""Defines the settings of a collection, by which it stores documents."""

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
"""The storage type of a token vector's numbers: 32, 16, 8 or 4 bits, see `CollectionConfig`."""

FdeQuantization = Literal["turbo4", "turbo2", "int8", "binary"]
"""The copy that the graph compares instead of the stored encodings: 4, 2, 8 or 1 bits per dimension."""

Sharding = Literal["auto", "custom"]
"""The way in which a document's shard is chosen, see `CollectionConfig`."""

IdScheme = Literal["uuid5", "native"]
"""The way in which a document's id becomes its point's, see `CollectionConfig`."""

TokenDistance = Literal["dot", "cosine"]
"""The way in which two token vectors are compared."""

Storage = Literal["memory", "balanced", "disk"]
"""The parts that are kept in memory, see `CollectionConfig`."""

PayloadIndex = Literal["keyword", "integer", "float", "bool", "datetime", "uuid", "text", "geo"]
"""A type of payload index."""


@dataclass(frozen=True, kw_only=True)
class HnswConfig:
    """The graph over the encodings; a value left at ``None`` is the engine's own default.

    Args:
        m: Links per node.
        ef_construct: Neighbours considered while building.
        full_scan_threshold: Kilobytes of vectors per segment below which a scan is used instead of the graph, at
            least 10.
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
    """The settings by which a collection stores documents.

    Args:
        fde: The fixed dimensional encoding of the first stage.
        hnsw: The graph over the encodings.
        storage: The parts that are kept in memory. ``"memory"``: all. ``"balanced"``: token vectors and the graph, as
            far as there is room, and of encodings only their quantized copy, if there is one. ``"disk"``: nothing but
            what is in use, and the quantized copy as far as there is room; for collections much larger than memory.
        fde_datatype: Storage type of the encodings.
        fde_quantization: A smaller copy of the encodings that the graph is searched with. MaxSim ranks what it finds,
            so nothing is rescored in between, but for ``"binary"``, whose finds are rough. ``"turbo4"`` (TurboQuant,
            servers since 1.18) loses next to no recall, and makes the graph faster.
        token_datatype: Storage type of the token vectors. ``"turbo4"`` (servers since 1.19) takes a quarter of
            ``"float16"`` and loses a little, ``"turbo8"`` (since 1.20) half and next to nothing.
        segments: Segments per shard; about one per core, since a segment is scored by one thread. ``None`` is
            the engine's default.
        shard_number: Shards of a cluster; ``None`` is the server's default.
        replication_factor: Copies of every shard; ``None`` is the server's default, one.
        write_consistency_factor: Copies that have to confirm a write; ``None`` is the server's default, one.
        sharding: ``"auto"``: documents are spread by their ids. ``"custom"``: whoever opens the collection says, with
            ``shard_key``, which of the shard keys that ``client.create_shard_key`` made it is for. Ids are those of one
            shard key: a document that is stored under two of them is there twice, for counts and searches, too.
        bm25: Adds a sparse vector of BM25 to every document, for hybrid searches; ``None``: there is none.
        dense: Further dense vectors, by name: made by an encoder of yours, or brought by the documents.
        sparse: Further sparse vectors, by name; likewise.
        payload_indexes: Payload keys that searches filter by, and the types of their indexes: without one, a filter
            reads every document, and servers in strict mode refuse it.
        tenant_field: The payload key that says whose a document is, where a collection is shared by many: it gets an
            index that keeps each tenant's documents together.
        fde_vector: Name of the dense vector.
        token_vector: Name of the multivector.
        bm25_vector: Name of the sparse vector of BM25.
        text_key: Payload key of a document's text. In a native collection it is a path, as Qdrant writes them:
            ``"metadata.text"``, ``"parts[].text"``, ``"_node_content.text"`` (a step into a string goes into the JSON
            that it holds), or ``None``: no texts are known.
        id_key: Payload key of a document's own id; a native collection has none.
        id_scheme: ``"uuid5"``: ids are any strings, numbers and UUIDs, kept in the payload; a point's id is derived
            from them. ``"native"``: a document's id is its point's, a whole number from 0 to 2**64 − 1 or a UUID, and
            the payload is stored and given back as it is, with the text in it; for points that others wrote.
        token_distance: The way in which token vectors are compared. ``"cosine"`` is for collections that exist already:
            Qdrant normalises the vectors then, which changes no ranking of unit vectors.

    The names of vectors are not empty, but of one in ``dense`` or ``sparse``, or of any but BM25's in a native
    collection: ``""`` is Qdrant's unnamed vector.

    Raises:
        ConfigurationError: A value is out of range, or two names are equal.

    Example:
        >>> config = CollectionConfig(fde=MuveraConfig(r_reps=10))
        >>> CollectionConfig.from_dict(config.to_dict()) == config
        True
    """

    fde: Annotated[FdeConfig, AsStored()] = field(default_factory=MuveraConfig)
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
        if not isinstance(self.fde, tuple(FDE_CONFIGS.values())):
            names = " or a ".join(each.__name__ for each in FDE_CONFIGS.values())
            raise ConfigurationError(f"fde must be a {names}, got {shown(self.fde)}")
        if not isinstance(self.hnsw, HnswConfig):
            raise ConfigurationError(f"hnsw must be a HnswConfig, got {shown(self.hnsw)}")
        require_one_of("id_scheme", self.id_scheme, get_args(IdScheme))
        require_one_of("storage", self.storage, get_args(Storage))
        require_one_of("fde_datatype", self.fde_datatype, get_args(VectorDatatype))
        require_one_of("token_datatype", self.token_datatype, get_args(TokenDatatype))
        if self.fde_quantization is not None:
            require_one_of("fde_quantization", self.fde_quantization, get_args(FdeQuantization))
        self._check_shards()
        for setting in ("payload_indexes", "dense", "sparse"):
            require_instance(setting, getattr(self, setting), Mapping, "a dict, by name")
            object.__setattr__(self, setting, dict(getattr(self, setting)))
        if not isinstance(self.tenant_field, str | None):
            raise ConfigurationError(f"tenant_field={shown(self.tenant_field)}: name a payload key")
        object.__setattr__(self, "payload_indexes", _by_path(self.payload_indexes))
        object.__setattr__(self, "tenant_field", self.tenant_field and same_path(self.tenant_field))
        self._check_indexes()
        self._check_vectors()
        require_one_of("token_distance", self.token_distance, get_args(TokenDistance))
        self._check_keys()

    @property
    def native(self) -> bool:
        """Tells whether points are kept as others wrote them: their ids and payloads are the documents' own."""
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
        return without_defaults(type(self), {**asdict(self), "fde": self.fde.to_dict()}, among=later_settings)

    def _check_shards(self) -> None:
        require_one_of("sharding", self.sharding, get_args(Sharding))
        for name in ("segments", "shard_number", "replication_factor", "write_consistency_factor"):
            if getattr(self, name) is not None:
                require_int(name, getattr(self, name), minimum=1)
        if (self.write_consistency_factor or 1) > (self.replication_factor or self.write_consistency_factor or 1):
            raise ConfigurationError(
                f"write_consistency_factor={self.write_consistency_factor} is more than the "
                f"replication_factor={self.replication_factor} copies that there are: no write could be confirmed"
            )
        if self.sharding == "custom" and self.fde.needs_fit:
            raise ConfigurationError(
                "an encoding that is fitted is one of all documents, and sharding='custom' keeps them apart: use "
                "MuveraConfig() as it is, or tenant_field"
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
                raise ConfigurationError(f"a vector has the name {shown(name)}: it must be a string that is not empty")
            if names.count(name) > 1:
                raise ConfigurationError(f"two vectors have the name {shown(name)}: use two names")

    def _check_keys(self) -> None:
        if self.text_key is None and not self.native:
            raise ConfigurationError("text_key=None: only a collection with id_scheme='native' can be without texts")
        require_instance("id_key", self.id_key, str, "the name of a payload key")
        if not isinstance(self.text_key, str | None):
            raise ConfigurationError(f"text_key={shown(self.text_key)}: name a payload key")
        if self.text_key == "" or not self.id_key:
            raise ConfigurationError("text_key and id_key must not be empty")
        if self.text_key == self.id_key and not self.native:
            raise ConfigurationError(f"text_key and id_key are both {shown(self.text_key)}: use two names")

    def _check_indexes(self) -> None:
        for key, kind in self.payload_indexes.items():
            if not isinstance(key, str) or not key:
                raise ConfigurationError(f"payload_indexes has the key {shown(key)}: payload keys are strings")
            require_one_of(f"payload_indexes[{shown(key)}]", kind, get_args(PayloadIndex))
        if self.tenant_field is None:
            return
        if not isinstance(self.tenant_field, str) or not self.tenant_field:
            raise ConfigurationError(f"tenant_field={shown(self.tenant_field)}: name a payload key")
        if self.indexes[self.tenant_field] not in ("keyword", "uuid"):
            raise ConfigurationError(
                f"tenant_field={shown(self.tenant_field)} is in payload_indexes as "
                f"{shown(self.payload_indexes[self.tenant_field])}: only 'keyword' and 'uuid' can tell tenants apart"
            )

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Make settings of what `to_dict` returned.

        Raises:
            ConfigurationError: A key is unknown, or a value is out of range.
        """
        values = require_known_fields(cls, data)
        if "fde" in values:
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
    """Return indexes by their keys as every engine reads them."""
    found: dict[str, PayloadIndex] = {}
    for key, kind in indexes.items():
        if found.setdefault(same_path(key), kind) != kind:
            raise ConfigurationError(f"payload_indexes has the key {key!r} twice, with two types: use one of them")
    return found
