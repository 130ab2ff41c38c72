"""Converts qdrant-client's parameters of payload indexes to Edge's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import qdrant_edge as edge
from qdrant_client import models

from colbert_qdrant.edge.fields import read_fields, same_member, unsupported_error
from colbert_qdrant.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

_PLAIN = ("is_tenant", "is_principal", "on_disk", "enable_hnsw", "prefix", "nested", "lookup", "range")
_TEXT = ("min_token_len", "max_token_len", "lowercase", "ascii_folding", "phrase_matching")


def edge_schema(
    value: models.PayloadSchemaType | models.PayloadSchemaParams | str | None,
) -> edge.PayloadSchemaType | edge.PayloadSchemaParams:
    """Return Edge's description of a payload index.

    Raises:
        ConfigurationError: If there is no schema, or its type is unknown.
        CapabilityError: If Edge does not support one of the parameters.
    """
    if value is None or isinstance(value, str):
        schema: edge.PayloadSchemaType = same_member(edge.PayloadSchemaType, schema_type(value))
        return schema
    kind = getattr(edge, type(value).__name__, None)
    if kind is None:
        raise unsupported_error(f"`{type(value).__name__}`")
    enums: dict[str, type[Any]] = {"memory": edge.Memory, "tokenizer": edge.TokenizerType}
    values = read_fields(value, *_PLAIN, *_TEXT, *_TEXT_PARTS, enums=enums, drop="type")
    for name in values.keys() & _TEXT_PARTS.keys():
        values[name] = _TEXT_PARTS[name](values[name])
    made: edge.PayloadSchemaParams = kind(**values)
    return made


def schema_type(value: str | None) -> models.PayloadSchemaType:
    """Return the type for a name such as `"keyword"`."""
    try:
        return models.PayloadSchemaType(value)
    except ValueError as error:
        kinds = ", ".join(kind.value for kind in models.PayloadSchemaType)
        raise ConfigurationError(f"field_schema={value!r}: use one of {kinds}") from error


def _stopwords(value: models.Language | models.StopwordsSet) -> edge.Language | edge.StopwordsSet:
    if isinstance(value, models.Language):
        language: edge.Language = same_member(edge.Language, value)
        return language
    values = read_fields(value, "languages", "custom")
    languages = {same_member(edge.Language, language) for language in values.get("languages", [])}
    return edge.StopwordsSet(languages=languages, custom=set(values.get("custom", [])))


def _stemmer(value: Any) -> edge.SnowballParams | edge.DisabledStemmer:
    if type(value).__name__ == "SnowballParams":
        return edge.SnowballParams(**read_fields(value, enums={"language": edge.SnowballLanguage}, drop="type"))
    if type(value).__name__ == "DisabledStemmerParams":
        return edge.DisabledStemmer()
    raise unsupported_error(f"`{type(value).__name__}`")


def _scoring(value: Any) -> bool | edge.TextScoringParams:
    if isinstance(value, bool):
        return value
    return edge.TextScoringParams(**read_fields(value, enums={"type": edge.TextScoringType}))


_TEXT_PARTS: dict[str, Callable[[Any], Any]] = {"stopwords": _stopwords, "stemmer": _stemmer, "scoring": _scoring}
