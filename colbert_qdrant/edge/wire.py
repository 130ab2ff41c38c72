"""Serializes calls to the engine's process and their results, as JSON with binary buffers for numbers.

A message consists of its number, the lengths of its JSON and its buffers, the JSON, and the buffers, which the JSON
refers to. A message contains no code: classes are names, looked up among the client's models and this library's errors.
"""

from __future__ import annotations

import builtins
import contextlib
import datetime as dt
import functools
import json
import signal
import struct
from array import array
from enum import Enum
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import numpy as np
from pydantic import BaseModel
from pydantic_core import PydanticSerializationError, to_jsonable_python
from qdrant_client.http import models  # in qdrant_client.models some names are other classes

from colbert_qdrant import errors

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

HEADER: Final = struct.Struct("<QQQ")
"""The header of a message: its number, the bytes of its JSON, and those of its buffers."""

GOODBYE: Final = HEADER.pack(0, 0, 0)
"""The last message, which has no request."""

INTERRUPT: Final = getattr(signal, "SIGUSR1", None)
"""The signal that ends an `optimize`; ``None`` on systems without it."""

_TAG: Final = "!"
_FEW: Final = 8
"""Lists with fewer numbers stay in the JSON."""

_COLLECTIONS: Final[Mapping[str, Callable[[Any], Any]]] = {"dict": dict, "tuple": tuple}
_READERS: Final[Mapping[str, Callable[[str], Any]]] = {
    "datetime": dt.datetime.fromisoformat,
    "date": dt.date.fromisoformat,
    "UUID": UUID,
}


def pack(number: int, message: Any) -> bytes:
    """Serialize a message; raises `TypeError` for a value that is not JSON, a model or an array."""
    buffers = _Buffers()
    text = json.dumps(_encode(message, buffers)).encode()
    return b"".join([HEADER.pack(number, len(text), buffers.size), text, *buffers.parts])


def unpack(body: bytes, text_length: int) -> Any:
    """Deserialize a message from the bytes of `pack`, without their header.

    Raises:
        ValueError: If the message names a class that is not one of the client's models.
    """
    return _decode(json.loads(body[:text_length]), memoryview(body)[text_length:])


def pack_error(error: Exception) -> dict[str, Any]:
    """Convert an exception to a message."""
    return {"type": type(error).__name__, "text": str(error)}


def unpack_error(message: dict[str, Any]) -> Exception:
    """Convert a message to an exception: this library's, a built-in one, or an `EngineError` that names the class."""
    name, text = message["type"], message["text"]
    for module in (errors, builtins):
        kind = getattr(module, name, None)
        if isinstance(kind, type) and issubclass(kind, Exception) and kind is not StopIteration:
            return _make_error(kind, text)
    return errors.EngineError(f"{name}: {text}")


def _make_error(kind: type[Exception], text: str) -> Exception:
    """Make an exception of a class, or of its nearest base class whose constructor takes only a message."""
    for each in kind.__mro__:
        with contextlib.suppress(TypeError):
            error: Exception = each(text)
            return error
    raise AssertionError(kind)


class _Buffers:
    """The buffers that the JSON of a message refers to."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.size = 0

    def add(self, data: bytes) -> tuple[int, int]:
        """Add data, and return its start and its length."""
        start = self.size
        self.parts.append(data)
        self.size += len(data)
        return start, len(data)


def _encode(value: Any, buffers: _Buffers) -> Any:  # noqa: PLR0911 - one return per kind of value
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, list):
        if len(value) >= _FEW and set(map(type, value)) == {float}:
            return {_TAG: "floats", "at": buffers.add(array("d", value).tobytes())}
        return [_encode(item, buffers) for item in value]
    if isinstance(value, BaseModel) and (model := _client_class_name(type(value))):
        fields = {name: _encode(field, buffers) for name, field in value.__dict__.items()}
        return {_TAG: "model", "name": model, "fields": fields, "set": [*value.model_fields_set]}
    if isinstance(value, dict):
        if all(isinstance(key, str) and key != _TAG for key in value):
            return {key: _encode(item, buffers) for key, item in value.items()}
        return {_TAG: "dict", "items": [_encode(list(item), buffers) for item in value.items()]}
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
        at = buffers.add(np.ascontiguousarray(value).tobytes())
        return {_TAG: "array", "dtype": value.dtype.str, "shape": value.shape, "at": at}
    return _encode_rare(value, buffers)


def _encode_rare(value: Any, buffers: _Buffers) -> Any:  # noqa: PLR0911 - one return per kind of value
    match value:
        case Enum() if name := _client_class_name(type(value)):
            return {_TAG: "enum", "name": name, "value": value.value}
        case tuple():
            return {_TAG: "tuple", "items": _encode(list(value), buffers)}
        case bytes() | bytearray():
            return {_TAG: "bytes", "at": buffers.add(bytes(value))}
        case np.generic():
            return _encode(value.item(), buffers)
        case dt.datetime() | dt.date():
            return {_TAG: "datetime" if isinstance(value, dt.datetime) else "date", "text": value.isoformat()}
        case UUID():
            return {_TAG: "UUID", "text": str(value)}
    try:
        return _encode(to_jsonable_python(value), buffers)  # as `EdgeClient` converts values in payloads
    except PydanticSerializationError as error:
        raise TypeError(
            f"a {type(value).__name__} cannot be sent to the embedded engine's process: convert it to a JSON value"
        ) from error


@functools.cache
def _client_class_name(kind: type) -> str | None:
    """Return the name of a class, or of its nearest base class, among the client's models."""
    own = (each for each in kind.__mro__ if each not in (BaseModel, Enum))
    return next((each.__name__ for each in own if getattr(models, each.__name__, None) is each), None)


def _decode(value: Any, buffers: memoryview) -> Any:
    if isinstance(value, list):
        return [_decode(item, buffers) for item in value]
    if not isinstance(value, dict):
        return value
    tag = value.get(_TAG)
    if tag is None:
        return {key: _decode(item, buffers) for key, item in value.items()}
    if tag == "model":
        fields = {name: _decode(field, buffers) for name, field in value["fields"].items()}
        return _class(value["name"], BaseModel).model_construct(_fields_set=set(value["set"]), **fields)
    return _decode_rare(tag, value, buffers)


def _decode_rare(tag: str, value: dict[str, Any], buffers: memoryview) -> Any:
    if tag == "enum":
        return _class(value["name"], Enum)(value["value"])
    if tag in _COLLECTIONS:
        return _COLLECTIONS[tag](_decode(value["items"], buffers))
    if tag in _READERS:
        return _READERS[tag](value["text"])
    start, length = value["at"]
    return _numbers(value, buffers[start : start + length])


def _numbers(value: dict[str, Any], buffer: memoryview) -> Any:
    if value[_TAG] == "bytes":
        return bytes(buffer)
    if value[_TAG] == "floats":
        return array("d", bytes(buffer)).tolist()
    return np.frombuffer(buffer, value["dtype"]).reshape(value["shape"])


def _class(name: str, base: type[Any]) -> Any:
    found = getattr(models, name, None)
    if not (isinstance(found, type) and issubclass(found, base)):
        raise ValueError(f"{name!r} is not one of the client's models")  # noqa: TRY004 - the value is wrong, not its type
    return found
