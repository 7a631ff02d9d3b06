"""The latent in closed form: round trips, symmetries, and what must not change."""

from __future__ import annotations

import numpy as np
import pytest

from vasa_cli.geometry import (
    EXPLICIT,
    N_DYNAMICS,
    N_IDENTITY,
    FaceCode,
    Geometry,
    align,
    face_measures,
    gaze_angles,
    measure_matrix,
    project,
    rotation_angles,
    rotation_matrix,
    unalign,
)
from vasa_cli.loading import load_geometry
from vasa_cli.weights import find_weights_dir


@pytest.fixture(scope="module")
def geometry() -> Geometry:
    return load_geometry(find_weights_dir())


def face(geometry: Geometry, seed: int) -> FaceCode:
    rng = np.random.default_rng(seed)
    dynamics = rng.normal(size=N_DYNAMICS) * 0.5
    dynamics[EXPLICIT.index("mouth_open")] = 1.0
    return FaceCode(
        rng.normal(size=N_IDENTITY) * 0.7,
        np.array([8.0, -5.0, 3.0, 0.04, -0.02, 1.1]),
        dynamics,
        np.zeros((478, 3)),
    )


def test_angles_read_back_are_the_angles_given() -> None:
    angles = np.random.default_rng(0).uniform(-40, 40, (100, 3))
    assert np.allclose(rotation_angles(rotation_matrix(angles)), angles)


def test_rotation_matrices_are_rotations() -> None:
    matrices = rotation_matrix(np.random.default_rng(1).uniform(-40, 40, (50, 3)))
    assert np.allclose(matrices @ matrices.transpose(0, 2, 1), np.eye(3))
    assert np.allclose(np.linalg.det(matrices), 1)


@pytest.mark.parametrize(
    ("angles", "axis", "sign"),
    [((20, 0, 0), 0, 1), ((0, 20, 0), 1, -1)],
    ids=["yaw turns the nose to the picture's right", "pitch lifts the nose"],
)
def test_directions_are_as_the_viewer_sees_them(
    geometry: Geometry, angles: tuple[float, ...], axis: int, sign: int
) -> None:
    poses = np.array([[*angles, 0, 0, 1], [0, 0, 0, 0, 0, 1]], float)
    turned, still = project(poses, np.stack([geometry.mean] * 2))
    assert sign * (turned[1, axis] - still[1, axis]) > 0.05  # point 1 is the nose's tip


def test_roll_turns_clockwise(geometry: Geometry) -> None:
    turned = project(np.array([[0, 0, 15, 0, 0, 1.0]]), geometry.mean[None])[0]
    assert turned[263, 1] > turned[33, 1]  # the eye on the picture's right sinks


def test_nearer_is_larger_in_proportion(geometry: Geometry) -> None:
    poses = np.array([[0, 0, 0, 0, 0, d] for d in (1.0, 0.8)])
    far, near = project(poses, np.stack([geometry.mean] * 2))
    height = [np.linalg.norm(p[10] - p[152]) for p in (far, near)]
    assert height[1] / height[0] == pytest.approx(1.25)


def test_align_recovers_a_known_similarity(geometry: Geometry) -> None:
    rotation = rotation_matrix(np.array([12.0, -7.0, 20.0]))
    moved = 31.0 * geometry.mean @ rotation.T + [5.0, 6.0, 7.0]
    scale, found, shift = align(moved[None], geometry.mean)
    assert scale[0] == pytest.approx(31.0)
    assert np.allclose(found[0], rotation) and np.allclose(shift[0], [5, 6, 7])
    assert np.allclose(unalign(moved[None], scale, found, shift)[0], geometry.mean)


def test_each_explicit_dynamic_moves_its_own_measure_and_no_other(geometry: Geometry) -> None:
    moved = measure_matrix() @ geometry.dynamics_basis.reshape(-1, N_DYNAMICS)  # (8, 48)
    own = np.diag(moved)
    assert (own > 1e-3).all()
    assert (
        np.abs(moved - np.pad(np.diag(own), ((0, 0), (0, N_DYNAMICS - len(EXPLICIT))))).max() < 1e-6
    )


def test_measures_are_linear(geometry: Geometry) -> None:
    matrix = measure_matrix()
    assert np.allclose(matrix @ geometry.mean.reshape(-1), face_measures(geometry.mean))


def test_a_fit_gives_the_points_back_exactly(geometry: Geometry) -> None:
    code = face(geometry, 2)
    points = geometry.landmarks(code, head_pose=code.head_pose[None], dynamics=code.dynamics[None])
    again = geometry.fit(points[0])
    back = geometry.landmarks(again, head_pose=again.head_pose[None], dynamics=again.dynamics[None])
    assert np.abs(back - points).max() < 2e-3  # of the half crop: half a pixel in 512


def test_pose_in_is_pose_out(geometry: Geometry) -> None:
    code = face(geometry, 3)
    poses = np.array(
        [[y, p, r, 0.05, -0.03, 0.9] for y in (-20, 0, 20) for p in (-12, 12) for r in (-10, 10)],
        float,
    )
    points = geometry.landmarks(
        code, head_pose=poses, dynamics=np.repeat(code.dynamics[None], len(poses), 0)
    )
    _, found, _ = geometry.fit_sequence(points)
    spread = found[:, :3] - poses[:, :3]
    assert np.abs(spread - spread.mean(0)).max() < 1.0  # one person's bias apart, within a degree
    assert np.abs(spread.mean(0)).max() < 3.0


def test_gaze_in_is_gaze_out(geometry: Geometry) -> None:
    dynamics = np.zeros((5, N_DYNAMICS))
    dynamics[:, 0] = np.linspace(-2, 2, 5)
    code = FaceCode(np.zeros(N_IDENTITY), np.zeros(6), np.zeros(N_DYNAMICS), np.zeros((478, 3)))
    yaw = gaze_angles(geometry.canonical(code, dynamics))[:, 0]
    assert (np.diff(yaw) > 1).all() and yaw[2] == pytest.approx(0, abs=0.5)
    assert yaw[0] == pytest.approx(-yaw[4], abs=0.5)


def test_identity_does_not_change_when_dynamics_do(geometry: Geometry) -> None:
    still, moved = face(geometry, 4), face(geometry, 4)
    change = np.random.default_rng(5).normal(size=N_DYNAMICS) * 0.5
    faces = [
        geometry.landmarks(
            still, head_pose=still.head_pose[None], dynamics=(still.dynamics + d)[None]
        )[0]
        for d in (np.zeros(N_DYNAMICS), change)
    ]
    one, other = (geometry.fit(f).identity for f in faces)
    assert np.linalg.norm(one - other) < 0.35 * np.linalg.norm(moved.identity)


def test_who_someone_is_never_opens_the_mouth(geometry: Geometry) -> None:
    codes = np.random.default_rng(6).normal(size=(20, N_IDENTITY))
    opening = face_measures(geometry.neutral(codes))[:, EXPLICIT.index("mouth_open")]
    assert np.abs(opening).max() < 1e-3


def test_lips_and_lids_never_cross(geometry: Geometry) -> None:
    dynamics = np.zeros((2, N_DYNAMICS))
    dynamics[0, EXPLICIT.index("mouth_open")] = -5
    dynamics[1, [EXPLICIT.index("lid_left"), EXPLICIT.index("lid_right")]] = -9
    points = geometry.canonical(face(geometry, 7), dynamics)
    measures = face_measures(points)
    assert measures[0, EXPLICIT.index("mouth_open")] > -1e-6
    assert measures[1, [2, 3]] == pytest.approx([0, 0], abs=2e-3)


@pytest.mark.parametrize("seed", range(4))
def test_a_movement_that_shuts_the_mean_eyes_shuts_any_eyes(geometry: Geometry, seed: int) -> None:
    code = face(geometry, seed)
    shut = code.dynamics.copy()
    gap = (
        face_measures(geometry.mean)[2]
        / np.diag(measure_matrix() @ geometry.dynamics_basis.reshape(-1, N_DYNAMICS)[:, :8])[2]
    )
    shut[[2, 3]] = -gap
    assert face_measures(geometry.canonical(code, shut[None]))[0, [2, 3]] == pytest.approx(
        [0, 0], abs=3e-3
    )


def test_mirroring_twice_changes_nothing(geometry: Geometry) -> None:
    index = geometry.mirror_index()
    assert (index[index] == np.arange(478)).all()
    assert index[33] == 263 and index[61] == 291 and index[468] == 473 and index[1] == 1
