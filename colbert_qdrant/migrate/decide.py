"""From what a collection has to what its migration does: decisions, no I/O."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from qdrant_client import models

from colbert_qdrant.config import CollectionConfig, DenseConfig, MuveraConfig, SparseConfig
from colbert_qdrant.errors import ConfigurationError, InvalidTokensError
from colbert_qdrant.migrate.adoption import proven
from colbert_qdrant.points.convert import vectors_of
from colbert_qdrant.points.schema import datatype_of, distance_of
from colbert_qdrant.points.texts import TextSource
from colbert_qdrant.tokens import TokenEmbeddings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from colbert_qdrant.config import FdeConfig
    from colbert_qdrant.encoders import LateInteractionEncoder
    from colbert_qdrant.migrate.plan import Encoding, SourceKind, Tokens
    from colbert_qdrant.migrate.source import Source
    from colbert_qdrant.points.texts import TextOf

_TEXT_KEYS: Final = ("page_content", "_node_content.text", "content", "text", "document")
"""Where LangChain, LlamaIndex, Haystack, many by hand, and FastEmbed's ``client.add`` write texts."""

_TOKEN_DATATYPES: Final = ("float32", "float16", "turbo8", "turbo4")
_FDE_DATATYPES: Final = ("float32", "float16")
_STORED_DISTANCES: Final = (models.Distance.DOT, models.Distance.COSINE)


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What the user wants.

    Attributes:
        encoder: Makes token vectors.
        fde: The encoding.
        config: All settings of the target.
        text_key, text: Where texts are, as a path, or what finds them.
        token_vector: The multivector to use, of several.
        reencode: Whether texts are encoded although there are token vectors.
        in_place: Whether the source is the target.
    """

    encoder: LateInteractionEncoder | None = None
    fde: FdeConfig | None = None
    config: CollectionConfig | None = None
    text_key: str | None = None
    text: TextOf | None = None
    token_vector: str | None = None
    reencode: bool = False
    in_place: bool = False

    def __post_init__(self) -> None:
        if self.text is not None and self.text_key is not None:
            raise ConfigurationError("text and text_key both say where texts are: give one of them")
        if self.fde is not None and self.config is not None:
            raise ConfigurationError("fde and config both say what the encoding is: put it into config=…")


@dataclass(frozen=True, kw_only=True)
class Design:
    """What the target is to be.

    Attributes:
        kind: What the source has.
        config: The target's settings.
        tokens, encoding: Where token vectors and encodings come from.
        encoder: The fingerprint of the encoder of the token vectors.
        token_dim: Their dimensions.
        kept: Vectors that are copied as they are.
        texts: Where texts are; ``None``: nobody needs them, or nobody knows.
        cosine_encoding: Whether encodings are there, but without their norms.
    """

    kind: SourceKind
    config: CollectionConfig
    tokens: Tokens
    encoding: Encoding
    encoder: Mapping[str, Any]
    token_dim: int
    kept: tuple[str, ...]
    texts: TextSource | None
    cosine_encoding: bool = False


def decide(source: Source, sample: Sequence[models.Record], wishes: Wishes) -> Design:
    """Choose the target's settings, and where its vectors come from.

    Raises:
        ConfigurationError: Something has to be said that cannot be known, or cannot be had.
    """
    if source.fingerprint is not None:
        return _own(source, wishes)
    return _foreign(source, sample, wishes)


def find_texts(sample: Sequence[models.Record], wishes: Wishes) -> TextSource | None:
    """Where the texts of a collection are: as the user says, or where well-known writers put them."""
    if wishes.text is not None:
        return TextSource("", wishes.text)
    for key in _TEXT_KEYS if wishes.text_key is None else (wishes.text_key,):
        texts = TextSource(key)
        found = sum(texts.text(record.payload or {}) is not None for record in sample)
        if wishes.text_key is not None or 2 * found > len(sample):
            return texts
    return None


def _own(source: Source, wishes: Wishes) -> Design:
    """A collection of this library: another encoding, another encoder, or another engine."""
    stored = source.fingerprint
    if stored is None or wishes.token_vector or wishes.text_key:
        raise ConfigurationError(
            f"collection {source.name!r} is one of this library's, which knows where its texts and token vectors are: "
            "leave text_key and token_vector out"
        )
    own = stored.config
    given = wishes.config or replace(own, fde=wishes.fde or own.fde)
    config = replace(
        given,
        **{
            name: getattr(own, name)
            for name in ("id_scheme", "id_key", "text_key", "fde_vector", "token_vector", "token_distance")
        },
        dense={**own.dense, **given.dense},
        sparse={**own.sparse, **given.sparse},
    )
    other = wishes.encoder is not None and facts(wishes.encoder.fingerprint()) != facts(stored.encoder)
    encoded = wishes.reencode or (other and bool(stored.encoder))
    if encoded and wishes.encoder is None:
        raise ConfigurationError("reencode=True needs encoder=…, which encodes the texts")
    same_fde = config.fde == own.fde and not encoded and stored.canary is not None
    token_dim = wishes.encoder.dim if encoded and wishes.encoder else stored.token_dim
    if wishes.encoder is not None and wishes.encoder.dim != token_dim:
        raise _wrong_dim(source, wishes.encoder, token_dim)
    replaced = {*((own.token_vector,) if encoded else ()), *(() if same_fde else (own.fde_vector,))}
    texts = _own_texts(config, wishes)
    if encoded and texts is None:
        raise ConfigurationError(f"collection {source.name!r} does not know where its texts are: give text=…")
    return Design(
        kind="colbert_qdrant",
        config=config,
        tokens="encoded" if encoded else "stored",
        encoding="stored" if same_fde else _made(config),
        encoder=wishes.encoder.fingerprint() if wishes.encoder else stored.encoder,
        token_dim=token_dim,
        kept=tuple(name for name in (*source.vectors, *source.sparse) if name not in replaced),
        texts=texts,
    )


def _own_texts(config: CollectionConfig, wishes: Wishes) -> TextSource | None:
    if wishes.text is not None:
        return TextSource("", wishes.text)
    if config.text_key is None:
        return None
    key = config.text_key if config.id_scheme == "native" else f'"{config.text_key}"'
    return TextSource(key)


def _foreign(source: Source, sample: Sequence[models.Record], wishes: Wishes) -> Design:
    texts = find_texts(sample, wishes)
    name = None if wishes.reencode else _token_vector(source, wishes)
    config = replace(wishes.config or CollectionConfig(fde=wishes.fde or MuveraConfig()), id_scheme="native")
    adopted: FdeConfig | None = None
    cosine = False
    if name is not None:
        params = source.multivectors[name]
        token_dim = params.size
        if wishes.encoder is not None and wishes.encoder.dim != token_dim:
            raise _wrong_dim(source, wishes.encoder, token_dim)
        config = _with_stored_tokens(config, name, params, wishes)
        found = _adopted(source, sample, name, wishes)
        if found is not None:
            fde_vector, adopted, cosine = found
            config = replace(config, fde=adopted, fde_vector=fde_vector)
            if not cosine and (wishes.in_place or wishes.config is None):
                config = replace(config, fde_datatype=datatype_of(source.vectors[fde_vector]))
    elif wishes.encoder is None:
        raise ConfigurationError(
            f"collection {source.name!r} has no token vectors that could be used (its multivectors: "
            f"{list(source.multivectors)}): give encoder=…, which makes them from texts"
        )
    else:
        token_dim = wishes.encoder.dim
    stored_fde = adopted is not None and not cosine
    rewritten = {config.fde_vector} if adopted is not None and cosine else set()
    kept = tuple(each for each in (*source.vectors, *source.sparse) if each not in rewritten)
    _check_names(source, kept, config, tokens=name is None, fde=not stored_fde)
    return Design(
        kind=_kind(source, adopted=adopted is not None, tokens=name is not None),
        config=_with_vectors(config, source, kept, texts, wishes),
        tokens="encoded" if name is None else "stored",
        encoding="stored" if stored_fde else _made(config),
        encoder={} if wishes.encoder is None else wishes.encoder.fingerprint(),
        token_dim=token_dim,
        kept=kept,
        texts=texts,
        cosine_encoding=cosine,
    )


def _token_vector(source: Source, wishes: Wishes) -> str | None:
    """The multivector to be used; ``None``: there is none."""
    usable = {
        name: params
        for name, params in source.multivectors.items()
        if params.distance in _STORED_DISTANCES and datatype_of(params) in _TOKEN_DATATYPES
    }
    if wishes.token_vector is not None:
        if wishes.token_vector not in usable:
            raise ConfigurationError(
                f"token_vector={wishes.token_vector!r} is no multivector of collection {source.name!r} that could be "
                f"used: {list(usable)} are (distance Dot or Cosine, of floats)"
            )
        return wishes.token_vector
    if wishes.encoder is not None and len(usable) > 1:
        fitting = {name: each for name, each in usable.items() if each.size == wishes.encoder.dim}
        usable = fitting or usable
    if len(usable) > 1:
        raise ConfigurationError(
            f"collection {source.name!r} has several multivectors, {list(usable)}: say which one holds token vectors "
            "with token_vector=…, or reencode=True"
        )
    return next(iter(usable), None)


def _with_stored_tokens(
    config: CollectionConfig, name: str, params: models.VectorParams, wishes: Wishes
) -> CollectionConfig:
    """The settings with which stored token vectors stay what they are."""
    changes: dict[str, Any] = {"token_vector": name}
    if wishes.in_place or wishes.config is None:
        changes["token_distance"] = distance_of(params)
        changes["token_datatype"] = datatype_of(params)
    return replace(config, **changes)


def _adopted(
    source: Source, sample: Sequence[models.Record], token_vector: str, wishes: Wishes
) -> tuple[str, FdeConfig, bool] | None:
    """The vector with encodings by FastEmbed, their parameters, and whether they lost their norms."""
    wanted = wishes.fde if wishes.config is None else wishes.config.fde
    if wanted is not None and getattr(wanted, "variant", None) != "fastembed":
        return None
    for name, params in source.dense.items():
        rows = [vectors_of(record) for record in sample]
        rows = [each for each in rows if each.get(token_vector) and each.get(name)][:16]
        if not rows or params.distance not in _STORED_DISTANCES or datatype_of(params) not in _FDE_DATATYPES:
            continue
        try:
            tokens = TokenEmbeddings.from_matrices([each[token_vector] for each in rows])
        except InvalidTokensError:
            return None
        cosine = params.distance == models.Distance.COSINE
        stored = np.asarray([each[name] for each in rows], np.float32)
        found = proven(stored, tokens, cosine=cosine, wanted=wanted)
        if found is not None:
            return name, found, cosine
    return None


def _with_vectors(
    config: CollectionConfig, source: Source, kept: Sequence[str], texts: TextSource | None, wishes: Wishes
) -> CollectionConfig:
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
            f"config names the vectors {unknown}, which collection {source.name!r} has not: add them after the "
            "migration, or leave them out"
        )
    path = None if texts is None or wishes.text is not None else texts.key
    return replace(config, text_key=path, dense=dense, sparse=sparse)


def _check_names(source: Source, kept: Sequence[str], config: CollectionConfig, *, tokens: bool, fde: bool) -> None:
    added = {"fde_vector": config.fde_vector} if fde else {}
    if tokens:
        added["token_vector"] = config.token_vector
    if config.bm25 is not None:
        added["bm25_vector"] = config.bm25_vector
    for setting, name in added.items():
        if name in kept:
            raise ConfigurationError(
                f"collection {source.name!r} has a vector {name!r} already, which is copied: choose another name for "
                f"the one that is added with config=CollectionConfig({setting}=…)"
            )


def _kind(source: Source, *, adopted: bool, tokens: bool) -> SourceKind:
    if adopted:
        return "fastembed_muvera"
    if tokens:
        return "multivector"
    if source.sparse:
        return "hybrid" if source.dense else "sparse"
    return "dense" if source.vectors else "payload"


def _made(config: CollectionConfig) -> Encoding:
    return "fitted" if config.fde.needs_fit else "computed"


def facts(fingerprint: Mapping[str, Any]) -> dict[str, Any]:
    """An encoder's fingerprint without its label."""
    return {name: value for name, value in fingerprint.items() if name != "name"}


def _wrong_dim(source: Source, encoder: LateInteractionEncoder, token_dim: int) -> ConfigurationError:
    return ConfigurationError(
        f"the encoder makes token vectors of {encoder.dim} dimensions, those of collection {source.name!r} have "
        f"{token_dim}: give the encoder that made them, or reencode=True to encode its texts anew"
    )
