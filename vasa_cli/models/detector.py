"""The face detector: a letterboxed picture to a map of where faces are and how big."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vasa_cli.models.blocks import Residual, conv, double

SIDE = 256  # pixels of the letterboxed input
STRIDE = 8  # pixels a cell
REFERENCE_SIZE = 48.0  # pixels; sizes are predicted as logarithms of the ratio to it


class FaceDetector(nn.Module):
    """(B, 3, 256, 256) in [-1, 1] to (B, 4, 32, 32); anchor-free, on one scale.

    The four maps: score logit, log size, x and y offset in cells.
    """

    def __init__(self, *, width: int = 32) -> None:
        super().__init__()
        self.width = w = width
        self.enter = nn.Sequential(nn.PixelUnshuffle(4), conv(48, w))
        self.at8 = nn.Sequential(conv(w, 2 * w, stride=2), Residual(2 * w))
        self.at16 = nn.Sequential(conv(2 * w, 3 * w, stride=2), Residual(3 * w), Residual(3 * w))
        self.at32 = nn.Sequential(conv(3 * w, 3 * w, stride=2), Residual(3 * w), Residual(3 * w))
        self.up16, self.up8 = conv(3 * w, 3 * w), conv(3 * w, 2 * w)
        self.head = nn.Sequential(Residual(2 * w), conv(2 * w, 2 * w), nn.Conv2d(2 * w, 4, 1))
        nn.init.constant_(self.head[2].bias[:1], -4.0)  # type: ignore[index]

    @property
    def dims(self) -> dict[str, int]:
        return {"width": self.width}

    def forward(self, picture: Tensor) -> Tensor:
        fine = self.at8(self.enter(picture))
        middle = self.at16(fine)
        middle = middle + self.up16(double(self.at32(middle)))
        return self.head(fine + self.up8(double(middle))).float()


def decode_boxes(maps: Tensor, *, threshold: float) -> list[Tensor]:
    """Faces of every picture, best first; local maxima of the score only.

    Args: maps (B, 4, 32, 32), the detector's.
    Returns: for each picture (n, 4): centre x, centre y, face height in input pixels, score.
    """
    score = torch.sigmoid(maps[:, 0])
    peak = score == F.max_pool2d(score[:, None], 3, 1, 1)[:, 0]
    found = []
    for b in range(len(maps)):
        rows, columns = torch.nonzero(peak[b] & (score[b] > threshold), as_tuple=True)
        size = REFERENCE_SIZE * torch.exp(maps[b, 1, rows, columns].clamp(-3, 3))
        x = (columns + 0.5 + maps[b, 2, rows, columns]) * STRIDE
        y = (rows + 0.5 + maps[b, 3, rows, columns]) * STRIDE
        boxes = torch.stack([x, y, size, score[b, rows, columns]], 1)
        found.append(suppress(boxes[boxes[:, 3].argsort(descending=True)]))
    return found


def suppress(boxes: Tensor, *, overlap: float = 0.5) -> Tensor:
    """Keep the best of faces (n, 4) whose centres lie within half a face of each other."""
    size = boxes[:, 2]
    distance = (boxes[:, None, :2] - boxes[None, :, :2]).norm(dim=-1)
    apart = (distance > overlap * torch.minimum(size[:, None], size)).cpu().numpy()
    kept: list[int] = []
    for k in range(len(boxes)):
        if apart[k, kept].all():
            kept.append(k)
    return boxes[kept]
