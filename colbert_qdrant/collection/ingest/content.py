"""Computes a digest of the documents that a source yields, to notice a source that has changed."""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields, is_dataclass
from typing import Any
from uuid import UUID

import numpy as np

from colbert_qdrant._support.values import plain
from colbert_qdrant.documents import Document
from colbert_qdrant.sources import BadRow
from colbert_qdrant.tokens import TokenEmbeddings


class ContentDigest:
    """The SHA-256 of all items of a source up to the last one that was added."""

    def __init__(self) -> None:
        self._sha = hashlib.sha256()
        self.items = 0

    def add(self, item: object) -> None:
        """Add a document, or anything else that a source yields."""
        data = content(item)
        self._sha.update(len(data).to_bytes(8, "big") + data)
        self.items += 1

    def __str__(self) -> str:
        return self._sha.hexdigest()


def content(item: object) -> bytes:
    """Return an item in a form that is equal in every process, if the item is equal; types without JSON count by name.

    Example:
        >>> from colbert_qdrant import Document
        >>> content(Document(1, "A text", {"at": {"b": 2, "a": 1}}))
        b'["Document", {"id": 1, "payload": {"at": {"a": 1, "b": 2}}, "text": "A text", "tokens": null, "vectors": {}}]'
    """
    try:
        return json.dumps(_simple(item), sort_keys=True, default=_simple).encode()
    except Exception:  # noqa: BLE001 - keys of several types, lists in themselves, methods of a caller's class
        return _name(item).encode()


def _simple(value: Any) -> Any:
    """Return a value of another type in simpler types, with the name of its type."""
    if hasattr(value, "detach"):  # a tensor of torch
        value = value.detach().cpu().float().numpy()
    if isinstance(value, np.ndarray) and value.dtype != object:
        data = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
        return [_name(value), value.dtype.str, value.shape, data]
    if isinstance(value, TokenEmbeddings):
        return [_name(value), value.values, value.lengths]
    if isinstance(value, BadRow):
        return [_name(value), value.row.value, value.row.raw and value.row.raw.hex()]
    if is_dataclass(value) and not isinstance(value, type):
        kind = Document if isinstance(value, Document) else type(value)  # not the file and line that it is from
        return [kind.__qualname__, {each.name: getattr(value, each.name) for each in fields(kind)}]
    return _of_other(value)


def _of_other(value: Any) -> Any:
    if isinstance(value, UUID):
        return [_name(value), str(value)]
    simple = plain(value)
    if simple is not value:
        return simple
    for method in ("model_dump", "items", "isoformat"):
        if hasattr(value, method):
            found = getattr(value, method)()
            return [_name(value), dict(found) if method == "items" else found]
    return value if isinstance(value, dict | list | tuple | str | int | float | None) else _name(value)


def _name(value: object) -> str:
    return type(value).__qualname__
