"""Masks and squares of filmed frames: what may change, and that nothing else does."""

from __future__ import annotations

from typing import Callable

import numpy as np
import pytest
from PIL import Image

from vasa_cli import repaint
from vasa_cli.config import RenderOptions
from vasa_cli.face_parts import lower_face
from vasa_cli.geometry import Geometry
from vasa_cli.loading import load_geometry
from vasa_cli.pipeline import Renderer
from vasa_cli.repaint import (
    LARGEST_SIDE,
    Square,
    blend,
    draw,
    eyes_mask,
    face_mask,
    head_mask,
    lower_face_mask,
    square_around,
)
from vasa_cli.weights import find_weights_dir

Mask = Callable[..., np.ndarray]


@pytest.fixture(scope="module")
def face() -> np.ndarray:
    """The mean face, 100 pixels high, in the middle of 200x200 pixels."""
    geometry: Geometry = load_geometry(find_weights_dir())
    return geometry.mean * 100 + [100, 90, 0]


SQUARE = Square(0, 0, 200, 200)


def at(mask: np.ndarray, point: np.ndarray) -> float:
    return float(mask[round(point[1]), round(point[0])]) / 255


def test_masks_hold_what_they_are_for_and_nothing_far_off(face: np.ndarray) -> None:
    lower, whole, eyes = (m(SQUARE, face) for m in (lower_face_mask, face_mask, eyes_mask))
    mouth, chin, iris, brow, nose = (face[k] for k in (13, 152, 468, 105, 4))
    assert at(lower, mouth) > 0.98 and at(lower, chin) > 0.9
    assert at(lower, iris) == at(lower, nose) == at(lower, brow) == 0
    assert at(eyes, iris) > 0.98 and at(eyes, mouth) == at(eyes, nose) == 0
    assert all(at(whole, point) > 0.9 for point in (mouth, iris, nose))
    for mask in (lower, whole, eyes):
        assert mask.shape == (200, 200) and mask.dtype == np.uint8 and mask.min() == 0
        assert not mask[:30].any() and not mask[:, :40].any() and not mask[170:].any()


def test_edges_are_soft(face: np.ndarray) -> None:
    for mask in (m(SQUARE, face) for m in (lower_face_mask, face_mask, eyes_mask)):
        assert np.abs(np.diff(mask.astype(int), axis=0)).max() < 0.35 * 255


@pytest.mark.parametrize("square", [SQUARE, Square(-37, 21, 190, 190), Square(40, 60, 70, 70)])
def test_a_mask_found_in_its_box_is_that_of_the_whole_square(
    face: np.ndarray, square: Square, monkeypatch: pytest.MonkeyPatch
) -> None:
    boxed = lower_face_mask(square, face).astype(int)
    monkeypatch.setattr(repaint, "_enlarged_span", lambda full, axis, factor, size: slice(0, size))
    whole = lower_face_mask(square, face)
    assert np.abs(boxed - whole).max() <= 1 and boxed.max() > 230  # a level, rounded otherwise
    assert not boxed[whole == 0].any()


def test_a_square_beside_the_face_shows_nothing_of_it(face: np.ndarray) -> None:
    assert not lower_face_mask(Square(400, 400, 200, 200), face).any()


@pytest.mark.parametrize("mask", [lower_face_mask, face_mask, eyes_mask])
def test_a_mask_of_two_faces_holds_both(face: np.ndarray, mask: Mask) -> None:
    lower = face + [0, 8, 0]
    both = mask(SQUARE, face, lower) + 12.0
    assert (both >= mask(SQUARE, face)).all() and (both >= mask(SQUARE, lower)).all()


def test_shut_eyes_have_a_mask_too(face: np.ndarray) -> None:
    shut = face.copy()
    for k in (*range(155, 162), 144, 145, 153, 154, 163, 246, 7):
        shut[k, 1] = face[33, 1]
    assert at(eyes_mask(SQUARE, shut), face[468]) > 0.9


def test_beyond_the_mask_no_bit_changes(face: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (150, 180, 3), np.uint8)
    square = Square(-20, 10, 200, 200)  # part of it lies beside the picture
    mask = lower_face_mask(square, face + [-20, 10, 0])
    new = rng.integers(0, 256, (200, 200, 3), np.uint8)
    result = blend(image, new, mask, square)
    shown = np.zeros((150, 180))
    shown[10:] = mask[:140, 20:]
    assert np.array_equal(result[shown == 0], image[shown == 0])
    assert np.array_equal(result[shown == 255], new[:140, 20:][shown[10:] == 255])
    assert (result != image).any() and image.flags.writeable


def test_a_square_beside_the_picture_changes_nothing() -> None:
    image = np.zeros((50, 50, 3), np.uint8)
    new = np.full((64, 64, 3), 255, np.uint8)
    result = blend(image, new, np.full((64, 64), 255, np.uint8), Square(80, 80, 64, 64))
    assert not result.any() and result is not image


def test_squares_lie_on_whole_pixels_and_are_drawn_as_they_are() -> None:
    square = square_around(100.4, 90.6, 60.2)
    assert (square.left, square.top, square.shown, square.side) == (40, 31, 120, 120)
    assert (square.window.x, square.window.y, square.window.half) == (100, 91, 60)
    assert square_around(400, 400, 330.2).side == 640  # cells of ten pixels
    assert square_around(900, 900, 800).side == LARGEST_SIDE
    assert square_around(900, 900, 10).side == 64
    assert head_mask(square).shape == (120, 120) and not head_mask(square)[0, 0] > 0.01


@pytest.mark.parametrize("shown", [128, 320, 96])
def test_what_no_mask_shows_is_not_drawn_and_is_not_missed(shown: int) -> None:
    renderer = Renderer(device="cpu")
    portrait = renderer.read_portrait(
        find_weights_dir().parent / "examples" / "portrait.jpg", RenderOptions()
    )
    height, width = portrait.picture.shape[:2]
    half = portrait.window.half
    square = square_around(portrait.window.x, portrait.window.y, half)
    scale = shown / square.shown
    image = np.asarray(
        Image.fromarray(portrait.picture).resize((round(width * scale), round(height * scale)))
    )
    square = Square(round(square.left * scale), round(square.top * scale), shown, 128)
    here = (portrait.points * scale).astype(np.float32)
    there = here.copy()
    there[:, 1] += 0.02 * shown * lower_face(renderer.models.geometry)
    mask = lower_face_mask(square, here, there)
    told = (renderer.models.decoder, renderer.models.device, [image], [square])
    (whole,), (part,) = (
        draw(*told, here[None], there[None], parts=("mouth",), masks=masks)
        for masks in (None, [mask])
    )
    assert (part == 0).all(-1).mean() > 0.4
    assert np.array_equal(*(blend(image, new, mask, square) for new in (whole, part)))
    nothing = draw(*told, here[None], there[None], masks=[np.zeros_like(mask)])
    assert not nothing[0].any()
