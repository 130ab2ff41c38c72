"""Takes connections as a server does, and misbehaves on each of them: one thread, no answers."""

from __future__ import annotations

import selectors
import socket
import struct
import time
from contextlib import contextmanager, suppress
from threading import Event, Thread
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

Fault = Literal["drips in the head", "drips in the body", "never answers", "never reads", "resets"]

HEADS = {
    "drips in the head": b"HTTP/1.1 200 OK\r\n",
    "drips in the body": b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n",
}
DROPS = {"drips in the head": b"X: y\r\n", "drips in the body": b" "}
RESET = struct.pack("ii", 1, 0)


class Door:
    """What listens.

    Attributes:
        port: Where it listens.
        seen: How many connections came.
    """

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.seen = 0
        self._open: dict[socket.socket, bool] = {}
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._listening.setblocking(False)
        self.port = self._listening.getsockname()[1]
        self._ended = Event()
        self.thread = Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self._ended.is_set():
            self._accept()
            for connection in list(self._open):
                with suppress(BlockingIOError):
                    self._serve(connection)
            self._ended.wait(0.005)
        for connection in (self._listening, *self._open):
            connection.close()

    def _accept(self) -> None:
        with suppress(BlockingIOError):
            while True:
                connection, _ = self._listening.accept()
                connection.setblocking(False)
                self._open[connection] = False
                self.seen += 1

    def _serve(self, connection: socket.socket) -> None:
        try:
            stays = self._answer(connection)
        except ConnectionError:
            stays = False
        if not stays:
            del self._open[connection]
            connection.close()

    def _answer(self, connection: socket.socket) -> bool:
        """Go on with a connection; whether it is to stay open."""
        if self.fault == "never reads":
            return not _is_closed(connection)
        received = connection.recv(2**20) if _is_readable(connection) else None
        if received and self.fault == "resets":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            return False
        if self._open[connection]:
            connection.send(DROPS.get(self.fault, b""))
        elif received:
            self._open[connection] = True
            connection.send(HEADS.get(self.fault, b""))
        return received != b""

    def close(self) -> None:
        self._ended.set()
        self.thread.join()

    def wait_until_left(self) -> int:
        """Wait until the other side has closed all connections; how many it has not."""
        end = time.monotonic() + 2
        while self._open and time.monotonic() < end:
            time.sleep(0.005)
        return len(self._open)


def _is_readable(connection: socket.socket) -> bool:
    with selectors.DefaultSelector() as selector:
        selector.register(connection, selectors.EVENT_READ)
        return bool(selector.select(0))


def _is_closed(connection: socket.socket) -> bool:
    """Whether the other side closed it; what came before stays unread."""
    try:
        return connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1) != b"\x01"
    except OSError:
        return True


@contextmanager
def standing(fault: Fault) -> Iterator[Door]:
    """A door on a free port of this machine."""
    door = Door(fault)
    door.thread.start()
    try:
        yield door
    finally:
        door.close()
