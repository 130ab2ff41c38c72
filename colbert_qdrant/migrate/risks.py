"""Finds the risks of a migration before anything is written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from qdrant_client import models

from colbert_qdrant.encoders.base import encode_and_check
from colbert_qdrant.errors import CapabilityError, MigrationError
from colbert_qdrant.migrate.evidence import doubt_of, example_of, longer_texts
from colbert_qdrant.migrate.plan import Risk
from colbert_qdrant.points.schema import require_for
from colbert_qdrant.shown import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from colbert_qdrant.capabilities import Capabilities
    from colbert_qdrant.migrate.convert import Converter
    from colbert_qdrant.migrate.job import MigrationJob
    from colbert_qdrant.migrate.plan import Costs, MigrationPlan
    from colbert_qdrant.migrate.source import Source

_COMPARED: Final = 8
_SAME_ENCODER: Final = 0.98
"""The lowest mean cosine between stored and recomputed token vectors of the same encoder; rounding costs 0.001."""


def risks_of_engines(job: MigrationJob, capabilities: Capabilities) -> Iterator[Risk]:
    """Find the risks of the engines and the settings."""
    source, plan = job.source, job.plan
    try:
        require_for(plan.config, capabilities)
    except CapabilityError as error:
        yield _block(f"the target's engine does not support the plan ({error})", "change the settings with config=…")
    params = source.info.config.params
    if params.sharding_method is not None and params.sharding_method.value == "custom":
        yield _block(
            "the source has custom shard keys, which its points do not show",
            "migrate the points of each shard key to their own collection, with a filter on a payload key",
        )
    if job.in_place:
        yield from _risks_in_place(job, capabilities)
    elif plan.tokens == "stored" and source.fingerprint is None and _has_graph(source, plan.config.token_vector):
        yield _warn(
            f"{plan.config.token_vector!r} has a graph in the source but not in the target, where FDEs find the "
            "candidates",
            "search the target with ColbertCollection, since a search of this vector alone scans every point",
        )
    strict = source.info.config.strict_mode_config
    if strict is not None and strict.enabled:
        yield _warn(
            "the source's server is in strict mode",
            "expect the target to get the same limits once all points are written; they may forbid exact searches",
        )


def risks_of_points(job: MigrationJob, found: int, looked_at: int) -> Iterator[Risk]:
    """Find the risks of the points; ``found`` of the ``looked_at`` points have a text."""
    source, plan, config = job.source, job.plan, job.plan.config
    if not source.points:
        yield _warn("the source has no points", "expect run() to create an empty target")
    of_texts = _makes_vectors_of_texts(plan)
    if of_texts and job.texts is None:
        yield _block(
            "no texts were found in the payloads" if looked_at else "the source has no points that show its texts",
            "locate them with text_key='path.to.text' or text=function",
        )
    elif of_texts and looked_at and not found:
        yield _block(
            f"none of {looked_at:,} sampled points has a text there",
            "correct text_key or the function text=, or choose the points that have a text with filter=…",
        )
    elif plan.tokens == "encoded" and found < looked_at:
        yield _warn(
            f"{looked_at - found:,} of {looked_at:,} sampled points have no text",
            "expect them to be copied, but not to be found by late interaction",
        )
    if plan.tokens == "stored" and not plan.encoder:
        yield _warn(
            "the encoder of the token vectors is unknown",
            "pass encoder=…, so that the collection is never searched with another encoder",
        )
    if plan.kind == "fastembed_muvera" and plan.encoding != "stored" and not job.in_place:
        yield _warn(
            f"the FDEs {config.fde_vector!r} have distance Cosine, which discards their norms",
            "expect them to be recomputed from the token vectors, for the inner product",
        )
    if job.texts is not None and plan.text is None and config.id_scheme == "native":
        yield _warn(
            "a function returns the texts, and a collection cannot store a function",
            "expect hits with payloads, but without text",
        )
    if job.texts is not None and job.texts.key == "content" and [*source.vectors] == [""] and not source.sparse:
        yield _warn(
            "Haystack's QdrantDocumentStore refuses collections with any vectors other than its one unnamed vector",
            "if it wrote this collection, let it continue with the source, and do not migrate in place",
        )
    others = [*config.dense, *config.sparse]
    if others and source.fingerprint is None:
        yield _warn(
            f"the encoders of the vectors {others} are unknown",
            "for hybrid search, open the collection with vector_encoders={…}, or pass vectors={…} with each query",
        )


def _risk_of_evidence(
    job: MigrationJob, converter: Converter, sample: Sequence[models.Record], *, found: bool
) -> Risk | None:
    """Check that the texts look like texts; the risk blocks if the plan chose their key."""
    texts = [text for text in converter.find_texts(sample) if text is not None]
    if job.texts is None or not texts:
        return None
    doubt, other = doubt_of(texts), longer_texts([record.payload or {} for record in sample], texts)
    if doubt is None and (other is None or not found):
        return None
    reasons = [] if doubt is None else [doubt]
    reasons += [] if other is None else [f"longer texts are under {other!r}"]
    right = f"pass text_key={job.texts.key!r}" if found else "ignore this warning"
    return Risk(
        blocks=found and doubt is not None and _makes_vectors_of_texts(job.plan),
        problem=f"the texts {job.texts}, such as {example_of(texts)}, may be wrong, since {', and '.join(reasons)}",
        remedy=f"if they are right, {right}; otherwise pass text_key={other or '…'!r} or text=function",
    )


def _risk_of_words(job: MigrationJob, converter: Converter, sample: Sequence[models.Record]) -> Risk | None:
    """Check that BM25 splits the texts into words; ``None`` if it does, or if the migration adds no BM25."""
    config = job.plan.config
    if config.bm25 is None or config.bm25_vector in job.plan.kept:
        return None
    texts = [text for text in converter.find_texts(sample) if text is not None]
    unsplit = [text for text in texts if not config.bm25.splits(text)]
    if not unsplit:
        return None
    return _warn(
        f"{len(unsplit):,} of {len(texts):,} sampled texts, such as {example_of(unsplit)}, are in a language without "
        f"spaces between words, which Bm25Config(language={config.bm25.language!r}) does not split",
        "use the language 'chinese', 'japanese' or 'thai', the only ones that Qdrant splits, or leave bm25 out",
    )


def _makes_vectors_of_texts(plan: MigrationPlan) -> bool:
    config = plan.config
    return plan.tokens == "encoded" or (config.bm25 is not None and config.bm25_vector not in plan.kept)


def risks_of_rollback(job: MigrationJob, *, allowed: bool) -> Iterator[Risk]:
    """Find changes that `rollback` cannot undo in place; the risk blocks unless that is allowed."""
    if isinstance(job.source.info.config.params.vectors, models.VectorParams):
        yield Risk(
            blocks=not allowed,
            problem="the collection has one unnamed vector, and rollback() cannot restore such a schema; Haystack's "
            "QdrantDocumentStore, for example, refuses the collection after a rollback",
            remedy="use strategy='blue_green', or allow_irreversible=True if no application needs the old schema",
        )


def risks_of_gaps(plan: MigrationPlan, points: int) -> Iterator[Risk]:
    """Report points that have token vectors but no FDE, or the reverse, which no search finds reliably."""
    if points:
        yield _block(
            f"{counted(points, 'point', 'have')} only one of {plan.config.token_vector!r} and "
            f"{plan.config.fde_vector!r}, but each point needs both or neither",
            "add the missing vectors or delete the others, or plan with another encoding for all points "
            "(config=CollectionConfig(fde=…, fde_vector=…))",
        )


def risks_of_sample(
    job: MigrationJob, converter: Converter, sample: Sequence[models.Record], *, found: bool
) -> list[Risk]:
    """Check a sample's texts, and check that the encoder made its token vectors.

    Args:
        job: The migration.
        converter: The converter, which reads texts and token vectors.
        sample: The points.
        found: Whether the plan chose the key of the texts, rather than the user.

    Raises:
        MigrationError: If a stored multivector is damaged, or if the encoder skips a text.
    """
    risks = [
        _risk_of_evidence(job, converter, sample, found=found),
        _risk_of_words(job, converter, sample),
        _risk_of_encoder(job, converter, sample),
    ]
    return [risk for risk in risks if risk is not None]


def _risk_of_encoder(job: MigrationJob, converter: Converter, sample: Sequence[models.Record]) -> Risk | None:
    """Encode some texts again; ``None`` if the stored token vectors match, or if nothing can be compared.

    Raises:
        MigrationError: If a stored multivector is damaged, or if the encoder skips a text.
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
        f"the encoder's token vectors of {len(texts)} texts differ from the stored ones (mean cosine "
        f"{np.mean(cosines):.3f})",
        "pass the encoder and the texts that the source was encoded with, or reencode=True",
    )


def risk_of_texts(source: str, count: int) -> Risk:
    """Return the risk that points have a text but no token vectors, as other applications write them."""
    return _warn(
        f"{counted(count, 'point', 'have')} a text but no token vectors; run() copies such points, but late "
        "interaction does not find them",
        f"open collection {source!r} with its encoder and call repair() first",
    )


def risk_of_length(costs: Costs) -> Risk:
    """Return the risk that texts are truncated."""
    return _warn(
        f"{costs.truncated:,} of {costs.sample:,} sampled texts are longer than the encoder accepts, and would be "
        "truncated",
        "use an encoder with a larger document_length, or one that splits them (long_documents='split')",
    )


def risk_of_target(target: str) -> Risk:
    """Return the risk that another collection has the target's name."""
    return _block(
        f"collection {target!r} already exists, and does not belong to this migration",
        "name another target, or delete that collection first",
    )


def _has_graph(source: Source, name: str) -> bool:
    own, config = source.vectors[name].hnsw_config, source.info.config
    return (config.hnsw_config.m if own is None or own.m is None else own.m) > 0


def _risks_in_place(job: MigrationJob, capabilities: Capabilities) -> Iterator[Risk]:
    source, config = job.source, job.plan.config
    if not capabilities.has("vector_names"):
        yield _block(
            "servers before 1.19 lose points or vectors when vectors are added to a collection (qdrant/qdrant issues "
            "9105, 9317, 9641), or cannot add them",
            "use strategy='blue_green'",
        )
    if source.fingerprint is not None:
        yield _block(
            "the collection already has FDEs and token vectors",
            "use strategy='blue_green', or ColbertCollection.fit(refit=True) for another fitted encoding",
        )
    elif taken := [name for name in job.plan.added if name in source.vectors or name in source.sparse]:
        cosine = ", since their distance is Cosine" if taken == [config.fde_vector] else ""
        yield _block(
            f"the collection already has the vectors {taken}, which would have to be rewritten{cosine}",
            "use strategy='blue_green', which leaves the collection unchanged",
        )
    if config.bm25 is not None:
        yield _block("BM25 vectors cannot be added in place", "leave bm25 out, or use strategy='blue_green'")
    indexes = [key for key in config.indexes if key not in source.info.payload_schema]
    if indexes and capabilities.has("payload_indexes"):
        yield _block(
            f"payload indexes {indexes} are not created in place", "create them with client.create_payload_index"
        )
    if source.filter is not None:
        yield _block(
            "points outside the filter would stay without the added vectors", "leave filter out, or use 'blue_green'"
        )
    status = source.info.status.value
    if status == "red":
        yield _block("the collection is red, since its optimizer failed", "see the server's log, and fix the cause")
    elif status != "green":
        yield _warn(f"the collection is {status}, since graphs are not built yet", "expect run() to wait for them")
    yield _warn("the migration writes to the only copy of the data", "take a snapshot before run()")


def _block(problem: str, remedy: str) -> Risk:
    return Risk(blocks=True, problem=problem, remedy=remedy)


def _warn(problem: str, remedy: str) -> Risk:
    return Risk(blocks=False, problem=problem, remedy=remedy)
