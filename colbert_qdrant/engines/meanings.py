"""Says of each kind of fault what it means, what to do about it, and which error it becomes."""

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
"""What went wrong with a request."""


class Meaning(NamedTuple):
    """The description, remedy and error of a kind of fault, and whether a retry may help."""

    words: str
    remedy: str
    error: type[RequestError | CollectionNotFoundError]
    passes: bool = False


MEANINGS: Final[Mapping[Kind, Meaning]] = {
    "timeout": Meaning(
        "the server did not answer in time",
        "give the client a longer timeout, send less at a time, or look what keeps the server busy",
        RequestTimeoutError,
        passes=True,
    ),
    "deadline": Meaning(
        "the server did not answer in time",
        "raise RetryConfig(deadline=…), send less at a time, or look what keeps the server busy",
        RequestTimeoutError,
        passes=True,
    ),
    "unreachable": Meaning(
        "the server could not be reached",
        "make sure that the server runs, and that its address, port and TLS settings are right",
        UnreachableError,
        passes=True,
    ),
    "untrusted": Meaning(
        "the server's certificate is not trusted",
        "give the client the certificate of the server's authority (ca_file=… of connect), and a name that is in it",
        UnreachableError,
    ),
    "overloaded": Meaning(
        "the server has too much to do",
        "send more slowly, or raise the server's limits",
        RateLimitedError,
        passes=True,
    ),
    "server": Meaning("the server failed", "look into the server's log", ServerError, passes=True),
    "panicked": Meaning(
        "the server failed at this very request, and would fail again",
        "look into its log, and change the points or the request that it is about",
        ServerError,
    ),
    "garbled": Meaning(
        "the answer could not be read",
        "make sure that nothing between here and the server changes its answers",
        ServerError,
        passes=True,
    ),
    "unsendable": Meaning(
        "the request cannot be sent as it is",
        "look for spaces, line breaks or other forbidden characters in the client's key and headers",
        RequestError,
    ),
    "too_large": Meaning(
        "the request is larger than the server takes",
        "{smaller}, raise service.max_request_size_mb of the server, or connect with prefer_grpc=True, which has no "
        "such limit",
        RequestTooLargeError,
    ),
    "too_large_call": Meaning(
        "the request is larger than the client, or what is between here and the server, takes",
        "{smaller}, or raise the limit of gRPC's messages there",
        RequestTooLargeError,
    ),
    "over_budget": Meaning(
        "the request alone is more than the server's rate limit allows in a minute",
        "{smaller}, or raise the limit with client.update_collection(name, strict_mode_config=…)",
        RequestTooLargeError,
    ),
    "authentication": Meaning(
        "the server does not allow it", "give the client a key that may do this", AuthenticationError
    ),
    "expired": Meaning(
        "the server does not allow it: the token has expired",
        "give the client a new one, or an auth_token_provider that returns a valid one for each request",
        AuthenticationError,
    ),
    "no_token": Meaning(
        "the client's auth_token_provider raised an error",
        "make sure that the function returns a token",
        AuthenticationError,
    ),
    "mixed_up": Meaning(
        "the server speaks another protocol than the client",
        "check https:// against http:// in the URL, and that the port is the one of REST or of gRPC (prefer_grpc=True)",
        UnreachableError,
    ),
    "wrong_address": Meaning(
        "the server does not know this request",
        "check the path of the client's URL, and that its address and port are those of a recent Qdrant server",
        RequestRefusedError,
    ),
    "not_found": Meaning(
        "it is not there", "look at its name, and at those in client.get_collections()", CollectionNotFoundError
    ),
    "refused": Meaning("the server refuses it", "look at what the server says about it", RequestRefusedError),
    "refused_here": Meaning(
        "the client refuses it", "change the part of the request that it names", RequestRefusedError
    ),
    "limited": Meaning(
        "the server's strict mode does not allow it",
        "keep to its limits, or lift them with client.update_collection(name, strict_mode_config=…)",
        RequestRefusedError,
    ),
    "ended": Meaning(
        "the embedded engine crashed",
        "find out what ends it (often a lack of memory)",
        UnreachableError,
        passes=True,
    ),
}
SMALLER: Final[Mapping[str, str]] = {
    "upsert": "split the document",
    "search": "search with fewer tokens, vectors or conditions",
    "delete": "choose fewer documents at a time",
}
