"""What a real server refuses becomes the right error, and is asked for again only if that helps."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import httpx
import pytest
from qdrant_client.common.client_exceptions import QdrantException
from qdrant_client.http.api_client import ApiClient
from qdrant_client.http.exceptions import ApiException

from colbert_qdrant import (
    CollectionNotFoundError,
    RateLimitedError,
    RequestRefusedError,
    RequestTooLargeError,
    ServerError,
)
from colbert_qdrant.engines.faults import fault_of
from tests.server.replay import Exchange, read

if TYPE_CHECKING:
    from colbert_qdrant.engines.faults import Fault

FOLDER: Final = os.environ.get("QDRANT_RECORDINGS")
FACTS: Final = Path(__file__).parent / "fixtures" / "facts.jsonl"
FILES: Final = [FACTS, *(Path(FOLDER or "") / name for name in ("answers.jsonl", "contract.jsonl") if FOLDER)]


@dataclass(frozen=True)
class Meaning:
    """What a kind of answer should become.

    Attributes:
        words: What the server says.
        error: The class of the error.
        remedy: What the message says that a user can do; the server's own words are in it anyway.
        passes: Whether it may be asked again.
    """

    words: str
    error: type[Exception]
    remedy: str = "correct the part that the server's message names"
    passes: bool = False


MEANINGS: Final = (
    Meaning(
        "Not found: Collection `?[-\\w]+`? (doesn't exist!|not found)", CollectionNotFoundError, "compare its name with"
    ),
    Meaning("Not found: No point with id", RequestRefusedError),
    Meaning("(Format|Deserialize) error", RequestRefusedError),
    Meaning("Validation error", RequestRefusedError),
    Meaning("Wrong input", RequestRefusedError),
    Meaning("Bad request: .*(Help: | has a limit of )", RequestRefusedError, "strict_mode_config=…"),
    Meaning("Bad request: Shard key", RequestRefusedError),
    Meaning("Rate limiting exceeded: .* Retry after 60s", RateLimitedError, "send requests more slowly", passes=True),
    Meaning("JSON payload .* is larger than allowed", RequestTooLargeError, "prefer_grpc=True"),
    Meaning("Qdrant is running in standalone mode", RequestRefusedError),
    Meaning(
        "Service internal error: InferenceService URL not configured", RequestRefusedError, "provide valid address"
    ),
    Meaning("(?s)Service internal error: .*panicked", ServerError, "change the request or its points"),
    Meaning("Service internal error: Invalid path", ServerError, "check the server's log", passes=True),
    Meaning("$", RequestRefusedError, "check the path in the client's URL"),  # nothing is at this path
)


def raised(exchange: Exchange) -> Exception:
    """What the client makes of an answer."""
    content = b"" if "raw" in exchange.response else exchange.response
    answer = httpx.MockTransport(
        lambda request: httpx.Response(
            exchange.status,
            headers=exchange.headers,
            **({"content": content} if isinstance(content, bytes) else {"json": content}),
        )
    )
    client = ApiClient("http://localhost", transport=answer)
    try:
        client.send(httpx.Request(exchange.method, "http://localhost/"), dict[str, Any])
    except (ApiException, QdrantException) as error:
        return error
    finally:
        client.close()
    raise AssertionError(exchange)


def refusals() -> list[Exchange]:
    return [each for path in FILES for each in read(path) if each.status != 200]


def meaning_of(exchange: Exchange) -> Meaning:
    return next(each for each in MEANINGS if re.match(each.words, exchange.error))


def test_every_refusal_becomes_the_right_error() -> None:
    for exchange in refusals():
        meaning = meaning_of(exchange)
        fault = classified(exchange)
        error = fault.error(operation="upsert", collection="docs", attempts=1)
        assert type(error) is meaning.error, exchange
        assert fault.retryable == meaning.passes, exchange
        assert meaning.remedy in str(error), exchange
        assert exchange.error[:200] in str(error), exchange


def classified(exchange: Exchange) -> Fault:
    fault = fault_of(raised(exchange))
    assert fault is not None, exchange
    return fault


def test_the_server_says_when_to_ask_again() -> None:
    limited = [each for each in refusals() if each.status == 429]
    assert limited
    assert {classified(each).retry_after for each in limited} == {60.0}


@pytest.mark.skipif(not FOLDER, reason="no recordings: set QDRANT_RECORDINGS to the folder that has them")
def test_every_meaning_is_one_of_a_recorded_answer() -> None:
    assert {meaning_of(each).words for each in refusals()} == {each.words for each in MEANINGS}
