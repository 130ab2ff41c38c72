"""What can go wrong with a migration, looked for before anything is written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from colbert_qdrant.encoders.base import encode_and_check
from colbert_qdrant.errors import CapabilityError, MigrationError
from colbert_qdrant.migrate.plan import Risk
from colbert_qdrant.points.schema import require_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from qdrant_client import models

    from colbert_qdrant.capabilities import Capabilities
    from colbert_qdrant.encoders import LateInteractionEncoder
    from colbert_qdrant.migrate.convert import Converter
    from colbert_qdrant.migrate.decide import Design
    from colbert_qdrant.migrate.source import Source

_COMPARED: Final = 8
_SAME_ENCODER: Final = 0.98
"""Mean cosine of stored token vectors and those that are computed again: rounding costs a thousandth."""


def risks_of_engines(source: Source, design: Design, capabilities: Capabilities, *, in_place: bool) -> Iterator[Risk]:
    """Those that engines and settings bring."""
    try:
        require_for(design.config, capabilities)
    except CapabilityError as error:
        yield _block(f"the target's engine cannot hold it ({error})", "choose other settings with config=…")
    params = source.info.config.params
    if params.sharding_method is not None and params.sharding_method.value == "custom":
        yield _block(
            "the source has shard keys of its own, of which no list of its points tells",
            "migrate the points of each key by a filter on a payload key into a collection of its own",
        )
    if in_place:
        yield from _risks_in_place(source, design, capabilities)
    elif design.tokens == "stored" and source.fingerprint is None and _has_graph(source, design.config.token_vector):
        yield _warn(
            f"{design.config.token_vector!r} is searched through a graph, and has none in the target, where encodings "
            "find the candidates",
            "who goes on searching it by itself looks at every point: use ColbertCollection",
        )
    strict = source.info.config.strict_mode_config
    if strict is not None and strict.enabled:
        yield _warn(
            "the source's server is in strict mode",
            "the target gets the same limits when all points are there; exact searches may be forbidden then",
        )


def risks_of_points(source: Source, design: Design, texts: Sequence[str | None], *, function: bool) -> Iterator[Risk]:
    """Those that the points themselves bring."""
    if not source.points:
        yield _warn("there are no points", "run() makes an empty target")
    lacking = sum(text is None for text in texts)
    config = design.config
    of_texts = design.tokens == "encoded" or (config.bm25 is not None and config.bm25_vector not in design.kept)
    if of_texts and design.texts is None:
        yield _block(
            "there is no text in the payloads" if texts else "without points nobody sees where texts are",
            "say where they are with text_key='path.to.it' or text=function",
        )
    elif of_texts and lacking == len(texts) and texts:
        yield _block(f"no point of {len(texts)} looked at has a text there", "correct text_key, or what text= finds")
    elif design.tokens == "encoded" and lacking:
        yield _warn(
            f"{lacking} of {len(texts)} points looked at have no text",
            "they are copied, and late interaction does not find them",
        )
    if design.tokens == "stored" and not design.encoder:
        yield _warn(
            "nobody says which encoder made the token vectors",
            "give encoder=…, so that the collection is never searched with another one",
        )
    if design.cosine_encoding:
        yield _warn(
            f"the encodings {design.config.fde_vector!r} are compared by cosine, which takes their norms away",
            "they are computed again from the token vectors, for the inner product",
        )
    if function and design.config.id_scheme == "native":
        yield _warn("texts are found by a function, which a collection cannot keep", "hits have payloads, but no text")
    if design.texts is not None and design.texts.key == "content" and [*source.vectors] == [""] and not source.sparse:
        yield _warn(
            "Haystack's QdrantDocumentStore refuses collections that have more than its one unnamed vector",
            "if it wrote this one, have it go on with the source, and add nothing to that in place",
        )
    others = [*design.config.dense, *design.config.sparse]
    if others and source.fingerprint is None:
        yield _warn(
            f"nobody says what makes the vectors {others} of a query",
            "for hybrid searches open the collection with vector_encoders={…}, or give vectors={…} with the query",
        )


def risk_of_encoder(
    design: Design, converter: Converter, encoder: LateInteractionEncoder, sample: Sequence[models.Record]
) -> Risk | None:
    """Whether the stored token vectors are an encoder's, by encoding some texts again; ``None`` if they are."""
    if design.tokens != "stored" or design.texts is None:
        return None
    with_text = [record for record in sample if design.texts.text(record.payload or {}) is not None]
    tokens, places = converter.stored_tokens(with_text[:_COMPARED])
    if not places:
        return None
    texts = [design.texts.text(with_text[place].payload or {}) or "" for place in places]
    cosines = []
    for stored, made in zip(tokens, encode_and_check(encoder, texts, MigrationError), strict=True):
        if stored.shape != made.shape:
            cosines.append(0.0)
            continue
        norms = np.linalg.norm(stored, axis=1) * np.linalg.norm(made, axis=1)
        cosines.append(float(((stored * made).sum(axis=1) / np.maximum(norms, 1e-12)).mean()))
    if np.mean(cosines) >= _SAME_ENCODER:
        return None
    return _block(
        f"the encoder makes other token vectors of {len(texts)} texts than those that are stored (mean cosine "
        f"{np.mean(cosines):.3f})",
        "give the encoder, and the text, that they were made of, or reencode=True",
    )


def risk_of_target(target: str) -> Risk:
    """Another collection has the target's name."""
    return _block(
        f"collection {target!r} exists, and is not this migration's", "name another target, or delete that one first"
    )


def _has_graph(source: Source, name: str) -> bool:
    own, config = source.vectors[name].hnsw_config, source.info.config
    return (config.hnsw_config.m if own is None or own.m is None else own.m) > 0


def _risks_in_place(source: Source, design: Design, capabilities: Capabilities) -> Iterator[Risk]:
    if not capabilities.has("vector_names"):
        yield _block(
            "servers before 1.19 lose points or vectors when vectors are added to a collection (qdrant/qdrant issues "
            "9105, 9317, 9641), or cannot do so at all",
            "use strategy='blue_green'",
        )
    if source.fingerprint is not None:
        yield _block(
            "the collection has its encodings and token vectors already",
            "use strategy='blue_green', or ColbertCollection.fit(refit=True) for another fitted encoding",
        )
    if design.config.bm25 is not None:
        yield _block("BM25's vectors are not added in place", "leave bm25 out, or use strategy='blue_green'")
    indexes = [key for key in design.config.indexes if key not in source.info.payload_schema]
    if indexes and capabilities.has("payload_indexes"):
        yield _block(f"payload indexes {indexes} are not made in place", "make them with client.create_payload_index")
    if source.filter is not None:
        yield _block("points without the added vectors would stay in it", "leave filter out, or use 'blue_green'")
    if source.info.status.value != "green":
        yield _block(
            f"the collection is {source.info.status.value}, and vectors are safely added to one that is green only",
            "wait for its optimizers, then plan again",
        )
    yield _warn("there is no second copy while vectors are added", "take a snapshot before run()")


def _block(problem: str, remedy: str) -> Risk:
    return Risk(blocks=True, problem=problem, remedy=remedy)


def _warn(problem: str, remedy: str) -> Risk:
    return Risk(blocks=False, problem=problem, remedy=remedy)
