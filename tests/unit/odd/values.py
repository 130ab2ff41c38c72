"""Odd values: nothing that a call of this library expects, or hardly."""

from __future__ import annotations

import array
import collections
import enum
import functools
import inspect
import io
import re
import threading
import types
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple, NoReturn
from unittest.mock import MagicMock
from uuid import UUID

import hypothesis.strategies as st
import numpy as np
import torch
from qdrant_client import models

import colbert_qdrant as cq


class OddError(RuntimeError):
    """What the methods of odd objects raise."""


def _raise(*_: object, **__: object) -> NoReturn:
    raise OddError("a method of the argument's own")


def _raising(*methods: str, base: type = object, arguments: tuple[Any, ...] = ()) -> Callable[[], Any]:
    kind = type("Raises", (base,), dict.fromkeys(methods, _raise))
    return lambda: kind(*arguments)


class _Colour(enum.Enum):
    RED = "red"


class _Level(enum.IntEnum):
    LOW = 1


class _Word(enum.StrEnum):
    RIVER = "river"


class _Odd:
    """Has nothing that anything could use."""


class _Pair(NamedTuple):
    a: int
    b: str


class _Text(str):
    __slots__ = ()


class _Number(int):
    pass


class _Everything:
    """Has every attribute, and each can be called."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __call__(self, *_: object, **__: object) -> Any:
        return self


class _Series:
    """Is like a column of pandas: it has no truth, compares by element, and can be made an array."""

    def __init__(self, values: Sequence[Any]) -> None:
        self.values = np.array(values)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return self.values.astype(dtype) if dtype else self.values

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.values)

    def __getitem__(self, key: Any) -> Any:
        return self.values[key]

    def __eq__(self, other: object) -> Any:
        return _Series(self.values == other)

    def __hash__(self) -> NoReturn:
        raise TypeError("unhashable type")

    def __bool__(self) -> NoReturn:
        raise ValueError("the truth value of a Series is ambiguous")


class _NotAvailable:
    """Is like pandas.NA."""

    def __bool__(self) -> NoReturn:
        raise TypeError("boolean value of NA is ambiguous")

    def __eq__(self, other: object) -> Any:
        return self

    def __lt__(self, other: object) -> Any:
        return self

    __gt__ = __le__ = __ge__ = __lt__
    __hash__ = object.__hash__


class _Endless:
    """Is a sequence without an end."""

    def __getitem__(self, index: int) -> str:
        return "river"


class _LyingSequence(collections.UserList[Any]):
    def __len__(self) -> int:
        return 7


def _itself() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


def _dict_of_itself() -> dict[str, Any]:
    value: dict[str, Any] = {}
    value["a"] = value
    return value


def _deep(wrap: Callable[[Any], Any], levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = wrap(value)
    return value


def _closed_file() -> io.BytesIO:
    file = io.BytesIO(b"x")
    file.close()
    return file


def _failing() -> Iterator[str]:
    yield "river"
    raise OddError("the generator's own")


async def _asynchronous() -> Any:
    yield "river"


ENDLESS: dict[str, Callable[[], Any]] = {
    "endless generator": lambda: ("river" for _ in iter(int, 1)),
    "endless sequence": _Endless,
    "endless range": lambda: range(10**18),
}
"""Where all that can be iterated over is taken, these are taken for ever."""

OWN = (
    "str whose __eq__ raises",
    "int whose comparison raises",
    "list whose __len__ raises",
    "dict whose methods raise",
    "mapping whose methods raise",
    "__call__ raises",
    "function that raises",
)
"""They are of a right type, and the error that their own methods raise is their caller's, as it is any function's."""

FAILING: dict[str, Callable[[], Any]] = {
    "generator that fails": _failing,
    "closed file": _closed_file,
    "__iter__ raises": _raising("__iter__"),
    "__getitem__ raises": _raising("__getitem__"),
    "list whose __iter__ raises": _raising("__iter__", base=list, arguments=(["a"],)),
    "__next__ raises": _raising("__next__", base=collections.abc.Iterator),
}
"""Where all that can be iterated over is taken, the error that ends an iteration is the caller's own."""

ODD: dict[str, Callable[[], Any]] = {
    "None": lambda: None,
    "True": lambda: True,
    "False": lambda: False,
    "zero": lambda: 0,
    "one": lambda: 1,
    "negative": lambda: -1,
    "half": lambda: 2.5,
    "minus zero": lambda: -0.0,
    "largest float": lambda: 1.7e308,
    "nan": lambda: float("nan"),
    "infinity": lambda: float("inf"),
    "minus infinity": lambda: float("-inf"),
    "2**31": lambda: 2**31,
    "2**63": lambda: 2**63,
    "2**64": lambda: 2**64,
    "huge": lambda: 10**30,
    "less than any float": lambda: -(10**400),
    "too long to print": lambda: 10**5000,
    "complex": lambda: 1j,
    "empty text": lambda: "",
    "blank": lambda: "  ",
    "digits": lambda: "5",
    "word": lambda: "river",
    "nul": lambda: "a\0b",
    "surrogate": lambda: "\ud800",
    "long text": lambda: "x" * 5000,
    "lines": lambda: "a\nb\r\n",
    "escape": lambda: "\x1b[31m",
    "right to left": lambda: "\u202eabc",
    "upwards": lambda: "../up",
    "path of a payload": lambda: "a[].b",
    "broken path": lambda: "a[",
    "URL": lambda: "http://localhost:1/x",
    "memory": lambda: ":memory:",
    "format": lambda: "{0} %s %",
    "bytes": lambda: b"river",
    "bytearray": lambda: bytearray(b"\0\1"),
    "memoryview": lambda: memoryview(b"river"),
    "array": lambda: array.array("d", [1.0, 2.0]),
    "no list": list,
    "list of None": lambda: [None],
    "list of words": lambda: ["river", "bridge"],
    "list of numbers": lambda: [1, 2, 3],
    "list of NaN": lambda: [float("nan")],
    "list of booleans": lambda: [True, False],
    "list of huge numbers": lambda: [10**30],
    "list of surrogates": lambda: ["\ud800"],
    "list of objects": lambda: [_Odd()],
    "list of lists": lambda: [[1.0, 2.0], [3.0]],
    "list in itself": _itself,
    "deep list": lambda: _deep(lambda value: [value], 5000),
    "list of 100 levels": lambda: _deep(lambda value: [value], 100),
    "tuple": lambda: (1, "a"),
    "no tuple": tuple,
    "named tuple": lambda: _Pair(1, "a"),
    "no dict": dict,
    "dict": lambda: {"a": 1},
    "dict with odd keys": lambda: {1: None, None: object()},
    "dict with an empty key": lambda: {"": 1},
    "dict with a surrogate": lambda: {"\ud800": "\ud800"},
    "dict with NUL": lambda: {"a\0": 1},
    "dict with tuples": lambda: {(1, 2): 3},
    "dict of None": lambda: {"a": None},
    "dict of lists": lambda: {"a": [1, None, "b"]},
    "dict in itself": _dict_of_itself,
    "deep dict": lambda: _deep(lambda value: {"a": value}, 5000),
    "dict of 100 levels": lambda: _deep(lambda value: {"a": value}, 100),
    "ordered": lambda: OrderedDict(x=[1]),
    "defaultdict": lambda: collections.defaultdict(list, a=1),
    "counter": lambda: collections.Counter("river"),
    "chain": lambda: collections.ChainMap({"a": 1}, {"b": 2}),
    "proxy": lambda: types.MappingProxyType({"a": 1}),
    "user dict": lambda: collections.UserDict(a=1),
    "deque": lambda: collections.deque([1, 2]),
    "keys": {"a": 1}.keys,
    "items": {"a": 1}.items,
    "lying sequence": lambda: _LyingSequence([1, 2]),
    "set": lambda: {"a", "b"},
    "frozenset": frozenset,
    "range": lambda: range(3),
    "slice": lambda: slice(1, 2),
    "generator": lambda: (word for word in ["river", "bridge"]),
    "no generator": lambda: iter(()),
    "zip": lambda: zip([1], ["a"], strict=True),
    "map": lambda: map(str, [1, 2]),
    "async generator": _asynchronous,
    "object": _Odd,
    "class": lambda: _Odd,
    "type": lambda: int,
    "function": lambda: lambda *_, **__: None,
    "function that raises": lambda: _raise,
    "partial": lambda: functools.partial(int, base=2),
    "module": lambda: inspect,
    "lock": threading.Lock,
    "pattern": lambda: re.compile("a"),
    "file": lambda: io.BytesIO(b"x"),
    "text file": lambda: io.StringIO("river"),
    "path": lambda: Path("there/is/none"),
    "path with NUL": lambda: Path("a\0b"),
    "path with a surrogate": lambda: Path("\ud800"),
    "int64": lambda: np.int64(3),
    "uint64": lambda: np.uint64(2**64 - 1),
    "float32": lambda: np.float32(0.5),
    "NaN of float16": lambda: np.float16("nan"),
    "numpy bool": lambda: np.bool_(True),
    "numpy text": lambda: np.str_("river"),
    "numpy bytes": lambda: np.bytes_(b"river"),
    "datetime64": lambda: np.datetime64("2024-01-01"),
    "NaT": lambda: np.datetime64("NaT"),
    "void": lambda: np.void(b"abc"),
    "dtype": lambda: np.dtype("f4"),
    "vector": lambda: np.ones(3),
    "matrix": lambda: np.ones((2, 32), np.float32),
    "cube": lambda: np.ones((2, 2, 2)),
    "empty array": lambda: np.empty(0),
    "empty matrix": lambda: np.empty((0, 32), np.float32),
    "matrix without columns": lambda: np.empty((2, 0)),
    "array of objects": lambda: np.array([None, "a"], dtype=object),
    "array of texts": lambda: np.array(["river", "bridge"]),
    "array of bytes": lambda: np.array([b"river"]),
    "array of booleans": lambda: np.array([True, False]),
    "array of complex": lambda: np.array([1j]),
    "array of NaN": lambda: np.full((2, 32), np.nan, np.float16),
    "array of datetimes": lambda: np.array(["2024-01-01"], "M8[D]"),
    "array of one number": lambda: np.array(5),
    "array of one object": lambda: np.array(None, dtype=object),
    "structured array": lambda: np.zeros(2, [("a", "i4"), ("b", "f8")]),
    "masked array": lambda: np.ma.masked_array(np.ones((2, 32)), mask=True),
    "masked": lambda: np.ma.masked,
    "big-endian": lambda: np.ones((2, 32), ">f4"),
    "strided": lambda: np.ones((4, 64))[::2, ::2],
    "tensor": lambda: torch.ones(2, 32),
    "tensor of one number": lambda: torch.tensor(5),
    "tensor of bfloat16": lambda: torch.ones(2, 32, dtype=torch.bfloat16),
    "tensor with a gradient": lambda: torch.ones(2, 32, requires_grad=True),
    "tensor without data": lambda: torch.ones(2, 32, device="meta"),
    "sparse tensor": lambda: torch.eye(3).to_sparse(),
    "torch device": lambda: torch.device("cpu"),
    "torch dtype": lambda: torch.float16,
    "torch module": lambda: torch.nn.Linear(2, 2),
    "series": lambda: _Series([1.0, 2.0]),
    "series of words": lambda: _Series(["river", "bridge"]),
    "NA": _NotAvailable,
    "datetime": lambda: datetime(2024, 1, 1, tzinfo=UTC),
    "naive datetime": lambda: datetime(2024, 1, 1),
    "last datetime": lambda: datetime.max,
    "date": lambda: date(2024, 1, 1),
    "time": lambda: time(12),
    "timedelta": lambda: timedelta(seconds=1),
    "UUID": lambda: UUID(int=7),
    "Decimal": lambda: Decimal("1.5"),
    "NaN of Decimal": lambda: Decimal("nan"),
    "signalling NaN": lambda: Decimal("snan"),
    "Fraction": lambda: Fraction(1, 3),
    "enum": lambda: _Colour.RED,
    "int enum": lambda: _Level.LOW,
    "text enum": lambda: _Word.RIVER,
    "subclass of str": lambda: _Text("river"),
    "subclass of int": lambda: _Number(3),
    "Document": lambda: cq.Document("a", "river"),
    "document of nothing": lambda: cq.Document(None, None, None, None),  # type: ignore[arg-type]
    "tokens": lambda: cq.TokenEmbeddings(np.ones((2, 7)), [1, 1]),
    "settings": cq.CollectionConfig,
    "secret": lambda: cq.Secret("x"),
    "filter": lambda: models.Filter(must=[]),
    "filter of nothing": lambda: models.Filter.model_construct(must=5, should=[None]),
    "condition": lambda: models.FieldCondition(key="a", match=models.MatchValue(value=1)),
    "condition of nothing": lambda: models.FieldCondition.model_construct(key=None, match=7),
    "sparse vector": lambda: models.SparseVector(indices=[1], values=[0.5]),
    "sparse vector of nothing": lambda: models.SparseVector.model_construct(indices="a", values=None),
    "point": lambda: models.PointStruct(id=1, vector={}),
    "point of nothing": lambda: models.PointStruct.model_construct(id=None, vector=5, payload=[]),
    "request": lambda: models.QueryRequest(limit=3),
    "request of nothing": lambda: models.QueryRequest.model_construct(query=object(), prefetch=7, limit="a"),
    "text to encode": lambda: models.Document(text="river", model="none"),
    "error": lambda: ValueError("odd"),
    "error class": lambda: KeyError,
    "ellipsis": lambda: ...,
    "NotImplemented": lambda: NotImplemented,
    "everything": _Everything,
    "mock": MagicMock,
    "__repr__ raises": _raising("__repr__"),
    "__str__ raises": _raising("__str__", "__repr__", "__format__"),
    "__len__ raises": _raising("__len__"),
    "__eq__ raises": _raising("__eq__"),
    "__hash__ raises": _raising("__hash__"),
    "__bool__ raises": _raising("__bool__"),
    "__array__ raises": _raising("__array__"),
    "__float__ raises": _raising("__float__", "__int__", "__index__"),
    "__getattr__ raises": _raising("__getattr__"),
    "__fspath__ raises": _raising("__fspath__"),
    "__call__ raises": _raising("__call__"),
    "str whose __repr__ raises": _raising("__repr__", "__str__", "__format__", base=str, arguments=("river",)),
    "str whose __eq__ raises": _raising("__eq__", "__hash__", base=str, arguments=("river",)),
    "int whose __repr__ raises": _raising("__repr__", "__str__", "__format__", base=int, arguments=(-3,)),
    "int whose comparison raises": _raising("__lt__", "__gt__", "__le__", "__ge__", "__eq__", base=int, arguments=(3,)),
    "float whose __repr__ raises": _raising("__repr__", "__str__", "__format__", base=float, arguments=(-0.5,)),
    "list whose __repr__ raises": _raising("__repr__", base=list, arguments=([None],)),
    "list whose __len__ raises": _raising("__len__", base=list, arguments=([1],)),
    "dict whose __repr__ raises": _raising("__repr__", base=dict, arguments=({1: 2},)),
    "dict whose methods raise": _raising(
        "__iter__", "__getitem__", "__contains__", "items", "keys", "values", "get", base=dict, arguments=({"a": 1},)
    ),
    "mapping whose methods raise": _raising("__iter__", "__getitem__", "__len__", base=Mapping),
    "list of what cannot be shown": lambda: [_raising("__repr__")()],
    "dict of what cannot be shown": lambda: {"a": _raising("__repr__")()},
    **ENDLESS,
    **FAILING,
}
"""Each makes its value anew, for an iterator can be used once."""

_finite = st.sampled_from(sorted(set(ODD) - set(ENDLESS)))
_hashable = ["None", "True", "zero", "nan", "huge", "empty text", "surrogate", "nul", "tuple", "UUID", "enum", "object"]


def _nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    several = st.lists(inner, max_size=3)
    keys = st.sampled_from(_hashable).map(lambda name: ODD[name]()) | st.sampled_from(["a", "n", "text", "gte", "must"])
    return st.one_of(
        several,
        several.map(tuple),
        several.map(iter),
        several.map(collections.deque),
        st.dictionaries(keys, inner, max_size=3),
        st.dictionaries(keys, inner, max_size=3).map(types.MappingProxyType),
        st.builds(cq.Document, inner, inner, inner, inner),
        st.builds(lambda must, key: models.Filter.model_construct(must=must, should=key), inner, inner),
        st.builds(
            lambda one, vector: models.PointStruct.model_construct(id=one, vector=vector, payload=one), inner, inner
        ),
    )


MIXED: st.SearchStrategy[Any] = _nested(st.recursive(_finite.map(lambda name: ODD[name]()), _nested, max_leaves=4))
"""Odd values in lists, dicts, documents and points of odd values."""
