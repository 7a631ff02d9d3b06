"""What is drawn fast against what is drawn plainly: in float32, every map enlarged by PyTorch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from vasa_cli.config import RenderOptions
from vasa_cli.geometry import N_DYNAMICS, N_HEAD_POSE
from vasa_cli.loading import build
from vasa_cli.models import fields
from vasa_cli.models.decoder import Decoder, eye_tweens
from vasa_cli.models.moved import MotionField, detail_lost
from vasa_cli.motion import LIDS, MOUTH_OPEN, Motion, perform
from vasa_cli.pipeline import BATCH, Renderer
from vasa_cli.placement import place

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
LEAST_PSNR = 45.0


def plainly_moved(photo: Tensor, field: MotionField) -> Tensor:
    """The whole moved photo, with each map enlarged before maps are multiplied."""
    side = photo.shape[-1]
    maps = torch.cat([field.flow, field.moved, field.change, field.hidden], 1)
    maps = F.interpolate(maps, size=(side, side), mode="bilinear", align_corners=False)
    flow, low, change, hidden = maps.split((2, 3, 3, 1), 1)
    where = fields.pixel_grid(side) + flow.permute(0, 2, 3, 1)
    moved = F.grid_sample(photo, where, align_corners=False, padding_mode="border")
    return moved + change * hidden + (low - moved) * detail_lost(hidden)


def speaking(n_frames: int, *, until: int | None = None) -> Motion:
    """A head that turns and nods while the mouth opens and the lids shut, until some frame."""
    phase = np.linspace(0, 2 * np.pi, n_frames)[:until]
    pose, dynamics = np.zeros((len(phase), N_HEAD_POSE)), np.zeros((len(phase), N_DYNAMICS))
    pose[:, 0], pose[:, 1], pose[:, 2] = 8 * np.sin(phase), 4 * np.cos(phase), 3 * np.sin(phase)
    dynamics[:, MOUTH_OPEN] = 1.5 * (1 - np.cos(phase))
    dynamics[:, list(LIDS)] = -np.sin(phase)[:, None] ** 2
    return Motion(pose, dynamics)


@pytest.mark.parametrize(
    ("name", "motion"),
    [
        ("portrait.jpg", speaking(10)),
        ("hopper.jpg", speaking(10)),
        ("hopper.jpg", speaking(120, until=20)),  # so slow that some frames lie between others
    ],
    ids=["portrait", "hopper", "hopper slowly"],
)
def test_fast_frames_are_the_plain_ones(name: str, motion: Motion) -> None:
    renderer, options = Renderer(device="cpu"), RenderOptions(size=256)
    portrait = renderer.read_portrait(EXAMPLES / name, options)
    placement = place(portrait.picture, portrait.window, options)
    fast = np.stack(list(renderer.draw(portrait, [motion], placement)))

    plain, _ = build("decoder", Decoder, renderer.weights_dir, torch.device("cpu"))
    assert next(plain.motion.parameters()).dtype == torch.float32 and not plain.bf16
    points = perform(motion, portrait.code, renderer.models.geometry)
    points = placement.window.to_crop(portrait.window.from_crop(points))
    targets = torch.from_numpy(points).float()
    if len(motion) > 2 * BATCH:
        assert eye_tweens(targets[:BATCH]).between
    with torch.inference_mode():
        seen = renderer.look(portrait, placement).expand(len(motion))
        moved = plain.move(seen, targets).attached(seen.edges)
        frames = plainly_moved(seen.photo, moved)
        for painted in (
            *plain.paint_eyes(seen, targets, moved),
            plain.paint_mouth(seen, targets, moved),
        ):
            painted.put(frames)
    levels = frames.add(1).mul(127.5).clamp(0, 255).permute(0, 2, 3, 1).numpy()
    error = np.square(fast - levels).mean((1, 2, 3))
    assert (10 * np.log10(255**2 / error)).min() > LEAST_PSNR
    moves = np.square(levels[0] - levels[-len(levels) // 3]).mean()
    assert 10 * np.log10(255**2 / moves) < 35  # the frames are not simply the same
