"""The decoder: one photo, its points and the points of a frame to that frame.

A motion field at 64x64 says for every pixel where in the photo it comes from; the photo is sampled
once at the output's own resolution; two local generators paint what was not in the photo: teeth,
tongue, inner lips, lids, sclera, moving irises.

All geometry is in crop units, [-1, 1] over the square around the head. Points are (B, 478, 3);
images (B, 3, H, W) in [-1, 1]. The right eye is shown to the eye generator mirrored, so that one
network draws both.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vasa_cli.models import fields
from vasa_cli.models.blocks import UNet, channels_last
from vasa_cli.models.fields import Patch

FIELD_SIDE = 64  # cells of the motion field
COARSE_SIDE = 32  # cells of the landmark flows and distance maps it is made from
MOUTH_SIDE, EYE_SIDE = 128, 96  # pixels of the local generators
MOUTH_EXTENT, EYE_EXTENT = 0.60, 0.40  # their sides in face heights
SIGMAS = (0.18, 0.05)  # widths of the soft-landmark flows
N_FLOWS = 2 + len(SIGMAS)
RESIDUAL_FLOW_SCALE, FLOW_INPUT_SCALE = 0.1, 4.0


@dataclass(frozen=True)
class Appearance:
    """All that depends on the photo alone, computed once."""

    photo: Tensor  # (B, 3, S, S)
    points: Tensor  # (B, 478, 3)
    small: Tensor  # (B, 3, 64, 64)
    outlines: Tensor  # (B, n, 64, 64)
    mouth: Tensor  # (B, 12 + 2, 64, 64) photo crop, unshuffled, and its lip distances
    eyes: tuple[Tensor, Tensor]  # left and right as the viewer sees them; (B, 12 + 1, 48, 48)

    def expand(self, n_frames: int) -> Appearance:
        """The same photo for a batch of frames, without copying it."""

        def repeated(x: Tensor) -> Tensor:
            return x.expand(n_frames, *x.shape[1:])

        return Appearance(
            repeated(self.photo),
            repeated(self.points),
            repeated(self.small),
            repeated(self.outlines),
            repeated(self.mouth),
            (repeated(self.eyes[0]), repeated(self.eyes[1])),
        )


@dataclass(frozen=True)
class MotionField:
    """Where every pixel comes from, and what to paint where nothing was seen."""

    flow: Tensor  # (B, 2, 64, 64) backward flow in crop units
    fill: Tensor  # (B, 3, 64, 64)
    hidden: Tensor  # (B, 1, 64, 64) share of fill, 0 to 1


@dataclass(frozen=True)
class Painted:
    """What a local generator changes.

    A change that is added, not colours under an alpha: with an alpha the generator of the eyes died
    within a thousand steps (alpha 0, no gradient) and that of the mouth learned far slower.
    """

    patch: Patch
    warped: Tensor  # (B, 3, s, s) what the motion field alone gives there
    change: Tensor  # (B, 3, s, s), 0 at the square's border

    @property
    def composed(self) -> Tensor:
        return self.warped + self.change


class Decoder(nn.Module):
    """Motion field, mouth generator, eye generator."""

    mouth_window: Tensor  # (1, 1, MOUTH_SIDE, MOUTH_SIDE)
    eye_window: Tensor  # (1, 1, EYE_SIDE, EYE_SIDE)

    def __init__(self, *, width: int = 32) -> None:
        super().__init__()
        self.width = w = width
        self.bf16 = False  # whether the networks run in bfloat16; the geometry never does
        n_outlines = fields.N_OUTLINES
        self.motion = UNet(
            3 + 3 * (N_FLOWS - 1) + 2 * (N_FLOWS - 1) + len(SIGMAS) + 2 * n_outlines,
            N_FLOWS + 2 + 4,
            (w, 2 * w, 4 * w),
            n_residual=3,
        )
        self.mouth = UNet(12 + 14 + 5, 12, (3 * w // 2, 3 * w, 4 * w), n_residual=3)
        self.eye = UNet(12 + 13 + 3, 12, (w, 2 * w, 3 * w), n_residual=2)
        self.register_buffer("mouth_window", soft_window(MOUTH_SIDE), persistent=False)
        self.register_buffer("eye_window", soft_window(EYE_SIDE), persistent=False)

    @property
    def dims(self) -> dict[str, int]:
        return {"width": self.width}

    def _run(self, network: nn.Module, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.bf16):
            return network(channels_last(x)).float()

    def look(self, photo: Tensor, points: Tensor) -> Appearance:
        """Encode the photo (B, 3, S, S) and its points (B, 478, 3) once."""
        side = photo.shape[-1]
        small = F.interpolate(
            photo, size=(FIELD_SIDE, FIELD_SIDE), mode="area" if side >= FIELD_SIDE else "bilinear"
        )
        eyes = []
        for eye in ("left", "right"):
            patch = fields.eye_patch(points, eye, EYE_EXTENT)
            picture = F.pixel_unshuffle(patch.cut(photo, EYE_SIDE), 2)
            eyes.append(
                torch.cat([picture, fields.eye_maps(points, eye, patch, EYE_SIDE // 2)[:, :1]], 1)
            )
        patch = fields.mouth_patch(points, MOUTH_EXTENT)
        picture = F.pixel_unshuffle(patch.cut(photo, MOUTH_SIDE), 2)
        mouth = torch.cat([picture, fields.mouth_maps(points, patch, MOUTH_SIDE // 2)[:, :2]], 1)
        outlines = double(fields.outline_maps(points, COARSE_SIDE))
        return Appearance(photo, points, small, outlines, mouth, (eyes[0], eyes[1]))

    def move(self, seen: Appearance, points: Tensor) -> MotionField:
        """The motion field of frames with the given points (B, 478, 3)."""
        with torch.no_grad():
            flows, nears = fields.candidate_flows(seen.points, points, COARSE_SIDE, SIGMAS)
            flows = double(flows.flatten(1, 2)).unflatten(1, (N_FLOWS - 1, 2))  # (B, 3, 2, 64, 64)
            tried = [fields.warp(seen.small, flows[:, k]) for k in range(N_FLOWS - 1)]
            outlines = double(fields.outline_maps(points, COARSE_SIDE))
            x = torch.cat(
                [
                    seen.small,
                    *tried,
                    flows.flatten(1, 2) * FLOW_INPUT_SCALE,
                    double(nears),
                    seen.outlines,
                    outlines,
                ],
                1,
            )
        out = self._run(self.motion, x)
        choice = torch.softmax(out[:, :N_FLOWS], 1)[:, 1:, None]  # the first choice is to stay
        flow = (choice * flows).sum(1) + out[:, N_FLOWS : N_FLOWS + 2] * RESIDUAL_FLOW_SCALE
        fill = fields.warp(seen.small, flow) + out[:, N_FLOWS + 2 : N_FLOWS + 5]
        return MotionField(flow, fill, torch.sigmoid(out[:, N_FLOWS + 5 :] - 3))

    def paint_mouth(self, seen: Appearance, points: Tensor, field: MotionField) -> Painted:
        """The mouths of frames with the given points (B, 478, 3)."""
        patch = fields.mouth_patch(points, MOUTH_EXTENT)
        maps = fields.mouth_maps(points, patch, MOUTH_SIDE // 2)
        return self._paint(
            self.mouth, seen.photo, seen.mouth, field, patch, maps, self.mouth_window
        )

    def paint_eye(self, seen: Appearance, points: Tensor, field: MotionField, eye: str) -> Painted:
        """One eye, "left" or "right", of frames with the given points (B, 478, 3)."""
        patch = fields.eye_patch(points, eye, EYE_EXTENT)
        maps = fields.eye_maps(points, eye, patch, EYE_SIDE // 2)
        return self._paint(
            self.eye, seen.photo, seen.eyes[eye == "right"], field, patch, maps, self.eye_window
        )

    def _paint(
        self,
        network: nn.Module,
        photo: Tensor,
        own: Tensor,
        field: MotionField,
        patch: Patch,
        maps: Tensor,
        window: Tensor,
    ) -> Painted:
        warped = sample_moved(photo, field, patch.grid(window.shape[-1]))
        x = torch.cat([F.pixel_unshuffle(warped, 2), own, maps], 1)
        out = F.pixel_shuffle(self._run(network, x), 2)  # (B, 3, s, s)
        return Painted(patch, warped, out * window)

    def compose(self, seen: Appearance, points: Tensor) -> Tensor:
        """Finished frames (B, 3, S, S), the photo's own size, with the points (B, 478, 3)."""
        field = self.move(seen, points)
        side = seen.photo.shape[-1]
        grid = fields.pixel_grid(side, seen.photo.device).expand(len(points), -1, -1, -1)
        frame = sample_moved(seen.photo, field, grid, whole=True)
        for painted in (
            self.paint_eye(seen, points, field, "left"),
            self.paint_eye(seen, points, field, "right"),
            self.paint_mouth(seen, points, field),
        ):
            painted.patch.add(frame, painted.change)
        return frame

    def forward(self, photo: Tensor, source: Tensor, points: Tensor) -> Tensor:
        """Frames (B, 3, S, S) from photos (B, 3, S, S), their points and the frames' points."""
        return self.compose(self.look(photo, source), points)


def double(x: Tensor) -> Tensor:
    """(B, C, H, W) to (B, C, 2 H, 2 W), bilinear."""
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


def soft_window(side: int) -> Tensor:
    """1 in the middle of a square, 0 at its border, (1, 1, side, side)."""
    edge = 1 - torch.linspace(-1, 1, side).abs() ** 6
    return (edge[:, None] * edge)[None, None]


def sample_moved(photo: Tensor, field: MotionField, grid: Tensor, *, whole: bool = False) -> Tensor:
    """The moved photo, fill included, at the positions of a grid (B, h, w, 2): (B, 3, h, w).

    One sampling, whatever the resolution.

    Args: whole: the grid is the whole picture's own, which is faster.
    """
    maps = torch.cat([field.flow, field.fill, field.hidden], 1)
    if whole:
        maps = F.interpolate(maps, size=grid.shape[1:3], mode="bilinear", align_corners=False)
    else:
        maps = F.grid_sample(maps, grid, align_corners=False, padding_mode="border")
    where = grid + maps[:, :2].permute(0, 2, 3, 1)
    moved = F.grid_sample(photo, where, align_corners=False, padding_mode="border")
    return moved + (maps[:, 2:5] - moved) * maps[:, 5:]
