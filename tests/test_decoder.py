"""The decoder's geometry against closed forms, and the whole of it with tiny random weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from vasa_cli.geometry import Geometry
from vasa_cli.loading import load_geometry
from vasa_cli.models import fields
from vasa_cli.models.blocks import DoublingConv, Residual, UNet, conv, double, turned
from vasa_cli.models.decoder import Decoder
from vasa_cli.models.enlarging import enlarged
from vasa_cli.models.moved import MotionField, sample_moved, sample_whole
from vasa_cli.weights import find_weights_dir


@pytest.fixture(scope="module")
def geometry() -> Geometry:
    return load_geometry(find_weights_dir())


def face_points(geometry: Geometry, *, yaw_deg: float = 0.0, n: int = 1) -> Tensor:
    from vasa_cli.geometry import project

    pose = np.array([[yaw_deg, 0, 0, 0, 0, 1.0]])
    return torch.from_numpy(project(pose, geometry.mean[None])).float().expand(n, -1, -1)


def picture(side: int, *, seed: int = 0) -> Tensor:
    torch.manual_seed(seed)
    coarse = torch.rand(1, 3, 8, 8) * 2 - 1
    return torch.nn.functional.interpolate(coarse, size=(side, side), mode="bicubic").clamp(-1, 1)


def test_distances_to_a_square_are_known() -> None:
    corners = torch.tensor([[[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]]])
    found = fields.outline_distances(corners, ((0, 1, 2, 3),), 21)[0, 0]
    beyond = fields.pixel_grid(21)[0].abs() - 0.5  # (21, 21, 2)
    outside = beyond.clamp_min(0).norm(dim=-1)
    expected = torch.where(outside > 0, outside, beyond.amax(-1))
    assert torch.allclose(found, expected, atol=1e-5)
    assert found[10, 10] == pytest.approx(-0.5) and found[10, 20] == pytest.approx(10 / 10.5 - 0.5)


@pytest.mark.parametrize("size", [(8, 8), (7, 6), (6, 9), (2, 2)])
def test_halving_is_the_mean_of_two_by_two(size: tuple[int, int]) -> None:
    image = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(fields.halved(image), F.avg_pool2d(image, 2), atol=1e-6)


def polygon_distance(polygon: Tensor, grid: Tensor) -> Tensor:
    """Edge by edge: of positions (B, P, 2) to closed polygons (B, K, 2), negative inside."""
    start, end = polygon[:, None], polygon.roll(-1, 1)[:, None]  # (B, 1, K, 2)
    x, y = grid[:, :, None, 0], grid[:, :, None, 1]  # (B, P, 1)
    sx, sy, ex, ey = start[..., 0], start[..., 1], end[..., 0], end[..., 1]
    dx, dy = ex - sx, ey - sy
    along = (((x - sx) * dx + (y - sy) * dy) / (dx * dx + dy * dy).clamp_min(1e-9)).clamp(0, 1)
    gap = (x - sx - along * dx).square() + (y - sy - along * dy).square()
    crosses = ((sy > y) != (ey > y)) & (x < sx + (y - sy) * dx / torch.where(dy == 0, 1e-9, dy))
    inside = crosses.sum(-1) % 2
    return gap.amin(-1).clamp_min(1e-12).sqrt() * (1 - 2 * inside)


def test_distances_to_outlines_are_those_to_each_polygon() -> None:
    torch.manual_seed(0)
    points = torch.rand(2, 9, 2) * 1.6 - 0.8
    points[0, 1] = points[0, 0]  # an edge without a length
    outlines = ((0, 1, 2, 3, 4), (5, 6, 7, 8, 2, 0))  # any order: they cross themselves
    found = fields.outline_distances(points, outlines, 24)
    grid = fields.pixel_grid(24).reshape(1, -1, 2)
    for k, outline in enumerate(outlines):
        expected = polygon_distance(points[:, outline], grid)
        assert torch.allclose(found[:, k].flatten(1), expected, atol=1e-5)


@pytest.mark.parametrize("side", [16, 33])
def test_landmark_flows_are_the_softmax_over_all_landmarks(geometry: Geometry, side: int) -> None:
    source = face_points(geometry)
    driving = face_points(geometry, yaw_deg=25) * 0.6 + torch.tensor([0.5, 0.3, 0.0])
    sigmas = (0.18, 0.05)
    flows, nears = fields.candidate_flows(source, driving, side, sigmas)
    grid = fields.pixel_grid(side).reshape(-1, 1, 2).double()
    squares = (grid - driving[..., :2].double()).square().sum(-1)  # (P, 478)
    for k, sigma in enumerate(sigmas):
        logits = -squares / (2 * sigma**2)
        expected = torch.softmax(logits, 1) @ (source - driving)[0, :, :2].double()
        found = flows[0, 1 + k].flatten(1).T.double()
        assert torch.allclose(found, expected, atol=1e-5)
        near = torch.exp(logits.amax(1)).float()
        assert torch.allclose(nears[0, k].flatten(), near, atol=1e-4)


def test_a_patch_is_square_turned_with_the_eyes_and_mirrored_for_the_right_one(
    geometry: Geometry,
) -> None:
    points = face_points(geometry)
    left, right = (fields.eye_patch(points, eye, 0.4) for eye in ("left", "right"))
    assert torch.allclose(left.affine[:, 0, 0], -right.affine[:, 0, 0], atol=1e-3)
    local = left.to_square(points[..., :2])[0], right.to_square(points[..., :2])[0]
    assert torch.allclose(local[0][33], local[1][263], atol=0.02)  # outer corners lie alike


def test_points_go_into_a_square_and_back(geometry: Geometry) -> None:
    points = face_points(geometry, yaw_deg=15)
    patch = fields.mouth_patch(points, 0.6)
    assert torch.allclose(patch.from_square_3d(patch.to_square_3d(points)), points, atol=1e-5)


def test_a_square_lands_where_it_was_cut_from(geometry: Geometry) -> None:
    points, frame, other = face_points(geometry), picture(256), picture(256, seed=1)
    patch = fields.mouth_patch(points, 0.6)
    laid, share = frame.clone(), torch.ones(1, 1, 192, 192)
    patch.put(laid, torch.cat([patch.cut(other, 192), share], 1))
    middle = patch.cut(laid, 32)[..., 4:28, 4:28]
    assert (middle - patch.cut(other, 32)[..., 4:28, 4:28]).abs().mean() < 0.01
    assert torch.equal(laid[..., :40, :], frame[..., :40, :])  # far from the mouth: untouched


def test_a_square_with_no_share_leaves_the_frame_alone(geometry: Geometry) -> None:
    points, frame = face_points(geometry), picture(256)
    drawn = torch.cat([torch.rand(1, 3, 128, 128), torch.zeros(1, 1, 128, 128)], 1)
    laid = frame.clone()
    fields.mouth_patch(points, 0.6).put(laid, drawn)
    assert torch.equal(laid, frame)


def test_a_squares_change_is_added_at_any_size(geometry: Geometry) -> None:
    points, frame = face_points(geometry), picture(256)
    patch = fields.mouth_patch(points, 0.6)
    laid = frame.clone()
    patch.put(laid, torch.zeros(1, 4, 64, 64), torch.full((1, 3, 96, 96), 0.25))
    added = patch.cut(laid - frame, 16)[..., 2:14, 2:14]  # beyond, it fades into nothing
    assert torch.allclose(added, torch.full_like(added, 0.25), atol=1e-5)


def test_unshuffled_places_and_maps_are_as_pixel_unshuffle_orders_them(geometry: Geometry) -> None:
    patch, photo = fields.mouth_patch(face_points(geometry, yaw_deg=5), 0.6), picture(64)
    plain = F.pixel_unshuffle(F.grid_sample(photo, patch.grid(32), align_corners=False), 2)
    found = F.grid_sample(photo, fields.unshuffled(patch.affine, 32), align_corners=False)
    assert torch.allclose(found.view_as(plain), plain, atol=1e-5)
    maps = torch.randn(2, 3, 6, 6)
    large = F.interpolate(maps, scale_factor=2.0, mode="bilinear", align_corners=False)
    found = fields.unshuffled_double(maps).view(2, 12, 6, 6)
    assert torch.allclose(found, F.pixel_unshuffle(large, 2), atol=1e-6)


def test_places_of_a_square_are_pytorchs_own_grid(geometry: Geometry) -> None:
    patch = fields.eye_patch(face_points(geometry, yaw_deg=5), "right", 0.4)
    grid = F.affine_grid(patch.affine, [1, 1, 20, 20], align_corners=False)
    assert torch.allclose(patch.grid(20), grid, atol=1e-6)


@pytest.mark.parametrize("side", [96, 128, 200])
def test_the_moved_mouth_is_the_moved_pictures_mouth_at_any_size(
    geometry: Geometry, side: int
) -> None:
    decoder, photo = Decoder(width=8).eval(), picture(side)
    source, points = face_points(geometry), face_points(geometry, yaw_deg=8)
    with torch.no_grad():
        seen = decoder.look(photo, source)
        field = decoder.move(seen, points)
        moved = sample_whole(photo, field)
        painted = decoder.paint_mouth(seen, points, field)
    assert (painted.patch.cut(moved, 128) - painted.warped).abs().mean() < 0.02


def textured(side: int) -> Tensor:
    """A picture with detail that 64 cells do not hold."""
    return picture(side) / 2 + torch.rand(1, 3, side, side) / 2


def hidden_a_little(photo: Tensor, flow: Tensor, *, hidden: float) -> MotionField:
    """A field that would change nothing, and hides so much of the photo everywhere."""
    small = F.interpolate(photo, size=(64, 64), mode="area")
    moved = fields.warp(small.expand(len(flow), -1, -1, -1), flow)
    share = torch.full_like(flow[:, :1], hidden)
    return MotionField(flow, moved, torch.zeros_like(moved), share)


def test_what_is_hidden_a_little_keeps_its_detail() -> None:
    photo, flow = textured(256), torch.full((1, 2, 64, 64), 2 / 64)  # by whole pixels
    moved = sample_whole(photo, hidden_a_little(photo, flow, hidden=0.35))[..., 16:-16, 16:-16]
    truth = photo[..., 20:-12, 20:-12]
    coarse = [F.avg_pool2d(x, 4) for x in (moved, truth)]
    detail = [x - double(double(small)) for x, small in zip((moved, truth), coarse)]
    kept = (detail[0] * detail[1]).sum() / detail[1].square().sum()
    assert kept > 0.93
    assert (coarse[0] - coarse[1]).abs().mean() < 0.01


def test_what_hardly_moves_stays_as_it_is_in_the_photo() -> None:
    photo, flow = textured(256), torch.zeros(2, 2, 64, 64)
    flow[0] = 2e-4 * torch.randn(2, 64, 64).clamp(-1.5, 1.5)
    flow[1, :, 20:30, 30:50] = 0.05
    field = hidden_a_little(photo, flow, hidden=0.05)
    still, part = sample_whole(photo.expand(2, -1, -1, -1), field)
    assert torch.allclose(still, photo[0], atol=1e-4)
    changed = ((part - photo[0]).abs() > 1e-3).any(0)
    assert changed[84:116, 124:196].float().mean() > 0.9
    changed[76:124, 116:204] = False
    assert not changed.any()


@pytest.mark.parametrize("side", [200, 256])
def test_the_whole_moved_picture_is_the_moved_picture_at_each_of_its_pixels(side: int) -> None:
    torch.manual_seed(0)
    photos = torch.cat([picture(side), picture(side, seed=1)])
    field = MotionField(
        torch.randn(2, 2, 64, 64) * 0.02, *torch.rand(2, 7, 64, 64).split((3, 3, 1), 1)
    )
    whole = sample_whole(photos, field)
    placed = sample_moved(photos, field, fields.pixel_grid(side).expand(2, -1, -1, -1))
    assert torch.allclose(whole, placed, atol=1e-4)


@pytest.mark.parametrize("side", [24, 64, 100])
def test_maps_are_enlarged_as_by_pytorch(side: int) -> None:
    torch.manual_seed(0)
    maps = torch.randn(2, 3, 8, 8)
    expected = torch.nn.functional.interpolate(maps, size=(side, side), mode="bilinear")
    assert torch.allclose(enlarged(maps, side), expected, atol=1e-6)


def test_a_doubling_convolution_is_a_convolution_of_the_doubled_picture() -> None:
    torch.manual_seed(0)
    layer, x = DoublingConv(5, 4), torch.randn(2, 5, 6, 7)
    with torch.no_grad():
        convolved = layer[0](double(x))
        expected = torch.nn.functional.leaky_relu(convolved, 0.2)
        assert torch.allclose(layer(x), expected, atol=1e-5)
        layer.hold()
        assert torch.allclose(layer(x), expected, atol=1e-5)


@pytest.mark.parametrize("learning", [False, True])
def test_turned_pictures_are_the_same_channels_last(learning: bool) -> None:
    x = torch.randn(2, 5, 6, 7).bfloat16()
    with torch.set_grad_enabled(learning):
        found = turned(x)
    assert torch.equal(found, x) and found.is_contiguous(memory_format=torch.channels_last)


def test_rigid_flow_of_a_shift_is_that_shift(geometry: Geometry) -> None:
    source = face_points(geometry)
    driving = source + torch.tensor([0.1, -0.05, 0.0])
    flows, _ = fields.candidate_flows(source, driving, 16, (0.18, 0.05))
    expected = torch.tensor([-0.1, 0.05])[None, None, :, None, None].expand_as(flows)
    assert torch.allclose(flows, expected, atol=1e-4)


def test_rigid_flow_moves_the_nose_more_than_the_ears(geometry: Geometry) -> None:
    source, driving = face_points(geometry), face_points(geometry, yaw_deg=15)
    flow = fields.candidate_flows(source, driving, 32, (0.18, 0.05))[0][0, 0]

    def at(point: Tensor) -> float:
        x, y = ((point[:2] + 1) * 16).long().tolist()
        return float(flow[0, y, x])

    nose, ears = at(driving[0, 1]), (at(driving[0, 234]), at(driving[0, 454]))
    assert nose < 1.5 * min(ears) < 0


@pytest.mark.parametrize("side", [96, 200, 256])
def test_an_untrained_decoder_leaves_an_unmoved_photo_as_it_is(
    geometry: Geometry, side: int
) -> None:
    decoder, photo, points = Decoder(width=8).eval(), picture(side), face_points(geometry)
    with torch.no_grad():
        frame = decoder(photo, points, points)
    assert frame.shape == photo.shape
    assert (frame - photo).abs().mean() < 0.03  # only the fill's first share differs


def test_frames_of_a_batch_do_not_depend_on_each_other(geometry: Geometry) -> None:
    torch.manual_seed(0)
    decoder, photo, source = Decoder(width=8).eval(), picture(128), face_points(geometry)
    for module in (decoder.motion, decoder.mouth, decoder.eye):
        torch.nn.init.normal_(module.leave.weight, std=0.05)
    driving = torch.cat([face_points(geometry, yaw_deg=a) for a in (-10, 0, 10)])
    with torch.no_grad():
        seen = decoder.look(photo, source)
        together = decoder.compose(seen.expand(3), driving)
        alone = torch.cat([decoder.compose(seen, d[None]) for d in driving])
    assert torch.allclose(together, alone, atol=1e-5)
    assert (together[0] - together[2]).abs().mean() > 0.01


@pytest.mark.parametrize("coloured", [False, True])
def test_a_grey_photo_stays_grey_and_a_coloured_one_may_change(
    geometry: Geometry, coloured: bool
) -> None:
    torch.manual_seed(0)
    decoder, photo = Decoder(width=8).eval(), picture(128)
    for module in (decoder.mouth, decoder.eye):
        torch.nn.init.normal_(module.leave.weight, std=0.2)
    photo = photo if coloured else photo.mean(1, keepdim=True).expand(-1, 3, -1, -1).contiguous()
    source, points = face_points(geometry), face_points(geometry, yaw_deg=5)
    with torch.no_grad():
        seen = decoder.look(photo, source)
        field = decoder.move(seen, points)
        painted = (
            decoder.paint_mouth(seen, points, field),
            *decoder.paint_eyes(seen, points, field),
        )
    for part in painted:
        assert part.change.abs().mean() > 1e-3
        chroma = (part.change - part.change.mean(1, keepdim=True)).abs().max()
        assert (chroma > 1e-3) == coloured


@pytest.mark.parametrize("part", ["mouth", "eyes"])
def test_a_part_that_is_drawn_alone_is_as_with_the_other(geometry: Geometry, part: str) -> None:
    torch.manual_seed(0)
    decoder, photo = Decoder(width=8).eval(), picture(128)
    for module in (decoder.mouth, decoder.eye):
        torch.nn.init.normal_(module.leave.weight, std=0.2)
    source, points = face_points(geometry), face_points(geometry, yaw_deg=5)
    with torch.no_grad():
        both, alone, neither = (
            decoder.compose(decoder.look(photo, source, parts=parts), points)
            for parts in (("mouth", "eyes"), (part,), ())
        )
    drawn = (alone - neither).abs().amax((0, 1)) > 1e-6
    missing = (both - alone).abs().amax((0, 1)) > 1e-6
    assert drawn.any() and missing.any()
    apart = drawn & ~missing  # where the other part's square does not reach
    assert apart.sum() > 0.5 * drawn.sum()
    rows = torch.arange(128)[:, None].expand(128, 128).float()
    lower = rows[drawn].mean() > rows[missing].mean()
    assert lower == (part == "mouth")


@pytest.mark.parametrize("side", [200, 256])
def test_parts_of_frames_are_as_in_the_whole(geometry: Geometry, side: int) -> None:
    torch.manual_seed(0)
    decoder, photo = Decoder(width=8).eval(), picture(side)
    for module in (decoder.motion, decoder.mouth, decoder.eye):
        torch.nn.init.normal_(module.leave.weight, std=0.05)
    source, points = face_points(geometry), face_points(geometry, yaw_deg=5, n=4)
    middle = side // 2
    wanted = [
        (slice(None), slice(None)),
        (slice(17, middle + 30), slice(middle - 31, side - 5)),  # cuts through both eyes
        (slice(middle, side), slice(3, 4)),
        (slice(9, 9), slice(0, 5)),
    ]
    with torch.no_grad():
        seen = decoder.look(photo, source).expand(4)
        whole = decoder.compose(seen, points)
        parts = list(decoder.compose_each(seen, points, wanted=wanted))
    assert (whole - photo).abs().amax() > 0.05
    for frame, part, (rows, columns) in zip(whole, parts, wanted):
        assert part.shape == (1, *frame[:, rows, columns].shape)
        assert torch.allclose(part[0], frame[:, rows, columns], atol=1e-5)


@pytest.mark.parametrize("widths", [(4,), (4, 8), (4, 8, 16), (4, 8, 16, 32)])
def test_a_unet_of_any_depth_starts_at_zero_and_sees_photo_and_frame(
    widths: tuple[int, ...],
) -> None:
    torch.manual_seed(0)
    network = UNet(3, 5, 2, widths, middle=Residual(widths[-1]))
    photo, x = torch.randn(2, 3, 16, 24), torch.randn(2, 5, 16, 24)
    entered = network.enter_photo(photo)
    assert (network(x, entered) == 0).all()
    torch.nn.init.ones_(network.leave.weight)
    made = network(x, entered)
    assert made.shape == (2, 2, 16, 24)
    for other in (network(x + 1, entered), network(x, entered + 1)):
        assert (other - made).abs().amax((1, 2, 3)).min() > 1e-3


def test_far_places_meet_at_the_smallest_size_of_a_unet() -> None:
    """A change in one corner is seen as far off as its depth lets it."""
    torch.manual_seed(0)
    reached = []
    for widths in ((4, 8), (4, 8, 16)):
        network = UNet(1, 1, 1, widths, middle=conv(widths[-1], widths[-1]))
        torch.nn.init.normal_(network.leave.weight)
        x = torch.zeros(1, 1, 64, 64)
        entered = network.enter_photo(x)
        before = network(x, entered)
        x[..., 0, 0] = 1.0
        reached.append(int((network(x, entered) - before).abs().amax((0, 1, 2)).nonzero().max()))
    assert 4 < reached[0] < reached[1] < 63
