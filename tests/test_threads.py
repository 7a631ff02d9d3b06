"""Ordered work in threads: order, errors, how far it runs ahead, and what it leaves behind."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import Iterator

import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from vasa_cli.threads import AHEAD, ahead, each_within, in_order


def test_results_keep_the_order_of_items_that_end_in_another() -> None:
    def work(k: int) -> int:
        time.sleep(0.02 * (k % 3 == 0))
        return k * k

    assert list(in_order(work, range(20), n_threads=4)) == [k * k for k in range(20)]


@pytest.mark.parametrize("n_threads", [1, 3])
def test_work_runs_in_so_many_threads_and_not_in_the_callers(n_threads: int) -> None:
    together = threading.Barrier(n_threads, timeout=10)

    def work(k: int) -> str:
        together.wait()
        return threading.current_thread().name

    names = set(in_order(work, range(2 * n_threads), n_threads=n_threads))
    assert len(names) == n_threads and threading.current_thread().name not in names


def test_each_thread_computes_on_one_core_and_the_caller_on_as_many_as_before() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        counts = set(in_order(lambda k: torch.get_num_threads(), range(6), n_threads=2))
        assert counts == {1} and torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_blas_computes_on_one_core_meanwhile_and_as_before_then() -> None:
    def blas() -> list[int]:
        return [lib["num_threads"] for lib in threadpool_info() if lib["user_api"] == "blas"]

    with threadpool_limits(limits=2, user_api="blas"):
        before, counts = blas(), list(in_order(lambda k: blas(), range(3), n_threads=2))
        assert before and set(before) == {2} and blas() == before
    assert counts == [[1] * len(before)] * 3


def test_an_error_comes_in_the_place_of_its_result() -> None:
    def work(k: int) -> int:
        if k == 2:
            raise OSError("gone")
        return k

    results, seen = in_order(work, range(10), n_threads=2), []
    with pytest.raises(OSError, match="gone"):
        for result in results:
            seen.append(result)
    assert seen == [0, 1]


def test_items_that_fail_are_raised_too() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        list(in_order(lambda k: k, items(), n_threads=2))


def test_little_is_begun_before_it_is_taken() -> None:
    begun: list[int] = []

    def work(k: int) -> int:
        begun.append(k)
        return k

    for taken, _ in enumerate(in_order(work, range(30), n_threads=2)):
        time.sleep(0.002)
        assert len(begun) <= taken + 1 + 2 + AHEAD


def test_closed_early_it_drops_the_rest_and_ends_its_threads() -> None:
    begun: list[int] = []
    before = threading.active_count()
    results = in_order(lambda k: begun.append(k), range(100), n_threads=2)
    next(results)
    results.close()  # type: ignore[attr-defined]
    assert len(begun) <= 2 + AHEAD and threading.active_count() == before


def test_a_context_holds_while_an_item_is_made_and_not_between() -> None:
    depth: list[int] = []

    @contextmanager
    def within() -> Iterator[None]:
        depth.append(1)
        yield
        depth.pop()

    def items() -> Iterator[int]:
        for _ in range(3):
            yield len(depth)

    found = each_within(within, items())
    assert [(inside, len(depth)) for inside in found] == [(1, 0)] * 3 and not depth


def test_items_are_made_ahead_in_a_thread_of_their_own_and_closed() -> None:
    made, names, closed = [], set(), []

    def items() -> Iterator[int]:
        try:
            for k in range(100):
                made.append(k)
                names.add(threading.current_thread().name)
                yield k
        finally:
            closed.append(True)

    coming = ahead(items(), 3)
    assert [next(coming) for _ in range(5)] == list(range(5))
    coming.close()
    assert 5 <= len(made) <= 5 + 3 and closed == [True]
    assert len(names) == 1 and threading.current_thread().name not in names
    assert list(ahead(iter(range(20)), 4)) == list(range(20))


def test_what_making_an_item_raises_comes_in_its_place() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("no more")

    coming = ahead(items(), 4)
    assert next(coming) == 1
    with pytest.raises(ValueError, match="no more"):
        next(coming)
