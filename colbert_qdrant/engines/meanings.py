"""Maps each kind of fault to its description, its remedy and its error class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from colbert_qdrant.errors import (
    AuthenticationError,
    CollectionNotFoundError,
    RateLimitedError,
    RequestError,
    RequestRefusedError,
    RequestTimeoutError,
    RequestTooLargeError,
    ServerError,
    UnreachableError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

Kind = Literal[
    "timeout",
    "unreachable",
    "untrusted",
    "overloaded",
    "server",
    "panicked",
    "garbled",
    "unsendable",
    "too_large",
    "too_large_call",
    "over_budget",
    "authentication",
    "not_found",
    "refused",
    "refused_here",
    "limited",
    "ended",
    "deadline",
    "mixed_up",
    "wrong_address",
    "expired",
    "no_token",
]
"""A kind of failure of a request."""


class Meaning(NamedTuple):
    """The description, remedy and error of a kind of fault, and whether a retry may help."""

    words: str
    remedy: str
    error: type[RequestError | CollectionNotFoundError]
    passes: bool = False


MEANINGS: Final[Mapping[Kind, Meaning]] = {
    "timeout": Meaning(
        "the server did not answer in time",
        "give the client a longer timeout, send less at a time, or check the server's load",
        RequestTimeoutError,
        passes=True,
    ),
    "deadline": Meaning(
        "the server did not answer in time",
        "raise RetryConfig(deadline=…), send less at a time, or check the server's load",
        RequestTimeoutError,
        passes=True,
    ),
    "unreachable": Meaning(
        "the server could not be reached",
        "check that the server is running, and that its address, port and TLS settings are right",
        UnreachableError,
        passes=True,
    ),
    "untrusted": Meaning(
        "the server's certificate is not trusted",
        "pass the certificate authority's file with connect(ca_file=…), and use a host name that the certificate lists",
        UnreachableError,
    ),
    "overloaded": Meaning(
        "the server is overloaded",
        "send requests more slowly, or raise the server's limits",
        RateLimitedError,
        passes=True,
    ),
    "server": Meaning("the server failed", "check the server's log", ServerError, passes=True),
    "panicked": Meaning(
        "the server failed on this request, and would fail again",
        "check its log, and change the request or its points",
        ServerError,
    ),
    "garbled": Meaning(
        "the response could not be read",
        "check that no proxy changes the server's responses",
        ServerError,
        passes=True,
    ),
    "unsendable": Meaning(
        "the request cannot be sent",
        "remove spaces, line breaks and other forbidden characters from the client's key and headers",
        RequestError,
    ),
    "too_large": Meaning(
        "the request is larger than the server accepts",
        "{smaller}, raise the server's service.max_request_size_mb, or connect with prefer_grpc=True, which has no "
        "such limit",
        RequestTooLargeError,
    ),
    "too_large_call": Meaning(
        "the request is larger than the gRPC message limit of the client, the server or a proxy",
        "{smaller}, or raise that limit",
        RequestTooLargeError,
    ),
    "over_budget": Meaning(
        "this request alone exceeds the server's rate limit per minute",
        "{smaller}, or raise the limit with client.update_collection(name, strict_mode_config=…)",
        RequestTooLargeError,
    ),
    "authentication": Meaning(
        "the server does not permit the request", "give the client a key that permits it", AuthenticationError
    ),
    "expired": Meaning(
        "the token has expired",
        "give the client a new token, or an auth_token_provider that returns a valid token for each request",
        AuthenticationError,
    ),
    "no_token": Meaning(
        "the client's auth_token_provider raised an error",
        "fix the function so that it returns a token",
        AuthenticationError,
    ),
    "mixed_up": Meaning(
        "the server and the client use different protocols",
        "check https:// or http:// in the URL, and that the port is that of REST, or of gRPC with prefer_grpc=True",
        UnreachableError,
    ),
    "wrong_address": Meaning(
        "the server does not support this request",
        "check the path in the client's URL, and that its address and port are those of a recent Qdrant server",
        RequestRefusedError,
    ),
    "not_found": Meaning(
        "it does not exist", "compare its name with client.get_collections()", CollectionNotFoundError
    ),
    "refused": Meaning(
        "the server rejected the request", "correct the part that the server's message names", RequestRefusedError
    ),
    "refused_here": Meaning(
        "the client rejected the request", "correct the part that its message names", RequestRefusedError
    ),
    "limited": Meaning(
        "the server's strict mode does not allow it",
        "stay within the limits, or raise them with client.update_collection(name, strict_mode_config=…)",
        RequestRefusedError,
    ),
    "ended": Meaning(
        "the embedded engine crashed",
        "check why its process ended, often from a lack of memory",
        UnreachableError,
        passes=True,
    ),
}
SMALLER: Final[Mapping[str, str]] = {
    "upsert": "split the document",
    "search": "search with fewer tokens, vectors or conditions",
    "delete": "delete fewer documents at a time",
}
