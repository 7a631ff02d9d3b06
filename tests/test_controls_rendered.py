"""Controls seen in the frames: rendered with the trained weights and read back from the pixels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.test_pipeline import sound
from vasa_cli.audio import load_audio
from vasa_cli.compare import psnr_db
from vasa_cli.config import RenderOptions
from vasa_cli.control_trials import Stage, starts
from vasa_cli.geometry import face_measures, gaze_angles
from vasa_cli.motion_file import save_motion
from vasa_cli.pipeline import Renderer
from vasa_cli.video import read_video


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    return Renderer(device="cpu")


@pytest.fixture(scope="module")
def read(renderer: Renderer, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Renders the example and reads its last frame: head pose and size, gaze, measures."""
    folder = tmp_path_factory.mktemp("controls")
    speech = sound(folder / "s.wav", 0.4)
    photo = Path(__file__).resolve().parent.parent / "examples" / "portrait.jpg"

    def render(**asked: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        options = RenderOptions(size=256, num_steps=2, force=True, gaze_wander=0, **asked)
        output = renderer.render(photo, speech, folder / "v.mp4", options=options).output
        frame = list(read_video(output))[-1]
        reader = renderer.models.reader
        points = reader.read_points(frame, reader.detect(frame)[0])
        code = reader.fit(points, reader.window(points))
        shown = renderer.models.geometry.neutral(code.identity) + code.detail
        shown = shown + renderer.models.geometry.displacement(code.dynamics)
        size = np.linalg.norm(points[33, :2] - points[263, :2])  # between the outer eye corners
        return np.append(code.head_pose[:3], size), gaze_angles(shown), face_measures(shown)

    return render


def test_gaze_is_seen(read: Any) -> None:
    left, right = (read(gaze=g)[1] for g in ("left", "right"))
    up, down = (read(gaze=g) for g in ("up", "down"))
    assert right[0] - left[0] > 12
    assert (up[0][1] + up[1][1]) - (down[0][1] + down[1][1]) > 10  # head and eyes


def test_pose_is_seen(read: Any) -> None:
    left, right = (read(pose=(yaw, 0, 0))[0][0] for yaw in (-12, 12))
    assert right - left > 16
    assert read(pose=(0, 0, 12))[0][2] - read(pose=(0, 0, -12))[0][2] == pytest.approx(24, abs=3)


def test_distance_is_seen(read: Any) -> None:
    near, far = (read(distance=r)[0][3] for r in (0.85, 1.15))
    assert near / far == pytest.approx(1.15 / 0.85, rel=0.03)


def test_emotion_is_seen(read: Any) -> None:
    happy, sad = (read(emotion=name)[2] for name in ("happy", "sad"))
    assert happy[5] > sad[5] and happy[7] > sad[7]  # a wider mouth, higher corners
    surprised, angry = (read(emotion=name)[2] for name in ("surprised", "angry"))
    assert surprised[2] > angry[2] and surprised[6] > angry[6]  # wider eyes, higher brows


def test_what_the_photo_does_not_support_is_told(renderer: Renderer, tmp_path: Path) -> None:
    photo = Path(__file__).resolve().parent.parent / "examples" / "portrait.jpg"
    options = RenderOptions(size=128, num_steps=1, distance=0.5)
    result = renderer.render(photo, sound(tmp_path / "s.wav", 0.2), options=options)
    assert any("was asked for: the photo supports no more" in w for w in result.warnings)


def test_a_film_of_trials_shows_what_a_render_with_that_setting_does(
    renderer: Renderer, tmp_path: Path
) -> None:
    photo = Path(__file__).resolve().parent.parent / "examples" / "portrait.jpg"
    speech = sound(tmp_path / "s.wav", 0.5)
    options = RenderOptions(
        size=128, num_steps=1, preview_s=0.5, crf=0, watermark=False, provenance="off"
    )
    sampled = tmp_path / "motion.safetensors"  # the same, whatever a render would sample
    save_motion(sampled, renderer.record(load_audio(speech, max_seconds=0.5), options))
    stage = Stage(renderer, speech, options)
    stage.takes = {name: stage.takes[name] for name in ("gaze 0,0", "gaze 20,0", "happy 1")}
    takes = stage.film(photo, tmp_path / "film.mp4")
    shown = list(read_video(tmp_path / "film.mp4"))
    for name, start in starts(takes).items():
        take = takes[name]
        alone = replace(options, motion=sampled, num_steps=10, force=True, **take.asked)
        renderer.render(photo, speech, tmp_path / "alone.mp4", options=alone)
        frames = list(read_video(tmp_path / "alone.mp4"))
        for k, frame in enumerate(take.frames):
            assert psnr_db(shown[start + k], frames[frame]) > 45, name
    assert len(shown) == sum(len(take.frames) for take in takes.values())
