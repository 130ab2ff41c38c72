"""Makes documents of rows, by the names of columns or by functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import Any, Final, TypeAlias
from uuid import UUID

from colbert_qdrant._support.values import plain
from colbert_qdrant.documents import Document
from colbert_qdrant.errors import ConfigurationError, InvalidDocumentError
from colbert_qdrant.shown import has, kind_of, shown
from colbert_qdrant.sources.item import BadRow, Item, RowDocument, SourceRow
from colbert_qdrant.sources.tables import is_table

Column: TypeAlias = str | int | Callable[[Any], Any]
"""The name of a column, the position of one in a tuple, or a function of the row."""

Columns: TypeAlias = Column | Sequence[str | int]
"""A column that holds a dict, several columns, or a function that returns a dict."""

_Parts: TypeAlias = tuple[Any, Any, Mapping[str, Any]]

_IDS: Final = ("id", "_id")
_TEXT: Final = "text"


@dataclass(frozen=True, kw_only=True)
class RowMapping:
    """Says which columns of a row are the id, the text and the payload of its document.

    Args:
        id: A column; by default ``id``, or else ``_id``. In a tuple, the first value.
        text: A column; by default ``text``. In a tuple, the second value.
        payload: One column that holds a dict, a list of columns, or a function that returns a dict. By default, all
            columns that are neither id nor text. In a tuple, the third value.

    Raises:
        ConfigurationError: If an argument is neither a column nor a function.
    """

    id: Column | None = None
    text: Column | None = None
    payload: Columns | None = None

    def __post_init__(self) -> None:
        for name in ("id", "text", "payload"):
            value = getattr(self, name)
            if name == "payload" and isinstance(value, list | tuple):
                value = _names(value)
            elif value is not None and not callable(value):
                value = plain(value)
                if not _is_name(value):
                    several = ", a list of columns" if name == "payload" else ""
                    raise ConfigurationError(
                        f"{name} must be the name of a column{several} or a function of the row, got {shown(value)}"
                    )
            object.__setattr__(self, name, value)

    @property
    def columns(self) -> tuple[str | int, ...] | None:
        """The columns that the mapping reads; ``None`` if it may read all."""
        payload = self.payload
        if payload is None or callable(self.id) or callable(self.text) or callable(payload):
            return None
        ids = _IDS if self.id is None else (self.id,)
        text = _TEXT if self.text is None else self.text
        several = payload if isinstance(payload, tuple) else (payload,)
        return tuple(dict.fromkeys([*ids, text, *several]))

    def item(self, row: SourceRow) -> Item:
        """Return the document of a row, or the error that the row has instead."""
        value = row.value
        try:
            if row.problem is not None:
                raise InvalidDocumentError(row.problem)  # noqa: TRY301
            if isinstance(value, Document):
                return value if not row.origin.name else _with_row(value, row)
            id, text, payload = self._parts(value)
            return RowDocument(id=id, text=text, payload=payload, row=row)
        except InvalidDocumentError as error:
            return BadRow(row, InvalidDocumentError(f"{row.where}: {error}"))

    def document(self, value: Any) -> Document:
        """Return the document of a row's value.

        Raises:
            InvalidDocumentError: If a column is missing, a function fails, or the value is not a row.
        """
        return value if isinstance(value, Document) else Document(*self._parts(value))

    def _parts(self, value: Any) -> _Parts:
        """Return the id, the text and the payload of a row's value."""
        if isinstance(value, dict):
            return self._of_dict(value)
        if isinstance(value, tuple | list):
            named = None if all(isinstance(each, int) for each in self._named()) else getattr(value, "_asdict", None)
            return self._of_tuple(value) if named is None else self._of_dict(named())
        if is_table(value):
            raise InvalidDocumentError(
                f"the row is a whole table, a {type(value).__name__}: pass one table, or a generator of the rows of all"
            )
        if isinstance(value, Mapping) or (has(value, "keys") and has(value, "__getitem__")):
            return self._of_dict(_as_dict(value))
        raise InvalidDocumentError(
            f"expected a Document, a dict or a tuple, got {type(value).__name__} {shown(value, 60)}: use "
            "Document(id=…, text=…)"
        )

    def _named(self) -> list[Any]:
        """Return the names and positions of columns, without functions."""
        payload = self.payload if isinstance(self.payload, tuple) else [self.payload]
        named = [each for each in (self.id, self.text, *payload) if each is not None and not callable(each)]
        return named or ["id"]

    def _of_dict(self, row: dict[Any, Any]) -> _Parts:
        id_column: Any = ("id" if "id" in row or "_id" not in row else "_id") if self.id is None else self.id
        text_column: Any = _TEXT if self.text is None else self.text
        payload = self.payload
        names = not callable(id_column) and not callable(text_column) and id_column != text_column
        if payload is None and names and id_column in row and text_column in row:  # the usual case, made fast
            others = dict(row)
            id, text = others.pop(id_column), others.pop(text_column)
            return id if type(id) is int or (type(id) is str and id) else self._id(id), text, others
        id, text = self._value("id", id_column, row), self._value("text", text_column, row)
        if payload is not None:
            return self._id(id), text, self._payload(payload, row)
        used = [*(_IDS if callable(id_column) else (id_column,)), _TEXT if callable(text_column) else text_column]
        return self._id(id), text, {key: each for key, each in row.items() if key not in used}

    def _of_tuple(self, row: Sequence[Any]) -> _Parts:
        chosen = (self.id, self.text, self.payload)
        if chosen == (None, None, None):
            if len(row) not in {2, 3}:
                raise InvalidDocumentError(
                    f"the {type(row).__name__} has length {len(row)}: use (id, text) or (id, text, payload), or pass "
                    "positions, such as id=0, text=3"
                )
            payload = row[2] if len(row) == 3 else None
            return self._id(row[0]), row[1], {} if payload is None else payload
        id = self._value("id", 0 if self.id is None else self.id, row)
        text = self._value("text", 1 if self.text is None else self.text, row)
        return self._id(id), text, {} if self.payload is None else self._payload(self.payload, row)

    def _payload(self, payload: Columns, row: Any) -> Mapping[str, Any]:
        if isinstance(payload, tuple):
            return {str(each): self._value("payload", each, row) for each in payload}
        value = self._value("payload", payload, row)  # type: ignore[arg-type]
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            raise InvalidDocumentError(
                f"payload is {shown(value, 60)}, {kind_of(value)}: use a column or a function with a dict, or "
                "a list of columns"
            )
        return value

    def _id(self, value: Any) -> Any:
        id = plain(value)
        if id is None or (isinstance(id, str) and not id) or (isinstance(id, float) and id != id):  # noqa: PLR0124 - NaN
            raise InvalidDocumentError(f"the id is missing ({value!r}): give every row an id, or leave the row out")
        if isinstance(id, dict) and [*id] == ["uuid"]:  # from a reject file
            try:
                return UUID(id["uuid"])
            except (ValueError, AttributeError, TypeError):
                return id
        return id

    def _value(self, name: str, column: Column, row: Any) -> Any:
        try:
            if not callable(column):
                return row[column]
        except (LookupError, TypeError):
            raise InvalidDocumentError(_missing(name, column, row, stated=getattr(self, name) is not None)) from None
        try:
            return column(row)
        except Exception as error:
            raise InvalidDocumentError(
                f"the function for {name} raised {type(error).__name__}: {error}: change it, or the row"
            ) from error


def _missing(name: str, column: Any, row: Any, *, stated: bool) -> str:
    """Describe a column that a row lacks."""
    if not isinstance(row, dict):
        if isinstance(column, str):
            return f"{kind_of(row)} has no column {column!r}: pass a position, such as {name}=0"
        return f"there is no position {column} in {len(row)} values: pass another {name}=…"
    there = ", ".join(shown(key, 60) for key in [*row][:30]) or "none"
    missing = "'id' or '_id'" if name == "id" and not stated else repr(column)
    return f"there is no column {missing}, and the columns are {there}: {_remedy(name, column, row)}"


def _remedy(name: str, column: Any, row: Mapping[Any, Any]) -> str:
    """Name the column that is meant, if one is similar to the missing one."""
    names = {each.lower(): each for each in row if _is_name(each) and isinstance(each, str)}
    similar = [names[each] for each in get_close_matches(str(column).lower(), names, n=1)]
    if name == "payload":
        return f"name {similar[0]!r} in payload" if similar else "name some of these in payload, or pass a function"
    pass_it = f"pass {name}={similar[0]!r}" if similar else f"pass the name of one as {name}=…"
    return f"{pass_it}, or a function of the row"


def _as_dict(row: Any) -> dict[Any, Any]:
    try:
        return {key: row[key] for key in row.keys()}  # noqa: SIM118 - a row of sqlite3 is no mapping
    except Exception as error:
        raise InvalidDocumentError(
            f"a {type(row).__name__} cannot be read ({type(error).__name__}: {error}): use a dict"
        ) from error


def _with_row(document: Document, row: SourceRow) -> RowDocument:
    return RowDocument(row=row, **{each.name: getattr(document, each.name) for each in fields(document)})


def _names(columns: Sequence[Any]) -> tuple[str | int, ...]:
    """Return the names in a list.

    Raises:
        ConfigurationError: If one is not a name.
    """
    try:
        names = tuple(map(plain, columns))
    except Exception:  # noqa: BLE001 - a caller's class of lists
        names = (None,)
    if not all(map(_is_name, names)):
        raise ConfigurationError(f"payload must list names of columns, got {shown(columns)}")
    return names


def _is_name(value: object) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool)
