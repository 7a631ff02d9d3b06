"""Workers as actors of a Ray cluster: one a GPU, or one per so many cores."""

from __future__ import annotations

import os
from typing import Any

from vasa_cli.batch.plan import Task
from vasa_cli.batch.schedule import Event
from vasa_cli.batch.work import RendererFactory, Worker
from vasa_cli.errors import ResourceError, UsageError, explain


class RayPool:
    """Ray actors; the files of the jobs must be reachable from every machine under the same path.

    Args:
        factory: makes each worker's Renderer, in the worker.
        n_workers: None for as many as the cluster has room for now.
        cores: of each worker.
        gpu: each worker has a GPU to itself; None for as the cluster has some.
        address: of a running cluster; None starts one on this machine.
        max_workers: no more than that, as many as there are tasks.

    Raises:
        UsageError: Ray is not installed, or the cluster has no room for a worker.
        ResourceError: the cluster cannot be reached.
    """

    def __init__(
        self,
        factory: RendererFactory,
        *,
        n_workers: int | None,
        cores: int,
        gpu: bool | None,
        address: str | None,
        max_workers: int,
    ) -> None:
        try:
            import ray
        except ImportError:
            raise UsageError(
                "--executor ray needs Ray; install it: python -m pip install 'vasa-cli[ray]'"
            ) from None
        self._ray: Any = ray
        self._factory = factory
        self._shuts_down = not ray.is_initialized()
        if self._shuts_down:
            self._connect(address)
        if gpu is None:
            gpu = ray.cluster_resources().get("GPU", 0) >= 1
        n_fitting = self._room(cores, gpu)
        if n_fitting < 1:
            self.close()
            wanted = f"{cores} cores{' and a GPU' if gpu else ''}"
            raise UsageError(f"no machine of the Ray cluster has {wanted} for a worker")
        self._actor = ray.remote(_Actor).options(
            num_cpus=cores, num_gpus=1 if gpu else 0, max_restarts=0
        )
        self._actors: dict[int, Any] = {}
        self._pending: dict[Any, int] = {}
        for worker in range(min(n_workers or n_fitting, n_fitting, max_workers)):
            self.replace(worker)

    @property
    def n_workers(self) -> int:
        return len(self._actors)

    def submit(self, worker: int, task: Task) -> None:
        self._pending[self._actors[worker].run.remote(task)] = worker

    def wait(self, timeout_s: float) -> list[Event]:
        pending = list(self._pending)
        ready, _ = self._ray.wait(pending, num_returns=1, timeout=timeout_s)
        return [self._receive(answer) for answer in ready]

    def replace(self, worker: int) -> None:
        actor = self._actor.remote()
        self._actors[worker] = actor
        self._pending[actor.start.remote(self._factory)] = worker

    def close(self) -> None:
        for actor in getattr(self, "_actors", {}).values():
            self._ray.kill(actor)
        if self._shuts_down:
            self._ray.shutdown()

    def _connect(self, address: str | None) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # vasa sends nothing to anyone
        try:
            self._ray.init(
                address=address or "local",
                log_to_driver=False,
                configure_logging=False,
                **({} if address else {"include_dashboard": False}),
            )
        except Exception as error:  # a wrong address, another version of Ray, no room in /tmp
            where = f"the Ray cluster at {address}" if address else "a Ray cluster on this machine"
            raise ResourceError(f"{where} cannot be used ({error}); look at `ray status`") from None

    def _room(self, cores: int, gpu: bool) -> int:
        """Workers that fit into the cluster's machines."""
        n_fitting = 0
        for node in self._ray.nodes():
            if node["Alive"]:
                here = node["Resources"]
                n_here = int(here.get("CPU", 0) // cores)
                n_fitting += min(n_here, int(here.get("GPU", 0))) if gpu else n_here
        return n_fitting

    def _receive(self, answer: Any) -> Event:
        worker = self._pending.pop(answer)
        try:
            message = self._ray.get(answer)
        except self._ray.exceptions.RayError as error:
            # The name tells the kind: ActorDiedError, OutOfMemoryError, NodeDiedError.
            return Event(worker, died=type(error).__name__)
        if message is None:
            return Event(worker, ready=True)
        if isinstance(message, tuple):
            return Event(worker, unusable=message)
        return Event(worker, record=message)


class _Actor:
    """Lives in the cluster."""

    def __init__(self) -> None:
        self._worker: Worker | None = None

    def start(self, factory: RendererFactory) -> tuple[str, int] | None:
        """Makes the renderer; what went wrong comes back, since Ray would wrap an exception."""
        try:
            self._worker = Worker(factory)
        except Exception as error:
            return explain(error)
        return None

    def run(self, task: Task) -> Any:
        assert self._worker is not None
        return self._worker.run(task)
