"""The watermark: unseen, found after what happens to videos, and never where it is not."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Iterator

import numpy as np
import pytest
from PIL import Image

from tests.test_video import ffmpeg
from tests.videos import write_video
from vasa_cli.video import read_video
from vasa_cli.watermark import (
    BAND_CYCLES,
    THRESHOLD,
    Watermarker,
    detect,
    detect_each,
    false_alarm_bound,
    pattern,
)

N_FRAMES = 26
MIN_PSNR_DB = 42


def portrait(repository: Path, height: int, width: int) -> np.ndarray:
    picture = Image.open(repository / "examples" / "portrait.jpg").convert("RGB")
    return np.asarray(picture.resize((width, height), Image.Resampling.LANCZOS))


def talking(still: np.ndarray, n_frames: int = N_FRAMES) -> Iterator[np.ndarray]:
    """A still background in front of which a part moves from side to side."""
    height, width = still.shape[:2]
    top, left, side = height // 4, width // 4, min(height, width) // 2
    for i in range(n_frames):
        frame = still.copy()
        shift = round(side * 0.05 * math.sin(i))
        frame[top : top + side, left : left + side] = still[
            top : top + side, left + shift : left + side + shift
        ]
        yield frame


def psnr_db(marked: np.ndarray, frame: np.ndarray) -> float:
    error = float(np.mean((marked.astype(float) - frame) ** 2))
    return 10 * math.log10(255**2 / error)


@pytest.fixture(scope="session")
def marked_video(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    still = portrait(repository, 384, 384)
    marker = Watermarker(384, 384)
    frames = (marker.apply(frame) for frame in talking(still))
    return write_video(tmp_path_factory.mktemp("mark") / "marked.mp4", frames, crf=18)


# Unseen


@pytest.mark.parametrize(("height", "width"), [(512, 512), (128, 128), (130, 98), (250, 446)])
def test_the_mark_stays_below_42_db(repository: Path, height: int, width: int) -> None:
    frame = portrait(repository, height, width)
    marked = Watermarker(height, width).apply(frame)
    assert marked.shape == frame.shape and marked.dtype == np.uint8
    assert MIN_PSNR_DB <= psnr_db(marked, frame) < 60
    assert detect([marked]).found
    assert not detect([frame]).found


@pytest.mark.parametrize("level", [0, 1, 128, 255])
def test_even_frames_do_not_wrap_around(level: int) -> None:
    frame = np.full((96, 96, 3), level, np.uint8)
    marked = Watermarker(96, 96).apply(frame)
    assert int(np.abs(marked.astype(int) - level).max()) <= 6
    assert psnr_db(marked, frame) >= MIN_PSNR_DB


def test_noise_is_marked_within_42_db() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)
    assert psnr_db(Watermarker(120, 160).apply(frame), frame) >= MIN_PSNR_DB


def test_all_three_channels_change_alike_so_that_no_colour_shifts() -> None:
    frame = np.full((64, 64, 3), (90, 120, 150), np.uint8)
    change = Watermarker(64, 64).apply(frame).astype(int) - frame
    np.testing.assert_array_equal(change[..., 0], change[..., 1])
    np.testing.assert_array_equal(change[..., 0], change[..., 2])


def test_equal_frames_are_marked_alike_and_left_as_they_were(repository: Path) -> None:
    frame = portrait(repository, 128, 128)
    before = frame.copy()
    first, second = (Watermarker(128, 128).apply(frame) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(frame, before)


def test_a_frame_of_another_size_or_type_is_refused() -> None:
    with pytest.raises(ValueError, match="not .32, 32, 3. uint8"):
        Watermarker(32, 32).apply(np.zeros((32, 34, 3), np.uint8))
    with pytest.raises(ValueError, match="float64"):
        Watermarker(32, 32).apply(np.zeros((32, 32, 3)))


def test_the_pattern_has_its_band_and_no_other_frequency() -> None:
    drawn = pattern(256, 192)
    assert abs(float(drawn.mean())) < 1e-6 and float(drawn.std()) == pytest.approx(1, abs=1e-5)
    power = np.abs(np.fft.rfft2(drawn)) ** 2
    y, x = np.fft.fftfreq(256, 1 / 256)[:, None], np.arange(97)
    radius = np.hypot(y, x)
    inside = (radius >= BAND_CYCLES[0]) & (radius <= BAND_CYCLES[1])
    assert power[~inside].sum() < 1e-6 * power.sum()


def test_patterns_of_two_keys_are_unrelated() -> None:
    first, second = pattern(128, 128, key=1), pattern(128, 128, key=2)
    assert abs(float(np.mean(first * second))) < 0.1


# Found

ATTACKS = {
    "nothing": [],
    "crf 28": ["-crf", "28"],
    "rescaled to 360p": ["-vf", "scale=-2:360", "-crf", "23"],
    "cropped on all sides": ["-vf", "crop=iw*0.9:ih*0.9", "-crf", "23"],
    "cropped at one edge": ["-vf", "crop=iw*0.9:ih:0:0", "-crf", "23"],
    "1 fps": ["-vf", "select=not(mod(n\\,25))", "-crf", "23"],
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_the_mark_survives(marked_video: Path, tmp_path: Path, attack: str) -> None:
    attacked = tmp_path / "attacked.mp4"
    ffmpeg("-i", marked_video, "-c:v", "libx264", "-threads", "1", *ATTACKS[attack], attacked)
    seen = detect(read_video(attacked))
    assert seen.found, seen
    assert seen.false_alarm < 1e-4


def test_the_mark_survives_being_encoded_twice_more(marked_video: Path, tmp_path: Path) -> None:
    once, twice = tmp_path / "1.mp4", tmp_path / "2.mp4"
    for source, target in ((marked_video, once), (once, twice)):
        ffmpeg("-i", source, "-c:v", "libx264", "-threads", "1", "-crf", "28", target)
    assert detect(read_video(twice)).found


def test_a_crop_is_measured(repository: Path) -> None:
    marked = Watermarker(256, 256).apply(portrait(repository, 256, 256))
    seen = detect([marked[10 : 10 + 230, 20 : 20 + 218]])
    assert seen.found
    assert seen.part == pytest.approx((230 / 256, 218 / 256), abs=0.02)
    assert detect([marked]).part == (1.0, 1.0)


def test_another_key_does_not_find_it(repository: Path) -> None:
    marked = Watermarker(256, 256, key=5).apply(portrait(repository, 256, 256))
    assert detect([marked], key=5).found
    assert not detect([marked]).found


# Not found where it is not


def unmarked() -> dict[str, np.ndarray]:
    noise = np.random.default_rng(3)
    y, x = np.mgrid[:120, :160]
    ramp = np.stack([x, y, x + y], -1).astype(np.uint8)
    stripes = np.repeat((x[..., None] // 2 % 2 * 255), 3, 2).astype(np.uint8)
    return {
        "black": np.zeros((120, 160, 3), np.uint8),
        "gradient": ramp,
        "stripes": stripes,
        "checks": np.repeat(((x // 7 + y // 5) % 2 * 255)[..., None], 3, 2).astype(np.uint8),
        "white noise": noise.integers(0, 256, (120, 160, 3), np.uint8),
        "coarse noise": np.kron(noise.integers(0, 256, (15, 20, 1)), np.ones((8, 8, 3))).astype(
            np.uint8
        ),
        "one pixel": np.full((1, 1, 3), 7, np.uint8),
    }


@pytest.mark.parametrize("name", unmarked())
def test_unmarked_pictures_have_no_mark(name: str) -> None:
    seen = detect([unmarked()[name]] * 2)
    assert not seen.found and seen.z < THRESHOLD - 1
    assert seen.n_frames == 2


def test_no_one_of_many_other_keys_is_found_in_a_portrait(repository: Path) -> None:
    frame = portrait(repository, 200, 200)
    seen = detect_each([frame], range(60))
    assert seen[7] == detect([frame], key=7)
    assert max(one.z for one in seen) < THRESHOLD


def test_a_video_without_frames_is_an_error() -> None:
    with pytest.raises(ValueError, match="no frame"):
        detect([])


def test_the_bound_on_false_alarms_covers_the_chance_of_random_phases() -> None:
    angles = np.random.default_rng(1).random((20_000, 200)) * 2 * np.pi
    z = np.cos(angles).sum(1) / math.sqrt(200 / 2)
    for level in (1.0, 2.0, 3.0):
        assert float(np.mean(z >= level)) <= false_alarm_bound(level, n_places=1)
    # All that is searched: every second crop down to 104 of 128 samples, then those next to it.
    n_places = sum(129 - n for n in range(104, 129, 2)) ** 2 + 5 * 25**2
    assert false_alarm_bound(THRESHOLD, n_places=n_places) < 1e-4
    assert false_alarm_bound(-1.0, n_places=1) == 1.0
