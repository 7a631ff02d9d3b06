"""`vasa batch` with real worker processes and a renderer that takes no time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any, Callable

import pytest
from click.testing import CliRunner, Result

from tests.batch_lot import Lot, make_lot, write_sound
from tests.conftest import run_vasa
from tests.fake_renderer import FakeFactory, LeavingFactory, read_notes
from vasa_cli.batch import ledger
from vasa_cli.batch.local import LocalPool
from vasa_cli.cli.main import main

KINDS = ("good", "no face", "missing", "silent", "duplicate", "memory once", "die once")


@pytest.fixture
def lot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lot:
    monkeypatch.setattr("vasa_cli.cli.batch.PipelineFactory", FakeFactory)
    return make_lot(tmp_path)


def batch(lot: Lot, *arguments: object) -> Result:
    return run_vasa(*lot.arguments(*arguments))


def summary(lot: Lot, *arguments: object) -> dict[str, Any]:
    result = batch(lot, *arguments, "--json")
    assert result.exit_code in (0, 1), result.output
    plain: dict[str, Any] = json.loads(result.stdout)
    assert result.exit_code == (1 if plain["n_failed"] else 0)
    return plain


def counts(plain: dict[str, Any]) -> tuple[int, int, int, int]:
    return plain["n_done"], plain["n_skipped"], plain["n_failed"], plain["n_rest"]


def until(happened: Callable[[], bool], seconds: float = 300.0) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.02)


def mixed_jobs(lot: Lot, number: int) -> list[dict[str, Any]]:
    """Jobs of every kind in turn, those of a kind on three portraits."""
    write_sound(lot.folder / "silent.wav", 0.5)
    (lot.folder / "silent.wav").open("ab").write(b"silent")
    for what in ("good", "no face", "memory once", "die once"):
        for version in range(3):
            lot.photo(f"{what}, {version}", f"{what}-{version}")
    jobs = []
    for index in range(number):
        kind = KINDS[index % len(KINDS)]
        photo = kind if kind in ("no face", "memory once", "die once") else "good"
        if kind == "die once" and index > 20:  # a new worker takes its time to start
            photo = "good"
        job = {"id": f"{index}", "photo": f"{photo}-{index % 3}.png", "seed": index}
        if kind == "missing":
            job["photo"] = f"gone-{index}.png"
        if kind == "silent":
            job["audio"] = "silent.wav"
        if kind == "duplicate":
            job |= {"seed": 0, "photo": "good-0.png"}
        jobs.append(job)
    return jobs


def test_a_batch_renders_each_job_and_commits_it(lot: Lot) -> None:
    manifest = lot.manifest([{"id": "a"}, {"id": "b", "seed": 9}])
    result = batch(lot, manifest, "--workers", 1, "--size", 256)
    assert result.exit_code == 0
    assert "2 jobs: 2 done, 0 done before, 0 failed, 0 not run" in result.stdout
    assert "100 frames in" in result.stdout and "frames a second" in result.stdout
    assert "by stage: photo" in result.stdout
    plain = lot.sidecar("b")
    assert (plain["status"], plain["seed"], plain["n_frames"]) == ("done", 9, 50)
    assert (plain["options"]["size"], plain["options"]["fps"]) == (256, "25")
    assert set(plain["versions"]) == {"vasa", "weights", "python", "torch"}
    assert len(plain["sha256"]) == len(plain["key"]) == 64
    assert set(plain["stages_s"]) == {"photo", "speech", "frames"}
    assert len(lot.loaded()) == 1
    assert lot.litter() == []


def test_a_rerun_does_only_what_is_not_done(lot: Lot) -> None:
    jobs = [{"id": "a"}, {"id": "b"}, {"id": "c"}]
    assert counts(summary(lot, lot.manifest(jobs))) == (3, 0, 0, 0)
    before = (lot.folder / "a.mp4.json").read_bytes()
    lot.forget()
    assert counts(summary(lot, lot.manifest(jobs))) == (0, 3, 0, 0)
    assert (lot.loaded(), lot.rendered()) == ([], [])
    (lot.folder / "a.mp4").unlink()
    (lot.folder / "b.mp4").write_text("changed by somebody")
    assert counts(summary(lot, lot.manifest([*jobs, {"id": "d"}]))) == (3, 1, 0, 0)
    assert sorted(lot.rendered()) == ["a.mp4", "b.mp4", "d.mp4"]
    assert json.loads(before)["sha256"] == lot.sidecar("a")["sha256"]


def test_what_a_video_follows_from_makes_it_anew_and_nothing_else(lot: Lot) -> None:
    manifest = lot.manifest([{"id": "a"}])
    summary(lot, manifest)
    longer = lot.manifest([{}, {"id": "a"}], "longer.jsonl")
    assert counts(summary(lot, longer, "--only", "a")) == (0, 1, 0, 0)
    os.utime(lot.folder / "good.png")
    assert counts(summary(lot, manifest)) == (0, 1, 0, 0)
    changes: list[Callable[[], object]] = [
        lambda: lot.photo("good, newer", "good"),
        lambda: write_sound(lot.folder / "speech.wav", 3.0),
        lambda: lot.manifest([{"id": "a", "crf": 20}]),
        lambda: (lot.weights_dir / "manifest.json").write_text(
            '{"format": 1, "version": "2", "files": {"decoder": {"file": "decoder.safetensors",'
            ' "bytes": 1, "sha256": "ab", "licence": "", "origin": ""}}}'
        ),
    ]
    for change in changes:
        change()
        assert counts(summary(lot, manifest)) == (1, 0, 0, 0)
        assert counts(summary(lot, manifest)) == (0, 1, 0, 0)


def test_force_does_all_again_and_only_chooses(lot: Lot) -> None:
    manifest = lot.manifest([{"id": "a-1"}, {"id": "a-2"}, {"id": "b"}])
    assert counts(summary(lot, manifest, "--only", "a-*")) == (2, 0, 0, 0)
    assert counts(summary(lot, manifest, "--force", "--only", "a-1", "--only", "b")) == (2, 0, 0, 0)
    result = batch(lot, manifest, "--only", "c")
    assert (result.exit_code, "no job has the id c" in result.stderr) == (2, True)


def test_an_output_that_no_batch_made_is_kept_without_force(lot: Lot) -> None:
    manifest = lot.manifest([{"id": "a"}, {"id": "b"}])
    (lot.folder / "a.mp4").write_text("precious")
    plain = summary(lot, manifest)
    assert counts(plain) == (1, 0, 1, 0)
    assert plain["failed"][0]["exit_code"] == 2
    assert "exists and no batch made it; give --force" in plain["failed"][0]["error"]
    assert (lot.folder / "a.mp4").read_text() == "precious"
    assert counts(summary(lot, manifest, "--force")) == (2, 0, 0, 0)


def test_failed_jobs_do_not_stop_the_rest_and_are_told_at_the_end(lot: Lot) -> None:
    for what in ("no face", "crash", "memory"):
        lot.photo(what)
    jobs = [{"id": what, "photo": f"{what}.png"} for what in ("gone", "no-face", "crash", "memory")]
    manifest = lot.manifest([*jobs, {"id": "fine"}])
    log = lot.folder / "jobs.log"
    result = batch(lot, manifest, "--workers", 2, "--log", log)
    assert result.exit_code == 1
    rows = {line.split()[0]: line for line in result.stdout.splitlines()[1:5]}
    assert rows["gone"].split()[1:3] == ["3", "1"] and "does not exist" in rows["gone"]
    assert rows["no-face"].split()[1:3] == ["3", "1"] and "no face found" in rows["no-face"]
    assert rows["crash"].split()[1:3] == ["1", "1"] and "unexpected ValueError" in rows["crash"]
    assert rows["memory"].split()[1:3] == ["5", "3"] and "ffmpeg failed" in rows["memory"]
    assert "5 jobs: 1 done, 0 done before, 4 failed, 0 not run" in result.stdout
    assert Counter(lot.rendered()) == {"no-face.mp4": 1, "crash.mp4": 1, "memory.mp4": 3} | {
        "fine.mp4": 1
    }
    logged = [json.loads(line) for line in log.read_text().splitlines()]
    assert {one["id"]: one["status"] for one in logged} == {
        "fine": "done",
        **{job["id"]: "failed" for job in jobs},
    }


def test_bad_input_is_tried_again_only_when_it_changed_or_on_demand(lot: Lot) -> None:
    lot.photo("no face")
    lot.photo("memory")
    jobs = [{"id": "n", "photo": "no-face.png"}, {"id": "g", "photo": "gone.png"}]
    manifest = lot.manifest([*jobs, {"id": "m", "photo": "memory.png"}])
    assert counts(summary(lot, manifest)) == (0, 0, 3, 0)
    lot.forget()
    assert counts(summary(lot, manifest)) == (0, 0, 3, 0)
    assert set(lot.rendered()) == {"m.mp4"}
    lot.forget()
    assert counts(summary(lot, manifest, "--retry-failed")) == (0, 0, 3, 0)
    assert set(lot.rendered()) == {"n.mp4", "m.mp4"}
    lot.photo("good", "gone")
    assert counts(summary(lot, manifest)) == (1, 0, 2, 0)


def test_a_resource_fault_that_passes_is_no_failure(lot: Lot) -> None:
    lot.photo("memory once")
    assert counts(summary(lot, lot.manifest([{"photo": "memory-once.png", "id": "a"}]))) == (
        (1, 0, 0, 0)
    )
    assert lot.sidecar("a")["attempts"] == 2


def test_abort_on_error_begins_nothing_more(lot: Lot) -> None:
    lot.photo("no face")
    write_sound(lot.folder / "long.wav", 9.0)
    manifest = lot.manifest(
        [{"id": "a"}, {"id": "b", "photo": "no-face.png", "audio": "long.wav"}, {"id": "c"}]
    )
    plain = summary(lot, manifest, "--workers", 1, "--abort-on-error")
    assert counts(plain) == (0, 0, 1, 2)
    assert lot.rendered() == ["b.mp4"]
    assert counts(summary(lot, manifest)) == (2, 0, 1, 0)


def test_a_worker_that_dies_is_replaced_and_its_job_done_again(lot: Lot) -> None:
    lot.photo("die once")
    jobs = [{"id": "d", "photo": "die-once.png"}, *({"id": f"g{n}"} for n in range(4))]
    assert counts(summary(lot, lot.manifest(jobs), "--workers", 2)) == (5, 0, 0, 0)
    assert lot.sidecar("d")["attempts"] == 2
    assert len(lot.loaded()) in (2, 3)  # the other may do the rest before the new one is ready
    assert lot.litter() == []


def test_a_job_that_kills_its_worker_thrice_is_told_and_the_others_finish(lot: Lot) -> None:
    lot.photo("die")
    jobs = [{"id": "d", "photo": "die.png"}, *({"id": f"g{n}"} for n in range(3))]
    plain = summary(lot, lot.manifest(jobs), "--workers", 1)
    assert counts(plain) == (3, 0, 1, 0)
    (failed,) = plain["failed"]
    assert (failed["id"], failed["exit_code"], failed["attempts"]) == ("d", 5, 3)
    assert "its worker died (signal 9)" in failed["error"]
    assert lot.sidecar("d")["status"] == "failed"
    assert lot.litter() == []


def test_weights_that_do_not_load_end_the_batch_with_4(lot: Lot) -> None:
    (lot.weights_dir / "notes" / "damaged").touch()
    result = batch(lot, lot.manifest([{"id": "a"}]))
    assert (result.exit_code, result.stdout) == (4, "")
    assert "decoder weights are damaged" in result.stderr


def test_workers_that_die_before_they_are_ready_end_the_batch_with_5(lot: Lot) -> None:
    (lot.weights_dir / "notes" / "too-large").touch()
    result = batch(lot, lot.manifest([{"id": "a"}]))
    assert result.exit_code == 5
    assert "3 workers died before they were ready (signal 9)" in result.stderr


def test_two_workers_share_the_threads_and_load_and_encode_once(
    lot: Lot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vasa_cli.cli.batch.usable_cores", lambda: 8)
    for version in range(2):
        lot.photo(f"good, {version}", f"p{version}")
    jobs = [{"id": str(n), "photo": f"p{n % 2}.png"} for n in range(12)]
    lot.photo("both")
    write_sound(lot.folder / "long.wav", 9.0)  # goes first
    wait = {"id": "wait", "photo": "both.png", "audio": "long.wav"}
    summary(lot, lot.manifest([wait, *jobs]), "--workers", 2)
    assert [threads for _, *threads in lot.loaded()] == [["4", "4"], ["4", "4"]]
    encoded = Counter(line.split()[1] for line in read_notes(lot.weights_dir, "encoded"))
    # The last jobs may go to the worker that is idle first, which then encodes the portrait too.
    assert all(encoded[photo] <= 2 for photo in ("p0.png", "p1.png"))
    lot.forget()
    summary(lot, lot.manifest(jobs), "--workers", 1, "--force")
    assert [threads for _, *threads in lot.loaded()] == [["8", "8"]]
    assert len(read_notes(lot.weights_dir, "encoded")) == 2


def test_how_work_is_spread_does_not_change_the_frames(lot: Lot) -> None:
    jobs = mixed_jobs(lot, 14)
    made = []
    for workers in (1, 3):
        summary(lot, lot.manifest(jobs), "--workers", workers, "--force")
        made.append({p.name: p.read_bytes() for p in lot.folder.glob("*.mp4")})
        lot.forget()
    assert made[0] == made[1] and len(made[0]) == 10


def test_dry_run_prints_the_plan_and_touches_nothing(lot: Lot) -> None:
    write_sound(lot.folder / "long.wav", 30.0)
    jobs = [{"id": "a"}, {"id": "b", "photo": "gone.png"}, {"id": "c", "audio": "long.wav"}]
    manifest = lot.manifest([*jobs, {"id": "d", "audio": "long.wav", "preview": 8}])
    before = sorted(path.name for path in lot.folder.iterdir())
    result = batch(lot, manifest, "--dry-run", "--workers", 2)
    assert result.exit_code == 0
    assert "missing: " in next(line for line in result.stdout.splitlines() if line[0] == "b")
    assert "gone.png" in result.stdout
    assert "4 jobs: 4 to run, 0 done before, 0 failed before; 1 inputs missing" in result.stdout
    assert "about 26.2 s with 2 workers" in result.stdout  # 42 s x 25 fps / 20 fps / 2
    assert sorted(path.name for path in lot.folder.iterdir()) == before
    plain = json.loads(batch(lot, manifest, "--dry-run", "--workers", 1, "--json").stdout)
    assert (plain["run"], plain["expected_time_s"]) == (["a", "b", "c", "d"], 52.5)


def test_a_wrong_manifest_names_every_line_and_runs_nothing(lot: Lot) -> None:
    manifest = lot.manifest([{"id": "a"}, {"id": "b", "seed": -1}, {"id": "a", "sead": 1}])
    result = batch(lot, manifest)
    assert (result.exit_code, result.stdout, lot.rendered()) == (2, "", [])
    lines = result.stderr.splitlines()
    assert lines[0].startswith("line 2: seed: -1 is not in the range")
    assert lines[1] == "line 3: unknown key sead; did you mean seed?"
    assert lines[2].startswith("error: 2 faults in ")
    assert not list(lot.folder.glob("*.mp4*"))


def test_labels_and_signatures_are_checked_before_anything_is_run(
    lot: Lot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VASA_KEYS", str(lot.folder / "no-keys"))
    keys = {"cert": "gone.pem", "key": "gone.key"}
    manifest = lot.manifest([{"id": "a"}, {"id": "b", "label": "A\nB"}, {"id": "c", "cert": "c"}])
    result = batch(lot, manifest)
    assert (result.exit_code, lot.rendered()) == (2, [])
    assert result.stderr.splitlines()[:2] == [
        "line 2: the label has line breaks or control characters; give one plain line",
        "line 3: --cert and --key belong together; give both",
    ]
    manifest = lot.manifest([{"id": "a"}, {"id": "b"} | keys, {"id": "c"} | keys])
    for flags, lines in (([], {2}), (["--dry-run"], {2}), (["--provenance", "required"], {1, 2})):
        result = batch(lot, manifest, *flags)
        assert (result.exit_code, lot.rendered()) == (6, [])
        assert "error: nothing was run; " in result.stderr
        assert {n for n in (1, 2, 3) if f"line {n}: " in result.stderr} == lines
    assert batch(lot, manifest, "--only", "a").exit_code == 0


def test_a_manifest_that_is_missing_is_bad_input(lot: Lot) -> None:
    result = batch(lot, lot.folder / "none.jsonl")
    assert (result.exit_code, "cannot be read" in result.stderr) == (3, True)


def test_jobs_come_from_standard_input_too(lot: Lot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(lot.folder)
    for content in (
        '{"photo": "good.png", "audio": "speech.wav"}',
        "photo,audio\ngood.png,speech.wav",
    ):
        arguments = lot.arguments("-", "-o", "out/{photo}-{audio}.mp4", "--force")
        result = CliRunner().invoke(main, arguments, input=content, prog_name="vasa")
        assert result.exit_code == 0, result.output
    assert (lot.folder / "out" / "good-speech.mp4").exists()


def test_flags_give_defaults_and_lines_go_before_them(lot: Lot) -> None:
    manifest = lot.manifest([{"id": "a"}, {"id": "b", "crf": 30}])
    summary(lot, manifest, "--crf", 25, "--seed", 4)
    assert [lot.sidecar(name)["options"]["crf"] for name in "ab"] == [25, 30]
    assert [lot.sidecar(name)["options"]["seed"] for name in "ab"] == [4, 4]


def test_shards_together_do_all_jobs_once(lot: Lot) -> None:
    manifest = lot.manifest({"id": str(number)} for number in range(7))
    plains = [summary(lot, manifest, "--shard", f"{index}/3") for index in (1, 2, 3)]
    assert [plain["n_done"] for plain in plains] == [3, 2, 2]
    assert sorted(lot.rendered()) == [f"{number}.mp4" for number in range(7)]
    for shard in ("0/3", "4/3", "1", "a/b"):
        result = batch(lot, manifest, "--shard", shard)
        assert (result.exit_code, "is no shard" in result.stderr) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--address", "auto"], "--address is for --executor ray"),
        (["--workers", "0"], "0 is not in the range"),
        (["--executor", "mpi"], "'mpi' is not one of"),
        (["--log", "."], "cannot be written"),
    ],
)
def test_misuse_is_told_before_anything_is_run(lot: Lot, arguments: list[str], words: str) -> None:
    result = batch(lot, lot.manifest([{"id": "a"}]), *arguments)
    assert (result.exit_code, lot.rendered()) == (2, [])
    assert words in result.stderr


def test_the_word_run_may_be_left_out(lot: Lot) -> None:
    manifest = lot.manifest([{"id": "a"}])
    for words in (["--dry-run", manifest], ["run", manifest, "--dry-run"], [manifest, "--dry-run"]):
        assert batch(lot, *words).exit_code == 0
    help_text = run_vasa("batch", "-h").stdout
    assert "vasa batch [OPTIONS] JOBS" in help_text and "vasa batch status" in help_text
    assert "--retry-failed" in help_text


def test_200_mixed_jobs_are_counted_through_two_kills_of_everything(lot: Lot) -> None:
    number = 200
    jobs = mixed_jobs(lot, number)
    slow = [40, 120]  # a good job each, long enough to be killed in
    for index in slow:
        index -= index % len(KINDS)
        lot.photo(f"slow, {index}", f"slow-{index}")
        jobs[index]["photo"] = f"slow-{index}.png"
        write_sound(lot.folder / f"long-{index}.wav", 20 - index / 10)
        jobs[index]["audio"] = f"long-{index}.wav"
    manifest = lot.manifest(jobs)
    expected = Counter(KINDS[index % len(KINDS)] for index in range(number))
    n_bad = expected["no face"] + expected["missing"]
    command = lot.command(manifest, "--workers", 1, "--quiet")
    for n_kills in (1, 2):  # longest first: the two slow ones begin the list
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        # Each of the two runs hangs in a job of its own, since a slow one is slow but once.
        until(lambda: len(list((lot.weights_dir / "notes").glob("tried-*"))) >= n_kills)
        assert _n_running(lot) == 1
        process.send_signal(signal.SIGKILL)
        process.wait()
        workers = [int(pid) for pid, *_ in lot.loaded()]
        until(lambda: not any(map(_is_alive, workers)))
        assert _n_running(lot) == 0
        for sidecar in lot.folder.glob("*.mp4.json"):  # each is whole, and none says what is not
            plain = json.loads(sidecar.read_text())
            assert plain["status"] != "done" or _is_true(plain)
    plain = summary(lot, manifest, "--workers", 2)
    assert counts(plain)[2:] == (n_bad, 0)
    assert plain["n_done"] + plain["n_skipped"] == number - n_bad
    records = [lot.sidecar(str(index)) for index in range(number)]
    assert Counter(record["status"] for record in records) == {
        "done": number - n_bad,
        "failed": n_bad,
    }
    assert all(_is_true(record) for record in records if record["status"] == "done")
    assert Counter(lot.rendered())["0.mp4"] == 1
    assert sum(bool(record["warnings"]) for record in records) == expected["silent"]
    status = run_vasa("batch", "status", lot.folder).stdout
    assert status.startswith(f"{number - n_bad} done, {n_bad} failed, 0 running, 0 left\n")
    assert lot.litter() == []
    lot.forget()
    assert counts(summary(lot, manifest)) == (0, number - n_bad, n_bad, 0)
    assert lot.rendered() == []


def test_kill_9_at_any_moment_leaves_nothing_false(lot: Lot) -> None:
    manifest = lot.manifest({"id": str(number), "seed": number} for number in range(40))
    n_begun = 0
    for n_more in (0, 1, 7, 13):  # 0: while the waiting sidecars are being written
        process = subprocess.Popen(lot.command(manifest, "--workers", 2))
        until(
            lambda: len(lot.rendered()) >= n_begun + n_more
            and len(list(lot.folder.glob("*.mp4.json"))) > 0
        )
        process.send_signal(signal.SIGKILL)
        process.wait()
        until(lambda: not any(_is_alive(int(pid)) for pid, *_ in lot.loaded()))
        n_begun = len(lot.rendered())
        for sidecar in lot.folder.glob("*.mp4.json"):
            plain = json.loads(sidecar.read_text())
            assert plain["status"] in ("waiting", "running") or _is_true(plain)
    assert summary(lot, manifest)["n_failed"] == 0
    assert sorted(path.stem for path in lot.folder.glob("*.mp4")) == sorted(map(str, range(40)))
    assert len(lot.rendered()) <= 40 + 4 * 2  # each kill cost no more than the jobs in hand
    assert lot.litter() == []


def test_ctrl_c_ends_workers_and_puts_their_jobs_back(lot: Lot) -> None:
    lot.photo("slow")
    command = lot.command(lot.manifest([{"id": "a", "photo": "slow.png"}, {"id": "b"}]))
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # a background shell hands down an ignored SIGINT
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    until(lambda: _n_running(lot) == 1)
    until(lambda: (lot.weights_dir / "notes" / "tried-a.mp4").exists())
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=20)
    assert (process.returncode, told) == (130, "interrupted\n")
    assert lot.sidecar("a")["status"] == "waiting"
    assert not any(_is_alive(int(pid)) for pid, *_ in lot.loaded())
    assert lot.litter() == []


def test_a_worker_that_ends_cleans_up_undisturbed(tmp_path: Path) -> None:
    pool = LocalPool(LeavingFactory(tmp_path), n_workers=1, threads=1)
    until(lambda: any(event.ready for event in pool.wait(1.0)))
    pool.close()
    assert (tmp_path / "went").read_text() == "tidily\n"


def _n_running(lot: Lot) -> int:
    return ledger.read_status(str(lot.folder), now=time.time()).n_running


def _is_true(plain: dict[str, Any]) -> bool:
    return ledger.is_whole(ledger.Record(**{k: v for k, v in plain.items() if k != "format"}))


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_readme_names_every_option_of_batch_and_compare(repository: Path) -> None:
    from vasa_cli.cli.batch import run
    from vasa_cli.cli.batch_options import RENDER_PARAMS
    from vasa_cli.cli.compare import compare

    text = (repository / "README.md").read_text()
    for command in (run, compare):
        for param in command.params:
            if param.param_type_name == "option" and param not in RENDER_PARAMS:
                assert all(f"`{name}`" in text for name in param.opts), param.opts
