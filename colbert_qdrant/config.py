"""Settings of a collection: frozen, checked when made, and stored with the collection as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from colbert_qdrant.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_DENSE_DIM: Final = 65_535
"""Most dimensions of a Qdrant dense vector (``lib/collection/src/operations/types.rs`` and its documentation)."""

VectorDatatype = Literal["float32", "float16"]


@dataclass(frozen=True, kw_only=True)
class MuveraConfig:
    """MUVERA, the data-independent fixed dimensional encoding (arXiv 2405.19504).

    The encoding has ``r_reps * 2**k_sim * dim_proj`` dimensions: 10,240 by default.

    Args:
        k_sim: Hyperplanes per repetition; they cut the token space into ``2**k_sim`` cells.
        dim_proj: Dimensions to which the token vectors of a cell are projected.
        r_reps: Independent repetitions, one after another in the encoding; more are more accurate.
        seed: Chooses the hyperplanes and projections. Documents and queries need the same one.
        fill_empty: Fill a document's empty cells from its nearest tokens, as the paper does.

    Raises:
        ConfigurationError: A value is out of range, or the encoding has more than 65,535 dimensions.

    Example:
        >>> MuveraConfig(r_reps=10).dim
        5120
    """

    k_sim: int = 5
    dim_proj: int = 16
    r_reps: int = 20
    seed: int = 42
    fill_empty: bool = True

    def __post_init__(self) -> None:
        _require_int("k_sim", self.k_sim, minimum=0, maximum=12)
        _require_int("dim_proj", self.dim_proj, minimum=1)
        _require_int("r_reps", self.r_reps, minimum=1)
        _require_int("seed", self.seed, minimum=0, maximum=2**32 - 1)
        _require_bool("fill_empty", self.fill_empty)
        if self.dim > MAX_DENSE_DIM:
            raise ConfigurationError(
                f"r_reps * 2**k_sim * dim_proj = {self.r_reps} * {2**self.k_sim} * {self.dim_proj} = {self.dim:,} "
                f"dimensions, but a Qdrant vector has at most {MAX_DENSE_DIM:,}: lower one of the three"
            )

    @property
    def dim(self) -> int:
        """Dimensions of the encoding."""
        return self.r_reps * self.cells * self.dim_proj

    @property
    def cells(self) -> int:
        """Cells per repetition."""
        return 1 << self.k_sim

    def to_dict(self) -> dict[str, Any]:
        """All settings as JSON values, tagged with the algorithm."""
        return {"type": "muvera", **asdict(self)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`.

        Raises:
            ConfigurationError: Another algorithm's tag, an unknown key or a value out of range.
        """
        tag = data.get("type")
        if tag != "muvera":
            raise ConfigurationError(f"unknown FDE type {tag!r}: this version knows 'muvera'")
        return cls(**_known(cls, {key: value for key, value in data.items() if key != "type"}))


@dataclass(frozen=True, kw_only=True)
class HnswConfig:
    """The graph over the encodings; a value left at ``None`` is the engine's own default.

    Args:
        m: Links per node.
        ef_construct: Neighbours considered while building.
        full_scan_threshold: Kilobytes of vectors per segment below which a scan is used instead of the graph.
    """

    m: int = 16
    ef_construct: int = 128
    full_scan_threshold: int | None = None

    def __post_init__(self) -> None:
        _require_int("m", self.m, minimum=0)
        _require_int("ef_construct", self.ef_construct, minimum=4)
        if self.full_scan_threshold is not None:
            _require_int("full_scan_threshold", self.full_scan_threshold, minimum=0)


@dataclass(frozen=True, kw_only=True)
class CollectionConfig:
    """How a collection stores documents.

    Args:
        fde: The fixed dimensional encoding of the first stage.
        hnsw: The graph over the encodings.
        fde_datatype: Storage type of the encodings.
        token_datatype: Storage type of the token vectors.
        segments: Segments per shard; about one per core, since a segment is scored by one thread. ``None`` is
            the engine's default.
        fde_vector: Name of the dense vector.
        token_vector: Name of the multivector.
        text_key: Payload key of a document's text.
        id_key: Payload key of a document's own id.

    Raises:
        ConfigurationError: A value is out of range, or two names are equal.

    Example:
        >>> config = CollectionConfig(fde=MuveraConfig(r_reps=10))
        >>> CollectionConfig.from_dict(config.to_dict()) == config
        True
    """

    fde: MuveraConfig = field(default_factory=MuveraConfig)
    hnsw: HnswConfig = field(default_factory=HnswConfig)
    fde_datatype: VectorDatatype = "float16"
    token_datatype: VectorDatatype = "float16"
    segments: int | None = None
    fde_vector: str = "fde"
    token_vector: str = "colbert"
    text_key: str = "text"
    id_key: str = "_id"

    def __post_init__(self) -> None:
        for name, kind in (("fde", MuveraConfig), ("hnsw", HnswConfig)):
            if not isinstance(getattr(self, name), kind):
                raise ConfigurationError(f"{name} must be a {kind.__name__}, got {getattr(self, name)!r}")
        for name in ("fde_datatype", "token_datatype"):
            if getattr(self, name) not in ("float32", "float16"):
                raise ConfigurationError(f"{name}={getattr(self, name)!r}: use 'float16' or 'float32'")
        if self.segments is not None:
            _require_int("segments", self.segments, minimum=1)
        for first, second in (("fde_vector", "token_vector"), ("text_key", "id_key")):
            if not getattr(self, first) or not getattr(self, second):
                raise ConfigurationError(f"{first} and {second} must not be empty")
            if getattr(self, first) == getattr(self, second):
                raise ConfigurationError(f"{first} and {second} are both {getattr(self, first)!r}: use two names")

    def to_dict(self) -> dict[str, Any]:
        """All settings as JSON values."""
        return {**asdict(self), "fde": self.fde.to_dict()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`.

        Raises:
            ConfigurationError: An unknown key or a value out of range.
        """
        values = _known(cls, data)
        if "fde" in values:
            values["fde"] = MuveraConfig.from_dict(values["fde"])
        if "hnsw" in values:
            values["hnsw"] = HnswConfig(**_known(HnswConfig, values["hnsw"]))
        return cls(**values)


def _known(cls: type[Any], data: Mapping[str, Any]) -> dict[str, Any]:
    unknown = set(data) - {each.name for each in fields(cls)}
    if unknown:
        raise ConfigurationError(
            f"{cls.__name__} does not know {sorted(unknown)}: written by a newer version of colbert-qdrant?"
        )
    return dict(data)


def _require_int(name: str, value: object, *, minimum: int, maximum: int | None = None) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ConfigurationError(f"{name} must be a whole number, got {value!r}")
    if value < minimum or (maximum is not None and value > maximum):
        bounds = f"at least {minimum}" if maximum is None else f"between {minimum} and {maximum}"
        raise ConfigurationError(f"{name} must be {bounds}, got {value}")


def _require_bool(name: str, value: object) -> None:
    if not isinstance(value, bool):
        raise ConfigurationError(f"{name} must be True or False, got {value!r}")
