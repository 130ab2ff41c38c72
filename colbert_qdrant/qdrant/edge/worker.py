"""The process that has an embedded store open, and does what it is asked to: ``python -m … PATH``.

Requests come over its standard input, answers go over its standard output. It ends when the input does.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, Any, BinaryIO

from colbert_qdrant.qdrant.edge.client import EdgeClient
from colbert_qdrant.qdrant.edge.wire import HEADER, pack, pack_error, unpack

if TYPE_CHECKING:
    from collections.abc import Callable


def main(path: str) -> None:
    """Serve the store in a folder until the other side goes away."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all of a terminal's processes; the other one decides
    requests, answers = sys.stdin.buffer, _own_output()
    client: EdgeClient | None = None
    while (request := _read(requests)) is not None:
        if client is None:  # the first one only says that it is to be opened
            client = _answer(answers, request["id"], lambda: EdgeClient(path), shown=False)
            continue
        method: Any = getattr(client, request["method"])
        _answer(answers, request["id"], lambda: method(*request["arguments"], **request["named"]))  # noqa: B023
    if client is not None:
        client.close()


def _answer(answers: BinaryIO, number: int, call: Callable[[], Any], *, shown: bool = True) -> Any:
    try:
        result = call()
        message = pack({"id": number, "result": result if shown else None})
    except Exception as error:  # noqa: BLE001 - it is raised where the call comes from
        result, message = None, pack({"id": number, "error": pack_error(error)})
    answers.write(message)
    answers.flush()
    return result


def _read(requests: BinaryIO) -> Any:
    """The next request; ``None``: there is none any more."""
    header = requests.read(HEADER.size)
    if len(header) < HEADER.size:
        return None
    text, buffers = HEADER.unpack(header)
    body = requests.read(text + buffers)
    return unpack(body, text) if len(body) == text + buffers else None


def _own_output() -> BinaryIO:
    """Standard output; whatever else is printed goes to standard error from now on."""
    own = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return own


if __name__ == "__main__":
    main(sys.argv[1])
