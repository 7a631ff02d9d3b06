"""The inside of a mouth that the photo does not show: dark, tongue, lower teeth."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.test_layers import face, laid_mouth, lips_photo, look, painted_by
from vasa_cli.geometry import Geometry
from vasa_cli.loading import load_geometry
from vasa_cli.models import cavity
from vasa_cli.models.painting import mouth_shape
from vasa_cli.weights import find_weights_dir


@pytest.fixture(scope="module")
def geometry() -> Geometry:
    return load_geometry(find_weights_dir())


def inside(geometry: Geometry, points: Tensor) -> Tensor:
    """The colours (3, N) down the middle of a mouth opened from a shut one, beside the gap."""
    source = face(geometry)
    laid = laid_mouth(lips_photo(source), source, points)
    shape = mouth_shape(points)
    x = laid.drawn.shape[-1] // 2 + 5
    is_open = shape.opening(shape.columns(laid.drawn.shape[-1]))[0, 0, :, x] > 0.99
    return laid.layered[0][:, is_open, x]


def test_it_is_dark_behind_the_teeth_and_red_further_down(geometry: Geometry) -> None:
    down = inside(geometry, face(geometry, mouth_open=4.5))
    bright = down.mean(0)
    darkest = int(bright.argmin())
    assert bright[darkest] < -0.6
    assert 0.15 * len(bright) < darkest < 0.8 * len(bright)
    redness = down[0] - down[1:].mean(0)
    tongue = int(redness.argmax())
    assert tongue > darkest  # below it, on the floor of the mouth
    assert redness[tongue] > 0.15


def test_a_mouth_that_opens_little_shows_no_tongue(geometry: Geometry) -> None:
    wide, little = (inside(geometry, face(geometry, mouth_open=v)) for v in (4.5, 1.0))
    redness = [float((down[0] - down[1:].mean(0)).max()) for down in (wide, little)]
    assert redness[1] < redness[0] * 0.7  # the lips' own soft edge


def white_above_lip(geometry: Geometry, lip: float) -> float:
    """How much of the lower teeth is seen above a lower lip so far over a chin at 0.7."""
    expected = look(lips_photo(face(geometry)), face(geometry)).mouth.cavity[0]
    side = 400
    line = torch.linspace(-1, 1, side)
    columns = torch.zeros(1, 4, side)
    columns[:, 1], columns[:, 2] = -0.5, 0.7 - lip
    picture = torch.zeros(1, 3, side, side)
    cavity.lay(
        picture,
        torch.ones(1, 1, side, side),
        expected,
        across=line[None, None],
        down=(line - 0.7)[None, :, None],
        columns=columns,
        rows=line,
        pixel=2 / side,
    )
    above_lip = 0.7 - lip - line
    seen = picture[0][:, (above_lip > 0) & (above_lip < 0.2), side // 2 + 10]
    tooth = (seen.amin(0) > -0.62) & (seen[0] - seen[2] < 0.5)  # neither dark nor red
    return float(tooth.sum()) * 2 / side


def test_lower_teeth_are_seen_where_the_lower_lip_is_drawn_from_them(geometry: Geometry) -> None:
    """They go with the jaw, not with the lip."""
    at_rest, lower = (white_above_lip(geometry, lip) for lip in (0.78, 0.74))
    assert at_rest < 0.01
    assert lower == pytest.approx(0.04, abs=0.015)


def test_what_is_but_a_line_of_them_is_left_out(geometry: Geometry) -> None:
    """It would be specks, where a pixel is as high."""
    heights = [white_above_lip(geometry, lip) for lip in np.linspace(0.79, 0.73, 25)]
    assert min(heights) == 0 and min(np.diff(heights)) > -0.006  # but for a pixel
    assert min(height for height in heights if height) > cavity.SPECKS / 2


def test_they_never_stand_far_out_of_the_lip(geometry: Geometry) -> None:
    assert white_above_lip(geometry, 0.5) < cavity.MOST_SHOWN + 0.01


def test_it_is_lit_as_the_teeth_are(geometry: Geometry) -> None:
    """A dark photo's mouth is darker, a grey one's without colour."""
    source = face(geometry)
    photo = lips_photo(source)
    plain, dim, grey = (
        look(p, source).mouth.cavity[0]
        for p in (photo, photo * 0.5 - 0.5, photo.mean(1, keepdim=True).expand(-1, 3, -1, -1))
    )
    for name in ("dark", "tongue", "lower"):
        assert getattr(dim, name).mean() < getattr(plain, name).mean()
        assert float(getattr(grey, name).std()) < 1e-6 < float(getattr(plain, name).std())


def test_lower_teeth_have_the_colour_of_the_upper_ones_that_the_photo_shows(
    geometry: Geometry,
) -> None:
    source = face(geometry, mouth_open=2.0)
    shape = mouth_shape(source)
    yellow, seen = (0.9, 0.6, 0.2), lips_photo(source)
    painted_by(shape, yellow, seen, shape.opening(shape.columns(256)))
    own, laid = (look(photo, source).mouth.cavity[0] for photo in (seen, dark_inside(source)))
    assert float(own.lower[0, 2] / own.lower[0, 0]) == pytest.approx(1.2 / 1.9, rel=0.1)
    assert float(laid.lower[0, 2] / laid.lower[0, 0]) > 0.68
    assert own.tongue.allclose(laid.tongue, atol=0.02)  # by the light, not by the teeth


def dark_inside(source: Tensor) -> Tensor:
    """A photo whose mouth is open onto the dark."""
    photo, shape = lips_photo(source), mouth_shape(source)
    painted_by(shape, (-0.95, -0.95, -0.95), photo, shape.opening(shape.columns(256)))
    return photo
