"""Checks that clients' responses match their requests."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any, Final

from qdrant_client import models

from colbert_qdrant.engines.faults import GarbledAnswerError, NotConfirmedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qdrant_client.http.models import QueryResponse

_NOT_APPLIED: Final = frozenset({"acknowledged", "wait_timeout", "Acknowledged", "WaitTimeout", "ClockRejected"})
"""Statuses, over HTTP and gRPC, of a write that is not applied, or not applied yet."""


def require_applied(status: str) -> None:
    """Raise unless a write is applied.

    Raises:
        NotConfirmedError: If the server accepted the write, but did not apply it.
    """
    if status in _NOT_APPLIED:
        raise NotConfirmedError(f"the status of the write is {status!r}, not completed")


def require_result(answer: Any) -> None:
    """Raise unless a response of a server over REST says that a write is applied.

    Raises:
        GarbledAnswerError: If it says nothing about the write.
        NotConfirmedError: If the server accepted the write, but did not apply it.
    """
    if answer.result is None:
        raise GarbledAnswerError
    require_applied(answer.result.status.value)


def applied(answer: Any) -> Any:
    """Return a client's answer; raise `NotConfirmedError` for a write that is not applied."""
    if isinstance(answer, models.UpdateResult):
        require_applied(answer.status.value)
    return answer


def check_answers(answers: list[QueryResponse], requests: Sequence[models.QueryRequest]) -> list[QueryResponse]:
    """Return the responses if each respects its limit and has finite scores.

    Raises:
        GarbledAnswerError: If the responses do not match the requests.
    """
    if len(answers) != len(requests):
        raise GarbledAnswerError
    for answer, request in zip(answers, requests, strict=True):
        if len(answer.points) > (request.limit or 0) or not all(isfinite(point.score) for point in answer.points):
            raise GarbledAnswerError
    return answers
