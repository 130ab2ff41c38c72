"""Defines the retry settings of requests."""

from __future__ import annotations

from dataclasses import dataclass

from colbert_qdrant.config.checks import keep_plain, require_int, require_number


@dataclass(frozen=True, kw_only=True)
class RetryConfig:
    """The settings for retries of failed requests.

    Only transient failures are retried: timeouts, broken connections, overload (429, RESOURCE_EXHAUSTED) and server
    errors (5xx). All requests of this library are idempotent. Without a connection (refused, reset, unknown host,
    UNAVAILABLE), a request is retried until the deadline, so that it survives a restart of the server. Waits are random
    up to a bound that doubles each time ("full jitter"), so that clients do not all return at once. A wait time that
    the server asks for takes precedence.

    Args:
        attempts: Maximum number of attempts; failures to connect do not count. 1 never retries.
        first_wait: Bound of the first wait, in seconds.
        longest_wait: Bound of any wait, in seconds.
        deadline: Total seconds for a request, including all its parts, attempts and waits. After that, its connection
            is closed. The client's ``timeout`` bounds a single attempt. A server may still apply a write that it
            received before the deadline. From 1.16 on, a later write of the same open collection to the same documents
            wins over such a write, unless strict mode limits conditions. A later deletion does not win.

    Raises:
        ConfigurationError: If a value is out of range.
    """

    attempts: int = 6
    first_wait: float = 0.5
    longest_wait: float = 30.0
    deadline: float = 180.0

    def __post_init__(self) -> None:
        keep_plain(self)
        require_int("attempts", self.attempts, minimum=1)
        for name in ("first_wait", "longest_wait", "deadline"):
            require_number(name, getattr(self, name), minimum=0)
