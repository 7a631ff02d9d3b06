"""`vasa evaluate watermark`: what it counts in videos whose marks are known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import run_vasa as run
from tests.films import moved, photo
from tests.videos import write_video
from vasa_cli import evaluate_watermark as measuring
from vasa_cli import provenance, watermark
from vasa_cli.attacks import ATTACKS, Attack, write_anew
from vasa_cli.cli.evaluate_watermark import report
from vasa_cli.errors import ResourceError
from vasa_cli.evaluate_watermark import Figures, evaluate, rate_bound
from vasa_cli.video import probe
from vasa_cli.watermark import THRESHOLD, Watermarker

SIDE = 192
FEW = tuple(one for one in ATTACKS if one.name in ("nothing done", "copied (-c copy)", "mirrored"))


@pytest.fixture
def films(tmp_path: Path) -> list[Path]:
    """Two unmarked films of portraits that shift a little."""
    folder = tmp_path / "films"
    folder.mkdir()
    return [
        write_video(folder / f"{name}.mp4", [moved(picture, right=k) for k in range(6)])
        for name, picture in (("a", photo()), ("b", photo("hopper.jpg")))
    ]


def measured(films: list[Path], weights_dir: Path, **changes: int) -> Figures:
    return evaluate(
        films,
        **{"n_marked": 2, "n_keys": 2, "size": SIDE, "n_threads": 2} | changes,
        seconds=0.12,
        weights_dir=weights_dir,
    )


def test_marks_are_counted_layer_by_layer(
    films: list[Path], fake_weights_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "ATTACKS", FEW)
    figures = measured(films, fake_weights_dir)
    whole, copied, mirrored = figures.survivals
    assert (whole.n_videos, whole.n_comments, whole.n_packets, whole.n_found) == (2, 2, 2, 2)
    assert (copied.n_comments, copied.n_packets, copied.n_found) == (2, 0, 2)
    assert copied.lowest_z == whole.lowest_z > THRESHOLD > mirrored.lowest_z
    assert mirrored.n_found == 0
    if provenance.can_sign():
        assert (whole.credentials, copied.credentials) == ({"valid": 2}, {"lost": 2})
    assert figures.n_marked_frames == 2 * 3
    assert 42 <= figures.worst_psnr_db <= figures.mean_psnr_db < 50
    assert 0 < figures.frame_ms < 1000
    assert (figures.own.n_searches, figures.foreign.n_searches) == (2, 4)
    assert figures.own.n_frames == 12
    assert figures.own.n_found == figures.foreign.n_found == 0


def test_frames_that_are_not_marked_are_not_found(
    films: list[Path], fake_weights_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "ATTACKS", FEW[:1])
    monkeypatch.setattr(Watermarker, "apply", lambda self, frame: frame)
    figures = measured(films, fake_weights_dir, n_marked=1)
    assert (figures.survivals[0].n_videos, figures.survivals[0].n_found) == (1, 0)
    assert "asked at least 0.99: not met" in report(figures)


def test_a_mark_where_none_should_be_is_a_false_alarm(tmp_path: Path) -> None:
    """Videos marked beforehand stand for real ones that happen to look marked, by either key."""
    frame = np.asarray(photo())
    videos = [
        write_video(tmp_path / f"{key}.mp4", [Watermarker(SIDE, SIDE, key=key).apply(frame)])
        for key in (watermark.KEY, 3)
    ]
    own, foreign = measuring.count_false_alarms(videos, n_keys=2, n_threads=1)
    assert (own.n_found, own.n_searches) == (1, 2)
    assert (foreign.n_found, foreign.n_searches) == (1, 4)  # 1 and 2 in the first, 3 and 4 then
    assert min(own.highest_z, foreign.highest_z) > THRESHOLD


def test_the_bound_on_a_rate_is_that_of_clopper_and_pearson() -> None:
    assert rate_bound(0, 29_956) == pytest.approx(1e-4, rel=1e-4)  # the rule of three
    assert rate_bound(0, 29_956) == pytest.approx(1 - 0.05 ** (1 / 29_956), rel=1e-9)
    assert rate_bound(1, 10) == pytest.approx(0.3942, abs=1e-4)  # tables of the binomial
    assert rate_bound(3, 100) == pytest.approx(0.0757, abs=1e-4)
    assert rate_bound(5, 5) == 1.0
    assert rate_bound(2, 1000) > rate_bound(1, 1000) > rate_bound(1, 2000)


def test_every_attack_changes_the_video_as_it_says(films: list[Path], tmp_path: Path) -> None:
    seen = {}
    for attack in ATTACKS:
        path = films[0]
        for number, step in enumerate(attack.steps):
            path, source = tmp_path / f"{number}.mp4", path
            write_anew(source, path, step)
        info = probe(path, count_frames=True)
        seen[attack.name] = (info.width, info.height, info.n_frames)
    assert seen["360 pixels high"] == (360, 360, 6)
    assert seen["10 % of both sides cropped"] == (172, 172, 6)
    assert seen["10 % cropped at one edge"] == (172, 192, 6)
    assert seen["1 frame a second"][2] == 1
    assert seen["cropped, 360p, crf 28, then 5 fps, crf 28"][1:] == (360, 2)
    assert {seen[name] for name in ("H.264 at crf 28", "copied (-c copy)")} == {(192, 192, 6)}
    assert [one.steps for one in ATTACKS if "twice" in one.name] == [2 * (("-crf", "28"),)]


def test_ffmpeg_that_fails_is_a_lack_of_resources(films: list[Path], tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="ffmpeg could not write x.mp4 anew"):
        write_anew(films[0], tmp_path / "none" / "x.mp4", ("-crf", "23"))


def test_the_command_prints_a_table_or_json(
    films: list[Path], fake_weights_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "ATTACKS", (*FEW[:1], Attack("shrunk", ((),), asked=False)))
    words = ("evaluate", "watermark", "--data", films[0].parent, "--weights-dir", fake_weights_dir)
    words += ("--marked", 1, "--keys", 2, "--seconds", 0.1, "--size", SIDE, "--limit", 1)
    result = run(*words)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].split()[:5] == ["done", "to", "the", "video", "comment"]
    assert "asked at least 0.99: met" in lines[1] and "asked" not in lines[2]
    assert "marked: 1 videos, 2 frames of 192x192" in result.stdout
    assert "0 in 2 searches of 1 unmarked videos (6 frames)" in result.stdout
    assert "asked at most 0.0001: not met" in result.stdout  # three searches prove little
    assert "marked and attacked 1 of 1 videos" in result.stderr
    plain = json.loads(run(*words, "--json", "-q").stdout)
    assert plain["attacks"][0] | {"lowest_z": 0} == {
        "name": "nothing done",
        "asked": True,
        "videos": 1,
        "comments": 1,
        "xmp_packets": 1,
        "credentials": {"valid": 1} if provenance.can_sign() else {},
        "watermarks": 1,
        "lowest_z": 0,
    }
    assert plain["foreign_keys"]["searches"] == 2
    assert plain["false_alarms_at_most"] == pytest.approx(1 - 0.05 ** (1 / 3))


def test_bad_input_is_told(films: list[Path], tmp_path: Path, fake_weights_dir: Path) -> None:
    folder = films[0].parent
    result = run("evaluate", "watermark", "--data", folder, "--size", 191)
    assert (result.exit_code, "an even size; give 190 or 192" in result.stderr) == (2, True)
    (tmp_path / "empty").mkdir()
    result = run("evaluate", "watermark", "--data", tmp_path / "empty")
    assert (result.exit_code, "no video in" in result.stderr) == (3, True)
    result = run("evaluate", "watermark", "--data", folder, "--weights-dir", tmp_path / "empty")
    assert (result.exit_code, "no manifest.json in" in result.stderr) == (4, True)
    films[0].write_bytes(b"text")
    words = ("--marked", 1, "--weights-dir", fake_weights_dir)
    result = run("evaluate", "watermark", "--data", folder, *words)
    assert (result.exit_code, "is not a video" in result.stderr) == (3, True)
