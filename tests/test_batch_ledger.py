"""Sidecars, status, the order of work, and the numbers at the end."""

from __future__ import annotations

import dataclasses
import json
import os
import socket
from collections import Counter
from pathlib import Path
from typing import Callable

import pytest

from tests.conftest import run_vasa
from vasa_cli.batch import ledger
from vasa_cli.batch.jobs import Job
from vasa_cli.batch.ledger import Record
from vasa_cli.batch.plan import Queue, Task, input_files, job_key, sound_length_s
from vasa_cli.batch.report import summarize
from vasa_cli.config import RenderOptions
from vasa_cli.errors import UsageError

NOW = 1_800_000_000.0


def record(name: Path | str, status: str, **fields: object) -> Record:
    base = Record(id="a", output=str(name), key="k", status=status, run="r", host="elsewhere")
    return dataclasses.replace(base, **fields)  # type: ignore[arg-type]


def task(photo: str, expected_s: float, attempts: int = 0) -> Task:
    job = Job(f"{photo}-{expected_s}", 1, photo, "a.wav", "o.mp4", RenderOptions())
    return Task(job, record("o.mp4", "waiting", expected_s=expected_s, attempts=attempts))


def test_a_sidecar_is_read_as_it_was_written_wherever_it_lies(tmp_path: Path) -> None:
    written = record(tmp_path / "a.mp4", "done", stages_s={"photo": 1.5}, seed=3)
    ledger.save(written)
    assert ledger.load(f"{written.output}.json") == dataclasses.replace(written, warnings=[])
    moved = tmp_path / "sub" / "b.mp4.json"
    moved.parent.mkdir()
    os.rename(f"{written.output}.json", moved)
    loaded = ledger.load(str(moved))
    assert loaded is not None and loaded.output == str(tmp_path / "sub" / "b.mp4")


@pytest.mark.parametrize("content", ["", "[]", "{", '{"format": 2}', '{"format": 1}', '{"a": 1}'])
def test_what_is_no_sidecar_is_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.mp4.json").write_text(content)
    assert ledger.load(str(tmp_path / "a.mp4.json")) is None
    assert ledger.load(str(tmp_path / "none.mp4.json")) is None


def test_a_video_is_whole_only_with_its_size_and_checksum(tmp_path: Path) -> None:
    video = tmp_path / "a.mp4"
    video.write_bytes(b"abc")
    sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180, B.1
    done = record(video, "done", n_bytes=3, sha256=sha256)
    assert ledger.is_whole(done)
    video.write_bytes(b"abd")
    assert not ledger.is_whole(done)
    video.unlink()
    assert not ledger.is_whole(done)


def test_status_counts_what_the_sidecars_say(tmp_path: Path) -> None:
    gone = dict(host=socket.gethostname(), pid=2**22 + 1)  # above the largest pid
    here = dict(host=socket.gethostname(), pid=os.getpid())
    done = dict(duration_s=30.0, n_frames=750, expected_s=30.0, run="r")
    for name, one in {
        "a": record("", "done", started_at=NOW - 40, touched_at=NOW - 20, **done),
        "b": record("", "done", started_at=NOW - 20, touched_at=NOW - 1, **done),
        "old": record("", "done", started_at=1.0, touched_at=2.0, **(done | {"run": "last year"})),
        "c": record("", "failed"),
        "d": record("", "running", expected_s=6.0, **here),
        "e": record("", "running", expected_s=6.0, touched_at=NOW - 60),
        "f": record("", "running", expected_s=6.0, touched_at=NOW - 600),
        "g": record("", "running", expected_s=6.0, **gone),
        "sub/h": record("", "waiting", expected_s=6.0),
    }.items():
        (tmp_path / "sub").mkdir(exist_ok=True)
        ledger.save(dataclasses.replace(one, output=str(tmp_path / f"{name}.mp4")))
    (tmp_path / "talk.mp4.json").write_text("{}")
    status = ledger.read_status(str(tmp_path), now=NOW)
    counted = (status.n_done, status.n_failed, status.n_running, status.n_left)
    assert counted == (3, 1, 2, 3)
    assert (status.n_frames, status.duration_s) == (2250, 90.0)
    assert status.speed == pytest.approx(60 / 40)  # of the run that goes on
    assert status.left_s == pytest.approx(30 / 1.5)


def test_status_prints_it(tmp_path: Path) -> None:
    result = run_vasa("batch", "status", tmp_path)
    assert (result.exit_code, result.stdout.splitlines()[0]) == (
        0,
        "0 done, 0 failed, 0 running, 0 left",
    )
    done = dict(duration_s=200.0, n_frames=5000, started_at=NOW, touched_at=NOW + 100)
    ledger.save(record(tmp_path / "a.mp4", "done", **done))
    ledger.save(record(tmp_path / "b.mp4", "waiting", expected_s=14000.0))
    assert run_vasa("batch", "status", tmp_path).stdout == (
        "1 done, 0 failed, 0 running, 1 left\n"
        "5000 frames, 3:20 of video; 2.00 s of video a second, 1:56:40 to go\n"
    )
    plain = json.loads(run_vasa("batch", "status", tmp_path, "--json").stdout)
    assert (plain["n_left"], plain["left_s"]) == (1, 7000.0)
    result = run_vasa("batch", "status", tmp_path / "none")
    assert (result.exit_code, "is not a folder" in result.stderr) == (2, True)


def test_litter_of_this_video_is_removed_and_no_other(tmp_path: Path) -> None:
    names = [".a.12.part.mp4", ".a.mp4.json.12.tmp", ".ab.12.part.mp4", ".a.x.part.mp4", "a.mp4"]
    for name in names:
        (tmp_path / name).touch()
    ledger.remove_partials(str(tmp_path / "a.mp4"))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names[2:])


def test_the_key_changes_with_each_thing_a_video_follows_from_and_no_other() -> None:
    job = Job("a", 1, "p.png", "s.wav", "o.mp4", RenderOptions())
    files: dict[str, str | None] = {"p.png": "p", "s.wav": "s"}

    def key(job: Job, weights_sha256: str = "w", **changes: str | None) -> str:
        changed = {path.replace("_", "."): sha256 for path, sha256 in changes.items()}
        return job_key(job, digests=files | changed, weights_sha256=weights_sha256)

    keys = [key(job), key(job, p_png="other"), key(job, p_png=None), key(job, s_wav="other")]
    keys += [key(job, "other")]
    keys += [key(dataclasses.replace(job, options=RenderOptions(seed=1)))]
    assert len(set(keys)) == len(keys)
    same = Job("b", 2, "q.png", "t.wav", "u.mp4", RenderOptions(force=True))
    assert key(same, q_png="p", t_wav="s") == keys[0]


@pytest.mark.parametrize(
    "options",
    [
        lambda name: RenderOptions(motion=Path(name)),
        lambda name: RenderOptions(certificate=Path(name), private_key=Path(f"{name}.key")),
    ],
    ids=["motion", "certificate"],
)
def test_of_files_that_options_name_the_content_makes_the_key(
    options: Callable[[str], RenderOptions],
) -> None:
    here, there = (Job("a", 1, "p", "s", "o.mp4", options(name)) for name in ("here", "there"))
    files: dict[str, str | None] = {"p": "p", "s": "s"}
    assert input_files(here) == ["p", "s", "here"]

    def key(job: Job, sha256: str) -> str:
        return job_key(job, digests=files | {input_files(job)[2]: sha256}, weights_sha256="w")

    assert key(here, "same") == key(there, "same") != key(here, "other")


def test_the_longest_job_goes_first_and_portraits_stay_with_their_worker() -> None:
    queue = Queue([task("p", 1), task("q", 5), task("p", 3), task("q", 2), task("r", 4)])
    taken = [queue.take(worker) for worker in (0, 1, 0, 1, 0, 1)]
    assert [one and one.job.id for one in taken] == ["q-5", "r-4", "q-2", "p-3", "p-1", None]


def test_an_idle_worker_helps_with_a_portrait_of_another() -> None:
    queue = Queue(task("p", seconds) for seconds in (1, 2, 3, 4))
    first, second = queue.take(0), queue.take(1)
    assert first and second and (first.record.expected_s, second.record.expected_s) == (4, 3)


def test_a_task_tried_before_waits_behind_the_others() -> None:
    queue = Queue([task("p", 1), task("p", 9, attempts=1)])
    taken = queue.take(0)
    assert taken and taken.record.expected_s == 1


def test_the_length_of_a_sound_is_asked_and_not_decoded(repository: Path, tmp_path: Path) -> None:
    speech = repository / "examples" / "speech.wav"
    exact = sound_length_s(str(speech))
    assert 6 < exact < 8
    from vasa_cli.audio import FFmpeg

    with FFmpeg(["-v", "error", "-i", str(speech), str(tmp_path / "s.m4a")]) as ffmpeg:
        assert ffmpeg.wait() == 0
    assert sound_length_s(str(tmp_path / "s.m4a")) == pytest.approx(exact, abs=0.1)
    (tmp_path / "text.wav").write_text("no sound")
    assert sound_length_s(str(tmp_path / "text.wav")) == 0.0


def test_the_summary_adds_up() -> None:
    done = dict(n_frames=50, duration_s=2.0)
    records = [
        record("a", "done", stages_s=Counter(photo=1.0, frames=2.0), **done),
        record("b", "done", stages_s=Counter(frames=3.0), **done),
        record("c", "failed"),
    ]
    summary = summarize(records, n_jobs=7, n_skipped=2, n_workers=2, elapsed_s=5.0)
    assert (summary.n_done, summary.n_failed, summary.n_rest) == (2, 1, 2)
    assert (summary.render_fps, summary.real_time_factor) == (20.0, 1.25)
    assert summary.stages_s == {"photo": 1.0, "frames": 5.0}


def test_an_output_folder_that_cannot_be_made_is_misuse(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot be made"):
        ledger.save_many([record(tmp_path / "file" / "a.mp4", "waiting")])
