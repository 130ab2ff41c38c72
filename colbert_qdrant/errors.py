"""Defines every error that this library raises deliberately.

```text
ColbertQdrantError
├── ConfigurationError (ValueError)       a parameter or a combination of parameters is wrong
├── InvalidTokensError (ValueError)       token embeddings have NaN, no rows, a wrong shape or too many values
├── InvalidDocumentError (ValueError)     a document cannot be stored: empty text, bad id, bad payload
├── InvalidQueryError (ValueError)        a query cannot be encoded or searched
├── CheckpointError (ValueError)          a model cannot be loaded as an encoder
├── MissingExtraError (ImportError)       an optional package is not installed
├── CapabilityError                       the engine is too old for a feature, or lacks it
├── SchemaMismatchError                   a collection's vectors do not have the layout that this library needs
├── FingerprintMismatchError              a collection was built with another model or other settings
├── ArtefactError                         a fitted encoding is missing, truncated or altered
├── JournalError                          an ingest cannot be resumed with its journal
├── DatasetError (ValueError)             a test collection, or a file of it, is wrong
├── BackupError                           a backup is incomplete or altered, or cannot be made
├── MigrationError                        a migration is blocked, or a step before it is not done
└── EngineError                           the engine refused or failed
    ├── CollectionNotFoundError (LookupError)
    ├── CollectionExistsError
    ├── DiskFullError                     an embedded store's disk is full
    ├── StoreLockedError                  another process or client has the embedded store open
    ├── ForkedProcessError                an embedded store was opened before fork()
    ├── RequestError                      a request failed, after all attempts
    │   ├── AuthenticationError           the key is missing, or does not permit the request
    │   ├── RateLimitedError              the server is overloaded
    │   ├── RequestTimeoutError           the server did not answer in time
    │   ├── UnreachableError              no connection to the server
    │   ├── RequestTooLargeError          larger than the server accepts, and it cannot be split
    │   ├── RequestRefusedError           the server rejected the request as invalid
    │   └── ServerError                   the server failed, or its response cannot be read
    ├── NotReadyError                     a collection is not built in time, or needs a call to be built
    └── ClosedError                       used after close()
```

Each message names the problem, the place and the remedy. Messages never contain keys.

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
    """Warns of a problem that users would not notice otherwise, such as truncated documents.

    The filters of Python's ``warnings`` silence it, or turn it into an error.
    """


class ConfigurationError(ColbertQdrantError, ValueError):
    """A parameter, or a combination of parameters, is wrong."""


class InvalidTokensError(ColbertQdrantError, ValueError):
    """Token embeddings cannot be stored: they have NaN, no rows, a wrong shape or too many values."""


class InvalidDocumentError(ColbertQdrantError, ValueError):
    """A document cannot be stored: its text is empty, its id has a wrong type, or its payload is not JSON."""


class InvalidQueryError(ColbertQdrantError, ValueError):
    """A query cannot be encoded or searched."""


class CheckpointError(ColbertQdrantError, ValueError):
    """A model cannot be loaded as an encoder."""


class MissingExtraError(ColbertQdrantError, ImportError):
    """An optional package is not installed."""


class CapabilityError(ColbertQdrantError):
    """The engine is too old for a feature, or lacks it."""


class SchemaMismatchError(ColbertQdrantError):
    """A collection's vectors do not have the layout that this library needs."""


class FingerprintMismatchError(ColbertQdrantError):
    """A collection is opened with another model or other settings than it was built with.

    Attributes:
        differences: Each differing field, with the stored value and the value that was given.
    """

    def __init__(self, message: str, differences: Mapping[str, tuple[Any, Any]]) -> None:
        super().__init__(message)
        self.differences = dict(differences)


class ArtefactError(ColbertQdrantError):
    """A fitted encoding is missing, truncated, altered, or belongs to another collection."""


class JournalError(ColbertQdrantError):
    """An ingest cannot use its journal: the file is damaged or in use, or the source or the collection has changed."""


class DatasetError(ColbertQdrantError, ValueError):
    """A test collection is wrong: a file, a query, a judgment or a run."""


class BackupError(ColbertQdrantError):
    """A backup is incomplete or altered, or the collection changed while it was made."""


class MigrationError(ColbertQdrantError):
    """A migration cannot continue: something blocks it, or a step such as verification is not done."""


class EngineError(ColbertQdrantError):
    """The engine refused an operation or failed at it."""


class CollectionNotFoundError(EngineError, LookupError):
    """The collection does not exist."""


class CollectionExistsError(EngineError):
    """The collection exists already."""


class DiskFullError(EngineError):
    """The disk of an embedded store is full; nothing was written."""


class StoreLockedError(EngineError):
    """Another process or client has the embedded store open."""


class ForkedProcessError(EngineError):
    """An embedded store that was opened before ``fork()`` is used in the child process."""


class RequestError(EngineError):
    """A request failed, after all attempts.

    Attributes:
        operation: The operation that the request was part of.
        collection: The collection that the request was for.
        attempts: The number of times that the request was sent.
    """

    def __init__(self, message: str, *, operation: str = "", collection: str = "", attempts: int = 1) -> None:
        super().__init__(message)
        self.operation = operation
        self.collection = collection
        self.attempts = attempts


class AuthenticationError(RequestError):
    """The server requires a key, or the given key does not permit the request."""


class RateLimitedError(RequestError):
    """The server is overloaded.

    Attributes:
        retry_after: Seconds to wait before the next request, if the server sent a number.
    """

    retry_after: float | None = None


class RequestTimeoutError(RequestError, TimeoutError):
    """The server did not answer in time."""


class UnreachableError(RequestError, ConnectionError):
    """The connection to the server failed or broke."""


class RequestTooLargeError(RequestError):
    """A request exceeds the server's size limit or rate limit, and cannot be split."""


class RequestRefusedError(RequestError):
    """The server rejected the request as invalid."""


class ServerError(RequestError):
    """The server failed, or its response cannot be read."""


class NotReadyError(EngineError):
    """A collection was not ready in time, or needs a call, such as `optimize`, to become ready."""


class ClosedError(EngineError):
    """An object is used after ``close()``."""


def _restored(kind: type[ColbertQdrantError], arguments: tuple[Any, ...]) -> ColbertQdrantError:
    error = kind.__new__(kind)
    error.args = arguments
    return error
