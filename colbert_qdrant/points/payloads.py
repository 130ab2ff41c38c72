"""Checks payloads before they are written, and converts them to JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from colbert_qdrant.edge.depth import MAX_DEPTH, is_too_deep
from colbert_qdrant.errors import InvalidDocumentError
from colbert_qdrant.points.exact import broken_text, lossy_key, lossy_number, nulls_for_nan
from colbert_qdrant.points.json import to_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from colbert_qdrant.config import PayloadIndex
    from colbert_qdrant.points.point import Payload


def payload_to_json(of: str, payload: Mapping[str, Any], values: Any) -> Any:
    """Return values that include a payload as JSON types.

    Args:
        of: The words that name the payload's owner in errors.
        payload: The caller's payload.
        values: The values to convert.

    Raises:
        InvalidDocumentError: If a value is not valid JSON.
    """
    try:
        return to_json(values)
    except UnicodeEncodeError as error:
        where = broken_text(payload) or "the text"
        raise InvalidDocumentError(
            f"{of}: text or payload is not valid JSON, since {where} is not valid Unicode ({error.reason}): fix it, "
            "for example with .encode(errors='replace').decode()"
        ) from error
    except RecursionError as error:
        raise _too_deep_error(of) from error
    except (TypeError, ValueError) as error:
        raise InvalidDocumentError(f"{of}: the payload is not valid JSON: {error}") from error


def check_values(
    of: str, given: Mapping[str, Any], payload: Payload, indexes: Mapping[str, PayloadIndex]
) -> str | None:
    """Check the keys and values of a payload, and replace every NaN in it with null.

    Args:
        of: The words that name the payload's owner in errors.
        given: The caller's payload.
        payload: The payload that `payload_to_json` made of it.
        indexes: The type of each payload index.

    Returns:
        The path of the first NaN, or ``None``.

    Raises:
        InvalidDocumentError: If engines could not store or find a value.
    """
    if is_too_deep(payload):
        raise _too_deep_error(of)
    nan = nulls_for_nan(payload)
    problem = lossy_key(given) or lossy_number(payload, indexes)
    if problem:
        raise InvalidDocumentError(f"{of}: {problem}")
    return nan


def _too_deep_error(of: str) -> InvalidDocumentError:
    return InvalidDocumentError(
        f"{of}: the payload nests lists and objects more than {MAX_DEPTH} levels deep, and engines may be unable to "
        "read it back: flatten it, or store it as a JSON string"
    )
