"""No public call fails with an error of somebody else's, hangs, or writes something that it refuses."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, Phase, given, settings

import colbert_qdrant as cq
from tests.unit.odd.calls import EXCEPTIONS, Call, inner_calls, public_calls
from tests.unit.odd.values import ENDLESS, FAILING, MIXED, ODD, OWN, OddError
from tests.unit.odd.world import World
from tests.unit.public_api import NAMES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ALL = os.environ.get("COLBERT_QDRANT_ODD") == "all"
PARTS = 6
SLOW = (
    "fde_report",
    "evaluate",
    "inspect",
    "from_pretrained",
    "LemurEncoder.fit",
    "Migration",
    "Async",
    "attach_async",
    "connect",
)
"""Words in the names of calls that take long, or whose stores do: they get fewer values."""

LONGEST = 20
"""Seconds after which a call hangs."""

FOLDERS = ("path", "cache", "resume", "folder")
"""Parameters that name what is to be written."""

FUNCTIONS = ("by", "text", "confirm", "reranker", "retriever", "auth_token_provider")
"""Parameters that take functions, whose errors are their caller's."""


class TooLongError(BaseException):
    """A call did not come to its end."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("world"))
    yield made
    made.renew()
    made.runner.close()


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # a text may be a path
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def values_for(call: Call, parameter: str, chance: random.Random) -> list[str]:
    """The odd values that a parameter is tried with."""
    names = [name for name in ODD if not (name in ENDLESS and parameter in call.iterated)]
    few = int(chance.random() < 0.3) if any(word in call.name for word in SLOW) else 2
    return names if ALL else chance.sample(names, few)


class Trial:
    """Makes calls with odd arguments, one after the other, and finds out what they should not do."""

    def __init__(self, world: World) -> None:
        self.world, self.wrong = world, list[str]()
        self._before: dict[str, Any] = {}

    def make(self, call: Call, parameter: str, odd: str, value: Callable[[], Any]) -> None:
        name = f"{call.name}({parameter}={odd})"
        before = self._contents(call.client)
        refused = True
        try:
            _bounded(call, {**call.good(), parameter: value()})
            refused = False
        except cq.ColbertQdrantError:
            pass
        except TooLongError:
            self.wrong.append(f"{name} hangs")
        except Exception as error:  # noqa: BLE001 - that is the question
            if not _is_the_callers(error, call, parameter, odd):
                self.wrong.append(f"{name}: {type(error).__name__}: {error!s:.100}")
        for left in Path.cwd().iterdir():
            if parameter not in FOLDERS:
                self.wrong.append(f"{name} wrote {left.name!r}")
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        if call.client is not None and self.world.contents(call.client) != before:
            if refused:
                self.wrong.append(f"{name} was refused, and has written")
            self.world.renew()
            self._before.clear()

    def _contents(self, client: str | None) -> Any:
        if client is not None and client not in self._before:
            self._before[client] = self.world.contents(client)
        return None if client is None else self._before[client]


def _is_the_callers(error: Exception, call: Call, parameter: str, odd: str) -> bool:
    """An iterator, a function, or a subclass of the right type raises what it likes."""
    if parameter in FUNCTIONS:
        return callable(ODD[odd]()) if odd in ODD else True
    return (odd in FAILING and parameter in call.iterated) or (odd in OWN and isinstance(error, OddError))


def _bounded(call: Call, arguments: dict[str, Any]) -> None:
    def end(*_: object) -> NoReturn:
        raise TooLongError

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, LONGEST)
    try:
        answer = call.function(**arguments)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    if isinstance(answer, cq.EdgeClient):
        answer.close()


@pytest.mark.timeout(3600 if ALL else 300, method="thread")  # the signal is this test's
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.filterwarnings("ignore")
def test_odd_arguments_are_taken_or_refused_with_an_error_of_this_library(world: World, part: int) -> None:
    """Each parameter of each call gets some of the values; ``COLBERT_QDRANT_ODD=all`` tries all of them."""
    trial, chance = Trial(world), random.Random(part)
    for call in itertools.islice(itertools.chain(public_calls(world), inner_calls(world)), part, None, PARTS):
        for parameter in call.parameters:
            for odd in values_for(call, parameter, chance):
                trial.make(call, parameter, odd, ODD[odd])
    assert trial.wrong == []


@pytest.mark.timeout(300, method="thread")
@pytest.mark.filterwarnings("ignore")
def test_mixtures_of_odd_values_are_taken_or_refused_with_an_error_of_this_library(world: World) -> None:
    calls = [
        (call, parameter)
        for call in itertools.chain(public_calls(world), inner_calls(world))
        if not any(word in call.name for word in SLOW)
        for parameter in call.parameters
        if parameter not in (*FOLDERS, *FUNCTIONS)
    ]

    @settings(
        max_examples=5000 if ALL else 200,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.sampled_from(calls), MIXED)
    def tried(place: tuple[Call, str], value: Any) -> None:
        trial.make(*place, "a mixture", lambda: value)

    trial = Trial(world)
    tried()
    assert trial.wrong == []


def test_every_public_name_is_called_or_excepted(world: World) -> None:
    """All but errors, dicts of options, protocols, and what only comes back from calls."""
    called = {call.name.split(".")[0] for call in public_calls(world)}
    results = {name for name in NAMES if _comes_back(getattr(cq, name))}
    assert set(NAMES) - called - results - set(EXCEPTIONS) == set()


def _comes_back(value: Any) -> bool:
    if not isinstance(value, type):
        return False
    plain = hasattr(value, "__dataclass_fields__") and not hasattr(value, "__post_init__")
    return issubclass(value, Exception | dict) or getattr(value, "_is_protocol", False) or plain


def test_there_are_200_odd_values() -> None:
    assert len(ODD) >= 200


def test_a_call_that_writes_before_it_refuses_is_found(world: World) -> None:
    """The tests above can fail: a call that hangs, raises or writes is told of."""

    def writes_first(ids: Any) -> None:
        world.docs.delete(ids=[0])
        raise cq.ConfigurationError(f"no {ids}")

    def makes_folder(ids: Any) -> None:
        Path("made").mkdir()
        raise KeyError(ids)

    def call(function: Callable[[Any], None]) -> Call:
        return Call(name="f", function=function, good=lambda: {"ids": 1}, client="edge", parameters=("ids",))

    trial = Trial(world)
    trial.make(call(makes_folder), "ids", "zero", ODD["zero"])
    trial.make(call(writes_first), "ids", "zero", ODD["zero"])
    assert trial.wrong == [
        "f(ids=zero): KeyError: 0",
        "f(ids=zero) wrote 'made'",
        "f(ids=zero) was refused, and has written",
    ]
