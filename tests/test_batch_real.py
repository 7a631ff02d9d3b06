"""`vasa batch` with the trained networks: mixed jobs through kills, counted, here and on Ray.

VASA_TEST_JOBS sets the length of the list, 10 where it is not given; 200 take minutes on two cores.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
import wave
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
from PIL import Image

from vasa_cli.batch import ledger
from vasa_cli.batch.ledger import Record

N_JOBS = int(os.environ.get("VASA_TEST_JOBS", "10"))
KILLED_AT = (0.2, 0.4) if N_JOBS >= 100 else (0.2,)  # shares of the list that are done by then
KINDS = ("good", "no face", "missing", "silent", "duplicate")
TINY = ("--size", 128, "--steps", 1, "--guidance-audio", 0, "--preview", 0.2, "--device", "cpu")
WAIT_S = 600.0  # for workers to start and render on a busy machine
needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="ray is not installed"
)


@pytest.fixture
def folder(tmp_path: Path, repository: Path) -> Path:
    """Jobs of every kind in turn, on two portraits; a duplicate does what job 0 does."""
    Image.new("RGB", (160, 120), (120, 150, 90)).save(tmp_path / "wall.png")
    with wave.open(str(tmp_path / "silent.wav"), "wb") as opened:
        opened.setparams((1, 2, 16000, 0, "NONE", ""))
        opened.writeframes(bytes(2 * 16000))
    examples = repository / "examples"
    portraits = [str(examples / name) for name in ("portrait.jpg", "hopper.jpg")]
    lines = []
    for number in range(N_JOBS):
        kind = KINDS[number % len(KINDS)]
        job = {"id": str(number), "seed": number, "photo": portraits[number // len(KINDS) % 2]}
        job["audio"] = str(examples / "speech.wav")
        if kind == "duplicate":
            job |= {"seed": 0, "photo": portraits[0]}
        job |= {
            "no face": {"photo": "wall.png"},
            "missing": {"photo": f"gone-{number}.png"},
            "silent": {"audio": "silent.wav"},
        }.get(kind, {})
        lines.append(json.dumps(job) + "\n")
    (tmp_path / "jobs.jsonl").write_text("".join(lines))
    return tmp_path


def command(folder: Path, *arguments: object) -> list[str]:
    words = ["-m", "vasa_cli", "batch", folder / "jobs.jsonl", "--json", *TINY, *arguments]
    return [sys.executable, *map(str, words)]


def run(folder: Path, *arguments: object) -> dict[str, Any]:
    done = subprocess.run(command(folder, *arguments), capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr
    assert "Traceback" not in done.stderr
    plain: dict[str, Any] = json.loads(done.stdout)
    return plain


def records(folder: Path) -> list[Record]:
    found = [ledger.load(str(path)) for path in folder.glob("*.mp4.json")]
    return [record for record in found if record is not None]


def n_done(folder: Path) -> int:
    return sum(record.status == ledger.DONE for record in records(folder))


def running(folder: Path) -> list[Record]:
    return [record for record in records(folder) if ledger.is_running(record, now=time.time())]


@contextmanager
def begun(folder: Path, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """A batch that is running; it is gone when the block ends, and its workers with it."""
    process = subprocess.Popen(
        command(folder, *arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def until(happened: Callable[[], object], process: subprocess.Popen[str] | None = None) -> None:
    """Waits for something to happen, as long as the process it is awaited of is there."""
    end = time.monotonic() + WAIT_S
    while not happened():
        assert process is None or process.poll() is None, "the batch ended before"
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.02)


def check_end(folder: Path) -> None:
    """Every job ended as its kind must, and nothing is left of the kills."""
    kinds = Counter(KINDS[number % len(KINDS)] for number in range(N_JOBS))
    n_bad = kinds["no face"] + kinds["missing"]
    ended = {int(record.id): record for record in records(folder)}
    assert sorted(ended) == list(range(N_JOBS))
    for number, record in ended.items():
        kind = KINDS[number % len(KINDS)]
        words = {"no face": "no face found", "missing": "does not exist"}.get(kind)
        if words is not None:
            assert (record.status, record.exit_code) == (ledger.FAILED, 3), record.error
            assert words in record.error
            continue
        assert record.status == ledger.DONE and ledger.is_whole(record), record.error
        assert any("is silent" in warning for warning in record.warnings) == (kind == "silent")
        assert (record.frames_sha256 == ended[0].frames_sha256) == (
            number == 0 or kind == "duplicate"
        )
    assert len(list(folder.glob("*.mp4"))) == N_JOBS - n_bad
    assert [path.name for path in folder.glob(".*")] == []
    status = subprocess.run(
        [sys.executable, "-m", "vasa_cli", "batch", "status", str(folder)],
        capture_output=True,
        text=True,
    )
    assert status.stdout.startswith(f"{N_JOBS - n_bad} done, {n_bad} failed, 0 running, 0 left\n")


@pytest.mark.slow
def test_mixed_jobs_are_counted_through_kills(folder: Path) -> None:
    for share in KILLED_AT:
        with begun(folder, "--workers", 2) as process:
            until(lambda: n_done(folder) >= share * N_JOBS and running(folder), process)
            process.send_signal(signal.SIGKILL)
            process.wait()
        until(lambda: not running(folder))  # its workers end with it
        assert all(ledger.is_whole(one) for one in records(folder) if one.status == ledger.DONE)
    before = {one.id: one.started_at for one in records(folder) if one.status == ledger.DONE}
    plain = run(folder, "--workers", 2)
    assert (plain["n_jobs"], plain["n_skipped"], plain["n_rest"]) == (N_JOBS, len(before), 0)
    assert {one.id: one.started_at for one in records(folder) if one.id in before} == before
    check_end(folder)


@needs_ray
@pytest.mark.slow
def test_mixed_jobs_on_ray_survive_a_killed_worker(folder: Path) -> None:
    on_ray = ("--executor", "ray", "--cores", 1)
    with begun(folder, *on_ray, "--workers", 2) as process:
        until(lambda: n_done(folder) >= 0.2 * N_JOBS and running(folder), process)
        os.kill(running(folder)[0].pid, signal.SIGKILL)
        told, _ = process.communicate(timeout=WAIT_S)
    assert json.loads(told)["n_rest"] == 0
    check_end(folder)
    spread = {one.id: one.frames_sha256 for one in records(folder)}
    run(folder, *on_ray, "--workers", 1, "--only", "0", "--only", "3", "--force")
    assert {one.id: one.frames_sha256 for one in records(folder)} == spread
