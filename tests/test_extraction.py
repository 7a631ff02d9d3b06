"""Motion out of films, with the trained weights: what was moved is what is read."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import run_vasa as run
from tests.films import SIDE, moved, nothing, photo, turned_by_phone, with_damage, write_film
from vasa_cli.extraction import (
    Performance,
    extract,
    gaps_of,
    read_motion,
    shut_lips,
    tracking_side,
)
from vasa_cli.face import FaceReader
from vasa_cli.film import open_film
from vasa_cli.geometry import CROP_ORIGIN_Y, N_DYNAMICS, FaceCode, Geometry, face_measures
from vasa_cli.loading import load_geometry
from vasa_cli.motion import LIDS, MOUTH_OPEN
from vasa_cli.motion_file import load_motion
from vasa_cli.weights import find_weights_dir


@pytest.fixture(scope="module")
def geometry() -> Geometry:
    return load_geometry(find_weights_dir())


def turning(n_frames: int) -> list[np.ndarray]:
    """A portrait that turns clockwise by a degree a frame while it goes to the right."""
    return [moved(photo(), roll_deg=k - n_frames / 2, right=1.5 * k) for k in range(n_frames)]


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_film(tmp_path_factory.mktemp("films") / "turn.mp4", turning(14))


@pytest.fixture(scope="module")
def performance(film: Path, reader: FaceReader) -> Performance:
    return extract(open_film(film), reader, basis="ab")


def someone(geometry: Geometry) -> FaceCode:
    rng = np.random.default_rng(1)
    detail = rng.normal(0, 0.001, (478, 3))
    identity = rng.normal(0, 0.7, geometry.identity_basis.shape[2])
    return FaceCode(identity, np.array([0, 0, 0, 0, 0, 1.0]), np.zeros(N_DYNAMICS), detail)


# From points to motion


def test_poses_and_measures_are_read_as_they_were_set(geometry: Geometry) -> None:
    code, rng = someone(geometry), np.random.default_rng(2)
    pose = np.array([0, 0, 0, 0, 0, 1.0]) + rng.normal(0, 1, (20, 6)) * [8, 5, 5, 0.1, 0.1, 0.05]
    dynamics = rng.normal(0, 0.5, (20, N_DYNAMICS))
    dynamics[:, MOUTH_OPEN] = rng.uniform(0.5, 3, 20)
    points = geometry.landmarks(code, head_pose=pose, dynamics=dynamics)
    found_pose, found = read_motion(points, code, geometry)
    assert np.abs(found_pose - pose).max(0) == pytest.approx(np.zeros(6), abs=0.8)
    again = geometry.landmarks(code, head_pose=found_pose, dynamics=found)
    error = np.linalg.norm(again - points, axis=-1)[..., :468]
    assert error.mean() < 0.004
    for k in (*LIDS, MOUTH_OPEN):
        assert np.corrcoef(found[:, k], dynamics[:, k])[0, 1] > 0.99


def test_eyes_that_shut_are_read_as_shut_on_anyone(geometry: Geometry) -> None:
    code = someone(geometry)
    pose = np.tile([0, 0, 0, 0, 0, 1.0], (3, 1))
    gap = face_measures(geometry.mean)[list(LIDS)]
    dynamics = np.zeros((3, N_DYNAMICS))
    unit = face_measures(geometry.displacement(np.eye(N_DYNAMICS)))[list(LIDS), list(LIDS)]
    dynamics[1, list(LIDS)] = -gap / unit  # shut
    dynamics[2, list(LIDS)] = -gap / unit / 2
    points = geometry.landmarks(code, head_pose=pose, dynamics=dynamics)
    found = read_motion(points, code, geometry)[1]
    other = replace(someone(geometry), identity=-code.identity)
    shown = geometry.landmarks(other, head_pose=pose, dynamics=found)
    openings = face_measures(shown)[:, list(LIDS)] / face_measures(shown)[0, list(LIDS)]
    assert openings[1] == pytest.approx([0, 0], abs=0.03)
    assert openings[2] == pytest.approx([0.5, 0.5], abs=0.1)


def test_lips_that_are_read_as_all_but_shut_are_shut(geometry: Geometry) -> None:
    dynamics = np.zeros((200, N_DYNAMICS))
    dynamics[:, MOUTH_OPEN] = 0.12 + np.clip(np.sin(np.arange(200) / 5), 0, None)
    shut = shut_lips(dynamics, geometry)[:, MOUTH_OPEN]
    assert (shut == 0).mean() > 0.4
    assert shut.max() == pytest.approx(1.0, abs=0.01)
    wide = dynamics + np.eye(N_DYNAMICS)[MOUTH_OPEN] * 2
    assert np.array_equal(shut_lips(wide, geometry), wide)  # never shut: nothing to go by


def test_gaps_are_first_and_last_frames() -> None:
    missing = np.array([True, False, False, True, True, False, True])
    assert gaps_of(missing) == [(0, 0), (3, 4), (6, 6)]
    assert gaps_of(np.zeros(3, bool)) == []


# From films to motion


def test_the_heads_turn_and_way_are_read(performance: Performance) -> None:
    motion = performance.recording.motion
    assert len(motion) == 14 and motion.fps == 25
    slope = np.polyfit(np.arange(14), motion.head_pose, 1)[0]
    (shot,) = performance.shots
    assert shot is not None
    assert slope[2] == pytest.approx(1.0, abs=0.06)  # roll, degrees a frame
    # the picture turns about its middle, the head's origin lies above that
    above = SIDE / 2 - (shot.window.y + CROP_ORIGIN_Y * shot.window.half)
    pixels = 1.5 + np.radians(1) * above
    assert slope[3] * shot.window.half == pytest.approx(pixels, abs=0.3)
    assert np.abs(slope[:2]).max() < 0.25 and abs(slope[5]) < 0.004
    assert np.ptp(motion.dynamics[:, MOUTH_OPEN]) < 0.15  # it smiles throughout


def test_a_recording_says_where_it_comes_from(performance: Performance, film: Path) -> None:
    import hashlib

    recording = performance.recording
    assert (recording.source, recording.made_by, recording.basis) == ("turn.mp4", "extract", "ab")
    assert recording.source_sha256 == hashlib.sha256(film.read_bytes()).hexdigest()
    assert recording.cuts == () and recording.filled == () and performance.warnings == ()


def test_rest_and_change_add_up_to_what_was_read(performance: Performance) -> None:
    recording, (shot,) = performance.recording, performance.shots
    assert shot is not None and recording.origin is not None
    angles = recording.origin[0, :3] + recording.motion.head_pose[:, :3]
    assert np.allclose(angles, shot.head_pose[:, :3])
    distance = np.exp(recording.origin[0, 5] + recording.motion.head_pose[:, 5])
    assert np.allclose(distance, shot.head_pose[:, 5])
    assert np.allclose(recording.origin[0, 6:] + recording.motion.dynamics, shot.dynamics)


def test_tracked_points_lie_where_the_reader_puts_them(
    performance: Performance, reader: FaceReader, film: Path
) -> None:
    frames = list(open_film(film).frames())
    for k in (0, 13):
        (face,) = reader.detect(frames[k])
        expected = reader.read_points(frames[k], face)
        eyes = np.linalg.norm(expected[33, :2] - expected[263, :2])
        error = np.linalg.norm((performance.track.points[k] - expected)[:, :2], axis=1)
        assert error.mean() < 0.02 * eyes


def test_a_gap_is_filled_and_told(reader: FaceReader, tmp_path: Path) -> None:
    frames = turning(16)
    frames[6:9] = nothing(3)
    found = extract(open_film(write_film(tmp_path / "gap.mp4", frames)), reader, strength=0)
    first, last = found.recording.filled[0]
    assert first == 6 and last in (8, 9)
    assert "no face in" in found.warnings[-1] and f"{first}-{last}" in found.warnings[-1]
    roll = found.recording.motion.head_pose[5:11, 2]
    assert np.diff(roll) == pytest.approx(np.ones(5), abs=0.4)
    assert found.recording.cuts == () and len(found.shots) == 1


def test_a_turned_film_gives_the_same_motion(
    performance: Performance, film: Path, reader: FaceReader, tmp_path: Path
) -> None:
    found = extract(open_film(turned_by_phone(film, tmp_path / "turned.mp4")), reader)
    difference = found.recording.motion.head_pose - performance.recording.motion.head_pose
    assert np.abs(difference[:, :3]).max() < 1.5


# The command


def test_extract_writes_a_motion_file(film: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.safetensors"
    result = run("extract", film, "-o", out, "--json")
    assert result.exit_code == 0 and result.stderr == ""
    said = json.loads(result.stdout)
    assert (said["n_frames"], said["made_by"], said["warnings"]) == (14, "extract", [])
    saved = load_motion(out)
    assert saved.basis == said["basis_sha256"] and len(saved.motion) == 14
    again = run("extract", film, "-o", out)
    assert again.exit_code == 2 and "exists; give --force" in again.stderr


def test_smoothing_can_be_chosen(film: Path, tmp_path: Path) -> None:
    shaky = {}
    for strength in (0, 4):
        out = tmp_path / f"{strength}.safetensors"
        assert run("extract", film, "-o", out, "--smooth", strength).exit_code == 0
        shaky[strength] = np.diff(load_motion(out).motion.dynamics, n=2, axis=0).std()
    assert shaky[4] < 0.7 * shaky[0]


@pytest.mark.parametrize(
    ("name", "exit_code", "words"),
    [
        ("none.mp4", 3, "does not exist"),
        ("text.mp4", 3, "is not a video"),
        ("plain.mp4", 3, "no face found in plain.mp4 (6 frames); give a film of one face"),
    ],
)
def test_bad_films_are_one_line(tmp_path: Path, name: str, exit_code: int, words: str) -> None:
    (tmp_path / "text.mp4").write_text("no film")
    write_film(tmp_path / "plain.mp4", nothing(6))
    result = run("extract", tmp_path / name, "-o", tmp_path / "m.safetensors")
    assert (result.exit_code, result.stdout) == (exit_code, "")
    assert words in result.stderr and len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "m.safetensors").exists()


def test_a_damaged_film_is_read_as_far_as_it_goes_and_told(tmp_path: Path) -> None:
    whole = write_film(tmp_path / "whole.mp4", turning(20), crf=23)
    damaged = with_damage(whole, tmp_path / "damaged.mp4", start=0.8, stop=0.9)
    result = run("extract", damaged, "-o", tmp_path / "m.safetensors")
    assert result.exit_code == 0
    assert "warning: damaged.mp4 is damaged (" in result.stderr


def test_of_two_faces_the_second_can_be_taken(reader: FaceReader, tmp_path: Path) -> None:
    still = photo(side=160)
    both = [np.concatenate([np.asarray(still), moved(still, right=k)], 1) for k in range(6)]
    path = write_film(tmp_path / "two.mp4", both)
    motions = [extract(open_film(path), reader, face=n, strength=0).recording for n in (1, 2)]
    ways = [np.ptp(r.motion.head_pose[:, 3]) for r in motions]
    assert ways[1] > 5 * ways[0]
    result = run("extract", path, "--face", 3, "-o", tmp_path / "m.safetensors")
    assert result.exit_code == 2 and "no face 3 in two.mp4: at most 2 found" in result.stderr


def test_a_large_film_is_tracked_small_and_told_in_its_own_pixels(
    reader: FaceReader, tmp_path: Path
) -> None:
    large = [moved(photo(side=1440), right=4.0 * k) for k in range(2)]
    film = open_film(write_film(tmp_path / "large.mp4", large))
    assert 640 <= tracking_side(film, reader) <= 1000
    points = extract(film, reader).track.points[0]
    small = [moved(photo(side=480), right=4.0 * k / 3) for k in range(2)]
    same = extract(open_film(write_film(tmp_path / "small.mp4", small)), reader).track.points[0]
    height = np.linalg.norm(points[10, :2] - points[152, :2])
    assert np.abs(points - same * 3)[:, :2].max() < 0.04 * height
