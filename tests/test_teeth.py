"""Teeth that a photo does not show: where they hang, how sharp they are, whose are kept."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.test_layers import face, laid_mouth, lips_photo, look, painted_by
from vasa_cli.geometry import Geometry
from vasa_cli.loading import load_geometry
from vasa_cli.models import layers
from vasa_cli.models.painting import Laid, mouth_shape, resized, within_face
from vasa_cli.models.teeth import (
    BOUNDS,
    NARROWER,
    OPEN,
    SLIT,
    WIDE,
    gap_between,
    heights_over_edge,
    lay,
)
from vasa_cli.weights import find_weights_dir


@pytest.fixture(scope="module")
def geometry() -> Geometry:
    return load_geometry(find_weights_dir())


def opened(geometry: Geometry, photo_open: float, *, lift: float = 0.0) -> tuple[Laid, Tensor]:
    """A mouth laid wide open from a photo with it open so far, and where it is open."""
    source, points = face(geometry, mouth_open=photo_open), face(geometry, mouth_open=3.0)
    points[..., 1] -= lift
    laid = laid_mouth(lips_photo(source), source, points)
    shape = mouth_shape(points)
    return laid, shape.opening(shape.columns(laid.drawn.shape[-1]))


def column(laid: Laid, opening: Tensor, x: int) -> Tensor:
    """Brightness down one column of pixels, where the mouth is open."""
    inside = opening[0, 0, :, x] > 0.9
    return laid.layered[0].mean(0)[inside, x]


def test_a_shut_mouth_opens_onto_teeth_with_an_edge(geometry: Geometry) -> None:
    laid, opening = opened(geometry, 0.0)
    side = opening.shape[-1]
    down = column(laid, opening, side // 2 + 5)  # beside the gap in the middle
    dark = down.min()
    assert down[: len(down) // 3].max() > dark + 0.5
    steps = -down.diff()
    assert steps.max() > 0.15  # the edge: much of the way within a pixel


def test_the_generator_adds_nothing_inside_a_mouth(geometry: Geometry) -> None:
    laid, opening = opened(geometry, 0.0)
    assert laid.kept.shape[-1] == 128
    inside = resized(opening, 128)
    assert laid.kept[inside > 0.999].max() < 1e-3
    within = within_face(face(geometry, mouth_open=3.0), laid.patch, 128)
    assert torch.equal(laid.kept[inside == 0], within[inside == 0])
    assert (laid.kept[inside == 0] == 1).float().mean() > 0.5


def gap_of(source: Tensor) -> float:
    shape = mouth_shape(source)
    return float((shape.curves[2] - shape.curves[1])[..., 1].max())


def share_laid(source: Tensor, inside: tuple[float, float, float]) -> float:
    """How surely teeth are laid where the photo's mouth is filled with one colour, in [-1, 1]."""
    photo, shape = lips_photo(source), mouth_shape(source)
    painted_by(shape, inside, photo, (shape.opening(shape.columns(256)) > 0.01).float())
    return float(look(photo, source).mouth.teeth[0].share)


def test_what_is_seen_through_a_slit_does_not_count_as_teeth(geometry: Geometry) -> None:
    parted, ajar = face(geometry, mouth_open=0.4), face(geometry, mouth_open=1.2)
    assert SLIT / 2 < gap_of(parted) < SLIT and OPEN < gap_of(ajar) < WIDE
    white, dark = (0.9, 0.85, 0.8), (-0.9, -0.9, -0.9)
    assert share_laid(parted, white) == 1
    assert share_laid(ajar, white) == 0
    assert share_laid(ajar, dark) > 0.5  # nothing but shadow in it


def test_a_few_teeth_between_dark_corners_do_not_stand_for_a_row(geometry: Geometry) -> None:
    """A narrow smile shows the middle ones only; in a wide open mouth they would stand alone."""
    ajar, wide = face(geometry, mouth_open=1.05), face(geometry, mouth_open=2.0)
    assert OPEN < gap_of(ajar) < OPEN + NARROWER < gap_of(wide)
    shares = []
    for source in (ajar, wide):
        photo, shape = lips_photo(source), mouth_shape(source)
        opened = (shape.opening(shape.columns(256)) > 0.01).float()
        painted_by(shape, (-0.9, -0.9, -0.9), photo, opened)
        left, right = (float(shape.curves[1][0, k, 0]) for k in (0, -1))
        line = layers.middles(256, opened)
        middle = ((line - (left + right) / 2).abs() < 0.2 * (right - left)).float()
        painted_by(shape, (0.9, 0.85, 0.8), photo, opened * middle)
        shares.append(float(look(photo, source).mouth.teeth[0].share))
    assert shares[0] == 1 and shares[1] < 0.5


def test_gaps_that_are_narrower_than_a_pixel_are_fainter() -> None:
    beside = torch.zeros(1, 1, 3)
    fine, coarse = (float(gap_between(beside, pixel)[0, 0, 0]) for pixel in (0.004, 0.016))
    assert fine == 1 and 0.3 < coarse < 0.7


def test_teeth_in_the_shade_of_a_lip_count_and_a_tongue_does_not(geometry: Geometry) -> None:
    ajar = face(geometry, mouth_open=1.2)
    photo, shape = lips_photo(ajar), mouth_shape(ajar)
    picture = (shape.patch.cut(photo, 128) + 1) / 2
    skin = shape.reach(128) * (1 - shape.opening(shape.columns(128)))
    light = float((picture * skin).sum() / skin.sum() / 3)  # as bright as it is, in the mean

    def laid(*colour: float) -> float:
        red, green, blue = (2 * light * c - 1 for c in colour)
        return share_laid(ajar, (red, green, blue))

    assert laid(0.85, 0.85, 0.85) == 0
    assert laid(0.91, 0.55, 0.58) > 0.5  # a tongue, as filmed


def test_there_are_gaps_between_teeth(geometry: Geometry) -> None:
    across = torch.linspace(-0.5, 0.5, 512)[None, None]
    above, beside = heights_over_edge(across, torch.full((1, 1, 1), 0.5), torch.zeros(1, 1, 1))
    gaps = torch.nonzero(beside[0, 0] < 2e-3)[:, 0]
    for bound in BOUNDS[1:5]:
        assert (across[0, 0, gaps].abs() - bound).abs().min() < 4e-3
    middle = above[0, 0, across[0, 0].abs() < BOUNDS[1]]
    ends = above[0, 0, (across[0, 0].abs() - BOUNDS[4]).abs() < 0.02]
    assert middle.mean() > ends.mean() + 0.03  # the row rises outwards


def test_teeth_that_the_photo_shows_are_kept(geometry: Geometry) -> None:
    """White ones, which the laid ones never are."""
    source, points = face(geometry, mouth_open=2.0), face(geometry, mouth_open=2.0)
    laid = laid_mouth(lips_photo(source), source, points)
    shape = mouth_shape(points)
    opening = shape.opening(shape.columns(laid.drawn.shape[-1])) > 0.99
    assert (laid.layered.amin(1, keepdim=True)[opening] > 0.8).float().mean() > 0.8
    assert float(look(lips_photo(source), source).mouth.teeth[0].share.max()) == 0


def test_they_hang_from_the_nose_and_not_from_the_lips(geometry: Geometry) -> None:
    source = face(geometry)
    photo = lips_photo(source)
    seen = []
    for lips in (0.0, 0.02):
        points = face(geometry, mouth_open=3.0)
        points[:, layers.MOUTH.curves[1], 1] -= lips  # the upper lip lifted off them
        laid = laid_mouth(photo, source, points)
        shape = mouth_shape(points)
        opening = shape.opening(shape.columns(laid.drawn.shape[-1]))[0, 0]
        seen.append(float((opening * (laid.layered[0].mean(0) > -0.2)).sum()))
    assert seen[1] > seen[0] * 1.2


def test_a_grey_photo_gets_grey_teeth(geometry: Geometry) -> None:
    source, points = face(geometry), face(geometry, mouth_open=3.0)
    photo = lips_photo(source).mean(1, keepdim=True).expand(-1, 3, -1, -1).contiguous()
    laid = laid_mouth(photo, source, points).layered
    assert (laid - laid.mean(1, keepdim=True)).abs().max() < 1e-5


def test_teeth_are_as_white_as_the_light(geometry: Geometry) -> None:
    source = face(geometry)
    photo = lips_photo(source)
    yellow = photo.clone()
    yellow[:, 2] = (yellow[:, 2] + 1) * 0.7 - 1
    blue_of = []
    for lit in (photo, yellow):
        colour = look(lit, source).mouth.teeth[0].colour[0, :, 0, 0]
        blue_of.append(float(colour[2] / colour[0]))
    assert 0.7 < blue_of[1] / blue_of[0] < 0.85


def test_an_open_mouth_without_teeth_shows_them_once_the_lip_is_lifted(geometry: Geometry) -> None:
    source = face(geometry, mouth_open=3.0)
    photo, shape = lips_photo(source), mouth_shape(source)
    is_open = (shape.opening(shape.columns(256)) > 0.01).float()
    assert gap_of(source) > WIDE
    painted_by(shape, (-0.9, -0.9, -0.9), photo, is_open)

    def white(lift: float) -> float:
        points = source.clone()
        points[:, layers.MOUTH.curves[1], 1] -= lift
        laid = laid_mouth(photo, source, points)
        driven = mouth_shape(points)
        opening = driven.opening(driven.columns(laid.drawn.shape[-1]))[0, 0]
        return float((opening * (laid.layered[0].mean(0) > -0.2)).sum())

    assert white(0.03) > white(0.0) + 150


def test_upper_teeth_shade_what_is_behind_them(geometry: Geometry) -> None:
    source, side = face(geometry), 200
    expected = look(lips_photo(source), source).mouth.teeth[0]
    line = torch.linspace(-1, 1, side)
    columns = torch.zeros(1, 4, side)
    columns[:, 1], columns[:, 2] = -0.5, 1.0
    inside = torch.full((1, 3, side, side), 0.6)
    place = {"across": line[None, None], "down": line[None, :, None]}
    told = {"columns": columns, "rows": line, "pixel": 2 / side}
    lay(inside, torch.ones(1, 1, side, side), expected, **place, **told)
    middle = inside[0].mean(0)[:, side // 2 + 6]  # beside the gap
    edge = int((line < float(expected.edge)).sum())
    assert float(middle[edge - 2 : edge + 3].min()) < 0.2  # right below the edge
    assert float(middle[edge + 20]) == pytest.approx(0.6)  # farther off it is as it was
