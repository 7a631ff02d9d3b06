"""What of a manifest is still to do, in which order it is best done, and how long that may take."""

from __future__ import annotations

import dataclasses
import fnmatch
import hashlib
import json
import os
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import Iterable, Mapping, Sequence

from vasa_cli import __version__
from vasa_cli.batch import ledger, storage
from vasa_cli.batch.jobs import Job
from vasa_cli.batch.ledger import Record
from vasa_cli.errors import InputError, UsageError, VasaError
from vasa_cli.weights import load_manifest

TYPICAL_FPS = 20.0  # frames a second of one worker, while no finished job tells better
TYPICAL_SPEECH_S = 10.0  # of a sound that cannot be asked beforehand


@dataclass(frozen=True)
class Task:
    """A job in hand: what to do, and the record that will tell of it."""

    job: Job
    record: Record

    def next_attempt(self) -> Task:
        """The same task, tried once more."""
        record = dataclasses.replace(self.record, attempts=self.record.attempts + 1)
        return dataclasses.replace(self, record=record)


@dataclass(frozen=True)
class Plan:
    """Every job of a manifest in one of four lists."""

    tasks: tuple[Task, ...]  # to do
    done: tuple[Record, ...]  # under the same key, and whole
    failed: tuple[Record, ...]  # in an earlier run, for bad input that has not changed since
    refused: tuple[Record, ...]  # their output exists and is not this batch's
    missing: tuple[str, ...]  # inputs that are not there

    @property
    def n_jobs(self) -> int:
        return len(self.tasks) + len(self.done) + len(self.failed) + len(self.refused)

    def expected_time_s(self, *, n_workers: int) -> float:
        """Wall clock of the tasks, by the pace of what is done already or else by TYPICAL_FPS."""
        frames = sum(task.record.expected_s * task.job.options.fps for task in self.tasks)
        elapsed_s = sum(record.elapsed_s for record in self.done)
        n_done = sum(record.n_frames for record in self.done)
        fps = n_done / elapsed_s if elapsed_s else TYPICAL_FPS
        return float(frames) / fps / max(1, min(n_workers, len(self.tasks)))


def select(jobs: Sequence[Job], patterns: Sequence[str]) -> list[Job]:
    """The jobs whose id is or fits one of the patterns; all when there is none.

    Raises:
        UsageError: a pattern fits no job.
    """
    for pattern in patterns:
        if not any(fnmatch.fnmatchcase(job.id, pattern) for job in jobs):
            raise UsageError(f"no job has the id {pattern}; look at them with --dry-run")
    if not patterns:
        return list(jobs)
    return [job for job in jobs if any(fnmatch.fnmatchcase(job.id, one) for one in patterns)]


def make_plan(
    jobs: Iterable[Job],
    *,
    weights_dir: Path,
    run: str,
    now: float,
    force: bool = False,
    retry_failed: bool = False,
) -> Plan:
    """Sorts jobs by what their sidecars say; reads, and writes nothing.

    Args:
        force: do again what is done, and replace outputs that are not this batch's.
        retry_failed: do again what failed for bad input, though the input is the same.

    Raises:
        WeightsError: the weights have no manifest.
        ResourceError: the storage does not answer.
    """
    weights_sha256 = digest_weights(weights_dir)
    digests: dict[str, str | None] = {}
    lengths: dict[str, float] = {}
    tasks, done, failed, refused = [], [], [], []
    for job in jobs:
        for path in input_files(job):
            if path not in digests:
                digests[path] = storage.sha256(path)
        if job.audio not in lengths:
            there = digests[job.audio] is not None
            lengths[job.audio] = sound_length_s(job.audio) if there else 0.0
        expected_s = min(lengths[job.audio], job.options.preview_s or float("inf"))
        key = job_key(job, digests=digests, weights_sha256=weights_sha256)
        new = ledger.waiting(
            job,
            key=key,
            run=run,
            weights_sha256=weights_sha256,
            expected_s=expected_s,
            now=now,
        )
        old = ledger.load(ledger.sidecar(job.output))
        if force:
            tasks.append(Task(job, new))
        elif old is None and storage.n_bytes(job.output) is not None:
            refused.append(_refused(new))
        elif old is not None and old.key == key and old.status == ledger.DONE:
            if ledger.is_whole(old):
                done.append(dataclasses.replace(old, id=job.id))
            else:
                tasks.append(Task(job, new))
        elif (
            old is not None
            and (old.key, old.status, old.exit_code) == (key, ledger.FAILED, InputError.exit_code)
            and not retry_failed
        ):
            failed.append(dataclasses.replace(old, id=job.id))
        else:
            tasks.append(Task(job, new))
    missing = tuple(path for path, digest in digests.items() if digest is None)
    return Plan(tuple(tasks), tuple(done), tuple(failed), tuple(refused), missing)


def input_files(job: Job) -> list[str]:
    """Every file whose content a video follows from: photo, sound, and those that options name."""
    return [job.photo, job.audio, *map(str, _option_files(job).values())]


def job_key(job: Job, *, digests: Mapping[str, str | None], weights_sha256: str) -> str:
    """The SHA-256, in hex, of all that a video follows from: inputs, options, weights, version.

    Args:
        digests: of each of `input_files`, the SHA-256 of its content; where it lies does not count.
    """
    options = ledger.options_json(job.options)
    options |= {name: digests[str(path)] for name, path in _option_files(job).items()}
    del options["private_key"]
    plain = {
        "photo": digests[job.photo],
        "audio": digests[job.audio],
        "options": options,
        "weights": weights_sha256,
        "version": __version__,
    }
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def _option_files(job: Job) -> dict[str, Path]:
    """Options that name a file; the private key is known by its certificate."""
    named = vars(job.options).items()
    return {n: v for n, v in named if isinstance(v, Path) and n != "private_key"}


def digest_weights(weights_dir: Path) -> str:
    """One SHA-256, in hex, for a whole weights folder, by its manifest.

    Raises:
        WeightsError: the manifest is missing or damaged.
    """
    files = load_manifest(weights_dir).files
    plain = {name: entry.sha256 for name, entry in files.items()}
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def sound_length_s(path: str) -> float:
    """How long a sound says it is, without decoding it; 0.0 for what is no sound."""
    if storage.is_remote(path):
        return TYPICAL_SPEECH_S
    try:
        with wave.open(path, "rb") as opened:  # no process to start, for the commonest kind
            return opened.getnframes() / (opened.getframerate() or 1)
    except (wave.Error, EOFError, OSError):
        pass
    from vasa_cli.audio import check_input, read_header
    from vasa_cli.video import stated_duration_s

    try:
        check_input(Path(path), kind="sound")
        return stated_duration_s(read_header(Path(path)))
    except VasaError:
        return 0.0


class Queue:
    """Tasks that wait, longest first, each portrait kept with the worker that has encoded it."""

    def __init__(self, tasks: Iterable[Task]) -> None:
        self._by_photo: dict[str, list[Task]] = {}
        self._photo_of: dict[int, str] = {}  # the portrait that each worker holds
        for task in tasks:
            self.put(task)

    def __len__(self) -> int:
        return sum(map(len, self._by_photo.values()))

    def put(self, task: Task) -> None:
        """Adds a task; one tried before goes behind all others of its portrait."""
        group = self._by_photo.setdefault(os.path.normpath(task.job.photo), [])
        group.append(task)
        group.sort(key=_worth, reverse=True)

    def take(self, worker: int) -> Task | None:
        """The next task for a worker: of its portrait, else of a free one, else of another's."""
        held = self._photo_of.get(worker)
        if held not in self._by_photo:
            others = set(self._photo_of.values())
            free = [photo for photo in self._by_photo if photo not in others]
            choice = free or list(self._by_photo)
            if not choice:
                return None
            # The longest job first, wherever it is: a long one begun last would end alone.
            held = max(choice, key=lambda photo: _worth(self._by_photo[photo][0]))
            self._photo_of[worker] = held
        group = self._by_photo[held]
        task = group.pop(0)
        if not group:
            del self._by_photo[held]
        return task

    def forget(self, worker: int) -> None:
        """A worker was replaced: it holds no portrait any more."""
        self._photo_of.pop(worker, None)

    def clear(self) -> None:
        """Gives up all that waits."""
        self._by_photo.clear()


def _worth(task: Task) -> tuple[int, float]:
    return -task.record.attempts, task.record.expected_s


def _refused(record: Record) -> Record:
    error = f"output {record.output} exists and no batch made it; give --force to replace it"
    return dataclasses.replace(
        record, status=ledger.FAILED, exit_code=UsageError.exit_code, error=error
    )
