"""What passes before a mouth is seen by the skin that it hides."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vasa_cli.geometry import Geometry
from vasa_cli.loading import load_geometry
from vasa_cli.occlusion import AROUND, SIDE, hidden, lower_face_square
from vasa_cli.weights import find_weights_dir

N = 80


def talking(rng: np.random.Generator, turn: np.ndarray | None = None) -> np.ndarray:
    """Thumbnails of a mouth that opens and shuts on skin whose light changes with the turn."""
    y, x = (np.mgrid[:SIDE, :SIDE] + 0.5) / SIDE * 2 - 1
    turns = np.zeros(N) if turn is None else turn
    frames = []
    for k in range(N):
        skin = np.stack([200 - 30 * y, 150 - 25 * y, 130 - 20 * y], -1) * (1 + 0.01 * turns[k])
        skin += (turns[k] * x * 2)[..., None]
        opening = 0.05 + 0.25 * abs(np.sin(k / 3))
        skin[(x / 0.5) ** 2 + ((y + 0.05) / opening) ** 2 < 1] = [90, 30, 40]
        frames.append(skin + rng.normal(0, 3, skin.shape))
    return np.clip(frames, 0, 255).astype(np.uint8)


def with_hand(faces: np.ndarray, first: int, last: int, colour: tuple[int, int, int]) -> np.ndarray:
    """A disc, half as wide as the square, that crosses it in those frames."""
    y, x = (np.mgrid[:SIDE, :SIDE] + 0.5) / SIDE * 2 - 1
    found = faces.copy()
    for k in range(first, last + 1):
        middle = -0.6 + 1.2 * (k - first) / (last - first)
        hand = (x - middle) ** 2 + (y - 0.3) ** 2 < 0.55**2
        shaded = np.array(colour) * (1 - 0.25 * ((x - middle) ** 2 + y**2))[..., None]
        found[k][hand] = np.clip(shaded, 0, 255)[hand].astype(np.uint8)
    return found


STILL, ALL = np.zeros((N, 2)), np.ones(N, bool)


def test_speech_hides_nothing() -> None:
    assert not hidden(talking(np.random.default_rng(0)), STILL, ALL).any()


def test_a_head_that_turns_hides_nothing() -> None:
    turn = 25 * np.sin(np.arange(N) / 12)
    angles = np.stack([turn, np.zeros(N)], 1)
    assert hidden(talking(np.random.default_rng(1), turn), angles, ALL).mean() < 0.03


@pytest.mark.parametrize("colour", [(245, 210, 190), (60, 60, 200), (150, 105, 85)])
def test_a_hand_is_seen_while_it_is_there(colour: tuple[int, int, int]) -> None:
    faces = with_hand(talking(np.random.default_rng(2)), 30, 44, colour)
    found = hidden(faces, STILL, ALL)
    assert found[31:44].all()
    assert not found[: 30 - AROUND].any() and not found[45 + AROUND :].any()


def test_a_shot_too_short_to_compare_hides_nothing() -> None:
    faces = with_hand(talking(np.random.default_rng(3)), 2, 6, (60, 60, 200))[:8]
    assert not hidden(faces, STILL[:8], ALL[:8]).any()


def test_frames_without_a_face_are_not_hidden_ones() -> None:
    found = ALL.copy()
    found[40:50] = False
    faces = with_hand(talking(np.random.default_rng(4)), 38, 52, (60, 60, 200))
    assert not hidden(faces, STILL, found)[40:50].any()


def test_the_square_does_not_go_with_the_jaw() -> None:
    geometry: Geometry = load_geometry(find_weights_dir())
    face = torch.from_numpy(geometry.mean).float()[None] * 0.8
    dropped = face.clone()
    low = face[0, :, 1] > face[0, 0, 1]
    dropped[0, low, 1] += 0.1
    assert torch.equal(lower_face_square(face).affine, lower_face_square(dropped).affine)
    middle = lower_face_square(face).affine[0, :, 2]
    half = float(lower_face_square(face).half[0])
    assert float((face[0, 13, :2] - middle).norm()) < 0.3 * half
    assert float(face[0, 152, 1] - middle[1]) < half  # the chin is in it
