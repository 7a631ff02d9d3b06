"""`vasa evaluate controls`: figures of actors who do exactly, or not quite, as they are asked."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.conftest import run_vasa as run
from tests.test_pipeline import sound
from vasa_cli.cli.evaluate_controls import find_portraits, lines
from vasa_cli.blinks import scale_blinks
from vasa_cli.config import Controls, RenderOptions
from vasa_cli.control_trials import HELD, SETTLE, Stage, Take, cut, settings, starts
from vasa_cli.control_values import EMOTIONS
from vasa_cli.controls import Tracks
from vasa_cli.errors import InputError, ResourceError, UsageError
from vasa_cli.evaluate_controls import ANGLES, SIGNS, evaluate
from vasa_cli.geometry import rotation_matrix
from vasa_cli.loading import load_geometry
from vasa_cli.motion import LIDS, Motion
from vasa_cli.motion_file import Recording
from vasa_cli.shown import QUANTITIES, Instrument, Series, outside_instrument, shown_series
from vasa_cli.weights import find_weights_dir

N_FRAMES = 60
OPTIONS = RenderOptions(preview_s=N_FRAMES / 25)
BLINKS_AT = (30, 70, 105, 140)  # frames of the motion


class Recorder:
    """Stands in for the renderer, which only has to give a motion here."""

    models = SimpleNamespace(reader=None, geometry=load_geometry(find_weights_dir()))

    def record(self, audio: Any, options: RenderOptions) -> Recording:
        dynamics = np.zeros((170, 48))
        for start in BLINKS_AT:
            dynamics[start : start + 4, LIDS] = -4.0
        head = np.zeros((170, 6))
        head[:40, 0] = 5.0  # and it rests from 40 to 60 of the frames that last
        return Recording(Motion(head, dynamics))


class Actor(Stage):
    """Films nothing: `reads` knows what each take asks for."""

    def film(self, photo: Path, video: Path) -> dict[str, Take]:
        if "faceless" in photo.name:
            raise InputError(f"no face found in {photo}")
        video.touch()
        return self.takes


@pytest.fixture(scope="module")
def actor(repository: Path) -> Actor:
    recorder: Any = Recorder()
    return Actor(recorder, repository / "examples" / "speech.wav", OPTIONS)


def reads(actor: Actor, *, gain: float = 1.0, late: int = 0) -> Instrument:
    """Shows what an actor was asked, angles and zooms and emotions times a gain, some late."""
    n_frames = len(actor.motion)

    def shown(asked: Tracks) -> Series:
        seen = {name: np.full(n_frames, 0.3) for name in QUANTITIES}
        sway = 2 * np.sin(np.arange(n_frames))
        turned = gain * (asked.pose + asked.pose_offset) + (asked.head_motion * sway)[:, None]
        seen |= dict(zip(ANGLES, turned.T))
        looks = np.roll(asked.gaze, late, axis=0) * asked.gaze_held[:, None]
        looks[:late] = asked.gaze[:1]
        seen["gaze_yaw"] = gain * looks[:, 0] - turned[:, 0]
        seen["gaze_pitch"] = gain * looks[:, 1] - turned[:, 1]
        seen["face_height"] = 100 / (1 + gain * (asked.distance - 1))
        seen["mouth_open"] = 0.01 * asked.expression * (actor.level - actor.level.min())
        lids = np.ones((n_frames, 2))
        for start in BLINKS_AT:
            lids[start : start + 4] = 0.1
        seen["eye_open"] = 0.3 * scale_blinks(lids, asked.blink, fps=25)[:, 0]
        for name, signs in SIGNS.items():
            for sign, way in signs.items():
                strength = asked.emotion[:, EMOTIONS.index(name)]
                seen[sign] = seen[sign] + 0.01 * gain * way * strength
        return seen

    def measure(video: Path) -> Series:
        times_s = (np.arange(n_frames) + 0.5) / 25
        parts = []
        for take in actor.takes.values():
            seen = shown(Tracks.of(Controls(**take.asked), times_s))
            for values in seen.values():  # as of a tracker that has not found the face again
                values[take.frames[:SETTLE]] = 1e3
            parts.append({name: values[take.frames] for name, values in seen.items()})
        return {name: np.concatenate([part[name] for part in parts]) for name in QUANTITIES}

    return measure


def figures(actor: Actor, instrument: Instrument, *names: str) -> dict[str, Any]:
    return evaluate([Path(name) for name in names or ("a.png", "b.png")], actor, instrument)


def test_who_does_exactly_as_asked_makes_no_error(actor: Actor) -> None:
    found = figures(actor, reads(actor))
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


def test_who_does_less_than_asked_is_found_out(actor: Actor) -> None:
    found = figures(actor, reads(actor, gain=0.8))
    assert found["gaze"]["slope"] == pytest.approx(0.8)
    assert found["gaze"]["mean_error_deg"] == pytest.approx(0.2 * (20 + 10 + 12 + 6) / 4)
    assert found["pose"]["slope"] == pytest.approx(0.8)
    assert found["distance"]["0.8 error"] > 0.03


def test_who_does_the_contrary_or_nothing_shows_no_emotion(actor: Actor) -> None:
    for gain in (-1.0, 0.0):
        found = figures(actor, reads(actor, gain=gain))
        assert all(
            found["emotion"][n][s]["faces"] == 0 for n, signs in SIGNS.items() for s in signs
        )


def test_who_comes_late_is_found_out(actor: Actor) -> None:
    assert figures(actor, reads(actor, late=4))["step_frames_late"] == 4


def test_cross_talk_says_what_moves_besides(actor: Actor) -> None:
    table = figures(actor, reads(actor))["cross_talk"]
    near = table["distance 0.8"]
    assert near["face_height"] == pytest.approx(25)
    assert all(near[q] == pytest.approx(0) for q in QUANTITIES if q != "face_height")
    assert table["gaze 20,0"]["gaze_yaw"] == pytest.approx(20)
    assert table["blink 0"]["eye_open"] > 0 and table["blink 0"]["yaw"] == pytest.approx(0)


def test_portraits_without_a_face_are_left_out_and_told(actor: Actor) -> None:
    told: list[str] = []
    paths = [Path("faceless.png"), Path("a.png")]
    found = evaluate(paths, actor, reads(actor), tell=told.append)
    assert found["portraits"] == 1
    assert told[0].startswith("faceless.png is left out: no face found")
    with pytest.raises(InputError, match="no portrait could be measured"):
        figures(actor, reads(actor), "faceless.png")


def test_every_setting_is_one_that_a_render_takes() -> None:
    made = settings()
    assert made["none"] == made.pop("blink 1") == {}  # which is shown where there are blinks
    assert len({json.dumps(asked, default=str) for asked in made.values()}) == len(made)
    for asked in made.values():
        RenderOptions(**asked)


# --- takes ---


def test_what_is_held_is_compared_over_the_same_frames_without_a_blink(actor: Actor) -> None:
    blinking = {start + k for start in BLINKS_AT for k in range(4)}
    timed = ("step", "blink ")
    compared = {
        tuple(take.frames[take.held])
        for name, take in actor.takes.items()
        if not name.startswith(timed)
    }
    assert len(compared) == 1
    shared = compared.pop()
    assert len(shared) == HELD - SETTLE and not blinking & set(shared)
    assert min(shared) >= 40  # where the head rests


def test_takes_last_as_long_as_they_have_to(actor: Actor) -> None:
    for name in ("none", "happy 1", "head_motion 2", "expression 0.5"):
        assert list(actor.takes[name].frames) == list(range(N_FRAMES)), name
    for name in ("gaze 20,0", "happy 0.5", "distance 0.8", "still"):
        assert len(actor.takes[name].frames) == HELD, name
    assert set(actor.takes["blink 2"].frames) >= {s + k for s in BLINKS_AT for k in range(-6, 10)}
    first = starts(actor.takes)
    assert first["none"] == 0 and first["gaze 0,0"] == N_FRAMES


def test_a_film_that_was_measured_in_part_is_refused(actor: Actor) -> None:
    whole = reads(actor)(Path("a.mp4"))
    with pytest.raises(InputError, match="5 frames were measured of a film of"):
        cut({name: values[:5] for name, values in whole.items()}, actor.takes)


def test_a_sound_that_is_too_short_is_refused(tmp_path: Path) -> None:
    recorder: Any = Recorder()
    short = sound(tmp_path / "s.wav", 0.3)
    with pytest.raises(InputError, match="too short to measure controls with; give 2 seconds"):
        Stage(recorder, short, OPTIONS)


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
    assert found["corner_skew"] == pytest.approx(plain["corner_skew"], abs=1e-3)


@pytest.mark.parametrize("roll", [0.0, 12.0])
def test_a_corner_that_is_lifted_alone_is_measured_along_the_face(roll: float) -> None:
    face = load_geometry(find_weights_dir()).mean * 200
    moved = face.copy()
    moved[291, 1] -= 4.0  # of the viewer's right
    turned = rotation_matrix(np.array([0.0, 0.0, roll]))
    plain, found = (shown_series((points @ turned.T)[None]) for points in (face, moved))
    change = (found["corner_skew"] - plain["corner_skew"]) * plain["face_height"]
    assert change == pytest.approx(4.0, abs=0.1)


def program(path: Path, names: tuple[str, ...], *, points: str = "None") -> str:
    """A command that writes the named quantities, or points, as an instrument has to."""
    path.write_text(
        "import sys, numpy\n"
        "video, option, series = sys.argv[1:]\n"
        "assert option == '--series' and open(video).read() == 'video'\n"
        f"written = {{name: numpy.ones(3) for name in {names!r}}}\n"
        f"points = {points}\n"
        "numpy.savez(series, **written if points is None else {'points': points})\n"
    )
    return f"{sys.executable} {path}"


def test_another_program_may_measure(tmp_path: Path) -> None:
    video = tmp_path / "v.mp4"
    video.write_text("video")
    series = outside_instrument(program(tmp_path / "whole.py", QUANTITIES))(video)
    assert set(series) == set(QUANTITIES) and (series["yaw"] == 1).all()
    with pytest.raises(InputError, match="does not measure face_height"):
        outside_instrument(program(tmp_path / "part.py", QUANTITIES[:-1]))(video)
    points = "numpy.random.rand(3, 478, 3)"
    series = outside_instrument(program(tmp_path / "points.py", (), points=points))(video)
    assert set(series) == set(QUANTITIES) and np.ptp(series["yaw"]) > 0
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


def test_figures_stand_beside_what_is_asked(actor: Actor) -> None:
    found = {"instrument": "mine"} | figures(actor, reads(actor))
    text = {line.split("  ")[0]: line.split()[-2:] for line in lines(found)}
    assert text["gaze mean_error_deg"] == ["most", "2"]
    assert text["distance 0.8 error"] == ["most", "0.02"]
    assert text["emotion happy corner_lift faces"] == ["10", "portraits"]
    assert text["instrument"][-1] == "mine"
    assert any(line.startswith("cross_talk distance 0.8 face_height") for line in lines(found))
