"""Defines every error that this library raises on purpose.

::

    ColbertQdrantError
    ├── ConfigurationError (ValueError)       a parameter or a combination of parameters is wrong
    ├── InvalidTokensError (ValueError)       token embeddings with NaN, no rows, a wrong shape or too many values
    ├── InvalidDocumentError (ValueError)     a document that cannot be stored: empty text, bad id, bad payload
    ├── InvalidQueryError (ValueError)        a query that cannot be searched for
    ├── CheckpointError (ValueError)          a model that cannot be loaded as an encoder
    ├── MissingExtraError (ImportError)       an optional package is not installed
    ├── CapabilityError                       the engine is too old, or does not have the feature
    ├── SchemaMismatchError                   a collection's vectors are not laid out as this library needs
    ├── FingerprintMismatchError              a collection was built with another model or other settings
    ├── ArtefactError                         a fitted encoding is missing, cut off or altered
    ├── MigrationError                        a migration cannot go on, or may not yet
    └── EngineError                           the engine refused or failed
        ├── CollectionNotFoundError (LookupError)
        ├── CollectionExistsError
        ├── DiskFullError                     an embedded store's disk has no room for what is to be written
        ├── StoreLockedError                  another process or client has the embedded store open
        ├── ForkedProcessError                an embedded store was carried through ``fork()``
        ├── RequestError                      a request failed, after all attempts
        │   ├── AuthenticationError           without a key, or one that may not do this
        │   ├── RateLimitedError              the server has too much to do
        │   ├── RequestTimeoutError           the server did not answer in time
        │   ├── UnreachableError              no connection to the server
        │   ├── RequestTooLargeError          larger than the server takes, and it cannot be split
        │   ├── RequestRefusedError           the server says that the request is wrong
        │   └── ServerError                   the server failed, or its answer cannot be read
        ├── NotReadyError                     a collection is not built in time, or will not be by itself
        └── ClosedError                       used after ``close()``

Messages say what is wrong, where, and what to do about it. They never contain keys.

`ColbertQdrantWarning` is the category of all warnings of this library.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class ColbertQdrantError(Exception):
    """Base of every error of this library."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the message and the attributes, whatever the constructor takes: errors travel between processes."""
        return _restored, (type(self), self.args), self.__dict__


class ColbertQdrantWarning(UserWarning):
    """Something that users would not notice by themselves, such as documents that were truncated.

    The filters of Python's ``warnings`` silence it, or make it an error.
    """


class ConfigurationError(ColbertQdrantError, ValueError):
    """A parameter, or a combination of parameters, is wrong."""


class InvalidTokensError(ColbertQdrantError, ValueError):
    """No engine could store token embeddings: they have NaN, no rows, a wrong shape or too many values."""


class InvalidDocumentError(ColbertQdrantError, ValueError):
    """A document cannot be stored: its text is empty, its id has a wrong type, or its payload is not JSON."""


class InvalidQueryError(ColbertQdrantError, ValueError):
    """A query cannot be searched for."""


class CheckpointError(ColbertQdrantError, ValueError):
    """A model cannot be loaded as an encoder."""


class MissingExtraError(ColbertQdrantError, ImportError):
    """An optional package is not installed."""


class CapabilityError(ColbertQdrantError):
    """The engine is too old for a feature, or does not have it."""


class SchemaMismatchError(ColbertQdrantError):
    """A collection's vectors are not laid out as this library needs them."""


class FingerprintMismatchError(ColbertQdrantError):
    """A collection was built with another model or other settings than it is opened with.

    Attributes:
        differences: Differing field → (value stored with the collection, value it is opened with).
    """

    def __init__(self, message: str, differences: Mapping[str, tuple[Any, Any]]) -> None:
        super().__init__(message)
        self.differences = dict(differences)


class ArtefactError(ColbertQdrantError):
    """A fitted encoding is missing, cut off, altered, or another collection's."""


class MigrationError(ColbertQdrantError):
    """A migration cannot go on, or may not yet: something is in its way, or was not verified."""


class EngineError(ColbertQdrantError):
    """The engine refused an operation or failed at it."""


class CollectionNotFoundError(EngineError, LookupError):
    """There is no such collection."""


class CollectionExistsError(EngineError):
    """There is such a collection already."""


class DiskFullError(EngineError):
    """The disk of an embedded store has no room for what is to be written; nothing of it was."""


class StoreLockedError(EngineError):
    """Another process or client has the embedded store open."""


class ForkedProcessError(EngineError):
    """An embedded store that was opened before ``fork()`` is used in the child process."""


class RequestError(EngineError):
    """A request failed for good.

    Attributes:
        operation: The operation that it was part of.
        collection: The collection that it was for.
        attempts: The number of times that it was sent.
    """

    def __init__(self, message: str, *, operation: str = "", collection: str = "", attempts: int = 1) -> None:
        super().__init__(message)
        self.operation = operation
        self.collection = collection
        self.attempts = attempts


class AuthenticationError(RequestError):
    """The server wants a key, or does not permit the request with the one that it got."""


class RateLimitedError(RequestError):
    """The server has too much to do.

    Attributes:
        retry_after: Seconds after which it wants to be asked again, if it says so.
    """

    retry_after: float | None = None


class RequestTimeoutError(RequestError, TimeoutError):
    """The server did not answer in time."""


class UnreachableError(RequestError, ConnectionError):
    """There is no connection to the server, or it broke."""


class RequestTooLargeError(RequestError):
    """A request is larger than the server takes, or than its rate limits allow at once, and cannot be split."""


class RequestRefusedError(RequestError):
    """The server says that the request is wrong."""


class ServerError(RequestError):
    """The server failed, or its answer cannot be read."""


class NotReadyError(EngineError):
    """A collection was not ready in time, or will not be by itself."""


class ClosedError(EngineError):
    """Something is used after ``close()``."""


def _restored(kind: type[ColbertQdrantError], arguments: tuple[Any, ...]) -> ColbertQdrantError:
    error = kind.__new__(kind)
    error.args = arguments
    return error
