"""Work on several cores at once, its results in order."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Callable, Iterable, Iterator, TypeVar

import torch

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
    n_before = torch.get_num_threads()
    waiting: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(n_threads, "vasa", initializer=torch.set_num_threads, initargs=(1,))
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) >= n_threads + AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(n_before)  # threads that begin later would take the pool's
