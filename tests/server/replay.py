"""Asks the model what a real server was asked, and compares the answers."""

from __future__ import annotations

import http.client
import json
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_CUT: Final = re.compile(r"… (\d+) (numbers|items)")
_NUMBER: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|-?\d+(\.\d+)?")
_VOLATILE: Final = frozenset(
    {"operation_id", "version", "time", "peer_id", "indexed_vectors_count", "segments_count", "length"}
)
"""What depends on how often, and how long ago, something was done."""
_USERS: Final = frozenset({"payload", "id"})
"""What has another shape in each collection."""
_CONTENT: Final = "application/json"


@dataclass(frozen=True)
class Exchange:
    """One request to a real server, and what it answered."""

    case: str
    method: str
    path: str
    request: Any
    status: int
    response: Any
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def error(self) -> str:
        """The server's words, if it refused."""
        return "" if self.status == 200 else str(self.response.get("status", {}).get("error", ""))


def read(path: Path) -> list[Exchange]:
    """The exchanges of a recording."""
    return [_whole(Exchange(**{"case": "", **json.loads(line)})) for line in path.read_text("utf-8").splitlines()]


def _whole(exchange: Exchange) -> Exchange:
    """Makes a text that the recording cut as long as the server says that it was."""
    size = re.match(r"JSON payload \((\d+) bytes\)", exchange.error)
    if size is None:
        return exchange
    return replace(exchange, request={"raw": exchange.request["raw"].ljust(int(size[1]), "a")})


class Client:
    """Sends requests as they were recorded."""

    def __init__(self, url: str) -> None:
        self._connection = http.client.HTTPConnection(url.removeprefix("http://"))

    def send(self, method: str, path: str, body: Any = None) -> Exchange:
        """Sends one, whose cut lists are made as long as they were; gives what came back."""
        content = "" if body is None else body["raw"] if "raw" in body else json.dumps(filled(body))
        self._connection.request(method, path, content.encode(), {"Content-Type": _CONTENT})
        answer = self._connection.getresponse()
        text = answer.read().decode()
        is_json = answer.headers.get("content-type") == _CONTENT and text
        headers = {name.lower(): value for name, value in answer.headers.items()}
        return Exchange("", method, path, body, answer.status, json.loads(text) if is_json else {"raw": text}, headers)

    def close(self) -> None:
        self._connection.close()


def filled(value: Any) -> Any:
    """Makes lists that the recording cut as long as they were."""
    if isinstance(value, dict):
        return {name: filled(each) for name, each in value.items()}
    if not isinstance(value, list):
        return value
    cut = _CUT.fullmatch(value[-1]) if value and isinstance(value[-1], str) else None
    if cut is None:
        return [filled(each) for each in value]
    kept = [filled(each) for each in value[:-1]]
    missing = int(cut[1]) - len(kept)
    last = max(kept) if all(type(each) is int for each in kept) else kept[-1]
    return kept + [_another(last, number) for number in range(missing)]


def length(value: list[Any]) -> int:
    """How long a list was before the recording cut it."""
    cut = _CUT.fullmatch(value[-1]) if isinstance(value[-1], str) else None
    return int(cut[1]) if cut else len(value)


def _another(last: Any, number: int) -> Any:
    if isinstance(last, bool | str):
        return last
    if isinstance(last, int):
        return last + number + 1
    if isinstance(last, dict) and "id" in last:
        id = last["id"]
        return {**last, "id": id + number + 1 if isinstance(id, int) else id[:-6] + f"{number:06x}"}
    return last


def differences(wanted: Exchange, got: Exchange, *, values: bool) -> Iterator[str]:
    """What is different: status, words up to numbers, shape, and the values too if they can be the same."""
    if wanted.status != got.status:
        yield f"status {wanted.status} but {got.status}: {got.response}"
    elif ("retry-after" in wanted.headers) != ("retry-after" in got.headers):
        yield f"headers {wanted.headers} but {got.headers}"
    elif wanted.status != 200:
        if words(wanted.error) != words(got.error):
            yield f"{wanted.error!r} but {got.error!r}"
    else:
        yield from _compared("", wanted.response, got.response, values)


def words(text: str) -> str:
    """A message without its numbers and ids."""
    return _NUMBER.sub("N", text)


def _compared(place: str, wanted: Any, got: Any, values: bool) -> Iterator[str]:
    if isinstance(wanted, dict) and isinstance(got, dict):
        if wanted.keys() != got.keys():
            yield f"{place}: {sorted(wanted)} but {sorted(got)}"
        for name in wanted.keys() & got.keys() - set(() if values else _USERS):
            yield from _compared(f"{place}.{name}", wanted[name], got[name], values and name not in _VOLATILE)
    elif isinstance(wanted, list) and isinstance(got, list):
        yield from _compared_lists(place, wanted, got, values)
    elif isinstance(wanted, str) and "…" in wanted:
        if not isinstance(got, str):
            yield f"{place}: a text but {got!r}"
    elif isinstance(wanted, int | float) and isinstance(got, int | float) and not isinstance(wanted, bool):
        if values and abs(wanted - got) > 1e-6 * max(1.0, abs(wanted)):
            yield f"{place}: {wanted} but {got}"
    elif type(wanted) is not type(got) or (values and wanted != got):
        yield f"{place}: {wanted!r} but {got!r}"


def _compared_lists(place: str, wanted: list[Any], got: list[Any], values: bool) -> Iterator[str]:
    cut = _CUT.fullmatch(wanted[-1]) if wanted and isinstance(wanted[-1], str) else None
    length, kept = (int(cut[1]), wanted[:-1]) if cut else (len(wanted), wanted)
    if values and length != len(got):
        yield f"{place}: {length} but {len(got)}"
    if kept and not got:
        yield f"{place}: {len(kept)} but none"
    if values and not cut and all(isinstance(each, dict) and "score" in each for each in (*kept, *got)):
        # of equal scores any come, in any order
        scores = [[point["score"] for point in points] for points in (kept, got)]
        if [round(score or 0.0, 5) for score in scores[0]] != [round(score or 0.0, 5) for score in scores[1]]:
            yield f"{place}: scores {scores[0]} but {scores[1]}"
        values = False
    if values and all(isinstance(each, dict) and "hits" in each for each in (*kept, *got)):
        # groups whose best points are equal, too
        kept, got = (sorted(each, key=lambda group: str(group["id"])) for each in (kept, got))
    for number, (one, other) in enumerate(zip(kept, got, strict=False)):
        yield from _compared(f"{place}[{number}]", one, other, values)
