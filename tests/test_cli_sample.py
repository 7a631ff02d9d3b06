"""`vasa motion SPEECH` and `vasa render --motion`: sampled once, performed as if sampled then."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import run_vasa as run
from tests.test_pipeline import sound
from vasa_cli.config import RenderOptions
from vasa_cli.controls import TURN_DRAWN
from vasa_cli.errors import InputError, UsageError
from vasa_cli.motion_file import Recording, load_motion, save_motion
from vasa_cli.motion_edit import cut, resample
from vasa_cli.pipeline import Renderer

SMALL = RenderOptions(size=128)
QUICK = ("--steps", 2, "--guidance-audio", 0)


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    return Renderer(device="cpu")


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Path:
    path = tmp_path_factory.mktemp("sound") / "speech.wav"
    shutil.copy(repository / "examples" / "speech.wav", path)
    return path


@pytest.fixture(scope="module")
def talk(renderer: Renderer, speech: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The motion of the example's first second, as the command writes it."""
    path = tmp_path_factory.mktemp("motion") / "talk.safetensors"
    result = run("motion", speech, "-o", path, "--preview", 1, "--seed", 5, *QUICK)
    assert result.stdout == f"{path}: 25 frames, 1.00 s at 25 fps, seed 5\n", result.stderr
    return path


def test_the_file_says_where_it_comes_from(talk: Path) -> None:
    recording = load_motion(talk)
    assert (recording.source, recording.seed) == ("speech.wav", 5)
    assert recording.notes == {
        **{"seed": "5", "num_steps": "2", "guidance_audio": "0.0", "guidance_gaze": "1.0"}
    }
    assert len(recording.basis) == len(recording.source_sha256) == 64


@pytest.mark.parametrize("option", [("--seed", 6), ("--steps", 3), ("--guidance-audio", 2)])
def test_every_option_changes_the_motion(
    talk: Path, speech: Path, tmp_path: Path, option: tuple[str, int]
) -> None:
    other = tmp_path / "other.safetensors"
    base = ["--preview", 1, "--seed", 5, *QUICK]
    result = run("motion", "sample", speech, "-o", other, *base, *option, "--json")
    assert json.loads(result.stdout)["n_frames"] == 25
    before, after = (load_motion(path).motion.dynamics for path in (talk, other))
    assert np.abs(before - after).max() > 0.01


@pytest.mark.parametrize(
    ("option", "head_moves", "face_moves"),
    [
        (("--pose-offset", "10,0,0"), True, False),
        (("--head-motion", 0), True, False),
        (("--gaze", "left"), True, True),
        (("--emotion", "happy"), True, True),
        (("--expression", 0.5), False, True),
        (("--distance", 0.8), True, False),
    ],
    ids=lambda value: str(value),
)
def test_controls_change_the_motion_as_they_say(
    talk: Path,
    speech: Path,
    tmp_path: Path,
    option: tuple[str, object],
    head_moves: bool,
    face_moves: bool,
) -> None:
    other = tmp_path / "other.safetensors"
    result = run("motion", speech, "-o", other, "--preview", 1, "--seed", 5, *QUICK, *option)
    assert result.exit_code == 0, result.stderr
    before, after = load_motion(talk).motion, load_motion(other).motion
    assert (np.abs(after.head_pose - before.head_pose).max() > 0.05) == head_moves
    assert (np.abs(after.dynamics - before.dynamics).max() > 0.05) == face_moves
    if option[0] == "--pose-offset":
        assert np.allclose(
            (after.head_pose - before.head_pose)[:, :3], [10 * TURN_DRAWN[0], 0, 0], atol=1e-3
        )


def test_a_control_the_face_cannot_follow_is_told(speech: Path, tmp_path: Path) -> None:
    args = ["motion", speech, "-o", tmp_path / "m.safetensors", "--preview", 1, *QUICK]
    result = run(*args, "--pose", "45,0,0")
    assert result.exit_code == 0 and "the photo supports no more" in result.stderr


def test_a_render_from_the_file_has_the_frames_of_one_that_samples(
    renderer: Renderer, talk: Path, speech: Path, repository: Path, tmp_path: Path
) -> None:
    photo = repository / "examples" / "portrait.jpg"
    options = replace(SMALL, preview_s=1.0, fps=Fraction(30))
    sampling = replace(options, seed=5, num_steps=2, guidance_audio=0.0)
    sampled = renderer.render(photo, speech, tmp_path / "a.mp4", options=sampling)
    played = renderer.render(
        photo, speech, tmp_path / "b.mp4", options=replace(options, motion=talk)
    )
    assert played.frames_sha256 == sampled.frames_sha256
    assert played.seed == 5 and played.n_frames == 30


def test_a_motion_that_ends_before_the_sound_is_refused_and_a_longer_one_is_cut(
    renderer: Renderer, talk: Path, speech: Path, repository: Path, tmp_path: Path
) -> None:
    photo = repository / "examples" / "portrait.jpg"
    words = r"lasts 1.00 s and sound speech.wav 6.73 s; .* --preview 1$"
    with pytest.raises(InputError, match=words):
        renderer.render(photo, speech, tmp_path / "a.mp4", options=replace(SMALL, motion=talk))
    assert list(tmp_path.iterdir()) == []
    short = sound(tmp_path / "short.wav", 0.4)
    result = renderer.render(photo, short, tmp_path / "b.mp4", options=replace(SMALL, motion=talk))
    assert result.n_frames == 10
    assert any("its end is left out" in warning for warning in result.warnings)


def test_any_rate_and_origin_of_a_motion_will_do(
    renderer: Renderer, talk: Path, repository: Path, tmp_path: Path
) -> None:
    photo, other = repository / "examples" / "portrait.jpg", tmp_path / "m.safetensors"
    recording = resample(cut(load_motion(talk), 0, 12), Fraction(30000, 1001))
    save_motion(other, Recording(recording.motion))
    short = sound(tmp_path / "short.wav", 0.4)
    result = renderer.render(photo, short, tmp_path / "b.mp4", options=replace(SMALL, motion=other))
    assert (result.n_frames, result.seed) == (10, None)


def test_motion_of_other_geometry_is_refused(
    renderer: Renderer, talk: Path, speech: Path, repository: Path, tmp_path: Path
) -> None:
    foreign = tmp_path / "foreign.safetensors"
    save_motion(foreign, replace(load_motion(talk), basis="ab" * 32))
    options = replace(SMALL, motion=foreign, preview_s=1.0)
    with pytest.raises(InputError, match="other geometry weights"):
        renderer.render(
            repository / "examples" / "portrait.jpg", speech, tmp_path / "a.mp4", options=options
        )


def test_sampling_options_beside_a_motion_file_are_misuse(talk: Path) -> None:
    with pytest.raises(UsageError, match="with a motion file seed would change nothing"):
        RenderOptions(motion=talk, seed=1)


@pytest.mark.parametrize(
    ("arguments", "exit_code", "words"),
    [
        (["motion", "NONE", "-o", "OUT"], 3, "does not exist"),
        (["motion", "SPEECH", "-o", "OUT.mp4"], 2, "vasa writes motion as safetensors"),
        (["motion", "SPEECH"], 2, "Missing option '-o'"),
        (["motion", "SPEECH", "-o", "TALK"], 2, "give --force"),
        (["motion", "SPEECH", "-o", "OUT", "--steps", "0"], 2, "0 is not in the range"),
        (["motion", "SPEECH", "-o", "OUT", "--preview", "0"], 2, "0.0 is not in the range"),
        (["render", "PHOTO", "SPEECH", "--motion", "NONE"], 3, "does not exist"),
        (["render", "PHOTO", "SPEECH", "--motion", "PHOTO"], 3, "is not a motion file"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    talk: Path,
    speech: Path,
    repository: Path,
    tmp_path: Path,
    arguments: list[str],
    exit_code: int,
    words: str,
) -> None:
    names = {"TALK": talk, "SPEECH": speech, "PHOTO": repository / "examples" / "portrait.jpg"}
    names |= {name: tmp_path / f"{name.lower()}.safetensors" for name in ("NONE", "OUT")}
    names |= {"OUT.mp4": tmp_path / "out.mp4"}
    given = [names.get(word, word) for word in arguments]
    if "render" in arguments:
        given += ["-o", tmp_path / "talk.mp4", "--device", "cpu"]
    result = run(*given)
    assert (result.exit_code, result.stdout) == (exit_code, ""), result.stderr
    assert words in " ".join(result.stderr.split())
    assert list(tmp_path.iterdir()) == []
