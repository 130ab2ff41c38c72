"""The layout of a collection: built here, and checked here when one is opened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from qdrant_client import models

from colbert_qdrant.errors import SchemaMismatchError

if TYPE_CHECKING:
    from colbert_qdrant.config import CollectionConfig, FdeQuantization

_DATATYPES: Final = {"float32": models.Datatype.FLOAT32, "float16": models.Datatype.FLOAT16}


_TURBO_BITS: Final = {"turbo4": models.TurboQuantBitSize.BITS4, "turbo2": models.TurboQuantBitSize.BITS2}


def creation_arguments(config: CollectionConfig, *, fde_dim: int, token_dim: int) -> dict[str, Any]:
    """Arguments of ``create_collection`` for one dense vector and one multivector in the same point.

    Both have ``Distance.DOT``. The norm of an encoding carries information, which cosine would throw away; token
    vectors are stored as the encoder made them. The multivector has no graph (``m=0``): it only ever ranks
    candidates, or everything.

    Args:
        config: The collection's settings.
        fde_dim: Dimensions of the encoding.
        token_dim: Dimensions of a token vector.
    """
    return {
        "vectors_config": {
            config.fde_vector: models.VectorParams(
                size=fde_dim,
                distance=models.Distance.DOT,
                datatype=_DATATYPES[config.fde_datatype],
                hnsw_config=models.HnswConfigDiff(
                    m=config.hnsw.m,
                    ef_construct=config.hnsw.ef_construct,
                    full_scan_threshold=config.hnsw.full_scan_threshold,
                ),
                quantization_config=_quantization(config.fde_quantization),
            ),
            config.token_vector: models.VectorParams(
                size=token_dim,
                distance=models.Distance.DOT,
                datatype=_DATATYPES[config.token_datatype],
                multivector_config=models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM),
                hnsw_config=models.HnswConfigDiff(m=0, payload_m=0),
            ),
        },
        "optimizers_config": models.OptimizersConfigDiff(default_segment_number=config.segments),
    }


def _quantization(name: FdeQuantization | None) -> models.QuantizationConfig | None:
    if name is None:
        return None
    if name == "int8":
        scalar = models.ScalarQuantizationConfig(type=models.ScalarType.INT8, quantile=0.99, always_ram=True)
        return models.ScalarQuantization(scalar=scalar)
    turbo = models.TurboQuantQuantizationConfig(bits=_TURBO_BITS[name], always_ram=True)
    return models.TurboQuantization(turbo=turbo)


def check_schema(
    info: models.CollectionInfo, config: CollectionConfig, *, fde_dim: int, token_dim: int, collection: str
) -> None:
    """Raise unless a collection's vectors are laid out as `creation_arguments` would have them.

    Raises:
        SchemaMismatchError: Lists everything that differs, and the remedy.
    """
    vectors = info.config.params.vectors
    if not isinstance(vectors, dict):
        vectors = {} if vectors is None else {"": vectors}
    problems = [
        *_problems(config.fde_vector, vectors.get(config.fde_vector), size=fde_dim, multivector=False),
        *_problems(config.token_vector, vectors.get(config.token_vector), size=token_dim, multivector=True),
    ]
    if problems:
        names = ", ".join(repr(name) for name in sorted(vectors)) or "none"
        raise SchemaMismatchError(
            f"collection {collection!r} is not laid out for late interaction (its dense vectors: {names}):\n  "
            + "\n  ".join(problems)
            + "\nCreate a new collection with ColbertCollection.create and ingest the documents into it."
        )


def _problems(name: str, params: models.VectorParams | None, *, size: int, multivector: bool) -> list[str]:
    if params is None:
        return [f"vector {name!r} is missing"]
    problems = []
    if params.size != size:
        problems.append(f"vector {name!r} has {params.size} dimensions, {size} are needed")
    if params.distance != models.Distance.DOT:
        reason = (
            "token vectors are stored as they are" if multivector else "the norm of an encoding carries information"
        )
        problems.append(f"vector {name!r} has distance {params.distance.value}, Dot is needed: {reason}")
    if multivector != (params.multivector_config is not None):
        problems.append(f"vector {name!r} must {'' if multivector else 'not '}be a multivector")
    return problems
