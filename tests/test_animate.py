"""A portrait performs a film: what was done is what is seen."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import run_vasa as run
from tests.films import EXAMPLES, moved, photo, write_film
from tests.test_video import tone
from vasa_cli.animate import Driving, animate, rebased
from vasa_cli.config import RenderOptions, RenderResult
from vasa_cli.errors import InputError, UsageError
from vasa_cli.extraction import extract
from vasa_cli.film import open_film
from vasa_cli.geometry import N_DYNAMICS, FaceCode
from vasa_cli.motion import MOUTH_OPEN, Motion
from vasa_cli.motion_file import Recording, load_motion, save_motion
from vasa_cli.pipeline import Renderer
from vasa_cli.video import decoded_sha256, probe

SMALL = RenderOptions(size=128, num_steps=1, guidance_audio=0, force=True)
PORTRAIT = EXAMPLES / "hopper.jpg"
N_FRAMES = 10


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    return Renderer(device="cpu")


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A portrait that turns clockwise by a degree and a half a frame."""
    folder = tmp_path_factory.mktemp("films")
    frames = [moved(photo(), roll_deg=1.5 * k) for k in range(N_FRAMES)]
    return write_film(folder / "turn.mp4", frames, sound=tone(folder / "tone.wav"))


@pytest.fixture(scope="module")
def motion_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A head that turns from -9 to 9 degrees while the mouth opens, then shuts."""
    head, dynamics = np.zeros((N_FRAMES, 6)), np.zeros((N_FRAMES, N_DYNAMICS))
    head[:, 0] = np.linspace(-9, 9, N_FRAMES)
    dynamics[:, MOUTH_OPEN] = 3 * np.sin(np.linspace(0, np.pi, N_FRAMES))
    path = tmp_path_factory.mktemp("motions") / "m.safetensors"
    save_motion(path, Recording(Motion(head, dynamics)))
    return path


def perform(renderer: Renderer, driver: Path, output: Path, **driving: object) -> RenderResult:
    asked = Driving(**driving)  # type: ignore[arg-type]
    return animate(renderer, PORTRAIT, driver, output, options=SMALL, driving=asked)


def seen(renderer: Renderer, path: Path) -> Recording:
    return extract(open_film(path), renderer.models.reader, strength=0).recording


def slope(values: np.ndarray) -> float:
    return float(np.polyfit(np.arange(len(values)), values, 1)[0])


def test_a_films_turn_and_sound_are_taken_over(
    renderer: Renderer, film: Path, tmp_path: Path
) -> None:
    result = perform(renderer, film, tmp_path / "out.mp4")
    info = probe(result.output, count_frames=True)
    assert (info.n_frames, info.fps, info.width, info.has_audio) == (N_FRAMES, 25, 128, True)
    assert result.seed is None
    roll = seen(renderer, result.output).motion.head_pose[:, 2]
    assert 1.0 < slope(roll) < 1.8  # drawn 128 pixels wide, the head follows a little less far


def test_only_what_is_asked_for_is_taken_over(
    renderer: Renderer, motion_file: Path, tmp_path: Path
) -> None:
    head, lips = (
        seen(renderer, perform(renderer, motion_file, tmp_path / f"{p}.mp4", parts=(p,)).output)
        for p in ("head", "lips")
    )
    assert slope(head.motion.head_pose[:, 0]) > 0.6 > 0.2 > slope(lips.motion.head_pose[:, 0])
    mouths = [np.ptp(r.motion.dynamics[:, MOUTH_OPEN]) for r in (head, lips)]
    assert mouths[1] > 1.5 > 0.7 > mouths[0]
    assert not probe(tmp_path / "lips.mp4").has_audio


def test_lips_that_touch_touch(renderer: Renderer, motion_file: Path, tmp_path: Path) -> None:
    found = seen(renderer, perform(renderer, motion_file, tmp_path / "out.mp4").output)
    mouth = found.motion.dynamics[:, MOUTH_OPEN]
    assert mouth[[0, -1]].max() < 0.3 and mouth[4:6].min() > 1.2


def test_a_speech_is_heard_and_moves_the_lips(
    renderer: Renderer, motion_file: Path, tmp_path: Path
) -> None:
    speech = tone(tmp_path / "s.wav", duration_s=0.8)
    with pytest.raises(UsageError, match="has 10 frames where 20 are needed; take --fit"):
        perform(renderer, motion_file, tmp_path / "out.mp4", speech=speech)
    assert not (tmp_path / "out.mp4").exists()
    result = perform(renderer, motion_file, tmp_path / "out.mp4", speech=speech, fit="loop")
    assert (result.n_frames, result.seed) == (20, 0) and probe(result.output).has_audio
    yaw = seen(renderer, result.output).motion.head_pose[:, 0]
    assert slope(yaw[:9]) > 0.6 and slope(yaw[10:18]) < -0.6  # there and back


def test_the_preview_and_rate_are_those_asked_for(
    renderer: Renderer, motion_file: Path, film: Path, tmp_path: Path
) -> None:
    options = replace(SMALL, preview_s=0.2, fps=50)
    for driver in (motion_file, film):
        result = animate(
            renderer,
            PORTRAIT,
            driver,
            tmp_path / "out.mp4",
            options=options,
            fps_from_driver=False,
        )
        assert (result.n_frames, result.fps) == (10, 50)


# What motion is counted from


def known(n_frames: int = 6) -> Recording:
    head, dynamics = np.zeros((n_frames, 6)), np.zeros((n_frames, N_DYNAMICS))
    head[:, 0] = dynamics[:, 9] = np.arange(n_frames)
    dynamics[:, MOUTH_OPEN] = 1.0
    origin = np.zeros((2, 54))
    origin[:, 0], origin[:, 3], origin[:, 6 + 9] = [10.0, 20.0], 5.0, 1.0
    return Recording(Motion(head, dynamics), origin=origin, cuts=(3,))


def sitter() -> FaceCode:
    pose = np.array([4.0, 0, 0, 0, 0, 1])
    return FaceCode(np.zeros(40), pose, np.zeros(N_DYNAMICS), np.zeros((478, 3)))


def test_changes_are_counted_from_the_frame_asked_for(renderer: Renderer) -> None:
    geometry, code = renderer.models.geometry, sitter()
    recording = known()
    assert rebased(recording, Driving(), code, geometry) is recording.motion
    first = rebased(known(), Driving(neutral="first"), code, geometry)
    assert first.head_pose[:, 0].tolist() == [0, 1, 2, 13, 14, 15]
    assert not first.head_pose[:, 3].any()  # place is nothing to the photo
    assert first.dynamics[:, 9].tolist() == [0, 1, 2, 3, 4, 5]
    assert (first.dynamics[:, MOUTH_OPEN] == 1).all()  # counted from closed lips
    fourth = rebased(known(), Driving(neutral="4"), code, geometry)
    assert fourth.head_pose[4, 0] == 0 and fourth.dynamics[4, 9] == 0
    with pytest.raises(UsageError, match="no frame 6 to be neutral: the motion has 0-5"):
        rebased(known(), Driving(neutral="6"), code, geometry)


def test_absolute_motion_is_as_filmed(renderer: Renderer) -> None:
    found = rebased(known(), Driving(absolute=True), sitter(), renderer.models.geometry)
    assert (found.head_pose[:, 0] + 4).tolist() == [10, 11, 12, 23, 24, 25]
    assert not found.head_pose[:, 3].any()
    assert (found.dynamics[:, 9]).tolist() == [1, 2, 3, 4, 5, 6]
    with pytest.raises(UsageError, match="was sampled and has no pose of its own"):
        sampled = replace(known(), origin=None)
        rebased(sampled, Driving(absolute=True), sitter(), renderer.models.geometry)


def test_parts_default_to_all_but_what_a_speech_drives() -> None:
    assert Driving().taken == ("head", "eyes", "lips", "expression")
    assert Driving(speech=Path("s.wav")).taken == ("head", "eyes", "expression")
    assert Driving(speech=Path("s.wav"), parts=("lips",)).taken == ("lips",)


# The command


def test_the_command_animates(motion_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    arguments = ["animate", PORTRAIT, motion_file, "-o", out, "--size", 128, "--device", "cpu"]
    result = run(*arguments, "--json", "--provenance", "off", "--no-watermark")
    assert result.exit_code == 0, result.stderr
    said = json.loads(result.stdout)
    assert (said["n_frames"], said["width"], said["provenance"]) == (N_FRAMES, 128, "off")
    first = decoded_sha256(out)
    assert run(*arguments).exit_code == 2
    result = run(*arguments, "-f", "--provenance", "off", "--no-watermark", "--neutral", "first")
    assert result.exit_code == 0 and decoded_sha256(out) != first


@pytest.mark.parametrize(
    ("arguments", "exit_code", "words"),
    [
        (["--neutral", "best"], 2, "neutral best is neither median nor first nor a frame's number"),
        (["--neutral", "3", "--absolute"], 2, "has no neutral frame"),
        (["--absolute"], 2, "was sampled and has no pose"),
        (["--speech", "none.wav"], 3, "sound none.wav does not exist"),
        (["-o", "out.mov"], 2, "vasa writes MP4"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    motion_file: Path, tmp_path: Path, arguments: list[str], exit_code: int, words: str
) -> None:
    words_given = ["-o", tmp_path / "out.mp4", "--device", "cpu", *arguments]
    result = run("animate", PORTRAIT, motion_file, *words_given)
    assert (result.exit_code, result.stdout) == (exit_code, "")
    assert words in " ".join(result.stderr.split())
    assert not list(tmp_path.iterdir())


def test_motion_of_other_weights_is_refused(renderer: Renderer, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save_motion(path, replace(known(), basis="ef" * 32))
    with pytest.raises(InputError, match="other geometry weights"):
        perform(renderer, path, tmp_path / "out.mp4")
    assert load_motion(path).basis == "ef" * 32
