"""What a worker does: one Renderer, one job after the other, each ended by its sidecar."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import platform
import shutil
import socket
import tempfile
import time
from collections import OrderedDict
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Callable, Protocol

from vasa_cli.batch import ledger, storage
from vasa_cli.batch.ledger import Record
from vasa_cli.batch.plan import Task
from vasa_cli.config import Progress, ProgressCallback, RenderOptions, RenderResult
from vasa_cli.errors import VasaError, explain

PHOTOS_KEPT = 8  # copies from other storage


class AnyRenderer(Protocol):
    """What a worker needs of vasa_cli.pipeline.Renderer."""

    def render(
        self,
        photo: Path,
        speech: Path,
        output: Path,
        *,
        options: RenderOptions,
        progress: ProgressCallback | None,
    ) -> RenderResult: ...


# Travels to each worker, so it must pickle; called there once.
RendererFactory = Callable[[], AnyRenderer]


@dataclass(frozen=True)
class PipelineFactory:
    """Makes a worker's Renderer, with its share of the machine's threads."""

    weights_dir: Path | None
    device: str
    threads: int

    def __call__(self) -> AnyRenderer:
        import torch

        from vasa_cli.allocator import keep_freed_memory

        torch.set_num_threads(self.threads)
        keep_freed_memory()
        from vasa_cli.pipeline import Renderer

        renderer: AnyRenderer = Renderer(weights_dir=self.weights_dir, device=self.device)
        return renderer


class Worker:
    """One renderer, and copies of the last portraits that came from other storage."""

    def __init__(self, factory: RendererFactory) -> None:
        self._renderer = factory()
        self._folder = tempfile.TemporaryDirectory(prefix="vasa-batch-")
        self._photos: OrderedDict[str, Path] = OrderedDict()

    def run(self, task: Task) -> Record:
        """Renders one job and writes its sidecar; every error ends in the record that comes back.

        An interrupt puts the job back among those that wait, and is raised again.
        """
        begun_s = time.monotonic()
        now = time.time()
        running = dataclasses.replace(
            task.record,
            status=ledger.RUNNING,
            host=socket.gethostname(),
            pid=os.getpid(),
            started_at=now,
            touched_at=now,
        )
        try:
            storage.make_folder(storage.parent(running.output))
            ledger.remove_partials(running.output)
            ledger.save(running)
            made = self._render(task, _Heart(running))
        except KeyboardInterrupt:
            ledger.save(task.record)
            raise
        except Exception as error:
            made = _failure(error)
        made["elapsed_s"] = round(time.monotonic() - begun_s, 3)
        made["touched_at"] = time.time()
        record = dataclasses.replace(running, **made)
        try:
            ledger.save(record)
        except Exception as error:  # without its commit mark, nothing is done
            record = dataclasses.replace(record, **_failure(error))
        return record

    def _render(self, task: Task, heart: _Heart) -> dict[str, Any]:
        """The fields of the record that a finished video fills."""
        job = task.job
        with tempfile.TemporaryDirectory(dir=self._folder.name) as folder:
            scratch = Path(folder)
            photo = self._stage_photo(job.photo)
            # A name of its own: the output may have that of the sound.
            speech = storage.stage(job.audio, Path(tempfile.mkdtemp(dir=folder)))
            local = Path(job.output)
            if storage.is_remote(job.output):
                local = scratch / storage.name(job.output)
            options = dataclasses.replace(job.options, force=True)
            result = self._renderer.render(photo, speech, local, options=options, progress=heart)
            with local.open("rb") as opened:
                sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
            n_bytes = local.stat().st_size
            storage.publish(local, job.output)
        return {
            "status": ledger.DONE,
            "n_frames": result.n_frames,
            "fps": float(result.fps),
            "width": result.width,
            "height": result.height,
            "duration_s": result.duration_s,
            "stages_s": heart.stages_s(),
            "n_bytes": n_bytes,
            "sha256": sha256,
            "frames_sha256": result.frames_sha256,
            "seed": result.seed,
            "device": result.device,
            "warnings": tuple(result.warnings),
            "versions": dict(task.record.versions) | _versions(),
        }

    def _stage_photo(self, path: str) -> Path:
        """The portrait on disk, under the path it had before: the renderer knows it by that."""
        if not storage.is_remote(path):
            return Path(path)
        if path not in self._photos:
            folder = Path(tempfile.mkdtemp(dir=self._folder.name))
            self._photos[path] = storage.stage(path, folder)
            if len(self._photos) > PHOTOS_KEPT:
                shutil.rmtree(self._photos.popitem(last=False)[1].parent)
        self._photos.move_to_end(path)
        return self._photos[path]


class _Heart:
    """A render's progress callback: keeps its sidecar fresh, and counts the time of each stage."""

    def __init__(self, running: Record) -> None:
        self._running = running
        self._stages_s: dict[str, float] = {}
        self._stage = ""
        self._last_s = self._beaten_s = time.monotonic()

    def __call__(self, progress: Progress) -> None:
        now_s = time.monotonic()
        # What ends with a stage's first report of nothing done belongs to the stage before.
        stage = progress.stage if progress.done or not self._stage else self._stage
        self._stages_s[stage] = self._stages_s.get(stage, 0.0) + now_s - self._last_s
        self._stage, self._last_s = progress.stage, now_s
        if now_s - self._beaten_s > ledger.HEARTBEAT_S:
            self._beaten_s = now_s
            self._running = dataclasses.replace(self._running, touched_at=time.time())
            with contextlib.suppress(VasaError, OSError):  # a missed beat is no reason to stop
                ledger.save(self._running)

    def stages_s(self) -> dict[str, float]:
        """Seconds of each stage; the time after the last report is that of the last stage."""
        if self._stage:
            rest_s = time.monotonic() - self._last_s
            self._stages_s[self._stage] = self._stages_s.get(self._stage, 0.0) + rest_s
            self._last_s += rest_s
        return {stage: round(seconds, 3) for stage, seconds in self._stages_s.items()}


def _failure(error: Exception) -> dict[str, Any]:
    message, exit_code = explain(error)
    return {"status": ledger.FAILED, "error": message, "exit_code": exit_code}


def _versions() -> dict[str, str]:
    return {"python": platform.python_version(), "torch": metadata.version("torch")}
