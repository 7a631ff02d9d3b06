"""The face encoder: a square around a face to 478 points, then a second look at lips and eyes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vasa_cli.config import N_LANDMARKS
from vasa_cli.models.blocks import Residual, conv

FACE_SIDE, LIPS_SIDE, EYE_SIDE = 128, 96, 64  # pixels of the three inputs
FACE_EXTENT, LIPS_EXTENT, EYE_EXTENT = 1.7, 0.62, 0.34  # their sides in face heights
N_LIP_POINTS, N_EYE_POINTS = 40, 21
LEFT_EYE = (
    *(33, 133, 246, 161, 160, 159, 158, 157, 173, 7, 163, 144, 145, 153, 154, 155),
    *(468, 469, 470, 471, 472),
)
# the right eye's points in the order in which a mirror makes them a left eye's: the iris's sides
# change places
RIGHT_EYE = (
    *(263, 362, 466, 388, 387, 386, 385, 384, 398, 249, 390, 373, 374, 380, 381, 382),
    *(473, 476, 475, 474, 477),
)


def trunk(widths: tuple[int, ...], n_residual: tuple[int, ...]) -> nn.Sequential:
    """4x4 patches of an RGB picture, then stages that each halve the map.

    (B, 3, S, S) to (B, widths[-1], s, s) with s = S / 2 ** (len(widths) + 1).
    """
    layers: list[nn.Module] = [nn.PixelUnshuffle(4), conv(48, widths[0])]
    for k, (width, n) in enumerate(zip(widths, n_residual)):
        if k:
            layers.append(conv(widths[k - 1], width, stride=2))
        layers += [Residual(width) for _ in range(n)]
    return nn.Sequential(*layers, nn.LeakyReLU(0.2))


class PointRegressor(nn.Module):
    """A picture (B, 3, S, S) in [-1, 1] to points (B, n_points, 3).

    x and y in [-1, 1] over the picture, depth in the same unit.
    """

    def __init__(
        self,
        side: int,
        n_points: int,
        *,
        widths: tuple[int, ...],
        n_residual: tuple[int, ...],
        code_dim: int,
    ) -> None:
        super().__init__()
        self.n_points = n_points
        self.trunk = trunk(widths, n_residual)
        self.squeeze = nn.Conv2d(widths[-1], 40, 1)
        cells = (side // 2 ** (len(widths) + 1)) ** 2
        self.code = nn.Sequential(nn.Linear(40 * cells, code_dim), nn.LeakyReLU(0.2))
        self.points = nn.Linear(code_dim, n_points * 3)

    def forward(self, picture: Tensor) -> Tensor:
        code = self.code(self.squeeze(self.trunk(picture)).flatten(1))
        return self.points(code).float().unflatten(1, (self.n_points, 3))


class FaceEncoder(nn.Module):
    """Three regressors: the whole face, the lips, one eye (the right one is shown mirrored)."""

    def __init__(self, *, width: int = 64) -> None:
        super().__init__()
        self.width = width
        face = (width, 2 * width, 3 * width)
        small = (width // 2, width, 2 * width)
        self.face = PointRegressor(
            FACE_SIDE, N_LANDMARKS, widths=face, n_residual=(1, 3, 3), code_dim=256
        )
        self.lips = PointRegressor(
            LIPS_SIDE, N_LIP_POINTS, widths=small, n_residual=(1, 2, 2), code_dim=128
        )
        self.eye = PointRegressor(
            EYE_SIDE, N_EYE_POINTS, widths=small, n_residual=(1, 2, 2), code_dim=96
        )

    @property
    def dims(self) -> dict[str, int]:
        return {"width": self.width}

    @torch.no_grad()
    def start_from(self, points: Tensor, lips: Tensor, eye: Tensor) -> None:
        """Begin training at the mean answers, (n_points, 3) each."""
        for regressor, mean in ((self.face, points), (self.lips, lips), (self.eye, eye)):
            regressor.points.weight.mul_(0.1)
            regressor.points.bias.copy_(mean.flatten())
