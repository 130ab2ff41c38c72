"""Defines the settings of the fixed dimensional encodings."""

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
"""Most dimensions of a Qdrant dense vector (``lib/collection/src/operations/types.rs`` and its documentation)."""

MAX_RAW_DIM: Final = 2**20
"""Most dimensions before a final projection, whose 4 MB every document is encoded to on the way."""

MuveraPartition = Literal["simhash", "kmeans"]
"""The way in which MUVERA cuts the token space: by random hyperplanes, or around centroids fitted to a collection."""

MuveraVariant = Literal["colbert-qdrant", "fastembed"]
"""The implementation whose random numbers, scaling and filling of empty cells an encoding has."""

Preset = Literal["small", "balanced", "accurate"]
"""The size of an encoding; the benchmarks show what each costs and finds."""


class FdeConfig(Protocol):
    """The settings of a fixed dimensional encoding, a frozen dataclass."""

    tag: ClassVar[str]
    """The name of the algorithm among the stored settings, as their ``"type"``."""

    @property
    def dim(self) -> int:
        """Dimensions of the encoding."""

    @property
    def needs_fit(self) -> bool:
        """Tells whether something has to be fitted to a collection before it can encode."""

    @property
    def fit_documents(self) -> int:
        """Documents that it is fitted to, if it needs a fit."""

    @property
    def seed(self) -> int:
        """The seed that chooses the documents of a fit, and all else that is random."""

    def to_dict(self) -> dict[str, Any]:
        """Return all settings as JSON values, and the tag as ``"type"``."""

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Make settings of what `to_dict` returned.

        Raises:
            ConfigurationError: The tag is another algorithm's, a key is unknown, or a value is out of range.
        """


FDE_CONFIGS: Final[dict[str, type[FdeConfig]]] = {}
"""The settings of every known encoding by their tag; `colbert_qdrant.fde.register_fde` fills it."""


@dataclass(frozen=True, kw_only=True)
class _TaggedSettings:
    """Settings that are stored with the tag of their algorithm."""

    tag: ClassVar[str]
    _later: ClassVar[tuple[str, ...]] = ()
    """Settings that are stored only if they are set, see `without_defaults`."""

    def to_dict(self) -> dict[str, Any]:
        """Return all settings as JSON values, tagged with the algorithm."""
        return without_defaults(type(self), {"type": self.tag, **asdict(self)}, among=self._later)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Make settings of what `to_dict` returned.

        Raises:
            ConfigurationError: The tag is another algorithm's, a key is unknown, or a value is out of range.
        """
        require_instance("data", data, Mapping, "a dict, as to_dict() returns it")
        if data.get("type") != cls.tag:
            raise ConfigurationError(f"expected an FDE of type {shown(cls.tag)}, got {data.get('type')!r}")
        return cls(**require_known_fields(cls, {key: value for key, value in data.items() if key != "type"}))


@dataclass(frozen=True, kw_only=True)
class MuveraConfig(_TaggedSettings):
    """MUVERA, the data-independent fixed dimensional encoding (arXiv 2405.19504).

    The encoding has ``r_reps * 2**k_sim * dim_proj`` dimensions, 10,240 by default, or ``final_projection`` of them.

    Args:
        k_sim: Hyperplanes per repetition; they cut the token space into ``2**k_sim`` cells.
        dim_proj: Dimensions to which the token vectors of a cell are projected.
        r_reps: Independent repetitions, one after another in the encoding; more are more accurate.
        seed: Chooses the hyperplanes and projections. Documents and queries need the same one.
        fill_empty: Fill a document's empty cells from its nearest tokens, as the paper does. Leaving them empty found
            more in all of our measurements: recall@100 of .924 instead of .904 on SciFact, .987 instead of .979 on
            Cranfield with centred tokens.
        final_projection: Dimensions to which the whole encoding is cut by a count sketch: every coordinate of the
            long encoding is added, with a random sign, to one random coordinate of the short one. It keeps inner
            products on average, and only the short encoding has to fit into 65,536 dimensions.
        center: Take the mean of a collection's tokens from all tokens before they are encoded, for models whose tokens
            all point one way. It is fitted to the collection once and kept with it.
        partition: ``"kmeans"`` makes the cells those around ``2**k_sim`` centroids of a collection's tokens, others in
            each repetition. They are fitted once and kept with the collection, and need ``fill_empty=False``.
        fit_documents: Documents that the mean and the centroids are fitted to, if there are any to fit.
        variant: ``"fastembed"`` gives the numbers of FastEmbed's ``Muvera`` for the same parameters and seed, to go
            on with a collection that was written with it.

    Raises:
        ConfigurationError: A value is out of range, the encoding has more than 65,536 dimensions, or two settings do
            not go together.

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
    fill_empty: bool = True
    final_projection: int | None = None
    center: bool = False
    partition: MuveraPartition = "simhash"
    fit_documents: int = 5_000
    variant: MuveraVariant = "colbert-qdrant"

    def __post_init__(self) -> None:
        keep_plain(self)
        require_int("k_sim", self.k_sim, minimum=0, maximum=12)
        require_int("dim_proj", self.dim_proj, minimum=1)
        require_int("r_reps", self.r_reps, minimum=1)
        require_int("seed", self.seed, minimum=0, maximum=2**32 - 1)
        require_bool("fill_empty", self.fill_empty)
        require_one_of("variant", self.variant, get_args(MuveraVariant))
        require_bool("center", self.center)
        require_int("fit_documents", self.fit_documents, minimum=1)
        require_one_of("partition", self.partition, get_args(MuveraPartition))
        if self.partition == "kmeans" and self.fill_empty:
            raise ConfigurationError(
                "empty cells are filled by the bits of SimHash, which partition='kmeans' has not: set fill_empty=False"
            )
        if self.variant == "fastembed" and (self.needs_fit or self.final_projection is not None):
            raise ConfigurationError(
                "FastEmbed has no final projection, centring or k-means: leave out final_projection, center and "
                "partition, or the variant"
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
        """Return settings by size: ``"small"``, ``"balanced"`` or ``"accurate"``, which is the default.

        They make encodings of 2,560, 5,120 and 10,240 dimensions.

        Raises:
            ConfigurationError: There is no such preset.
        """
        return cls(r_reps=preset_size(name, {"small": 5, "balanced": 10, "accurate": 20}))

    @property
    def dim(self) -> int:
        """Dimensions of the encoding."""
        return self.raw_dim if self.final_projection is None else self.final_projection

    @property
    def needs_fit(self) -> bool:
        """Tells whether something has to be fitted to a collection before it can encode."""
        return self.center or self.partition == "kmeans"

    @property
    def raw_dim(self) -> int:
        """Dimensions before the final projection."""
        return self.r_reps * self.cells * self.dim_proj

    @property
    def cells(self) -> int:
        """Cells per repetition."""
        return 1 << self.k_sim


@dataclass(frozen=True, kw_only=True)
class LemurConfig(_TaggedSettings):
    """LEMUR, the learned fixed dimensional encoding (arXiv 2601.21853), rotated, cut, balanced and refined.

    It is fitted to a collection's own token embeddings. An encoding has ``dim`` dimensions in order of importance, so
    stored ones can be cut further.

    Args:
        dim: Dimensions of the encoding.
        hidden: Features it is cut from; with ``epochs=0`` more of them are better.
        epochs: Most passes of the training; 0 leaves the features random, which needs no training and finds a little
            less.
        learn_tokens: Tokens at which documents are compared with their encodings, half of them from queries. Encoding
            a document takes time in proportion.
        own_weight: How much a document's own tokens count among the learn tokens, each so many times one of them; 0
            leaves them out.
        own_tokens: Most of a document's own tokens that are used.
        fit_documents: Documents that it is fitted to.
        training_documents: Of these, the ones whose scores the features are trained to predict.
        ridge: Regularisation of the least squares, relative to the mean eigenvalue.
        seed: Chooses samples and first weights.

    Raises:
        ConfigurationError: A value is out of range, or ``dim`` is more than ``hidden``.
    """

    tag: ClassVar[str] = "lemur"

    dim: int = 512
    hidden: int = 2_048
    epochs: int = 12
    learn_tokens: int = 16_384
    own_weight: float = 8.0
    own_tokens: int = 64
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
        require_int("fit_documents", self.fit_documents, minimum=1)
        require_int("training_documents", self.training_documents, minimum=1)
        require_number("ridge", self.ridge, minimum=1e-9)
        require_int("seed", self.seed, minimum=0, maximum=2**32 - 1)
        if self.dim > self.hidden:
            raise ConfigurationError(
                f"dim={self.dim} is more than the hidden={self.hidden} features it is cut from: raise hidden"
            )

    @classmethod
    def preset(cls, name: Preset) -> Self:
        """Return settings by size: ``"small"``, ``"balanced"``, which is the default, or ``"accurate"``.

        They make encodings of 256, 512 and 1,024 dimensions.

        Raises:
            ConfigurationError: There is no such preset.
        """
        return cls(dim=preset_size(name, {"small": 256, "balanced": 512, "accurate": 1_024}))

    @property
    def needs_fit(self) -> bool:
        """Always true: LEMUR cannot encode before it is fitted."""
        return True


class AsStored:
    """Has pydantic read and write the settings of an encoding as they are stored, with their tag."""

    def __get_pydantic_core_schema__(self, source: object, handler: Any) -> Any:
        """Return what pydantic asks a hint for."""
        from pydantic_core import core_schema  # noqa: PLC0415 - whoever asks has it

        stored = handler.generate_schema(dict[str, Any])
        made = core_schema.no_info_after_validator_function(fde_from_dict, stored)
        known = core_schema.is_instance_schema(tuple(FDE_CONFIGS.values()))
        return core_schema.json_or_python_schema(
            json_schema=made,
            python_schema=core_schema.union_schema([known, made]),
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda config: config.to_dict(), return_schema=stored
            ),
        )


def fde_from_dict(data: Mapping[str, Any]) -> FdeConfig:
    """Make settings of what ``to_dict`` returned, for whichever algorithm the tag names.

    Raises:
        ConfigurationError: The tag or a key is unknown, or a value is out of range.
    """
    require_instance("fde", data, Mapping, "a dict, as to_dict() returns it")
    kind = FDE_CONFIGS.get(str(data.get("type", "")))
    if kind is None:
        tags = ", ".join(FDE_CONFIGS)
        raise ConfigurationError(f"unknown FDE type {data.get('type')!r}: this version knows {tags}")
    return kind.from_dict(data)
