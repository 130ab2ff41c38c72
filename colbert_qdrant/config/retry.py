"""Defines which failed requests are sent again, and for how long."""

from __future__ import annotations

from dataclasses import dataclass

from colbert_qdrant.config.checks import keep_plain, require_int, require_number


@dataclass(frozen=True, kw_only=True)
class RetryConfig:
    """The settings by which failed requests are sent again, and for how long.

    Only failures that may pass are tried again: timeouts, broken connections, overload (429, RESOURCE_EXHAUSTED) and
    errors of the server (5xx). Repeating a request of this library does nothing twice. Where there is no connection
    (refused, reset, no such name, UNAVAILABLE), the request is tried until the deadline: it survives a restart of the
    server. Waits are random up to a bound that doubles each time ("full jitter"), so that many clients do not come back
    at once; a server that says how long to wait is believed.

    Args:
        attempts: Most times that a request may fail otherwise than for want of a connection; 1 never tries again.
        first_wait: Bound of the first wait, in seconds.
        longest_wait: Bound of any wait, in seconds.
        deadline: Seconds that a request may take, all its parts, attempts and waits together. Then its connection is
            closed, whatever the server does; the client's ``timeout`` bounds a single attempt. A server may still apply
            a write that it had received by then. From 1.16 on, a later write of the same open collection to the same
            documents wins over that, unless strict mode limits conditions; a deletion does not.

    Raises:
        ConfigurationError: A value is out of range.
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
