"""Decides the steps of a migration from its source and the user's options, without I/O."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import NoneType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from qdrant_client import models

from colbert_qdrant.config import CollectionConfig, DenseConfig, MuveraConfig, SparseConfig
from colbert_qdrant.config.checks import keep_plain, require_bool, require_instance
from colbert_qdrant.config.fde import FDE_CONFIGS
from colbert_qdrant.config.names import require_path
from colbert_qdrant.encoders.base import require_encoder
from colbert_qdrant.encoders.ready import able_to_encode
from colbert_qdrant.errors import ConfigurationError
from colbert_qdrant.migrate.adoption import find_encodings
from colbert_qdrant.migrate.evidence import doubt_of
from colbert_qdrant.migrate.plan import Costs, MigrationPlan
from colbert_qdrant.points.fingerprint import NEVER_MIGRATED, fingerprint_of_encoder, same_encoder
from colbert_qdrant.points.origins import origin_name
from colbert_qdrant.points.schema import datatype_of, distance_of
from colbert_qdrant.points.texts import TextSource, require_text_function
from colbert_qdrant.search.filters import combine_filters
from colbert_qdrant.shown import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from colbert_qdrant.config import FdeConfig
    from colbert_qdrant.encoders import LateInteractionEncoder
    from colbert_qdrant.migrate.adoption import Adoption
    from colbert_qdrant.migrate.plan import Encoding, SourceKind, Strategy
    from colbert_qdrant.migrate.source import Source
    from colbert_qdrant.points.fingerprint import Fingerprint
    from colbert_qdrant.points.texts import TextOf

_TEXT_KEYS: Final = ("_node_content.text", "page_content", "content", "text", "document")
"""The keys of texts from LlamaIndex, LangChain, Haystack, many hand-written scripts, and FastEmbed's ``client.add``.

LlamaIndex's key comes first, since LlamaIndex writes metadata beside it that could have one of the other keys."""

_FEW: Final = 4
"""A key counts as the key of the texts if more than one in this many sampled points has a text there."""


@dataclass(frozen=True, kw_only=True)
class MigrationOptions:
    """The options of `Migration.plan`, which describes them.

    Raises:
        ConfigurationError: If an option is invalid, or if two options contradict each other.
    """

    encoder: LateInteractionEncoder | None = None
    fde: FdeConfig | None = None
    config: CollectionConfig | None = None
    text_key: str | None = None
    text: TextOf | None = None
    token_vector: str | None = None
    reencode: bool = False
    strategy: Strategy = "blue_green"
    filter: models.Filter | None = None
    allow_irreversible: bool = False

    def __post_init__(self) -> None:
        keep_plain(self)
        if not isinstance(self.strategy, str) or self.strategy not in ("blue_green", "in_place"):
            raise ConfigurationError(f"unknown strategy {shown(self.strategy)}: use 'blue_green' or 'in_place'")
        if self.encoder is not None:
            require_encoder(self.encoder)
        require_instance("fde", self.fde, (*FDE_CONFIGS.values(), NoneType), "a MuveraConfig or a LemurConfig")
        require_instance("config", self.config, (CollectionConfig, NoneType), "a CollectionConfig")
        require_instance("text_key", self.text_key, (str, NoneType), "a path in payloads, such as 'metadata.text'")
        require_instance("token_vector", self.token_vector, (str, NoneType), "the name of a vector")
        combine_filters(self.filter, None)
        if self.text_key is not None:
            require_path("text_key", self.text_key)
        require_bool("reencode", self.reencode)
        require_bool("allow_irreversible", self.allow_irreversible)
        if self.text is not None:
            require_text_function(self.text)
        if self.text is not None and self.text_key is not None:
            raise ConfigurationError("text and text_key both locate the texts: pass only one")
        if self.fde is not None and self.config is not None:
            raise ConfigurationError("fde and config both set the encoding: pass only config=CollectionConfig(fde=…)")

    @property
    def finds_texts(self) -> bool:
        """Whether the plan has to find the texts, since the user gave neither a path nor a function."""
        return self.text is None and self.text_key is None

    @property
    def in_place(self) -> bool:
        """Whether the source is the target."""
        return self.strategy == "in_place"

    @property
    def keeps_parameters(self) -> bool:
        """Whether vectors that are reused also keep their distance and datatype."""
        return self.in_place or self.config is None

    @property
    def wanted_fde(self) -> FdeConfig | None:
        """The encoding from either option; ``None`` if the user gave none."""
        return self.fde if self.config is None else self.config.encoding


class Decision(NamedTuple):
    """The outcome of `decide`.

    Attributes:
        plan: The plan, without costs and risks.
        texts: The source of the texts; ``None`` if no text is needed, or if the source is unknown.
    """

    plan: MigrationPlan
    texts: TextSource | None


def decide(source: Source, target: str, sample: Sequence[models.Record], options: MigrationOptions) -> Decision:
    """Choose the target's settings and the origin of its vectors.

    Raises:
        ConfigurationError: If the source does not determine something that the user left out, or does not support an
            option.
    """
    if source.fingerprint is not None:
        return _decide_own(source, target, source.fingerprint, options)
    return _decide_foreign(source, target, sample, options)


def _decide_own(source: Source, target: str, stored: Fingerprint, options: MigrationOptions) -> Decision:
    """Decide for a collection of this library, which gets another encoding, another encoder or another engine."""
    if options.token_vector or options.text_key is not None:
        raise ConfigurationError(
            f"collection {source.name!r} was created by colbert-qdrant, and its settings name its texts and token "
            "vectors: leave text_key and token_vector out"
        )
    own, encoder = stored.config, options.encoder
    config = _merge_settings(own, options)
    fingerprint = stored.encoder if encoder is None else fingerprint_of_encoder(encoder)
    is_other = not same_encoder(fingerprint, stored.encoder)
    encoded = options.reencode or (is_other and bool(stored.encoder))
    if encoded and able_to_encode(encoder) is None:
        raise ConfigurationError("reencode=True needs an encoder for the texts: pass encoder=…")
    token_dim = encoder.dim if encoded and encoder is not None else stored.token_dim
    _require_dim(source, encoder, token_dim)
    same_fde = config.encoding == own.fde and not encoded and stored.canary is not None
    replaced = {
        origin_name(own.token_vector),
        *((own.token_vector,) if encoded else ()),
        *(() if same_fde else (own.fde_vector,)),
    }
    texts = None if options.text is None else TextSource("", options.text)
    if texts is None and config.text_key is not None:
        texts = TextSource(config.text_key if config.id_scheme == "native" else f'"{config.text_key}"')
    if config.bm25 not in (None, own.bm25) and texts is not None:
        replaced.add(own.bm25_vector)
    if encoded and texts is None:
        raise ConfigurationError(
            f"collection {source.name!r} has no text_key in its settings, and its texts have to be encoded: pass text=…"
        )
    plan = MigrationPlan(
        **_common_parts(source, target, texts, options),
        kind="colbert_qdrant",
        config=config,
        tokens="encoded" if encoded else "stored",
        encoding="stored" if same_fde else _new_encoding(config),
        encoder=dict(fingerprint),
        token_dim=token_dim,
        kept=tuple(name for name in (*source.vectors, *source.sparse) if name not in replaced),
    )
    return Decision(plan, texts)


def _merge_settings(own: CollectionConfig, options: MigrationOptions) -> CollectionConfig:
    given = options.config or replace(own, fde=options.fde or own.fde)
    return replace(
        given,
        **{name: getattr(own, name) for name in NEVER_MIGRATED},
        dense={**own.dense, **given.dense},
        sparse={**own.sparse, **given.sparse},
    )


def _decide_foreign(
    source: Source, target: str, sample: Sequence[models.Record], options: MigrationOptions
) -> Decision:
    """Decide for a collection that this library did not create."""
    encoder = options.encoder
    texts = _find_text_source(sample, options)
    name = None if options.reencode else _find_token_vector(source, options)
    config = replace(options.config or CollectionConfig(fde=options.fde or MuveraConfig()), id_scheme="native")
    adoption = None
    if name is not None:
        token_dim = source.multivectors[name].size
        _require_dim(source, encoder, token_dim)
        adoption = find_encodings(source, sample, name, options.wanted_fde)
        config = _keep_stored(config, source, name, adoption, options)
    elif encoder is not None and able_to_encode(encoder) is not None:
        token_dim = encoder.dim
    else:
        raise ConfigurationError(
            f"collection {source.name!r} has no usable token vectors (its multivectors: "
            f"{list(source.multivectors)}): pass encoder=… to encode its texts"
        )
    stored_fde = adoption is not None and not adoption.cosine
    rewritten = adoption.vector if adoption is not None and adoption.cosine else None
    kept = tuple(each for each in (*source.vectors, *source.sparse) if each != rewritten)
    _check_names(source, kept, config, tokens=name is None, fde=not stored_fde)
    common = _common_parts(source, target, texts, options)
    plan = MigrationPlan(
        **common,
        kind=_kind_of(source, adopted=adoption is not None, tokens=name is not None),
        config=_add_vectors(config, source, kept, text_key=common["text"]),
        tokens="encoded" if name is None else "stored",
        encoding="stored" if stored_fde else _new_encoding(config),
        encoder={} if encoder is None else fingerprint_of_encoder(encoder),
        token_dim=token_dim,
        kept=kept,
    )
    return Decision(plan, texts)


def _find_text_source(sample: Sequence[models.Record], options: MigrationOptions) -> TextSource | None:
    """Locate the texts of a collection: by the user's option, or by the keys of well-known writers."""
    if options.text is not None:
        return TextSource("", options.text)
    if options.text_key is not None:
        return TextSource(options.text_key)
    found = {}
    for key in _TEXT_KEYS:
        texts = [TextSource(key).text(record.payload or {}) for record in sample]
        found[key] = [text for text in texts if text is not None]
    some = [key for key in _TEXT_KEYS if len(found[key]) * _FEW > len(sample)]
    if not some:
        return None
    if some[0] == _TEXT_KEYS[0]:
        return TextSource(some[0])
    return TextSource(max(some, key=lambda key: (doubt_of(found[key]) is None, len(found[key]))))


def _find_token_vector(source: Source, options: MigrationOptions) -> str | None:
    """Choose the multivector to use; ``None`` if no multivector is usable."""
    usable = source.usable_multivectors
    if options.token_vector is not None:
        if options.token_vector not in usable:
            remedy = f"use one of {list(usable)}" if usable else "leave it out, and pass encoder=… to encode the texts"
            raise ConfigurationError(
                f"token_vector={options.token_vector!r} is not a usable multivector (floats with distance Dot or "
                f"Cosine) of collection {source.name!r}: {remedy}"
            )
        return options.token_vector
    if options.encoder is not None and len(usable) > 1:
        usable = {name: each for name, each in usable.items() if each.size == options.encoder.dim} or usable
    if len(usable) > 1:
        raise ConfigurationError(
            f"collection {source.name!r} has several multivectors, {list(usable)}: name the one with the token vectors "
            "with token_vector=…, or pass reencode=True"
        )
    return next(iter(usable), None)


def _keep_stored(
    config: CollectionConfig, source: Source, name: str, adoption: Adoption | None, options: MigrationOptions
) -> CollectionConfig:
    """Return the settings that leave stored token vectors and FDEs unchanged."""
    changes: dict[str, Any] = {"token_vector": name}
    params = source.multivectors[name]
    if options.keeps_parameters:
        changes |= {"token_distance": distance_of(params), "token_datatype": datatype_of(params)}
    if adoption is not None:
        changes |= {"fde": adoption.config, "fde_vector": adoption.vector}
        if not adoption.cosine and options.keeps_parameters:
            changes["fde_datatype"] = datatype_of(source.vectors[adoption.vector])
    return replace(config, **changes)


def _add_vectors(
    config: CollectionConfig, source: Source, kept: Sequence[str], *, text_key: str | None
) -> CollectionConfig:
    """Return the settings with the copied vectors and the path of the texts."""
    own = (config.token_vector, config.fde_vector)
    dense = {
        name: DenseConfig(dim=each.size, distance=distance_of(each))
        for name, each in source.dense.items()
        if name in kept and name not in own
    }
    sparse = {
        name: SparseConfig(idf=each.modifier == models.Modifier.IDF)
        for name, each in source.sparse.items()
        if name in kept
    }
    unknown = sorted({*config.dense, *config.sparse} - {*dense, *sparse})
    if unknown:
        raise ConfigurationError(
            f"config names the vectors {unknown}, which collection {source.name!r} lacks: leave them out, or add them "
            "after the migration"
        )
    return replace(config, text_key=text_key, dense=dense, sparse=sparse)


def _check_names(source: Source, kept: Sequence[str], config: CollectionConfig, *, tokens: bool, fde: bool) -> None:
    added = {"fde_vector": config.fde_vector} if fde else {}
    if tokens:
        added["token_vector"] = config.token_vector
    if config.bm25 is not None:
        added["bm25_vector"] = config.bm25_vector
    for setting, name in added.items():
        if name in kept:
            raise ConfigurationError(
                f"collection {source.name!r} already has a vector {name!r}, which is copied: choose another name for "
                f"the added vector with config=CollectionConfig({setting}=…)"
            )


def _kind_of(source: Source, *, adopted: bool, tokens: bool) -> SourceKind:
    if adopted:
        return "fastembed_muvera"
    if tokens:
        return "multivector"
    if source.sparse:
        return "hybrid" if source.dense else "sparse"
    return "dense" if source.vectors else "payload"


def _common_parts(source: Source, target: str, texts: TextSource | None, options: MigrationOptions) -> dict[str, Any]:
    """Return the parts of a plan that every kind of source has in common."""
    return {
        "source": source.name,
        "target": target,
        "strategy": options.strategy,
        "points": source.points,
        "filter": options.filter,
        "vectors": _describe_vectors(source),
        "text": None if texts is None or options.text is not None else texts.key,
        "indexes": tuple(sorted(source.info.payload_schema)),
        "costs": Costs(),
    }


def _describe_vectors(source: Source) -> dict[str, str]:
    words = {}
    for name, params in source.vectors.items():
        kind = "multivector" if params.multivector_config is not None else "dense"
        words[name] = f"{kind}, {params.size:,} dimensions, {params.distance.value}, {datatype_of(params)}"
    for name, sparse in source.sparse.items():
        words[name] = "sparse" if sparse.modifier is None else f"sparse, {sparse.modifier.value}"
    return words


def _new_encoding(config: CollectionConfig) -> Encoding:
    return "fitted" if config.encoding.needs_fit else "computed"


def _require_dim(source: Source, encoder: LateInteractionEncoder | None, token_dim: int) -> None:
    if encoder is not None and encoder.dim != token_dim:
        raise ConfigurationError(
            f"the encoder's token vectors have {encoder.dim} dimensions, but those of collection {source.name!r} have "
            f"{token_dim}: pass the encoder that the source was encoded with, or reencode=True"
        )
