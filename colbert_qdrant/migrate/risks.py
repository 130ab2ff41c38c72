"""Looks for what can go wrong with a migration, before anything is written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from qdrant_client import models

from colbert_qdrant.encoders.base import encode_and_check
from colbert_qdrant.errors import CapabilityError, MigrationError
from colbert_qdrant.migrate.evidence import doubt_of, example_of, longer_texts
from colbert_qdrant.migrate.plan import Risk
from colbert_qdrant.points.schema import require_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from colbert_qdrant.capabilities import Capabilities
    from colbert_qdrant.migrate.convert import Converter
    from colbert_qdrant.migrate.job import MigrationJob
    from colbert_qdrant.migrate.plan import Costs, MigrationPlan
    from colbert_qdrant.migrate.source import Source

_COMPARED: Final = 8
_SAME_ENCODER: Final = 0.98
"""The least mean cosine of stored token vectors and those that are computed again: rounding costs a thousandth."""


def risks_of_engines(job: MigrationJob, capabilities: Capabilities) -> Iterator[Risk]:
    """Look for risks that engines and settings bring."""
    source, plan = job.source, job.plan
    try:
        require_for(plan.config, capabilities)
    except CapabilityError as error:
        yield _block(f"the target's engine cannot hold it ({error})", "choose other settings with config=…")
    params = source.info.config.params
    if params.sharding_method is not None and params.sharding_method.value == "custom":
        yield _block(
            "the source has shard keys of its own, of which no list of its points tells",
            "migrate the points of each key by a filter on a payload key into a collection of its own",
        )
    if job.in_place:
        yield from _risks_in_place(job, capabilities)
    elif plan.tokens == "stored" and source.fingerprint is None and _has_graph(source, plan.config.token_vector):
        yield _warn(
            f"{plan.config.token_vector!r} is searched through a graph, and has none in the target, where "
            "encodings find the candidates",
            "who goes on searching it by itself looks at every point: use ColbertCollection",
        )
    strict = source.info.config.strict_mode_config
    if strict is not None and strict.enabled:
        yield _warn(
            "the source's server is in strict mode",
            "the target gets the same limits when all points are there; exact searches may be forbidden then",
        )


def risks_of_points(job: MigrationJob, found: int, looked_at: int) -> Iterator[Risk]:
    """Look for risks that the points themselves bring; so many of those that were looked at have a text."""
    source, plan, config = job.source, job.plan, job.plan.config
    if not source.points:
        yield _warn("there are no points", "run() makes an empty target")
    of_texts = _makes_vectors_of_texts(plan)
    if of_texts and job.texts is None:
        yield _block(
            "there is no text in the payloads" if looked_at else "without points nobody sees where texts are",
            "say where they are with text_key='path.to.it' or text=function",
        )
    elif of_texts and looked_at and not found:
        yield _block(
            f"no point of {looked_at:,} looked at has a text there",
            "correct text_key, or what text= finds; or say with filter=… which points have one",
        )
    elif plan.tokens == "encoded" and found < looked_at:
        yield _warn(
            f"{looked_at - found:,} of {looked_at:,} points looked at have no text",
            "they are copied, and late interaction does not find them",
        )
    if plan.tokens == "stored" and not plan.encoder:
        yield _warn(
            "nobody says which encoder made the token vectors",
            "give encoder=…, so that the collection is never searched with another one",
        )
    if plan.kind == "fastembed_muvera" and plan.encoding != "stored" and not job.in_place:
        yield _warn(
            f"the encodings {config.fde_vector!r} are compared by cosine, which takes their norms away",
            "they are computed again from the token vectors, for the inner product",
        )
    if job.texts is not None and plan.text is None and config.id_scheme == "native":
        yield _warn("texts are found by a function, which a collection cannot keep", "hits have payloads, but no text")
    if job.texts is not None and job.texts.key == "content" and [*source.vectors] == [""] and not source.sparse:
        yield _warn(
            "Haystack's QdrantDocumentStore refuses collections that have more than its one unnamed vector",
            "if it wrote this one, have it go on with the source, and add nothing to that in place",
        )
    others = [*config.dense, *config.sparse]
    if others and source.fingerprint is None:
        yield _warn(
            f"nobody says what makes the vectors {others} of a query",
            "for hybrid searches open the collection with vector_encoders={…}, or give vectors={…} with the query",
        )


def _risk_of_evidence(
    job: MigrationJob, converter: Converter, sample: Sequence[models.Record], *, found: bool
) -> Risk | None:
    """Look at what is taken for texts; it blocks where nobody said that they are there."""
    texts = [text for text in converter.find_texts(sample) if text is not None]
    if job.texts is None or not texts:
        return None
    doubt, other = doubt_of(texts), longer_texts([record.payload or {} for record in sample], texts)
    if doubt is None and (other is None or not found):
        return None
    reasons = [] if doubt is None else [doubt]
    reasons += [] if other is None else [f"there are longer ones under {other!r}"]
    right = f"text_key={job.texts.key!r} if they are right" if found else "nothing if they are right"
    return Risk(
        blocks=found and doubt is not None and _makes_vectors_of_texts(job.plan),
        problem=f"the texts {job.texts} are such as {example_of(texts)}: {', and '.join(reasons)}",
        remedy=f"give {right}, or text_key={other or '…'!r} or text=function for others",
    )


def _risk_of_words(job: MigrationJob, converter: Converter, sample: Sequence[models.Record]) -> Risk | None:
    """Look whether BM25 splits the texts into words; ``None`` if it does, or is not made of them here."""
    config = job.plan.config
    if config.bm25 is None or config.bm25_vector in job.plan.kept:
        return None
    texts = [text for text in converter.find_texts(sample) if text is not None]
    unsplit = [text for text in texts if not config.bm25.splits(text)]
    if not unsplit:
        return None
    return _warn(
        f"{len(unsplit):,} of {len(texts):,} texts looked at, such as {example_of(unsplit)}, are of languages without "
        f"spaces between words, and Bm25Config(language={config.bm25.language!r}) does not split them",
        "plan with the language 'chinese', 'japanese' or 'thai', or do without BM25: Qdrant splits no others",
    )


def _makes_vectors_of_texts(plan: MigrationPlan) -> bool:
    config = plan.config
    return plan.tokens == "encoded" or (config.bm25 is not None and config.bm25_vector not in plan.kept)


def risks_of_rollback(job: MigrationJob, *, allowed: bool) -> Iterator[Risk]:
    """Look for what `rollback` cannot undo in place; it blocks unless that is allowed."""
    if isinstance(job.source.info.config.params.vectors, models.VectorParams):
        yield Risk(
            blocks=not allowed,
            problem="the collection has one unnamed vector, and rollback() cannot make such a schema again: Haystack's "
            "QdrantDocumentStore, for one, refuses what it leaves",
            remedy="use strategy='blue_green', or allow_irreversible=True if nobody needs the old schema",
        )


def risks_of_gaps(plan: MigrationPlan, points: int) -> Iterator[Risk]:
    """Look at the points that have either token vectors or an encoding: no search finds those as it should."""
    if points:
        yield _block(
            f"{points:,} points have only one of {plan.config.token_vector!r} and {plan.config.fde_vector!r}, as no "
            "target may",
            "write or delete what they lack, or plan with another encoding, which all points get "
            "(config=CollectionConfig(fde=…, fde_vector=…))",
        )


def risks_of_sample(
    job: MigrationJob, converter: Converter, sample: Sequence[models.Record], *, found: bool
) -> list[Risk]:
    """Look at some points: at what is taken for their texts, and whether the encoder made their token vectors.

    Args:
        job: The migration.
        converter: It finds texts and token vectors.
        sample: The points.
        found: Whether the plan found the texts, rather than the user said where they are.

    Raises:
        MigrationError: A stored multivector is damaged, or the encoder leaves out a text.
    """
    risks = [
        _risk_of_evidence(job, converter, sample, found=found),
        _risk_of_words(job, converter, sample),
        _risk_of_encoder(job, converter, sample),
    ]
    return [risk for risk in risks if risk is not None]


def _risk_of_encoder(job: MigrationJob, converter: Converter, sample: Sequence[models.Record]) -> Risk | None:
    """Encode some texts again; ``None`` if the stored token vectors are the encoder's, or nothing can be compared.

    Raises:
        MigrationError: A stored multivector is damaged, or the encoder leaves out a text.
    """
    if job.encoder is None or job.plan.tokens != "stored":
        return None
    with_text = [record for record, text in zip(sample, converter.find_texts(sample), strict=True) if text]
    tokens, places = converter.read_tokens(with_text[:_COMPARED])
    if not places:
        return None
    texts = [text or "" for text in converter.find_texts([with_text[place] for place in places])]
    cosines = []
    for stored, made in zip(tokens, encode_and_check(job.encoder, texts, MigrationError), strict=True):
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


def risk_of_texts(source: str, count: int) -> Risk:
    """Return the risk that points have a text only, as other programs write them."""
    return _warn(
        f"{count:,} points have a text and no token vectors: they are copied, and late interaction does not find them",
        f"open collection {source!r} with its encoder and call repair() first",
    )


def risk_of_length(costs: Costs) -> Risk:
    """Return the risk that texts lose their ends."""
    return _warn(
        f"{costs.truncated:,} of {costs.sample:,} texts looked at are longer than the encoder takes, and would lose "
        "their ends",
        "give an encoder with a larger document_length, or one that splits them (long_documents='split')",
    )


def risk_of_target(target: str) -> Risk:
    """Return the risk that another collection has the target's name."""
    return _block(
        f"collection {target!r} exists, and is not this migration's", "name another target, or delete that one first"
    )


def _has_graph(source: Source, name: str) -> bool:
    own, config = source.vectors[name].hnsw_config, source.info.config
    return (config.hnsw_config.m if own is None or own.m is None else own.m) > 0


def _risks_in_place(job: MigrationJob, capabilities: Capabilities) -> Iterator[Risk]:
    source, config = job.source, job.plan.config
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
    elif taken := [name for name in job.plan.added if name in source.vectors or name in source.sparse]:
        cosine = ", for they are compared by cosine" if taken == [config.fde_vector] else ""
        yield _block(
            f"the collection has the vectors {taken} already, which would have to be written anew{cosine}",
            "use strategy='blue_green', which leaves the collection as it is",
        )
    if config.bm25 is not None:
        yield _block("BM25's vectors are not added in place", "leave bm25 out, or use strategy='blue_green'")
    indexes = [key for key in config.indexes if key not in source.info.payload_schema]
    if indexes and capabilities.has("payload_indexes"):
        yield _block(f"payload indexes {indexes} are not made in place", "make them with client.create_payload_index")
    if source.filter is not None:
        yield _block("points without the added vectors would stay in it", "leave filter out, or use 'blue_green'")
    status = source.info.status.value
    if status == "red":
        yield _block("the collection is red, its optimizer gave up", "look into the server's log, and mend the cause")
    elif status != "green":
        yield _warn(f"the collection is {status}: graphs are to be built yet", "run() waits until they are there")
    yield _warn("there is no second copy while vectors are added", "take a snapshot before run()")


def _block(problem: str, remedy: str) -> Risk:
    return Risk(blocks=True, problem=problem, remedy=remedy)


def _warn(problem: str, remedy: str) -> Risk:
    return Risk(blocks=False, problem=problem, remedy=remedy)
