"""`vasa compare`: its figures against other libraries, and that each difference is caught."""

from __future__ import annotations

import json
import math
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from tests.conftest import run_vasa
from tests.videos import write_video
from vasa_cli import compare as library
from vasa_cli.config import CompareLimits
from vasa_cli.errors import InputError, UsageError

SIDE = 64


def pictures(seed: int = 0, n_frames: int = 5, side: int = SIDE) -> list[np.ndarray]:
    """Smooth colours that move a little."""
    x, y = np.meshgrid(np.linspace(0, 1, side), np.linspace(0, 1, side))
    phases = np.random.default_rng(seed).uniform(0, 6, 3)
    return [
        np.stack(
            [127 + 100 * np.sin(5 * x + 3 * y + phase + t / 5) for phase in phases], -1
        ).astype(np.uint8)
        for t in range(n_frames)
    ]


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return write_video(tmp_path / "a.mp4", pictures())


def failed(comparison: library.Comparison) -> list[str]:
    return [check.name for check in comparison.checks if not check.passed]


@pytest.mark.parametrize("shape", [(64, 64), (11, 11), (33, 47)])
@pytest.mark.parametrize("noise", [1, 8, 60])
def test_psnr_and_ssim_are_those_of_scikit_image(shape: tuple[int, int], noise: int) -> None:
    generator = np.random.default_rng(noise)
    a = generator.integers(0, 256, (*shape, 3)).astype(np.uint8)
    b = np.clip(a + generator.normal(0, noise, a.shape), 0, 255).astype(np.uint8)
    assert library.psnr_db(a, b) == pytest.approx(peak_signal_noise_ratio(a, b), abs=1e-4)
    luma = [image @ np.array([0.2126, 0.7152, 0.0722]) for image in (a, b)]
    expected = structural_similarity(
        *luma, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255
    )
    assert library.ssim(a, b) == pytest.approx(expected, abs=1e-4)


def test_figures_of_equal_pictures() -> None:
    picture = pictures()[0]
    assert library.psnr_db(picture, picture) == 100.0
    assert library.ssim(picture, picture) == pytest.approx(1.0, abs=1e-6)
    with pytest.raises(InputError, match="10x64 are too small to compare"):
        library.ssim(picture[:, :10], picture[:, :10])


def test_a_video_is_like_itself(video: Path) -> None:
    comparison = library.compare(video, video)
    assert comparison.passed
    assert (comparison.n_compared, comparison.min_psnr_db) == (5, 100.0)
    assert comparison.min_ssim == pytest.approx(1.0, abs=1e-6)


def test_the_worst_frame_is_found(video: Path, tmp_path: Path) -> None:
    frames = pictures()
    frames[3] = np.roll(frames[3], 4, axis=1)
    comparison = library.compare(video, write_video(tmp_path / "b.mp4", frames))
    assert failed(comparison) == ["psnr", "ssim"]
    assert (comparison.worst_psnr_frame, comparison.worst_ssim_frame) == (3, 3)
    assert comparison.worst_frames[0][0] == 3
    assert comparison.min_psnr_db is not None and comparison.mean_psnr_db is not None
    assert comparison.min_psnr_db < comparison.mean_psnr_db


def test_each_difference_of_form_is_caught(video: Path, tmp_path: Path, repository: Path) -> None:
    def other(name: str, frames: list[np.ndarray], **options: object) -> list[str]:
        b = write_video(tmp_path / f"{name}.mp4", frames, **options)  # type: ignore[arg-type]
        return failed(library.compare(video, b))

    assert other("short", pictures(n_frames=4)) == ["frames"]
    assert other("fast", pictures(), fps=30) == ["fps"]
    assert other("small", pictures(side=48)) == ["size"]
    speech = repository / "examples" / "speech.wav"
    assert other("loud", pictures(n_frames=10), audio=speech) == ["frames", "sound"]


def test_sounds_of_other_lengths_are_caught(tmp_path: Path, repository: Path) -> None:
    speech = repository / "examples" / "speech.wav"
    a = write_video(tmp_path / "a.mp4", pictures(n_frames=20), audio=speech)
    b = write_video(tmp_path / "b.mp4", pictures(n_frames=20), audio=speech)
    assert library.compare(a, b).passed
    c = write_video(tmp_path / "c.mp4", pictures(n_frames=25), audio=speech)
    comparison = library.compare(a, c)
    assert failed(comparison) == ["frames", "sound"]
    assert comparison.checks[3].seen == "0.80 s and 1.00 s"


def test_a_change_of_quality_alone_is_caught(video: Path, tmp_path: Path) -> None:
    noisy = [
        np.clip(frame + np.random.default_rng(1).normal(0, 20, frame.shape), 0, 255).astype(
            np.uint8
        )
        for frame in pictures()
    ]
    a = write_video(tmp_path / "fine.mp4", noisy, crf=10)
    b = write_video(tmp_path / "coarse.mp4", noisy, crf=40)
    assert "psnr" in failed(library.compare(a, b))
    assert library.compare(a, b, limits=CompareLimits(min_psnr_db=5, min_ssim=0)).passed


def brightest(frame: np.ndarray) -> np.ndarray | None:
    """A square of four points around the brightest pixel of red; none in a dark frame."""
    if frame[..., 0].max() < 60:
        return None
    row, column = np.unravel_index(frame[..., 0].argmax(), frame.shape[:2])
    corners = np.array([[-5.0, -5], [5, -5], [-5, 5], [5, 5]])
    return corners + [column, row]


def spot(column: int, value: int = 255) -> np.ndarray:
    frame = np.zeros((SIDE, SIDE, 3), np.uint8)
    frame[28:36, column : column + 8] = value
    return frame


def test_drift_is_measured_in_face_heights(tmp_path: Path) -> None:
    a = write_video(tmp_path / "a.mp4", [spot(16)] * 3, crf=0)
    b = write_video(tmp_path / "b.mp4", [spot(16), spot(20), spot(16)], crf=0)
    limits = CompareLimits(min_psnr_db=0, min_ssim=-1, max_drift=0.39)
    comparison = library.compare(a, b, limits=limits, points=brightest)
    assert failed(comparison) == ["drift"]
    assert (comparison.max_drift, comparison.worst_drift_frame) == (pytest.approx(0.4), 1)
    wider = CompareLimits(min_psnr_db=0, min_ssim=-1, max_drift=0.41)
    assert library.compare(a, b, limits=wider, points=brightest).passed


def test_a_face_that_is_lost_is_an_endless_drift(tmp_path: Path) -> None:
    points = np.zeros((4, 3))
    assert library.landmark_drift(None, None) == 0.0
    assert library.landmark_drift(points, None) == math.inf
    assert library.landmark_drift(None, points) == math.inf
    a = write_video(tmp_path / "a.mp4", [spot(16)] * 2)
    b = write_video(tmp_path / "b.mp4", [spot(16), spot(16, 20)])
    limits = CompareLimits(max_drift=9)
    comparison = library.compare(a, b, limits=limits, points=brightest)
    assert "drift" in failed(comparison)
    assert comparison.as_json()["max_drift"] is None
    with pytest.raises(ValueError, match="needs a function"):
        library.compare(a, b, limits=limits)


def test_the_command_says_alike_with_0_and_different_with_1(video: Path, tmp_path: Path) -> None:
    result = run_vasa("compare", video, video)
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0] == f"{video} and {video}: alike"
    b = write_video(tmp_path / "b.mp4", pictures(seed=1))
    result = run_vasa("compare", video, b)
    assert (result.exit_code, result.stderr) == (1, "")
    assert "fail  psnr" in result.stdout and "in frame" in result.stdout
    assert run_vasa("compare", video, b, "--min-psnr", 0, "--min-ssim", "-1").exit_code == 0
    assert run_vasa("compare", video, b, "--min-psnr", 0).exit_code == 1
    assert run_vasa("compare", video, b, "--min-ssim", "-1").exit_code == 1


def test_the_limit_on_drift_reaches_the_library(
    video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vasa_cli.cli.compare.points_finder", lambda folder, device: brightest)
    result = run_vasa("compare", video, video, "--max-drift", 0)
    assert (result.exit_code, "ok    drift" in result.stdout) == (0, True)


def test_json_and_junit_for_machines(video: Path, tmp_path: Path) -> None:
    b = write_video(tmp_path / "b.mp4", pictures(seed=1))
    report = tmp_path / "report.xml"
    result = run_vasa("compare", video, b, "--json", "--junit", report)
    plain = json.loads(result.stdout)
    assert (result.exit_code, plain["passed"], plain["n_compared"]) == (1, False, 5)
    assert {check["name"]: check["passed"] for check in plain["checks"]} == {
        "size": True,
        "frames": True,
        "fps": True,
        "sound": True,
        "psnr": False,
        "ssim": False,
    }
    (suite,) = ElementTree.parse(report).getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("6", "2")
    failures = [case.get("name") for case in suite if case.find("failure") is not None]
    assert failures == ["psnr", "ssim"]


def test_the_diff_shows_the_worst_frames_and_where_they_differ(video: Path, tmp_path: Path) -> None:
    frames = pictures()
    frames[2] = frames[2].copy()
    frames[2][10:20, 30:40] += 100
    b = write_video(tmp_path / "b.mp4", frames)
    assert run_vasa("compare", video, b, "--diff", tmp_path / "diff.png").exit_code == 1
    diff = np.asarray(Image.open(tmp_path / "diff.png"))
    assert diff.shape == (3 * SIDE, 3 * SIDE, 3)  # three frames, each A, B and the map
    heat = diff[:SIDE, 2 * SIDE :].sum(-1)
    assert heat[12:18, 32:38].min() > 300 > heat[40:, :].max()


def test_the_heat_map_goes_from_black_to_white() -> None:
    a = np.zeros((1, 4, 3), np.uint8)
    b = a.copy()
    b[0, :, 1] = [0, 22, 43, 255]
    assert [color.argmin() if color.any() else -1 for color in library.heat_map(a, b)[0]][0] == -1
    assert library.heat_map(a, b)[0, 1].tolist() == [255, 7, 0]
    assert library.heat_map(a, b)[0, 3].tolist() == [255, 255, 255]
    assert np.array_equal(library.heat_map(a, b), library.heat_map(b, a))


def test_two_folders_are_compared_by_name(video: Path, tmp_path: Path) -> None:
    golden, new = tmp_path / "golden", tmp_path / "new"
    for folder in (golden, new):
        folder.mkdir()
        for name in ("x", "y"):
            (folder / f"{name}.mp4").write_bytes(video.read_bytes())
    (new / "more.mp4").write_bytes(video.read_bytes())
    assert run_vasa("compare", golden, new).exit_code == 0
    write_video(new / "y.mp4", pictures(seed=2))
    result = run_vasa("compare", golden, new, "--json", "--diff", tmp_path / "diff.png")
    plain = json.loads(result.stdout)
    assert (result.exit_code, [pair["passed"] for pair in plain["pairs"]]) == (1, [True, False])
    assert (tmp_path / "diff.png").exists()
    (new / "x.mp4").unlink()
    result = run_vasa("compare", golden, new)
    assert (result.exit_code, "x.mp4 of" in result.stderr) == (3, True)
    assert run_vasa("compare", golden, video).exit_code == 2
    assert run_vasa("compare", tmp_path / "golden" / "..", new).exit_code == 3


def test_what_cannot_be_read_or_written_is_told(video: Path, tmp_path: Path) -> None:
    result = run_vasa("compare", video, tmp_path / "none.mp4")
    assert (result.exit_code, "none.mp4 does not exist" in result.stderr) == (3, True)
    (tmp_path / "text.mp4").write_text("no video")
    assert run_vasa("compare", tmp_path / "text.mp4", video).exit_code == 3
    for flag in ("--diff", "--junit"):
        result = run_vasa("compare", video, video, flag, tmp_path / "none" / "x.png")
        assert (result.exit_code, "cannot be written" in result.stderr) == (2, True)


def test_nothing_compared_is_nothing_to_draw(video: Path, tmp_path: Path) -> None:
    small = write_video(tmp_path / "small.mp4", pictures(side=48))
    comparison = library.compare(video, small)
    assert (comparison.n_compared, comparison.min_psnr_db) == (0, None)
    with pytest.raises(UsageError, match="no frames were compared"):
        library.save_diff(comparison, tmp_path / "diff.png")
