"""A photo's edges, from beyond which nothing can be taken, and the sitter's own colours."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from vasa_cli.models import fields
from vasa_cli.models.moved import DETAIL_KEPT, EDGE_REACH, MotionField, detail_lost
from vasa_cli.models.painting import CHROMA, in_own_colour
from vasa_cli.squares import Window

SIDE = 64
WHOLE_SQUARE = torch.tensor([[-1.0, -1.0, 1.0, 1.0]])


def pulled(x: float, y: float) -> MotionField:
    """A field that takes everything from so far aside and below."""
    flow = torch.tensor([x, y])[None, :, None, None].expand(1, 2, SIDE, SIDE)
    nothing = torch.zeros(1, 3, SIDE, SIDE)
    return MotionField(flow, nothing, nothing, nothing[:, :1])


def places(field: MotionField) -> Tensor:
    """Where in the photo every cell comes from, (SIDE, SIDE, 2)."""
    return fields.pixel_grid(SIDE)[0] + field.flow[0].permute(1, 2, 0)


@pytest.mark.parametrize("pull", [(0.0, 0.15), (0.0, -0.15), (0.1, 0.0), (-0.1, 0.05)])
def test_nothing_is_taken_from_beyond_the_edges(pull: tuple[float, float]) -> None:
    loose, held = pulled(*pull), pulled(*pull).attached(WHOLE_SQUARE)
    assert places(loose).abs().max() > 1.04
    assert places(held).abs().max() <= 1


@pytest.mark.parametrize("edge", [1.0, 0.6])
def test_a_picture_stretches_towards_its_edge_and_neither_folds_nor_repeats(edge: float) -> None:
    held = pulled(0.0, 0.12).attached(torch.tensor([[-1.0, -1.0, 1.0, edge]]))
    rows = fields.pixel_line(SIDE)
    down = places(held)[:, 0, 1]
    within = rows < edge
    steps = down[within].diff() / (rows[1] - rows[0])
    assert 0.3 < steps.min() and steps.max() < 1.5
    assert down[within].max() <= edge
    assert torch.equal(down[~within], rows[~within])  # what is not photo stays as it is


def test_the_photo_keeps_its_detail_where_little_is_hidden() -> None:
    hidden = torch.linspace(0, 1, 101)
    lost = detail_lost(hidden)
    assert (lost[hidden <= DETAIL_KEPT] == 0).all() and lost[-1] == 1
    assert (lost.diff() >= 0).all() and (lost <= hidden).all()
    field = pulled(0.1, 0.0)
    veiled = MotionField(field.flow, field.moved, field.change, torch.full_like(field.hidden, 0.4))
    assert torch.equal(veiled.maps[:, 2], torch.ones(1, SIDE, SIDE))


def test_what_is_well_within_moves_as_before() -> None:
    held = pulled(0.0, 0.12).attached(WHOLE_SQUARE)
    far = fields.pixel_line(SIDE) < 1 - 2.5 * EDGE_REACH * 0.12
    assert (held.flow[0, 1][far] > 0.998 * 0.12).all()
    assert torch.equal(held.flow[:, 0], torch.zeros(1, SIDE, SIDE))


def test_edges_are_those_of_the_picture_in_the_square() -> None:
    picture = np.zeros((200, 300, 3), np.uint8)
    assert Window(150.0, 100.0, 50.0).edges(picture) == (-1, -1, 1, 1)
    assert Window(150.0, 150.0, 100.0).edges(picture) == (-1, -1, 1, 0.5)
    assert Window(40.0, 30.0, 80.0).edges(picture) == (-0.5, -0.375, 1, 1)


def seen_as(*colour: float) -> Tensor:
    """Four pixels of a colour, 0 to 1, as generators are shown them, (1, 12, 1, 1)."""
    return (2 * torch.tensor(colour) - 1).repeat_interleave(4)[None, :, None, None]


def test_light_on_a_lip_has_the_lip_s_colour() -> None:
    lip = (0.6, 0.35, 0.25)
    lighter = in_own_colour(torch.full((1, 12, 1, 1), 0.2), seen_as(*lip))
    red, green, blue = lighter[0, ::4, 0, 0].tolist()
    assert red > green > blue > 0
    assert np.mean([red, green, blue]) == pytest.approx(0.2, abs=1e-6)


def test_a_change_of_colour_is_taken_in_part_only() -> None:
    bluer = torch.tensor([-0.1, -0.1, 0.2]).repeat_interleave(4)[None, :, None, None]
    found = in_own_colour(bluer, seen_as(0.6, 0.35, 0.25))
    assert torch.allclose(found, CHROMA * bluer, atol=1e-6)


def test_in_the_dark_light_stays_within_bounds() -> None:
    found = in_own_colour(torch.full((1, 12, 1, 1), 0.3), seen_as(0.02, 0.0, 0.0))
    assert 0 < found.min() and found.max() < 0.5


@pytest.mark.parametrize("side", [128, 192, 100])
def test_a_shrunk_picture_has_the_means_of_its_pixels(side: int) -> None:
    image = torch.rand(2, 3, side, side)
    wanted = torch.nn.functional.interpolate(image, size=(SIDE, SIDE), mode="area")
    for layout in (torch.contiguous_format, torch.channels_last):
        found = fields.shrunk(image.contiguous(memory_format=layout), SIDE)
        assert torch.allclose(found, wanted, atol=1e-6)
