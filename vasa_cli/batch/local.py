"""Workers as processes of this machine, with its threads and GPUs shared out."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from types import FrameType
from typing import TYPE_CHECKING, Mapping, Sequence

from vasa_cli.batch.plan import Task
from vasa_cli.batch.schedule import Event
from vasa_cli.batch.work import RendererFactory, Worker
from vasa_cli.errors import explain

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess

GRACE_S = 10.0  # for an interrupted worker to clean up
_READY = "ready"
# numpy, librosa and torch each read one of these when they are first imported.
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)


class LocalPool:
    """Worker processes; a worker ends with its parent, however that ends.

    Args:
        factory: makes each worker's Renderer, in the worker.
        threads: of each worker.
        gpus: which GPU each worker sees, round and round; none leaves that to the driver.
    """

    def __init__(
        self,
        factory: RendererFactory,
        *,
        n_workers: int,
        threads: int,
        gpus: Sequence[str] = (),
    ) -> None:
        self._factory, self._threads, self._gpus = factory, threads, gpus
        self._workers = [self._start(index) for index in range(n_workers)]

    @property
    def n_workers(self) -> int:
        return len(self._workers)

    def submit(self, worker: int, task: Task) -> None:
        with contextlib.suppress(OSError):  # it has just died; `wait` tells
            self._workers[worker][1].send(task)

    def wait(self, timeout_s: float) -> list[Event]:
        index = {
            connection: number
            for number, (_, connection) in enumerate(self._workers)
            if not connection.closed
        }
        return [
            self._receive(index[ready])
            for ready in wait(list(index), timeout_s)
            if isinstance(ready, Connection)
        ]

    def replace(self, worker: int) -> None:
        self._workers[worker] = self._start(worker)

    def close(self) -> None:
        for process, connection in self._workers:
            connection.close()
            if process.is_alive():
                process.terminate()
        until_s = time.monotonic() + GRACE_S
        for process, _ in self._workers:
            process.join(max(0.0, until_s - time.monotonic()))
            if process.is_alive():
                process.kill()
                process.join()

    def _start(self, number: int) -> tuple[SpawnProcess, Connection]:
        # Not fork: torch and CUDA do not outlive it.
        context = get_context("spawn")
        ours, theirs = context.Pipe()
        environment = {name: str(self._threads) for name in _THREAD_VARIABLES}
        if self._gpus:
            environment["CUDA_VISIBLE_DEVICES"] = self._gpus[number % len(self._gpus)]
        process = context.Process(
            target=_serve, args=(theirs, self._factory, environment), daemon=True
        )
        process.start()
        theirs.close()  # so that the end of the worker is the end of the connection
        return process, ours

    def _receive(self, worker: int) -> Event:
        process, connection = self._workers[worker]
        try:
            message = connection.recv()
        except (EOFError, OSError):
            connection.close()
            process.join(GRACE_S)
            code = process.exitcode
            how = f"signal {-code}" if code is not None and code < 0 else f"exit status {code}"
            return Event(worker, died=how)
        if message == _READY:
            return Event(worker, ready=True)
        if isinstance(message, tuple):
            return Event(worker, unusable=message)
        return Event(worker, record=message)


def _serve(
    connection: Connection, factory: RendererFactory, environment: Mapping[str, str]
) -> None:
    """A worker's life."""
    os.environ.update(environment)  # nothing heavy is imported yet
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears Ctrl-C and sends SIGTERM
    # The worker's temporary files are removed where an except block ends, and undisturbed: by then
    # nothing interrupts any more.
    try:
        try:
            signal.signal(signal.SIGTERM, _interrupt)
            threading.Thread(target=_end_with_parent, daemon=True).start()
            _work(connection, factory)
        except (EOFError, OSError):  # the parent has had enough, or is gone
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
    except KeyboardInterrupt:  # at any moment, one in which the parent's end is noticed too
        pass


def _work(connection: Connection, factory: RendererFactory) -> None:
    """Does task after task until the connection ends."""
    try:
        worker = Worker(factory)
    except Exception as error:
        connection.send(explain(error))
        return
    connection.send(_READY)
    while True:
        connection.send(worker.run(connection.recv()))


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Raises KeyboardInterrupt, once: what cleans up after it is not to be interrupted in turn."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


def _end_with_parent() -> None:
    """Waits for the parent's end, then ends this process: tidily, or after a while by force."""
    parent = parent_process()
    if parent is None:
        return
    wait([parent.sentinel])
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_S)
    os.kill(os.getpid(), signal.SIGKILL)
