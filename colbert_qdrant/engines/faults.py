"""Classifies the exceptions of clients and transports, and converts them to this library's errors."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import httpx
from grpc import RpcError
from qdrant_client.common.client_exceptions import QdrantException, ResourceExhaustedResponse
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

from colbert_qdrant.edge.aio import WorkerEndedError
from colbert_qdrant.engines.keys import TokenProviderError, UnsendableTokenError, without_keys
from colbert_qdrant.engines.meanings import MEANINGS, SMALLER
from colbert_qdrant.errors import (
    ColbertQdrantError,
    CollectionNotFoundError,
    RateLimitedError,
    RequestError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from colbert_qdrant.engines.meanings import Kind

_MAX_DETAIL: Final = 300
_UNTRUSTED: Final = "CERTIFICATE_VERIFY_FAILED"
_MIXED_UP: Final = (
    "WRONG_VERSION_NUMBER",
    "wrong version number",
    "record layer failure",
    "illegal status line",
    "http1.x",
)
"""Parts of messages for a protocol mismatch: only one side uses TLS, gRPC or HTTP/1.1."""

_TOO_LARGE: Final = ("larger than allowed", "payload has exceeded limit", "payload reached size limit")
_TOO_LARGE_CALL: Final = (
    "larger than max",
    "message length too large",  # servers in Rust, such as Qdrant
    "exceeds maximum",
    "exceeds the maximum",
    "header with status: 413",
)
"""Parts of messages about too large requests, from servers and proxies."""

_OVER_BUDGET: Final = "larger than rate limiter capacity"
_PANICKED: Final = "panicked with message"
_NO_INFERENCE: Final = "InferenceService URL not configured"
_STRICT: Final = (". Help: ", " limit of ")
"""Parts of messages about strict mode limits."""
_UNSENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_UNSENT_CALL: Final = ("failed to connect", "DNS resolution failed")
"""Parts of gRPC's messages about a missing connection."""

_WRITES: Final = frozenset({"upsert", "delete", "update_vectors", "delete_vectors", "set_payload", "delete_payload"})
_IN_DOUBT: Final = frozenset({"timeout", "deadline", "unreachable", "server", "panicked", "garbled"})
_ABOUT_CONNECTIONS: Final = frozenset({"timeout", "deadline", "unreachable", "untrusted", "mixed_up"})
_GRPC_KINDS: Final[Mapping[str, Kind]] = {
    "DEADLINE_EXCEEDED": "timeout",
    "UNAVAILABLE": "unreachable",
    "RESOURCE_EXHAUSTED": "overloaded",
    "UNAUTHENTICATED": "authentication",
    "PERMISSION_DENIED": "authentication",
    "NOT_FOUND": "not_found",
    "INVALID_ARGUMENT": "refused",
    "ALREADY_EXISTS": "refused",
    "FAILED_PRECONDITION": "refused",
    "OUT_OF_RANGE": "refused",
    "UNIMPLEMENTED": "wrong_address",
}
_HTTP_KINDS: Final[Mapping[int, Kind]] = {
    401: "authentication",
    403: "authentication",
    404: "not_found",
    408: "timeout",
    413: "too_large",
    429: "overloaded",
}


class NotConfirmedError(Exception):
    """A write was accepted, but not applied in time; internal to the package."""


class GarbledAnswerError(Exception):
    """The response does not match the request; internal to the package."""


class DeadlineError(Exception):
    """The deadline passed; internal to the package."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """The reason that a request failed.

    Attributes:
        kind: The kind of failure.
        detail: The message of the server or the transport, shortened.
        retry_after: Seconds to wait before the next attempt, if the server sent a number.
        sent: Whether the server may have received the request.
        showed_key: Whether the exception shows a key; ``detail`` never shows one.
    """

    kind: Kind
    detail: str
    retry_after: float | None = None
    sent: bool = True
    showed_key: bool = False

    @property
    def retryable(self) -> bool:
        """Whether a retry may help."""
        return MEANINGS[self.kind].passes

    @property
    def connection(self) -> bool:
        """Whether the connection failed, or broke before the server responded."""
        return self.kind == "unreachable" or (self.retryable and not self.sent)

    @property
    def in_doubt(self) -> bool:
        """Whether the server may still apply the request later."""
        return self.sent and self.kind in _IN_DOUBT

    def error(
        self, *, operation: str, collection: str, attempts: int, address: tuple[str, int] | None = None
    ) -> RequestError | CollectionNotFoundError:
        """Return the exception for this fault."""
        words, remedy, kind, _ = MEANINGS[self.kind]
        remedy = remedy.replace("{smaller}", SMALLER.get(operation, "send less at a time"))
        times = "" if attempts == 1 else f" after {attempts} attempts"
        where = f" in collection {collection!r}" if collection else ""
        at = f"{address[0]}:{address[1]}: " if address and self.kind in _ABOUT_CONNECTIONS else ""
        message = f"{operation}{where} failed{times}: {words} ({at}{self.detail}); {remedy}"
        if operation in _WRITES and self.in_doubt:
            message += (
                ". The server may still apply the write, or apply it on some replicas only: repeat it, which is safe"
            )
        if not issubclass(kind, RequestError):
            return kind(message)
        error = kind(message, operation=operation, collection=collection, attempts=attempts)
        if isinstance(error, RateLimitedError):
            error.retry_after = self.retry_after
        return error


def fault_of(error: BaseException, *, keys: Iterable[str] = ()) -> Fault | None:
    """Classify a client's exception; ``None`` if it is not about a request.

    Args:
        error: The exception.
        keys: Keys that the fault must not show: a proxy may return the headers that it received.
    """
    fault = _read(error)
    if fault is None:
        return None
    shown = f"{error} {getattr(error, 'source', '')} {getattr(error, 'content', b'').decode('utf-8', 'replace')}"
    if without_keys(shown, keys) == shown:
        return fault
    return replace(fault, detail=without_keys(fault.detail, keys), showed_key=True)


def _read(error: BaseException) -> Fault | None:
    if isinstance(error, AssertionError) and "returned None" not in str(error):
        return None  # a programming error, not an empty response
    if isinstance(error, RecursionError) and "JSON" not in str(error):
        return None  # a programming error, not deeply nested JSON
    if isinstance(error, ValueError) and isinstance(error, ColbertQdrantError):
        return None  # one of this library's errors, with its own message
    return next((read(error) for kind, read in _READERS.items() if isinstance(error, kind)), None)


def _of_response(error: UnexpectedResponse) -> Fault:
    status, detail = error.status_code or 0, _said(error.content)
    if status == 400 and any(part in detail for part in _TOO_LARGE):
        return Fault(kind="too_large", detail=detail)
    if status == 429 and _OVER_BUDGET in detail:
        return Fault(kind="over_budget", detail=detail)
    kind = _HTTP_KINDS.get(status, "refused" if 400 <= status < 500 else _kind_of_failure(detail))
    if status == 404 and "No point with id" in detail:
        kind = "refused"
    elif status == 404 and _error_in(error.content) is None:  # from a proxy, or from a server without this path
        kind = "wrong_address"
    elif status == 400 and any(part in detail for part in _STRICT):
        kind = "limited"
    elif status == 400 and "HTTPS port" in detail:
        kind = "mixed_up"
    elif kind == "authentication" and "expired" in detail.lower():
        kind = "expired"
    return Fault(kind=kind, detail=f"{status}: {detail}")


def _of_transport(source: Exception) -> Fault:
    if isinstance(source, httpx.LocalProtocolError):
        return Fault(kind="unsendable", detail=type(source).__name__)  # its message repeats the key
    if isinstance(source, UnsendableTokenError):
        return _of_token(source)
    if isinstance(source, TokenProviderError):
        return _of_provider(source)
    if isinstance(source, httpx.TimeoutException):
        return Fault(kind="timeout", detail=_short(source), sent=not isinstance(source, _UNSENT))
    if isinstance(source, httpx.TransportError):
        kind = _kind_of_connection(str(source))
        return Fault(kind=kind, detail=_short(source), sent=not isinstance(source, _UNSENT))
    return Fault(kind="garbled", detail=type(source).__name__)


def _of_call(error: RpcError) -> Fault:
    # a failed call has these methods, although the base class of its exceptions does not declare them
    call: Any = error
    code, detail = call.code().name, str(call.details() or "")
    kind = _GRPC_KINDS.get(code) or _kind_of_failure(detail)
    if code in {"RESOURCE_EXHAUSTED", "OUT_OF_RANGE", "UNKNOWN"} and any(part in detail for part in _TOO_LARGE_CALL):
        kind = "too_large_call"
    if code == "RESOURCE_EXHAUSTED" and _OVER_BUDGET in detail:
        kind = "over_budget"
    if code == "INVALID_ARGUMENT" and any(part in detail for part in _STRICT):
        kind = "limited"
    if code == "UNAVAILABLE":
        kind = _kind_of_connection(detail)
    if code == "NOT_FOUND" and "No point with id" in detail:
        kind = "refused"
    if kind == "authentication" and "expired" in detail.lower():
        kind = "expired"
    sent = not any(part in detail for part in _UNSENT_CALL)
    return Fault(kind=kind, detail=f"{code}: {detail[:_MAX_DETAIL]}", sent=sent)


def _kind_of_connection(message: str) -> Kind:
    if _UNTRUSTED in message:
        return "untrusted"
    return "mixed_up" if any(part in message for part in _MIXED_UP) else "unreachable"


def _of_token(error: UnsendableTokenError) -> Fault:
    return Fault(kind="unsendable", detail=_short(error), sent=False)


def _of_provider(error: TokenProviderError) -> Fault:
    return Fault(kind="no_token", detail=_short(error), sent=False)


def _kind_of_failure(detail: str) -> Kind:
    """Distinguish a server's permanent failures from transient ones."""
    if _NO_INFERENCE in detail:
        return "refused"
    return "panicked" if _PANICKED in detail else "server"


def _of_client(error: ValueError) -> Fault:
    """Classify an error that the client, or its local mode, raised without a server."""
    is_missing = str(error).startswith("Collection ") and str(error).endswith(" not found")
    return Fault(kind="not_found" if is_missing else "refused_here", detail=_short(error), sent=False)


def _of_garbled(error: Exception) -> Fault:
    return Fault(kind="garbled", detail=type(error).__name__)


def _said(content: bytes) -> str:
    """Return the message in a server's response, or the start of the response."""
    message = _error_in(content)
    return content[:_MAX_DETAIL].decode("utf-8", "replace") if message is None else message[:_MAX_DETAIL]


def _error_in(content: bytes) -> str | None:
    try:
        return str(json.loads(content)["status"]["error"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _short(error: Exception) -> str:
    return (str(error) or type(error).__name__)[:_MAX_DETAIL]


_READERS: Final[Mapping[type[BaseException], Callable[[Any], Fault]]] = {
    ResourceExhaustedResponse: lambda error: Fault(
        kind="overloaded", detail=_short(error), retry_after=max(0.0, float(error.retry_after_s))
    ),
    # the client raises it otherwise only for a Retry-After that is not an integer, such as a date
    QdrantException: lambda error: Fault(kind="overloaded", detail=_short(error)),
    UnexpectedResponse: _of_response,
    ResponseHandlingException: lambda error: _of_transport(error.source),
    RpcError: _of_call,
    NotConfirmedError: lambda error: Fault(kind="timeout", detail=str(error)),
    DeadlineError: lambda error: Fault(kind="deadline", detail=str(error)),
    TokenProviderError: _of_provider,
    UnsendableTokenError: _of_token,
    WorkerEndedError: lambda error: Fault(kind="ended", detail=str(error)),
    # the client reads responses outside its own error handling, and asserts that they are not empty
    GarbledAnswerError: _of_garbled,
    json.JSONDecodeError: _of_garbled,
    UnicodeDecodeError: _of_garbled,
    RecursionError: _of_garbled,
    AssertionError: _of_garbled,
    ValueError: _of_client,
}
