"""A film with new words: the mouth speaks anew, and nothing else is touched."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import run_vasa as run
from tests.films import (
    SIDE,
    moved,
    nothing,
    photo,
    turned_by_phone,
    with_damage,
    write_film,
)
from tests.test_video import tone
from vasa_cli.dub import length_of, plan_dubbing, spoken_points, uncovered
from vasa_cli.extraction import Performance, extract, read_motion
from vasa_cli.face_parts import around_eyes, lower_face
from vasa_cli.film import open_film
from vasa_cli.geometry import N_DYNAMICS
from vasa_cli.motion import MOUTH_OPEN, Motion
from vasa_cli.pipeline import Renderer
from vasa_cli.refilm import FADE_FRAMES, Plan, draw, faded
from vasa_cli.repaint import lower_face_mask
from vasa_cli.track import track
from vasa_cli.video import probe, read_video

N_FRAMES = 12


def filmed() -> list[np.ndarray]:
    """A portrait that goes to the right and turns a little."""
    still = photo("hopper.jpg")
    return [moved(still, right=0.8 * k, roll_deg=0.4 * k) for k in range(N_FRAMES)]


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    return Renderer(device="cpu")


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_film(tmp_path_factory.mktemp("films") / "talk.mp4", filmed(), crf=6)


@pytest.fixture(scope="module")
def performed(renderer: Renderer, film: Path) -> Performance:
    return extract(open_film(film), renderer.models.reader)


@pytest.fixture(scope="module")
def plan(renderer: Renderer, performed: Performance) -> Plan:
    return plan_dubbing(
        performed, uncovered(performed), opening(), "trim", renderer.models.geometry
    )


@pytest.fixture(scope="module")
def dubbed(renderer: Renderer, performed: Performance, plan: Plan) -> list[np.ndarray]:
    return list(draw(renderer, performed.film, performed.track, plan))


def opening(n_frames: int = N_FRAMES) -> Motion:
    """A mouth that opens wide in the middle and is shut at both ends; a head that would turn."""
    dynamics = np.zeros((n_frames, N_DYNAMICS))
    dynamics[:, MOUTH_OPEN] = 3 * np.sin(np.linspace(0, np.pi, n_frames)) ** 2
    dynamics[:, 0] = 5.0
    return Motion(np.full((n_frames, 6), 10.0), dynamics, Fraction(25))


# What is drawn


def test_beyond_the_lower_face_every_bit_is_as_filmed(
    performed: Performance, plan: Plan, dubbed: list[np.ndarray]
) -> None:
    for k, (new, old) in enumerate(zip(dubbed, performed.film.frames())):
        square = plan.squares[k]
        assert square is not None and new.shape == old.shape
        mask = np.zeros(old.shape[:2])
        inside = lower_face_mask(square, performed.track.points[k], plan.targets[k])
        top, left = max(0, square.top), max(0, square.left)
        part = inside[top - square.top :, left - square.left :][: SIDE - top, : SIDE - left]
        mask[top : top + part.shape[0], left : left + part.shape[1]] = part
        assert np.array_equal(new[mask == 0], old[mask == 0])
        assert (mask > 0).mean() < 0.25
        eyes = performed.track.points[k, [33, 263, 468, 473], 1]
        assert not mask[: int(eyes.max()) + 4].any()


def test_the_mouth_follows_the_new_speech(
    renderer: Renderer, performed: Performance, dubbed: list[np.ndarray]
) -> None:
    seen = track(dubbed, renderer.models.reader)
    (shot,) = performed.shots
    assert shot is not None
    points = shot.window.to_crop(seen.points.astype(np.float64))
    found = read_motion(points, shot.code, renderer.models.geometry)[1][:, MOUTH_OPEN]
    asked = opening().dynamics[:, MOUTH_OPEN]
    assert np.corrcoef(found, asked)[0, 1] > 0.9
    assert found[[0, -1]].max() < 0.5 and found[5:7].min() > 1.2


def test_head_and_eyes_stay(performed: Performance, renderer: Renderer, plan: Plan) -> None:
    before, after = performed.track.points, plan.targets
    upper = lower_face(renderer.models.geometry) == 0
    assert np.abs(after - before)[:, upper].max() < 1e-3
    eyes = around_eyes(renderer.models.geometry) > 0
    assert np.abs(after - before)[:, eyes].max() < 1e-3


def test_the_old_mouth_leaves_no_trace_in_the_new_one(
    performed: Performance, renderer: Renderer
) -> None:
    (shot,) = performed.shots
    assert shot is not None
    geometry, frames = renderer.models.geometry, np.arange(N_FRAMES)
    points = performed.track.points.copy()
    shaken = points.copy()
    lips = lower_face(geometry) == 1
    shaken[:, lips] += np.random.default_rng(0).normal(0, 2, shaken[:, lips].shape)
    spoken = opening().dynamics
    a, b = (spoken_points(p, shot, frames, spoken, geometry) for p in (points, shaken))
    assert np.allclose(a[:, lips], b[:, lips])


def test_frames_without_a_face_are_left_alone(renderer: Renderer, tmp_path: Path) -> None:
    frames = filmed()
    frames[5:8] = nothing(3)
    found = extract(
        open_film(write_film(tmp_path / "gap.mp4", frames, crf=6)), renderer.models.reader
    )
    plan = plan_dubbing(found, uncovered(found), opening(), "trim", renderer.models.geometry)
    assert not plan.share[5:8].any() and plan.share[0] == 1
    old = list(found.film.frames())
    new = list(draw(renderer, found.film, found.track, plan))
    assert all(np.array_equal(new[k], old[k]) for k in (5, 6, 7))
    assert not np.array_equal(new[1], old[1])


def test_new_mouths_come_and_go_softly() -> None:
    untouched = np.zeros(20, bool)
    untouched[8:10] = True
    share = faded(untouched)
    assert share[7:11].tolist() == [0.25, 0, 0, 0.25]
    assert share[5] == 0.75 and (share[: 8 - FADE_FRAMES] == 1).all() and share[-1] == 1
    assert (faded(np.zeros(5, bool)) == 1).all() and not faded(np.ones(5, bool)).any()


@pytest.mark.parametrize(
    ("fit", "n_filmed", "n_spoken", "length"),
    [
        ("trim", 12, 20, 12),
        ("trim", 12, 5, 5),
        ("hold", 12, 20, 20),
        ("hold", 12, 5, 12),
        ("loop", 12, 20, 20),
        ("loop", 12, 5, 5),
        ("stretch", 12, 20, 20),
    ],
)
def test_lengths(fit: str, n_filmed: int, n_spoken: int, length: int) -> None:
    assert length_of(n_filmed, n_spoken, fit) == length


@pytest.mark.parametrize(
    ("fit", "shown"),
    [("hold", [11, 11, 11]), ("loop", [2, 1, 0]), ("stretch", [10, 11, 11])],
)
def test_a_longer_speech_is_fitted_as_asked(
    renderer: Renderer, performed: Performance, fit: str, shown: list[int]
) -> None:
    clear = uncovered(performed)
    long = plan_dubbing(performed, clear, opening(23), fit, renderer.models.geometry)
    assert long.numbers[-3:].tolist() == shown
    assert len(long.targets) == len(long.squares) == 23


# The whole line


def test_the_command_dubs(film: Path, tmp_path: Path) -> None:
    speech = tone(tmp_path / "s.wav", duration_s=0.6)
    out = tmp_path / "out.mp4"
    arguments = ["dub", film, speech, "-o", out, "--steps", 1, "--guidance-audio", 0]
    arguments += ["--device", "cpu", "--provenance", "off"]
    result = run(*arguments, "--fit", "loop", "--json")
    assert result.exit_code == 0, result.stderr
    said, info = json.loads(result.stdout), probe(out, count_frames=True)
    assert (said["n_frames"], said["provenance"], said["seed"]) == (15, "watermark only", 0)
    assert (info.n_frames, info.width, info.height, info.has_audio) == (15, SIDE, SIDE, True)
    assert run(*arguments).exit_code == 2  # it exists
    result = run(*arguments, "-f", "--no-watermark")
    assert result.exit_code == 0
    assert "the speech lasts 0.12 s longer than the film; that is left out" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "exit_code", "words"),
    [
        (["none.mp4", "SPEECH"], 3, "video none.mp4 does not exist"),
        (["PLAIN", "none.wav"], 3, "sound none.wav does not exist"),
        (["PLAIN", "SPEECH"], 3, "no face found in plain.mp4"),
        (["SPEECH", "SPEECH"], 3, "is not a video"),
        (["PLAIN", "PLAIN"], 3, "has no sound track"),
    ],
)
def test_bad_input_is_one_line(
    tmp_path: Path, arguments: list[str], exit_code: int, words: str
) -> None:
    names = {"PLAIN": write_film(tmp_path / "plain.mp4", nothing(4))}
    names["SPEECH"] = tone(tmp_path / "s.wav", duration_s=0.4)
    given = [names.get(word, word) for word in arguments]
    result = run("dub", *given, "-o", tmp_path / "out.mp4", "--device", "cpu", "--steps", 1)
    assert (result.exit_code, result.stdout) == (exit_code, "")
    assert words in result.stderr and len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "out.mp4").exists()


def test_an_odd_size_loses_its_last_row(renderer: Renderer, tmp_path: Path) -> None:
    from tests.test_video import ffmpeg

    even = write_film(tmp_path / "even.mp4", filmed()[:4])
    odd = tmp_path / "odd.mkv"
    ffmpeg("-i", even, "-vf", "crop=191:189:0:0", "-c:v", "ffv1", odd)
    speech = tone(tmp_path / "s.wav", duration_s=0.2)
    out = tmp_path / "out.mp4"
    result = run("dub", odd, speech, "-o", out, "--steps", 1, "--device", "cpu")
    assert result.exit_code == 0, result.stderr
    assert (probe(out).width, probe(out).height) == (190, 188)


@pytest.mark.parametrize("fault", ["damaged", "turned"])
def test_films_from_phones_and_bad_copies_are_dubbed(
    film: Path, tmp_path: Path, fault: str
) -> None:
    bad = tmp_path / f"{fault}.mp4"
    (
        with_damage(film, bad, start=0.7, stop=0.8)
        if fault == "damaged"
        else turned_by_phone(film, bad)
    )
    speech = tone(tmp_path / "s.wav", duration_s=0.48)
    out = tmp_path / "out.mp4"
    result = run("dub", bad, speech, "-o", out, "--steps", 1, "--device", "cpu")
    assert result.exit_code == 0, result.stderr
    assert ("damaged.mp4 is damaged" in result.stderr) == (fault == "damaged")
    assert probe(out, count_frames=True).n_frames == pytest.approx(N_FRAMES, abs=2)
    upright = next(read_video(film)).astype(float)
    assert np.abs(next(read_video(out)) - upright).mean() < 6
