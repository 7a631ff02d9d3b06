"""Parts of a motion: they add up to the whole, and each moves its own place on the face."""

from __future__ import annotations

import numpy as np
import pytest

from vasa_cli.config import PARTS
from vasa_cli.face_parts import OWNERS, around_eyes, lower_face, mixed, part_matrix
from vasa_cli.geometry import BROWS, EXPLICIT, EYES, LIPS, N_DYNAMICS, N_HEAD_POSE, Geometry
from vasa_cli.loading import load_geometry
from vasa_cli.weights import find_weights_dir

SIZE = N_HEAD_POSE + N_DYNAMICS


@pytest.fixture(scope="module")
def geometry() -> Geometry:
    return load_geometry(find_weights_dir())


def test_the_parts_add_up_to_the_whole(geometry: Geometry) -> None:
    whole = sum(part_matrix(part, geometry) for part in PARTS)
    assert np.allclose(whole, np.eye(SIZE))


def test_every_measure_belongs_to_one_part(geometry: Geometry) -> None:
    assert sorted(sum(OWNERS.values(), ())) == sorted(EXPLICIT)
    for part, names in OWNERS.items():
        share = part_matrix(part, geometry)
        for name in EXPLICIT:
            column = N_HEAD_POSE + EXPLICIT.index(name)
            assert share[column, column] == (name in names)


def test_places_on_the_face(geometry: Geometry) -> None:
    lower, eyes = lower_face(geometry), around_eyes(geometry)
    irises = [k for eye in EYES.values() for k in eye["iris"]]
    assert (lower[list(LIPS)] == 1).all() and lower[152] == 1 and (lower[irises] == 0).all()
    assert (eyes[irises] == 1).all() and (eyes[list(LIPS)] == 0).all()
    assert eyes[list(BROWS[0] + BROWS[1])].max() < 0.3 and lower[[1, 10]].max() == 0


# Lids and irises have dynamics of their own; what the others do to eyes is little, and shared.
@pytest.mark.parametrize(("part", "most_error"), [("lips", 0.6), ("eyes", 0.85)])
def test_a_part_moves_its_own_place(geometry: Geometry, part: str, most_error: float) -> None:
    rng = np.random.default_rng(0)
    motion = np.zeros((50, SIZE))
    motion[:, N_HEAD_POSE + len(EXPLICIT) :] = rng.normal(0, 1, (50, 40))
    taken = mixed(np.zeros((50, SIZE)), motion, (part,), geometry)
    moved = geometry.displacement(taken[:, N_HEAD_POSE:])
    whole = geometry.displacement(motion[:, N_HEAD_POSE:])
    inside = {"lips": lower_face, "eyes": around_eyes}[part](geometry)
    kept, left = inside > 0.99, inside < 0.01
    assert np.linalg.norm(moved[:, left]) < 0.35 * np.linalg.norm(whole[:, left])
    error = np.linalg.norm((moved - whole)[:, kept]) / np.linalg.norm(whole[:, kept])
    assert error < most_error


def test_mixing_takes_the_named_parts_and_no_other(geometry: Geometry) -> None:
    rng = np.random.default_rng(1)
    base, other = rng.normal(0, 1, (2, 30, SIZE))
    assert np.allclose(mixed(base, other, PARTS, geometry), other)
    assert np.array_equal(mixed(base, other, (), geometry), base)
    found = mixed(base, other, ("head", "head"), geometry)
    assert np.allclose(found[:, :6], other[:, :6]) and np.array_equal(found[:, 6:], base[:, 6:])
    lips = mixed(base, other, ("lips",), geometry)
    mouth, gaze = (N_HEAD_POSE + EXPLICIT.index(name) for name in ("mouth_open", "gaze_yaw"))
    assert np.allclose(lips[:, mouth], other[:, mouth])
    assert np.array_equal(lips[:, gaze], base[:, gaze])
