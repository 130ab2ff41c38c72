"""Defines the settings of fixed dimensional encodings (FDEs)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Final, Literal, Protocol, Self, get_args

from colbert_qdrant.config.checks import (
    keep_plain,
    preset_size,
    require_bool,
    require_instance,
    require_int,
    require_known_fields,
    require_number,
    require_one_of,
    without_defaults,
)
from colbert_qdrant.errors import ConfigurationError
from colbert_qdrant.shown import shown

MAX_DENSE_DIM: Final = 65_536
"""The maximum dimensions of a dense vector (Qdrant's ``lib/collection/src/operations/types.rs`` and documentation)."""

MAX_RAW_DIM: Final = 2**20
"""The maximum dimensions before a final projection: each document is first encoded to a vector of up to 4 MB."""

MuveraPartition = Literal["simhash", "kmeans"]
"""How MUVERA partitions the token space: by random hyperplanes, or around centroids fitted to a collection."""

MuveraVariant = Literal["colbert-qdrant", "fastembed"]
"""The implementation whose random numbers, scaling and filling of empty cells an encoding reproduces."""

Refinement = Literal["residual", "spaced"]
"""How LEMUR chooses and weighs a document's own tokens: by the error of their estimates, or evenly."""

Preset = Literal["small", "balanced", "accurate"]
"""The named sizes of encodings; the benchmarks list their costs and recall."""


class FdeConfig(Protocol):
    """The settings of a fixed dimensional encoding; implementations are frozen dataclasses."""

    tag: ClassVar[str]
    """The name of the algorithm, stored as ``"type"``."""

    @property
    def dim(self) -> int:
        """The dimensions of the encoding."""

    @property
    def needs_fit(self) -> bool:
        """Whether the encoding has to be fitted to a collection before it can encode."""

    @property
    def fit_documents(self) -> int:
        """The number of documents that the encoding is fitted to, if it needs a fit."""

    @property
    def seed(self) -> int:
        """The seed of all random numbers, including the choice of documents for a fit."""

    def to_dict(self) -> dict[str, Any]:
        """Return all settings as JSON values, with the tag under ``"type"``."""

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Make settings from the dict that `to_dict` returned.

        Raises:
            ConfigurationError: If the tag is another algorithm's, a key is unknown, or a value is out of range.
        """


FDE_CONFIGS: Final[dict[str, type[FdeConfig]]] = {}
"""The settings classes of all registered encodings, by tag; `colbert_qdrant.fde.register_fde` adds to it."""


@dataclass(frozen=True, kw_only=True)
class _TaggedSettings:
    """Settings that are stored with the tag of their algorithm."""

    tag: ClassVar[str]
    _later: ClassVar[tuple[str, ...]] = ()
    """Settings that are stored only if they are set; see `without_defaults`."""

    _before: ClassVar[Mapping[str, Any]] = {}
    """Settings that stored settings may lack, with the values that they stand for then."""

    def to_dict(self) -> dict[str, Any]:
        """Return all settings as JSON values, with the tag under ``"type"``."""
        values = without_defaults(type(self), {"type": self.tag, **asdict(self)}, among=self._later)
        return {key: value for key, value in values.items() if key not in self._before or value != self._before[key]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Make settings from the dict that `to_dict` returned.

        Raises:
            ConfigurationError: If the tag is another algorithm's, a key is unknown, or a value is out of range.
        """
        require_instance("data", data, Mapping, "a dict from to_dict()")
        if data.get("type") != cls.tag:
            raise ConfigurationError(f"data['type'] is {shown(data.get('type'))}: pass settings of type {cls.tag!r}")
        known = require_known_fields(cls, {key: value for key, value in data.items() if key != "type"})
        return cls(**{**cls._before, **known})


@dataclass(frozen=True, kw_only=True)
class MuveraConfig(_TaggedSettings):
    """MUVERA, the data-independent fixed dimensional encoding (arXiv 2405.19504).

    The encoding has ``r_reps * 2**k_sim * dim_proj`` dimensions, 10,240 by default. If ``final_projection`` is set, it
    has that number of dimensions.

    Args:
        k_sim: Hyperplanes per repetition; they divide the token space into ``2**k_sim`` cells.
        dim_proj: Dimensions to which the token vectors of a cell are projected.
        r_reps: Independent repetitions, concatenated in the encoding; more repetitions are more accurate.
        seed: Seed of the hyperplanes and projections. Documents and queries need the same seed.
        fill_empty: Fill a document's empty cells from its nearest tokens, as the paper does. By default, only
            ``variant="fastembed"`` fills them, because empty cells gave a higher recall in all of our measurements.
            Collections of release 0.1.0 are filled, and stay filled.
        final_projection: Dimensions to which a count sketch reduces the whole encoding. It adds every coordinate of the
            long encoding, with a random sign, to one random coordinate of the short one. This preserves inner products
            on average, and only the short encoding has to fit into 65,536 dimensions.
        center: Subtract the mean of a collection's tokens from all tokens before encoding, for models whose tokens all
            point in one direction. The mean is fitted to the collection once and stored with it.
        partition: ``"kmeans"`` forms the cells around ``2**k_sim`` centroids of a collection's tokens, which differ
            between repetitions. The centroids are fitted once and stored with the collection. Their empty cells cannot
            be filled.
        fit_documents: Number of documents that the mean and the centroids are fitted to.
        variant: ``"fastembed"`` reproduces the numbers of FastEmbed's ``Muvera`` for the same parameters and seed. Use
            it to continue a collection that FastEmbed wrote.

    Raises:
        ConfigurationError: If a value is out of range, the encoding has more than 65,536 dimensions, or two settings
            conflict.

    Example:
        >>> MuveraConfig(r_reps=10).dim
        5120
        >>> MuveraConfig(center=True).needs_fit
        True
    """

    tag: ClassVar[str] = "muvera"
    _later: ClassVar[tuple[str, ...]] = ("final_projection", "center", "partition", "fit_documents", "variant")

    k_sim: int = 5
    dim_proj: int = 16
    r_reps: int = 20
    seed: int = 42
    fill_empty: bool | None = None
    final_projection: int | None = None
    center: bool = False
    partition: MuveraPartition = "simhash"
    fit_documents: int = 5_000
    variant: MuveraVariant = "colbert-qdrant"

    def __post_init__(self) -> None:
        keep_plain(self)
        require_int("k_sim", self.k_sim, minimum=0, maximum=12)
        require_int("dim_proj", self.dim_proj, minimum=1, maximum=MAX_RAW_DIM)
        require_int("r_reps", self.r_reps, minimum=1, maximum=MAX_RAW_DIM)
        require_int("seed", self.seed, minimum=0, maximum=2**32 - 1)
        require_one_of("variant", self.variant, get_args(MuveraVariant))
        if self.fill_empty is None:
            object.__setattr__(self, "fill_empty", self.variant == "fastembed")
        require_bool("fill_empty", self.fill_empty)
        require_bool("center", self.center)
        require_int("fit_documents", self.fit_documents, minimum=1)
        require_one_of("partition", self.partition, get_args(MuveraPartition))
        if self.partition == "kmeans" and self.fill_empty:
            raise ConfigurationError(
                "fill_empty=True needs the SimHash bits of cells, which partition='kmeans' does not have: leave "
                "fill_empty out"
            )
        if self.variant == "fastembed" and (self.needs_fit or self.final_projection is not None):
            raise ConfigurationError(
                "variant='fastembed' has no final projection, centering or k-means: leave out final_projection, center "
                "and partition, or leave out variant"
            )
        if self.final_projection is not None:
            require_int("final_projection", self.final_projection, minimum=1, maximum=MAX_DENSE_DIM)
            require_int("r_reps * 2**k_sim * dim_proj", self.raw_dim, minimum=1, maximum=MAX_RAW_DIM)
        elif self.dim > MAX_DENSE_DIM:
            raise ConfigurationError(
                f"r_reps * 2**k_sim * dim_proj = {self.r_reps} * {2**self.k_sim} * {self.dim_proj} = {self.dim:,} "
                f"dimensions, but a Qdrant vector has at most {MAX_DENSE_DIM:,}: lower one of the three, or set "
                "final_projection"
            )

    @classmethod
    def preset(cls, name: Preset) -> Self:
        """Return settings by size: ``"small"``, ``"balanced"``, or ``"accurate"``, which equals the default.

        The encodings have 2,560, 5,120 and 10,240 dimensions.

        Raises:
            ConfigurationError: If the preset does not exist.
        """
        return cls(r_reps=preset_size(name, {"small": 5, "balanced": 10, "accurate": 20}))

    @property
    def dim(self) -> int:
        """The dimensions of the encoding."""
        return self.raw_dim if self.final_projection is None else self.final_projection

    @property
    def needs_fit(self) -> bool:
        """Whether the encoding has to be fitted to a collection before it can encode."""
        return self.center or self.partition == "kmeans"

    @property
    def raw_dim(self) -> int:
        """The dimensions before the final projection."""
        return self.r_reps * self.cells * self.dim_proj

    @property
    def cells(self) -> int:
        """The number of cells per repetition."""
        return 1 << self.k_sim


@dataclass(frozen=True, kw_only=True)
class LemurConfig(_TaggedSettings):
    """LEMUR, the learned fixed dimensional encoding (arXiv 2601.21853), rotated, truncated, balanced and refined.

    LEMUR is fitted to a collection's own token embeddings. The dimensions of an encoding are in order of importance, so
    that stored encodings can be truncated further.

    Args:
        dim: Dimensions of the encoding.
        hidden: Number of features before truncation to ``dim``; with ``epochs=0``, more features are better.
        epochs: Maximum number of training epochs. 0 keeps random features, which needs no training and finds a little
            less.
        learn_tokens: Number of tokens at which a document's scores are fitted; half the tokens come from queries. The
            time to encode a document grows in proportion.
        own_weight: Weight of each of a document's own tokens, relative to a learn token; 0 leaves own tokens out.
        own_tokens: Maximum number of a document's own tokens that are used.
        refinement: ``"residual"`` uses those own tokens of a longer document that the learn tokens underestimate most.
            The tokens of a shorter document weigh more, so all documents have the same total weight. ``"spaced"`` uses
            evenly spaced tokens of the same weight. Collections of release 0.1.0 do that, and continue to.
        fit_documents: Number of documents that LEMUR is fitted to.
        training_documents: Number of these documents whose scores the features and the rotation are fitted to. The
            other documents contribute learn tokens only.
        ridge: Regularization of the least squares, relative to the mean eigenvalue.
        seed: Seed of the samples and the initial weights.

    Raises:
        ConfigurationError: If a value is out of range, or ``dim`` is more than ``hidden``.
    """

    tag: ClassVar[str] = "lemur"
    _before: ClassVar[Mapping[str, Any]] = {"refinement": "spaced"}

    dim: int = 512
    hidden: int = 2_048
    epochs: int = 12
    learn_tokens: int = 16_384
    own_weight: float = 8.0
    own_tokens: int = 64
    refinement: Refinement = "residual"
    fit_documents: int = 5_000
    training_documents: int = 2_048
    ridge: float = 1e-3
    seed: int = 42

    def __post_init__(self) -> None:
        keep_plain(self)
        require_int("dim", self.dim, minimum=1, maximum=MAX_DENSE_DIM)
        require_int("hidden", self.hidden, minimum=1, maximum=2**17)
        require_int("epochs", self.epochs, minimum=0, maximum=10_000)
        require_int("learn_tokens", self.learn_tokens, minimum=1, maximum=2**20)
        require_number("own_weight", self.own_weight, minimum=0)
        require_int("own_tokens", self.own_tokens, minimum=1)
        require_one_of("refinement", self.refinement, get_args(Refinement))
        require_int("fit_documents", self.fit_documents, minimum=1)
        require_int("training_documents", self.training_documents, minimum=1)
        require_number("ridge", self.ridge, minimum=1e-9)
        require_int("seed", self.seed, minimum=0, maximum=2**32 - 1)
        if self.dim > self.hidden:
            raise ConfigurationError(
                f"dim={self.dim} is more than hidden={self.hidden}, the number of features: raise hidden, or lower dim"
            )

    @classmethod
    def preset(cls, name: Preset) -> Self:
        """Return settings by size: ``"small"``, ``"balanced"``, which equals the default, or ``"accurate"``.

        The encodings have 256, 512 and 1,024 dimensions.

        Raises:
            ConfigurationError: If the preset does not exist.
        """
        return cls(dim=preset_size(name, {"small": 256, "balanced": 512, "accurate": 1_024}))

    @property
    def needs_fit(self) -> bool:
        """Always True: LEMUR cannot encode before it is fitted."""
        return True


class AsStored:
    """Lets pydantic read and write the settings of an encoding in their stored form, with the tag, or ``"auto"``."""

    def __get_pydantic_core_schema__(self, source: object, handler: Any) -> Any:
        """Return the schema of a hint that is annotated with this class."""
        from pydantic_core import core_schema  # noqa: PLC0415 - the caller is pydantic

        stored = handler.generate_schema(dict[str, Any])
        made = core_schema.no_info_after_validator_function(fde_from_dict, stored)
        known = core_schema.is_instance_schema(tuple(FDE_CONFIGS.values()))
        auto = core_schema.literal_schema(["auto"])
        return core_schema.json_or_python_schema(
            json_schema=core_schema.union_schema([auto, made]),
            python_schema=core_schema.union_schema([known, auto, made]),
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda config: config if isinstance(config, str) else config.to_dict(),
                return_schema=core_schema.union_schema([auto, stored]),
            ),
        )


def fde_from_dict(data: Mapping[str, Any]) -> FdeConfig:
    """Make the settings of the algorithm that the tag names, from the dict that ``to_dict`` returned.

    Raises:
        ConfigurationError: If the tag or a key is unknown, or a value is out of range.
    """
    require_instance("fde", data, Mapping, "a dict from to_dict()")
    kind = FDE_CONFIGS.get(str(data.get("type", "")))
    if kind is None:
        tags = ", ".join(FDE_CONFIGS)
        raise ConfigurationError(f"unknown FDE type {data.get('type')!r}: use one of {tags}, or register_fde first")
    return kind.from_dict(data)
