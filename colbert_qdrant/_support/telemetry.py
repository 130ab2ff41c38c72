"""Records OpenTelemetry spans if its API is installed (extra ``telemetry``).

Requests are client spans, and follow the semantic conventions for databases
(https://opentelemetry.io/docs/specs/semconv/database). No span contains a vector, a payload, a text, a key or a
server's message, which may quote them.
"""

from __future__ import annotations

from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_SYSTEM: Final = "qdrant"
_INSTALLED: Final = bool(find_spec("opentelemetry") and find_spec("opentelemetry.trace"))


@contextmanager
def operation(name: str, **attributes: Any) -> Iterator[None]:
    """Record a span for an operation of this library; spans of its requests are its children."""
    with _span(f"colbert_qdrant.{name}", {f"colbert_qdrant.{key}": value for key, value in attributes.items()}):
        yield


@contextmanager
def request(name: str, collection: str, address: tuple[str, int] | None) -> Iterator[dict[str, Any]]:
    """Record a span for a database request; ``address`` is the host and port of a server.

    Yields:
        A dict for attributes that are known only at the end.
    """
    attributes: dict[str, Any] = {"db.system.name": _SYSTEM, "db.operation.name": name}
    if collection:
        attributes["db.collection.name"] = collection
    if address is not None:
        attributes["server.address"], attributes["server.port"] = address
    later: dict[str, Any] = {}
    with _span(f"{name} {collection}".strip(), attributes, later, client=True):
        yield later


@contextmanager
def _span(
    name: str, attributes: Mapping[str, Any], later: Mapping[str, Any] | None = None, *, client: bool = False
) -> Iterator[None]:
    if not _INSTALLED:
        yield
        return
    from opentelemetry import trace  # noqa: PLC0415 - an optional extra

    kind = trace.SpanKind.CLIENT if client else trace.SpanKind.INTERNAL
    tracer = trace.get_tracer("colbert_qdrant")
    with tracer.start_as_current_span(
        name, kind=kind, attributes=attributes, record_exception=False, set_status_on_exception=False
    ) as span:
        try:
            yield
        except BaseException as error:
            span.set_attribute("error.type", type(error).__qualname__)
            span.set_status(trace.StatusCode.ERROR)
            raise
        finally:
            span.set_attributes(later or {})
