"""Asynchronous clients and classes behind blocking methods: one test says what has to be true of both."""

from __future__ import annotations

import asyncio
import inspect
from functools import wraps
from typing import TYPE_CHECKING, Any

import pytest

from colbert_qdrant import (
    AsyncColbertCollection,
    AsyncMigration,
    EdgeClient,
    LemurEncoder,
    MuveraEncoder,
)
from tests.contract.conftest import empty
from tests.encoders import WordEncoder

if TYPE_CHECKING:
    from types import ModuleType

CLASSES = {"ColbertCollection": AsyncColbertCollection, "Migration": AsyncMigration}
"""What stands for a class in a test that is run in an event loop."""

MODELS: dict[type, tuple[str, ...]] = {
    WordEncoder: ("encode_documents", "encode_queries", "fingerprint"),
    MuveraEncoder: ("__init__", "encode_documents", "encode_queries", "from_bytes"),
    LemurEncoder: ("encode_documents", "encode_queries", "from_bytes"),
}
"""What takes long, and must keep no event loop from its other tasks."""


def both_ways(*awaited: str) -> pytest.MarkDecorator:
    """Run a test with the blocking classes on every engine, and with the asynchronous ones on some."""
    return pytest.mark.parametrize(
        "client", ["memory", "edge", "model", *(f"awaited {kind}" for kind in awaited)], indirect=True
    )


class Awaited:
    """An asynchronous object, or a class of such: whatever its methods give is waited for in an event loop."""

    def __init__(self, target: Any, runner: asyncio.Runner) -> None:
        self._target = target
        self._runner = runner

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._target, name)
        return self._blocking(value) if callable(value) else value

    def __str__(self) -> str:
        return str(self._target)

    def __repr__(self) -> str:
        return repr(self._target).removeprefix("Async")

    def _blocking(self, method: Any) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            result = method(*map(plain, arguments), **{name: plain(value) for name, value in named.items()})
            if inspect.isawaitable(result):
                result = self._runner.run(as_coroutine(result))
            return Awaited(result, self._runner) if isinstance(result, tuple(CLASSES.values())) else result

        return call


async def as_coroutine(result: Any) -> Any:
    return await result


def plain(value: Any) -> Any:
    return value._target if isinstance(value, Awaited) else value


class AwaitedEdge(Awaited):
    """An asynchronous client of an embedded engine, which `isinstance` takes for the blocking one."""

    __class__ = EdgeClient  # type: ignore[assignment]

    def close(self) -> None:
        """The next test finds it open, and empty."""
        self._runner.run(empty(self._target))


def patch_classes(module: ModuleType, patch: pytest.MonkeyPatch, runner: asyncio.Runner) -> None:
    """Have a module of tests use the asynchronous classes, and no model run in the event loop."""
    for name, cls in CLASSES.items():
        if hasattr(module, name):
            patch.setattr(module, name, Awaited(cls, runner))
    for model, methods in MODELS.items():
        for method in methods:
            patch.setattr(model, method, outside_of_loops(model, method))


def outside_of_loops(cls: type, name: str) -> Any:
    """A method that refuses to be called in an event loop."""
    method = inspect.getattr_static(cls, name)
    function: Any = method.__func__ if isinstance(method, classmethod) else method

    @wraps(function)
    def guarded(*arguments: Any, **named: Any) -> Any:
        assert asyncio._get_running_loop() is None, f"{cls.__name__}.{name} keeps the event loop busy"
        return function(*arguments, **named)

    return classmethod(guarded) if isinstance(method, classmethod) else guarded
