"""Serves an embedded store from a worker process: ``python -m … PATH DURABILITY``.

The process reads requests from standard input, and writes responses to standard output. It ends on request, or at the
end of its input.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, BinaryIO, Final, cast

from colbert_qdrant.edge.checkpoints import check_durability
from colbert_qdrant.edge.client import EdgeClient
from colbert_qdrant.edge.wire import GOODBYE, HEADER, INTERRUPT, pack, pack_error, unpack
from colbert_qdrant.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from colbert_qdrant.edge.checkpoints import Durability

_STANDARD_ERROR: Final = 2


def main(path: str, durability: Durability) -> None:
    """Serve the store in a folder until the client disconnects."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal; the parent decides
    _listen(signal.SIG_IGN)
    requests, answers = sys.stdin.buffer, _reserve_output()
    client: EdgeClient | None = None
    while (message := _read(requests)) is not None:
        number, call = message
        if client is None:  # the first request only opens the store
            client = _answer(answers, number, lambda: EdgeClient(path, durability=durability), shown=False)
        else:
            _answer(answers, number, functools.partial(call, client))
    if client is not None:
        client.close()


def _answer(answers: BinaryIO, number: int, call: Callable[[], Any], *, shown: bool = True) -> Any:
    try:
        result = call()
        message = pack(number, {"result": result if shown else None})
    except Exception as error:  # noqa: BLE001 - raised again in the calling process
        result, message = None, pack(number, {"error": pack_error(error)})
    answers.write(message)
    answers.flush()
    return result


def _read(requests: BinaryIO) -> tuple[int, Callable[[EdgeClient], Any]] | None:
    """Read the next request, and return its number and its call on a client; ``None`` after the last request."""
    header = requests.read(HEADER.size)
    if len(header) < HEADER.size or header == GOODBYE:
        return None
    number, text, buffers = HEADER.unpack(header)
    body = requests.read(text + buffers)
    return (number, functools.partial(_call, body, text)) if len(body) == text + buffers else None


def _call(body: bytes, text: int, client: EdgeClient) -> Any:
    request = unpack(body, text)
    with _interruptible() if request["method"] == "optimize" else nullcontext():
        return getattr(client, request["method"])(*request["arguments"], **request["named"])


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let the signal `INTERRUPT` end the call, after its caller was cancelled."""

    def end(*_: object) -> None:
        raise EngineError("the call was cancelled")

    _listen(end)
    try:
        yield
    finally:
        _listen(signal.SIG_IGN)


def _listen(handler: Callable[..., None] | signal.Handlers) -> None:
    if INTERRUPT is not None:
        signal.signal(INTERRUPT, handler)


def _reserve_output() -> BinaryIO:
    """Reserve standard output for responses; other output goes to standard error, if it is open."""
    if sys.stderr is None:  # closed, and another file must not get its descriptor
        os.dup2(os.open(os.devnull, os.O_WRONLY), _STANDARD_ERROR)
    own = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(_STANDARD_ERROR, sys.stdout.fileno())
    return own


if __name__ == "__main__":
    main(sys.argv[1], check_durability(cast("Durability", sys.argv[2])))
