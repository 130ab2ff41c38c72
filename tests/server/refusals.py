"""What the server says when it refuses a request: status and words."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    Words = tuple[str, int, str]

POSITION: Final = " at line 1 column 1"
"""The server says where in the body it stopped reading; nobody reads the numbers."""


class RefusedError(Exception):
    """An answer that is an error.

    Attributes:
        status: The HTTP status.
        text: The words.
        retry_after: Seconds, if the server wants to be asked again.
    """

    def __init__(self, status: int, text: str, *, retry_after: int | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.retry_after = retry_after


def wrong_input(text: str, status: int = 400) -> RefusedError:
    return RefusedError(status, f"Wrong input: {text}")


def bad_request(text: str) -> RefusedError:
    return RefusedError(400, f"Bad request: {text}")


def not_found(text: str) -> RefusedError:
    return RefusedError(404, f"Not found: {text}")


def no_collection(name: str) -> RefusedError:
    return not_found(f"Collection `{name}` doesn't exist!")


def bad_format(text: str, position: str = POSITION) -> RefusedError:
    return RefusedError(400, f"Format error in JSON body: {text}{position}")


def no_variant(enum: str, position: str = POSITION) -> RefusedError:
    return bad_format(f"data did not match any variant of untagged enum {enum}", position)


def invalid(field: str, text: str, where: str = "JSON body") -> RefusedError:
    return RefusedError(422, f"Validation error in {where}: [{field}: {text}]")


def too_small(field: str, value: Any, least: int) -> RefusedError:
    return invalid(field, f"value {value} invalid, must be {least} or larger")


_OF_ENGINE: Final[tuple[Words, ...]] = (
    # what the engine says, then the status and the words of a server in front of it
    (r"(No point with id \S+)", 404, r"Not found: \1 found"),
    (r"Wrong usage of (sparse|multi) vectors", 400, r"Wrong input: Conversion between \1 and regular vectors failed"),
    (r"(Validation failed: .*)", 400, r"Wrong input: \1"),
    (r"(Not existing vector name error: .*)", 400, r"Wrong input: \1"),
    (r"(Vector dimension error: .*)", 400, r"Wrong input: \1"),
    (r"(No (?:range|appropriate) index for .*)", 400, r"Wrong input: \1"),
    (r"(Expected number value for .*)", 400, r"Wrong input: \1"),
)


@contextmanager
def engine_says() -> Iterator[None]:
    """Turns what the engine raises into what a server answers."""
    try:
        yield
    except RefusedError:
        raise
    except Exception as error:
        for pattern, status, words in _OF_ENGINE:
            found = re.match(pattern, str(error))
            if found:
                raise RefusedError(status, found.expand(words)) from error
        raise RefusedError(500, f"Service internal error: {error}") from error
