"""Hands tasks to workers, tries again what may pass, and replaces workers that die."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from dataclasses import dataclass
from typing import Callable, Iterable, Protocol, Sequence

from vasa_cli.batch import ledger
from vasa_cli.batch.ledger import Record
from vasa_cli.batch.plan import Queue, Task
from vasa_cli.errors import ResourceError, UsageError, VasaError, WeightsError

MAX_ATTEMPTS = 3  # of a job that met a resource fault or lost its worker
MAX_LOST_STARTS = 3  # workers that die one after the other before they are ready
START_TIMEOUT_S = 600.0  # until the first worker is ready
WAIT_S = 1.0


@dataclass(frozen=True)
class Event:
    """Something that a worker did; `died` says why when it is gone."""

    worker: int
    ready: bool = False
    record: Record | None = None
    died: str = ""
    unusable: tuple[str, int] | None = None  # no renderer could be made: message, exit code


class Pool(Protocol):
    """Workers counted from 0, each with a Renderer of its own."""

    @property
    def n_workers(self) -> int: ...

    def submit(self, worker: int, task: Task) -> None:
        """Gives a task to a worker that is ready and has none."""

    def wait(self, timeout_s: float) -> Sequence[Event]:
        """What happened since; waits for something to happen."""

    def replace(self, worker: int) -> None:
        """Puts a new worker in the place of one that died."""

    def close(self) -> None:
        """Ends all workers, at once where they still work."""


def run_tasks(
    tasks: Iterable[Task],
    pool: Pool,
    *,
    on_record: Callable[[Record], None],
    abort_on_error: bool = False,
) -> None:
    """Does all tasks and closes the pool; each task's last record goes to `on_record`.

    Args:
        abort_on_error: after a failure begin nothing more; what is in hand is finished.

    Raises:
        WeightsError: no worker can load the weights.
        ResourceError: workers die before they are ready, or none gets ready.
    """
    scheduler = _Scheduler(tasks, pool, on_record, abort_on_error)
    try:
        while scheduler.is_busy:
            for event in pool.wait(WAIT_S):
                scheduler.handle(event)
            scheduler.hand_out()
    finally:
        pool.close()


class _Scheduler:
    def __init__(
        self,
        tasks: Iterable[Task],
        pool: Pool,
        on_record: Callable[[Record], None],
        abort_on_error: bool,
    ) -> None:
        self.queue = Queue(tasks)
        self.pool, self.on_record, self.abort_on_error = pool, on_record, abort_on_error
        self.in_hand: dict[int, Task] = {}
        self.idle: set[int] = set()
        self.n_lost_starts = 0
        self.begun_s: float | None = time.monotonic()  # until a first worker is ready

    @property
    def is_busy(self) -> bool:
        return bool(self.in_hand or self.queue)

    def handle(self, event: Event) -> None:
        if event.unusable:
            message, exit_code = event.unusable
            raise _ERRORS.get(exit_code, VasaError)(message)
        if event.ready:
            self.n_lost_starts, self.begun_s = 0, None
            self.idle.add(event.worker)
        elif event.record:
            task = self.in_hand.pop(event.worker)
            self.idle.add(event.worker)
            self._settle(task, event.record)
        elif event.died:
            self._replace(event)

    def hand_out(self) -> None:
        for worker in sorted(self.idle):
            task = self.queue.take(worker)
            if task is None:
                return
            self.idle.remove(worker)
            self.in_hand[worker] = task.next_attempt()
            self.pool.submit(worker, self.in_hand[worker])
        if self.begun_s is not None and time.monotonic() - self.begun_s > START_TIMEOUT_S:
            raise ResourceError(
                f"no worker was ready within {START_TIMEOUT_S:g} s; ask for fewer workers or cores"
            )

    def _settle(self, task: Task, record: Record) -> None:
        """A job ended: try it again, or tell of it."""
        if record.exit_code == ResourceError.exit_code and record.attempts < MAX_ATTEMPTS:
            self.queue.put(task)
            return
        self.on_record(record)
        if record.status == ledger.FAILED and self.abort_on_error:
            self.queue.clear()

    def _replace(self, event: Event) -> None:
        self.idle.discard(event.worker)
        self.queue.forget(event.worker)
        task = self.in_hand.pop(event.worker, None)
        if task is not None:
            record = dataclasses.replace(
                task.record,
                status=ledger.FAILED,
                exit_code=ResourceError.exit_code,
                error=f"its worker died ({event.died}); the memory may be too small for it",
                touched_at=time.time(),
            )
            if record.attempts >= MAX_ATTEMPTS:
                with contextlib.suppress(VasaError, OSError):  # the log and the table tell of it
                    ledger.remove_partials(record.output)
                    ledger.save(record)
            self._settle(task, record)
        else:
            self.n_lost_starts += 1
            if self.n_lost_starts >= MAX_LOST_STARTS:
                raise ResourceError(
                    f"{self.n_lost_starts} workers died before they were ready ({event.died});"
                    " ask for fewer workers"
                )
        if self.is_busy:
            self.pool.replace(event.worker)


_ERRORS = {error.exit_code: error for error in (UsageError, WeightsError, ResourceError)}
