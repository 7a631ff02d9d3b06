"""The line between shut lips, the light in a mouth, and skin beyond a mouth's corners."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.drawn_faces import plain, with_eyes
from tests.test_layers import (
    RED,
    SIDE,
    WHITE,
    face,
    laid_eye,
    laid_mouth,
    lips_photo,
    look,
    still_field,
)
from vasa_cli.geometry import Geometry
from vasa_cli.loading import load_geometry
from vasa_cli.models import fields, layers, shading
from vasa_cli.models.painting import (
    EYE_SIDE,
    DIM,
    MOST_LIT,
    MOUTH_SIDE,
    Laid,
    eye_shape,
    in_own_colour,
    iris_radius,
    lay_eye,
    mouth_shape,
    paint,
    toothlike,
    within_face,
)
from vasa_cli.weights import find_weights_dir


@pytest.fixture(scope="module")
def geometry() -> Geometry:
    return load_geometry(find_weights_dir())


def shaded(source: Tensor, driving: Tensor, side: int = 256) -> tuple[Tensor, Tensor]:
    """Brightness (side, side) of grey skin after shading, and heights below the lips' meeting."""
    shapes = mouth_shape(source), mouth_shape(driving)
    columns = shapes[1].columns(side)
    skin = torch.zeros(1, 3, side, side)
    shading.shade_line(skin, *shapes, columns)
    meeting = columns[0, 1:3].mean(0)
    return (skin[0].mean(0) + 1) / 2, layers.middles(side, skin)[:, None] - meeting


def test_lips_that_were_apart_meet_in_a_dark_line(geometry: Geometry) -> None:
    apart, shut = face(geometry, mouth_open=2.0), face(geometry, mouth_open=-1.0)
    bright, below = shaded(apart, shut)
    middle = bright[:, 128]
    darkest = below[int(middle.argmin()), 128]
    assert 0 <= middle.min() - 0.5 * (1 - shading.LINE_DEPTH) < 0.025
    assert abs(float(darkest) - shading.LINE_BELOW) < 0.01
    assert (middle[below[:, 128].abs() > 0.1] > 0.495).all()
    assert (bright[:, :20] == 0.5).all() and (bright[:, -20:] == 0.5).all()  # cheeks


def test_lips_that_the_photo_shows_shut_keep_their_own_line(geometry: Geometry) -> None:
    shut = face(geometry, mouth_open=-1.0)
    assert mouth_shape(shut).gap.max() == 0
    bright, _ = shaded(shut, shut)
    assert (bright == 0.5).all()


def test_the_line_goes_as_lips_part(geometry: Geometry) -> None:
    apart = face(geometry, mouth_open=2.0)
    darkest = [
        float(shaded(apart, face(geometry, mouth_open=by))[0][:, 128].min())
        for by in (-1.0, 0.3, 0.6, 3)
    ]
    assert darkest == sorted(darkest) and darkest[-1] == 0.5 and darkest[0] < 0.36


def test_a_generator_leaves_the_edges_of_open_lips_alone(geometry: Geometry) -> None:
    shapes = [mouth_shape(face(geometry, mouth_open=by)) for by in (-1.0, 0.4, 0.8, 2.0)]
    shares = [shading.off_lips_edges(shape, 128)[0][0, 0, :, 64] for shape in shapes]
    assert (shares[0] == 1).all()  # lips that meet
    for closer, wider in zip(shares[:-1], shares[1:]):
        assert wider.sum() < closer.sum()  # bit by bit
    upper, lower = shapes[-1].columns(128)[0, 1:3, 64]
    line = layers.middles(128, upper)
    above, below = line < upper - shading.LIPS_LIT, line > lower + shading.LIPS_LIT
    assert (shares[-1][above | below] == 1).all() and above.any() and below.any()
    near = (line > upper - shading.LIPS_BARE) & (line < lower + shading.LIPS_BARE)
    assert (shares[-1][near] == 0).all()


def test_a_generator_leaves_the_line_of_shut_lips_alone(geometry: Geometry) -> None:
    """And takes no more than the light of its change there; of open lips it may take all."""
    shut, wide = (mouth_shape(face(geometry, mouth_open=by)) for by in (-1.0, 2.0))
    detailed = shading.off_lips_edges(shut, 128)[1][0, 0, :, 64]
    meeting = shut.columns(128)[0, 1:3, 64].mean()
    away = (layers.middles(128, meeting) - meeting).abs()
    assert (detailed[away < shading.LINE_OWN] == 0).all()
    assert (detailed[away > shading.LINE_CHANGED] == 1).all()
    assert (shading.off_lips_edges(wide, 128)[1][0, 0, :, 64] == 1).all()


def test_where_skin_meets_there_are_no_steps(geometry: Geometry) -> None:
    side = 256
    sloping = torch.linspace(-0.04, 0.04, side)
    columns = sloping.expand(1, 4, side).contiguous()
    below = layers.middles(side, columns)[:, None] > sloping
    skin = (below.float() * 0.8 - 0.4).expand(1, 3, side, side).contiguous()
    smile, shut = (mouth_shape(face(geometry, mouth_open=by)) for by in (2.0, -1.0))
    melted = skin.clone()
    shading.melt(melted, smile, columns)
    rows = slice(side // 2 - 12, side // 2 + 12)
    before, after = (x[0, 0, rows].diff(dim=1).abs().max() for x in (skin, melted))
    assert before > 0.7 and after < 0.6 * before
    assert torch.equal(melted[:, :, : side // 4], skin[:, :, : side // 4])
    apart = columns.clone()
    apart[:, 2:] += 2 * shading.LINE_GONE
    for source, now in ((smile, apart), (shut, columns)):  # lips apart, or the photo's own line
        untouched = skin.clone()
        shading.melt(untouched, source, now)
        assert torch.equal(untouched, skin)


@pytest.mark.parametrize("invented", [0.0, 1.0])
def test_a_slit_lets_in_less_light_than_a_smile(geometry: Geometry, invented: float) -> None:
    wide = mouth_shape(face(geometry, mouth_open=2.0))
    share, hue = torch.full((1, 1, 1), invented), torch.ones(1, 1, 1, 1)
    shapes = [mouth_shape(face(geometry, mouth_open=by)) for by in (0.2, 0.6, 2.0, 3.0)]
    light = [
        shading.light_through(wide, shape, share, hue)[0, :, 0, 0].tolist() for shape in shapes
    ]
    for channel in zip(*light):
        assert list(channel) == sorted(channel)
    assert np.mean(light[0]) < 0.6
    if not invented:
        assert light[2:] == [[1, 1, 1]] * 2  # as in the photo, and never brighter


def test_light_through_a_slit_is_red_but_in_grey_photos(geometry: Geometry) -> None:
    wide, slit = (mouth_shape(face(geometry, mouth_open=by)) for by in (2.0, 0.5))
    own, guessed = torch.zeros(1, 1, 1), torch.ones(1, 1, 1)
    darkest = 1.0
    for invented in (own, guessed):
        hues = torch.ones(1, 1, 1, 1), torch.zeros(1, 1, 1, 1)
        light, grey = (shading.light_through(wide, slit, invented, hue)[0, :, 0, 0] for hue in hues)
        red, green, blue = light
        assert 1.05 < red / green < 1.5 and 1 < blue / green < 1.1
        assert grey[0] == grey[1] == grey[2] < 1
        assert green < darkest  # a smile's own teeth are there; others may be a shadow
        darkest = float(green)


def test_teeth_through_a_slit_are_darker_than_in_the_photo(geometry: Geometry) -> None:
    smile, slit = face(geometry, mouth_open=1.5), face(geometry, mouth_open=0.5)
    seen = []
    for driving in (smile, slit):
        laid = laid_mouth(lips_photo(smile), smile, driving)
        shape = mouth_shape(driving)
        opening = shape.opening(shape.columns(laid.layered.shape[-1]))[0, 0] > 0.7
        seen.append(float(laid.layered[0].mean(0)[opening].quantile(0.9)))
    assert seen[0] > 0.9 and seen[1] < 0.7


def test_skin_beyond_the_corners_has_no_seam(geometry: Geometry) -> None:
    smile, shut = face(geometry, mouth_open=2.0, mouth_width=2.0), face(geometry)
    source, driving = mouth_shape(smile), mouth_shape(shut)
    upper, lower = layers.skin_cells(source, driving)
    beyond = driving.between_corners(layers.FLOW_SIDE)[0] == 0
    assert beyond.sum() > 8
    assert torch.allclose(upper[..., beyond], lower[..., beyond], atol=1e-6)
    assert not torch.allclose(upper[..., ~beyond], lower[..., ~beyond], atol=1e-3)
    below = layers.middles(64, upper)[None, None, :, None].expand(1, 1, 64, 64)
    moved = layers.inset(source, driving, below)
    assert (moved[..., driving.between_corners(64)[0] == 0] == 0).all() and moved.abs().max() > 0.01


def test_lips_do_not_look_like_teeth() -> None:
    patches = torch.tensor([WHITE, (0.7, 0.6, 0.5), RED, (0.7, 0.1, 0.1), (-0.8, -0.9, -0.9)])
    white = torch.tensor([0.95, 0.9, 0.85])[:, None, None]
    found = toothlike(patches[:, :, None, None], white.expand(5, -1, -1, -1)).flatten()
    assert found.tolist() == [1, 1, 0, 0, 0]


def test_generators_change_nothing_beyond_the_face(geometry: Geometry) -> None:
    turned = face(geometry)
    angle = torch.tensor(0.45)
    turn = torch.tensor([[angle.cos(), 0, angle.sin()], [0, 1, 0], [-angle.sin(), 0, angle.cos()]])
    turned = turned @ turn.float().T
    patch = mouth_shape(turned).patch
    kept = within_face(turned, patch, 128)
    distance = fields.outline_distances(
        patch.to_square(turned[:, fields.OVAL, :2]), (tuple(range(len(fields.OVAL))),), 128
    )
    assert (kept[distance > 0.05] < 0.01).all()
    assert (kept[distance < -0.2] > 0.97).all()
    assert 0.02 < float((distance > 0.05).float().mean())  # the square does reach beyond it


def test_the_far_edge_of_a_turned_head_is_as_the_field_moves_it(geometry: Geometry) -> None:
    points = face(geometry)
    laid = laid_mouth(lips_photo(points), points, points)
    painted = paint(laid, torch.ones(1, 12, 64, 64), torch.ones(1, 1, 128, 128))
    beyond = within_face(points, laid.patch, 128) == 0
    assert (painted.change[beyond.expand(-1, 3, -1, -1)] == 0).all()
    assert painted.change.max() > 0.9


def changed(laid: Laid, side: int, wanted: Tensor) -> Tensor:
    """What comes of a change (side, side) that a generator wants, brightness (side, side)."""
    out = torch.nn.functional.pixel_unshuffle(wanted.expand(1, 3, side, side), 2)
    return paint(laid, out, torch.ones(1, 1, side, side)).change[0].mean(0)


@pytest.mark.parametrize("side", [MOUTH_SIDE, EYE_SIDE])
def test_off_lips_and_lids_a_generator_changes_light_and_no_detail(
    geometry: Geometry, side: int
) -> None:
    points = face(geometry, mouth_open=-1.0)
    photo = with_eyes(lips_photo(points), points)
    mouth = side == MOUTH_SIDE
    laid = laid_mouth(photo, points, points) if mouth else laid_eye(photo, points)
    shape = mouth_shape(points) if mouth else eye_shape(points, "left")
    reach = shape.reach(side)[0, 0]
    inner = torch.nn.functional.pad(torch.ones(side - 10, side - 10), [5] * 4)
    off = (reach < 0.02) & (within_face(points, laid.patch, side)[0, 0] == 1) & (inner == 1)
    on = (reach > 0.97) & (laid.kept[0, 0] == 1)
    if mouth:
        on &= shading.off_lips_edges(shape, side)[1][0, 0] == 1  # but for where they meet
    else:
        on &= shape.iris_disk(side, iris_radius(shape))[0, 0] < 0.01
    assert off.float().mean() > 0.1 and on.float().mean() > 0.01
    fine = torch.ones(side, side)
    fine[:, ::2] = -1  # as skin's detail is blurred
    assert changed(laid, side, fine)[off].abs().max() < 0.13  # a ninth is left of nine pixels
    assert changed(laid, side, fine)[on].abs().min() > 0.9
    even = changed(laid, side, 0.05 * torch.ones(side, side))
    assert (even[off] - 0.05).abs().max() < 0.01
    for most in (changed(laid, side, by * torch.ones(side, side)) for by in (1.0, -1.0)):
        assert most[off].abs().max() <= shading.LIGHT_MOST + 0.02 and most[on].abs().min() > 0.9


def test_a_generator_changes_an_iris_by_its_light_only(geometry: Geometry) -> None:
    points = face(geometry)
    laid = laid_eye(with_eyes(plain(SIDE), points), points)
    shape = eye_shape(points, "left")
    disk = shape.iris_disk(EYE_SIDE, iris_radius(shape)) * shape.opening(shape.columns(EYE_SIDE))
    bare = disk[0, 0] > 0.99
    fine = torch.ones(EYE_SIDE, EYE_SIDE)
    fine[::2] = -1
    assert bare.sum() > 50 and changed(laid, EYE_SIDE, fine)[bare].abs().max() < 0.13


def test_a_lid_over_an_iris_is_skin_as_beside_it(geometry: Geometry) -> None:
    awake, asleep = face(geometry), face(geometry, lid_left=-6.0, lid_right=-6.0)
    photo = with_eyes(plain(SIDE), awake)
    laid = lay_eye(photo, look(photo, awake).eyes[0], asleep, still_field(), "left")
    shape = eye_shape(asleep, "left")
    disk = shape.iris_disk(EYE_SIDE, iris_radius(shape))[0, 0] > 0.99
    fine = torch.ones(EYE_SIDE, EYE_SIDE)
    fine[::2] = -1
    assert float(shape.gap) < 0.02 and disk.sum() > 50
    assert changed(laid, EYE_SIDE, fine)[disk].abs().min() > 0.8


def test_shade_is_not_lit_until_it_is_red() -> None:
    shade = torch.tensor([-0.58, -0.89, -0.97])[None, :, None, None].expand(1, 3, 8, 8)
    out, seen = (
        torch.nn.functional.pixel_unshuffle(x, 2) for x in (torch.full_like(shade, 0.77), shade)
    )
    lit = torch.nn.functional.pixel_shuffle(in_own_colour(out, seen), 2) + shade
    own = (shade + DIM) * (1 + MOST_LIT) - DIM
    assert (lit >= own - 1e-5).all() and (lit - own).max() < 0.25  # a quarter is its own colour
    assert float((lit[:, 0] - lit[:, 1]).max()) < 0.55
