"""Listens on a socket for requests to the model."""

from __future__ import annotations

import json
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, urlsplit

from pydantic_core import to_json

from tests.server.model import VERSION, Model, NoRouteError, Query
from tests.server.refusals import RefusedError, bad_format
from tests.server.snapshots import from_form
from tests.server.vectors import has_infinity

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAX_BODY: Final = 33_554_432
_TEXTS: Final = {"/healthz": b"healthz check passed", "/readyz": b"all shards are ready"}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    model: Model

    def handle_any(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urlsplit(self.path)
        try:
            if self.command == "GET" and url.path in _TEXTS:
                self._send(200, _TEXTS[url.path], "text/plain")
            elif self.command == "GET" and url.path == "/":
                self._send(200, to_json(VERSION))
            else:
                kind = self.headers.get("Content-Type") or ""
                body = from_form(raw, kind) if kind.startswith("multipart/form-data") else _parsed(raw)
                query = Query(parse_qsl(url.query))
                result = self.model.answer(self.command, url.path, query, body)
                if isinstance(result, bytes):
                    return self._send(200, result, "application/octet-stream")
                self._send(200, to_json({"result": result, "status": "ok", "time": 0.0}, inf_nan_mode="null"))
        except RefusedError as refusal:
            body = {"status": {"error": refusal.text}, "time": 0.0}
            self._send(refusal.status, to_json(body), retry_after=refusal.retry_after)
        except NoRouteError:
            self._send(404, b"")
        except Exception as error:  # noqa: BLE001 - the test that asked is to see it
            self._send(500, to_json({"status": {"error": f"the model itself failed: {error!r}"}, "time": 0.0}))

    do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = handle_any  # noqa: N815 - names of the base class

    def _send(
        self, status: int, body: bytes, kind: str = "application/json", *, retry_after: int | None = None
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if retry_after is not None:
            self.send_header("Retry-After", str(retry_after))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing."""


class _Listener(ThreadingHTTPServer):
    request_queue_size = 64
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a connection that its client gave up; what the model itself raises is a test's failure."""


def _parsed(raw: bytes) -> Any:
    if len(raw) > MAX_BODY:
        text = f"JSON payload ({len(raw)} bytes) is larger than allowed (limit: {MAX_BODY} bytes)."
        raise RefusedError(400, text)
    try:
        body = json.loads(raw or b"{}")
    except json.JSONDecodeError as error:
        cut = error.pos >= len(raw) - 1 and raw[:1] == b"{"
        raise bad_format("EOF while parsing an object" if cut else "expected value") from error
    if has_infinity(body):
        raise bad_format("number out of range")
    return body


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Runs the model; gives its address."""
    model = Model(folder)
    server = _Listener(("127.0.0.1", 0), type("Handler", (_Handler,), {"model": model}))
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        model.close()
