"""What is known of each job: a JSON sidecar beside its video, the commit mark of the batch.

A video counts only when its sidecar says "done" under the job's key; whatever is interrupted before
that is done again. Sidecars are written under a temporary name and renamed.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import socket
from dataclasses import dataclass, field
from typing import Any, Iterable, Iterator, Mapping, Sequence

from vasa_cli import __version__
from vasa_cli.batch import storage
from vasa_cli.batch.jobs import Job
from vasa_cli.config import RenderOptions
from vasa_cli.errors import InputError

FORMAT = 1
SUFFIX = ".json"  # after the video's whole name: talk.mp4.json
WAITING, RUNNING, DONE, FAILED = "waiting", "running", "done", "failed"
HEARTBEAT_S = 20.0  # how often a running job's sidecar is written again
STALE_S = 120.0  # without a heartbeat, a job on another machine counts as given up


@dataclass(frozen=True, kw_only=True)
class Record:
    """The state of one job; a sidecar, a line of the log and a worker's answer alike."""

    id: str
    output: str  # absolute path or URL
    key: str
    status: str
    run: str = ""  # one call of `vasa batch`
    photo: str = ""
    audio: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    expected_s: float = 0.0  # seconds of video, as far as it was known beforehand
    attempts: int = 0
    exit_code: int = 0  # as `vasa render` would exit
    error: str = ""
    n_frames: int = 0
    fps: float = 0.0
    width: int = 0
    height: int = 0
    duration_s: float = 0.0
    elapsed_s: float = 0.0
    stages_s: Mapping[str, float] = field(default_factory=dict)
    n_bytes: int = 0
    sha256: str = ""  # of the MP4
    frames_sha256: str = ""  # before encoding
    seed: int | None = 0
    device: str = ""
    warnings: Sequence[str] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    host: str = ""
    pid: int = 0
    started_at: float = 0.0  # seconds since 1970
    touched_at: float = 0.0  # when this was written

    def as_json(self) -> dict[str, Any]:
        """Plain values, the format's number first."""
        return {"format": FORMAT} | dataclasses.asdict(self)


@dataclass(frozen=True)
class Status:
    """How far the batches are that write into one folder."""

    n_done: int
    n_failed: int
    n_running: int
    n_left: int  # neither done, failed nor running
    n_frames: int  # of the videos that are done
    duration_s: float  # of these videos
    speed: float | None  # seconds of video in one second of time, of the last run
    left_s: float | None  # time that the rest will take at this speed


def sidecar(output: str) -> str:
    """Where a video's sidecar lies."""
    return output + SUFFIX


def options_json(options: RenderOptions) -> dict[str, Any]:
    """Options as plain values; `force` does not change a video and is left out."""
    plain = dataclasses.asdict(options)
    del plain["force"]
    values: dict[str, Any] = json.loads(json.dumps(plain, default=str))
    return values


def waiting(
    job: Job, *, key: str, run: str, weights_sha256: str, expected_s: float, now: float
) -> Record:
    """The record of a job that is to be done."""
    return Record(
        id=job.id,
        output=job.output,
        key=key,
        status=WAITING,
        run=run,
        photo=job.photo,
        audio=job.audio,
        options=options_json(job.options),
        expected_s=round(expected_s, 3),
        seed=job.options.seed,
        versions={"vasa": __version__, "weights": weights_sha256},
        touched_at=now,
    )


def load(path: str) -> Record | None:
    """The record in a sidecar; None where there is none, or something else.

    Raises:
        ResourceError: the storage does not answer.
    """
    try:
        plain = json.loads(storage.read_bytes(path))
    except (InputError, ValueError):
        return None
    if not isinstance(plain, dict) or plain.get("format") != FORMAT:
        return None
    names = {one.name for one in dataclasses.fields(Record)}
    kept = {name: value for name, value in plain.items() if name in names}
    try:
        # The sidecar may have been moved with its video.
        return Record(**(kept | {"output": path.removesuffix(SUFFIX)}))
    except TypeError:
        return None


def save(record: Record) -> None:
    """Writes a record's sidecar."""
    storage.write_bytes(sidecar(record.output), _to_bytes(record))


def save_many(records: Iterable[Record]) -> None:
    """Writes the sidecars of many records, and makes their folders."""
    contents = {sidecar(record.output): _to_bytes(record) for record in records}
    for folder in dict.fromkeys(storage.parent(path) for path in contents):
        storage.make_folder(folder)
    storage.write_many(contents)


def is_whole(record: Record) -> bool:
    """Whether the video is the one the record was written for; of a remote one, by its size."""
    if storage.n_bytes(record.output) != record.n_bytes:
        return False
    return storage.is_remote(record.output) or storage.sha256(record.output) == record.sha256


def remove_partials(output: str) -> None:
    """Removes what a render of this video left when it was killed."""
    if storage.is_remote(output):
        return
    folder, name = os.path.split(output)
    stem = re.escape(name.rsplit(".", 1)[0])
    left = re.compile(rf"\.{stem}\.\d+\.part\.mp4|\.{re.escape(name + SUFFIX)}\.\d+\.tmp")
    for entry in os.listdir(folder):
        if left.fullmatch(entry):
            try:
                os.unlink(os.path.join(folder, entry))
            except FileNotFoundError:  # its ffmpeg ended in this moment
                pass


def read_status(folder: str, *, now: float) -> Status:
    """Counts the sidecars in a folder and below.

    Raises:
        UsageError: there is no such folder.
    """
    records = list(_sidecars(folder))
    done = [record for record in records if record.status == DONE]
    failed = [record for record in records if record.status == FAILED]
    running = [record for record in records if is_running(record, now=now)]
    left = [record for record in records if record.status in (WAITING, RUNNING)]
    unfinished_runs = {record.run for record in left}
    speed = _speed([one for one in done if not left or one.run in unfinished_runs], running, now)
    rest_s = sum(record.expected_s for record in left)
    return Status(
        n_done=len(done),
        n_failed=len(failed),
        n_running=len(running),
        n_left=len(left) - len(running),
        n_frames=sum(record.n_frames for record in done),
        duration_s=sum(record.duration_s for record in done),
        speed=speed,
        left_s=rest_s / speed if speed else None if rest_s else 0.0,
    )


def is_running(record: Record, *, now: float) -> bool:
    """Whether a job that says so is still in hand, and not left by a worker that was killed."""
    if record.status != RUNNING:
        return False
    if record.host != socket.gethostname():
        return now - record.touched_at < STALE_S
    try:
        os.kill(record.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # somebody else's, but there
    return True


def _sidecars(folder: str) -> Iterator[Record]:
    for path in storage.find(folder, f".mp4{SUFFIX}"):
        if (record := load(path)) is not None:
            yield record


def _speed(done: Sequence[Record], running: Sequence[Record], now: float) -> float | None:
    """Seconds of video a second, over the time in which these were made."""
    if not done:
        return None
    begun = min(record.started_at for record in done)
    ended = now if running else max(record.touched_at for record in done)
    return sum(record.duration_s for record in done) / max(ended - begun, 1e-3)


def _to_bytes(record: Record) -> bytes:
    return (json.dumps(record.as_json(), indent=1, ensure_ascii=False) + "\n").encode()
