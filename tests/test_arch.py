"""Rows of teeth in mouths that are turned aside."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from tests.test_layers import face, laid_mouth, lips_photo
from vasa_cli.geometry import Geometry
from vasa_cli.loading import load_geometry
from vasa_cli.models import arch
from vasa_cli.models.painting import mouth_shape
from vasa_cli.weights import find_weights_dir

BEHIND = 0.1
FACES_LEFT, FACES_RIGHT = -30.0, 30.0  # degrees of yaw


@pytest.fixture(scope="module")
def geometry() -> Geometry:
    return load_geometry(find_weights_dir())


def turned(points: Tensor, yaw_deg: float) -> Tensor:
    """Points (B, 478, 3) turned about the vertical; depths grow away from the viewer."""
    sine, cosine = math.sin(math.radians(yaw_deg)), math.cos(math.radians(yaw_deg))
    x, y, depth = points.unbind(-1)
    return torch.stack([cosine * x - sine * depth, y, sine * x + cosine * depth], -1)


def test_a_face_that_looks_at_the_viewer_has_its_teeth_where_they_were_measured(
    geometry: Geometry,
) -> None:
    line = torch.linspace(-0.6, 0.6, 25)[None]
    points = face(geometry)
    middled = points - points * torch.tensor([0.0, 0.0, 1.0])  # flat: it faces nowhere else
    assert torch.allclose(arch.along(line, middled, BEHIND), line, atol=1e-6)


@pytest.mark.parametrize("yaw_deg", [-35.0, -10.0, 20.0])
def test_every_tooth_that_is_seen_is_found_where_the_turn_takes_it(
    geometry: Geometry, yaw_deg: float
) -> None:
    points = turned(face(geometry), yaw_deg)
    sine = float(arch.turn(points))
    assert sine == pytest.approx(-math.sin(math.radians(yaw_deg)), abs=0.03)
    cosine = math.sqrt(1 - sine**2)
    front = torch.linspace(-0.25, 0.25, 11)[None]
    depth = BEHIND + arch.DEPTH * front.square()
    seen = cosine * front + sine * depth
    visible = cosine + 2 * arch.DEPTH * sine * front > 0  # not behind the teeth before it
    found = arch.along(seen, points, BEHIND)
    assert visible.sum() >= 7
    assert torch.allclose(found[visible], front[visible], atol=1e-4)


def test_behind_the_far_end_of_the_arch_nothing_is_laid(geometry: Geometry) -> None:
    points = turned(face(geometry), FACES_LEFT)
    assert float(arch.along(torch.tensor([[-0.5]]), points, 0.0)) == arch.HIDDEN


@pytest.mark.parametrize("yaw_deg", [FACES_LEFT, FACES_RIGHT])
def test_a_turned_mouth_shows_teeth_nearly_to_its_near_corner(
    geometry: Geometry, yaw_deg: float
) -> None:
    source = turned(face(geometry), yaw_deg)
    points = turned(face(geometry, mouth_open=3.0), yaw_deg)
    laid = laid_mouth(lips_photo(source), source, points)
    shape = mouth_shape(points)
    opening = shape.opening(shape.columns(laid.drawn.shape[-1]))[0, 0] > 0.9
    bright = (laid.layered[0].amin(0) > -0.4) & opening
    toothed, is_open = bright.any(0).nonzero()[:, 0], opening.any(0).nonzero()[:, 0]
    near, far = (-1, 0) if yaw_deg == FACES_LEFT else (0, -1)
    wide = float(is_open[-1] - is_open[0])
    assert abs(float(toothed[near] - is_open[near])) < 0.3 * wide
    assert abs(float(toothed[far] - is_open[far])) < 0.3 * wide
