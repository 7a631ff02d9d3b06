"""Eyes of a filmed face: where they are made to look, and how often they blink."""

from __future__ import annotations

import numpy as np
import pytest

from vasa_cli.blinks import find_blinks
from vasa_cli.eye_edits import READ_IN_FILMS, aimed, with_blinks
from vasa_cli.gaze import (
    DRAWN,
    GAZE,
    OFFSET_LIMIT,
    Eyes,
    angles_of,
    gaze_of_offset,
    gaze_vector,
)
from vasa_cli.geometry import N_DYNAMICS, N_IDENTITY, FaceCode, Geometry, rotation_matrix
from vasa_cli.loading import load_geometry
from vasa_cli.weights import find_weights_dir

FPS = 25.0
N_FRAMES = 40


@pytest.fixture(scope="module")
def geometry() -> Geometry:
    return load_geometry(find_weights_dir())


@pytest.fixture(scope="module")
def code(geometry: Geometry) -> FaceCode:
    """The mean face, straight on, looking into the camera."""
    pose = np.array([0.0, 0, 0, 0, 0, 1])
    return FaceCode(np.zeros(N_IDENTITY), pose, np.zeros(N_DYNAMICS), np.zeros_like(geometry.mean))


def turning(yaw_deg: float = 12.0, pitch_deg: float = 2.0) -> np.ndarray:
    pose = np.zeros((N_FRAMES, 6))
    pose[:, 0] = yaw_deg * np.sin(np.arange(N_FRAMES) / 5)
    pose[:, 1] = pitch_deg * np.cos(np.arange(N_FRAMES) / 7)
    pose[:, 5] = 1.0
    return pose


def straying() -> np.ndarray:
    """Dynamics of eyes that wander in the head."""
    dynamics = np.zeros((N_FRAMES, N_DYNAMICS))
    dynamics[:, GAZE[0]] = np.sin(np.arange(N_FRAMES) / 3)
    return dynamics


def seen_gaze(gaze: np.ndarray, head: np.ndarray, code: FaceCode, geometry: Geometry) -> np.ndarray:
    """Where irises that are read at gaze dynamics (T, 2) look, degrees (T, 2)."""
    eyes = Eyes.of(code, geometry)
    own = gaze_of_offset((eyes.photo + gaze / eyes.radius) / READ_IN_FILMS)
    return angles_of(np.einsum("tij,tj->ti", rotation_matrix(head[:, :3]), own))


@pytest.mark.parametrize("wanted", [(0.0, 0.0), (8.0, 0.0), (0.0, -3.0)])
def test_eyes_look_where_they_should_whatever_head_and_eyes_do(
    geometry: Geometry, code: FaceCode, wanted: tuple[float, float]
) -> None:
    own, head = straying(), turning()
    drawn, lost_deg = aimed(own, head, wanted, code, geometry)
    # what is drawn goes further than it shows, what is read shows further than points say
    shown = own[:, GAZE] + (drawn - own[:, GAZE]) * READ_IN_FILMS / DRAWN
    before = seen_gaze(own[:, GAZE], head, code, geometry)
    after = seen_gaze(shown, head, code, geometry)
    assert np.abs(before - wanted).max() > 9
    # where a straight look leads is told from the face alone, to a degree or two
    assert lost_deg < 0.1 and np.abs(after - wanted).max() < 1.6
    assert np.ptp(after, axis=0).max() < 0.6


def test_irises_stay_in_the_eyes(geometry: Geometry, code: FaceCode) -> None:
    drawn, lost_deg = aimed(straying(), turning(20, 20), (40.0, 30.0), code, geometry)
    eyes = Eyes.of(code, geometry)
    assert lost_deg > 10
    assert (np.abs(drawn / eyes.radius + eyes.photo) <= OFFSET_LIMIT + 1e-9).all()


def test_the_eyes_of_a_profile_are_left_alone(geometry: Geometry, code: FaceCode) -> None:
    own, head = straying(), turning()
    head[:, 0] = np.linspace(0, 60, N_FRAMES)
    drawn, _ = aimed(own, head, (0.0, 0.0), code, geometry)
    aside = head[:, 0] >= 40
    assert np.array_equal(drawn[aside], own[aside][:, GAZE])
    assert not np.allclose(drawn[~aside], own[~aside][:, GAZE], atol=0.05)
    turn = np.abs(drawn - own[:, GAZE])
    assert np.abs(np.diff(turn, axis=0)).max() < 0.4 * turn.max()  # they are let go of softly


def test_vectors_and_angles_agree() -> None:
    angles = np.array([[10.0, -5.0], [-30.0, 20.0]])
    assert np.allclose(angles_of(gaze_vector(angles)), angles)


def blinking(*starts: int, n_frames: int = 250) -> np.ndarray:
    """Openings (T, 2) of eyes that are open by 0.9 and shut within three frames of each start."""
    opened = np.full((n_frames, 2), 0.9)
    for start in starts:
        opened[start : start + 6] *= np.array([0.7, 0.2, 0.0, 0.1, 0.5, 0.8])[:, None]
    return opened


def test_blinks_are_taken_out() -> None:
    assert np.allclose(with_blinks(blinking(20, 100, 180), FPS, a_minute=0), 0.9)


def test_blinks_that_are_too_many_go_evenly() -> None:
    made = with_blinks(blinking(20, 60, 100, 140, 180), FPS, a_minute=18)  # 10 s
    assert [blink.start for blink in find_blinks(made.mean(1), fps=FPS)] == [20, 100, 180]
    assert np.array_equal(made[20:26], blinking(20)[20:26])


def test_missing_blinks_are_the_persons_own() -> None:
    made = with_blinks(blinking(20), FPS, a_minute=18)
    found = find_blinks(made.mean(1), fps=FPS)
    assert len(found) == 3 and found[0].start == 20
    for blink in found[1:]:
        assert np.allclose(made[blink.start : blink.stop], blinking(20)[20:26])
    assert min(b.start - a.start for a, b in zip(found[:-1], found[1:])) > 40


@pytest.mark.parametrize("fps", [12.0, 25.0, 60.0])
def test_who_never_blinks_gets_usual_blinks(fps: float) -> None:
    opened = np.full((round(10 * fps), 2), 1.1)
    found = find_blinks(with_blinks(opened, fps, a_minute=12).mean(1), fps=fps)
    assert len(found) == 2
    assert all(0.15 < (blink.stop - blink.start) / fps < 0.4 for blink in found)


def test_a_film_too_short_for_a_blink_gets_none() -> None:
    opened = np.full((4, 2), 1.0)
    assert np.array_equal(with_blinks(opened, FPS, a_minute=60), opened)
    assert np.array_equal(with_blinks(np.ones((30, 2)), FPS, a_minute=20), np.ones((30, 2)))
