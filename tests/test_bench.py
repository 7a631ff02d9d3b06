"""The benchmark: what it counts against closed forms, what it says, and a whole tiny run."""

from __future__ import annotations

import json
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from tests.conftest import run_vasa
from vasa_cli.bench import case as measuring, limits, memory, plot, report, stages
from vasa_cli.bench.figures import Case, Measured, Stage
from vasa_cli.errors import ResourceError
from vasa_cli.geometry import N_DYNAMICS, N_HEAD_POSE
from vasa_cli.motion import Motion
from vasa_cli.pipeline import BATCH

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
PHOTO, SPEECH = EXAMPLES / "portrait.jpg", EXAMPLES / "speech.wav"
CPU = torch.device("cpu")
STAGES = (
    Stage(name="read photo", ms=300.0, per_video=True, added_mb=31.4),
    Stage(name="warp", ms=6.0, added_mb=12.6, limit_ms=3.0, limit="one grid_sample of that size"),
    Stage(name="mark", ms=4.0),
)


def row(size: int, cores: int, seconds: float, *fps: float, stages: bool = False) -> report.Row:
    """A case whose runs had so many frames a second."""
    n_frames = round(25 * seconds)
    runs = tuple(
        Measured(
            n_frames=n_frames,
            video_fps=Fraction(25),
            start_up_s=1.0,
            first_frame_s=2.0,
            total_s=n_frames / value,
            steady_fps=2 * value,
            peak_mb=500.0,
            ffmpeg_peak_mb=None,
            precision="bfloat16",
            stages=STAGES if stages else (),
            conv_gflops={"bfloat16": 190.0, "float32": 60.0} if stages else {},
        )
        for value in fps
    )
    where = Case(photo=PHOTO, speech=SPEECH, size=size, cores=cores, seconds=seconds)
    return report.Row(where, runs)


def test_a_networks_operations_are_counted() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.LeakyReLU(), nn.Conv2d(8, 2, 1))
    expected = 2 * 16 * 12 * (3 * 8 * 9 + 8 * 2)
    assert limits.network_flops(network, torch.zeros(1, 3, 16, 12)) == expected


def test_a_larger_picture_takes_longer_to_sample() -> None:
    small, large = (limits.sampling_s(side, CPU) for side in (64, 512))
    assert 0 < 4 * small < large  # of 64 times the pixels


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
def test_the_memory_that_work_adds_is_told() -> None:
    megabytes = 200

    def work() -> int:
        return int(np.ones(megabytes << 20, np.uint8)[-1])

    work()
    result, added_mb = memory.with_added_mb(work, CPU)
    assert result == 1 and added_mb == pytest.approx(megabytes, abs=10)
    _, nothing_mb = memory.with_added_mb(lambda: None, CPU)
    assert nothing_mb is not None and nothing_mb < 10  # the peak before is forgotten
    assert (memory.process_mb(most=False) or 0) <= (memory.process_mb() or 0)


def test_frames_are_measured_in_batches_out_of_the_whole_motion() -> None:
    n_frames = 10 * BATCH
    pose = np.arange(n_frames)[:, None] * np.ones(N_HEAD_POSE)
    parts = stages.batches(Motion(pose, np.zeros((n_frames, N_DYNAMICS))))
    assert len(parts) == stages.MOST_BATCHES and {len(part) for part in parts} == {BATCH}
    assert parts[0].head_pose[0, 0] == 0 and parts[-1].head_pose[-1, 0] == n_frames - 1
    assert all((np.diff(part.head_pose[:, 0]) == 1).all() for part in parts)
    (short,) = stages.batches(Motion(pose[:2], np.zeros((2, N_DYNAMICS))))
    assert short.head_pose[:, 0].tolist() == [0] + (BATCH - 1) * [1]


def test_encoding_alone_is_timed_by_the_frame() -> None:
    frames = [np.full((64, 64, 3), 10 * k, np.uint8) for k in range(3)]
    assert 0 < limits.encoding_s(frames, crf=18) < 1


def test_medians_shares_limits_and_what_the_stages_allow_are_told() -> None:
    rows = [row(512, 2, 10, 30.0, 50.0, 40.0, stages=True), row(512, 1, 10, 20.0)]
    figures = report.as_json(rows)["cases"][0]
    assert figures["fps"] == pytest.approx(40) and figures["steady_fps"] == pytest.approx(80)
    assert figures["times_real_time"] == pytest.approx(1.6)
    assert figures["stages_allow_fps"] == pytest.approx(200)  # 10 ms on each of two cores
    assert figures["ffmpeg_peak_mb"] is None
    assert figures["conv_gflops"]["bfloat16"] == 190
    lines = report.table(rows).splitlines()
    (warp,) = (line.split() for line in lines if line.startswith("warp"))
    assert warp[:6] == ["warp", "6.00", "60%", "13", "3.00", "2.0"]
    (mark,) = (line.split() for line in lines if line.startswith("mark"))
    assert mark == ["mark", "4.00", "40%", "-"]  # no memory was told
    assert "3x3 convolutions reach 190 GFLOP/s in bfloat16, 60 GFLOP/s in float32" in lines
    assert lines[3].split()[5:7] == ["40.0", "1.60"]  # whole command, times real time
    (photo,) = (line for line in lines if line.startswith("read photo"))
    assert photo.split()[-3:] == ["a", "video", "31"]
    assert any(line.startswith("together") and "200.0 fps on 2 cores" in line for line in lines)


def test_the_plot_draws_the_faster_case_higher_and_one_line_for_each() -> None:
    rows = [
        row(size, cores, seconds, 10.0 * cores)
        for size in (256, 512)
        for cores in (1, 2)
        for seconds in (10.0, 30.0)
    ]
    picture = np.asarray(plot.draw(rows)).astype(int)
    assert picture.shape == (plot.HEIGHT, plot.WIDTH, 3)
    panel = picture[plot.TOP : plot.TOP + plot.PANEL_HEIGHT, : plot.LEFT + plot.PANEL_WIDTH]
    heights = []
    for colour in plot.COLOURS[:2]:
        found = np.argwhere(np.abs(panel - colour).sum(2) < 120)
        assert len(found) > 150
        heights.append(plot.PANEL_HEIGHT - found[:, 0].mean())
    assert heights[1] == pytest.approx(2 * heights[0], rel=0.05)


def test_one_case_alone_can_be_plotted() -> None:
    assert isinstance(plot.draw([row(128, 1, 1, 5.0)]), Image.Image)


def test_sound_is_repeated_to_the_length_that_is_measured(tmp_path: Path) -> None:
    from vasa_cli.audio import load_audio

    once = load_audio(SPEECH)
    long = load_audio(measuring._repeated(SPEECH, tmp_path / "s.wav", once.duration_s + 1.5))
    assert long.duration_s == pytest.approx(once.duration_s + 1.5, abs=1e-3)
    assert np.array_equal(long.samples[: len(once.samples)], once.samples)
    assert np.array_equal(long.samples[len(once.samples) :], once.samples[:24000])


def test_a_process_that_dies_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "_serve", exit)  # its first argument is no exit status
    with pytest.raises(ResourceError, match="render of 128 pixels on 1 cores died"):
        measuring.run(Case(photo=PHOTO, speech=SPEECH, size=128, cores=1, seconds=1.0))


@pytest.mark.parametrize(
    ("flags", "exit_code", "words"),
    [
        (("--cores", "9999"), 2, "--cores 9999 are not there"),
        (("--size", "64"), 2, "not in the range"),
        (("--seconds", "0"), 2, "not in the range"),
        (("-o", str(SPEECH)), 2, "is a file; name a folder"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    flags: tuple[str, ...], exit_code: int, words: str
) -> None:
    result = run_vasa("bench", PHOTO, SPEECH, *flags)
    assert result.exit_code == exit_code and words in result.stderr


def test_inputs_are_checked_before_anything_is_measured(tmp_path: Path) -> None:
    result = run_vasa("bench", tmp_path / "none.png", SPEECH)
    assert result.exit_code == 3 and "none.png does not exist" in result.stderr


def test_an_error_of_the_measured_render_keeps_its_words_and_exit_code(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    flags = ("--size", "128", "--cores", "1", "--weights-dir", tmp_path / "empty")
    result = run_vasa("bench", PHOTO, SPEECH, *flags)
    assert result.exit_code == 4 and "weights" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.slow
def test_a_tiny_benchmark_measures_every_stage_and_writes_its_files(tmp_path: Path) -> None:
    flags = ("--size", "128", "--cores", "1", "--seconds", "0.6", "--json", "-o", tmp_path / "out")
    result = run_vasa("bench", PHOTO, SPEECH, *flags)
    assert result.exit_code == 0, result.stderr
    figures = json.loads(result.stdout)
    assert json.loads((tmp_path / "out" / "bench.json").read_text()) == figures
    assert Image.open(tmp_path / "out" / "bench.png").size == (plot.WIDTH, plot.HEIGHT)
    (case,) = figures["cases"]
    assert (case["size"], case["cores"], case["n_frames"]) == (128, 1, 15)
    assert 0 < case["start_up_s"] < case["first_frame_s"] < case["n_frames"] / case["fps"]
    names = [stage["name"] for stage in case["stages"]]
    assert names[:3] == ["load", "read photo", "encode photo"] and names[-1] == "encode video"
    assert {"sample motion", "motion field", "warp", "mouth", "eyes", "blend", "mark"} < set(names)
    assert all(stage["ms"] > 0 for stage in case["stages"] if stage["name"] != "sample motion")
    if sys.platform == "linux":
        added_mb = {stage["name"]: stage["added_mb"] for stage in case["stages"]}
        assert added_mb["load"] > 30  # the weights are larger than that
        assert added_mb["mouth"] > added_mb["checksum"] >= 0
    assert set(case["conv_gflops"]) == {"bfloat16", "float32"}
    assert figures["machine"]["precision"] in ("bfloat16", "float32")
    assert "warp" in (tmp_path / "out" / "bench.txt").read_text()
