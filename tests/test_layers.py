"""Lips and lids in layers: where they part, what they uncover and what they leave alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.drawn_faces import WHITE, face, painted_by, plain
from vasa_cli.geometry import Geometry
from vasa_cli.loading import load_geometry
from vasa_cli.models import layers
from vasa_cli.models.decoder import Appearance, Decoder
from vasa_cli.models.moved import MotionField
from vasa_cli.models.painting import (
    Laid,
    EYES,
    eye_shape,
    lay_eye,
    lay_mouth,
    mouth_shape,
)
from vasa_cli.weights import find_weights_dir

RED = (0.9, -0.6, -0.6)
SIDE = 256


@pytest.fixture(scope="module")
def geometry() -> Geometry:
    return load_geometry(find_weights_dir())


def lips_photo(points: Tensor) -> Tensor:
    """A photo of skin with red lips and white teeth where its mouth is open."""
    photo = plain(SIDE)
    shape = mouth_shape(points)
    columns = shape.columns(256)
    outer = layers.Shape(
        shape.patch,
        shape.upper,
        shape.lower,
        (shape.curves[0], shape.curves[0], shape.curves[3], shape.curves[3]),
        shape.iris,
    )
    painted_by(shape, RED, photo, outer.opening(outer.columns(256)))
    painted_by(shape, WHITE, photo, shape.opening(columns))
    return photo


def still_field() -> MotionField:
    return MotionField(*torch.zeros(1, 9, 64, 64).split((2, 3, 3, 1), 1))


def look(photo: Tensor, points: Tensor) -> Appearance:
    return Decoder(width=8).eval().look(photo, points)


def laid_mouth(photo: Tensor, source: Tensor, points: Tensor) -> Laid:
    seen = look(photo, source)
    return lay_mouth(photo, seen.mouth, source, points, still_field())


def laid_eye(photo: Tensor, points: Tensor) -> Laid:
    return lay_eye(photo, look(photo, points).eyes[0], points, still_field(), EYES[0])


def distance(picture: Tensor, colour: tuple[float, ...]) -> Tensor:
    return (picture - torch.tensor(colour)[None, :, None, None]).abs().mean(1)


def test_a_curve_goes_through_its_knots_and_is_level_beyond() -> None:
    knots = torch.tensor([[[-0.5, 0.1], [0.0, -0.2], [0.5, 0.3]]])
    line = torch.tensor([-0.9, -0.5, -0.25, 0.0, 0.25, 0.5, 0.9])
    expected = torch.tensor([[0.1, 0.1, -0.05, -0.2, 0.05, 0.3, 0.3]])
    assert torch.allclose(layers.heights(knots, line), expected, atol=1e-6)


def test_landmarks_carry_a_shift_everywhere_and_their_own_at_their_place() -> None:
    torch.manual_seed(0)
    driving = torch.rand(1, 40, 2) * 1.6 - 0.8
    shift = torch.tensor([0.1, -0.05])
    assert torch.allclose(
        layers.carry(driving + shift, driving, 32), shift[None, :, None, None], atol=1e-5
    )
    lone = torch.tensor([[[0.5, 0.5], [-0.5, -0.5]]])
    moved = layers.carry(lone + torch.tensor([[[0.2, 0.0], [0.0, 0.0]]]), lone, 64)
    assert moved[0, 0, 48, 48] == pytest.approx(0.2, abs=1e-3)
    assert moved[0, 0, 16, 16] == pytest.approx(0.0, abs=1e-3)


def test_an_opening_lies_between_its_curves_and_a_shut_one_is_empty(geometry: Geometry) -> None:
    for value, least, most in ((0.0, 0.0, 0.004), (2.0, 0.01, 0.2)):
        shape = mouth_shape(face(geometry, mouth_open=value))
        opening = shape.opening(shape.columns(128))
        assert least <= float(opening.mean()) <= most


def test_a_shut_mouth_opens_with_its_lips_on_both_sides_and_dark_between(
    geometry: Geometry,
) -> None:
    shut, wide = face(geometry), face(geometry, mouth_open=2.5)
    laid = laid_mouth(lips_photo(shut), shut, wide)
    shape = mouth_shape(wide)
    columns = shape.columns(laid.layered.shape[-1])
    inside = shape.opening(columns)[0, 0] > 0.95
    rows = torch.nonzero(inside)[:, 0]
    below_teeth = inside & (torch.arange(len(inside))[:, None] > rows.float().quantile(0.6))
    between = laid.layered[0].mean(0)[below_teeth]
    # dark, and less so tongue and lower teeth
    assert between.min() < -0.6 and between.mean() < -0.1 and between.max() < 0.4
    size, middle = columns.shape[-1], columns.shape[-1] // 2
    for edge, step in ((1, -1), (2, 1)):  # just above and just below the opening
        row = round((float(columns[0, edge, middle]) + 1) / 2 * size) + 3 * step
        assert distance(laid.layered[..., row : row + 1, middle : middle + 1], RED).max() < 0.3


def test_an_open_mouth_shuts_without_a_trace_of_teeth(geometry: Geometry) -> None:
    wide, shut = face(geometry, mouth_open=2.5), face(geometry)
    laid = laid_mouth(lips_photo(wide), wide, shut)
    share = laid.share.expand(-1, 3, -1, -1) > 0.9
    near_white = distance(laid.layered, WHITE)[0] < 0.5
    assert not (near_white & share[0, 0]).any()


def test_teeth_that_the_photo_shows_stay_with_the_skull(geometry: Geometry) -> None:
    some, more = face(geometry, mouth_open=1.5), face(geometry, mouth_open=3.0)
    laid = laid_mouth(lips_photo(some), some, more)
    size = laid.layered.shape[-1]
    old, new = mouth_shape(some), mouth_shape(more)
    seen = laid.patch.to_square(
        old.patch.from_square_3d(
            torch.tensor([[[0.0, float(old.columns(size)[0, 1:3, size // 2].mean()), 0.0]]])
        )[..., :2]
    )
    row = round((float(seen[0, 0, 1]) + 1) / 2 * size)
    assert distance(laid.layered[..., row : row + 1, size // 2, None], WHITE).max() < 0.4
    bottom = round((float(new.columns(size)[0, 2, size // 2]) + 1) / 2 * size) - 3
    below = laid.layered[..., bottom : bottom + 1, size // 2, None]
    assert distance(below, WHITE).min() > 0.4  # what the photo does not show


@pytest.mark.parametrize("eye", EYES)
def test_an_iris_moves_by_as_much_as_its_landmarks(geometry: Geometry, eye: str) -> None:
    ahead, aside = face(geometry), face(geometry, gaze_yaw=3.0)
    photo = torch.tensor(WHITE)[None, :, None, None].expand(1, 3, SIDE, SIDE).clone()
    shape = eye_shape(ahead, eye)
    radius = (shape.iris[:, 1:] - shape.iris[:, :1]).norm(dim=-1).mean(1)
    painted_by(shape, (-1.0, -1.0, -1.0), photo, shape.iris_disk(256, radius))
    own = look(photo, ahead).eyes[EYES.index(eye)]
    laid = lay_eye(photo, own, aside, still_field(), eye)
    driven = eye_shape(aside, eye)
    size = laid.layered.shape[-1]
    opening = driven.opening(driven.columns(size))[0, 0] > 0.5
    dark = (laid.layered[0].mean(0) < 0) & opening
    found = (dark.nonzero().float().mean(0).flip(0) + 0.5) / size * 2 - 1
    disk = (driven.iris_disk(size, radius)[0, 0] > 0.5) & opening
    expected = (disk.nonzero().float().mean(0).flip(0) + 0.5) / size * 2 - 1
    assert torch.allclose(found, expected, atol=0.03)
    still = (shape.iris_disk(size, radius)[0, 0] > 0.5).nonzero().float().mean(0).flip(0)
    assert abs(float(found[0] - ((still + 0.5) / size * 2 - 1)[0])) > 0.05


@pytest.mark.parametrize("eye", EYES)
def test_shut_lids_leave_no_iris(geometry: Geometry, eye: str) -> None:
    ahead, shut = face(geometry), face(geometry, lid_left=-8.0, lid_right=-8.0)
    photo = plain(SIDE)
    shape = eye_shape(ahead, eye)
    painted_by(shape, (-1.0, -1.0, 1.0), photo, shape.opening(shape.columns(256)))
    own = look(photo, ahead).eyes[EYES.index(eye)]
    before = lay_eye(photo, own, ahead, still_field(), eye).layered
    after = lay_eye(photo, own, shut, still_field(), eye).layered
    blue = [float((x[0, 2] > 0.5).float().mean()) for x in (before, after)]
    assert blue[0] > 0.02
    assert blue[1] < 0.15 * blue[0]
