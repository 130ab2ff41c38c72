"""Threads that share the cores: what they do, how many cores each has, and what is left of them after a fork."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest
import torch

from colbert_qdrant._support.workers import Workers

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def cores() -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield 4
    torch.set_num_threads(before)


def test_every_item_is_done_once_and_errors_are_raised(cores: int) -> None:
    done: list[int] = []
    Workers(2).run(done.append, range(50))
    assert sorted(done) == list(range(50))
    with pytest.raises(ZeroDivisionError):
        Workers(2).run(lambda number: 1 / number, [1, 0, 2])


@pytest.mark.parametrize(("most", "exclusive", "expected"), [(2, False, 2), (2, True, 1), (9, False, 1)])
def test_each_thread_has_its_share_and_torch_keeps_its_threads(
    cores: int, most: int, expected: int, *, exclusive: bool
) -> None:
    seen: list[tuple[int, int]] = []
    both = threading.Barrier(2)

    def work(number: int) -> None:
        both.wait(10)
        seen.append((threading.get_ident(), torch.get_num_threads()))

    Workers(most, exclusive=exclusive).run(work, range(4))
    assert {threads for _, threads in seen} == {expected}
    assert len({thread for thread, _ in seen} - {threading.get_ident()}) > 1
    assert torch.get_num_threads() == cores


def test_a_single_core_works_in_the_callers_thread(cores: int) -> None:
    torch.set_num_threads(1)
    seen: list[int] = []
    Workers(4).run(lambda number: seen.append(threading.get_ident()), range(3))
    assert seen == [threading.get_ident()] * 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_gets_threads_of_its_own(cores: int) -> None:
    workers = Workers(2)
    workers.run(lambda number: None, range(4))
    child = os.fork()
    if not child:
        done: list[int] = []
        workers.run(done.append, range(4))
        os._exit(len(done))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 4
