"""`vasa evaluate controls`: figures of actors who do exactly, or not quite, as they are asked."""

from __future__ import annotations

import json
import pickle
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.conftest import run_vasa as run
from tests.test_pipeline import sound
from vasa_cli.cli.evaluate_controls import find_portraits, lines
from vasa_cli.config import RenderOptions
from vasa_cli.controls import Tracks
from vasa_cli.control_values import EMOTIONS
from vasa_cli.errors import InputError, ResourceError, UsageError
from vasa_cli.evaluate_controls import SIGNS, evaluate, settings, speech_level
from vasa_cli.geometry import rotation_matrix
from vasa_cli.loading import load_geometry
from vasa_cli.motion import Motion
from vasa_cli.motion_file import Recording
from vasa_cli.shown import QUANTITIES, Instrument, Series, outside_instrument, shown_series
from vasa_cli.weights import find_weights_dir

OPTIONS = RenderOptions(preview_s=3.0)
N_FRAMES = 75


class Actor:
    """Stands in for the renderer: its videos say what was asked, and no more."""

    models = SimpleNamespace(reader=None)

    def record(self, audio: Any, options: RenderOptions) -> Recording:
        return Recording(Motion(np.zeros((N_FRAMES, 6)), np.zeros((N_FRAMES, 48))))

    def render(self, photo: Path, speech: Path, output: Path, *, options: RenderOptions) -> None:
        assert options.motion is not None and options.motion.exists()
        if "faceless" in photo.name:
            raise InputError(f"no face found in {photo}")
        output.write_bytes(pickle.dumps(replace(options, motion=None)))


@pytest.fixture
def speech(repository: Path) -> Path:
    return repository / "examples" / "speech.wav"


def reads(speech: Path, *, gain: float = 1.0, late: int = 0) -> Instrument:
    """Shows what an actor was asked, angles and zooms and emotions times a gain, some late."""
    level = speech_level(speech, OPTIONS)

    def measure(video: Path) -> Series:
        asked = Tracks.of(pickle.loads(video.read_bytes()), np.arange(N_FRAMES) / 25)
        shown = {name: np.full(N_FRAMES, 0.3) for name in QUANTITIES}
        sway = 2 * np.sin(np.arange(N_FRAMES))
        turned = gain * (asked.pose + asked.pose_offset) + (asked.head_motion * sway)[:, None]
        shown |= dict(zip(("yaw", "pitch", "roll"), turned.T))
        looks = np.roll(asked.gaze, late, axis=0) * asked.gaze_held[:, None]
        looks[:late] = asked.gaze[:1]
        shown["gaze_yaw"] = gain * looks[:, 0] - turned[:, 0]
        shown["gaze_pitch"] = gain * looks[:, 1] - turned[:, 1]
        shown["face_height"] = 100 / (1 + gain * (asked.distance - 1))
        shown["mouth_open"] = 0.01 * asked.expression * (level - level.min())
        for k in range(round(4 * asked.blink[0])):
            shown["eye_open"][5 + 8 * k : 8 + 8 * k] = 0.01
        for name, signs in SIGNS.items():
            for sign, way in signs.items():
                strength = asked.emotion[:, EMOTIONS.index(name)]
                shown[sign] = shown[sign] + 0.01 * gain * way * strength
        return shown

    return measure


def figures(speech: Path, instrument: Instrument, *names: str) -> dict[str, Any]:
    portraits = [Path(name) for name in names or ("a.png", "b.png")]
    return evaluate(portraits, speech, Actor(), instrument, OPTIONS)  # type: ignore[arg-type]


def test_who_does_exactly_as_asked_makes_no_error(speech: Path) -> None:
    found = figures(speech, reads(speech))
    for control in ("gaze", "pose"):
        assert found[control]["mean_error_deg"] == pytest.approx(0, abs=1e-6)
        assert found[control]["slope"] == pytest.approx(1)
    assert found["gaze"]["seen_deg"]["gaze 0,-12"] == pytest.approx(-12)
    assert found["pose"]["seen_deg"]["pose 0,0,15"] == pytest.approx(15)
    assert all(error < 1e-9 for error in found["distance"].values())
    for name, signs in SIGNS.items():
        for sign in signs:
            assert found["emotion"][name][sign]["faces"] == 2
        assert found["emotion"][name]["lip_correlation_change"] == pytest.approx(0)
    assert found["head_motion"] == pytest.approx({"0": 0, "0.5": 0.5, "2": 2})
    assert found["expression"] == pytest.approx({"0": 0, "0.5": 0.5, "2": 2})
    assert found["blinks"] == pytest.approx({"0": 0, "0.5": 2, "1": 4, "2": 8})
    assert found["step_frames_late"] == 0


def test_who_does_less_than_asked_is_found_out(speech: Path) -> None:
    found = figures(speech, reads(speech, gain=0.8))
    assert found["gaze"]["slope"] == pytest.approx(0.8)
    assert found["gaze"]["mean_error_deg"] == pytest.approx(0.2 * (20 + 10 + 12 + 6) / 4)
    assert found["pose"]["slope"] == pytest.approx(0.8)
    assert found["distance"]["0.8 error"] > 0.03


def test_who_does_the_contrary_or_nothing_shows_no_emotion(speech: Path) -> None:
    for gain in (-1.0, 0.0):
        found = figures(speech, reads(speech, gain=gain))
        assert all(
            found["emotion"][n][s]["faces"] == 0 for n, signs in SIGNS.items() for s in signs
        )


def test_who_comes_late_is_found_out(speech: Path) -> None:
    assert figures(speech, reads(speech, late=4))["step_frames_late"] == 4


def test_cross_talk_says_what_moves_besides(speech: Path) -> None:
    table = figures(speech, reads(speech))["cross_talk"]
    near = table["distance 0.8"]
    assert near["face_height"] == pytest.approx(25)
    assert all(near[q] == pytest.approx(0) for q in QUANTITIES if q != "face_height")
    assert table["gaze 20,0"]["gaze_yaw"] == pytest.approx(20)
    assert table["blink 0"]["eye_open"] > 0 and table["blink 0"]["yaw"] == pytest.approx(0)


def test_portraits_without_a_face_are_left_out_and_told(speech: Path) -> None:
    told: list[str] = []
    paths = [Path("faceless.png"), Path("a.png")]
    found = evaluate(
        paths, speech, Actor(), reads(speech), OPTIONS, tell=told.append  # type: ignore[arg-type]
    )
    assert found["portraits"] == 1
    assert told[0].startswith("faceless.png is left out: no face found")
    with pytest.raises(InputError, match="no portrait could be measured"):
        figures(speech, reads(speech), "faceless.png")


def test_every_setting_is_one_that_a_render_takes() -> None:
    made = settings()
    assert len({json.dumps(asked, default=str) for asked in made.values()}) == len(made)
    for asked in made.values():
        RenderOptions(**asked)


# --- instruments ---


def test_a_turned_face_is_measured_as_turned() -> None:
    face = load_geometry(find_weights_dir()).mean * 200
    straight = shown_series(face[None])
    turn = np.array([12.0, -8.0, 5.0])
    turned = shown_series((face @ rotation_matrix(turn).T)[None])
    for name, angle in zip(("yaw", "pitch", "roll"), turn):
        assert turned[name][0] - straight[name][0] == pytest.approx(angle, abs=1.5), name
    assert turned["face_height"] == pytest.approx(straight["face_height"])
    assert set(straight) == set(QUANTITIES)


def test_eyes_lids_and_lips_are_measured() -> None:
    face = load_geometry(find_weights_dir()).mean * 200
    plain = shown_series(face[None])
    moved = face.copy()
    moved[468:478] += [2.0, -1.0, 0.0]  # irises to the right and up
    moved[[87, 14, 317], 1] += 5.0  # lower lip down
    moved[[61, 291], 1] -= 3.0  # corners up
    found = shown_series(moved[None])
    assert found["gaze_yaw"] > plain["gaze_yaw"] + 3
    assert found["gaze_pitch"] > plain["gaze_pitch"] + 1
    height = plain["face_height"]
    assert (found["mouth_open"] - plain["mouth_open"]) * height == pytest.approx(5.0, abs=0.3)
    assert (found["corner_lift"] - plain["corner_lift"]) * height == pytest.approx(3.0, abs=0.1)


def program(path: Path, names: tuple[str, ...]) -> str:
    """A command that writes the named quantities as an instrument has to."""
    path.write_text(
        "import sys, numpy\n"
        "video, option, series = sys.argv[1:]\n"
        "assert option == '--series' and open(video).read() == 'video'\n"
        f"numpy.savez(series, **{{name: numpy.ones(3) for name in {names!r}}})\n"
    )
    return f"{sys.executable} {path}"


def test_another_program_may_measure(tmp_path: Path) -> None:
    video = tmp_path / "v.mp4"
    video.write_text("video")
    series = outside_instrument(program(tmp_path / "whole.py", QUANTITIES))(video)
    assert set(series) == set(QUANTITIES) and (series["yaw"] == 1).all()
    with pytest.raises(InputError, match="does not measure face_height"):
        outside_instrument(program(tmp_path / "part.py", QUANTITIES[:-1]))(video)
    with pytest.raises(ResourceError, match="could not measure v.mp4: "):
        outside_instrument(f"{sys.executable} {tmp_path / 'absent.py'}")(video)
    with pytest.raises(UsageError, match="no-such-program cannot be run"):
        outside_instrument("no-such-program")(video)
    with pytest.raises(UsageError, match="the instrument is empty"):
        outside_instrument(" ")


# --- the command ---


def test_pictures_of_folders_are_limited_and_given_ones_kept(tmp_path: Path) -> None:
    folder = tmp_path / "people"
    folder.mkdir()
    for k in range(20):
        (folder / f"p{k:02d}.png").touch()
    (folder / "notes.txt").touch()
    one = tmp_path / "one.jpg"
    one.touch()
    found = find_portraits([one, folder], limit=3)
    assert found == [one, *(folder / f"p{k:02d}.png" for k in (0, 9, 19))]
    kept_out = find_portraits([folder], limit=None, validation=True)
    assert 0 < len(kept_out) < 20 and set(kept_out) < set(find_portraits([folder], limit=None))


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    (tmp_path / "films").mkdir()
    (tmp_path / "films" / "a.mp4").touch()
    speech = sound(tmp_path / "s.wav", 0.2)
    done = run("evaluate", "controls", tmp_path / "films", "--speech", speech)
    assert done.exit_code == 3
    assert "no picture in" in done.stderr and "give portraits" in done.stderr


def test_figures_stand_beside_what_is_asked(speech: Path) -> None:
    found = {"instrument": "mine"} | figures(speech, reads(speech))
    text = {line.split("  ")[0]: line.split()[-2:] for line in lines(found)}
    assert text["gaze mean_error_deg"] == ["most", "2"]
    assert text["distance 0.8 error"] == ["most", "0.02"]
    assert text["emotion happy corner_lift faces"] == ["10", "portraits"]
    assert text["instrument"][-1] == "mine"
    assert any(line.startswith("cross_talk distance 0.8 face_height") for line in lines(found))
