"""Work on several cores at once, its results in order."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Callable, ContextManager, Generator, Iterable, Iterator, TypeVar

import torch
from threadpoolctl import threadpool_limits

Item = TypeVar("Item")
Result = TypeVar("Result")
AHEAD = 1  # results that may wait to be taken, beside those that are being made


def in_order(
    work: Callable[[Item], Result], items: Iterable[Item], *, n_threads: int
) -> Iterator[Result]:
    """The results of work on each item, in the order of the items.

    Each thread computes on one core, so that a result is the same for any number of threads. No
    more than n_threads + AHEAD results are begun before they are taken, so that memory stays flat.
    What the work raises is raised in place of its result; then, or when the iterator is closed,
    what was not begun is dropped and what was begun is waited for.
    """
    waiting: deque[Future[Result]] = deque()
    with on_one_core():
        pool = pool_of(n_threads)
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) >= n_threads + AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def ahead(items: Iterator[Item], n_items: int) -> Generator[Item]:
    """The same items, made in a thread of their own, so many before they are asked for.

    What making one raises is raised in its place. When this iterator is closed, so is that.
    """
    end: Any = object()
    waiting: deque[Future[Item]] = deque()
    with ThreadPoolExecutor(1, "vasa") as pool:
        try:
            waiting.extend(pool.submit(next, items, end) for _ in range(n_items))
            while (item := waiting.popleft().result()) is not end:
                waiting.append(pool.submit(next, items, end))
                yield item
        finally:
            pool.shutdown(cancel_futures=True)
            if isinstance(items, Generator):
                items.close()


def pool_of(n_threads: int) -> ThreadPoolExecutor:
    """Threads that compute on one core each."""
    return ThreadPoolExecutor(n_threads, "vasa", _begin)


def _begin() -> None:
    """Has a new thread compute on one core, and take what is all but nothing for nothing.

    Where Gaussians and sigmoids end, processors are a hundred times slower on numbers that show
    nowhere: 1.5 of 23 ms a frame.
    """
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)


@contextmanager
def on_one_core() -> Iterator[None]:
    """Has this thread, and those that begin meanwhile, compute on one core each.

    So does NumPy's BLAS in all threads: its own wait for their next product in a loop, which took a
    third of two cores from those who draw.
    """
    n_before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(limits=1, user_api="blas"):
            yield
    finally:
        torch.set_num_threads(n_before)


def each_within(
    context: Callable[[], ContextManager[Any]], items: Iterator[Item]
) -> Iterator[Item]:
    """The same items, each made within a context that does not hold between them."""
    while True:
        with context():
            try:
                item = next(items)
            except StopIteration:
                return
        yield item
