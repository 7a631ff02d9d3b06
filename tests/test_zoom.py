"""A person comes nearer: exactly where the person is, hardly around, and never in folds."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from vasa_cli.loading import load_geometry
from vasa_cli.models import fields
from vasa_cli.models.decoder import Decoder
from vasa_cli.models.moved import MotionField
from vasa_cli.models.zoom import FREE, SIDE, Zoom, beyond_free
from vasa_cli.weights import find_weights_dir

ZOOMS = torch.tensor([-0.3, -0.2, 0.2, 0.3])  # logarithms


@pytest.fixture(scope="module")
def points() -> Tensor:
    """The mean face (1, 478, 3), as it lies in its own crop."""
    mean = torch.from_numpy(load_geometry(find_weights_dir()).mean).float()[None]
    return mean * 0.95 + torch.tensor([0.0, -0.15, 0.0])


@pytest.fixture(scope="module")
def zoom(points: Tensor) -> Zoom:
    return Zoom.of(points)


def seen_at(places: Tensor, maps: Tensor) -> Tensor:
    """Maps (B, 2, SIDE, SIDE) at places (n, 2): (B, n, 2)."""
    grid = places[None, None].expand(len(maps), -1, -1, -1)
    return torch.nn.functional.grid_sample(maps, grid, align_corners=False)[:, :, 0].mT


def test_the_face_is_zoomed_exactly_about_the_necks_base(zoom: Zoom, points: Tensor) -> None:
    for log_zoom in ZOOMS:
        face = (points[0, :, :2] - zoom.centre) * torch.exp(log_zoom) + zoom.centre
        there = seen_at(face, zoom.before(log_zoom[None]).permute(0, 3, 1, 2))[0]
        shown = (face.abs() < 1 - 1 / SIDE).all(-1)  # what the picture still holds
        assert shown.sum() > 400
        assert (there - points[0, :, :2])[shown].abs().max() < 0.004


def test_points_come_back(zoom: Zoom, points: Tensor) -> None:
    there = zoom.undo(points.expand(4, -1, -1), ZOOMS)
    assert torch.allclose(zoom.undo(there, -ZOOMS), points.expand(4, -1, -1), atol=1e-5)
    assert fields.face_height(there)[0] / fields.face_height(points)[0] == pytest.approx(
        float(torch.exp(-ZOOMS[0])), rel=1e-4
    )


def test_nothing_folds_or_tears(zoom: Zoom) -> None:
    for log_zoom in (*ZOOMS, torch.tensor(-0.55), torch.tensor(0.55)):
        there = zoom.before(log_zoom[None])[0]  # (SIDE, SIDE, 2)
        across, down = there.diff(dim=1)[:-1], there.diff(dim=0)[:, :-1]
        areas = across[..., 0] * down[..., 1] - across[..., 1] * down[..., 0]
        assert areas.min() > -1e-3 * (2 / SIDE) ** 2  # as good as nought: no cell turns over


def test_the_background_hardly_moves(zoom: Zoom) -> None:
    corners = torch.tensor([[-0.97, -0.97], [0.97, -0.97], [-0.97, -0.3], [0.97, -0.3]])
    for log_zoom in ZOOMS:
        there = seen_at(corners, zoom.before(log_zoom[None]).permute(0, 3, 1, 2))[0]
        rigid = (corners - zoom.centre) * (torch.exp(-log_zoom) - 1)
        share = (there - corners).norm(dim=-1) / rigid.norm(dim=-1)
        # what comes nearer may push over the border, what goes away has to leave it filled
        assert share.max() < (0.5 if log_zoom > 0 else 0.1)


def test_a_person_who_goes_away_bares_nothing_from_beyond_the_picture(zoom: Zoom) -> None:
    assert zoom.before(ZOOMS[:2]).abs().max() < 1 + 1 / SIDE


def test_a_pinned_picture_keeps_its_border(points: Tensor) -> None:
    pinned = Zoom.of(points, pinned=True)
    start = fields.pixel_grid(SIDE)[0]
    for log_zoom in ZOOMS:
        there = pinned.before(log_zoom[None])[0]
        moved = (there - start).norm(dim=-1)
        border = torch.cat([moved[0], moved[:, 0], moved[:, -1]])
        assert border.max() < 0.2 * moved.max()


def test_no_zoom_leaves_a_field_as_it_is(zoom: Zoom) -> None:
    generator = torch.Generator().manual_seed(0)
    field = MotionField(
        *(torch.rand(1, n, SIDE, SIDE, generator=generator) * 0.1 for n in (2, 3, 3, 1))
    )
    same = zoom.field(field, torch.zeros(1))
    for one, other in ((same.flow, field.flow), (same.change, field.change)):
        assert torch.allclose(one, other, atol=1e-5)


def test_the_motion_field_does_small_zooms_alone(points: Tensor, zoom: Zoom) -> None:
    assert beyond_free(torch.tensor([-FREE, 0.0, FREE])).abs().max() == 0
    assert beyond_free(torch.tensor([0.3])).item() == pytest.approx(0.3 - FREE)
    torch.manual_seed(0)
    decoder = Decoder(width=8).eval()
    photo = torch.rand(1, 3, 128, 128) * 2 - 1
    with torch.inference_mode():
        seen = decoder.look(photo, points)
        near = points * torch.tensor([1.03, 1.03, 1.03])
        plain = decoder.compose(seen, near)
        zoomed = decoder.compose(seen, near, zoom=zoom, log_zoom=torch.tensor([0.03]))
    assert torch.allclose(plain, zoomed, atol=1e-4)
